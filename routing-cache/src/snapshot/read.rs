//! Bytes -> a state, or only whether they are whole.

use std::sync::Arc;

use crate::{
    codec::{Malformed, Reader, read_difference},
    disk::ReadFile,
    model::Record,
    state::{Received, State, Tombstones},
    table::{BaseHead, BaseLoader, Bucket, IndexName, Table},
};

use super::{
    Fault, Head, KIND_APPS, KIND_BESIDE, KIND_DIFFERENCES, KIND_EXACT, KIND_FOOTER, KIND_HEAD, KIND_OPTIONAL,
    KIND_RECORDS, KIND_TOMBSTONES, KIND_WILDCARD, ReadError, Snapshot,
    blocks::{BlockHead, Blocks, Counts},
};

/// Reads a whole snapshot.
///
/// # Errors
/// When it cannot be read, or is not whole: the error names the block and the byte.
pub fn read(file: &mut dyn ReadFile) -> Result<Snapshot, ReadError> {
    let mut blocks = Blocks::begin(file)?;
    let head = first(&mut blocks, &mut Vec::new())?;
    rest(blocks, head)
}

/// As [`read`], where what the snapshot says of itself is `wanted`; else `None`, and no more of it is read.
///
/// # Errors
/// As [`read`], of as much as is read.
pub fn read_if(file: &mut dyn ReadFile, wanted: impl FnOnce(&Head) -> bool) -> Result<Option<Snapshot>, ReadError> {
    let mut blocks = Blocks::begin(file)?;
    let head = first(&mut blocks, &mut Vec::new())?;
    if wanted(&head) { rest(blocks, head).map(Some) } else { Ok(None) }
}

fn rest(mut blocks: Blocks<'_>, head: Head) -> Result<Snapshot, ReadError> {
    let mut scratch = Vec::new();
    let loader = BaseLoader::new(head.base).map_err(|error| blocks.error(Fault::Table(error.to_string())))?;
    let received = head.received.clone().map(|(position, apps, digest)| {
        let nothing = Received::nothing(position);
        Received { apps, digest, ..nothing }
    });
    let (tombstones, counts) = (Tombstones::default(), Counts::default());
    let mut loading = Loading { loader, received, tombstones, beside: Vec::new(), counts };
    loop {
        let block = blocks.next()?;
        if block.kind == KIND_RECORDS {
            blocks.payload(block, loading.loader.records())?;
            continue;
        }
        scratch.clear();
        blocks.payload(block, &mut scratch)?;
        if block.kind == KIND_FOOTER {
            loading.counts.records = loading.loader.records().len() as u64;
            blocks.end(&scratch, loading.counts)?;
            return loading.end(head).map_err(|fault| blocks.error(fault));
        }
        loading.take(block.kind, &scratch).map_err(|fault| blocks.error(fault))?;
    }
}

/// Reads what a snapshot says of itself, and checks no more than that.
///
/// # Errors
/// When it cannot be read, or its beginning is not whole.
pub fn read_head(file: &mut dyn ReadFile) -> Result<Head, ReadError> {
    let mut blocks = Blocks::begin(file)?;
    first(&mut blocks, &mut Vec::new())
}

/// Reads a whole snapshot and keeps nothing of it: in the memory that a block and an app take.
///
/// # Errors
/// When it cannot be read, or is not whole.
pub fn check(file: &mut dyn ReadFile) -> Result<Head, ReadError> {
    check_each(file, &mut |_| {})
}

/// As [`check`], and shows each app on the way. What was shown is to be believed only when all of it was found whole.
///
/// # Errors
/// As [`check`].
pub fn check_each(file: &mut dyn ReadFile, each: &mut dyn FnMut(Record<'_>)) -> Result<Head, ReadError> {
    let mut blocks = Blocks::begin(file)?;
    let (mut scratch, mut counts) = (Vec::new(), Counts::default());
    let head = first(&mut blocks, &mut scratch)?;
    let (mut walk, mut tombstones) = (RecordWalk::default(), Tombstones::default());
    loop {
        let block = blocks.next()?;
        if block.kind == KIND_RECORDS {
            blocks.payload(block, &mut walk.rest)?;
            walk.advance(each);
            continue;
        }
        scratch.clear();
        blocks.payload(block, &mut scratch)?;
        let checked = match block.kind {
            KIND_FOOTER => {
                counts.records = walk.bytes + walk.rest.len() as u64;
                blocks.end(&scratch, counts)?;
                walk.check(&head.base).map_err(|(what, stored, found)| blocks.count(what, stored, found))?;
                return Ok(head);
            }
            KIND_DIFFERENCES => take_differences(&scratch, None, &mut counts),
            KIND_TOMBSTONES => {
                let checked = take_tombstones(&scratch, &mut tombstones, &mut counts);
                tombstones = Tombstones::default();
                checked
            }
            KIND_APPS | KIND_EXACT | KIND_WILDCARD => {
                walk.buckets += scratch.len() as u64;
                Ok(())
            }
            KIND_OPTIONAL.. => Ok(()),
            kind => return Err(blocks.error(Fault::Kind(kind))),
        };
        blocks.value(checked)?;
    }
}

/// The first block, which is the head; what it counts is held against the size of the file before memory is taken.
fn first(blocks: &mut Blocks<'_>, scratch: &mut Vec<u8>) -> Result<Head, ReadError> {
    let block: BlockHead = blocks.next()?;
    if block.kind != KIND_HEAD {
        return Err(blocks.error(Fault::Kind(block.kind)));
    }
    blocks.payload(block, scratch)?;
    let head = blocks.value(Head::read(scratch))?;
    let buckets = head.base.buckets.iter().fold(0_u64, |sum, buckets| sum.saturating_add(*buckets));
    let needed = buckets.saturating_mul(size_of::<Bucket>() as u64).saturating_add(head.base.records);
    let left = blocks.left();
    if needed > left {
        return Err(blocks.error(Fault::CutShort { needed, left }));
    }
    Ok(head)
}

/// A state that is being read.
struct Loading {
    loader: BaseLoader,
    received: Option<Received>,
    tombstones: Tombstones,
    beside: Vec<u8>,
    counts: Counts,
}

impl Loading {
    fn take(&mut self, kind: u8, payload: &[u8]) -> Result<(), Fault> {
        match kind {
            KIND_APPS => self.buckets(IndexName::Apps, payload),
            KIND_EXACT => self.buckets(IndexName::Exact, payload),
            KIND_WILDCARD => self.buckets(IndexName::Wildcard, payload),
            KIND_DIFFERENCES => Ok(take_differences(payload, self.received.as_mut(), &mut self.counts)?),
            KIND_TOMBSTONES => Ok(take_tombstones(payload, &mut self.tombstones, &mut self.counts)?),
            KIND_BESIDE => {
                self.beside = payload.to_vec();
                Ok(())
            }
            KIND_OPTIONAL.. => Ok(()),
            _ => Err(Fault::Kind(kind)),
        }
    }

    fn buckets(&mut self, index: IndexName, payload: &[u8]) -> Result<(), Fault> {
        self.loader.buckets(index, payload).map_err(|error| Fault::Table(error.to_string()))
    }

    fn end(self, head: Head) -> Result<Snapshot, Fault> {
        let base = self.loader.finish().map_err(|error| Fault::Table(error.to_string()))?;
        let table = Table::from_base(Arc::new(base));
        let state = State { table, received: self.received, tombstones: self.tombstones, meta: head.meta };
        Ok(Snapshot { sequence: head.sequence, state, beside: self.beside })
    }
}

fn take_differences(payload: &[u8], received: Option<&mut Received>, counts: &mut Counts) -> Result<(), Malformed> {
    let mut from = Reader::new(payload);
    let mut found = Vec::new();
    while !from.is_at_end() {
        let id = from.id()?;
        found.extend(read_difference(&mut from)?.map(|difference| (id, difference)));
        counts.differences += 1;
    }
    if let Some(received) = received {
        found.into_iter().for_each(|(id, difference)| received.differ(id, difference));
    }
    Ok(())
}

fn take_tombstones(payload: &[u8], into: &mut Tombstones, counts: &mut Counts) -> Result<(), Malformed> {
    let mut from = Reader::new(payload);
    while !from.is_at_end() {
        into.bury(from.id()?, from.rev()?);
        counts.tombstones += 1;
    }
    Ok(())
}

/// Goes from record to record, whatever blocks they came in.
#[derive(Default)]
struct RecordWalk {
    /// What was read and is not walked over yet.
    rest: Vec<u8>,
    bytes: u64,
    apps: u64,
    /// Bytes of all indexes.
    buckets: u64,
}

impl RecordWalk {
    fn advance(&mut self, each: &mut dyn FnMut(Record<'_>)) {
        let mut at = 0;
        while let Some(record) = Record::at(&self.rest, at) {
            at += record.as_bytes().len();
            self.apps += 1;
            each(record);
        }
        self.rest.drain(..at);
        self.bytes += at as u64;
    }

    /// What does not fit, as written and as found.
    fn check(&self, head: &BaseHead) -> Result<(), (&'static str, u64, u64)> {
        let buckets = head.buckets.iter().fold(0_u64, |sum, buckets| sum.saturating_add(*buckets));
        let pairs = [
            ("bytes of whole records", head.records, self.bytes),
            ("apps", head.apps, self.apps),
            ("bytes of indexes", buckets.saturating_mul(size_of::<Bucket>() as u64), self.buckets),
        ];
        pairs.into_iter().find(|(_, stored, found)| stored != found).map_or(Ok(()), Err)
    }
}
