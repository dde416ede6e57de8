//! Header lines up to the empty one, of a head or of trailers: where they stand, and what they say about the length of the
//! body.

use std::ops::Range;

use super::{Violation, violation::misplaced};
use crate::message::{
    body::MAX_LENGTH,
    text::{decimal, token_length, value_length},
};

/// Header fields at most. Source: ten times what browsers and proxies send together; each costs its place in memory, and
/// every look for a name goes through all.
const MAX_FIELDS: usize = 1000;
/// Fields for whose places memory is taken at once. Source: what a browser sends through another proxy.
const USUAL_FIELDS: usize = 24;
/// Fields for whose places memory is kept from head to head.
const KEPT_FIELDS: usize = 128;
/// The most digits of a `Content-Length`: a signed 64-bit number in decimal.
const MAX_LENGTH_DIGITS: usize = 19;

/// A machine over header lines. It is always given the lines from the first one's first byte on, and looks only at what has
/// come since.
#[derive(Debug)]
pub(super) struct FieldLines {
    section: Section,
    place: Place,
    /// Bytes looked at.
    at: usize,
    /// Where the name of this line begins and ends.
    name: Range<usize>,
    field: Field,
    facts: Facts,
    lines: Vec<Line>,
}

/// Where the name and the value of one field stand.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) name: Range<usize>,
    pub(super) value: Range<usize>,
}

/// Where in a line it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    LineStart,
    Name,
    Value,
    LineEnd,
    LastLineEnd,
}

/// Which lines these are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Section {
    /// Of a request with this minor version.
    Head {
        /// HTTP/1.0.
        http10: bool,
    },
    /// After the last chunk.
    Trailers,
}

/// The fields that decide on the framing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Other,
    Host,
    ContentLength,
    TransferEncoding,
}

#[derive(Clone, Copy, Debug, Default)]
struct Facts {
    host: bool,
    length: Option<u64>,
    chunked: bool,
}

/// How long the body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BodyLength {
    Known(u64),
    Chunked,
}

impl FieldLines {
    /// Nothing is read; takes no memory.
    pub(super) fn new() -> Self {
        Self {
            section: Section::Trailers,
            place: Place::LineStart,
            at: 0,
            name: 0..0,
            field: Field::Other,
            facts: Facts::default(),
            lines: Vec::new(),
        }
    }

    /// Ready for the first line of `section`; the memory stays, unless it is that of an unusual head.
    pub(super) fn begin(&mut self, section: Section) {
        self.section = section;
        self.place = Place::LineStart;
        self.at = 0;
        self.facts = Facts::default();
        self.lines.clear();
        self.lines.shrink_to(KEPT_FIELDS);
        self.lines.reserve(USUAL_FIELDS);
    }

    /// The bytes looked at so far: all of the section, once it is complete.
    pub(super) fn length(&self) -> usize {
        self.at
    }

    /// The fields, in their order.
    pub(super) fn lines(&self) -> &[Line] {
        &self.lines
    }

    #[cfg(test)]
    pub(super) fn lines_capacity(&self) -> usize {
        self.lines.capacity()
    }

    /// What the head says; 0 for no body.
    pub(super) fn body(&self) -> BodyLength {
        if self.facts.chunked { BodyLength::Chunked } else { BodyLength::Known(self.facts.length.unwrap_or(0)) }
    }

    /// Looks at what has come since. True when the section is complete, that is, after its empty line.
    ///
    /// The parts of a line follow one another here as they do there, so a line that has come whole is gone through in one go.
    /// What few lines need is kept out of it, as the registers that it would take are needed for all.
    pub(super) fn read(&mut self, section: &[u8]) -> Result<bool, Violation> {
        while let Some(&first) = section.get(self.at) {
            if self.place == Place::LineStart {
                self.line_start(first)?;
            }
            if self.place == Place::Name {
                self.name(section)?;
            }
            if self.place == Place::Value {
                self.value(section)?;
            }
            if self.place == Place::LineEnd {
                self.line_end(section)?;
            }
            if self.place == Place::LastLineEnd && self.last_line_end(section)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    #[inline]
    fn line_start(&mut self, first: u8) -> Result<(), Violation> {
        match first {
            b'\r' => {
                self.place = Place::LastLineEnd;
                self.at += 1;
            }
            b' ' | b'\t' => return Err(Violation::FoldedHeader),
            b':' => return Err(Violation::EmptyHeaderName),
            _ if self.lines.len() >= MAX_FIELDS => return Err(Violation::TooManyFields),
            _ => {
                self.name.start = self.at;
                self.place = Place::Name;
            }
        }
        Ok(())
    }

    #[inline]
    fn name(&mut self, section: &[u8]) -> Result<(), Violation> {
        let Some(left) = section.get(self.at..) else { return Ok(()) };
        self.at += token_length(left);
        let Some(&end) = section.get(self.at) else { return Ok(()) };
        if end != b':' {
            return Err(misplaced(end, Violation::HeaderName));
        }
        self.name.end = self.at;
        self.field = section.get(self.name.clone()).map_or(Field::Other, Field::named);
        if self.field != Field::Other {
            self.announce()?;
        }
        self.at += 1;
        self.place = Place::Value;
        Ok(())
    }

    /// A field that decides on the framing may stand once in a head, and never in trailers.
    #[inline(never)]
    fn announce(&self) -> Result<(), Violation> {
        match (self.section, self.field) {
            (Section::Trailers, _) => Err(Violation::Trailer),
            (_, Field::Host) if self.facts.host => Err(Violation::RepeatedHost),
            (_, Field::ContentLength) if self.facts.length.is_some() => Err(Violation::RepeatedContentLength),
            (_, Field::TransferEncoding) if self.facts.chunked => Err(Violation::TransferEncoding),
            _ => Ok(()),
        }
    }

    #[inline]
    fn value(&mut self, section: &[u8]) -> Result<(), Violation> {
        let Some(left) = section.get(self.at..) else { return Ok(()) };
        self.at += value_length(left);
        let Some(&end) = section.get(self.at) else { return Ok(()) };
        if end != b'\r' {
            return Err(misplaced(end, Violation::ControlCharacter));
        }
        self.at += 1;
        self.place = Place::LineEnd;
        Ok(())
    }

    #[inline]
    fn line_end(&mut self, section: &[u8]) -> Result<(), Violation> {
        let Some(&end) = section.get(self.at) else { return Ok(()) };
        if end != b'\n' {
            return Err(Violation::BareCarriageReturn);
        }
        let until = self.at - 1;
        let value = trim_start(section.get(self.name.end + 1..until).unwrap_or_default());
        let start = until - value.len();
        let value = trim_end(value);
        match self.field {
            Field::Other => {}
            Field::Host => self.facts.host = true,
            Field::ContentLength | Field::TransferEncoding => self.learn(value)?,
        }
        self.lines.push(Line { name: self.name.clone(), value: start..start + value.len() });
        self.at += 1;
        self.place = Place::LineStart;
        Ok(())
    }

    /// What the value of a field says about the length of the body.
    #[inline(never)]
    fn learn(&mut self, value: &[u8]) -> Result<(), Violation> {
        if self.field == Field::ContentLength {
            self.facts.length = Some(length(value).ok_or(Violation::ContentLength)?);
        } else if value.eq_ignore_ascii_case(b"chunked") {
            self.facts.chunked = true;
        } else {
            return Err(Violation::TransferEncoding);
        }
        Ok(())
    }

    /// True when the section is complete.
    fn last_line_end(&mut self, section: &[u8]) -> Result<bool, Violation> {
        match section.get(self.at) {
            None => Ok(false),
            Some(b'\n') => {
                self.at += 1;
                self.agree().map(|()| true)
            }
            Some(_) => Err(Violation::BareCarriageReturn),
        }
    }

    /// What the fields of a head say together.
    fn agree(&self) -> Result<(), Violation> {
        let Section::Head { http10 } = self.section else { return Ok(()) };
        match self.facts {
            Facts { length: Some(_), chunked: true, .. } => Err(Violation::LengthAndEncoding),
            Facts { chunked: true, .. } if http10 => Err(Violation::EncodingInHttp10),
            Facts { host: false, .. } if !http10 => Err(Violation::MissingHost),
            _ => Ok(()),
        }
    }
}

impl Field {
    /// The one of this name, which is a token.
    #[inline]
    fn named(name: &[u8]) -> Self {
        if let Ok(name) = <[u8; 4]>::try_from(name) {
            // Every request has this one: its letters are compared together, with the bit set that lower case has.
            let lower = u32::from_ne_bytes(name) | u32::from_ne_bytes([0x20; 4]);
            return if lower == u32::from_ne_bytes(*b"host") { Self::Host } else { Self::Other };
        }
        if matches!(name.len(), 14 | 17) { Self::of_length(name) } else { Self::Other }
    }

    #[inline(never)]
    fn of_length(name: &[u8]) -> Self {
        if name.eq_ignore_ascii_case(b"content-length") {
            Self::ContentLength
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            Self::TransferEncoding
        } else {
            Self::Other
        }
    }
}

/// The length that `digits` write; `None` unless they are 1 to 19 decimal digits and no more than [`MAX_LENGTH`].
fn length(digits: &[u8]) -> Option<u64> {
    if digits.len() > MAX_LENGTH_DIGITS {
        return None;
    }
    decimal(digits).filter(|length| *length <= MAX_LENGTH)
}

/// A value without the white space before it. Of the bytes of a value only spaces and tabs are no more than a space.
fn trim_start(mut value: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = value
        && *first <= b' '
    {
        value = rest;
    }
    value
}

/// A value without the white space after it.
fn trim_end(mut value: &[u8]) -> &[u8] {
    while let [rest @ .., last] = value
        && *last <= b' '
    {
        value = rest;
    }
    value
}
