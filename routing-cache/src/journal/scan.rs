//! From whole frame to whole frame, over whatever lies between.

use std::{io, ops::Range};

use memchr::memmem;

use crate::{
    codec::{HEADER_BYTES, header_version},
    disk::ReadFile,
};

use super::{FRAME, FRAME_HEAD, MAGIC, MAX_CHANGE_BYTES, VERSION, checksum};

/// How much is read at a time, in bytes.
const READ_BYTES: usize = 256 << 10;
/// Damaged places remembered one by one; what is beyond is in the last of them.
const MAX_DAMAGED: usize = 32;

/// Why a segment is not read.
#[derive(Debug, thiserror::Error)]
pub enum SegmentError {
    /// The system did not let it be read.
    #[error("cannot be read: {0}")]
    Disk(#[from] io::Error),
    /// It is of a version this one does not read.
    #[error("is from {} version ({found}, and this one reads {read})", if found > read { "a newer" } else { "an older" })]
    Version {
        /// Its version.
        found: u8,
        /// The one that is read.
        read: u8,
    },
}

/// A whole frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// The number of its change.
    pub sequence: u64,
    /// Where in the file it begins.
    pub offset: u64,
    /// Its change, as written.
    pub payload: &'a [u8],
}

/// Reads a segment.
pub struct Scanner {
    file: Box<dyn ReadFile>,
    /// Bytes of the file that were read and are not passed yet, and where in the file they begin.
    buffer: Vec<u8>,
    start: u64,
    /// How far of `buffer` it has come.
    at: usize,
    at_end: bool,
    damaged: Vec<Range<u64>>,
    /// Where the last whole frame ends.
    whole_end: u64,
    frames: u64,
}

impl Scanner {
    /// Begins a segment.
    ///
    /// # Errors
    /// When it cannot be read, or is of another version.
    pub fn new(file: Box<dyn ReadFile>) -> Result<Self, SegmentError> {
        let mut scanner = Self {
            file,
            buffer: Vec::new(),
            start: 0,
            at: 0,
            at_end: false,
            damaged: Vec::new(),
            whole_end: 0,
            frames: 0,
        };
        scanner.fill(2 * HEADER_BYTES)?;
        scanner.header()?;
        Ok(scanner)
    }

    /// The next whole frame, a copy of the one before included; `None` at the end.
    ///
    /// # Errors
    /// When the file cannot be read any further.
    pub fn next_frame(&mut self) -> io::Result<Option<Frame<'_>>> {
        let (begin, mut from) = (self.offset(), self.at);
        loop {
            if !self.find_magic(from)? {
                self.note_damaged(begin, self.start + self.buffer.len() as u64);
                self.at = self.buffer.len();
                return Ok(None);
            }
            if let Some((sequence, length)) = self.whole_frame()? {
                self.note_damaged(begin, self.offset());
                return Ok(Some(self.pass(sequence, length)));
            }
            from = self.at + 1;
        }
    }

    /// The parts of the file passed so far that are no whole frame.
    #[must_use]
    pub fn damaged(&self) -> &[Range<u64>] {
        &self.damaged
    }

    /// Where the last whole frame passed ends; 0 before the first.
    #[must_use]
    pub fn whole_end(&self) -> u64 {
        self.whole_end
    }

    /// Whole frames passed, copies included.
    #[must_use]
    pub fn frames(&self) -> u64 {
        self.frames
    }

    /// Both headers, of which one must be whole; where none is, there may be frames all the same.
    fn header(&mut self) -> Result<(), SegmentError> {
        let versions = [0, HEADER_BYTES].map(|at| header_version(self.buffer.get(at..).unwrap_or_default(), MAGIC));
        match versions {
            [Some(found), _] | [None, Some(found)] if found != VERSION => {
                return Err(SegmentError::Version { found, read: VERSION });
            }
            [Some(_), Some(_)] => {}
            [Some(_), None] => {
                let end = self.buffer.len().min(2 * HEADER_BYTES);
                self.note_damaged(HEADER_BYTES as u64, end as u64);
            }
            [None, Some(_)] => self.note_damaged(0, HEADER_BYTES as u64),
            // All that is before the first whole frame is damaged, then.
            [None, None] => return Ok(()),
        }
        self.at = (2 * HEADER_BYTES).min(self.buffer.len());
        Ok(())
    }

    fn offset(&self) -> u64 {
        self.start + self.at as u64
    }

    /// Goes to the next place, from `from` of the buffer on, where a frame may begin. False where there is none.
    fn find_magic(&mut self, from: usize) -> io::Result<bool> {
        let mut from = from;
        loop {
            let rest = self.buffer.get(from..).unwrap_or_default();
            if let Some(found) = memmem::find(rest, &FRAME) {
                self.at = from + found;
                return Ok(true);
            }
            // The magic may begin in the last bytes read.
            self.at = self.buffer.len().saturating_sub(FRAME.len() - 1).max(from);
            if self.at_end {
                return Ok(false);
            }
            self.fill(READ_BYTES)?;
            from = self.at;
        }
    }

    /// Sequence number and length of the frame that begins here, if it is whole.
    fn whole_frame(&mut self) -> io::Result<Option<(u64, usize)>> {
        self.fill(FRAME_HEAD)?;
        let Some((length, sequence, stored)) = self.frame_head() else { return Ok(None) };
        let payload = u32::from_le_bytes(length) as usize;
        if payload > MAX_CHANGE_BYTES {
            return Ok(None);
        }
        self.fill(FRAME_HEAD + payload)?;
        let rest = self.buffer.get(self.at + FRAME_HEAD..).unwrap_or_default();
        let whole = rest.get(..payload).filter(|payload| checksum(&length, &sequence, payload) == stored);
        Ok(whole.map(|_| (u64::from_le_bytes(sequence), payload)))
    }

    fn frame_head(&self) -> Option<([u8; 4], [u8; 8], u32)> {
        let rest = self.buffer.get(self.at + FRAME.len()..)?;
        let length = *rest.first_chunk()?;
        let sequence = *rest.get(4..)?.first_chunk()?;
        let stored = u32::from_le_bytes(*rest.get(12..)?.first_chunk()?);
        Some((length, sequence, stored))
    }

    fn pass(&mut self, sequence: u64, length: usize) -> Frame<'_> {
        let (offset, payload) = (self.offset(), self.at + FRAME_HEAD);
        self.at = payload + length;
        self.whole_end = self.offset();
        self.frames += 1;
        Frame { sequence, offset, payload: self.buffer.get(payload..self.at).unwrap_or_default() }
    }

    fn note_damaged(&mut self, from: u64, to: u64) {
        if from >= to {
            return;
        }
        let full = self.damaged.len() >= MAX_DAMAGED;
        match self.damaged.last_mut() {
            Some(last) if last.end == from || full => last.end = to,
            _ => self.damaged.push(from..to),
        }
    }

    /// Sees to it that `length` bytes from here on are in the buffer, unless the file ends before.
    fn fill(&mut self, length: usize) -> io::Result<()> {
        let there = self.buffer.len() - self.at;
        if there >= length || self.at_end {
            return Ok(());
        }
        self.buffer.drain(..self.at);
        self.start += self.at as u64;
        self.at = 0;
        let wanted = (length - there).max(READ_BYTES);
        let read = self.file.read_onto(&mut self.buffer, wanted)?;
        self.at_end = read < wanted;
        Ok(())
    }
}
