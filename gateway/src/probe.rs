//! A request of this process's own through its real listeners: over a socket, by the accept loop that clients use, to the
//! routing layer and back. It is how the process finds out that it serves, whoever wants to know: the watchdog, or a
//! successor before it takes over.
//!
//! The data plane knows a probe by where it comes from: the probing socket is bound before it connects, and its name is in a
//! list that only this process has. Nothing that a client sends makes it a probe. A probe is never shed, and neither
//! counted nor logged as a request.
//!
//! It uses no runtime, no queue and no pool of the data plane, and blocks: it is called from a thread of the caller's.

use std::{
    io::{self, Read, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use http::{HeaderName, HeaderValue};
use rustix::{
    io::Errno,
    net::{SocketAddrUnix, getsockname},
};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::{config::ListenAddress, net::peer::PeerName};

/// Which process has answered a probe.
pub const INSTANCE: HeaderName = HeaderName::from_static("holdgate-instance");

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: probe.invalid\r\nConnection: close\r\n\r\n";
/// An answer's head is shorter than this, whoever it is from; of a longer one the first part is looked at.
const HEAD_BYTES: usize = 4096;

/// The probes of this process. Clones share them.
#[derive(Clone, Debug)]
pub struct Probes(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    instance: String,
    /// How many names are in the list: what a connection of anybody else costs is this load.
    count: AtomicUsize,
    names: Mutex<Vec<PeerName>>,
}

/// Why a probe did not come back.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// This process has no descriptor, port or memory for a socket.
    #[error("no socket for a probe: {0}")]
    NoSocket(#[source] io::Error),
    /// Nobody listens there.
    #[error("cannot connect: {0}")]
    Connect(#[source] io::Error),
    /// No whole answer came in time.
    #[error("no answer within {} ms", .0.as_millis())]
    TimedOut(Duration),
    /// The connection was closed without a whole answer, or broke.
    #[error("no answer: {0}")]
    Broken(#[source] io::Error),
    /// Another process that has the same listening socket has answered.
    #[error("another process has answered")]
    Elsewhere,
}

impl Default for Probes {
    fn default() -> Self {
        let instance = format!("{:016x}{:016x}", fastrand::u64(..), fastrand::u64(..));
        Self(Arc::new(Inner { instance, count: AtomicUsize::new(0), names: Mutex::default() }))
    }
}

impl Probes {
    /// True when a connection is one of these probes; `peer` says who is at its other end, and is only asked while one is
    /// under way.
    #[must_use]
    pub fn is_own(&self, peer: impl FnOnce() -> Option<PeerName>) -> bool {
        // Pairs with the one in `expect`: whoever accepts the connection has been connected to after that.
        let any = self.0.count.load(Ordering::Acquire) > 0;
        any && peer().is_some_and(|peer| self.names().contains(&peer))
    }

    /// What the answer to a probe carries as [`INSTANCE`].
    #[must_use]
    pub fn instance(&self) -> HeaderValue {
        HeaderValue::from_str(&self.0.instance).unwrap_or(HeaderValue::from_static("unknown"))
    }

    /// Sends a probe to whoever accepts at `listener`, and waits for its answer; says how long it took.
    ///
    /// # Errors
    /// When it did not come back within `patience`, or from another process.
    pub fn ask(&self, listener: &ListenAddress, patience: Duration) -> Result<Duration, ProbeError> {
        let began = Instant::now();
        let (socket, name) = bound(listener).map_err(ProbeError::NoSocket)?;
        let _expected = self.expect(name);
        self.exchange(socket, &target(listener)?, Deadline { began, patience })?;
        Ok(began.elapsed())
    }

    fn exchange(&self, mut socket: Socket, target: &SockAddr, deadline: Deadline) -> Result<(), ProbeError> {
        // connect(2) is bounded by SO_SNDTIMEO (socket(7)), that of a Unix socket with a full backlog too.
        socket.set_write_timeout(Some(deadline.left()?)).map_err(ProbeError::NoSocket)?;
        socket.connect(target).map_err(|error| deadline.judge(error, ProbeError::Connect))?;
        socket.write_all(REQUEST).map_err(|error| deadline.judge(error, ProbeError::Broken))?;
        let mut head = Vec::with_capacity(HEAD_BYTES);
        let mut buffer = [0; 1024];
        while !is_whole(&head) && head.len() < HEAD_BYTES {
            socket.set_read_timeout(Some(deadline.left()?)).map_err(ProbeError::Broken)?;
            match socket.read(&mut buffer) {
                Ok(0) => return Err(ProbeError::Broken(io::ErrorKind::UnexpectedEof.into())),
                Ok(read) => head.extend_from_slice(buffer.get(..read).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(deadline.judge(error, ProbeError::Broken)),
            }
        }
        if self.is_from_here(&head) { Ok(()) } else { Err(ProbeError::Elsewhere) }
    }

    /// True when the answer's head carries this process's mark.
    fn is_from_here(&self, head: &[u8]) -> bool {
        let mark = format!("\r\n{}: {}\r\n", INSTANCE.as_str(), self.0.instance);
        head.windows(mark.len()).any(|part| part.eq_ignore_ascii_case(mark.as_bytes()))
    }

    fn expect(&self, name: PeerName) -> Expected<'_> {
        self.names().push(name.clone());
        self.0.count.fetch_add(1, Ordering::Release);
        Expected { probes: self, name }
    }

    fn names(&self) -> MutexGuard<'_, Vec<PeerName>> {
        self.0.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A name in the list, as long as its probe is under way.
struct Expected<'a> {
    probes: &'a Probes,
    name: PeerName,
}

impl Drop for Expected<'_> {
    fn drop(&mut self) {
        self.probes.0.count.fetch_sub(1, Ordering::Release);
        self.probes.names().retain(|name| *name != self.name);
    }
}

/// Until when a probe is to be back.
#[derive(Clone, Copy)]
struct Deadline {
    began: Instant,
    patience: Duration,
}

impl Deadline {
    fn left(self) -> Result<Duration, ProbeError> {
        let left = self.patience.checked_sub(self.began.elapsed()).filter(|left| !left.is_zero());
        left.ok_or(ProbeError::TimedOut(self.patience))
    }

    fn judge(self, error: io::Error, otherwise: impl FnOnce(io::Error) -> ProbeError) -> ProbeError {
        // Linux says EAGAIN when a socket's time is over, and EINPROGRESS for connect(2).
        let over = [Errno::AGAIN, Errno::INPROGRESS, Errno::TIMEDOUT];
        if Errno::from_io_error(&error).is_some_and(|errno| over.contains(&errno)) {
            ProbeError::TimedOut(self.patience)
        } else {
            otherwise(error)
        }
    }
}

fn is_whole(head: &[u8]) -> bool {
    head.windows(4).any(|part| part == b"\r\n\r\n")
}

/// A socket that has a name of its own already.
fn bound(listener: &ListenAddress) -> io::Result<(Socket, PeerName)> {
    match listener {
        ListenAddress::Tcp(address) => {
            let own = reachable(*address);
            let socket = Socket::new(Domain::for_address(own), Type::STREAM, Some(Protocol::TCP))?;
            socket.bind(&SocketAddr::new(own.ip(), 0).into())?;
            own_name(socket)
        }
        ListenAddress::Unix(_) => {
            let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
            // Without a name the kernel gives an abstract one that nobody else has (unix(7), Autobind).
            rustix::net::bind(&socket, &SocketAddrUnix::new_unnamed())?;
            own_name(socket)
        }
    }
}

fn own_name(socket: Socket) -> io::Result<(Socket, PeerName)> {
    let name = PeerName::of(getsockname(&socket)?).ok_or(io::ErrorKind::AddrNotAvailable)?;
    Ok((socket, name))
}

fn target(listener: &ListenAddress) -> Result<SockAddr, ProbeError> {
    match listener {
        ListenAddress::Tcp(address) => Ok(reachable(*address).into()),
        ListenAddress::Unix(path) => SockAddr::unix(path).map_err(ProbeError::Connect),
    }
}

/// Where a listener on every address is reached from this machine.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}
