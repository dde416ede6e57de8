//! The gateway's process: started, killed, and never left behind.

use std::{
    fs::OpenOptions,
    io,
    os::unix::process::CommandExt,
    process::{Child, Command, ExitStatus, Stdio},
};

use anyhow::Context;
use rustix::process::{Pid, Signal, getpid, getppid, set_parent_process_death_signal};

use super::files::Files;

/// A running gateway; dropping it kills it.
#[derive(Debug)]
pub(super) struct Gateway(Child);

impl Gateway {
    /// Starts `holdgate run` of this same program. Its log goes to a file, and its process group is its own, so that
    /// Ctrl-C reaches this process only, which then ends both in order.
    pub(super) fn start(files: &Files) -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("this program's own file cannot be found")?;
        let log = OpenOptions::new().create(true).append(true).open(files.log())?;
        let mut command = Command::new(program);
        command.args(["run", "--config"]).arg(files.config()).process_group(0);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("HOLDGATE_")) {
            command.env_remove(name);
        }
        die_with_parent(&mut command);
        Ok(Self(command.spawn().context("the gateway cannot be started")?))
    }

    /// Its process id.
    pub(super) fn pid(&self) -> u32 {
        self.0.id()
    }

    /// Its exit status, once it has ended.
    pub(super) fn has_ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.0.try_wait()
    }

    /// Kills it with SIGKILL, as the kernel or a careless person would.
    pub(super) fn kill(&mut self) -> io::Result<()> {
        self.0.kill()?;
        self.0.wait().map(drop)
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // ignored: it has ended already
        let _ = self.kill();
    }
}

/// The kernel kills the child when the thread that starts it ends, whatever ends it (prctl(2), PR_SET_PDEATHSIG). That
/// is the main thread, which ends with the process.
#[expect(unsafe_code, reason = "only code between fork and exec can ask for this")]
fn die_with_parent(command: &mut Command) {
    let parent = getpid();
    // SAFETY: what runs between fork and exec must be async-signal-safe: two system calls, and no allocation.
    unsafe {
        command.pre_exec(move || ask_to_die_with(parent));
    }
}

fn ask_to_die_with(parent: Pid) -> io::Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    // The parent may have ended before the call above: then nobody would be told.
    if getppid() == Some(parent) { Ok(()) } else { Err(rustix::io::Errno::SRCH.into()) }
}
