//! A state -> bytes, straight from the memory where its table lies.

use std::io::{self, BufWriter, Write};

use crate::{
    codec::{header, write_difference},
    state::State,
    table::{Base, IndexName},
};

use super::{
    BLOCK_BYTES, Head, KIND_APPS, KIND_BESIDE, KIND_DIFFERENCES, KIND_EXACT, KIND_FOOTER, KIND_HEAD, KIND_RECORDS,
    KIND_TOMBSTONES, KIND_WILDCARD, MAGIC, VERSION,
};

/// Writes `state`, whose table is all in `base`, and returns how many bytes that took.
///
/// # Errors
/// What the system says.
pub fn write(out: &mut dyn Write, sequence: u64, state: &State, base: &Base) -> io::Result<u64> {
    write_with(out, sequence, state, base, &[])
}

/// As [`write()`], with something beside the state that is to come back as it is (up to a block of it).
///
/// # Errors
/// What the system says.
pub fn write_with(out: &mut dyn Write, sequence: u64, state: &State, base: &Base, beside: &[u8]) -> io::Result<u64> {
    let received = state.received.as_ref();
    let head = Head {
        sequence,
        meta: state.meta.clone(),
        received: received.map(|received| (received.position.clone(), received.apps, received.digest)),
        base: base.head(),
    };
    let mut out = Blocks::begin(out)?;
    out.block(KIND_HEAD, &[&head.write()])?;
    for part in base.records().chunks(BLOCK_BYTES) {
        out.block(KIND_RECORDS, &[part])?;
    }
    for (kind, index) in
        [(KIND_APPS, IndexName::Apps), (KIND_EXACT, IndexName::Exact), (KIND_WILDCARD, IndexName::Wildcard)]
    {
        for part in base.buckets(index).as_flattened().chunks(BLOCK_BYTES) {
            out.block(kind, &[part])?;
        }
    }
    let mut differences = Entries::new(KIND_DIFFERENCES);
    for (id, difference) in received.iter().flat_map(|received| received.differences.iter()) {
        differences.put(&mut out, |entry| {
            put_id(entry, id.as_str());
            write_difference(entry, difference);
        })?;
    }
    let differences = differences.end(&mut out)?;
    let mut tombstones = Entries::new(KIND_TOMBSTONES);
    for (id, rev) in state.tombstones.iter() {
        tombstones.put(&mut out, |entry| {
            put_id(entry, id.as_str());
            entry.extend_from_slice(&rev.0.to_le_bytes());
        })?;
    }
    let tombstones = tombstones.end(&mut out)?;
    if !beside.is_empty() {
        out.block(KIND_BESIDE, &[beside])?;
    }
    out.end(base.records().len() as u64, differences, tombstones)
}

fn put_id(out: &mut Vec<u8>, id: &str) {
    out.extend_from_slice(&u32::try_from(id.len()).unwrap_or(u32::MAX).to_le_bytes());
    out.extend_from_slice(id.as_bytes());
}

/// Entries one after the other, in blocks of about [`BLOCK_BYTES`].
struct Entries {
    kind: u8,
    block: Vec<u8>,
    count: u64,
}

impl Entries {
    fn new(kind: u8) -> Self {
        Self { kind, block: Vec::new(), count: 0 }
    }

    fn put(&mut self, out: &mut Blocks<'_>, write: impl FnOnce(&mut Vec<u8>)) -> io::Result<()> {
        write(&mut self.block);
        self.count += 1;
        if self.block.len() >= BLOCK_BYTES {
            out.block(self.kind, &[&self.block])?;
            self.block.clear();
        }
        Ok(())
    }

    fn end(self, out: &mut Blocks<'_>) -> io::Result<u64> {
        if !self.block.is_empty() {
            out.block(self.kind, &[&self.block])?;
        }
        Ok(self.count)
    }
}

/// Frames blocks.
pub(super) struct Blocks<'a> {
    out: BufWriter<&'a mut dyn Write>,
    written: u64,
    count: u32,
    checksums: u32,
}

impl<'a> Blocks<'a> {
    pub(super) fn begin(out: &'a mut dyn Write) -> io::Result<Self> {
        let mut blocks = Self { out: BufWriter::new(out), written: 0, count: 0, checksums: 0 };
        blocks.put(&header(MAGIC, VERSION))?;
        Ok(blocks)
    }

    pub(super) fn block(&mut self, kind: u8, parts: &[&[u8]]) -> io::Result<()> {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        let length = u32::try_from(length).map_err(|_| io::ErrorKind::FileTooLarge)?;
        let [l0, l1, l2, l3] = length.to_le_bytes();
        let head = [kind, l0, l1, l2, l3];
        let mut checksum = crc32c::crc32c(&head);
        self.put(&head)?;
        for part in parts {
            checksum = crc32c::crc32c_append(checksum, part);
            self.put(part)?;
        }
        let checksum = checksum.to_le_bytes();
        self.put(&checksum)?;
        self.checksums = crc32c::crc32c_append(self.checksums, &checksum);
        self.count = self.count.saturating_add(1);
        Ok(())
    }

    pub(super) fn end(mut self, records: u64, differences: u64, tombstones: u64) -> io::Result<u64> {
        let mut footer = Vec::new();
        footer.extend_from_slice(&self.count.to_le_bytes());
        footer.extend_from_slice(&self.checksums.to_le_bytes());
        for count in [records, differences, tombstones] {
            footer.extend_from_slice(&count.to_le_bytes());
        }
        self.block(KIND_FOOTER, &[&footer])?;
        self.out.flush()?;
        Ok(self.written)
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.write_all(bytes)?;
        self.written += bytes.len() as u64;
        Ok(())
    }
}
