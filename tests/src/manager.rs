//! The service manager's end of sd_notify(3).

use std::{
    io,
    os::unix::net::UnixDatagram,
    time::{Duration, Instant},
};

use crate::{gateway::Gateway, wait::DEADLINE};

/// A service manager that listens.
#[derive(Debug)]
pub struct Manager(UnixDatagram);

impl Manager {
    /// The one of `gateway`, which must not run yet.
    ///
    /// # Panics
    /// When there can be no socket.
    pub fn of(gateway: &mut Gateway) -> Self {
        let path = gateway.folder().join("notify");
        let socket = UnixDatagram::bind(&path).expect("a socket");
        gateway.environment.push(("NOTIFY_SOCKET".to_owned(), path.display().to_string()));
        Self(socket)
    }

    /// The same, which waits for WATCHDOG=1 as well.
    pub fn waiting(gateway: &mut Gateway, within: Duration) -> Self {
        gateway.environment.push(("WATCHDOG_USEC".to_owned(), within.as_micros().to_string()));
        Self::of(gateway)
    }

    /// Reads until a message has a line that begins with `line`.
    ///
    /// # Panics
    /// When none comes.
    pub fn hears(&self, line: &str) -> String {
        self.hears_within(line, DEADLINE).unwrap_or_else(|| panic!("waited {DEADLINE:?} for {line}"))
    }

    /// The same; `None` when none comes within `limit`.
    pub fn hears_within(&self, line: &str, limit: Duration) -> Option<String> {
        let end = Instant::now() + limit;
        let mut buffer = [0; 4096];
        loop {
            let left = end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())?;
            self.0.set_read_timeout(Some(left)).expect("a time-out that is not 0");
            let length = match self.0.recv(&mut buffer) {
                Ok(length) => length,
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                    return None;
                }
                Err(error) => panic!("waiting for {line}: {error}"),
            };
            let message = String::from_utf8_lossy(buffer.get(..length).unwrap_or_default()).into_owned();
            if message.lines().any(|l| l.starts_with(line)) {
                return Some(message);
            }
        }
    }

    /// Forgets what was said so far.
    ///
    /// # Panics
    /// When the socket breaks.
    pub fn forget(&self) {
        self.0.set_nonblocking(true).expect("a socket");
        while self.0.recv(&mut [0; 4096]).is_ok() {}
        self.0.set_nonblocking(false).expect("a socket");
    }
}
