//! A process that has another one's listening sockets, and still has to prove itself: what it accepts it hands back, unread.
//!
//! Both accept from the same sockets meanwhile. A probe of the process's own is served here, which is the proof; everything
//! else goes, with the address of its listener, through a socket to the process that serves, which takes it as if it had
//! accepted it ([`super::Returns`]). What is in that socket is not lost when this process dies.

use std::{
    io::IoSlice,
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg},
};

use crate::{config::ListenAddress, net::stream::Stream};

/// For the other process to take what waits in the socket, which holds some hundred connections. It is shorter than what makes
/// a worker count as hung.
const PATIENCE: Duration = Duration::from_secs(2);

/// Whether this process still has to prove itself. Clones share it; by default it has not.
#[derive(Clone, Debug, Default)]
pub struct Proving(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    is_on: AtomicBool,
    /// Set as long as `is_on`.
    way: Mutex<Option<Arc<Way>>>,
}

/// Where connections go back to.
#[derive(Debug)]
struct Way {
    socket: OwnedFd,
    /// The listeners that the other process has, too.
    shared: Vec<ListenAddress>,
}

impl Proving {
    /// Connections to `shared` listeners go into `socket`.
    #[must_use]
    pub fn new(socket: OwnedFd, shared: Vec<ListenAddress>) -> Self {
        let way = Mutex::new(Some(Arc::new(Way { socket, shared })));
        Self(Arc::new(Inner { is_on: AtomicBool::new(true), way }))
    }

    /// What is accepted from now on is this process's.
    pub fn end(&self) {
        self.0.is_on.store(false, Ordering::Release);
        *self.way() = None;
    }

    /// True until [`Proving::end`].
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.0.is_on.load(Ordering::Acquire)
    }

    /// Hands a connection back, where that is to be done. What comes back is to be served here: because this process serves, or
    /// because the other one is gone or has no such listener, and then it is better served here than not at all.
    pub(super) fn hand_back(&self, stream: Stream, listener: &ListenAddress) -> Option<Stream> {
        if !self.is_on() {
            return Some(stream);
        }
        let Some(way) = self.way().clone().filter(|way| way.shared.contains(listener)) else { return Some(stream) };
        let socket = match stream.into_accepted() {
            Ok(socket) => socket,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be handed back");
                return None;
            }
        };
        match way.send(socket.as_fd(), listener) {
            Ok(()) => None,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be handed back and is served here");
                // ignored: a socket that the runtime cannot watch is closed
                socket.into_stream().ok()
            }
        }
    }

    fn way(&self) -> std::sync::MutexGuard<'_, Option<Arc<Way>>> {
        self.0.way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Way {
    fn send(&self, connection: BorrowedFd<'_>, listener: &ListenAddress) -> Result<(), Errno> {
        let name = listener.to_string();
        let rights = [connection];
        for may_wait in [true, false] {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            control.push(SendAncillaryMessage::ScmRights(&rights));
            let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
            match sendmsg(&self.socket, &[IoSlice::new(name.as_bytes())], &mut control, flags) {
                Err(Errno::AGAIN) if may_wait => self.wait()?,
                done => return done.map(drop),
            }
        }
        Err(Errno::AGAIN)
    }

    fn wait(&self) -> Result<(), Errno> {
        let timeout = Timespec::try_from(PATIENCE).ok();
        poll(&mut [PollFd::new(&self.socket, PollFlags::OUT)], timeout.as_ref()).map(drop)
    }
}
