//! Crash-safe: the newest whole snapshot and the journal after it, else the one before, else nothing.

mod kinds;

use std::{path::Path, sync::Arc, time::Duration};

use crate::{
    disk::Disk,
    model::{Epoch, Generation, WallTime},
    state::{Change, State},
    table::{Base, Table},
};

pub use kinds::{
    Boot, Damage, Deed, FileKind, FileReport, FileState, Inspection, Kept, LoadError, OpenError, PoisonRules, Poisoned,
    SaveError, SavedInfo, WouldServe,
};

/// The state folder.
#[derive(Debug)]
pub struct Store {
    disk: Arc<dyn Disk>,
}

/// A snapshot to be made of a state, beside the store.
#[derive(Debug)]
pub struct Compaction {
    state: State,
}

/// What became of a [`Compaction`].
#[derive(Debug)]
pub struct Compacted {
    /// The table of the state, flat.
    pub base: Arc<Base>,
    /// The snapshot's file, or why there is none.
    pub result: Result<SavedInfo, SaveError>,
}

/// Reads what the store keeps, beside it and without its lock.
#[derive(Clone, Debug)]
pub struct Archive {
    disk: Arc<dyn Disk>,
}

impl Store {
    /// Opens the folder, making it where it is missing, and takes its lock. A folder that cannot be made or written is
    /// no error: see [`Store::unwritable`].
    ///
    /// # Errors
    /// When another process holds the lock.
    pub fn open(_disk: Arc<dyn Disk>, _folder: &Path) -> Result<Self, OpenError> {
        unimplemented!()
    }

    /// Why the folder could not be used for writing when last tried; `None` while it can.
    #[must_use]
    pub fn unwritable(&self) -> Option<&str> {
        unimplemented!()
    }

    /// Reads what is to be served.
    pub fn boot(&mut self, _rules: PoisonRules, _now: WallTime) -> Boot {
        unimplemented!()
    }

    /// Makes a change durable: one write and one sync. Before the first whole snapshot it is refused with
    /// [`SaveError::NeedsWhole`].
    ///
    /// # Errors
    /// When a step fails; then the store [is behind](Store::is_behind) until a [`Store::retry`] or a [`Store::save`]
    /// succeeds.
    pub fn append(&mut self, _change: &Change) -> Result<(), SaveError> {
        unimplemented!()
    }

    /// Writes a whole snapshot that is durable when this returns.
    ///
    /// # Errors
    /// When a step fails; then the store [is behind](Store::is_behind).
    pub fn save(&mut self, _state: &State) -> Result<SavedInfo, SaveError> {
        unimplemented!()
    }

    /// After a failure: tries again to make durable what is not. `state` is what is served now.
    ///
    /// # Errors
    /// When a step fails again.
    pub fn retry(&mut self, _state: &State) -> Result<(), SaveError> {
        unimplemented!()
    }

    /// Whether something was published that is not on disk.
    #[must_use]
    pub fn is_behind(&self) -> bool {
        unimplemented!()
    }

    /// Notes for [`Archive::history`] what the last change made of the table. Without it history replays the journal.
    pub fn note(&mut self, _state: &State) {
        unimplemented!()
    }

    /// Whether the journal, or what lies above the table's base, has grown so that a snapshot is due.
    #[must_use]
    pub fn wants_compaction(&self, _table: &Table) -> bool {
        unimplemented!()
    }

    /// Begins a snapshot of `state`, which is all that was appended so far. Later appends go to a new segment.
    pub fn begin_compaction(&mut self, _state: State) -> Compaction {
        unimplemented!()
    }

    /// Puts the snapshot in its place and removes what is no longer needed. Nothing happens where the compaction failed.
    ///
    /// # Errors
    /// When a step fails; what is on disk is no worse than before.
    pub fn finish_compaction(&mut self, _compacted: &Compacted) -> Result<(), SaveError> {
        unimplemented!()
    }

    /// A reader of what is kept.
    #[must_use]
    pub fn archive(&self) -> Archive {
        unimplemented!()
    }

    /// Notes that this state has lived long enough: it is good, and the run that serves it is no crash.
    ///
    /// # Errors
    /// When that could not be written.
    pub fn survived(&mut self, _state: &State) -> Result<(), SaveError> {
        unimplemented!()
    }

    /// Notes that an orderly end has begun: this run is no crash.
    pub fn stopping(&mut self) {
        unimplemented!()
    }

    /// The size of the files in the folder, in bytes, as of the last look at it.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        unimplemented!()
    }
}

impl Compaction {
    /// Makes the flat base and writes the snapshot. It takes as long as it takes, on any thread.
    #[must_use]
    pub fn run(self) -> Compacted {
        unimplemented!()
    }
}

impl Archive {
    /// The generations kept, newest first, at most a thousand.
    #[must_use]
    pub fn history(&self) -> Vec<Kept> {
        unimplemented!()
    }

    /// A kept generation; where no epoch is named, the newest of that number.
    ///
    /// # Errors
    /// When it is not kept, or cannot be read.
    pub fn load(&self, _generation: Generation, _epoch: Option<&Epoch>) -> Result<State, LoadError> {
        unimplemented!()
    }
}

/// Looks at a state folder: what is whole, what is not, and what a boot would serve. Takes no lock and changes nothing.
#[must_use]
pub fn inspect(_disk: &dyn Disk, _folder: &Path) -> Inspection {
    unimplemented!()
}

/// Sets aside what is damaged, cuts off what is torn and removes what is left over; with `dry_run` only says so.
///
/// # Errors
/// When another process holds the lock.
pub fn repair(_disk: &Arc<dyn Disk>, _folder: &Path, _dry_run: bool) -> Result<Vec<Deed>, OpenError> {
    let _ = Duration::ZERO;
    unimplemented!()
}
