//! A body in chunks: what stands between its data (RFC 9112, 7.1).

use bytes::{Buf as _, Bytes, BytesMut};

use super::{body::take, text::is_text};

/// The longest chunk size, in digits: 64 bits. Source: RFC 9112, 7.1 asks for care with integer overflows.
const MAX_SIZE_DIGITS: u8 = 16;

/// How much is taken of a sender that does not keep to the letter.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// White space after a size, with which old servers pad it (RFC 9112, 7.1.1: BWS).
    pub padding: bool,
    /// White space and extensions over all chunks of one body, in bytes. They mean nothing to us, and cost the reader work that
    /// is not counted as body (RFC 9112, 7.1.1 asks for a limit).
    pub extension_bytes: usize,
}

/// A machine over what stands between the data of one chunked body.
#[derive(Clone, Copy, Debug)]
pub struct Chunks {
    rules: Rules,
    place: Place,
    extension_bytes: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Size { digits: u8, value: u64 },
    Padding { size: u64 },
    Extension { size: u64 },
    SizeEnd { size: u64 },
    Data { left: u64 },
    DataReturn,
    DataEnd,
    Trailers,
}

/// What comes next of a body.
#[derive(Debug)]
pub enum Part {
    /// Data.
    Data(Bytes),
    /// The last data: the end came with it, and there are no trailers.
    Last(Bytes),
    /// The trailers, which are not taken.
    Trailers,
    /// More must be read first.
    More,
}

/// Where a byte stands that may not stand there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misplaced {
    /// In a size, or right after it.
    Size(u8),
    /// In an extension.
    Extension(u8),
    /// In an extension, and it is one too many.
    TooLong,
    /// After the carriage return of the size's line.
    SizeEnd,
    /// After the data.
    DataEnd,
}

const FIRST: Place = Place::Size { digits: 0, value: 0 };

impl Chunks {
    /// Ready for the first chunk.
    #[must_use]
    pub const fn new(rules: Rules) -> Self {
        Self { rules, place: FIRST, extension_bytes: 0 }
    }

    /// Takes what comes next out of `read`. The end of a body comes together with its last data, where it is there and plain:
    /// whoever has the data then knows that nothing follows. What is wrong, or more than that, is left for the next look.
    ///
    /// # Errors
    /// At the first byte that may not stand where it does.
    pub fn next(&mut self, read: &mut BytesMut) -> Result<Part, Misplaced> {
        let skipped = self.skip(read)?;
        read.advance(skipped);
        if self.in_trailers() {
            return Ok(Part::Trailers);
        }
        let Some(left) = self.data().filter(|_| !read.is_empty()) else { return Ok(Part::More) };
        let data = take(read, left);
        self.took(data.len() as u64);
        let mut ahead = *self;
        let Ok(skipped) = ahead.skip(read) else { return Ok(Part::Data(data)) };
        let plain = read.get(skipped..).is_some_and(|rest| rest.starts_with(b"\r\n"));
        if !ahead.in_trailers() || !plain {
            return Ok(Part::Data(data));
        }
        read.advance(skipped + 2);
        Ok(Part::Last(data))
    }

    /// Looks at bytes up to the next data, or the trailers. Says how many.
    fn skip(&mut self, bytes: &[u8]) -> Result<usize, Misplaced> {
        for (at, &byte) in bytes.iter().enumerate() {
            if matches!(self.place, Place::Data { .. } | Place::Trailers) {
                return Ok(at);
            }
            self.place = self.after(byte)?;
        }
        Ok(bytes.len())
    }

    /// Bytes of data that come next, if data does.
    #[must_use]
    pub fn data(&self) -> Option<u64> {
        if let Place::Data { left } = self.place { Some(left) } else { None }
    }

    /// So many bytes of data were taken.
    fn took(&mut self, count: u64) {
        if let Place::Data { left } = &mut self.place {
            *left = left.saturating_sub(count);
            if *left == 0 {
                self.place = Place::DataReturn;
            }
        }
    }

    /// True after the last chunk.
    fn in_trailers(&self) -> bool {
        self.place == Place::Trailers
    }

    fn after(&mut self, byte: u8) -> Result<Place, Misplaced> {
        match self.place {
            Place::Size { digits, value } => self.after_size(byte, digits, value),
            Place::Padding { size } => {
                self.count()?;
                self.after_padding(byte, size)
            }
            Place::Extension { size } if byte == b'\r' => Ok(Place::SizeEnd { size }),
            // A control, a line feed among them, could be the line's end for somebody else.
            Place::Extension { .. } if !is_text(byte) => Err(Misplaced::Extension(byte)),
            Place::Extension { size } => self.count().map(|()| Place::Extension { size }),
            Place::SizeEnd { size } => match (byte, size) {
                (b'\n', 0) => Ok(Place::Trailers),
                (b'\n', left) => Ok(Place::Data { left }),
                _ => Err(Misplaced::SizeEnd),
            },
            Place::DataReturn if byte == b'\r' => Ok(Place::DataEnd),
            Place::DataEnd if byte == b'\n' => Ok(FIRST),
            Place::DataReturn | Place::DataEnd => Err(Misplaced::DataEnd),
            Place::Data { .. } | Place::Trailers => Ok(self.place),
        }
    }

    fn after_size(&self, byte: u8, digits: u8, value: u64) -> Result<Place, Misplaced> {
        match char::from(byte).to_digit(16) {
            Some(digit) if digits < MAX_SIZE_DIGITS => {
                Ok(Place::Size { digits: digits + 1, value: (value << 4) | u64::from(digit) })
            }
            None if digits > 0 => self.after_padding(byte, value),
            _ => Err(Misplaced::Size(byte)),
        }
    }

    /// After a size, or what pads it: more of that, the line's end or an extension.
    fn after_padding(&self, byte: u8, size: u64) -> Result<Place, Misplaced> {
        match byte {
            b'\r' => Ok(Place::SizeEnd { size }),
            b';' => Ok(Place::Extension { size }),
            b' ' | b'\t' if self.rules.padding => Ok(Place::Padding { size }),
            _ => Err(Misplaced::Size(byte)),
        }
    }

    fn count(&mut self) -> Result<(), Misplaced> {
        self.extension_bytes += 1;
        if self.extension_bytes > self.rules.extension_bytes { Err(Misplaced::TooLong) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STRICT: Rules = Rules { padding: false, extension_bytes: 4 };
    const LENIENT: Rules = Rules { padding: true, ..STRICT };

    fn skipped(rules: Rules, bytes: &str) -> (Result<usize, Misplaced>, Option<u64>) {
        let mut chunks = Chunks::new(rules);
        (chunks.skip(bytes.as_bytes()), chunks.data())
    }

    #[test]
    fn a_size_may_be_padded_where_that_is_borne() {
        assert_eq!(skipped(LENIENT, "1f \t\r\nx"), (Ok(6), Some(0x1f)));
        assert_eq!(skipped(STRICT, "1f \t\r\nx").0, Err(Misplaced::Size(b' ')));
        assert_eq!(skipped(LENIENT, " 1f\r\n").0, Err(Misplaced::Size(b' ')));
    }

    #[test]
    fn what_means_nothing_has_a_limit() {
        assert_eq!(skipped(STRICT, "1;abcd\r\n"), (Ok(8), Some(1)));
        assert_eq!(skipped(STRICT, "1;abcde\r\n").0, Err(Misplaced::TooLong));
        assert_eq!(skipped(STRICT, "1;a\n").0, Err(Misplaced::Extension(b'\n')));
    }

    #[test]
    fn a_size_of_more_than_64_bits_is_none() {
        assert_eq!(skipped(STRICT, "ffffffffffffffff\r\n").1, Some(u64::MAX));
        assert_eq!(skipped(STRICT, "0ffffffffffffffff\r\n").0, Err(Misplaced::Size(b'f')));
    }

    #[test]
    fn data_ends_with_its_line_and_the_last_chunk_with_trailers() {
        let mut chunks = Chunks::new(STRICT);
        assert_eq!(chunks.skip(b"2\r\nab"), Ok(3));
        chunks.took(2);
        assert_eq!(chunks.skip(b"\r\n0\r\n\r\n"), Ok(5));
        assert!(chunks.in_trailers());
        let mut chunks = Chunks::new(STRICT);
        assert_eq!(chunks.skip(b"1\r\n"), Ok(3));
        chunks.took(1);
        assert_eq!(chunks.skip(b"\n"), Err(Misplaced::DataEnd));
        assert_eq!(skipped(STRICT, "1\rx").0, Err(Misplaced::SizeEnd));
    }
}
