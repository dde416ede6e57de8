//! A body in chunks, with its trailers.

use super::{
    Fault, Violation,
    fields::{Fields, Section},
    violation::misplaced,
};
use crate::message::text::value_length;

/// The longest chunk size, in digits: 64 bits. Source: RFC 9112, 7.1 asks for care with integer overflows.
const MAX_SIZE_DIGITS: u8 = 16;
/// Extensions over all chunks of one body, in bytes. They mean nothing to us and cost the reader work that is not counted as
/// body. Source: hyper stops at 16 KiB, and ours must be the lower limit for the refusal to be ours.
const MAX_EXTENSION_BYTES: usize = 8192;
/// Trailers, in bytes, whatever the head's limit is. Source: hyper's limit, which it may set lower than ours for heads.
pub(super) const MAX_TRAILER_BYTES: usize = 16 * 1024;

/// A machine over one chunked body.
#[derive(Debug)]
pub(super) struct Chunks {
    place: Place,
    extension_bytes: usize,
    trailer_room: usize,
    trailers: Fields,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Size { digits: u8, value: u64 },
    Extension { size: u64 },
    SizeEnd { size: u64 },
    Data { left: u64 },
    DataReturn,
    DataEnd,
    Trailers,
}

const FIRST: Place = Place::Size { digits: 0, value: 0 };

impl Chunks {
    /// Ready for the first chunk; trailers may be `header_bytes` long.
    pub(super) fn new(header_bytes: usize) -> Self {
        Self {
            place: FIRST,
            extension_bytes: 0,
            trailer_room: header_bytes.min(MAX_TRAILER_BYTES),
            trailers: Fields::new(Section::Trailers),
        }
    }

    /// Takes bytes up to the end of the body. `Some`: so many were taken and the body is complete.
    pub(super) fn consume(&mut self, bytes: &[u8]) -> Result<Option<usize>, Fault> {
        let mut at = 0;
        while let Some((left, &first)) = bytes.get(at..).and_then(|left| Some((left, left.first()?))) {
            let taken = match self.place {
                Place::Size { digits, value } => self.size(first, digits, value),
                Place::Extension { size } => self.extension(left, size),
                Place::SizeEnd { size } => self.size_end(first, size),
                Place::Data { left: missing } => Ok(self.data(left.len(), missing)),
                Place::DataReturn => self.expect(first, b'\r', Place::DataEnd),
                Place::DataEnd => self.expect(first, b'\n', FIRST),
                Place::Trailers => match self.trailers(left).map_err(|fault| fault.after(at))? {
                    Some(taken) => return Ok(Some(at + taken)),
                    None => return Ok(None),
                },
            };
            at += taken.map_err(|fault| fault.after(at))?;
        }
        Ok(None)
    }

    fn size(&mut self, first: u8, digits: u8, value: u64) -> Result<usize, Fault> {
        let digit = char::from(first).to_digit(16);
        self.place = match (first, digit) {
            (_, Some(digit)) if digits < MAX_SIZE_DIGITS => {
                Place::Size { digits: digits + 1, value: (value << 4) | u64::from(digit) }
            }
            (b'\r', _) if digits > 0 => Place::SizeEnd { size: value },
            (b';', _) if digits > 0 => Place::Extension { size: value },
            _ => return Err(misplaced(first, Violation::ChunkSize).at(0)),
        };
        Ok(1)
    }

    fn extension(&mut self, left: &[u8], size: u64) -> Result<usize, Fault> {
        let length = value_length(left);
        let room = MAX_EXTENSION_BYTES - self.extension_bytes;
        if length > room {
            return Err(Violation::ChunkExtension.at(room));
        }
        self.extension_bytes += length;
        match left.get(length) {
            None => Ok(length),
            Some(b'\r') => {
                self.place = Place::SizeEnd { size };
                Ok(length + 1)
            }
            Some(&end) => Err(misplaced(end, Violation::ControlCharacter).at(length)),
        }
    }

    fn size_end(&mut self, first: u8, size: u64) -> Result<usize, Fault> {
        if first != b'\n' {
            return Err(Violation::BareCarriageReturn.at(0));
        }
        self.place = if size == 0 { Place::Trailers } else { Place::Data { left: size } };
        Ok(1)
    }

    fn data(&mut self, came: usize, missing: u64) -> usize {
        let taken = usize::try_from(missing).map_or(came, |missing| missing.min(came));
        let left = missing - taken as u64;
        self.place = if left == 0 { Place::DataReturn } else { Place::Data { left } };
        taken
    }

    fn expect(&mut self, first: u8, expected: u8, next: Place) -> Result<usize, Fault> {
        if first != expected {
            return Err(Violation::ChunkEnd.at(0));
        }
        self.place = next;
        Ok(1)
    }

    fn trailers(&mut self, left: &[u8]) -> Result<Option<usize>, Fault> {
        let room = self.trailer_room.min(left.len());
        let within = left.get(..room).unwrap_or_default();
        let done = self.trailers.consume(within)?;
        if done.is_none() && room < left.len() {
            return Err(Violation::HeadTooLarge.at(room));
        }
        self.trailer_room -= done.unwrap_or(room);
        Ok(done)
    }
}
