//! File systems of a test's own: small ones and read-only ones, in a namespace that goes with the test, so that nothing is
//! left on the machine however the test ends.

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

/// A namespace of mounts (and of users, where we are not root), held by a process that sleeps in it.
#[derive(Debug)]
pub struct Mounts {
    holder: Child,
    own_users: bool,
}

impl Mounts {
    /// Runs `script` (of sh) in a new namespace, and keeps that.
    ///
    /// # Errors
    /// What stands in the way, for the test to print before it is skipped.
    pub fn new(script: &str) -> Result<Self, String> {
        let own_users = !rustix::process::geteuid().is_root();
        let flags = if own_users { "-rm" } else { "-m" };
        let mut command = Command::new("unshare");
        command.args([flags, "sh", "-c", &format!("{script}\necho done\nexec sleep 600")]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut holder = command.spawn().map_err(|e| format!("unshare cannot be started: {e}"))?;
        let mut line = String::new();
        let output = holder.stdout.take().map(BufReader::new);
        let read = output.map(|mut output| output.read_line(&mut line));
        let mounts = Self { holder, own_users };
        match read {
            Some(Ok(_)) if line.trim() == "done" => Ok(mounts),
            _ => Err(format!("`unshare {flags}` or a mount in it is not allowed here")),
        }
    }

    /// What starts a program in it.
    #[must_use]
    pub fn wrapper(&self) -> Vec<String> {
        let (target, users) = (self.holder.id().to_string(), self.own_users);
        let users = if users { &["-U", "--preserve-credentials"][..] } else { &[] };
        ["nsenter", "-t", &target, "-m"].iter().chain(users).map(|&word| word.to_owned()).collect()
    }

    /// A path as seen from within, for who is outside.
    #[must_use]
    pub fn inside(&self, path: &Path) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.holder.id()));
        root.join(path.strip_prefix("/").unwrap_or(path))
    }
}

impl Drop for Mounts {
    fn drop(&mut self) {
        // ignored: it may have ended by itself.
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}
