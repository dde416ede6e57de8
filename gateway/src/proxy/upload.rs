//! The body on its way to the upstream: counted, limited, streamed with back-pressure, and sent again only where that
//! is allowed.
//!
//! An [`Upload`] belongs to the request; each attempt takes a [`RequestBody`] of it, which only the newest attempt may
//! read. Nothing is copied: a frame that is kept for another attempt shares its bytes.

use std::{
    cell::RefCell,
    future::poll_fn,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker, ready},
};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use http_body::{Body, Frame, SizeHint};

use super::{
    expect::Gate,
    failure::Cause,
    http1::{ClientBody, Shared},
    metrics,
    pace::{Pace, Rate},
};

/// Frames taken with the head at most: what came in one piece, and its end or a second piece.
const EARLY_FRAMES: usize = 2;

/// The body of one request. Clones are the same body.
#[derive(Clone, Debug, Default)]
pub(crate) struct Upload(Option<Rc<RefCell<State>>>);

#[derive(Debug)]
struct State {
    /// What came with the head, kept for another attempt.
    early: Vec<Bytes>,
    /// The trailers, where they came with the head as well.
    trailers: Option<HeaderMap>,
    /// The next of the early frames that the attempt under way has not had.
    next: usize,
    /// Nothing follows what is early.
    ended: bool,
    /// What is still to come; gone once nobody wants it any more.
    rest: Option<ClientBody>,
    /// Some of `rest` was handed on and is gone: there is no other attempt after that.
    spent: bool,
    attempt: u32,
    bytes: u64,
    limit: u64,
    pace: Pace,
    gate: Option<Gate>,
    fault: Option<Cause>,
    /// Who waits for the next frame.
    reader: Option<Waker>,
}

/// What a request's body is held to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct UploadLimits {
    /// Bytes at most; 0: no limit.
    pub(crate) bytes: u64,
    /// How fast it has to come.
    pub(crate) rate: Rate,
}

/// Why a body's stream ends early. [`Upload::fault`] says the same to the request's own task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum UploadError {
    /// The client's fault.
    #[error("the request's body failed: {0:?}")]
    Failed(Cause),
    /// The request is over, or a newer attempt has the body.
    #[error("the request's body is not wanted here any more")]
    Superseded,
}

impl Upload {
    /// The body of the request whose head came last over `wire`, held back if the client `waits` for a 100.
    pub(crate) fn of(wire: &Shared, limits: UploadLimits, waits: bool) -> Self {
        if wire.borrow().has_whole_request() {
            return Self(None);
        }
        if waits {
            wire.borrow_mut().owe_continue();
        }
        Self(Some(Rc::new(RefCell::new(State {
            early: Vec::new(),
            trailers: None,
            next: 0,
            ended: false,
            rest: Some(ClientBody::new(wire)),
            spent: false,
            attempt: 0,
            bytes: 0,
            limit: if limits.bytes == 0 { u64::MAX } else { limits.bytes },
            pace: Pace::new(limits.rate),
            gate: waits.then(Gate::new),
            fault: None,
            reader: None,
        }))))
    }

    /// True for a request without a body.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Takes what of the body is already there, so that it leaves in one write with the head. It never waits for what has
    /// not come, and does not look at all where the client waits for a 100.
    pub(crate) async fn prefetch(&self) {
        let Some(state) = &self.0 else { return };
        poll_fn(|cx| {
            let mut state = state.borrow_mut();
            for _ in 0..EARLY_FRAMES {
                if state.fetch(cx) {
                    break;
                }
            }
            Poll::Ready(())
        })
        .await;
    }

    /// The body for one more attempt; `None` when what was sent of it is gone.
    pub(crate) fn attempt(&self) -> Option<RequestBody> {
        let Some(state) = &self.0 else { return Some(RequestBody(None)) };
        let attempt = state.borrow_mut().begin()?;
        Some(RequestBody(Some((Rc::clone(state), attempt))))
    }

    /// True when another attempt could send all of it: none of it was taken, or all of it is still at hand.
    pub(crate) fn may_repeat(&self) -> bool {
        self.0.as_ref().is_none_or(|state| state.borrow().may_repeat())
    }

    /// Lets the upstream's 100 open the gate of a client that waits for it.
    pub(crate) fn hears(&self, informational: StatusCode) {
        let Some(state) = &self.0 else { return };
        if let Some(gate) = &state.borrow().gate {
            gate.hears(informational);
        }
    }

    /// Why the client's side of it failed, if it did.
    pub(crate) fn fault(&self) -> Option<Cause> {
        self.0.as_ref()?.borrow().fault
    }

    /// Asks for no more of it: the request is over. The client's connection can then end, and so does the upstream's
    /// unless it has had everything.
    pub(crate) fn end(&self) {
        if let Some(state) = &self.0 {
            state.borrow_mut().end();
        }
    }

    /// Bytes that have come.
    pub(crate) fn bytes(&self) -> u64 {
        self.0.as_ref().map_or(0, |state| state.borrow().bytes)
    }

    /// True while the client is being waited for.
    pub(crate) fn is_awaited(&self) -> bool {
        self.0.as_ref().is_some_and(|state| state.borrow().pace.is_waiting())
    }
}

impl State {
    fn begin(&mut self) -> Option<u32> {
        if self.attempt > 0 && !self.may_repeat() {
            return None;
        }
        self.attempt += 1;
        self.next = 0;
        Some(self.attempt)
    }

    fn may_repeat(&self) -> bool {
        !self.spent && self.fault.is_none() && (self.next == 0 || self.ended)
    }

    /// True when the client has sent all of it.
    fn is_drained(&self) -> bool {
        self.ended || self.rest.as_ref().is_some_and(Body::is_end_stream)
    }

    fn end(&mut self) {
        if self.is_drained() {
            return;
        }
        self.rest = None;
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }

    /// Takes one frame early. True when there is no use in looking for another.
    fn fetch(&mut self, cx: &mut Context<'_>) -> bool {
        if self.gate.is_some() {
            return true;
        }
        match self.poll_rest(cx) {
            Poll::Ready(Some(Ok(frame))) => self.keep(frame),
            Poll::Ready(_) => self.ended = true,
            Poll::Pending => return true,
        }
        self.ended = self.is_drained();
        self.ended
    }

    fn keep(&mut self, frame: Frame<Bytes>) {
        match frame.into_data() {
            Ok(data) => self.early.push(data),
            Err(frame) => {
                self.trailers = frame.into_trailers().ok();
                self.ended = true;
            }
        }
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, UploadError>>> {
        if let Some(frame) = self.next_early() {
            return Poll::Ready(Some(Ok(frame)));
        }
        if self.ended {
            return Poll::Ready(self.fault.map(|cause| Err(UploadError::Failed(cause))));
        }
        let frame = ready!(self.poll_rest(cx));
        self.spent = true;
        Poll::Ready(frame)
    }

    fn next_early(&mut self) -> Option<Frame<Bytes>> {
        let frame = match self.early.get(self.next) {
            Some(data) => Frame::data(data.clone()),
            None if self.next == self.early.len() => Frame::trailers(self.trailers.clone()?),
            None => return None,
        };
        self.next += 1;
        Some(frame)
    }

    /// True when the attempt under way has had everything.
    fn is_handed_out(&self) -> bool {
        let early = self.early.len() + usize::from(self.trailers.is_some());
        self.next >= early && self.is_drained() && self.fault.is_none()
    }

    /// Bytes of the early frames that the attempt under way has not had.
    fn early_left(&self) -> usize {
        self.early.iter().skip(self.next).map(Bytes::len).sum()
    }

    /// The next frame from the client.
    fn poll_rest(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, UploadError>>> {
        if self.rest.is_some()
            && let Some(gate) = &mut self.gate
            && gate.poll_open(cx).is_pending()
        {
            self.keep_reader(cx);
            return Poll::Pending;
        }
        let Some(rest) = &mut self.rest else { return Poll::Ready(Some(Err(UploadError::Superseded))) };
        match Pin::new(rest).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => Poll::Ready(Some(self.take(frame))),
            Poll::Ready(Some(Err(_))) => Poll::Ready(Some(self.fail(Cause::BodyBroken))),
            // A body in chunks may not know before that it has ended.
            Poll::Ready(None) => {
                self.ended = true;
                Poll::Ready(None)
            }
            Poll::Pending => self.wait(cx),
        }
    }

    fn wait(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, UploadError>>> {
        if self.pace.poll_wait(cx).is_ready() {
            metrics::slow_client("request_body");
            return Poll::Ready(Some(self.fail(Cause::BodyTimeout)));
        }
        self.keep_reader(cx);
        Poll::Pending
    }

    fn keep_reader(&mut self, cx: &Context<'_>) {
        if !self.reader.as_ref().is_some_and(|reader| reader.will_wake(cx.waker())) {
            self.reader = Some(cx.waker().clone());
        }
    }

    fn take(&mut self, frame: Frame<Bytes>) -> Result<Frame<Bytes>, UploadError> {
        let length = frame.data_ref().map_or(0, Bytes::len);
        self.pace.passed(length);
        self.ended = frame.is_trailers();
        self.bytes = self.bytes.saturating_add(u64::try_from(length).unwrap_or(u64::MAX));
        if self.bytes > self.limit { self.fail(Cause::BodyTooLarge) } else { Ok(frame) }
    }

    fn fail(&mut self, cause: Cause) -> Result<Frame<Bytes>, UploadError> {
        self.fault = Some(cause);
        Err(UploadError::Failed(cause))
    }
}

/// One attempt's hold on a request's body.
#[derive(Debug)]
pub(crate) struct RequestBody(Option<(Rc<RefCell<State>>, u32)>);

impl Body for RequestBody {
    type Data = Bytes;
    type Error = UploadError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let Some((state, attempt)) = &self.0 else { return Poll::Ready(None) };
        let mut state = state.borrow_mut();
        if state.attempt != *attempt {
            return Poll::Ready(Some(Err(UploadError::Superseded)));
        }
        state.poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(|(state, _)| state.borrow().is_handed_out())
    }

    fn size_hint(&self) -> SizeHint {
        let Some((state, _)) = &self.0 else { return SizeHint::with_exact(0) };
        let state = state.borrow();
        let rest = if state.ended { Some(0) } else { state.rest.as_ref().and_then(|rest| rest.size_hint().exact()) };
        let whole = rest.and_then(|rest| rest.checked_add(u64::try_from(state.early_left()).ok()?));
        whole.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
