//! Keeping the service manager from killing the process (sd_notify(3), WATCHDOG=1).

use std::{
    ffi::OsString,
    io,
    os::{
        linux::net::SocketAddrExt as _,
        unix::{
            ffi::OsStrExt as _,
            net::{SocketAddr, UnixDatagram},
        },
    },
    time::Duration,
};

const ALIVE: &[u8] = b"WATCHDOG=1\n";

/// A service manager that kills this process where it is not told often enough that it is well.
///
/// Its socket is kept open, so that telling it needs no descriptor, and never waits.
#[derive(Debug)]
pub struct ServiceManager {
    address: SocketAddr,
    socket: Option<UnixDatagram>,
    within: Duration,
}

impl ServiceManager {
    /// The one that has started this process and waits for it: WATCHDOG_USEC and NOTIFY_SOCKET of the environment, and
    /// WATCHDOG_PID, where it is there, is this process.
    #[must_use]
    pub fn of_environment() -> Option<Self> {
        let within = sd_notify::watchdog_enabled().filter(|within| !within.is_zero())?;
        Self::at(&std::env::var_os("NOTIFY_SOCKET")?, within)
    }

    /// One that listens at `socket`, a path or `@` and an abstract name, and kills after `within`.
    #[must_use]
    pub fn at(socket: &OsString, within: Duration) -> Option<Self> {
        let address = match socket.as_bytes() {
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
            _ => SocketAddr::from_pathname(socket),
        };
        Some(Self { address: address.ok()?, socket: None, within }.connected())
    }

    /// After how long it kills.
    #[must_use]
    pub fn within(&self) -> Duration {
        self.within
    }

    /// Tells it that all is well; false when that could not be said now.
    pub(super) fn feed(&mut self) -> bool {
        if self.say() {
            return true;
        }
        // It may have been started anew, and its socket with it.
        self.socket = self.connect().ok();
        self.say()
    }

    fn say(&self) -> bool {
        self.socket.as_ref().is_some_and(|socket| socket.send(ALIVE).is_ok())
    }

    fn connected(mut self) -> Self {
        self.socket = self.connect().ok();
        self
    }

    fn connect(&self) -> io::Result<UnixDatagram> {
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        socket.connect_addr(&self.address)?;
        Ok(socket)
    }
}
