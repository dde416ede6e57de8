//! A connection from a client: the socket, and how far the messages over it have come.

use std::{
    cell::RefCell,
    future::Future,
    io,
    ops::Deref,
    pin::{Pin, pin},
    rc::Rc,
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http::{StatusCode, Version};
use http_body::{Frame, SizeHint};
use tokio::io::{AsyncReadExt as _, AsyncWrite as _};

use super::{
    body::Broken,
    encode::{self, Terms},
    paced::Paced,
};
use crate::{
    message::{RequestHead, ResponseHead, body::Item},
    net::{
        buffers,
        outbox::{Framing, Outbox, SendError},
        stream::Stream,
    },
    proxy::{
        body::{Cut, ResponseBody},
        framing::{FramingLimits, Reading, Violation},
        idle::Idle,
        pace::{Pace, Rate},
    },
    upstream::http1::Spare,
};

/// Room for the first read: nearly every head, and the whole of a small request.
const FIRST_READ: usize = 8 << 10;
/// How long a client that has ended its side is believed to wait for more of its answer. A client that has gone costs its
/// upstream so much; the first write to it ends it earlier.
const PATIENCE: Duration = Duration::from_secs(5);
/// Informational answers that wait for room in the socket, in bytes; more are dropped, as they promise nothing.
const MAX_EARLY_BYTES: usize = 16 << 10;

/// A connection that whoever serves it shares with its request's body.
pub(crate) type Shared = Rc<RefCell<Wire>>;

/// A connection while something is under way on it.
#[derive(Debug)]
pub(crate) struct Wire {
    /// Gone once it was taken out.
    stream: Option<Stream>,
    read: BytesMut,
    reading: Reading,
    outbox: Outbox<ResponseBody>,
    /// What is said before the answer, and how much of it is written.
    early: Vec<u8>,
    early_written: usize,
    spare: Rc<Spare>,
    /// The client waits for a 100 before it sends the body.
    owes_continue: bool,
    /// Something may be said before the answer: it has not begun, and the client knows of such (RFC 9110, 15.2).
    informs: bool,
    /// The connection ends with it.
    last: bool,
    /// Nothing else ends it.
    delimits: bool,
    /// The client sends no more.
    ended: bool,
    /// The last read took all there was.
    drained: bool,
    /// Room for the next read where nothing tells how much comes.
    next_read: usize,
    largest_read: usize,
    /// The buffer may have become larger than is kept for another exchange.
    grown: bool,
    pace: Pace,
    slow: bool,
    /// For a client that has ended its side.
    farewell: Idle,
    /// Who answers, while another task reads the rest of the request.
    watcher: Option<Waker>,
}

/// Whoever serves a connection. Its end is that of everything under way on it: an answer's body may hold what sends the rest of
/// the request, which holds the wire, which holds the body.
#[derive(Debug)]
pub(crate) struct Owner(Shared);

impl Deref for Owner {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        let (outbox, stream) = {
            let mut wire = self.0.borrow_mut();
            let delimits = wire.delimits;
            (std::mem::take(&mut wire.outbox), wire.stream.take().filter(|_| delimits))
        };
        if let Some(stream) = stream.filter(|_| !outbox.is_complete()) {
            // An orderly end would say that the answer is complete (RFC 9112, 8).
            stream.reset();
        }
        // Outside of the borrow: what is dropped may look at the wire.
        drop(outbox);
    }
}

/// What has come of a client, up to the next request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Came {
    /// A request's head.
    Request,
    /// The end of its side, between two requests.
    End,
    /// The end of its side, or of the connection, in the middle of a head.
    Cut,
    /// What is no request.
    Refused(Violation),
}

/// What has become of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    /// All of it was written.
    Whole,
    /// Its body broke off.
    Broke,
    /// The client takes nothing more.
    Gone,
    /// The client took too little for too long.
    Slow,
}

impl Wire {
    /// A connection over `stream`, on which nothing is under way. The client is to take answers at `rate`.
    pub(crate) fn over(stream: Stream, limits: FramingLimits, rate: Rate, spare: Rc<Spare>) -> Owner {
        Owner(Rc::new(RefCell::new(Self {
            stream: Some(stream),
            read: BytesMut::new(),
            reading: Reading::new(limits),
            outbox: Outbox::default(),
            early: Vec::new(),
            early_written: 0,
            spare,
            owes_continue: false,
            informs: false,
            last: false,
            delimits: false,
            ended: false,
            drained: false,
            next_read: FIRST_READ,
            largest_read: buffers::client(limits.header_bytes),
            grown: false,
            pace: Pace::new(rate),
            slow: false,
            farewell: Idle::new(PATIENCE),
            watcher: None,
        })))
    }

    /// True between two requests, with nothing of the next one read but for an empty line.
    pub(crate) fn is_between_requests(&self) -> bool {
        self.has_whole_request() && self.read.is_empty()
    }

    /// True when nothing is lost by starting afresh with the bare socket. That nothing waits in it the last read has said.
    pub(crate) fn is_at_rest(&self) -> bool {
        self.reading.at_rest() && self.read.is_empty() && !self.ended
    }

    /// True once the request that was read last was read to its end.
    pub(crate) fn has_whole_request(&self) -> bool {
        self.reading.between_messages()
    }

    /// True when the connection ends with the answer that was begun last.
    pub(crate) fn is_last(&self) -> bool {
        self.last
    }

    /// True when nothing but the connection's end ends the answer that was begun last.
    pub(crate) fn delimits(&self) -> bool {
        self.delimits
    }

    /// What is still to come of the request.
    pub(super) fn size_hint(&self) -> SizeHint {
        self.reading.size_hint()
    }

    /// The socket, and what was read of it and not taken.
    pub(crate) fn take_stream(&mut self) -> Option<(Stream, Bytes)> {
        Some((self.stream.take()?, self.read.split().freeze()))
    }

    /// Ready once a request's head has come, of which `head` is the memory, or none will.
    pub(crate) fn poll_head(&mut self, cx: &mut Context<'_>, head: &mut RequestHead) -> Poll<Came> {
        loop {
            if !self.read.is_empty() {
                if head.fields.capacity() == 0 {
                    head.fields = self.spare.take_fields();
                }
                match self.reading.head(&mut self.read, head) {
                    Ok(true) => return Poll::Ready(self.begins(head)),
                    Ok(false) => {}
                    Err(violation) => return Poll::Ready(Came::Refused(violation)),
                }
            }
            match ready!(self.poll_read(cx)) {
                Ok(0) if self.reading.between_messages() => return Poll::Ready(Came::End),
                Ok(0) | Err(_) => return Poll::Ready(Came::Cut),
                Ok(_) => {}
            }
        }
    }

    fn begins(&mut self, head: &RequestHead) -> Came {
        (self.owes_continue, self.last) = (false, false);
        self.release();
        self.informs = head.version == Version::HTTP_11;
        Came::Request
    }

    /// The next frame of the request's body.
    pub(super) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        loop {
            match self.reading.next(&mut self.read) {
                Ok(Item::More) => {}
                Ok(item) => {
                    self.release();
                    if self.has_whole_request()
                        && let Some(watcher) = self.watcher.take()
                    {
                        watcher.wake();
                    }
                    return Poll::Ready(frame(item).map(Ok));
                }
                Err(_) => return Poll::Ready(Some(Err(Broken))),
            }
            self.pay_continue();
            self.poll_early(cx);
            match ready!(self.poll_read(cx)) {
                Ok(0) | Err(_) => return Poll::Ready(Some(Err(Broken))),
                Ok(_) => {}
            }
        }
    }

    /// The client waits for a 100, which is said when the body is first wanted and nothing of it is there.
    pub(crate) fn owe_continue(&mut self) {
        self.owes_continue = true;
    }

    /// The body is wanted. Once the upstream has said so it may answer before the body is looked for.
    pub(crate) fn pay_continue(&mut self) {
        if self.read.is_empty() && std::mem::take(&mut self.owes_continue) {
            self.inform(&ResponseHead::new(StatusCode::CONTINUE));
        }
    }

    /// Says something before the answer. It leaves with the next look at [`Self::poll_early`], or with the answer.
    pub(crate) fn inform(&mut self, head: &ResponseHead) {
        // A 100 comes once, and is waited for.
        if self.informs && (self.early.len() < MAX_EARLY_BYTES || head.status == StatusCode::CONTINUE) {
            encode::informational(head, &mut self.early);
        }
    }

    /// Writes what is said before the answer, as far as the socket takes it.
    pub(crate) fn poll_early(&mut self, cx: &mut Context<'_>) {
        while self.early_written < self.early.len() && self.informs {
            let Some(stream) = &mut self.stream else { return };
            let left = self.early.get(self.early_written..).unwrap_or_default();
            // A client that takes nothing more is found by the answer.
            let Poll::Ready(Ok(written @ 1..)) = Pin::new(stream).poll_write(cx, left) else { return };
            self.early_written += written;
            if self.early_written == self.early.len() {
                self.early.clear();
                self.early_written = 0;
            }
        }
    }

    /// Ready once nobody waits for the answer any more. What the client sends meanwhile is looked at once, and kept.
    pub(crate) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.ended {
            if !self.is_between_requests() {
                if !self.has_whole_request() && !self.outbox.is_over() {
                    self.watcher = Some(cx.waker().clone());
                }
                return Poll::Pending;
            }
            match ready!(self.poll_read(cx)) {
                Ok(0) => {}
                Ok(_) => return Poll::Pending,
                Err(_) => return Poll::Ready(()),
            }
        }
        // A client that has half closed still wants its answer (RFC 9112, 9.6); one that has gone looks the same.
        if self.outbox.is_unwritten() { Poll::Pending } else { self.farewell.poll_wait(cx) }
    }

    /// Lays an answer out; `head` is then memory.
    pub(crate) fn begin_answer(&mut self, head: &mut ResponseHead, body: ResponseBody, terms: Terms) {
        let mut bytes = std::mem::take(&mut self.early);
        bytes.drain(..std::mem::take(&mut self.early_written));
        if bytes.is_empty() {
            bytes = self.spare.take_write();
        }
        let framing = encode::head(head, &body, terms, &mut bytes);
        self.delimits = matches!(framing, Framing::Close);
        self.last = terms.last || self.delimits;
        self.informs = false;
        self.spare.recycle(std::mem::take(&mut head.fields));
        self.outbox.begin(bytes, framing, body);
    }

    /// Writes the answer; ready once it is over.
    pub(crate) fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Sent> {
        let Some(stream) = &mut self.stream else { return Poll::Ready(Sent::Gone) };
        let Self { pace, farewell, slow, outbox, .. } = self;
        let mut paced = Paced { stream, pace, farewell, slow };
        let sent = ready!(outbox.poll_send(&mut paced, cx));
        self.spare.keep_write(self.outbox.take_memory());
        Poll::Ready(match sent {
            Ok(()) if self.outbox.is_complete() => Sent::Whole,
            Err(SendError::Io(_)) if self.slow => Sent::Slow,
            Ok(()) | Err(SendError::Io(_)) => Sent::Gone,
            Err(SendError::Body(Cut::Broken | Cut::Silent) | SendError::Short) => Sent::Broke,
        })
    }

    /// Reads once; 0: the client has sent its last byte. Takes no memory before there is something to read.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.ended {
            return Poll::Ready(Ok(0));
        }
        let Some(stream) = &mut self.stream else { return Poll::Ready(Err(io::ErrorKind::NotConnected.into())) };
        if self.read.capacity() == 0 {
            ready!(stream.poll_readable(cx));
            self.read = self.spare.take_read();
        }
        let held = self.read.len();
        let awaited = self.reading.awaited().map(|awaited| usize::try_from(awaited).unwrap_or(usize::MAX));
        // A byte more: a read that fills all room leaves open whether there was more.
        let wanted = awaited.map_or(self.next_read, |awaited| awaited.saturating_add(1)).max(FIRST_READ);
        let wanted = wanted.min(self.largest_read.saturating_sub(held)).max(1);
        // The rest of a head fits most often where its beginning stands.
        if awaited.is_some() || self.read.capacity() - held < FIRST_READ / 2 {
            self.grown |= held + wanted > buffers::ANSWER_HEAD;
            self.read.reserve(wanted);
        }
        let room = self.read.capacity() - held;
        let Poll::Ready(read) = pin!(stream.read_buf(&mut self.read)).poll(cx) else {
            if std::mem::take(&mut self.drained) && self.reading.mid_message() {
                // The kernel has no more, and the client may hold the rest back until it is told that this has come (outage D).
                stream.set_quickack();
            }
            return Poll::Pending;
        };
        let read = read?;
        self.ended = read == 0;
        self.drained = read < room;
        self.next_read = if self.drained { FIRST_READ } else { (self.next_read * 2).min(self.largest_read) };
        Poll::Ready(Ok(read))
    }

    /// Lets go of the buffer, where all that was read is taken and nothing is known to follow.
    fn release(&mut self) {
        if self.read.is_empty() && self.reading.between_messages() {
            let read = std::mem::take(&mut self.read);
            if !std::mem::take(&mut self.grown) && read.capacity() > 0 {
                self.spare.keep_read(read);
            }
        }
    }
}

/// What a body gives of what was read of it.
fn frame(item: Item) -> Option<Frame<Bytes>> {
    match item {
        Item::Data(data) => Some(Frame::data(data)),
        Item::Trailers(trailers) => Some(Frame::trailers(trailers)),
        Item::End | Item::More => None,
    }
}
