//! Which runs died young, and which state is known to be good: the file `runs`.
//!
//! It is tiny, checksummed and always replaced as a whole. One that is missing or damaged is no reason for anything: then
//! no run has died.

use std::{io, path::Path};

use crate::{
    codec::{HEADER_BYTES, Malformed, Reader, header, header_version},
    disk::Disk,
    model::{Digest, Epoch, Generation},
    state::State,
};

use super::{
    Poisoned, SaveError,
    folder::Folder,
    names::{RUNS, RUNS_STAGED},
};

const MAGIC: [u8; 8] = *b"\x89HGRUNS\n";
const VERSION: u8 = 1;
/// No such file of ours is larger: two epochs and some numbers.
const MAX_BYTES: u64 = 4 << 10;

/// What is in the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Runs {
    /// Runs in a row that have not survived so far, the one under way included.
    pub(super) unsurvived: u32,
    /// The last state known to be good.
    pub(super) good: Option<Mark>,
    /// The table last found to be poison.
    pub(super) poisoned: Option<Poisoned>,
}

/// Names a state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) sequence: u64,
    pub(super) generation: Generation,
    pub(super) epoch: Option<Epoch>,
    pub(super) digest: Digest,
}

impl Mark {
    pub(super) fn of(state: &State, sequence: u64) -> Self {
        let provenance = &state.meta.provenance;
        Self {
            sequence,
            generation: provenance.generation,
            epoch: provenance.epoch.clone(),
            digest: state.table.digest(),
        }
    }
}

impl Poisoned {
    pub(super) fn of(mark: &Mark, crashes: u32) -> Self {
        let Mark { generation, epoch, digest, .. } = mark.clone();
        Self { generation, epoch, digest, crashes }
    }

    /// Whether this is that table.
    pub(super) fn is(&self, mark: &Mark) -> bool {
        *self == Self::of(mark, self.crashes)
    }
}

impl Runs {
    pub(super) fn read(folder: &Folder) -> Self {
        Self::from_disk(&*folder.disk, &folder.path)
    }

    /// Of a folder that is only looked at.
    pub(super) fn from_disk(disk: &dyn Disk, folder: &Path) -> Self {
        let bytes = disk.read(&folder.join(RUNS), MAX_BYTES);
        bytes.ok().and_then(|bytes| Self::from_bytes(&bytes)).unwrap_or_default()
    }

    pub(super) fn write(&self, folder: &Folder) -> Result<(), SaveError> {
        let (staged, file) = (folder.path.join(RUNS_STAGED), folder.path.join(RUNS));
        let bytes = self.to_bytes();
        folder.stage(&staged, |file| io::Write::write_all(file, &bytes))?;
        folder.settle(&staged, &file)
    }

    fn to_bytes(&self) -> Vec<u8> {
        let mut out = header(MAGIC, VERSION).to_vec();
        out.extend_from_slice(&self.unsurvived.to_le_bytes());
        out.push(u8::from(self.good.is_some()));
        if let Some(good) = &self.good {
            out.extend_from_slice(&good.sequence.to_le_bytes());
            put_table(&mut out, good.generation, good.epoch.as_ref(), good.digest);
        }
        out.push(u8::from(self.poisoned.is_some()));
        if let Some(poisoned) = &self.poisoned {
            out.extend_from_slice(&poisoned.crashes.to_le_bytes());
            put_table(&mut out, poisoned.generation, poisoned.epoch.as_ref(), poisoned.digest);
        }
        let checksum = crc32c::crc32c(&out);
        out.extend_from_slice(&checksum.to_le_bytes());
        out
    }

    /// `None` for what is no whole file of this version.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (rest, checksum) = bytes.split_last_chunk()?;
        let whole = crc32c::crc32c(rest) == u32::from_le_bytes(*checksum);
        let known = header_version(rest, MAGIC) == Some(VERSION);
        if whole && known { read(&mut Reader::new(rest.get(HEADER_BYTES..)?)).ok() } else { None }
    }
}

pub(super) fn put_table(out: &mut Vec<u8>, generation: Generation, epoch: Option<&Epoch>, digest: Digest) {
    out.extend_from_slice(&generation.0.to_le_bytes());
    let epoch = epoch.map_or("", Epoch::as_str);
    out.extend_from_slice(&u32::try_from(epoch.len()).unwrap_or(u32::MAX).to_le_bytes());
    out.extend_from_slice(epoch.as_bytes());
    out.extend_from_slice(&digest.0.to_le_bytes());
}

fn read(from: &mut Reader<'_>) -> Result<Runs, Malformed> {
    Ok(Runs {
        unsurvived: from.u32("number of runs")?,
        good: from.option("flag for a mark", |from| {
            let sequence = from.u64("sequence number")?;
            let (generation, epoch, digest) = read_table(from)?;
            Ok(Mark { sequence, generation, epoch, digest })
        })?,
        poisoned: from.option("flag for poison", |from| {
            let crashes = from.u32("number of runs")?;
            let (generation, epoch, digest) = read_table(from)?;
            Ok(Poisoned { generation, epoch, digest, crashes })
        })?,
    })
}

pub(super) fn read_table(from: &mut Reader<'_>) -> Result<(Generation, Option<Epoch>, Digest), Malformed> {
    let generation = Generation(from.u64("generation")?);
    let length = from.u32("epoch")? as usize;
    let epoch = std::str::from_utf8(from.take(length, "epoch")?).ok().and_then(|epoch| Epoch::new(epoch).ok());
    Ok((generation, epoch, from.digest()?))
}
