//! Bytes -> what was saved, every length checked.

use bytes::Bytes;

use crate::model::{AppId, Digest, Epoch, Generation, Rev, WallTime};

use super::{
    BLOCK_HEAD_BYTES, Block, CHECKSUM_BYTES, FLAG_RECEIVED, FLAG_SAME, FLAG_SERVED, Fault, HEADER_BYTES, KIND_APPS,
    KIND_FOOTER, KIND_META, KIND_OPTIONAL, MAGIC, ReceivedApp, ReceivedTable, SCHEMA, Saved, SavedApp, SavedHeld,
    SavedMeta, ServedApp, SnapshotError, cursor::Cursor,
};

/// Reads a whole snapshot. The documents are slices of `file`, which lives as long as one of them.
///
/// # Errors
/// When `file` is not whole, or not one of [`super::encode`]'s: the error names the block and the byte.
pub fn decode(file: &Bytes) -> Result<Saved, SnapshotError> {
    let mut blocks = Blocks::begin(file)?;
    let mut meta = None;
    let mut apps = Vec::new();
    loop {
        let (kind, mut payload) = blocks.next()?;
        match kind {
            KIND_META if meta.is_none() && blocks.count == 1 => meta = Some(read_meta(&mut payload)?),
            KIND_APPS if meta.is_some() => read_apps(&mut payload, &mut apps)?,
            KIND_FOOTER => {
                let meta = meta.ok_or_else(|| blocks.error(Fault::Kind(kind)))?;
                return blocks.end(payload, apps.len() as u64).map(|()| Saved { meta, apps });
            }
            KIND_OPTIONAL.. => {}
            _ => return Err(blocks.error(Fault::Kind(kind))),
        }
    }
}

/// Takes a file apart into blocks whose checksums are right.
struct Blocks {
    file: Cursor,
    /// Blocks so far, the one read last included.
    count: u32,
    /// Over the checksums of all blocks before the one read last.
    checksums: u32,
    /// Of the block read last.
    checksum: [u8; CHECKSUM_BYTES],
    /// Where the block read last begins.
    start: u64,
}

impl Blocks {
    fn begin(file: &Bytes) -> Result<Self, SnapshotError> {
        let mut file = Cursor::new(file.clone(), Block::Header);
        if !file.starts_with(&MAGIC) {
            return Err(SnapshotError { block: Block::Header, offset: 0, fault: Fault::Magic });
        }
        let header = file.take(HEADER_BYTES as u64)?;
        match header.last() {
            Some(&SCHEMA) => {}
            other => return Err(file.error(Fault::Schema(other.copied().unwrap_or_default()))),
        }
        Ok(Self { file, count: 0, checksums: 0, checksum: [0; CHECKSUM_BYTES], start: HEADER_BYTES as u64 })
    }

    /// The next block's kind and payload.
    fn next(&mut self) -> Result<(u8, Cursor), SnapshotError> {
        if self.count > 0 {
            self.checksums = crc32c::crc32c_append(self.checksums, &self.checksum);
        }
        self.start = self.file.offset();
        self.file.block = Block::Index(self.count);
        let head: [u8; BLOCK_HEAD_BYTES] = self.file.array()?;
        let [kind, length @ ..] = head;
        let offset = self.file.offset();
        let payload = self.file.take(u64::from(u32::from_le_bytes(length)))?;
        self.checksum = self.file.array()?;
        let stored = u32::from_le_bytes(self.checksum);
        let computed = crc32c::crc32c_append(crc32c::crc32c(&head), &payload);
        if stored != computed {
            return Err(self.error(Fault::Checksum { stored, computed }));
        }
        let block = if kind == KIND_FOOTER { Block::Footer } else { Block::Index(self.count) };
        self.count = self.count.saturating_add(1);
        Ok((kind, Cursor::at(payload, block, offset)))
    }

    /// Holds the footer against what was read.
    fn end(&self, mut footer: Cursor, apps: u64) -> Result<(), SnapshotError> {
        let counted = footer.u64()?;
        if counted != apps {
            return Err(footer.error(Fault::Count { what: "apps", stored: counted, found: apps }));
        }
        let (counted, blocks) = (footer.u32()?, self.count.saturating_sub(1));
        if counted != blocks {
            return Err(footer.error(Fault::Count { what: "blocks", stored: counted.into(), found: blocks.into() }));
        }
        let (stored, computed) = (footer.u32()?, self.checksums);
        if stored != computed {
            return Err(footer.error(Fault::Checksum { stored, computed }));
        }
        footer.end()?;
        self.file.end()
    }

    /// About the block read last.
    fn error(&self, fault: Fault) -> SnapshotError {
        SnapshotError { block: self.file.block, offset: self.start, fault }
    }
}

/// What follows the fields known here is a later version's, and not looked at.
fn read_meta(from: &mut Cursor) -> Result<SavedMeta, SnapshotError> {
    Ok(SavedMeta {
        epoch: read_epoch(from)?,
        generation: Generation(from.u64()?),
        served_generation: Generation(from.u64()?),
        source: from.word("source")?,
        received_at: WallTime(from.u64()?),
        received: ReceivedTable { apps: from.u64()?, digest: read_digest(from)? },
        hour_max: from.u64()?,
        guard_window: read_window(from)?,
        held: read_held(from)?,
    })
}

fn read_epoch(from: &mut Cursor) -> Result<Epoch, SnapshotError> {
    Epoch::new(&from.word("epoch")?).map_err(|_| from.error(Fault::Field("epoch")))
}

fn read_window(from: &mut Cursor) -> Result<Vec<(WallTime, u64)>, SnapshotError> {
    let entries = from.u32()?;
    // No capacity is taken from the count: it grows only with what is really there.
    (0..entries).map(|_| Ok((WallTime(from.u64()?), from.u64()?))).collect()
}

fn read_held(from: &mut Cursor) -> Result<Option<SavedHeld>, SnapshotError> {
    match from.u8()? {
        0 => Ok(None),
        1 => Ok(Some(SavedHeld {
            reason: from.word("reason")?,
            since: WallTime(from.u64()?),
            generation: Generation(from.u64()?),
        })),
        _ => Err(from.error(Fault::Field("flag for what is held"))),
    }
}

fn read_apps(from: &mut Cursor, apps: &mut Vec<SavedApp>) -> Result<(), SnapshotError> {
    while !from.is_at_end() {
        apps.push(read_app(from)?);
    }
    Ok(())
}

fn read_app(from: &mut Cursor) -> Result<SavedApp, SnapshotError> {
    let flags = from.u8()?;
    let id = AppId::new(&from.word("app id")?).map_err(|_| from.error(Fault::Field("app id")))?;
    let served = if flags & FLAG_SERVED == 0 { None } else { Some(read_served(from)?) };
    let received = match flags & !FLAG_SERVED {
        0 => None,
        FLAG_RECEIVED => Some(read_received(from)?),
        FLAG_SAME if served.is_some() => served.as_ref().map(ServedApp::as_received),
        _ => return Err(from.error(Fault::Field("app's flags"))),
    };
    Ok(SavedApp { id, served, received })
}

fn read_served(from: &mut Cursor) -> Result<ServedApp, SnapshotError> {
    let ReceivedApp { rev, digest } = read_received(from)?;
    let length = from.u32()?;
    Ok(ServedApp { rev, digest, document: from.take(length.into())? })
}

fn read_received(from: &mut Cursor) -> Result<ReceivedApp, SnapshotError> {
    Ok(ReceivedApp { rev: Rev(from.u64()?), digest: read_digest(from)? })
}

fn read_digest(from: &mut Cursor) -> Result<Digest, SnapshotError> {
    Ok(Digest(u128::from_le_bytes(from.array()?)))
}
