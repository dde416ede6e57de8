//! Threads of a process held still, so that it hangs without ending.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

/// Threads that are held; dropped, they go on.
#[derive(Debug)]
pub struct Held(Child);

impl Held {
    /// Holds the threads of `pid` that have these names, and no others.
    ///
    /// # Panics
    /// When there are none such, or this test may not trace them.
    #[must_use]
    pub fn threads(pid: u32, names: &[&str]) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("process/hold_thread.py");
        let mut command = Command::new("python3");
        command.arg(script).arg(pid.to_string()).args(names).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("python3 is there");
        let mut said = String::new();
        let mut output = BufReader::new(child.stdout.take().expect("it is piped"));
        // ignored: nothing said is wrong as well.
        let _ = output.read_line(&mut said);
        assert_eq!(said, "held\n", "{names:?} of {pid}");
        Self(child)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // The end of its input is the word to let go. ignored: a child that has ended by itself has let go too.
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}
