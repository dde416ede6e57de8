//! The processes before this one that still drain: counted, and bounded.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rustix::{
    event::PollFlags,
    process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal},
};

use super::channel::is_ready;

/// So many may drain beside the one that serves. Each may hold a table and the buffers of its connections, so that they cost
/// up to this many times what one process does; and with a `drain.timeout` of ten minutes it lets one upgrade a minute happen.
pub const MOST: usize = 8;

/// They; clones share them.
#[derive(Clone, Debug, Default)]
pub struct Predecessors(Arc<Mutex<Vec<OwnedFd>>>);

/// One process, by a descriptor that no other process can come to be meant by.
#[derive(Debug)]
pub(super) struct Process(OwnedFd);

impl Predecessors {
    /// Those that these pidfds stand for.
    #[must_use]
    pub fn new(pidfds: Vec<OwnedFd>) -> Self {
        Self(Arc::new(Mutex::new(pidfds)))
    }

    /// How many still run.
    #[must_use]
    pub fn count(&self) -> usize {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|pidfd| !has_ended(pidfd));
        all.len()
    }

    /// Duplicates of their pidfds.
    pub(super) fn duplicates(&self) -> io::Result<Vec<OwnedFd>> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|pidfd| !has_ended(pidfd));
        all.iter().map(OwnedFd::try_clone).collect()
    }
}

/// A process is over for its pidfd when it has ended, reaped or not (pidfd_open(2)).
fn has_ended(pidfd: &OwnedFd) -> bool {
    is_ready(pidfd.as_fd(), PollFlags::IN, Duration::ZERO).unwrap_or(true)
}

/// A pidfd of this process.
pub(super) fn own() -> io::Result<OwnedFd> {
    Ok(pidfd_open(rustix::process::getpid(), PidfdFlags::empty())?)
}

impl Process {
    /// The process that has this number now.
    pub(super) fn find(pid: Pid) -> io::Result<Self> {
        Ok(Self(pidfd_open(pid, PidfdFlags::empty())?))
    }

    /// Waits for its end, for `at_most` so long; true when it has ended.
    pub(super) fn wait(&self, at_most: Duration) -> bool {
        is_ready(self.0.as_fd(), PollFlags::IN, at_most).unwrap_or(false)
    }

    /// Ends it without asking.
    pub(super) fn kill(&self) -> io::Result<()> {
        Ok(pidfd_send_signal(&self.0, Signal::KILL)?)
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_predecessor_counts_until_it_has_ended() {
        let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
        let process = Process::find(pid).unwrap();
        let all = Predecessors::new(vec![process.0.try_clone().unwrap(), own().unwrap()]);
        assert_eq!((all.count(), all.duplicates().unwrap().len()), (2, 2));
        assert!(!process.wait(Duration::ZERO));
        process.kill().unwrap();
        assert!(process.wait(Duration::from_secs(20)));
        assert_eq!((all.count(), all.duplicates().unwrap().len()), (1, 1));
        child.wait().unwrap();
    }
}
