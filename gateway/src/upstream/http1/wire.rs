//! A connection to an upstream: the socket, and how far the exchange over it has come.

use std::{
    cell::RefCell,
    error::Error,
    future::{Future, poll_fn},
    io,
    pin::pin,
    rc::{Rc, Weak},
    task::{Context, Poll, Waker, ready},
};

use bytes::{Bytes, BytesMut};
use http::StatusCode;
use http_body::{Body, Frame, SizeHint};
use tokio::{
    io::AsyncReadExt as _,
    task::{AbortHandle, spawn_local},
};

use super::{
    body::AnswerBody,
    encode::{self, Ask},
    fault::{Fault, Flaw},
    head,
    reading::Reading,
    spare::Spare,
};
use crate::{
    message::{ResponseHead, body::Item},
    net::{buffers, outbox::Outbox, stream::Stream},
};

/// Room for the first read of an answer, where the one before was no larger: nearly every head, and the whole of a small
/// answer.
const FIRST_READ: usize = 8 << 10;
/// Room that is asked for one read at most, which bounds what is held of a body that its reader is slow to take.
const LARGEST_READ: usize = buffers::ANSWER_PIECE;
/// A buffer for which more room was asked than this is not kept for another exchange: those that are kept take a few MiB
/// of a worker at most. An answer of 64 KiB fits with its head, so that the next one like it is one read.
const LARGEST_KEPT: usize = buffers::ANSWER_HEAD + FIRST_READ;

/// A connection that an answer's body and a lease share.
pub(crate) type Shared<B> = Rc<RefCell<Wire<B>>>;

/// A connection.
#[derive(Debug)]
pub(crate) struct Wire<B> {
    stream: Stream,
    read: BytesMut,
    outbox: Outbox<B>,
    reading: Reading,
    spare: Rc<Spare>,
    /// The answer's head lets the connection carry another request.
    keeps: bool,
    /// The last read took all there was.
    drained: bool,
    /// Room for the next read where nothing tells how much comes.
    next_read: usize,
    /// Bytes of this answer that were read: the next one may be as large.
    came: usize,
    /// The buffer may have become larger than is kept for another exchange.
    grown: bool,
    /// The rest of the request, where the answer came before its end.
    upload: Option<Upload>,
}

/// What sends the rest of a request while its answer is read.
#[derive(Debug)]
struct Upload {
    task: AbortHandle,
    failed: Option<Fault>,
    /// Who reads the answer meanwhile.
    reader: Option<Waker>,
}

impl Drop for Upload {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl<B> Wire<B> {
    /// A connection that has carried nothing yet.
    pub(crate) fn new(stream: Stream, spare: Rc<Spare>) -> Self {
        Self {
            stream,
            read: BytesMut::new(),
            outbox: Outbox::default(),
            reading: Reading::idle(),
            spare,
            keeps: true,
            drained: false,
            next_read: FIRST_READ,
            came: 0,
            grown: false,
            upload: None,
        }
    }

    /// True while nothing has come that was not asked for, the peer's end included. It is what the runtime has heard; only
    /// where that is not certain the kernel is asked.
    pub(crate) fn is_quiet(&self) -> bool {
        self.stream.is_quiet()
    }

    /// True when it may carry another request: the last one and its answer are complete, and not a byte is left over.
    pub(crate) fn is_reusable(&self) -> bool {
        self.keeps && self.reading.is_ended() && self.outbox.is_complete() && self.read.is_empty()
    }

    /// True when the answer is complete and the request is not.
    pub(crate) fn is_answered_early(&self) -> bool {
        self.reading.is_ended() && !self.outbox.is_over()
    }

    /// Lets go of its buffers until the next request.
    pub(crate) fn rest(&mut self) {
        debug_assert!(self.is_reusable(), "a connection rests in the middle of an exchange");
        self.upload = None;
        let read = std::mem::take(&mut self.read);
        if !self.grown {
            self.spare.keep_read(read);
        }
        self.spare.keep_write(self.outbox.take_memory());
    }

    /// The socket.
    #[cfg(test)]
    pub(super) fn stream(&self) -> &Stream {
        &self.stream
    }

    /// Writes that took something of the request.
    pub(crate) fn writes(&self) -> u32 {
        self.outbox.writes()
    }

    /// A byte of an answer was read.
    pub(crate) fn answered(&self) -> bool {
        self.came > 0
    }

    /// The socket, and what was read beyond the answer's head.
    pub(crate) fn into_stream(self) -> (Stream, Bytes) {
        (self.stream, self.read.freeze())
    }

    pub(super) fn is_ended(&self) -> bool {
        self.reading.is_ended()
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        self.reading.size_hint()
    }

    /// All of the answer's body, where it has a length and is there.
    pub(super) fn take_whole(&mut self) -> Option<Bytes> {
        self.reading.take_whole(&mut self.read)
    }

    /// The next frame of the answer's body.
    pub(super) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        let frame = ready!(self.poll_next(cx));
        if matches!(frame, Some(Err(_))) {
            self.reading.fail();
        }
        Poll::Ready(frame)
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        if let Some(failed) = self.poll_upload(cx) {
            return Poll::Ready(Some(Err(failed)));
        }
        loop {
            match self.reading.next(&mut self.read)? {
                Item::Data(data) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                Item::Trailers(trailers) => return Poll::Ready(Some(Ok(Frame::trailers(trailers)))),
                Item::End => return Poll::Ready(None),
                Item::More => {}
            }
            if ready!(self.poll_read(cx))? == 0 {
                self.reading.end(&self.read)?;
            }
        }
    }

    /// What went wrong with the rest of the request; else whoever reads is told when something does.
    fn poll_upload(&mut self, cx: &Context<'_>) -> Option<Fault> {
        let upload = self.upload.as_mut()?;
        if upload.failed.is_none() && !upload.reader.as_ref().is_some_and(|reader| reader.will_wake(cx.waker())) {
            upload.reader = Some(cx.waker().clone());
        }
        upload.failed.take()
    }

    /// Reads once; 0: the peer has sent its last byte.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let read = self.poll_fill(cx);
        if read.is_pending() && std::mem::take(&mut self.drained) && !self.reading.ends_with_connection() {
            // An app with Nagle's algorithm on that writes head and body apart holds the body back until the head is
            // acknowledged, and our kernel delays that by 40 ms (outage D). More is to come, so it is not delayed.
            self.stream.set_quickack();
        }
        read
    }

    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.read.capacity() == 0 {
            // An app that takes its time costs no memory.
            ready!(self.stream.poll_readable(cx));
            self.read = self.spare.take_read();
        }
        self.make_room();
        let room = self.read.capacity() - self.read.len();
        let read = ready!(pin!(self.stream.read_buf(&mut self.read)).poll(cx))?;
        self.came = self.came.saturating_add(read);
        self.drained = read < room;
        self.next_read = if self.drained { FIRST_READ } else { (self.next_read * 2).min(LARGEST_READ) };
        Poll::Ready(Ok(read))
    }

    /// Room for what is awaited and a byte more: a read that fills all room leaves open whether there was more.
    fn make_room(&mut self) {
        let awaited = self.reading.awaited().map(|awaited| usize::try_from(awaited).unwrap_or(usize::MAX));
        let wanted =
            awaited.map_or(self.next_read, |awaited| awaited.saturating_add(1).clamp(FIRST_READ, LARGEST_READ));
        self.grown |= wanted > LARGEST_KEPT || self.read.len() > LARGEST_KEPT;
        self.read.reserve(wanted);
    }
}

impl<B> Wire<B>
where
    B: Body<Data = Bytes> + Unpin + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    /// Lays a request out. Gives the body back where the connection cannot take it any more.
    fn begin(&mut self, ask: &Ask<'_>, body: B) -> Result<(), B> {
        if !self.is_reusable() || !self.is_quiet() {
            self.keeps = false;
            return Err(body);
        }
        let mut write = self.spare.take_write();
        let framing = encode::head(ask, &body, &mut write);
        self.outbox.begin(write, framing, body);
        self.reading = Reading::new();
        self.next_read = self.came.saturating_add(1).clamp(FIRST_READ, LARGEST_KEPT);
        (self.drained, self.grown, self.came) = (false, false, 0);
        Ok(())
    }

    /// Sends, and reads up to the answer's `head`; both at once, as an answer may come before the request's end.
    fn poll_head(&mut self, cx: &mut Context<'_>, ask: &Ask<'_>, head: &mut ResponseHead) -> Poll<Result<(), Fault>> {
        if let Poll::Ready(Err(fault)) = self.outbox.poll_send(&mut self.stream, cx) {
            return Poll::Ready(Err(fault.into()));
        }
        loop {
            if !self.read.is_empty() && self.next_head(ask, head)? {
                return Poll::Ready(Ok(()));
            }
            if ready!(self.poll_read(cx))? == 0 {
                self.reading.end(&self.read)?;
            }
        }
    }

    /// True once all of the answer's head was read. Informational ones before it are told and dropped.
    fn next_head(&mut self, ask: &Ask<'_>, head: &mut ResponseHead) -> Result<bool, Fault> {
        if head.fields.capacity() == 0 {
            head.fields = self.spare.take_fields();
        }
        while let Some(facts) = self.reading.head(&mut self.read, ask.method, head)? {
            if !head::is_informational(head.status) {
                self.keeps = facts.keeps(head, ask.method);
                return Ok(true);
            }
            (ask.informed)(head);
        }
        Ok(false)
    }
}

/// Sends a request and waits for the head of its answer. Outer error: the connection could not take it; here is its body.
///
/// # Cancel safety
/// Dropping the future leaves the connection in the middle of an exchange: it cannot be used again.
pub(crate) async fn exchange<B>(
    wire: &Shared<B>,
    ask: &Ask<'_>,
    body: B,
) -> Result<Result<(ResponseHead, AnswerBody<B>), Fault>, B>
where
    B: Body<Data = Bytes> + Unpin + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    wire.borrow_mut().begin(ask, body)?;
    let mut head = ResponseHead::new(StatusCode::OK);
    let read = poll_fn(|cx| wire.borrow_mut().poll_head(cx, ask, &mut head)).await;
    Ok(read.and_then(|()| follow(wire, head.status)).map(|body| (head, body)))
}

/// What follows the head of an answer with this status.
fn follow<B>(wire: &Shared<B>, status: StatusCode) -> Result<AnswerBody<B>, Fault>
where
    B: Body<Data = Bytes> + Unpin + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let mut held = wire.borrow_mut();
    if !held.outbox.is_over() {
        if status == StatusCode::SWITCHING_PROTOCOLS {
            return Err(Flaw::EarlySwitch.into());
        }
        if !held.is_ended() {
            let task = spawn_local(upload(Rc::downgrade(wire))).abort_handle();
            held.upload = Some(Upload { task, failed: None, reader: None });
        }
    }
    drop(held);
    Ok(AnswerBody::new(wire))
}

/// Sends the rest of a request whose answer is complete, and nothing after it.
pub(crate) async fn send_rest<B>(wire: &Shared<B>)
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    wire.borrow_mut().upload = None;
    // ignored: there is nobody any more who could be told.
    let _ = poll_fn(|cx| {
        let Wire { outbox, stream, .. } = &mut *wire.borrow_mut();
        outbox.poll_send(stream, cx)
    })
    .await;
}

/// Sends the rest of a request whose answer came before its end. In a task of its own, as whoever reads the answer may be
/// slow to read on, and the upstream may want all of the request first. It ends with the connection.
async fn upload<B>(wire: Weak<RefCell<Wire<B>>>)
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    poll_fn(|cx| {
        let Some(wire) = wire.upgrade() else { return Poll::Ready(()) };
        let mut wire = wire.borrow_mut();
        let Wire { outbox, stream, upload, .. } = &mut *wire;
        let Err(fault) = ready!(outbox.poll_send(stream, cx)) else { return Poll::Ready(()) };
        if let Some(upload) = upload {
            upload.failed = Some(fault.into());
            if let Some(reader) = upload.reader.take() {
                reader.wake();
            }
        }
        Poll::Ready(())
    })
    .await;
}
