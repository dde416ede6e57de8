//! Takes a file apart into blocks whose checksums are right.

use crate::{
    codec::{HEADER_BYTES, Malformed, Reader, header_version},
    disk::ReadFile,
};

use super::{Block, Fault, KIND_FOOTER, MAGIC, ReadError, SnapshotError, VERSION};

/// Kind, length; the checksum follows the payload.
const HEAD_BYTES: usize = 1 + 4;
/// A crc32c.
const CHECKSUM_BYTES: usize = 4;

/// What stands before a block's payload.
#[derive(Clone, Copy, Debug)]
pub(super) struct BlockHead {
    pub(super) kind: u8,
    length: usize,
    bytes: [u8; HEAD_BYTES],
}

/// Reads one block after the other.
pub(super) struct Blocks<'f> {
    file: &'f mut dyn ReadFile,
    /// Bytes read.
    offset: u64,
    /// Blocks read, the one under way not included.
    count: u32,
    /// Over the checksums of the blocks read.
    checksums: u32,
    /// What errors are about, and where it begins.
    block: Block,
    start: u64,
}

/// What was found, for the footer to be held against.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub(super) records: u64,
    pub(super) differences: u64,
    pub(super) tombstones: u64,
}

impl<'f> Blocks<'f> {
    pub(super) fn begin(file: &'f mut dyn ReadFile) -> Result<Self, ReadError> {
        let mut blocks = Self { file, offset: 0, count: 0, checksums: 0, block: Block::Header, start: 0 };
        let mut header = Vec::new();
        blocks.read_onto(&mut header, HEADER_BYTES)?;
        match header_version(&header, MAGIC) {
            Some(VERSION) => Ok(blocks),
            Some(other) => Err(blocks.error(Fault::Version { found: other, read: VERSION })),
            None => Err(blocks.error(Fault::Magic)),
        }
    }

    /// Kind and length of the next block; its payload must be read before the one after it.
    pub(super) fn next(&mut self) -> Result<BlockHead, ReadError> {
        (self.block, self.start) = (Block::Index(self.count), self.offset);
        let bytes: [u8; HEAD_BYTES] = self.array()?;
        let [kind, length @ ..] = bytes;
        if kind == KIND_FOOTER {
            self.block = Block::Footer;
        }
        Ok(BlockHead { kind, length: u32::from_le_bytes(length) as usize, bytes })
    }

    /// Reads the block's payload onto the end of `into`, and checks it.
    pub(super) fn payload(&mut self, head: BlockHead, into: &mut Vec<u8>) -> Result<(), ReadError> {
        let before = into.len();
        self.read_onto(into, head.length)?;
        let payload = into.get(before..).unwrap_or_default();
        let computed = crc32c::crc32c_append(crc32c::crc32c(&head.bytes), payload);
        let written: [u8; CHECKSUM_BYTES] = self.array()?;
        let stored = u32::from_le_bytes(written);
        if stored != computed {
            return Err(self.error(Fault::Checksum { stored, computed }));
        }
        if head.kind != KIND_FOOTER {
            self.checksums = crc32c::crc32c_append(self.checksums, &written);
            self.count = self.count.saturating_add(1);
        }
        Ok(())
    }

    /// Holds the footer against what was read. Counts that a later version appends are not looked at.
    pub(super) fn end(&mut self, footer: &[u8], found: Counts) -> Result<(), ReadError> {
        let mut from = Reader::new(footer);
        let blocks = self.value(from.u32("number of blocks"))?;
        let stored = self.value(from.u32("checksum"))?;
        if blocks != self.count {
            return Err(self.count("blocks", blocks.into(), self.count.into()));
        }
        if stored != self.checksums {
            return Err(self.error(Fault::Checksum { stored, computed: self.checksums }));
        }
        for (what, found) in
            [("bytes of records", found.records), ("differences", found.differences), ("tombstones", found.tombstones)]
        {
            let stored = self.value(from.u64(what))?;
            if stored != found {
                return Err(self.count(what, stored, found));
            }
        }
        match self.left() {
            0 => Ok(()),
            more => Err(self.error(Fault::Trailing(more))),
        }
    }

    /// What was read of a payload, or an error of this block.
    pub(super) fn value<T>(&self, read: Result<T, Malformed>) -> Result<T, ReadError> {
        read.map_err(|malformed| self.error(malformed.into()))
    }

    /// About the block read last.
    pub(super) fn error(&self, fault: Fault) -> ReadError {
        SnapshotError { block: self.block, offset: self.start, fault }.into()
    }

    /// Bytes of the file that were not read yet.
    pub(super) fn left(&self) -> u64 {
        self.file.length().saturating_sub(self.offset)
    }

    pub(super) fn count(&self, what: &'static str, stored: u64, found: u64) -> ReadError {
        self.error(Fault::Count { what, stored, found })
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], ReadError> {
        let mut array = [0; N];
        self.check_left(N)?;
        self.file.read_exact(&mut array)?;
        self.offset += N as u64;
        Ok(array)
    }

    fn read_onto(&mut self, into: &mut Vec<u8>, length: usize) -> Result<(), ReadError> {
        self.check_left(length)?;
        let read = self.file.read_onto(into, length)?;
        self.offset += read as u64;
        if read < length {
            return Err(self.error(Fault::CutShort { needed: length as u64, left: read as u64 }));
        }
        Ok(())
    }

    fn check_left(&self, length: usize) -> Result<(), ReadError> {
        let (needed, left) = (length as u64, self.left());
        if needed > left { Err(self.error(Fault::CutShort { needed, left })) } else { Ok(()) }
    }
}
