//! The body of a request, read from its connection as it is asked for.

use std::{
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::wire::Shared;

/// What follows a request's head. Nothing is read ahead of whoever polls it, but for what came together with the head.
///
/// What it says of itself it knows by itself: the wire may be in use by whoever asks.
#[derive(Debug)]
pub(crate) struct ClientBody {
    wire: Shared,
    /// Nothing follows, so that another request may: it is not read any more.
    ended: bool,
    left: SizeHint,
}

/// A request's body was malformed or cut short.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the request's body is malformed or cut short")]
pub(crate) struct Broken;

impl ClientBody {
    /// What is to come over `wire` of the request whose head was read last.
    pub(crate) fn new(wire: &Shared) -> Self {
        let (ended, left) = {
            let wire = wire.borrow();
            (wire.has_whole_request(), wire.size_hint())
        };
        Self { wire: Rc::clone(wire), ended, left }
    }
}

impl Body for ClientBody {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let (frame, ended, left) = {
            let mut wire = self.wire.borrow_mut();
            (ready!(wire.poll_frame(cx)), wire.has_whole_request(), wire.size_hint())
        };
        (self.ended, self.left) = (ended, left);
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.ended
    }

    fn size_hint(&self) -> SizeHint {
        self.left
    }
}
