//! The socket of an upstream connection, for hyper's client, with notes of what went over it.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
};

use hyper::rt::{Read, ReadBufCursor, Write};
use tokio::io::AsyncWrite;

use super::answer::AnswerProgress;
use crate::net::{io::poll_read_inspected, stream::Stream};

/// The socket.
#[derive(Debug)]
pub(super) struct UpstreamSocket {
    stream: Stream,
    notes: Arc<Notes>,
    progress: AnswerProgress,
}

/// What went over the socket since the last request was given to it. hyper's errors do not tell, and whether a request may
/// be sent again depends on it.
///
/// Atomic only because hyper's upgrades want the io to be `Send`; it never leaves its worker.
#[derive(Debug, Default)]
pub(super) struct Notes {
    writes: AtomicU32,
    answered: AtomicBool,
}

impl Notes {
    /// A request is about to be given to the connection.
    pub(super) fn clear(&self) {
        self.writes.store(0, Relaxed);
        self.answered.store(false, Relaxed);
    }

    /// The writes the request has taken so far; none: the upstream has not seen a byte of it.
    pub(super) fn writes(&self) -> u32 {
        self.writes.load(Relaxed)
    }

    /// A byte of an answer was read.
    pub(super) fn answered(&self) -> bool {
        self.answered.load(Relaxed)
    }
}

impl UpstreamSocket {
    pub(super) fn new(stream: Stream) -> (Self, Arc<Notes>) {
        let notes = Arc::new(Notes::default());
        (Self { stream, notes: Arc::clone(&notes), progress: AnswerProgress::default() }, notes)
    }

    pub(super) fn into_stream(self) -> Stream {
        self.stream
    }

    /// A part of the request is on its way: the upstream may have answered it, and closed, before it had read the rest. What
    /// it said can still be read (RFC 9112, 9.5), so the end is left for the read to find.
    fn has_asked(&self) -> bool {
        self.notes.writes() > 0
    }
}

/// The peer takes nothing more.
fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
}

impl Read for UpstreamSocket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, cursor: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let room = cursor.remaining();
        let (mut read, mut more) = (0, false);
        ready!(poll_read_inspected(&mut this.stream, cx, cursor, |bytes| {
            read = bytes.len();
            more = this.progress.came(bytes);
            read
        }))?;
        if read > 0 {
            this.notes.answered.store(true, Relaxed);
        }
        if more && read < room {
            this.stream.set_quickack();
        }
        Poll::Ready(Ok(()))
    }
}

impl Write for UpstreamSocket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = match ready!(Pin::new(&mut this.stream).poll_write(cx, buf)) {
            Err(error) if this.has_asked() && is_gone(&error) => return Poll::Ready(Ok(buf.len())),
            written => written?,
        };
        if written > 0 {
            this.notes.writes.store(this.notes.writes().saturating_add(1), Relaxed);
            this.progress.asked();
        }
        Poll::Ready(Ok(written))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests;
