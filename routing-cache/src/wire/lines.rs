//! A stream of bytes as lines, of which never more than one is held.

use super::WireError;
use crate::limits::LimitName;

/// Cuts chunks into lines. A line that lies whole within a chunk is not copied.
#[derive(Debug)]
pub(super) struct Lines {
    /// The longest line, in bytes without its end.
    limit: u64,
    /// The beginning of a line whose end has not come.
    open: Vec<u8>,
    /// The number of the line that is open, from 1.
    number: u64,
}

impl Lines {
    pub(super) fn new(limit: u64) -> Self {
        Self { limit, open: Vec::new(), number: 1 }
    }

    /// Hands each line that `chunk` ends to `take`, with its number and without its end.
    pub(super) fn push(
        &mut self,
        mut chunk: &[u8],
        mut take: impl FnMut(u64, &[u8]) -> Result<(), WireError>,
    ) -> Result<(), WireError> {
        while let Some((line, rest)) = split(chunk) {
            self.check(line)?;
            if self.open.is_empty() {
                take(self.number, line)?;
            } else {
                self.open.extend_from_slice(line);
                take(self.number, &self.open)?;
                self.open.clear();
            }
            self.number += 1;
            chunk = rest;
        }
        self.check(chunk)?;
        self.open.extend_from_slice(chunk);
        Ok(())
    }

    /// The last line, where the stream did not end with a line's end, and its number.
    pub(super) fn last(self) -> (u64, Vec<u8>) {
        (self.number, self.open)
    }

    fn check(&self, more: &[u8]) -> Result<(), WireError> {
        let length = self.open.len().saturating_add(more.len());
        if u64::try_from(length).unwrap_or(u64::MAX) > self.limit {
            return Err(WireError::TooLarge { limit: LimitName::LineBytes, allowed: self.limit });
        }
        Ok(())
    }
}

fn split(chunk: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = memchr::memchr(b'\n', chunk)?;
    let (line, rest) = chunk.split_at_checked(end)?;
    Some((line, rest.get(1..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(limit: u64, chunks: &[&str]) -> Result<Vec<(u64, String)>, WireError> {
        let (mut lines, mut seen) = (Lines::new(limit), Vec::new());
        for chunk in chunks {
            lines.push(chunk.as_bytes(), |number, line| {
                seen.push((number, String::from_utf8(line.to_vec()).unwrap()));
                Ok(())
            })?;
        }
        let (number, last) = lines.last();
        seen.push((number, String::from_utf8(last).unwrap()));
        Ok(seen)
    }

    #[test]
    fn lines_are_the_same_however_the_stream_is_cut() {
        let expected = [(1, "one"), (2, ""), (3, "three"), (4, "rest")].map(|(n, text)| (n, text.to_owned()));
        for chunks in [&["one\n\nthree\nrest"][..], &["o", "ne", "\n", "\nthr", "ee\nre", "st"]] {
            assert_eq!(lines(5, chunks).unwrap(), expected);
        }
    }

    #[test]
    fn a_line_over_the_limit_is_refused_before_its_end_has_come() {
        let too_large = Err(WireError::TooLarge { limit: LimitName::LineBytes, allowed: 3 });
        assert_eq!(lines(3, &["123\n123"]).unwrap().len(), 2);
        assert_eq!(lines(3, &["1234\n"]), too_large);
        assert_eq!(lines(3, &["12", "34"]), too_large);
        assert_eq!(lines(3, &["12", "34\n"]), too_large);
    }
}
