//! One answer on its way in: pure, bytes in, a head and then its body out. How the bytes are cut into reads never changes
//! what comes out.

use bytes::{Buf as _, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use http_body::SizeHint;
use memchr::memmem;

use super::{
    fault::{Fault, Flaw},
    head::{self, Ending, Facts, Finder},
};
use crate::{
    message::{
        ResponseHead,
        body::{Item, take},
        chunks::{Chunks, Part, Rules},
    },
    net::buffers,
};

/// The longest head of an answer, in bytes. Source: as long as a request's may be by default (`limits.header_bytes`), and a
/// bound for what an app can have a worker hold before its answer is one.
pub(super) const MAX_HEAD_BYTES: usize = buffers::ANSWER_HEAD;
/// Chunks as old servers write them, too. Extensions: hyper's limit.
const CHUNKS: Rules = Rules { padding: true, extension_bytes: (16 << 10) - 1 };
/// Trailers at most. Source: hyper's limit.
const MAX_TRAILERS: usize = 100;
/// Trailers, in bytes. Source: hyper's limit.
const MAX_TRAILER_BYTES: usize = 16 << 10;

/// How far an answer has been read.
#[derive(Debug)]
pub(super) struct Reading {
    state: State,
}

#[derive(Debug)]
enum State {
    Head {
        finder: Finder,
        /// What is there is read as a head once it is so long, whole or not: nearly every head comes in one piece.
        read_at: usize,
    },
    Length(u64),
    Chunked(Chunks),
    /// After the last chunk, so far into the trailers.
    Trailers {
        looked: usize,
    },
    Close,
    Ended,
    Failed,
}

impl Reading {
    /// Ready for an answer's head.
    pub(super) fn new() -> Self {
        Self { state: State::Head { finder: Finder::default(), read_at: 1 } }
    }

    /// Nothing is to be read.
    pub(super) fn idle() -> Self {
        Self { state: State::Ended }
    }

    /// Reads the next head in `read`, which may be an informational one, into `head`, if it is all there.
    pub(super) fn head(
        &mut self,
        read: &mut BytesMut,
        method: &Method,
        head: &mut ResponseHead,
    ) -> Result<Option<Facts>, Flaw> {
        let found = self.find_head(read, method, head);
        if found.is_err() {
            self.state = State::Failed;
        }
        found
    }

    fn find_head(
        &mut self,
        read: &mut BytesMut,
        method: &Method,
        head: &mut ResponseHead,
    ) -> Result<Option<Facts>, Flaw> {
        let State::Head { finder, read_at } = &mut self.state else { return Err(Flaw::Value) };
        let due = read.len() >= *read_at;
        let ended = !due && finder.find(read).is_some();
        let parsed = if due || ended { head::parse(read, head)? } else { None };
        let Some((length, facts)) = parsed else {
            if due {
                // Seldom enough that a head in many pieces is not read again for each.
                *read_at = read.len() * 2;
            }
            return match read.len() {
                _ if ended => Err(Flaw::Value),
                MAX_HEAD_BYTES.. => Err(Flaw::HeadTooLarge),
                _ => Ok(None),
            };
        };
        if length > MAX_HEAD_BYTES {
            return Err(Flaw::HeadTooLarge);
        }
        read.advance(length);
        self.state = match facts.ending(head, method)? {
            _ if head::is_informational(head.status) => Self::new().state,
            Ending::Head | Ending::Length(0) => State::Ended,
            Ending::Length(length) => State::Length(length),
            Ending::Chunked => State::Chunked(Chunks::new(CHUNKS)),
            Ending::Close => State::Close,
        };
        Ok(Some(facts))
    }

    /// What comes next of what follows the head.
    pub(super) fn next(&mut self, read: &mut BytesMut) -> Result<Item, Flaw> {
        let next = self.find_next(read);
        if next.is_err() {
            self.state = State::Failed;
        }
        next
    }

    fn find_next(&mut self, read: &mut BytesMut) -> Result<Item, Flaw> {
        match &mut self.state {
            State::Head { .. } | State::Failed => Err(Flaw::Value),
            State::Ended => Ok(Item::End),
            _ if read.is_empty() => Ok(Item::More),
            State::Close => Ok(Item::Data(read.split().freeze())),
            State::Length(left) => {
                let data = take(read, *left);
                *left -= data.len() as u64;
                if *left == 0 {
                    self.state = State::Ended;
                }
                Ok(Item::Data(data))
            }
            State::Chunked(chunks) => match chunks.next(read).map_err(|_| Flaw::Chunk)? {
                Part::Data(data) => Ok(Item::Data(data)),
                Part::Last(data) => {
                    self.state = State::Ended;
                    Ok(Item::Data(data))
                }
                Part::Trailers => {
                    self.state = State::Trailers { looked: 0 };
                    self.find_next(read)
                }
                Part::More => Ok(Item::More),
            },
            State::Trailers { looked } => {
                let Some(length) = trailers_length(read, looked)? else { return Ok(Item::More) };
                self.state = State::Ended;
                trailers(&read.split_to(length)).map(|trailers| trailers.map_or(Item::End, Item::Trailers))
            }
        }
    }

    /// All of a body that has a length, if it is there.
    pub(super) fn take_whole(&mut self, read: &mut BytesMut) -> Option<Bytes> {
        let State::Length(left) = self.state else { return None };
        if (read.len() as u64) < left {
            return None;
        }
        self.state = State::Ended;
        Some(take(read, left))
    }

    /// The upstream has sent its last byte; `read` is what of it was not taken.
    pub(super) fn end(&mut self, read: &BytesMut) -> Result<(), Fault> {
        match std::mem::replace(&mut self.state, State::Failed) {
            State::Close | State::Ended => {
                self.state = State::Ended;
                Ok(())
            }
            State::Head { .. } => {
                head::parse(read, &mut ResponseHead::new(StatusCode::OK))?;
                Err(Fault::Ended)
            }
            _ => Err(Fault::Ended),
        }
    }

    /// Something went wrong elsewhere.
    pub(super) fn fail(&mut self) {
        self.state = State::Failed;
    }

    /// True when all of the answer was taken.
    pub(super) fn is_ended(&self) -> bool {
        matches!(self.state, State::Ended)
    }

    /// True for an answer that only the connection's end ends.
    pub(super) fn ends_with_connection(&self) -> bool {
        matches!(self.state, State::Close)
    }

    /// What is still to come of the body.
    pub(super) fn size_hint(&self) -> SizeHint {
        match self.state {
            State::Length(left) => SizeHint::with_exact(left),
            State::Ended => SizeHint::with_exact(0),
            _ => SizeHint::default(),
        }
    }

    /// Bytes that are known to come.
    pub(super) fn awaited(&self) -> Option<u64> {
        match &self.state {
            State::Length(left) => Some(*left),
            State::Chunked(chunks) => chunks.data(),
            _ => None,
        }
    }
}

/// The length of the trailers that `read` begins with, to the end of their empty line, once it is there. `looked` bytes
/// were looked at before.
fn trailers_length(read: &[u8], looked: &mut usize) -> Result<Option<usize>, Flaw> {
    if read.starts_with(b"\r\n") {
        return Ok(Some(2));
    }
    let from = looked.saturating_sub(3);
    let new = read.get(from..).unwrap_or_default();
    let found = memmem::find(new, b"\r\n\r\n");
    *looked = read.len();
    match found {
        // Nothing that follows would mend it.
        None if new.windows(2).any(|pair| matches!(pair, [b'\r', after] if *after != b'\n')) => Err(Flaw::Trailers),
        Some(at) if from + at + 4 <= MAX_TRAILER_BYTES => Ok(Some(from + at + 4)),
        None if read.len() < MAX_TRAILER_BYTES => Ok(None),
        _ => Err(Flaw::Trailers),
    }
}

/// Reads the trailers that `bytes` are; `None` for none.
fn trailers(bytes: &[u8]) -> Result<Option<HeaderMap>, Flaw> {
    let bare = |at: &usize| at.checked_sub(1).and_then(|before| bytes.get(before)) != Some(&b'\r');
    if memchr::memchr_iter(b'\n', bytes).any(|at| bare(&at)) {
        return Err(Flaw::Trailers);
    }
    let mut fields = [httparse::EMPTY_HEADER; MAX_TRAILERS];
    let Ok(httparse::Status::Complete((length, fields))) = httparse::parse_headers(bytes, &mut fields) else {
        return Err(Flaw::Trailers);
    };
    if length != bytes.len() {
        return Err(Flaw::Trailers);
    }
    let mut trailers = HeaderMap::with_capacity(fields.len());
    for field in fields {
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| Flaw::Trailers)?;
        let value = HeaderValue::from_bytes(field.value).map_err(|_| Flaw::Trailers)?;
        trailers.append(name, value);
    }
    Ok(Some(trailers).filter(|trailers| !trailers.is_empty()))
}
