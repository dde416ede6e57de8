//! The client's socket as hyper gets it: behind the framing guard, and given up when the client stops reading.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use hyper::rt::{Read, ReadBufCursor, Write};

use super::{guarded_io::GuardedIo, idle::Idle};
use crate::net::stream::Stream;

/// A client's connection. A write that makes no progress for the idle time-out ends it: while hyper cannot write it
/// does not ask for more of the body either, so no other deadline sees such a client.
#[derive(Debug)]
pub(crate) struct Downstream {
    io: GuardedIo,
    patience: Idle,
}

impl Downstream {
    /// Waits `patience` at most for a write.
    pub(crate) fn new(io: GuardedIo, patience: Duration) -> Self {
        Self { io, patience: Idle::new(patience) }
    }

    /// True when nothing of a next message has come.
    pub(crate) fn is_between_messages(&self) -> bool {
        self.io.between_messages()
    }

    /// Gives the socket back.
    pub(crate) fn into_stream(self) -> Stream {
        self.io.into_stream()
    }

    fn patient<T>(&mut self, cx: &mut Context<'_>, poll: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if poll.is_ready() {
            self.patience.progress();
            return poll;
        }
        self.patience.poll_wait(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl Read for Downstream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, cursor: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, cursor)
    }
}

impl Write for Downstream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.io).poll_write(cx, buf);
        self.patient(cx, poll)
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
        self.patient(cx, poll)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // hyper shuts down when it is done, and the connection's task then closes the socket, which says the same to the
        // client; or it has more to say (see `connection`), and a shutdown of its own.
        Poll::Ready(Ok(()))
    }
}
