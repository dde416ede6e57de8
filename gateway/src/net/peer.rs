//! Who is at the other end of a connection, as the kernel names it.

use std::net::SocketAddr;

use rustix::net::{SocketAddrAny, SocketAddrUnix};

/// A name that one socket at a time can have.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PeerName {
    /// An address. A client that came by IPv4 to a listener on `[::]` has its IPv4 address.
    Tcp(SocketAddr),
    /// A Unix socket's abstract name (unix(7)).
    Abstract(Box<[u8]>),
}

impl PeerName {
    /// What the kernel says; `None` for a Unix socket without an abstract name, as clients usually have.
    #[must_use]
    pub fn of(name: SocketAddrAny) -> Option<Self> {
        if let Ok(unix) = SocketAddrUnix::try_from(name.clone()) {
            return unix.abstract_name().filter(|name| !name.is_empty()).map(|name| Self::Abstract(name.into()));
        }
        let address = SocketAddr::try_from(name).ok()?;
        Some(Self::Tcp(SocketAddr::new(address.ip().to_canonical(), address.port())))
    }
}
