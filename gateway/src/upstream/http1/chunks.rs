//! A body in chunks: what stands between its data.

use super::fault::Flaw;

/// The longest chunk size, in digits: 64 bits. Source: RFC 9112, 7.1 asks for care with integer overflows.
const MAX_SIZE_DIGITS: u8 = 16;
/// White space and extensions over all chunks of one body, in bytes. They mean nothing to us and cost the reader work that
/// is not counted as body. Source: hyper's limit.
const MAX_EXTENSION_BYTES: usize = 16 << 10;

/// A machine over what stands between the data of one chunked body.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chunks {
    place: Place,
    extension_bytes: usize,
}

/// Where in a chunk it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// In the size, after so many digits.
    Size { digits: u8, value: u64 },
    /// In white space after the size, which old servers pad it with (RFC 9112, 7.1.1: BWS).
    Padding { size: u64 },
    /// In an extension.
    Extension { size: u64 },
    /// After the carriage return of the size's line.
    SizeEnd { size: u64 },
    /// So many bytes of data are missing.
    Data { left: u64 },
    /// After the data.
    DataReturn,
    /// After the carriage return that follows the data.
    DataEnd,
    /// After the last chunk.
    Trailers,
}

const FIRST: Place = Place::Size { digits: 0, value: 0 };

impl Chunks {
    /// Ready for the first chunk.
    pub(super) fn new() -> Self {
        Self { place: FIRST, extension_bytes: 0 }
    }

    /// Takes bytes up to the next data, or the trailers. Says how many.
    pub(super) fn skip(&mut self, bytes: &[u8]) -> Result<usize, Flaw> {
        for (at, &byte) in bytes.iter().enumerate() {
            if matches!(self.place, Place::Data { .. } | Place::Trailers) {
                return Ok(at);
            }
            self.place = self.after(byte).ok_or(Flaw::Chunk)?;
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

    /// Where it stands after `byte`; `None` where that may not stand.
    fn after(&mut self, byte: u8) -> Option<Place> {
        match self.place {
            Place::Size { digits, value } => size(byte, digits, value),
            Place::Padding { size } => {
                self.count()?;
                line(byte, size, matches!(byte, b' ' | b'\t').then_some(Place::Padding { size }))
            }
            Place::Extension { size } if byte == b'\r' => Some(Place::SizeEnd { size }),
            // A control, a line feed among them, could be the line's end for somebody else.
            Place::Extension { .. } if byte != b'\t' && byte.is_ascii_control() => None,
            Place::Extension { size } => self.count().map(|()| Place::Extension { size }),
            Place::SizeEnd { size } if byte == b'\n' => {
                Some(if size == 0 { Place::Trailers } else { Place::Data { left: size } })
            }
            Place::DataReturn if byte == b'\r' => Some(Place::DataEnd),
            Place::DataEnd if byte == b'\n' => Some(FIRST),
            Place::SizeEnd { .. } | Place::DataReturn | Place::DataEnd => None,
            Place::Data { .. } | Place::Trailers => Some(self.place),
        }
    }

    fn count(&mut self) -> Option<()> {
        self.extension_bytes += 1;
        (self.extension_bytes < MAX_EXTENSION_BYTES).then_some(())
    }
}

fn size(byte: u8, digits: u8, value: u64) -> Option<Place> {
    match char::from(byte).to_digit(16) {
        Some(_) if digits == MAX_SIZE_DIGITS => None,
        Some(digit) => Some(Place::Size { digits: digits + 1, value: (value << 4) | u64::from(digit) }),
        None if digits == 0 => None,
        None => line(byte, value, matches!(byte, b' ' | b'\t').then_some(Place::Padding { size: value })),
    }
}

/// After the size: the line's end, an extension, or `otherwise`.
fn line(byte: u8, size: u64, otherwise: Option<Place>) -> Option<Place> {
    match byte {
        b'\r' => Some(Place::SizeEnd { size }),
        b';' => Some(Place::Extension { size }),
        _ => otherwise,
    }
}
