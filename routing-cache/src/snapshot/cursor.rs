//! Takes bytes off a buffer, and says where it was when there were too few.

use bytes::{Buf, Bytes};

use super::{Block, Fault, SnapshotError};

/// What is left of a buffer, and where in the file it begins.
pub(super) struct Cursor {
    rest: Bytes,
    offset: u64,
    /// What errors are about.
    pub(super) block: Block,
}

impl Cursor {
    /// Over a whole file.
    pub(super) fn new(file: Bytes, block: Block) -> Self {
        Self::at(file, block, 0)
    }

    /// Over a part that begins at `offset` of the file.
    pub(super) fn at(rest: Bytes, block: Block, offset: u64) -> Self {
        Self { rest, offset, block }
    }

    /// Where in the file the next byte is.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }

    pub(super) fn starts_with(&self, bytes: &[u8]) -> bool {
        self.rest.starts_with(bytes)
    }

    /// The next `length` bytes, shared and not copied. The length is held against what is left first.
    pub(super) fn take(&mut self, length: u64) -> Result<Bytes, SnapshotError> {
        let left = self.rest.len() as u64;
        match usize::try_from(length) {
            Ok(wanted) if length <= left => {
                self.offset += length;
                Ok(self.rest.split_to(wanted))
            }
            _ => Err(self.error(Fault::CutShort { needed: length, left })),
        }
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], SnapshotError> {
        let Some(array) = self.rest.first_chunk().copied() else {
            return Err(self.error(Fault::CutShort { needed: N as u64, left: self.rest.len() as u64 }));
        };
        self.rest.advance(N);
        self.offset += N as u64;
        Ok(array)
    }

    pub(super) fn u8(&mut self) -> Result<u8, SnapshotError> {
        self.array().map(u8::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, SnapshotError> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, SnapshotError> {
        self.array().map(u64::from_le_bytes)
    }

    /// A length byte and that many bytes of UTF-8; `name` is for the error.
    pub(super) fn word(&mut self, name: &'static str) -> Result<String, SnapshotError> {
        let length = self.u8()?;
        let bytes = self.take(length.into())?;
        String::from_utf8(bytes.into()).map_err(|_| self.error(Fault::Field(name)))
    }

    /// Fine where nothing is left.
    pub(super) fn end(&self) -> Result<(), SnapshotError> {
        match self.rest.len() {
            0 => Ok(()),
            more => Err(self.error(Fault::Trailing(more as u64))),
        }
    }

    pub(super) fn error(&self, fault: Fault) -> SnapshotError {
        SnapshotError { block: self.block, offset: self.offset, fault }
    }
}
