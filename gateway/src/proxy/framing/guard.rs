//! Where messages begin and end in what a client sends, read more strictly than hyper does.
//!
//! A gateway and an app that disagree about the end of a request can be made to take part of one request for the next
//! one (request smuggling). So whatever could be read in two ways is refused here, before hyper sees the end of it:
//! bare line feeds, two lengths, a length and chunks, white space in names, and so on; [`Violation`] lists all.
//!
//! The machine is pure: bytes in, a verdict out. It copies nothing but names and values that are cut by the end of a
//! read, and those that decide on the framing. How the bytes are split into reads never changes the verdict.
//!
//! Invariants: bytes from the violation on are never delivered, so that hyper never sees a complete head, chunk or
//! trailer section that was refused; and after a violation nothing is ever delivered again.

mod chunks;
mod fields;
mod line;

use chunks::Chunks;
use fields::{BodyLength, Fields, Section};
use line::RequestLine;

use super::{FramingLimits, Violation, violation};

/// The verdict over some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inspected {
    /// So many of them, from the first on, may be delivered.
    pub deliver: usize,
    /// What is wrong with the byte after those.
    pub violation: Option<Violation>,
    /// The violation is in the very first byte after a complete message (or of the connection).
    pub at_start: bool,
}

/// Follows one client's bytes from message to message.
#[derive(Debug)]
pub struct Framing {
    limits: FramingLimits,
    state: State,
    /// Bytes that the head may still take.
    head_room: usize,
    line: RequestLine,
    fields: Fields,
}

#[derive(Debug)]
enum State {
    /// Before a request, this far in the one empty line that is tolerated.
    Between(EmptyLine),
    Line,
    Fields,
    Body {
        left: u64,
    },
    Chunked(Chunks),
    PassThrough,
    Refused(Violation),
}

/// Source: RFC 9112, 2.2: a server should ignore at least one empty line before the request line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum EmptyLine {
    NotYet,
    Begun,
    Seen,
}

/// A violation and how many bytes before it are sound.
#[derive(Clone, Copy, Debug)]
struct Fault {
    offset: usize,
    violation: Violation,
}

impl Fault {
    fn after(self, bytes: usize) -> Self {
        Self { offset: self.offset + bytes, ..self }
    }
}

impl Violation {
    fn at(self, offset: usize) -> Fault {
        Fault { offset, violation: self }
    }
}

impl Framing {
    /// Ready for the first request.
    #[must_use]
    pub fn new(limits: FramingLimits) -> Self {
        Self {
            limits,
            state: State::Between(EmptyLine::NotYet),
            head_room: limits.header_bytes,
            line: RequestLine::default(),
            fields: Fields::new(Section::Head { http10: false }),
        }
    }

    /// Judges the next `bytes`.
    pub fn inspect(&mut self, bytes: &[u8]) -> Inspected {
        let mut at = 0;
        while let Some(left) = bytes.get(at..).filter(|left| !left.is_empty()) {
            let fresh = matches!(self.state, State::Between(EmptyLine::NotYet));
            match self.step(left) {
                Ok(taken) => at += taken,
                Err(fault) => return self.refuse(fault.after(at), fresh && fault.offset == 0),
            }
        }
        Inspected { deliver: at, violation: self.violation(), at_start: false }
    }

    /// From here on the bytes are not HTTP: the connection was upgraded.
    pub fn pass_through(&mut self) {
        self.state = State::PassThrough;
    }

    /// True when a message has begun and is not complete: whoever sends it may be waiting for an acknowledgement.
    #[must_use]
    pub fn mid_message(&self) -> bool {
        matches!(self.state, State::Line | State::Fields | State::Body { .. } | State::Chunked(_))
    }

    /// True when every message that began is complete.
    #[must_use]
    pub fn between_messages(&self) -> bool {
        matches!(self.state, State::Between(_))
    }

    /// True between two messages when nothing is lost by starting afresh: not a byte of the next one has come, but for
    /// an empty line that means nothing.
    #[must_use]
    pub fn at_rest(&self) -> bool {
        matches!(self.state, State::Between(EmptyLine::NotYet | EmptyLine::Seen))
    }

    /// What was refused, if anything was.
    #[must_use]
    pub fn violation(&self) -> Option<Violation> {
        match self.state {
            State::Refused(violation) => Some(violation),
            _ => None,
        }
    }

    fn refuse(&mut self, fault: Fault, at_start: bool) -> Inspected {
        self.state = State::Refused(fault.violation);
        Inspected { deliver: fault.offset, violation: Some(fault.violation), at_start }
    }

    /// Takes a part of `left`, which is not empty. It takes nothing only when it changes the state.
    fn step(&mut self, left: &[u8]) -> Result<usize, Fault> {
        match &mut self.state {
            State::Between(empty_line) => {
                let empty_line = *empty_line;
                self.between(empty_line, left)
            }
            State::Line | State::Fields => self.head(left),
            State::Body { left: missing } => {
                let taken = usize::try_from(*missing).map_or(left.len(), |missing| missing.min(left.len()));
                *missing -= taken as u64;
                if *missing == 0 {
                    self.next_message();
                }
                Ok(taken)
            }
            State::Chunked(chunks) => {
                let done = chunks.consume(left)?;
                if done.is_some() {
                    self.next_message();
                }
                Ok(done.unwrap_or(left.len()))
            }
            State::PassThrough => Ok(left.len()),
            State::Refused(violation) => Err(violation.at(0)),
        }
    }

    fn between(&mut self, empty_line: EmptyLine, left: &[u8]) -> Result<usize, Fault> {
        let first = left.first().copied().unwrap_or_default();
        let next = match (empty_line, first) {
            (EmptyLine::Begun, b'\n') => EmptyLine::Seen,
            (EmptyLine::Begun, _) => return Err(Violation::BareCarriageReturn.at(0)),
            (EmptyLine::NotYet, b'\r') => EmptyLine::Begun,
            (EmptyLine::Seen, b'\r') => return Err(Violation::EmptyLines.at(0)),
            _ => return self.first_byte(left),
        };
        self.state = State::Between(next);
        Ok(1)
    }

    fn first_byte(&mut self, left: &[u8]) -> Result<usize, Fault> {
        self.state = State::Line;
        self.line = RequestLine::default();
        self.head_room = self.limits.header_bytes;
        self.head(left)
    }

    fn next_message(&mut self) {
        self.state = State::Between(EmptyLine::NotYet);
    }

    /// A part of a head, as far as its limit allows.
    fn head(&mut self, left: &[u8]) -> Result<usize, Fault> {
        let room = self.head_room.min(left.len());
        let taken = self.head_within(left.get(..room).unwrap_or_default())?;
        if taken == room && room < left.len() && self.in_head() {
            return Err(self.too_large().at(room));
        }
        self.head_room -= taken;
        Ok(taken)
    }

    fn head_within(&mut self, within: &[u8]) -> Result<usize, Fault> {
        let mut line = 0;
        if matches!(self.state, State::Line) {
            let Some(taken) = self.line.consume(within)? else { return Ok(within.len()) };
            self.fields = Fields::new(Section::Head { http10: self.line.http10() });
            self.state = State::Fields;
            line = taken;
        }
        let fields = within.get(line..).unwrap_or_default();
        match self.fields.consume(fields).map_err(|fault| fault.after(line))? {
            None => Ok(within.len()),
            Some(taken) => {
                self.state = self.body();
                Ok(line + taken)
            }
        }
    }

    fn in_head(&self) -> bool {
        matches!(self.state, State::Line | State::Fields)
    }

    fn too_large(&self) -> Violation {
        if matches!(self.state, State::Line) { self.line.too_long() } else { Violation::HeadTooLarge }
    }

    fn body(&self) -> State {
        match self.fields.body() {
            BodyLength::Known(0) => State::Between(EmptyLine::NotYet),
            BodyLength::Known(left) => State::Body { left },
            BodyLength::Chunked => State::Chunked(Chunks::new(self.limits.header_bytes)),
        }
    }
}

#[cfg(test)]
mod tests;
