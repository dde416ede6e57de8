//! Crash-safe: the newest whole snapshot and all changes after it, else the snapshot before and all changes after that,
//! else nothing.
//!
//! It owns the state folder and its lock. A change is appended to the journal and synced; a whole state is staged, synced,
//! renamed and the folder synced; so what is found at a start is whole or recognised as not whole. It never changes a file
//! in place (but to cut off an end that was never acknowledged), never removes anything before what takes its place is
//! durable, and never throws a damaged file away unseen: that is set aside and reported.
//!
//! A folder that cannot be written is no reason not to start: what is whole in it is served, and saving reports why it
//! fails until it succeeds.
//!
//! # The files
//! | name | |
//! |---|---|
//! | `snapshot-N` | a whole state; N is the number of the last change in it |
//! | `journal-N` | changes from number N on, each twice |
//! | `runs` | the runs that died young, and the state known to be good |
//! | `lock` | whose lock is the folder's |
//! | `*.staged` | being written |
//! | `*.damaged`, `*.torn`, `*.poison` | set aside, a few of each |
//!
//! # Invariants
//! - Numbers are given once: what a file in use holds for a number is the same wherever it stands. A state that does not
//!   follow from the changes before it ([`Store::save`]) has a number of its own, after all others.
//! - A file that has the name of a snapshot or a segment was synced before it got that name.
//! - A file whose sync failed is never written or synced again; what was to be in it goes to a new one.
//! - A start writes the last change it found anew, so that what it serves is durable even where an earlier run's sync had
//!   failed and its bytes were only in the system's cache.
//! - Nothing is removed before what takes its place is durable. The newest snapshots stay (four of them), and all changes
//!   after the oldest of them.

mod archive;
mod boot;
mod compact;
mod folder;
mod handover;
mod inspect;
mod kinds;
mod known;
mod names;
mod open;
mod replay;
mod rotate;
mod runs;
#[cfg(test)]
mod tests;
mod thin;
mod write;

use std::{
    path::Path,
    sync::{Arc, atomic::AtomicBool},
};

use crate::{
    disk::{Disk, Lock},
    model::WallTime,
    state::{Change, State},
    table::Table,
};

pub use archive::Archive;
pub use compact::{Compacted, Compaction};
pub use handover::{Image, Regained, TakenUp};
pub use inspect::{inspect, repair};
pub use kinds::{
    Boot, Damage, Deed, FileKind, FileReport, FileState, Inspection, Kept, LoadError, OpenError, PoisonRules, Poisoned,
    SaveError, SavedInfo, WouldServe,
};

use folder::Folder;
use handover::Away;
use known::Known;
use runs::{Mark, Runs};
use write::{Pending, Segment};

/// Whole snapshots kept: the newest, and those before it to go back to.
const KEPT: usize = 4;

/// The state folder.
#[derive(Debug)]
pub struct Store {
    folder: Folder,
    /// Shared with a compaction that is under way: who writes into the folder holds its lock.
    lock: Option<Arc<dyn Lock>>,
    /// The folder is another process's for now.
    away: Option<Away>,
    /// Tells a compaction that is under way to leave off.
    given_away: Arc<AtomicBool>,
    unwritable: Option<String>,
    /// How often the lock was taken: a compaction that was begun under another one is not put in its place.
    claims: u64,
    /// The number of the last change or state.
    last: u64,
    /// Nothing can be appended: what is in the folder does not lead to what is served.
    needs_whole: bool,
    /// There may be higher numbers in the folder than those that were seen.
    unsure: bool,
    /// Something published is not on disk.
    behind: bool,
    pending: Pending,
    segment: Option<Segment>,
    /// Bytes of the journal since the last snapshot.
    journal_bytes: u64,
    /// Of the last snapshot.
    snapshot_bytes: u64,
    /// From so many bytes of the journal on the next compaction is due.
    compact_at: u64,
    compacting: Option<compact::UnderWay>,
    /// The newest snapshot is the only one that what is served can be read from.
    sole: bool,
    /// Numbers of snapshots known to be whole, oldest first.
    whole: Vec<u64>,
    /// What a save has left, if anything, that failed after the last one that succeeded.
    unacknowledged: Option<names::Name>,
    runs: Runs,
    bytes: u64,
    known: Known,
}

impl Store {
    /// Opens the folder, making it where it is missing, and takes its lock. A folder that cannot be made or written is
    /// no error: see [`Store::unwritable`].
    ///
    /// # Errors
    /// When another process holds the lock.
    pub fn open(disk: Arc<dyn Disk>, folder: &Path) -> Result<Self, OpenError> {
        let folder = Folder { disk, path: folder.to_owned() };
        open::open(folder)
    }

    /// Why the folder could not be used for writing when last tried; `None` while it can.
    #[must_use]
    pub fn unwritable(&self) -> Option<&str> {
        self.unwritable.as_deref()
    }

    /// Reads what is to be served: the newest whole snapshot and all changes after it, unless too many runs in a row died
    /// young with that. To be called once, before anything is written. What is not whole is set aside, of which the newest
    /// few are kept; what cannot be read, or is of a newer version, is left where it is.
    pub fn boot(&mut self, rules: PoisonRules, _now: WallTime) -> Boot {
        boot::boot(self, rules)
    }

    /// Makes a change durable: one write and one sync.
    ///
    /// # Errors
    /// When a step fails; then the store [is behind](Store::is_behind) until a [`Store::retry`] or a [`Store::save`]
    /// succeeds. [`SaveError::NeedsWhole`] before the first whole snapshot, and where one is needed again;
    /// [`SaveError::TooLarge`] for a change over [`crate::journal::MAX_CHANGE_BYTES`].
    pub fn append(&mut self, change: &Change) -> Result<(), SaveError> {
        let result = self.try_append(change);
        self.noted(result)
    }

    /// Writes a whole snapshot that is durable when this returns, with a number of its own.
    ///
    /// # Errors
    /// When a step fails; then the store [is behind](Store::is_behind), and the next call tries all anew.
    pub fn save(&mut self, state: &State) -> Result<SavedInfo, SaveError> {
        let result = self.try_save(state);
        if result.is_err() {
            self.need_whole();
        }
        self.noted(result)
    }

    /// After a failure: tries again to make durable what is not, the changes that are kept if they are all that is
    /// missing, else the whole. `state` is what is served now. Nothing happens where nothing is missing.
    ///
    /// # Errors
    /// When a step fails again.
    pub fn retry(&mut self, state: &State) -> Result<(), SaveError> {
        if !self.behind {
            return Ok(());
        }
        if !self.needs_whole {
            let result = self.flush();
            // Where the folder is another one now, the whole is needed.
            if !self.needs_whole {
                return self.noted(result);
            }
        }
        self.save(state).map(drop)
    }

    /// Whether something was published that is not on disk.
    #[must_use]
    pub fn is_behind(&self) -> bool {
        self.behind
    }

    /// Notes for [`Archive::history`] what the last change made of the table. Where it was not noted, the history is read
    /// from the folder.
    pub fn note(&mut self, state: &State) {
        self.known.note(self.last, state);
    }

    /// Whether the journal, or what lies above the table's base, has grown so that a snapshot is due; or one is due since
    /// there is only one. So that comes true a change must follow: see [`Store::lacks_a_second`].
    #[must_use]
    pub fn wants_compaction(&self, table: &Table) -> bool {
        let overlaid = table.overlaid() > (table.len() / compact::OVERLAY_SHARE).max(compact::MIN_OVERLAY);
        let due = self.journal_bytes >= self.compact_at
            || (overlaid && self.journal_bytes > 0)
            || (self.sole && self.is_followed() && !self.behind);
        due && self.compacting.is_none() && !self.needs_whole && self.away.is_none()
    }

    /// Whether damage to one file would cost the table: there is one snapshot that leads to it, and no change after it, by
    /// which a second one could be told from the first.
    #[must_use]
    pub fn lacks_a_second(&self) -> bool {
        let idle = self.compacting.is_none() && !self.needs_whole && !self.behind && self.unwritable.is_none();
        self.sole && !self.is_followed() && idle && self.away.is_none()
    }

    /// Whether a change follows on the newest snapshot: a second one would have a number of its own.
    fn is_followed(&self) -> bool {
        self.whole.last().is_some_and(|newest| *newest < self.last)
    }

    /// Begins a snapshot of `state`, which is all that was appended so far. Later appends go to a new segment.
    pub fn begin_compaction(&mut self, state: State) -> Compaction {
        compact::begin(self, state)
    }

    /// Puts the snapshot in its place and removes what is no longer needed. Nothing happens where the compaction failed.
    ///
    /// # Errors
    /// When a step fails; what is on disk is no worse than before.
    pub fn finish_compaction(&mut self, compacted: &Compacted) -> Result<(), SaveError> {
        compact::finish(self, compacted)
    }

    /// The compaction that is under way has broken, and will never be finished: another one may be begun.
    pub fn give_up_compaction(&mut self) {
        compact::give_up(self);
    }

    /// A reader of what is kept.
    #[must_use]
    pub fn archive(&self) -> Archive {
        Archive::new(self.folder.clone(), self.known.clone())
    }

    /// Notes that this state, the last one appended or saved, has lived long enough: it is good, and the run that serves
    /// it is no crash.
    ///
    /// # Errors
    /// When that could not be written.
    pub fn survived(&mut self, state: &State) -> Result<(), SaveError> {
        let mut runs = Runs { unsurvived: 0, ..self.runs.clone() };
        if !self.behind && !self.needs_whole {
            runs.good = Some(Mark::of(state, self.last));
        }
        let provenance = &state.meta.provenance;
        runs.poisoned = runs.poisoned.filter(|poisoned| {
            let later = provenance.generation > poisoned.generation || provenance.epoch != poisoned.epoch;
            !later && !poisoned.is(&Mark::of(state, self.last))
        });
        self.write_runs(runs)
    }

    /// Notes that an orderly end has begun: this run is no crash.
    pub fn stopping(&mut self) {
        let runs = Runs { unsurvived: self.runs.unsurvived.saturating_sub(1), ..self.runs.clone() };
        // ignored: a run too many is counted, and it takes several in a row to matter
        let _ = self.write_runs(runs);
    }

    /// The size of the files in the folder, in bytes, as of the last look at it.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    fn write_runs(&mut self, runs: Runs) -> Result<(), SaveError> {
        if runs == self.runs {
            return Ok(());
        }
        self.claim()?;
        runs.write(&self.folder)?;
        self.runs = runs;
        Ok(())
    }

    /// Notes why the folder cannot be used, if it cannot.
    fn noted<T>(&mut self, result: Result<T, SaveError>) -> Result<T, SaveError> {
        match &result {
            Ok(_) => self.unwritable = None,
            Err(SaveError::NeedsWhole | SaveError::TooLarge { .. } | SaveError::Away) => {}
            Err(error) => self.unwritable = Some(error.to_string()),
        }
        result
    }
}
