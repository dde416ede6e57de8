//! Bytes -> values, every length checked.

use crate::{
    guard::Evidence,
    model::{AppId, AppRecord, Digest, Epoch, Generation, Provenance, Record, Rev, Source, WallTime},
    state::{Change, Difference, Holding, Kind, Meta, Number, Op, Pin, PinnedBy, Position},
};

use super::{
    DELETED, INVALID, OP_AGREE, OP_BURY, OP_DIFFER, OP_PUT, OP_REMOVE, OP_UNBURY, OP_UNBURY_ALL, OPTIONAL, RESURRECTED,
    STALE, WAITING, WITHHELD,
};

/// Bytes that are not what they should be, although their checksum is right: another version may have written them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("has a {what} that cannot be, {at} bytes in")]
pub struct Malformed {
    /// What was read.
    pub what: &'static str,
    /// How far from the beginning of what was given to the reader.
    pub at: usize,
}

/// Takes values off bytes.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// From the beginning of `bytes`.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, at: 0 }
    }

    /// True when nothing is left.
    #[must_use]
    pub fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }

    /// How far it has come.
    #[must_use]
    pub fn at(&self) -> usize {
        self.at
    }

    /// The next `length` bytes.
    ///
    /// # Errors
    /// When there are fewer.
    pub fn take(&mut self, length: usize, what: &'static str) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(Malformed { what, at: self.at })?;
        (self.rest, self.at) = (rest, self.at + length);
        Ok(taken)
    }

    /// All that is left.
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// A length of 32 bits and so many bytes, to be read on their own.
    ///
    /// # Errors
    /// When there are fewer.
    pub fn part(&mut self, what: &'static str) -> Result<Self, Malformed> {
        let length = self.u32(what)? as usize;
        let at = self.at;
        Ok(Self { rest: self.take(length, what)?, at })
    }

    fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], Malformed> {
        let at = self.at;
        self.take(N, what)?.first_chunk().copied().ok_or(Malformed { what, at })
    }

    /// A byte.
    ///
    /// # Errors
    /// When there is none.
    pub fn u8(&mut self, what: &'static str) -> Result<u8, Malformed> {
        self.array(what).map(u8::from_le_bytes)
    }

    /// A number of 32 bits.
    ///
    /// # Errors
    /// When there is none.
    pub fn u32(&mut self, what: &'static str) -> Result<u32, Malformed> {
        self.array(what).map(u32::from_le_bytes)
    }

    /// A number of 64 bits.
    ///
    /// # Errors
    /// When there is none.
    pub fn u64(&mut self, what: &'static str) -> Result<u64, Malformed> {
        self.array(what).map(u64::from_le_bytes)
    }

    /// A digest.
    ///
    /// # Errors
    /// When there is none.
    pub fn digest(&mut self) -> Result<Digest, Malformed> {
        self.array("digest").map(u128::from_le_bytes).map(Digest)
    }

    /// An app's id.
    ///
    /// # Errors
    /// When it is none.
    pub fn id(&mut self) -> Result<AppId, Malformed> {
        let at = self.at;
        AppId::new(self.text("app id")?).map_err(|_| Malformed { what: "app id", at })
    }

    /// A number of an app's document.
    ///
    /// # Errors
    /// When there is none.
    pub fn rev(&mut self) -> Result<Rev, Malformed> {
        self.u64("rev").map(Rev)
    }

    /// A byte that is 0, or 1 and what `read` takes.
    ///
    /// # Errors
    /// When it is neither.
    pub fn option<T>(
        &mut self,
        what: &'static str,
        read: impl FnOnce(&mut Self) -> Result<T, Malformed>,
    ) -> Result<Option<T>, Malformed> {
        let at = self.at;
        match self.u8(what)? {
            0 => Ok(None),
            1 => read(self).map(Some),
            _ => Err(Malformed { what, at }),
        }
    }

    fn text(&mut self, what: &'static str) -> Result<&'a str, Malformed> {
        let mut part = self.part(what)?;
        let at = part.at;
        std::str::from_utf8(part.take(part.rest.len(), what)?).map_err(|_| Malformed { what, at })
    }

    fn epoch(&mut self) -> Result<Epoch, Malformed> {
        let at = self.at;
        Epoch::new(self.text("epoch")?).map_err(|_| Malformed { what: "epoch", at })
    }

    fn time(&mut self) -> Result<WallTime, Malformed> {
        self.u64("time").map(WallTime)
    }

    fn generation(&mut self) -> Result<Generation, Malformed> {
        self.u64("generation").map(Generation)
    }

    fn number(&mut self) -> Result<Number, Malformed> {
        Ok(Number { rev: self.rev()?, digest: self.digest()? })
    }

    fn record(&mut self) -> Result<AppRecord, Malformed> {
        let record = Record::at(self.rest, 0).ok_or(Malformed { what: "record", at: self.at })?;
        self.take(record.as_bytes().len(), "record")?;
        Ok(AppRecord::copy_of(record))
    }
}

/// Reads a change.
///
/// # Errors
/// When it is none that this version can bring about.
pub fn read_change(from: &mut Reader<'_>) -> Result<Change, Malformed> {
    let received = from.option("flag for what was received", |from| {
        Ok((read_position(from)?, from.u64("number of apps")?, from.digest()?))
    })?;
    let meta = read_meta(from)?;
    let count = from.u32("number of steps")?;
    let mut ops = Vec::new();
    for _ in 0..count {
        ops.extend(read_op(from)?);
    }
    Ok(Change { received, ops, meta })
}

fn read_op(from: &mut Reader<'_>) -> Result<Option<Op>, Malformed> {
    let at = from.at;
    let kind = from.u8("step")?;
    let mut part = from.part("step")?;
    Ok(Some(match kind {
        OP_REMOVE => Op::Remove(part.id()?),
        OP_PUT => Op::Put(part.record()?),
        OP_DIFFER => {
            let id = part.id()?;
            return Ok(read_difference(&mut part)?.map(|difference| Op::Differ(id, difference)));
        }
        OP_AGREE => Op::Agree(part.id()?),
        OP_BURY => Op::Bury(part.id()?, part.rev()?),
        OP_UNBURY => Op::Unbury(part.id()?),
        OP_UNBURY_ALL => Op::UnburyAll,
        OPTIONAL.. => return Ok(None),
        _ => return Err(Malformed { what: "step", at }),
    }))
}

/// Reads a difference; `None` where it is of a kind that may be passed over.
///
/// # Errors
/// When it is none.
pub fn read_difference(from: &mut Reader<'_>) -> Result<Option<Difference>, Malformed> {
    let foreign = from.u8("flag for a foreign rev")? != 0;
    let at = from.at;
    let kind = from.u8("difference")?;
    let mut part = from.part("difference")?;
    let kind = match kind {
        DELETED => Kind::Deleted(part.rev()?),
        WITHHELD => Kind::Withheld(part.record()?),
        WAITING => Kind::Waiting(part.record()?, part.text("reason")?.to_owned()),
        INVALID => Kind::Invalid(part.number()?, part.text("field")?.to_owned(), part.text("message")?.to_owned()),
        STALE => Kind::Stale(part.number()?),
        RESURRECTED => Kind::Resurrected(part.number()?),
        OPTIONAL.. => return Ok(None),
        _ => return Err(Malformed { what: "difference", at }),
    };
    Ok(Some(Difference { kind, foreign }))
}

/// Reads a meta. What follows the fields known here is a later version's, and not looked at.
///
/// # Errors
/// When it is none.
pub fn read_meta(from: &mut Reader<'_>) -> Result<Meta, Malformed> {
    let mut part = from.part("meta")?;
    let from = &mut part;
    Ok(Meta {
        provenance: read_provenance(from)?,
        hour_max: from.u64("number of apps")?,
        window: read_list(from, "window", |from| Ok((from.time()?, from.u64("number of apps")?)))?,
        holding: from.option("flag for what is held", read_holding)?,
        retired: read_list(from, "retired epochs", |from| from.epoch())?,
        pin: from.option("flag for a pin", read_pin)?,
        foreign: from.u8("flag for foreign revs")? != 0,
    })
}

fn read_provenance(from: &mut Reader<'_>) -> Result<Provenance, Malformed> {
    let source = match from.u8("source")? {
        0 => Source::None,
        2 => Source::Live,
        3 => Source::Handover,
        4 => Source::Operator,
        _ => Source::Snapshot,
    };
    let epoch = from.option("flag for an epoch", Reader::epoch)?;
    Ok(Provenance { source, epoch, generation: from.generation()?, received_at: from.time()? })
}

fn read_holding(from: &mut Reader<'_>) -> Result<Holding, Malformed> {
    let (since, generation) = (from.time()?, from.generation()?);
    let evidence = Evidence {
        apps_before: from.u64("number of apps")?,
        apps_after: from.u64("number of apps")?,
        percent: f64::from_bits(from.u64("share")?),
        window_s: from.u64("window")?,
    };
    Ok(Holding { since, generation, evidence })
}

fn read_pin(from: &mut Reader<'_>) -> Result<Pin, Malformed> {
    let since = from.time()?;
    let by = if from.u8("reason of a pin")? == 1 { PinnedBy::Rollback } else { PinnedBy::Import };
    Ok(Pin { since, by })
}

/// Reads a position.
///
/// # Errors
/// When it is none.
pub fn read_position(from: &mut Reader<'_>) -> Result<Position, Malformed> {
    Ok(Position { epoch: from.epoch()?, generation: from.generation()? })
}

/// No capacity is taken from the count: it grows only with what is really there.
fn read_list<T>(
    from: &mut Reader<'_>,
    what: &'static str,
    mut read: impl FnMut(&mut Reader<'_>) -> Result<T, Malformed>,
) -> Result<Vec<T>, Malformed> {
    let count = from.u32(what)?;
    let mut list = Vec::new();
    for _ in 0..count {
        list.push(read(from)?);
    }
    Ok(list)
}
