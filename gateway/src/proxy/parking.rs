//! A parked connection: the socket and nothing else, until there is something to read.
//!
//! What serves requests is a future of some kilobytes. So a connection that is between requests loses it, and has a new one at
//! the next byte; a new connection at its first. What waits is the connection's own task, whose future is small, on the
//! registration that the socket has anyway: parking costs no system call.
//!
//! Who parks, and when a parked one is closed, is the worker's [`super::roster`]'s to say. Nothing is lost on the way:
//! a connection of which the last read, after the last answer, found nothing between two messages has nothing but its
//! socket.

use std::{
    future::poll_fn,
    rc::Rc,
    task::{Poll, Waker},
    time::Instant,
};

use tokio::io::AsyncWriteExt;

use super::{connection::Connection, roster::Told};
use crate::net::stream::Stream;

/// A connection's place among those of its worker, from its acceptance until HTTP is over on it.
#[derive(Debug)]
pub(crate) struct Place(Rc<Connection>);

impl Place {
    /// The place of a new connection, which is parked until its first byte.
    pub(crate) fn of(connection: &Rc<Connection>) -> Self {
        connection.listener().connections.parked();
        Self(Rc::clone(connection))
    }

    /// Waits until `stream` has something to read; false when it is to be closed instead.
    ///
    /// # Cancel safety
    /// Safe: nothing is read.
    pub(crate) async fn rest(&self, stream: &Stream) -> bool {
        let wakes = poll_fn(|cx| match stream.poll_readable(cx) {
            Poll::Ready(()) => Poll::Ready(true),
            // A request that the kernel has, and this runtime has not heard of, is answered before the end.
            Poll::Pending if self.0.seat.told() == Told::Close => Poll::Ready(stream.has_input()),
            Poll::Pending => Poll::Pending,
        });
        wakes.await
    }

    /// It has something to read.
    pub(crate) fn warm(&self) {
        self.0.worker().roster.warm(&self.0.seat);
        self.0.listener().connections.unparked();
    }

    /// Nothing is under way on it.
    pub(crate) fn park(&self) {
        self.0.worker().roster.park(&self.0.seat, Instant::now());
        self.0.listener().connections.parked();
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.0.seat.is_parked() {
            self.0.listener().connections.unparked();
        }
        self.0.worker().roster.leave(&self.0.seat);
    }
}

/// Ends a connection that nothing is under way on.
pub(crate) async fn close(mut stream: Stream) {
    // ignored: the socket is closed now, whatever the client makes of it.
    let _ = stream.shutdown().await;
}

/// The waker of the task that runs this.
pub(crate) async fn own_waker() -> Waker {
    poll_fn(|cx| Poll::Ready(cx.waker().clone())).await
}
