//! The body on its way to the client: one of ours, or the upstream's, streamed with back-pressure and not buffered.
//!
//! It holds what the request holds at the upstream until its last byte: the connection, which then goes back to the
//! pool, and the places in the counts. It carries the request's record, which is written when it is dropped.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::{
    attempt::{Held, Incoming},
    idle::Idle,
    record::Record,
};

/// A body that is sent to a client.
#[derive(Debug)]
pub(crate) struct ResponseBody {
    kind: Kind,
    record: Option<Record>,
}

#[derive(Debug)]
enum Kind {
    Empty,
    Full(Bytes),
    Upstream(Box<Download>),
}

#[derive(Debug)]
struct Download {
    incoming: Incoming,
    held: Option<Held>,
    idle: Idle,
}

/// Why an answer's body breaks off. The client sees its connection cut, never a body that looks complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Cut {
    /// The upstream's connection broke.
    #[error("the upstream broke off the body")]
    Broken,
    /// The upstream was silent for too long.
    #[error("the upstream was silent for too long in the body")]
    Silent,
}

impl Cut {
    /// The error type for the access log (RFC 9209, 2.3).
    fn error(self) -> &'static str {
        match self {
            Self::Broken => "http_response_incomplete",
            Self::Silent => "http_response_timeout",
        }
    }
}

impl ResponseBody {
    /// No body.
    pub(crate) fn empty() -> Self {
        Self { kind: Kind::Empty, record: None }
    }

    /// A body of the gateway's own.
    pub(crate) fn full(bytes: Bytes) -> Self {
        if bytes.is_empty() { Self::empty() } else { Self { kind: Kind::Full(bytes), record: None } }
    }

    /// The upstream's body, which may be silent for `idle` at most. What is `held` is given back when it ends.
    pub(crate) fn upstream(mut incoming: Incoming, held: Held, idle: Duration) -> Self {
        if incoming.is_end_stream() {
            held.release();
            return Self::empty();
        }
        if let Some(whole) = incoming.take_whole() {
            // A small one came with its head: nothing more is wanted of the upstream.
            held.release();
            return Self::full(whole);
        }
        let download = Download { incoming, held: Some(held), idle: Idle::new(idle) };
        Self { kind: Kind::Upstream(Box::new(download)), record: None }
    }

    /// Gives it the request's record, to be written when it is over.
    pub(crate) fn attach(&mut self, mut record: Record) {
        if matches!(self.kind, Kind::Empty) {
            record.complete();
        }
        self.record = Some(record);
    }

    /// Without a body, for an answer to HEAD. Its length stays in its head.
    pub(crate) fn clear(&mut self) {
        self.kind = Kind::Empty;
    }

    fn note(&mut self, frame: Option<&Result<Frame<Bytes>, Cut>>, ended: bool) {
        let Some(record) = &mut self.record else { return };
        match frame {
            Some(Ok(frame)) => record.sent(frame.data_ref().map_or(0, Bytes::len)),
            Some(Err(cut)) => record.broke(cut.error()),
            None => {}
        }
        if ended {
            record.complete();
        }
    }
}

impl Kind {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        match self {
            Self::Empty => Poll::Ready(None),
            Self::Full(bytes) => {
                let bytes = std::mem::take(bytes);
                *self = Self::Empty;
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Self::Upstream(download) => download.poll_frame(cx),
        }
    }

    /// Gives the connection back: nothing follows on it.
    fn release(&mut self) {
        if let Self::Upstream(download) = self
            && let Some(held) = download.held.take()
        {
            held.release();
        }
    }
}

impl Download {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        match Pin::new(&mut self.incoming).poll_frame(cx) {
            Poll::Ready(frame) => {
                self.idle.progress();
                Poll::Ready(frame.map(|frame| frame.map_err(|_| Cut::Broken)))
            }
            Poll::Pending => self.idle.poll_wait(cx).map(|()| Some(Err(Cut::Silent))),
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let frame = ready!(self.kind.poll_frame(cx));
        let ended = frame.is_none() || self.is_end_stream();
        if ended {
            self.kind.release();
        }
        self.note(frame.as_ref(), ended);
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Empty => true,
            Kind::Full(bytes) => bytes.is_empty(),
            Kind::Upstream(download) => download.incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Empty => SizeHint::with_exact(0),
            Kind::Full(bytes) => SizeHint::with_exact(u64::try_from(bytes.len()).unwrap_or(u64::MAX)),
            Kind::Upstream(download) => download.incoming.size_hint(),
        }
    }
}
