//! Listening sockets: one for each worker, bound before anything is served.

use std::{
    fs, io,
    net::{IpAddr, SocketAddr, TcpListener},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::{
            fs::FileTypeExt,
            net::{UnixListener, UnixStream},
        },
    },
    path::Path,
    sync::Arc,
};

use rustix::net::{SocketFlags, accept_with, acceptfrom_with};
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::{inherited::Inherited, options, stream::Accepted};
use crate::config::{ListenAddress, ListenerConfig};

/// A listener of the configuration, bound.
#[derive(Debug)]
pub struct BoundListener {
    /// Its name.
    pub name: Arc<str>,
    /// Where it listens, with the real port when 0 was asked for.
    pub address: ListenAddress,
    /// At least one for each worker; nonblocking.
    pub sockets: Vec<ListenSocket>,
}

/// One listening socket.
#[derive(Debug)]
pub enum ListenSocket {
    /// Of its own among the workers' (`SO_REUSEPORT`).
    Tcp(TcpListener),
    /// A duplicate of the one that all workers share.
    Unix(UnixListener),
}

impl ListenSocket {
    /// Another descriptor of the same socket, with the same backlog.
    ///
    /// # Errors
    /// When there is no descriptor left.
    pub fn duplicate(&self) -> io::Result<Self> {
        match self {
            Self::Tcp(listener) => listener.try_clone().map(Self::Tcp),
            Self::Unix(listener) => listener.try_clone().map(Self::Unix),
        }
    }

    /// Its descriptor, for another process.
    #[must_use]
    pub fn into_descriptor(self) -> OwnedFd {
        match self {
            Self::Tcp(listener) => listener.into(),
            Self::Unix(listener) => listener.into(),
        }
    }

    /// A connection that waits, and its client's address where it has one, without waiting for one. The accepted socket is
    /// nonblocking and closed on exec by the same call, and belongs to no runtime yet.
    ///
    /// # Errors
    /// `WouldBlock` when none waits, and those of accept(2).
    pub fn accept(&self) -> io::Result<(Accepted, Option<IpAddr>)> {
        const FLAGS: SocketFlags = SocketFlags::NONBLOCK.union(SocketFlags::CLOEXEC);
        match self {
            Self::Tcp(listener) => {
                let (socket, peer) = acceptfrom_with(listener, FLAGS)?;
                // A client that came by IPv4 to a listener on `[::]` has its IPv4 address, as a trusted proxy is written.
                let peer = peer.and_then(|peer| SocketAddr::try_from(peer).ok()).map(|peer| peer.ip().to_canonical());
                Ok((Accepted::Tcp(socket.into()), peer))
            }
            Self::Unix(listener) => Ok((Accepted::Unix(accept_with(listener, FLAGS)?.into()), None)),
        }
    }
}

impl AsFd for ListenSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(listener) => listener.as_fd(),
            Self::Unix(listener) => listener.as_fd(),
        }
    }
}

/// A listener could not be bound.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Somebody listens there already.
    #[error("listener {listener}: {address} is in use by another process")]
    InUse {
        /// The listener's name.
        listener: String,
        /// Where it was to listen.
        address: String,
    },
    /// There is a file in the place of the socket, and it is no socket.
    #[error("listener {listener}: {address} exists and is not a socket; it was left alone")]
    NotASocket {
        /// The listener's name.
        listener: String,
        /// Where it was to listen.
        address: String,
    },
    /// The system refused.
    #[error("listener {listener}: cannot listen on {address}: {source}")]
    Refused {
        /// The listener's name.
        listener: String,
        /// Where it was to listen.
        address: String,
        /// Why.
        source: io::Error,
    },
}

/// Binds `config`, at least one socket for each of `workers`. Where there are `inherited` ones for its address it has all of
/// those, be they more, and what they are short of.
///
/// # Errors
/// When somebody else listens there, a file that is no socket is in the way, or the system refuses.
pub fn bind(config: &ListenerConfig, workers: usize, inherited: &mut Inherited) -> Result<BoundListener, BindError> {
    let name = Arc::from(config.name.as_str());
    let workers = workers.max(1);
    let bound = match (inherited.take(&config.address), &config.address) {
        (there, address) if !there.is_empty() => complete(there, address, workers, !inherited.are_in_use()),
        (_, ListenAddress::Tcp(address)) => bind_tcp(*address, workers),
        (_, ListenAddress::Unix(path)) => bind_unix(path, workers),
    };
    let (address, sockets) = bound.map_err(|source| bind_error(config, source))?;
    Ok(BoundListener { name, address, sockets })
}

fn bind_error(config: &ListenerConfig, source: io::Error) -> BindError {
    let listener = config.name.clone();
    let address = match &config.address {
        ListenAddress::Tcp(address) => address.to_string(),
        ListenAddress::Unix(path) => format!("unix:{}", path.display()),
    };
    match source.kind() {
        io::ErrorKind::AddrInUse => BindError::InUse { listener, address },
        io::ErrorKind::AlreadyExists => BindError::NotASocket { listener, address },
        _ => BindError::Refused { listener, address, source },
    }
}

type Bound = (ListenAddress, Vec<ListenSocket>);

/// Adds to inherited sockets what they are short of: TCP sockets of their own where `may_bind` and those that are there allow
/// it, else duplicates, which share a backlog.
fn complete(
    mut sockets: Vec<ListenSocket>,
    address: &ListenAddress,
    workers: usize,
    may_bind: bool,
) -> io::Result<Bound> {
    let shared = sockets.len();
    for missing in 0..workers.saturating_sub(shared) {
        let socket = match (address, sockets.get(missing % shared)) {
            (ListenAddress::Tcp(address), Some(first @ ListenSocket::Tcp(_)))
                if may_bind && SockRef::from(first).reuse_port()? =>
            {
                // One of another user's group, a socket unit's of root, cannot be joined (socket(7)), but shared.
                listen_tcp(*address).map(ListenSocket::Tcp).or_else(|_| first.duplicate())?
            }
            (_, Some(first)) => first.duplicate()?,
            (_, None) => return Err(io::ErrorKind::NotFound.into()),
        };
        sockets.push(socket);
    }
    Ok((address.clone(), sockets))
}

fn bind_tcp(address: SocketAddr, workers: usize) -> io::Result<Bound> {
    refuse_to_share(address)?;
    let first = listen_tcp(address)?;
    let address = first.local_addr()?;
    let mut sockets = vec![ListenSocket::Tcp(first)];
    for _ in 1..workers {
        sockets.push(ListenSocket::Tcp(listen_tcp(address)?));
    }
    Ok((ListenAddress::Tcp(address), sockets))
}

/// With `SO_REUSEPORT` a second gateway of the same user would silently take half of the connections. A bind without it
/// fails while anybody listens there, and leaves nothing behind.
fn refuse_to_share(address: SocketAddr) -> io::Result<()> {
    let probe = tcp_socket(address)?;
    options::may_rebind(&probe)?;
    probe.bind(&address.into())
}

fn listen_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = tcp_socket(address)?;
    options::listener(&socket, address)?;
    socket.bind(&address.into())?;
    socket.listen(options::BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

fn tcp_socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    options::dual_stack(&socket, address)?;
    Ok(socket)
}

fn bind_unix(path: &Path, workers: usize) -> io::Result<Bound> {
    remove_stale(path)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(&socket2::SockAddr::unix(path)?)?;
    socket.listen(options::BACKLOG)?;
    socket.set_nonblocking(true)?;
    complete(vec![ListenSocket::Unix(socket.into())], &ListenAddress::Unix(path.to_owned()), workers, true)
}

/// Removes the socket file of a process that is gone. One that is listened on stays, and so does any other file.
fn remove_stale(path: &Path) -> io::Result<()> {
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if !metadata.file_type().is_socket() {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        Ok(_) => Err(io::ErrorKind::AddrInUse.into()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests;
