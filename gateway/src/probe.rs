//! A request of this process's own through its real listeners: over a socket, by the accept loop that clients use, to the
//! routing layer and back. It is how the process finds out that it serves, whoever wants to know: the watchdog, or a
//! successor before it takes over.
//!
//! The data plane knows a probe by where it comes from: the probing socket is bound before it connects, and its name is in a
//! list that only this process has. Nothing that a client sends makes it a probe. A probe is never shed, and neither
//! counted nor logged as a request.
//!
//! It uses no runtime, no queue and no pool of the data plane, and blocks: it is called from a thread of the caller's. Nothing
//! here is locked between that thread and the workers, or a worker that hangs could take the one that looks after it along.

use std::{
    hash::{BuildHasher as _, RandomState},
    io::{self, Read, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use rustix::{
    io::Errno,
    net::{SocketAddrUnix, getsockname},
};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::{
    config::ListenAddress,
    net::{peer::PeerName, reserve::Reserve},
};

/// Which process has answered a probe.
pub const INSTANCE: &str = "holdgate-instance";

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: probe.invalid\r\nConnection: close\r\n\r\n";
/// An answer's head is shorter than this, whoever it is from; of a longer one the first part is looked at.
const HEAD_BYTES: usize = 4096;
/// Probes at once: the watchdog's, a take-over's, and some.
const AT_ONCE: usize = 8;
/// Descriptors kept back for probes: one for each end of a connection, and some for when another thread is faster.
const SPARES: usize = 6;

/// The probes of this process. Clones share them.
#[derive(Clone, Debug)]
pub struct Probes(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    instance: String,
    /// What marks an answer of this process, as it is on the wire.
    mark: String,
    /// How many names are in the list: what a connection of anybody else costs is this load.
    count: AtomicUsize,
    list: [Entry; AT_ONCE],
    /// A name stands in the list as a number that nobody outside can choose: who does not know the keys hits one of another's
    /// once in 2^61 tries.
    keys: RandomState,
    reserve: Reserve,
}

/// A probe that is under way; 0 where there is none.
#[derive(Debug, Default)]
struct Entry {
    /// Who asks.
    name: AtomicU64,
    /// Which listener is asked.
    listener: AtomicU64,
}

/// Why a probe did not come back.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// This process has no descriptor, port or memory for a socket.
    #[error("no socket for a probe: {0}")]
    NoSocket(#[source] io::Error),
    /// Too many probes are under way.
    #[error("too many probes at once")]
    Busy,
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
        Self(Arc::new(Inner {
            mark: format!("\r\n{INSTANCE}: {instance}\r\n"),
            instance,
            count: AtomicUsize::new(0),
            list: Default::default(),
            keys: RandomState::new(),
            reserve: Reserve::new(SPARES),
        }))
    }
}

impl Probes {
    /// True when a connection is one of these probes; `peer` says who is at its other end, and is only asked while one is
    /// under way.
    #[must_use]
    pub fn is_own(&self, peer: impl FnOnce() -> Option<PeerName>) -> bool {
        // Pairs with the one in `expect`: whoever accepts the connection has been connected to after that.
        let any = self.0.count.load(Ordering::Acquire) > 0;
        any && peer().is_some_and(|peer| self.any(|entry| &entry.name, self.0.number(&peer)))
    }

    /// True while a probe through `listener` is under way, which is to be let in although clients are not.
    #[must_use]
    pub fn is_awaited_at(&self, listener: &ListenAddress) -> bool {
        self.0.count.load(Ordering::Acquire) > 0 && self.any(|entry| &entry.listener, self.0.number(listener))
    }

    /// What the answer to a probe carries as [`INSTANCE`].
    #[must_use]
    pub fn instance(&self) -> &str {
        &self.0.instance
    }

    /// The descriptors kept back for probes, at either end. Who accepts clients fills it up before.
    #[must_use]
    pub fn reserve(&self) -> &Reserve {
        &self.0.reserve
    }

    /// Sends a probe to whoever accepts at `listener`, and waits for its answer; says how long it took.
    ///
    /// # Errors
    /// When it did not come back within `patience`, or from another process.
    pub fn ask(&self, listener: &ListenAddress, patience: Duration) -> Result<Duration, ProbeError> {
        let began = Instant::now();
        let (socket, name) = self.0.reserve.lend(|| bound(listener)).map_err(ProbeError::NoSocket)?;
        let expected = self.expect(&name, listener)?;
        let outcome = self.exchange(socket, &target(listener)?, Deadline { began, patience });
        drop(expected);
        // The socket is closed: its descriptor is the reserve's again. ignored: the next probe tries once more
        let _ = self.0.reserve.refill();
        outcome.map(|()| began.elapsed())
    }

    fn exchange(&self, mut socket: Socket, target: &SockAddr, deadline: Deadline) -> Result<(), ProbeError> {
        // connect(2) is bounded by SO_SNDTIMEO (socket(7)), that of a Unix socket with a full backlog too.
        socket.set_write_timeout(Some(deadline.left()?)).map_err(ProbeError::NoSocket)?;
        socket.connect(target).map_err(|error| deadline.judge(error, ProbeError::Connect))?;
        socket.write_all(REQUEST).map_err(|error| deadline.judge(error, ProbeError::Broken))?;
        let mut buffer = [0; HEAD_BYTES];
        let mut length = 0;
        while let Some(free) = buffer.get_mut(length..).filter(|free| !free.is_empty()) {
            socket.set_read_timeout(Some(deadline.left()?)).map_err(ProbeError::Broken)?;
            match socket.read(free) {
                Ok(0) => return Err(ProbeError::Broken(io::ErrorKind::UnexpectedEof.into())),
                Ok(read) => length += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(deadline.judge(error, ProbeError::Broken)),
            }
            if is_whole(buffer.get(..length).unwrap_or_default()) {
                break;
            }
        }
        if self.is_from_here(buffer.get(..length).unwrap_or_default()) { Ok(()) } else { Err(ProbeError::Elsewhere) }
    }

    /// True when the answer's head carries this process's mark.
    fn is_from_here(&self, head: &[u8]) -> bool {
        let mark = self.0.mark.as_bytes();
        head.windows(mark.len()).any(|part| part.eq_ignore_ascii_case(mark))
    }

    fn any(&self, field: impl Fn(&Entry) -> &AtomicU64, number: u64) -> bool {
        self.0.list.iter().any(|entry| field(entry).load(Ordering::Relaxed) == number)
    }

    fn expect(&self, name: &PeerName, listener: &ListenAddress) -> Result<Expected<'_>, ProbeError> {
        let (name, listener) = (self.0.number(name), self.0.number(listener));
        let take = |entry: &&Entry| entry.name.compare_exchange(0, name, Ordering::Acquire, Ordering::Relaxed).is_ok();
        let entry = self.0.list.iter().find(take).ok_or(ProbeError::Busy)?;
        entry.listener.store(listener, Ordering::Relaxed);
        self.0.count.fetch_add(1, Ordering::Release);
        Ok(Expected { count: &self.0.count, entry })
    }
}

impl Inner {
    /// The number that stands for `what` in the list; never 0.
    fn number(&self, what: &impl std::hash::Hash) -> u64 {
        self.keys.hash_one(what).max(1)
    }
}

/// An entry of the list, as long as its probe is under way.
struct Expected<'a> {
    count: &'a AtomicUsize,
    entry: &'a Entry,
}

impl Drop for Expected<'_> {
    fn drop(&mut self) {
        self.count.fetch_sub(1, Ordering::Release);
        self.entry.listener.store(0, Ordering::Relaxed);
        self.entry.name.store(0, Ordering::Release);
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
