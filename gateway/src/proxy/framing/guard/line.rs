//! The request line.

use super::{Fault, Violation, violation::misplaced};
use crate::message::text::{target_length, token_length};

/// The longest target, in bytes. Source: `http::Uri` refuses more, as its offsets are 16 bits.
const MAX_TARGET_BYTES: usize = 65_534;
/// What a request line of HTTP/1.x ends in, but for the minor version, and the places in it.
const VERSION: &[u8; 7] = b"HTTP/1.";
/// Up to here it is the name of the protocol: another one is no request of HTTP at all.
const MAJOR_AT: usize = 5;

/// A machine over the request line.
#[derive(Debug, Default)]
pub(super) struct RequestLine {
    place: Place,
    /// Bytes of the method or the target so far.
    length: usize,
    http10: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    #[default]
    Method,
    Target,
    /// So many characters of [`VERSION`] have come.
    Version(usize),
    Minor,
    CarriageReturn,
    LineFeed,
}

impl RequestLine {
    /// True for HTTP/1.0, once the line is complete.
    pub(super) fn http10(&self) -> bool {
        self.http10
    }

    /// What is too long when the head's limit is reached here.
    pub(super) fn too_long(&self) -> Violation {
        match self.place {
            Place::Method | Place::Target => Violation::TargetTooLong,
            _ => Violation::HeadTooLarge,
        }
    }

    /// Takes bytes up to the end of the line. `Some`: so many were taken and the line is complete.
    pub(super) fn consume(&mut self, bytes: &[u8]) -> Result<Option<usize>, Fault> {
        let mut at = 0;
        while let Some((left, &first)) = bytes.get(at..).and_then(|left| Some((left, left.first()?))) {
            let taken = match self.place {
                Place::Method => self.word(left, token_length(left), Place::Target),
                Place::Target => self.target(left),
                Place::Version(seen) => self.version(left, seen),
                Place::Minor => self.minor(first),
                Place::CarriageReturn => self.expect(first, b'\r', Violation::RequestLine),
                Place::LineFeed => {
                    self.expect(first, b'\n', Violation::BareCarriageReturn).map_err(|fault| fault.after(at))?;
                    return Ok(Some(at + 1));
                }
            };
            at += taken.map_err(|fault| fault.after(at))?;
        }
        Ok(None)
    }

    /// One word of `length` characters, if it ends here, and the single space after it.
    fn word(&mut self, left: &[u8], length: usize, next: Place) -> Result<usize, Fault> {
        self.length += length;
        match left.get(length) {
            None => Ok(length),
            Some(b' ') if self.length > 0 => {
                self.length = 0;
                self.place = next;
                Ok(length + 1)
            }
            Some(&end) => Err(misplaced(end, Violation::RequestLine).at(length)),
        }
    }

    fn target(&mut self, left: &[u8]) -> Result<usize, Fault> {
        let length = target_length(left);
        let room = MAX_TARGET_BYTES.saturating_sub(self.length);
        if length > room {
            return Err(Violation::TargetTooLong.at(room));
        }
        self.word(left, length, Place::Version(0))
    }

    fn version(&mut self, left: &[u8], seen: usize) -> Result<usize, Fault> {
        let expected = VERSION.get(seen..).unwrap_or_default();
        let same = left.iter().zip(expected).take_while(|(came, expected)| came == expected).count();
        if same == expected.len() {
            self.place = Place::Minor;
            return Ok(same);
        }
        let Some(&other) = left.get(same) else {
            self.place = Place::Version(seen + same);
            return Ok(same);
        };
        let another_version = seen + same == MAJOR_AT && other.is_ascii_digit();
        let violation = if another_version { Violation::Version } else { misplaced(other, Violation::RequestLine) };
        Err(violation.at(same))
    }

    fn minor(&mut self, first: u8) -> Result<usize, Fault> {
        match first {
            b'1' => self.http10 = false,
            b'0' => self.http10 = true,
            b'2'..=b'9' => return Err(Violation::Version.at(0)),
            _ => return Err(misplaced(first, Violation::RequestLine).at(0)),
        }
        self.place = Place::CarriageReturn;
        Ok(1)
    }

    fn expect(&mut self, first: u8, expected: u8, otherwise: Violation) -> Result<usize, Fault> {
        if first != expected {
            return Err(if expected == b'\n' { otherwise.at(0) } else { misplaced(first, otherwise).at(0) });
        }
        self.place = Place::LineFeed;
        Ok(1)
    }
}
