//! Listening sockets that were open before this process: handed over by the one before, or kept by systemd.
//!
//! They are found by the address they are bound to. A listener takes all that are bound to its address: each has a backlog
//! of its own, in which clients may wait already. What no listener takes is closed with this.

use std::{
    os::fd::{AsFd, OwnedFd},
    path::PathBuf,
};

use rustix::{
    fs::{FileType, fstat},
    io::Errno,
    net::{SocketType, sockopt},
};
use socket2::SockRef;

use super::{listen::ListenSocket, options};
use crate::config::ListenAddress;

/// Sockets to be taken.
#[derive(Debug, Default)]
pub struct Inherited {
    sockets: Vec<(ListenAddress, ListenSocket)>,
    in_use: bool,
}

/// Why a descriptor is not taken.
#[derive(Debug, thiserror::Error)]
pub enum InheritError {
    /// It is something else.
    #[error("it is no listening stream socket")]
    NotListening,
    /// It is bound to what no listener can be configured to: another family, or an abstract name.
    #[error("it is bound to an address that no listener can have")]
    Address,
    /// The system refused.
    #[error("{0}")]
    System(#[from] std::io::Error),
}

impl Inherited {
    /// None yet, of those that another process accepts from, too. A listener that is short of them gets duplicates: a socket of
    /// its own would have clients in it that are lost should this process end and the other one go on.
    #[must_use]
    pub fn in_use() -> Self {
        Self { sockets: Vec::new(), in_use: true }
    }

    /// Whether another process accepts from them, too.
    #[must_use]
    pub fn are_in_use(&self) -> bool {
        self.in_use
    }

    /// Adds a socket, and makes it what accepting needs: nonblocking, closed on exec, and with the options of our own.
    ///
    /// # Errors
    /// When it does not listen, or on no address that a listener can have; it is closed then.
    pub fn add(&mut self, descriptor: OwnedFd) -> Result<&ListenAddress, InheritError> {
        let address = listens_on(&descriptor)?;
        let socket = SockRef::from(&descriptor);
        socket.set_nonblocking(true)?;
        socket.set_cloexec(true)?;
        let socket = match address {
            ListenAddress::Tcp(address) => {
                options::handed_on(&socket, address)?;
                ListenSocket::Tcp(descriptor.into())
            }
            ListenAddress::Unix(_) => ListenSocket::Unix(descriptor.into()),
        };
        Ok(&self.sockets.push_mut((address, socket)).0)
    }

    /// Takes every socket that is bound to `address`.
    #[must_use]
    pub fn take(&mut self, address: &ListenAddress) -> Vec<ListenSocket> {
        self.sockets.extract_if(.., |(bound, _)| bound == address).map(|(_, socket)| socket).collect()
    }

    /// The addresses of those that nobody took.
    pub fn left(&self) -> impl Iterator<Item = &ListenAddress> {
        self.sockets.iter().map(|(address, _)| address)
    }
}

fn listens_on(descriptor: &OwnedFd) -> Result<ListenAddress, InheritError> {
    let is_socket = FileType::from_raw_mode(fstat(descriptor).map_err(std::io::Error::from)?.st_mode).is_socket();
    if !is_socket || !is_listening_stream(descriptor).map_err(std::io::Error::from)? {
        return Err(InheritError::NotListening);
    }
    let bound = SockRef::from(descriptor).local_addr()?;
    let tcp = bound.as_socket().map(ListenAddress::Tcp);
    let unix = || bound.as_pathname().map(|path| ListenAddress::Unix(PathBuf::from(path)));
    tcp.or_else(unix).ok_or(InheritError::Address)
}

fn is_listening_stream(socket: impl AsFd) -> Result<bool, Errno> {
    Ok(sockopt::socket_type(&socket)? == SocketType::STREAM && sockopt::socket_acceptconn(&socket)?)
}

#[cfg(test)]
mod tests;
