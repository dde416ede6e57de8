//! A body in chunks: what stands between its data.

use super::{Violation, violation::misplaced};
use crate::message::text::value_length;

/// The longest chunk size, in digits: 64 bits. Source: RFC 9112, 7.1 asks for care with integer overflows.
const MAX_SIZE_DIGITS: u8 = 16;
/// Extensions over all chunks of one body, in bytes. They mean nothing to us and cost the reader work that is not counted as
/// body. Source: RFC 9112, 7.1.1 asks for a limit; half of the 16 KiB at which hyper, an app's server perhaps, stops.
const MAX_EXTENSION_BYTES: usize = 8192;

/// A machine over what stands between the data of one chunked body.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chunks {
    place: Place,
    extension_bytes: usize,
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
    /// Ready for the first chunk.
    pub(super) fn new() -> Self {
        Self { place: FIRST, extension_bytes: 0 }
    }

    /// Looks at bytes up to the next data, or the trailers. Says how many.
    pub(super) fn skip(&mut self, bytes: &[u8]) -> Result<usize, Violation> {
        for (at, &byte) in bytes.iter().enumerate() {
            if matches!(self.place, Place::Data { .. } | Place::Trailers) {
                return Ok(at);
            }
            self.place = self.after(byte)?;
        }
        Ok(bytes.len())
    }

    /// Bytes of data that come next, if data does.
    pub(super) fn data(&self) -> Option<u64> {
        if let Place::Data { left } = self.place { Some(left) } else { None }
    }

    /// So many bytes of data were taken.
    pub(super) fn took(&mut self, count: u64) {
        if let Place::Data { left } = &mut self.place {
            *left = left.saturating_sub(count);
            if *left == 0 {
                self.place = Place::DataReturn;
            }
        }
    }

    /// True after the last chunk.
    pub(super) fn in_trailers(&self) -> bool {
        self.place == Place::Trailers
    }

    /// Where it stands after `byte`.
    fn after(&mut self, byte: u8) -> Result<Place, Violation> {
        match self.place {
            Place::Size { digits, value } => after_size(byte, digits, value),
            Place::Extension { size } => self.after_extension(byte, size),
            Place::SizeEnd { size } => match (byte, size) {
                (b'\n', 0) => Ok(Place::Trailers),
                (b'\n', left) => Ok(Place::Data { left }),
                _ => Err(Violation::BareCarriageReturn),
            },
            Place::DataReturn if byte == b'\r' => Ok(Place::DataEnd),
            Place::DataEnd if byte == b'\n' => Ok(FIRST),
            Place::DataReturn | Place::DataEnd => Err(Violation::ChunkEnd),
            Place::Data { .. } | Place::Trailers => Ok(self.place),
        }
    }

    fn after_extension(&mut self, byte: u8, size: u64) -> Result<Place, Violation> {
        if byte == b'\r' {
            return Ok(Place::SizeEnd { size });
        }
        if value_length(&[byte]) == 0 {
            return Err(misplaced(byte, Violation::ControlCharacter));
        }
        self.extension_bytes += 1;
        if self.extension_bytes > MAX_EXTENSION_BYTES {
            return Err(Violation::ChunkExtension);
        }
        Ok(Place::Extension { size })
    }
}

/// After a byte of the size: more of it, the line's end or an extension.
fn after_size(byte: u8, digits: u8, value: u64) -> Result<Place, Violation> {
    match (byte, char::from(byte).to_digit(16)) {
        (_, Some(digit)) if digits < MAX_SIZE_DIGITS => {
            Ok(Place::Size { digits: digits + 1, value: (value << 4) | u64::from(digit) })
        }
        (b'\r', _) if digits > 0 => Ok(Place::SizeEnd { size: value }),
        (b';', _) if digits > 0 => Ok(Place::Extension { size: value }),
        _ => Err(misplaced(byte, Violation::ChunkSize)),
    }
}
