//! How a change and a whole state become durable.

use std::{path::PathBuf, sync::Arc};

use crate::{
    disk::StagedFile,
    journal::{encode, segment_header},
    snapshot,
    state::{Change, State},
    table::{Base, Table},
};

use super::{
    SaveError, SavedInfo, Store, compact,
    folder::{Folder, error},
    names::{Name, Place},
};

/// Changes that are not on disk are kept up to so many bytes; beyond, a whole snapshot is needed.
const MAX_PENDING_BYTES: usize = 16 << 20;
/// The journal since the last snapshot is at most so large, in bytes: four times the largest limit that asks for a
/// compaction. Beyond, a whole snapshot is needed.
const MAX_JOURNAL_BYTES: u64 = 4 * compact::MAX_LIMIT;
/// More numbers than the largest journal has, so that none is given twice where some could not be seen.
const LEAP: u64 = 1 << 32;

/// Changes that are not on disk, as they are to be appended.
#[derive(Debug, Default)]
pub(super) struct Pending {
    /// The number of the first.
    first: Option<u64>,
    frames: Vec<u8>,
}

impl Pending {
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    fn push(&mut self, number: u64, frames: Vec<u8>) {
        self.first.get_or_insert(number);
        if self.frames.is_empty() {
            self.frames = frames;
        } else {
            self.frames.extend_from_slice(&frames);
        }
    }

    /// The last change found at a start: it is to be written anew with the next.
    pub(super) fn carry(number: u64, frames: Vec<u8>) -> Self {
        Self { first: Some(number), frames }
    }
}

/// The end of the journal.
pub(super) struct Segment {
    file: Box<dyn StagedFile>,
    path: PathBuf,
}

impl std::fmt::Debug for Segment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.path.fmt(f)
    }
}

impl Store {
    pub(super) fn try_append(&mut self, change: &Change) -> Result<(), SaveError> {
        if self.needs_whole {
            self.behind = true;
            return Err(SaveError::NeedsWhole);
        }
        let number = self.last.saturating_add(1);
        let frames = match encode(number, change) {
            Ok(frames) => frames,
            Err(bytes) => {
                self.need_whole();
                return Err(SaveError::TooLarge { bytes, limit: crate::journal::MAX_CHANGE_BYTES as u64 });
            }
        };
        let too_much = self.pending.frames.len().saturating_add(frames.len()) > MAX_PENDING_BYTES && self.behind;
        if too_much || self.journal_bytes.saturating_add(frames.len() as u64) > MAX_JOURNAL_BYTES {
            self.need_whole();
            return Err(SaveError::NeedsWhole);
        }
        self.last = number;
        self.known.append(number, &change.meta);
        let alone = self.pending.first.is_none();
        self.pending.push(number, frames);
        self.behind = true;
        if alone { self.write_on() } else { self.flush() }
    }

    /// Appends what is pending, one change, to the segment that is open.
    fn write_on(&mut self) -> Result<(), SaveError> {
        self.claim()?;
        let Some(mut segment) = self.segment.take() else { return self.flush() };
        let written = segment.file.write_all(&self.pending.frames);
        written.map_err(|source| error("writing", &segment.path, source))?;
        segment.file.sync_data().map_err(|source| error("syncing", &segment.path, source))?;
        self.segment = Some(segment);
        self.settled();
        Ok(())
    }

    /// Writes all that is pending to a new segment, whatever became of the one before.
    pub(super) fn flush(&mut self) -> Result<(), SaveError> {
        self.claim()?;
        if self.needs_whole {
            self.behind = true;
            return Err(SaveError::NeedsWhole);
        }
        let Some(first) = self.pending.first else {
            self.behind = false;
            return Ok(());
        };
        self.segment = None;
        let name = Name::journal(first);
        let (staged, path) = (self.folder.file(name.at(Place::Staged)), self.folder.file(name));
        let mut bytes = segment_header();
        bytes.extend_from_slice(&self.pending.frames);
        let (file, ()) = self.folder.stage(&staged, |file| file.write_all(&bytes))?;
        self.folder.settle(&staged, &path)?;
        self.segment = Some(Segment { file, path });
        self.settled();
        Ok(())
    }

    fn settled(&mut self) {
        let written = self.pending.frames.len() as u64;
        self.journal_bytes += written;
        self.bytes += written;
        self.pending.clear();
        self.behind = false;
    }

    /// What is in the folder does not lead to what is served.
    pub(super) fn need_whole(&mut self) {
        self.pending.clear();
        self.segment = None;
        (self.needs_whole, self.behind) = (true, true);
    }

    pub(super) fn try_save(&mut self, state: &State) -> Result<SavedInfo, SaveError> {
        self.claim()?;
        self.folder.remove_staged(self.compacting.as_ref().map(|compacting| compacting.number));
        let number = self.next_number()?;
        let file = Name::snapshot(number);
        let staged = self.folder.file(file.at(Place::Staged));
        self.unacknowledged = Some(file);
        let bytes = stage_snapshot(&self.folder, number, state, &flat(&state.table))?;
        self.folder.settle(&staged, &self.folder.file(file))?;
        self.unacknowledged = None;
        self.last = number;
        self.segment = None;
        self.pending.clear();
        (self.needs_whole, self.unsure, self.behind, self.sole) = (false, false, false, true);
        self.known.whole(number, state);
        self.began_anew(number, bytes);
        Ok(SavedInfo { bytes, file: file.to_string() })
    }

    /// A snapshot is durable, and nothing is in the journal after it.
    fn began_anew(&mut self, number: u64, bytes: u64) {
        self.journal_bytes = 0;
        if let Some(compacting) = &mut self.compacting {
            compacting.journal_bytes = 0;
        }
        self.has_whole(number, bytes);
    }

    /// One more than any. A snapshot that was renamed and not acknowledged stays, for it is whole, but the next one
    /// takes its number: else a disk that cannot sync its folder would fill up.
    pub(super) fn next_number(&self) -> Result<u64, SaveError> {
        let highest = self.folder.files()?.highest(self.unacknowledged).max(self.last);
        Ok(highest.saturating_add(if self.unsure { LEAP } else { 1 }))
    }

    pub(super) fn pending_is_empty(&self) -> bool {
        self.pending.first.is_none()
    }
}

/// The table as one flat base.
pub(super) fn flat(table: &Table) -> Arc<Base> {
    if table.is_flat() { Arc::clone(table.base()) } else { Arc::new(table.to_base()) }
}

/// Writes a snapshot under its staged name, synced. It returns its size.
pub(super) fn stage_snapshot(folder: &Folder, number: u64, state: &State, base: &Base) -> Result<u64, SaveError> {
    let staged = folder.file(Name::snapshot(number).at(Place::Staged));
    let (_, bytes) = folder.stage(&staged, |mut file| snapshot::write(&mut file, number, state, base))?;
    Ok(bytes)
}
