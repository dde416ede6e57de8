//! The request line.

use std::ops::Range;

use super::{Violation, violation::misplaced};
use crate::message::text::{target_length, token_length};

/// The longest target, in bytes. Source: a count of 16 bits, in which much that reads one holds its offsets (`http::Uri`
/// refuses more).
pub(crate) const MAX_TARGET_BYTES: usize = 65_534;
/// What the line of a request ends in, and the places in it that another version would differ in.
const ENDING: &[u8; 10] = b"HTTP/1.1\r\n";
/// Up to here it is the name of the protocol: another one is no request of HTTP at all.
const MAJOR_AT: usize = 5;
const MINOR_AT: usize = 7;
const LINE_FEED_AT: usize = 9;

/// A machine over the request line. It is always given the line from its first byte on, and looks only at what has come
/// since.
#[derive(Debug, Default)]
pub(super) struct RequestLine {
    place: Place,
    /// Bytes looked at.
    at: usize,
    /// Where the method and the target end, once they have.
    method: usize,
    target: usize,
    http10: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    #[default]
    Method,
    Target,
    Ending,
}

impl RequestLine {
    /// The bytes looked at so far: all of the line, once it is complete.
    pub(super) fn length(&self) -> usize {
        self.at
    }

    /// True for HTTP/1.0, once the line is complete.
    pub(super) fn http10(&self) -> bool {
        self.http10
    }

    /// Where the method stands, once the line is complete.
    pub(super) fn method(&self) -> Range<usize> {
        0..self.method
    }

    /// Where the target stands, once the line is complete.
    pub(super) fn target(&self) -> Range<usize> {
        self.method + 1..self.target
    }

    /// What is too long when the head's limit is reached here.
    pub(super) fn too_long(&self) -> Violation {
        if self.place == Place::Ending { Violation::HeadTooLarge } else { Violation::TargetTooLong }
    }

    /// Looks at what has come since. True when the line is complete.
    pub(super) fn read(&mut self, head: &[u8]) -> Result<bool, Violation> {
        if self.place == Place::Method {
            let Some(left) = head.get(self.at..) else { return Ok(false) };
            self.at += token_length(left);
            if !self.word_ends(head, 0)? {
                return Ok(false);
            }
            self.method = self.at;
            self.at += 1;
            self.place = Place::Target;
        }
        if self.place == Place::Target {
            let Some(left) = head.get(self.at..) else { return Ok(false) };
            self.at += target_length(left);
            let start = self.method + 1;
            if self.at - start > MAX_TARGET_BYTES {
                return Err(Violation::TargetTooLong);
            }
            if !self.word_ends(head, start)? {
                return Ok(false);
            }
            self.target = self.at;
            self.at += 1;
            self.place = Place::Ending;
        }
        self.ending(head)
    }

    /// True when the word that began at `start` ends here, in a single space.
    fn word_ends(&self, head: &[u8], start: usize) -> Result<bool, Violation> {
        match head.get(self.at) {
            None => Ok(false),
            Some(b' ') if self.at > start => Ok(true),
            Some(&end) => Err(misplaced(end, Violation::RequestLine)),
        }
    }

    fn ending(&mut self, head: &[u8]) -> Result<bool, Violation> {
        let start = self.target + 1;
        if self.at == start && head.get(start..).is_some_and(|left| left.starts_with(ENDING)) {
            // The usual case.
            self.at += ENDING.len();
            return Ok(true);
        }
        while let Some(&byte) = head.get(self.at) {
            let seen = self.at - start;
            if ENDING.get(seen) != Some(&byte) {
                self.other_version(seen, byte)?;
            }
            self.at += 1;
            if seen == LINE_FEED_AT {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// What a `byte` says that is not the expected one, after so many of the ending.
    fn other_version(&mut self, seen: usize, byte: u8) -> Result<(), Violation> {
        match (seen, byte) {
            (MINOR_AT, b'0') => {
                self.http10 = true;
                Ok(())
            }
            (MAJOR_AT | MINOR_AT, b'0'..=b'9') => Err(Violation::Version),
            (LINE_FEED_AT, _) => Err(Violation::BareCarriageReturn),
            _ => Err(misplaced(byte, Violation::RequestLine)),
        }
    }
}
