//! A message on its way out, in HTTP/1: what is laid out and not written yet, and the body it is filled from.

use std::{
    io::{self, IoSlice, Write as _},
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf as _, Bytes};
use http::{HeaderMap, HeaderName, header};
use http_body::{Body, Frame};
use tokio::io::AsyncWrite;

use super::io::poll_write_gathered;

/// A frame of so many bytes or fewer is copied behind what is laid out, so that head and small body leave in one write; a
/// larger one is written from where it is. A page, from which on the copy costs more (see `net::io`).
const SMALL_FRAME: usize = 4096;
/// What is laid out before it is written, at most; the bound for a body in many small frames.
const LAID_OUT: usize = 16 << 10;
const LINE_END: &[u8] = b"\r\n";
const LINE_END_AND_LAST_CHUNK: &[u8] = b"\r\n0\r\n\r\n";

/// How a body is told from what follows it.
#[derive(Debug)]
pub enum Framing {
    /// So many bytes are still to be sent.
    Length(u64),
    /// In chunks; of the trailers only these are sent.
    Chunked(Vec<HeaderName>),
    /// It ends with the connection.
    Close,
}

/// Why a message could not be sent.
#[derive(Debug, thiserror::Error)]
pub enum SendError<E> {
    /// The socket broke.
    #[error("the socket: {0}")]
    Io(#[from] io::Error),
    /// The body ended in an error.
    #[error("the body: {0}")]
    Body(#[source] E),
    /// The body was shorter than its head says.
    #[error("the body is shorter than its Content-Length")]
    Short,
}

/// What is to be written of one message.
#[derive(Debug)]
pub struct Outbox<B> {
    /// What is laid out, of which so much is written.
    bytes: Vec<u8>,
    written: usize,
    /// A frame that follows it.
    frame: Bytes,
    /// The end of that frame's chunk.
    tail: &'static [u8],
    /// What is still to come of the body.
    body: Option<B>,
    framing: Framing,
    /// Writes that took something; none: the peer has not seen a byte.
    writes: u32,
    /// The peer takes nothing more.
    given_up: bool,
}

impl<B> Default for Outbox<B> {
    fn default() -> Self {
        Self {
            bytes: Vec::new(),
            written: 0,
            frame: Bytes::new(),
            tail: &[],
            body: None,
            framing: Framing::Length(0),
            writes: 0,
            given_up: false,
        }
    }
}

impl<B> Outbox<B> {
    /// Writes that took something of the message.
    pub fn writes(&self) -> u32 {
        self.writes
    }

    /// All of the message is written, or no more of it will be.
    pub fn is_over(&self) -> bool {
        self.given_up || (self.body.is_none() && self.is_empty())
    }

    /// All of the message is written.
    pub fn is_complete(&self) -> bool {
        !self.given_up && self.is_over()
    }

    /// The memory, for another message.
    pub fn take_memory(&mut self) -> Vec<u8> {
        let mut bytes = std::mem::take(&mut self.bytes);
        bytes.clear();
        self.written = 0;
        bytes
    }

    /// Something is laid out and not written.
    #[must_use]
    pub fn is_unwritten(&self) -> bool {
        !self.is_empty()
    }

    fn is_empty(&self) -> bool {
        self.written == self.bytes.len() && self.frame.is_empty() && self.tail.is_empty()
    }

    /// No more of it is sent, or asked of the body.
    fn give_up(&mut self) {
        self.given_up = true;
        self.body = None;
    }
}

impl<B> Outbox<B>
where
    B: Body<Data = Bytes> + Unpin,
{
    /// A message whose head `head` is, and whose body is sent as `framing` says.
    pub fn begin(&mut self, head: Vec<u8>, framing: Framing, body: B) {
        debug_assert!(self.is_empty(), "a message is laid out over another");
        (self.bytes, self.written, self.writes, self.given_up) = (head, 0, 0, false);
        self.framing = framing;
        self.body = Some(body).filter(|body| !body.is_end_stream());
    }

    /// Writes as much as the socket takes of what the body has. Ready once nothing is left to write, or the peer takes
    /// nothing more: it may have said its word, and closed, before it had read the rest. What it said can still be read (RFC
    /// 9112, 9.5), so that end is left for the read to find.
    pub fn poll_send<W: AsyncWrite + Unpin>(
        &mut self,
        stream: &mut W,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), SendError<B::Error>>> {
        while !self.given_up {
            self.fill(cx)?;
            if self.is_empty() {
                return if self.body.is_none() { Poll::Ready(Ok(())) } else { Poll::Pending };
            }
            match ready!(self.poll_write(stream, cx)) {
                Ok(0) => return Poll::Ready(Err(io::Error::from(io::ErrorKind::WriteZero).into())),
                Ok(written) => self.wrote(written),
                Err(error) if self.writes > 0 && is_gone(&error) => self.give_up(),
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_write<W: AsyncWrite + Unpin>(&mut self, stream: &mut W, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let laid_out = self.bytes.get(self.written..).unwrap_or_default();
        if self.frame.is_empty() && self.tail.is_empty() {
            return poll_write_gathered(stream, cx, &[IoSlice::new(laid_out)]);
        }
        let all = [IoSlice::new(laid_out), IoSlice::new(&self.frame), IoSlice::new(self.tail)];
        poll_write_gathered(stream, cx, &all)
    }

    fn wrote(&mut self, mut count: usize) {
        self.writes = self.writes.saturating_add(1);
        let laid_out = (self.bytes.len() - self.written).min(count);
        self.written += laid_out;
        count -= laid_out;
        let of_frame = self.frame.len().min(count);
        self.frame.advance(of_frame);
        self.tail = self.tail.get(count - of_frame..).unwrap_or_default();
        if self.written == self.bytes.len() {
            self.bytes.clear();
            self.written = 0;
        }
    }

    /// Lays out what the body has, as far as there is room.
    fn fill(&mut self, cx: &mut Context<'_>) -> Result<(), SendError<B::Error>> {
        while self.frame.is_empty() && self.tail.is_empty() && self.bytes.len() < LAID_OUT {
            let Some(body) = &mut self.body else { return Ok(()) };
            match Pin::new(body).poll_frame(cx) {
                Poll::Pending => return Ok(()),
                Poll::Ready(None) => self.end(None)?,
                Poll::Ready(Some(Err(error))) => return Err(SendError::Body(error)),
                Poll::Ready(Some(Ok(frame))) => self.take(frame)?,
            }
        }
        Ok(())
    }

    fn take(&mut self, frame: Frame<Bytes>) -> Result<(), SendError<B::Error>> {
        match frame.into_data() {
            Ok(data) => self.data(data),
            Err(frame) => return self.end(frame.into_trailers().ok()),
        }
        if self.body.as_ref().is_some_and(Body::is_end_stream) { self.end(None) } else { Ok(()) }
    }

    fn data(&mut self, mut data: Bytes) {
        match &mut self.framing {
            Framing::Length(left) => {
                // What is beyond the length would be read as another message.
                data.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= data.len() as u64;
                self.lay_out(data, &[]);
            }
            Framing::Close => self.lay_out(data, &[]),
            // An empty chunk would be the last one.
            Framing::Chunked(_) if data.is_empty() => {}
            Framing::Chunked(_) => {
                // ignored: a Vec takes whatever is written.
                let _ = write!(self.bytes, "{:X}\r\n", data.len());
                self.lay_out(data, LINE_END);
            }
        }
    }

    fn lay_out(&mut self, data: Bytes, tail: &'static [u8]) {
        if data.len() <= SMALL_FRAME {
            self.bytes.extend_from_slice(&data);
            self.bytes.extend_from_slice(tail);
        } else {
            (self.frame, self.tail) = (data, tail);
        }
    }

    /// The body has ended. What ends a chunked one follows its last frame.
    fn end(&mut self, trailers: Option<HeaderMap>) -> Result<(), SendError<B::Error>> {
        self.body = None;
        match &self.framing {
            Framing::Length(0) | Framing::Close => {}
            Framing::Length(_) => return Err(SendError::Short),
            // Trailers come when a frame that was not copied has been written.
            Framing::Chunked(_) if !self.frame.is_empty() => self.tail = LINE_END_AND_LAST_CHUNK,
            Framing::Chunked(named) => last_chunk(trailers.as_ref(), named, &mut self.bytes),
        }
        Ok(())
    }
}

fn last_chunk(trailers: Option<&HeaderMap>, named: &[HeaderName], out: &mut Vec<u8>) {
    out.extend_from_slice(b"0\r\n");
    for (name, value) in trailers.into_iter().flatten() {
        if named.contains(name) && may_trail(name) {
            for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), LINE_END] {
                out.extend_from_slice(part);
            }
        }
    }
    out.extend_from_slice(LINE_END);
}

/// False for a field that means nothing, or something else, behind the content. Source: RFC 9110, 6.5.1; the list is
/// hyper's, which holds the answers' trailers to it.
fn may_trail(name: &HeaderName) -> bool {
    const NEVER: [HeaderName; 12] = [
        header::AUTHORIZATION,
        header::CACHE_CONTROL,
        header::CONTENT_ENCODING,
        header::CONTENT_LENGTH,
        header::CONTENT_RANGE,
        header::CONTENT_TYPE,
        header::HOST,
        header::MAX_FORWARDS,
        header::SET_COOKIE,
        header::TE,
        header::TRAILER,
        header::TRANSFER_ENCODING,
    ];
    !NEVER.contains(name)
}

/// The peer takes nothing more.
fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
}
