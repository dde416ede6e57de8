//! The body of an answer, read from its connection as it is asked for.

use std::{
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::{fault::Fault, wire::Shared};

/// What follows an answer's head. Nothing is read ahead of whoever polls it.
#[derive(Debug)]
pub struct AnswerBody<B> {
    /// Let go of with the last frame: the connection may then carry another exchange.
    wire: Option<Shared<B>>,
    /// What broke it, to be told at the next look.
    fault: Option<Fault>,
}

impl<B> AnswerBody<B> {
    /// What is to come over `wire`.
    pub(super) fn new(wire: &Shared<B>) -> Self {
        let ended = wire.borrow().is_ended();
        Self { wire: (!ended).then(|| Rc::clone(wire)), fault: None }
    }

    /// All of the body, where it has a length and was read together with the head; it has then ended.
    pub fn take_whole(&mut self) -> Option<Bytes> {
        let whole = self.wire.as_ref()?.borrow_mut().take_whole()?;
        self.wire = None;
        Some(whole)
    }
}

impl<B> Body for AnswerBody<B> {
    type Data = Bytes;
    type Error = Fault;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        if let Some(fault) = self.fault.take() {
            return Poll::Ready(Some(Err(fault)));
        }
        let Some(wire) = &self.wire else { return Poll::Ready(None) };
        let mut wire = wire.borrow_mut();
        let frame = match ready!(wire.poll_frame(cx)) {
            Some(Err(fault)) => {
                drop(wire);
                self.fault = Some(fault);
                // Whoever passes the body on is let go once more before it fails, and can write what came before.
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            Some(Ok(frame)) => Some(Ok(frame)),
            None => None,
        };
        let ended = wire.is_ended();
        drop(wire);
        if ended {
            self.wire = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.wire.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        self.wire.as_ref().map_or_else(|| SizeHint::with_exact(0), |wire| wire.borrow().size_hint())
    }
}
