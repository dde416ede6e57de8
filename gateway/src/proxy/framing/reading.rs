//! One client's messages on their way in: pure, bytes in, heads and bodies out.
//!
//! A head stays in the caller's buffer until it is complete. The machines remember how far they have looked and where the
//! words stand, so no byte is looked at twice, however slowly a client sends, and nothing is kept of it but places.

use bytes::{Buf as _, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Version};
use http_body::SizeHint;

use super::{
    FramingLimits, Violation,
    fields::{BodyLength, FieldLines, Line, Section},
    line::RequestLine,
    violation::misplaced,
};
use crate::message::{
    RequestHead,
    body::{Item, take},
    chunks::{Chunks, Misplaced, Part, Rules},
};

/// Chunks as they stand in RFC 9112, 7.1. Extensions: half of the 16 KiB at which hyper, an app's server perhaps, stops.
const CHUNKS: Rules = Rules { padding: false, extension_bytes: 8192 };
/// Trailers, in bytes, whatever the head's limit is. Source: as long as an app's may be.
const MAX_TRAILER_BYTES: usize = 16 << 10;

/// One client's messages on their way in. How the bytes are cut into reads never changes what comes out.
///
/// What it says of itself is about the bytes it has looked at; more of them may stand in the buffer.
#[derive(Debug)]
pub(crate) struct Reading {
    limits: FramingLimits,
    state: State,
    line: RequestLine,
    fields: FieldLines,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// Before a request, this far in the one empty line that is tolerated.
    Between(EmptyLine),
    Line,
    Fields,
    Length(u64),
    Chunked(Chunks),
    Trailers,
    Refused(Violation),
}

/// Source: RFC 9112, 2.2: a server should ignore at least one empty line before the request line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum EmptyLine {
    NotYet,
    Begun,
    Seen,
}

const BETWEEN: State = State::Between(EmptyLine::NotYet);

impl Reading {
    /// Ready for the first request.
    #[must_use]
    pub(crate) fn new(limits: FramingLimits) -> Self {
        Self { limits, state: BETWEEN, line: RequestLine::default(), fields: FieldLines::new() }
    }

    /// The next request's head, if all of it is in `read`, out of which it is then taken, with the one empty line that may
    /// stand before. `head` is memory to be used again: its old content is replaced.
    ///
    /// False: more must be read first; `read` keeps what there is of the head, and is given again with more behind it. It
    /// is false also while there is more to come of the body before.
    ///
    /// # Errors
    /// What is wrong with the first byte that is.
    pub(crate) fn head(&mut self, read: &mut BytesMut, head: &mut RequestHead) -> Result<bool, Violation> {
        let found = self.find_head(read, head);
        if let Err(violation) = found {
            self.state = State::Refused(violation);
        }
        found
    }

    /// What comes next of the body, out of `read`.
    ///
    /// The end of a body comes together with its last data, where it is there and plain. So once
    /// [`Self::between_messages`] is true nothing follows.
    ///
    /// # Errors
    /// What is wrong with the first byte that is.
    pub(crate) fn next(&mut self, read: &mut BytesMut) -> Result<Item, Violation> {
        let next = self.find_next(read);
        if let Err(violation) = next {
            self.state = State::Refused(violation);
        }
        next
    }

    /// True when every message that began is complete. Of the next one nothing was seen but a part of an empty line.
    #[must_use]
    pub(crate) fn between_messages(&self) -> bool {
        matches!(self.state, State::Between(_))
    }

    /// True between two messages when nothing is lost by starting afresh: not a byte of the next one was seen, but for an
    /// empty line that means nothing.
    #[must_use]
    pub(crate) fn at_rest(&self) -> bool {
        matches!(self.state, State::Between(EmptyLine::NotYet | EmptyLine::Seen))
    }

    /// True when a message has begun and is not complete: whoever sends it may be waiting for an acknowledgement.
    #[must_use]
    pub(crate) fn mid_message(&self) -> bool {
        !matches!(self.state, State::Between(_) | State::Refused(_))
    }

    /// What was refused, if anything was.
    #[cfg(test)]
    fn violation(&self) -> Option<Violation> {
        if let State::Refused(violation) = self.state { Some(violation) } else { None }
    }

    /// What is still to come of the body.
    #[must_use]
    pub(crate) fn size_hint(&self) -> SizeHint {
        match self.state {
            State::Length(left) => SizeHint::with_exact(left),
            State::Chunked(_) | State::Trailers => SizeHint::default(),
            _ => SizeHint::with_exact(0),
        }
    }

    /// Bytes that are known to come: of a body that has a length, or of the present chunk.
    #[must_use]
    pub(crate) fn awaited(&self) -> Option<u64> {
        match &self.state {
            State::Length(left) => Some(*left),
            State::Chunked(chunks) => chunks.data(),
            _ => None,
        }
    }

    fn find_head(&mut self, read: &mut BytesMut, head: &mut RequestHead) -> Result<bool, Violation> {
        match self.state {
            State::Between(seen) => {
                if !self.begin(seen, read)? {
                    return Ok(false);
                }
            }
            State::Line | State::Fields => {}
            State::Length(_) | State::Chunked(_) | State::Trailers => return Ok(false),
            State::Refused(violation) => return Err(violation),
        }
        let within = read.get(..self.limits.header_bytes).unwrap_or(read);
        if !self.read_head(within)? {
            return if within.len() < read.len() { Err(self.too_large()) } else { Ok(false) };
        }
        let (line, fields) = within.split_at_checked(self.line.length()).unwrap_or_default();
        let fields = fields.get(..self.fields.length()).unwrap_or_default();
        self.fill(head, line, fields)?;
        let length = line.len() + fields.len();
        self.state = match self.fields.body() {
            BodyLength::Known(0) => BETWEEN,
            BodyLength::Known(left) => State::Length(left),
            BodyLength::Chunked => State::Chunked(Chunks::new(CHUNKS)),
        };
        skip(read, length);
        Ok(true)
    }

    /// Takes the empty line before a head, of which so much was seen. True when the head itself begins.
    fn begin(&mut self, mut seen: EmptyLine, read: &mut BytesMut) -> Result<bool, Violation> {
        while let Some(&first) = read.first() {
            seen = match (seen, first) {
                (EmptyLine::NotYet, b'\r') => EmptyLine::Begun,
                (EmptyLine::Begun, b'\n') => EmptyLine::Seen,
                (EmptyLine::Begun, _) => return Err(Violation::BareCarriageReturn),
                (EmptyLine::Seen, b'\r') => return Err(Violation::EmptyLines),
                _ => {
                    self.line = RequestLine::default();
                    self.state = State::Line;
                    return Ok(true);
                }
            };
            self.state = State::Between(seen);
            read.advance(1);
        }
        Ok(false)
    }

    /// Looks at what has come of the head. True when it is complete.
    fn read_head(&mut self, head: &[u8]) -> Result<bool, Violation> {
        if matches!(self.state, State::Line) {
            if !self.line.read(head)? {
                return Ok(false);
            }
            self.fields.begin(Section::Head { http10: self.line.http10() });
            self.state = State::Fields;
        }
        self.fields.read(head.get(self.line.length()..).unwrap_or_default())
    }

    fn too_large(&self) -> Violation {
        if matches!(self.state, State::Line) { self.line.too_long() } else { Violation::HeadTooLarge }
    }

    /// Writes out what was read.
    fn fill(&self, head: &mut RequestHead, line: &[u8], fields: &[u8]) -> Result<(), Violation> {
        let method = line.get(self.line.method()).unwrap_or_default();
        let target = line.get(self.line.target()).unwrap_or_default();
        head.method = Method::from_bytes(method).map_err(|_| Violation::RequestLine)?;
        head.target.clear();
        head.target.push_str(str::from_utf8(target).map_err(|_| Violation::RequestLine)?);
        head.version = if self.line.http10() { Version::HTTP_10 } else { Version::HTTP_11 };
        head.fields.lay(fields);
        for Line { name, value } in self.fields.lines() {
            head.fields.place(name.clone(), value.clone());
        }
        Ok(())
    }

    fn find_next(&mut self, read: &mut BytesMut) -> Result<Item, Violation> {
        match &mut self.state {
            State::Refused(violation) => Err(*violation),
            State::Between(_) | State::Line | State::Fields => Ok(Item::End),
            _ if read.is_empty() => Ok(Item::More),
            State::Length(left) => {
                let data = take(read, *left);
                *left -= data.len() as u64;
                if *left == 0 {
                    self.state = BETWEEN;
                }
                Ok(Item::Data(data))
            }
            State::Chunked(chunks) => match chunks.next(read).map_err(violation)? {
                Part::Data(data) => Ok(Item::Data(data)),
                Part::Last(data) => {
                    self.state = BETWEEN;
                    Ok(Item::Data(data))
                }
                Part::Trailers => {
                    self.fields.begin(Section::Trailers);
                    self.state = State::Trailers;
                    self.trailers(read)
                }
                Part::More => Ok(Item::More),
            },
            State::Trailers => self.trailers(read),
        }
    }

    /// What follows the last chunk.
    fn trailers(&mut self, read: &mut BytesMut) -> Result<Item, Violation> {
        let room = self.limits.header_bytes.min(MAX_TRAILER_BYTES);
        let within = read.get(..room).unwrap_or(read);
        if !self.fields.read(within)? {
            return if within.len() < read.len() { Err(Violation::HeadTooLarge) } else { Ok(Item::More) };
        }
        let trailers = read.split_to(self.fields.length());
        self.state = BETWEEN;
        if self.fields.lines().is_empty() {
            return Ok(Item::End);
        }
        let field = |line: &Line| {
            let name = HeaderName::from_bytes(trailers.get(line.name.clone())?).ok()?;
            let value = HeaderValue::from_bytes(trailers.get(line.value.clone())?).ok()?;
            Some((name, value))
        };
        let mut map = HeaderMap::with_capacity(self.fields.lines().len());
        for line in self.fields.lines() {
            let (name, value) = field(line).ok_or(Violation::HeaderName)?;
            map.append(name, value);
        }
        Ok(Item::Trailers(map))
    }
}

/// Drops the first bytes. Where they are all there is, their memory is free at once for what is read next.
fn skip(read: &mut BytesMut, length: usize) {
    if length == read.len() {
        read.clear();
    } else {
        read.advance(length);
    }
}

/// What is wrong with a byte between chunks.
fn violation(byte: Misplaced) -> Violation {
    match byte {
        Misplaced::Size(byte) => misplaced(byte, Violation::ChunkSize),
        Misplaced::Extension(byte) => misplaced(byte, Violation::ControlCharacter),
        Misplaced::TooLong => Violation::ChunkExtension,
        Misplaced::SizeEnd => Violation::BareCarriageReturn,
        Misplaced::DataEnd => Violation::ChunkEnd,
    }
}

#[cfg(test)]
mod tests;
