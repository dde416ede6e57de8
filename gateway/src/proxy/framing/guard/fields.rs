//! Header lines up to the empty one, of a head or of trailers, and what they say about the length of the body.

use super::{Fault, Violation, violation::misplaced};
use crate::message::text::{token_length, value_length};

/// Header fields at most. Source: hyper's own limit (`max_headers`), up to which it parses without allocating.
const MAX_FIELDS: u8 = 100;
/// The longest name that matters here: `transfer-encoding`.
const NAME_BYTES: usize = 17;
/// The longest value that matters here: a 64-bit number in decimal.
const VALUE_BYTES: usize = 20;
/// The largest `Content-Length`. Source: a signed 64-bit count, which every server's arithmetic can hold.
const MAX_LENGTH: u64 = i64::MAX.unsigned_abs();

/// A machine over header lines.
#[derive(Debug)]
pub(super) struct Fields {
    place: Place,
    section: Section,
    count: u8,
    name: Short<NAME_BYTES>,
    field: Field,
    value: Short<VALUE_BYTES>,
    facts: Facts,
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

impl Fields {
    /// Ready for the first line of `section`.
    pub(super) fn new(section: Section) -> Self {
        Self {
            place: Place::LineStart,
            section,
            count: 0,
            name: Short::default(),
            field: Field::Other,
            value: Short::default(),
            facts: Facts::default(),
        }
    }

    /// What the head says; 0 for no body.
    pub(super) fn body(&self) -> BodyLength {
        if self.facts.chunked { BodyLength::Chunked } else { BodyLength::Known(self.facts.length.unwrap_or(0)) }
    }

    /// Takes bytes up to the end of the empty line. `Some`: so many were taken and the section is complete.
    pub(super) fn consume(&mut self, bytes: &[u8]) -> Result<Option<usize>, Fault> {
        let mut at = 0;
        while let Some((left, &first)) = bytes.get(at..).and_then(|left| Some((left, left.first()?))) {
            let taken = match self.place {
                Place::LineStart => self.line_start(first),
                Place::Name => self.name(left),
                Place::Value => self.value(left),
                Place::LineEnd => self.line_end(first),
                Place::LastLineEnd => return self.last_line_end(first).map_err(|v| v.at(at)).map(|()| Some(at + 1)),
            };
            at += taken.map_err(|fault| fault.after(at))?;
        }
        Ok(None)
    }

    fn line_start(&mut self, first: u8) -> Result<usize, Fault> {
        match first {
            b'\r' => self.place = Place::LastLineEnd,
            b' ' | b'\t' => return Err(Violation::FoldedHeader.at(0)),
            b':' => return Err(Violation::EmptyHeaderName.at(0)),
            _ if self.count == MAX_FIELDS => return Err(Violation::TooManyFields.at(0)),
            _ => {
                self.count += 1;
                self.name.clear();
                self.place = Place::Name;
                return Ok(0);
            }
        }
        Ok(1)
    }

    fn name(&mut self, left: &[u8]) -> Result<usize, Fault> {
        let length = token_length(left);
        let (token, after) = left.split_at(length);
        let Some(&end) = after.first() else {
            self.name.push(token);
            return Ok(length);
        };
        if end != b':' {
            return Err(misplaced(end, Violation::HeaderName).at(length));
        }
        if self.name.is_empty() {
            // The usual case: the whole name is in front of us, and nothing is copied.
            self.field = Field::named(token);
        } else {
            self.name.push(token);
            self.field = Field::named(self.name.as_slice());
        }
        self.announce().map_err(|violation| violation.at(length))?;
        self.value.clear();
        self.place = Place::Value;
        Ok(length + 1)
    }

    /// A field that decides on the framing may stand once in a head, and never in trailers.
    fn announce(&mut self) -> Result<(), Violation> {
        if self.field == Field::Other {
            return Ok(());
        }
        if self.section == Section::Trailers {
            return Err(Violation::Trailer);
        }
        match self.field {
            Field::Host if self.facts.host => Err(Violation::RepeatedHost),
            Field::ContentLength if self.facts.length.is_some() => Err(Violation::RepeatedContentLength),
            Field::TransferEncoding if self.facts.chunked => Err(Violation::TransferEncoding),
            _ => Ok(()),
        }
    }

    fn value(&mut self, left: &[u8]) -> Result<usize, Fault> {
        let length = value_length(left);
        if matches!(self.field, Field::ContentLength | Field::TransferEncoding) {
            self.value.push_trimmed(left.get(..length).unwrap_or_default());
        }
        match left.get(length) {
            None => Ok(length),
            Some(b'\r') => {
                self.place = Place::LineEnd;
                Ok(length + 1)
            }
            Some(&end) => Err(misplaced(end, Violation::ControlCharacter).at(length)),
        }
    }

    fn line_end(&mut self, first: u8) -> Result<usize, Fault> {
        if first != b'\n' {
            return Err(Violation::BareCarriageReturn.at(0));
        }
        self.learn().map_err(|violation| violation.at(0))?;
        self.place = Place::LineStart;
        Ok(1)
    }

    fn learn(&mut self) -> Result<(), Violation> {
        match self.field {
            Field::Other => {}
            Field::Host => self.facts.host = true,
            Field::ContentLength => {
                self.facts.length = Some(decimal(self.value.trimmed()).ok_or(Violation::ContentLength)?);
            }
            Field::TransferEncoding if self.value.trimmed().eq_ignore_ascii_case(b"chunked") => {
                self.facts.chunked = true;
            }
            Field::TransferEncoding => return Err(Violation::TransferEncoding),
        }
        Ok(())
    }

    fn last_line_end(&self, first: u8) -> Result<(), Violation> {
        if first != b'\n' {
            return Err(Violation::BareCarriageReturn);
        }
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
    fn named(name: &[u8]) -> Self {
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => Self::Host,
            14 if name.eq_ignore_ascii_case(b"content-length") => Self::ContentLength,
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => Self::TransferEncoding,
            _ => Self::Other,
        }
    }
}

/// The number that `digits` write; `None` unless they are 1 to 19 decimal digits and no more than [`MAX_LENGTH`].
fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || digits.len() >= VALUE_BYTES {
        return None;
    }
    let number = digits.iter().try_fold(0_u64, |sum, &digit| {
        let value = digit.checked_sub(b'0').filter(|value| *value <= 9)?;
        sum.checked_mul(10)?.checked_add(u64::from(value))
    })?;
    (number <= MAX_LENGTH).then_some(number)
}

/// The beginning of a text that may come in pieces; one that does not fit stays too long.
#[derive(Debug)]
struct Short<const N: usize> {
    bytes: [u8; N],
    length: usize,
}

impl<const N: usize> Default for Short<N> {
    fn default() -> Self {
        Self { bytes: [0; N], length: 0 }
    }
}

impl<const N: usize> Short<N> {
    fn clear(&mut self) {
        self.length = 0;
    }

    fn is_empty(&self) -> bool {
        self.length == 0
    }

    fn push(&mut self, piece: &[u8]) {
        for &byte in piece.iter().take(N + 1) {
            if let Some(free) = self.bytes.get_mut(self.length) {
                *free = byte;
            }
            self.length = self.length.saturating_add(1);
        }
    }

    /// As `push`, without the white space that the whole begins with.
    fn push_trimmed(&mut self, piece: &[u8]) {
        self.push(if self.is_empty() { trim_start(piece) } else { piece });
    }

    /// All of it; nothing when it did not fit, which is no name and no value that matters.
    fn as_slice(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }

    /// As `as_slice`, without the white space that it ends with.
    fn trimmed(&self) -> &[u8] {
        let mut all = self.as_slice();
        while let [shorter @ .., b' ' | b'\t'] = all {
            all = shorter;
        }
        all
    }
}

fn trim_start(mut piece: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = piece {
        piece = rest;
    }
    piece
}
