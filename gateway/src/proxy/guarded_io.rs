//! A client's socket with the framing guard in front of hyper.
//!
//! The guard looks at the bytes in hyper's own buffer, after the read and before hyper knows of them. It never copies a
//! byte, and it writes nothing: the answer to a violation is the connection task's.
//!
//! What a violation becomes:
//! - In a head: hyper gets the sound bytes before it, and an error when it asks for more. It asks only when it wants the
//!   next head, that is, when the answers before are complete: it never reads on while it holds unread bytes. Where the
//!   violation is in the first byte of a head there would be none to hold, so hyper gets one harmless byte in its place.
//!   The connection then ends, and whoever ran it finds the violation in the [`FramingVerdict`] and answers by itself.
//! - In a body: the body ends in an error, and the service that reads it answers.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
};

use hyper::rt::{Read, ReadBufCursor, Write};
use tokio::io::AsyncWrite;

use super::framing::{Framing, FramingLimits, Inspected, Violation};
use crate::net::{
    io::{poll_read_inspected, poll_write_gathered},
    stream::Stream,
};

/// Stands in for a refused first byte: it could begin a method, so hyper waits for the rest, which never comes.
const HARMLESS: u8 = b'X';

/// A client's socket, for hyper's server.
#[derive(Debug)]
pub struct GuardedIo {
    stream: Stream,
    framing: Framing,
    verdict: FramingVerdict,
    /// The client has ended its side.
    ended: bool,
}

/// What was found, readable while hyper owns the io and after. Clones tell the same.
///
/// Atomic only because hyper's upgrades want the io to be `Send`; it never leaves its worker.
#[derive(Clone, Debug)]
pub struct FramingVerdict(Arc<Found>);

#[derive(Debug)]
struct Found {
    verdict: AtomicU8,
    /// The last read found nothing, between two messages.
    at_rest: AtomicBool,
    /// The last write found no room: an answer is on its way.
    write_blocked: AtomicBool,
}

/// Nothing was found so far.
const SOUND: u8 = u8::MAX;
/// The connection was upgraded.
const PASS_THROUGH: u8 = u8::MAX - 1;

impl FramingVerdict {
    /// Nothing is known yet.
    #[must_use]
    pub(crate) fn new() -> Self {
        Self(Arc::new(Found {
            verdict: AtomicU8::new(SOUND),
            at_rest: AtomicBool::new(false),
            write_blocked: AtomicBool::new(false),
        }))
    }

    /// What the client's bytes were refused for, if they were.
    #[must_use]
    pub fn violation(&self) -> Option<Violation> {
        Violation::from_index(self.0.verdict.load(Relaxed))
    }

    /// The connection was upgraded: what follows is not HTTP, and is no longer looked at. It changes nothing after a
    /// violation, as bytes are missing then.
    pub fn pass_through(&self) {
        // ignored: it fails only where there is a violation, which stands.
        let _ = self.0.verdict.compare_exchange(SOUND, PASS_THROUGH, Relaxed, Relaxed);
    }

    /// True when nothing is under way, as far as it can be seen here: the last read, made since [`Self::stirs`], found
    /// nothing between two messages, and no write waits for room.
    ///
    /// hyper asks for more only when it holds no byte that it has not parsed, and it has then written all it had but for
    /// what the socket did not take. So an io at rest can be taken from hyper, and nothing is lost.
    #[must_use]
    pub fn at_rest(&self) -> bool {
        self.0.at_rest.load(Relaxed) && !self.0.write_blocked.load(Relaxed)
    }

    /// Whatever was seen, the connection is not at rest before the next read says so.
    pub fn stirs(&self) {
        self.0.at_rest.store(false, Relaxed);
    }

    fn refuse(&self, violation: Violation) {
        self.0.verdict.store(violation.index(), Relaxed);
    }

    fn passes_through(&self) -> bool {
        self.0.verdict.load(Relaxed) == PASS_THROUGH
    }
}

impl GuardedIo {
    /// Guards `stream`; the verdict can be asked after hyper has taken the io.
    #[must_use]
    pub fn new(stream: Stream, limits: FramingLimits) -> (Self, FramingVerdict) {
        let verdict = FramingVerdict::new();
        (Self::telling(stream, limits, verdict.clone()), verdict)
    }

    /// Guards `stream`, of which `verdict` tells. It is the one of the io that was at rest before, if there was one.
    pub(crate) fn telling(stream: Stream, limits: FramingLimits, verdict: FramingVerdict) -> Self {
        verdict.stirs();
        Self { stream, framing: Framing::new(limits), verdict, ended: false }
    }

    /// Gives the socket back.
    #[must_use]
    pub fn into_stream(self) -> Stream {
        self.stream
    }

    /// The socket.
    #[must_use]
    pub fn get_ref(&self) -> &Stream {
        &self.stream
    }

    /// True between two messages, with nothing of the next one read but for an empty line.
    #[must_use]
    pub fn between_messages(&self) -> bool {
        self.framing.between_messages()
    }

    /// True once the client sends no more: a read found the end.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    fn poll_refused(&self, violation: Violation) -> Poll<io::Result<()>> {
        if self.verdict.0.write_blocked.load(Relaxed) {
            // An answer waits for room in the socket; `poll_write` wakes us when it has moved.
            return Poll::Pending;
        }
        Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, violation)))
    }

    fn wrote(&mut self, cx: &Context<'_>, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        self.verdict.0.write_blocked.store(written.is_pending(), Relaxed);
        if written.is_ready() && self.framing.violation().is_some() {
            // hyper may be waiting for a read that was put off for this write.
            cx.waker().wake_by_ref();
        }
        written
    }

    fn poll_inspected(&mut self, cx: &mut Context<'_>, cursor: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        let room = cursor.remaining();
        let framing = &mut self.framing;
        let (mut read, mut delivered) = (0, 0);
        ready!(poll_read_inspected(&mut self.stream, cx, cursor, |bytes| {
            read = bytes.len();
            let seen = framing.inspect(bytes);
            delivered = deliverable(seen, bytes);
            delivered
        }))?;
        self.ended = read == 0 && room > 0;
        if let Some(violation) = self.framing.violation() {
            self.verdict.refuse(violation);
            // A read of nothing would be the end of the connection to hyper.
            return if delivered == 0 { self.poll_refused(violation) } else { Poll::Ready(Ok(())) };
        }
        if read < room && self.framing.mid_message() {
            // The kernel has no more, and the client may hold the rest back until it is told that this has come.
            self.stream.set_quickack();
        }
        Poll::Ready(Ok(()))
    }
}

/// How many of `bytes` hyper gets, with a harmless one in the place of a refused first byte.
fn deliverable(seen: Inspected, bytes: &mut [u8]) -> usize {
    match bytes.get_mut(seen.deliver) {
        Some(refused) if seen.at_start => {
            *refused = HARMLESS;
            seen.deliver + 1
        }
        _ => seen.deliver,
    }
}

impl Read for GuardedIo {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, cursor: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if let Some(violation) = this.framing.violation() {
            return this.poll_refused(violation);
        }
        if this.verdict.passes_through() {
            this.framing.pass_through();
        }
        let poll = this.poll_inspected(cx, cursor);
        this.verdict.0.at_rest.store(poll.is_pending() && this.framing.at_rest(), Relaxed);
        poll
    }
}

impl Write for GuardedIo {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write(cx, buf);
        this.wrote(cx, written)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = poll_write_gathered(&mut this.stream, cx, bufs);
        this.wrote(cx, written)
    }
}

#[cfg(test)]
mod tests;
