//! The client's socket as hyper gets it: behind the framing guard, given up when the client stops reading, and held for
//! a while when it stops sending.
//!
//! A client that has half closed still wants its answer (RFC 9112, 9.6); one that has gone does not, and what the
//! upstream does for it is wasted. Both look the same: the end of what they send. So the end is kept from hyper, which
//! would cancel the request, until the answer is written; but not for longer than [`PATIENCE`] in which nothing could be
//! written.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use hyper::rt::{Read, ReadBufCursor, Write};

use super::{
    guarded_io::GuardedIo,
    idle::Idle,
    pace::{Pace, Rate},
};
use crate::net::stream::Stream;

/// How long a client that has ended its side is believed to wait for more of its answer. A client that has gone costs its
/// upstream so much; the first write to it ends it earlier.
const PATIENCE: Duration = Duration::from_secs(5);

/// Whether a request is being answered, told by those who answer.
///
/// Atomic only because hyper's upgrades want the io to be `Send`; it never leaves its worker.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answering(Arc<Told>);

#[derive(Debug, Default)]
struct Told {
    answering: AtomicBool,
    slow: AtomicBool,
}

impl Answering {
    /// Tells it.
    pub(crate) fn set(&self, answering: bool) {
        self.0.answering.store(answering, Relaxed);
    }

    /// True from a request's head to the end of its answer.
    pub(crate) fn get(&self) -> bool {
        self.0.answering.load(Relaxed)
    }

    /// True once the client has taken too little of an answer for too long.
    pub(crate) fn is_slow(&self) -> bool {
        self.0.slow.load(Relaxed)
    }

    fn slow(&self) {
        self.0.slow.store(true, Relaxed);
    }
}

/// A client's connection. A client that takes too little of what it is waited for with ends it: while hyper cannot write it
/// does not ask for more of the body either, so no other deadline sees such a client.
#[derive(Debug)]
pub(crate) struct Downstream {
    io: GuardedIo,
    pace: Pace,
    answering: Answering,
    /// For a client that has ended its side.
    farewell: Idle,
    /// hyper holds bytes that are not written.
    unflushed: bool,
    /// The client's end was kept back until they are.
    end_held: bool,
}

impl Downstream {
    /// Its client is to take answers at `rate`.
    pub(crate) fn new(io: GuardedIo, rate: Rate, answering: Answering) -> Self {
        let (pace, farewell) = (Pace::new(rate), Idle::new(PATIENCE));
        Self { io, pace, answering, farewell, unflushed: false, end_held: false }
    }

    /// True when nothing of a next message has come.
    pub(crate) fn is_between_messages(&self) -> bool {
        self.io.between_messages()
    }

    /// Gives the socket back.
    pub(crate) fn into_stream(self) -> Stream {
        self.io.into_stream()
    }

    fn wrote(&mut self, cx: &mut Context<'_>, poll: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        self.unflushed = true;
        self.farewell.progress();
        if let Poll::Ready(written) = poll {
            self.pace.passed(*written.as_ref().unwrap_or(&0));
            return Poll::Ready(written);
        }
        ready!(self.pace.poll_wait(cx));
        self.answering.slow();
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    /// The client's side has ended: ready once hyper may know. At once where a message was cut.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.io.between_messages() {
            return Poll::Ready(Ok(()));
        }
        self.end_held = self.unflushed;
        match (self.unflushed, self.answering.get()) {
            (true, _) => Poll::Pending,
            (false, true) => self.farewell.poll_wait(cx).map(Ok),
            (false, false) => Poll::Ready(Ok(())),
        }
    }
}

impl Read for Downstream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, cursor: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        let poll = Pin::new(&mut self.io).poll_read(cx, cursor);
        if self.io.has_ended() && matches!(poll, Poll::Ready(Ok(()))) { self.poll_end(cx) } else { poll }
    }
}

impl Write for Downstream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.io).poll_write(cx, buf);
        self.wrote(cx, poll)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.io).poll_write_vectored(cx, bufs);
        self.wrote(cx, poll)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.io).poll_flush(cx))?;
        self.unflushed = false;
        if std::mem::take(&mut self.end_held) {
            // hyper does not read again by itself.
            cx.waker().wake_by_ref();
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // hyper shuts down when it is done, and the connection's task then closes the socket, which says the same to the
        // client; or it has more to say (see `connection`), and a shutdown of its own.
        Poll::Ready(Ok(()))
    }
}
