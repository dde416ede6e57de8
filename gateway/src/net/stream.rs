//! One byte stream, whatever kind of socket carries it.

use std::{
    io,
    mem::MaybeUninit,
    net::SocketAddr,
    os::fd::{AsFd, BorrowedFd},
    path::Path,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use routing_cache::model::Address;
use rustix::{io::Errno, net::getpeername};
use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpSocket, TcpStream, UnixStream},
};

use super::{options, peer::PeerName};

/// The first pause before a Unix socket whose backlog was full is asked again: about what an app takes to accept.
const FULL_PAUSE: Duration = Duration::from_millis(1);
/// The longest such pause; a fraction of any useful `connect_timeout`.
const FULL_PAUSE_MAX: Duration = Duration::from_millis(20);

/// A connected socket.
#[derive(Debug)]
pub enum Stream {
    /// Over TCP.
    Tcp(TcpStream),
    /// Over a Unix socket.
    Unix(UnixStream),
}

/// A client's socket that no runtime watches: it may go to another thread.
#[derive(Debug)]
pub enum Accepted {
    /// Over TCP.
    Tcp(std::net::TcpStream),
    /// Over a Unix socket.
    Unix(std::os::unix::net::UnixStream),
}

impl Accepted {
    /// Takes it into this thread's runtime.
    ///
    /// # Errors
    /// When the runtime cannot watch it.
    pub fn into_stream(self) -> io::Result<Stream> {
        match self {
            Self::Tcp(stream) => TcpStream::from_std(stream).map(Stream::Tcp),
            Self::Unix(stream) => UnixStream::from_std(stream).map(Stream::Unix),
        }
    }
}

impl AsFd for Accepted {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(stream) => stream.as_fd(),
            Self::Unix(stream) => stream.as_fd(),
        }
    }
}

/// Why no connection to an endpoint was made.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Nothing answered in time.
    #[error("no answer within {after:?}")]
    TimedOut {
        /// How long it was tried.
        after: Duration,
    },
    /// The endpoint, or the network on the way, said no.
    #[error("{0}")]
    Refused(#[source] io::Error),
    /// This gateway has no descriptor, port or memory left for it: no fault of the endpoint.
    #[error("no resources for a connection: {0}")]
    Local(#[source] io::Error),
}

impl From<io::Error> for ConnectError {
    fn from(error: io::Error) -> Self {
        let ours = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM, Errno::ADDRNOTAVAIL];
        match Errno::from_io_error(&error) {
            Some(errno) if ours.contains(&errno) => Self::Local(error),
            _ => Self::Refused(error),
        }
    }
}

/// Connects to `address` within `timeout`.
///
/// # Errors
/// When nobody answers in time, the endpoint refuses, or this process is out of descriptors, ports or memory.
///
/// # Cancel safety
/// Safe: dropping the future closes the socket.
pub async fn connect(address: &Address, timeout: Duration) -> Result<Stream, ConnectError> {
    match tokio::time::timeout(timeout, open(address)).await {
        Ok(opened) => Ok(opened?),
        Err(_) => Err(ConnectError::TimedOut { after: timeout }),
    }
}

async fn open(address: &Address) -> io::Result<Stream> {
    match address {
        Address::Tcp(address) => {
            let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
            options::upstream(&socket, *address)?;
            socket.connect(*address).await.map(Stream::Tcp)
        }
        Address::Unix(path) => open_unix(Path::new(&**path)).await.map(Stream::Unix),
    }
}

/// A Unix socket whose backlog is full says so at once (connect(2), EAGAIN), where one of TCP has its client wait: so this
/// waits instead, and asks again.
async fn open_unix(path: &Path) -> io::Result<UnixStream> {
    let mut pause = FULL_PAUSE;
    loop {
        match UnixStream::connect(path).await {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                tokio::time::sleep(pause.mul_f64(0.5 + fastrand::f64())).await;
                pause = (pause * 2).min(FULL_PAUSE_MAX);
            }
            done => return done,
        }
    }
}

impl Stream {
    /// Takes it out of this thread's runtime, to be given to another.
    ///
    /// # Errors
    /// When the runtime does not let go of it.
    pub fn into_accepted(self) -> io::Result<Accepted> {
        match self {
            Self::Tcp(stream) => stream.into_std().map(Accepted::Tcp),
            Self::Unix(stream) => stream.into_std().map(Accepted::Unix),
        }
    }

    /// Acknowledges at once what has come; see [`options::acknowledge_now`]. Nothing to do on a Unix socket.
    pub fn set_quickack(&self) {
        if let Self::Tcp(stream) = self {
            options::acknowledge_now(stream);
        }
    }

    /// Closes it in a way that the peer takes for an error and not for the end; see [`options::reset_on_close`]. A Unix
    /// socket has only one way.
    pub fn reset(self) {
        if let Self::Tcp(stream) = &self {
            options::reset_on_close(stream);
        }
    }

    /// Who is at the other end, as the kernel names it; `None` when that has no name, or is gone already.
    #[must_use]
    pub fn peer_name(&self) -> Option<PeerName> {
        let name = match self {
            Self::Tcp(stream) => getpeername(stream),
            Self::Unix(stream) => getpeername(stream),
        };
        name.ok().flatten().and_then(PeerName::of)
    }

    /// Who is at the other end; `None` on a Unix socket, and when the peer is gone already. A client that came by IPv4 to
    /// a listener on `[::]` has its IPv4 address, as a trusted proxy is written.
    #[must_use]
    pub fn peer(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(stream) => stream.peer_addr().ok().map(canonical),
            Self::Unix(_) => None,
        }
    }

    /// The address of this end; `None` on a Unix socket.
    #[must_use]
    pub fn local(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(stream) => stream.local_addr().ok().map(canonical),
            Self::Unix(_) => None,
        }
    }

    /// Ready once there is something to read, the peer has closed, or the socket is broken; for a parked connection.
    pub fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::Tcp(stream) => stream.poll_read_ready(cx),
            Self::Unix(stream) => stream.poll_read_ready(cx),
        }
        .map(|_| ())
    }

    /// True while nothing has come that was not read, the peer's end included, as far as the runtime has heard. The kernel is
    /// asked only where the runtime is not certain, which is seldom; a byte that has come is then lost.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        let read = match self {
            Self::Tcp(stream) => stream.try_read(&mut [0]),
            Self::Unix(stream) => stream.try_read(&mut [0]),
        };
        read.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }

    /// True when a byte has come that was not read. It asks the kernel, and so knows of those that
    /// [`Self::poll_readable`] has not heard of yet.
    #[must_use]
    pub fn has_input(&self) -> bool {
        let mut byte = [MaybeUninit::uninit()];
        let peeked = match self {
            Self::Tcp(stream) => SockRef::from(stream).peek(&mut byte),
            Self::Unix(stream) => SockRef::from(stream).peek(&mut byte),
        };
        peeked.is_ok_and(|bytes| bytes > 0)
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Unix(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // A socket has no buffer of its own to flush.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Self::Unix(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests;
