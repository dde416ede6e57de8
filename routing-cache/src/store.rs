//! Crash-safe: the newest whole snapshot, else the one before, else nothing.
//!
//! It owns the state folder and its lock. A snapshot is staged, synced, renamed and the folder synced, so that what is
//! found at a start is whole or recognised as not whole. It never changes a file in place, never removes the snapshot
//! before the newest, and never throws a damaged file away unseen: that is set aside and reported.
//!
//! A folder that cannot be written is no reason not to start: what is whole in it is served, and saving reports why it
//! fails until it succeeds.
//!
//! # Invariants
//! - A file that has a snapshot's name was synced before it got that name.
//! - Nothing is removed before what takes its place is durable; the two newest known to be whole stay.
//! - Numbers grow: of two snapshots the one with the higher number was saved later.

mod boot;
mod names;
#[cfg(test)]
mod tests;

use std::{
    io,
    path::{Path, PathBuf},
};

use crate::{
    disk::{Disk, Lock, LockError},
    snapshot::{Saved, encode},
};

pub use boot::{Boot, inspect};

use boot::MAX_FILE_BYTES;
use names::Name;

/// Snapshots kept: the newest and the one before, for when the newest rots.
const KEPT: usize = 2;

/// The state folder.
#[derive(Debug)]
pub struct Store {
    disk: Box<dyn Disk>,
    folder: PathBuf,
    lock: Option<Box<dyn Lock>>,
    unwritable: Option<String>,
    /// Numbers of the newest snapshots known to be whole, oldest first.
    whole: Vec<u64>,
    /// What a save has left, if anything, that failed after the last one that succeeded.
    unacknowledged: Option<Name>,
}

/// Why a store was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process works on this folder.
    #[error("{folder} is in use by another process{}", .pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default())]
    Locked {
        /// Which folder.
        folder: String,
        /// Which process, where it has said so.
        pid: Option<u32>,
    },
}

/// Why a snapshot was not saved. What is on disk is no worse than before.
#[derive(Debug, thiserror::Error)]
pub enum SaveError {
    /// The folder was gone, and another process has the one that took its place.
    #[error("the state folder is in use by another process")]
    Locked {
        /// Which process, where it has said so.
        pid: Option<u32>,
    },
    /// A step of the saving failed.
    #[error("{deed} {path}: {source}")]
    Disk {
        /// Which step: `writing`, `syncing`, ...
        deed: &'static str,
        /// Of what.
        path: String,
        /// What the system said.
        source: io::Error,
    },
}

/// A snapshot that is durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedInfo {
    /// Its size.
    pub bytes: u64,
    /// Its name in the state folder.
    pub file: String,
}

impl Store {
    /// Opens the folder, making it where it is missing, and takes its lock. A folder that cannot be made or written is
    /// no error: see [`Store::unwritable`].
    ///
    /// # Errors
    /// When another process holds the lock.
    pub fn open(disk: impl Disk + 'static, folder: &Path) -> Result<Self, OpenError> {
        let (disk, folder) = (Box::new(disk), folder.to_owned());
        let mut store = Self { disk, folder, lock: None, unwritable: None, whole: Vec::new(), unacknowledged: None };
        match store.claim() {
            Err(LockError::Held { pid }) => {
                return Err(OpenError::Locked { folder: store.folder.display().to_string(), pid });
            }
            Err(LockError::Io(error)) => store.unwritable = Some(format!("{}: {error}", store.folder.display())),
            // ignored: what is left over is in nobody's way, and saving tries again
            Ok(()) => drop(store.names().map(|names| store.remove_staged(&names))),
        }
        Ok(store)
    }

    /// Why the folder could not be used for writing when last tried; `None` while it can.
    #[must_use]
    pub fn unwritable(&self) -> Option<&str> {
        self.unwritable.as_deref()
    }

    /// Reads the newest whole snapshot. Files that are not whole are set aside as `*.damaged`, of which the newest few
    /// are kept; files that cannot be read, or are of a newer version, are left where they are.
    pub fn boot(&mut self) -> Boot {
        let (boot, whole) = boot::boot(&*self.disk, &self.folder, self.lock.is_some());
        self.whole = whole.into_iter().collect();
        boot
    }

    /// Writes a snapshot that is durable when this returns, and keeps the one before.
    ///
    /// # Errors
    /// When a step fails; then what is on disk is no worse than before, and the next call tries all anew.
    pub fn save(&mut self, saved: &Saved) -> Result<SavedInfo, SaveError> {
        let result = self.try_save(saved);
        self.unwritable = result.as_ref().err().map(ToString::to_string);
        result
    }

    fn try_save(&mut self, saved: &Saved) -> Result<SavedInfo, SaveError> {
        self.claim().map_err(|error| self.not_claimed(error))?;
        let names = self.names().map_err(|source| self.error("listing", &self.folder, source))?;
        self.remove_staged(&names);
        let number = self.next_number(&names);
        let (staged, file) = (self.path(Name::Staged(number)), Name::Snapshot(number));
        self.unacknowledged = Some(file);
        let settled = self.stage(saved, &staged).and_then(|bytes| {
            self.settle(&staged, &self.path(file))?;
            Ok(bytes)
        });
        if settled.is_err() {
            // ignored: it may not be there, and if it stays the next save removes it
            let _ = self.disk.remove(&staged);
        }
        let bytes = settled?;
        self.unacknowledged = None;
        self.remove_older(&names, number);
        Ok(SavedInfo { bytes, file: file.to_string() })
    }

    /// One more than any. A snapshot that was renamed and not acknowledged stays, for it is whole, but the next one
    /// takes its number: else a disk that cannot sync its folder would fill up.
    fn next_number(&self, names: &[Name]) -> u64 {
        let settled = names.iter().filter(|name| self.unacknowledged != Some(**name));
        settled.map(Name::number).max().unwrap_or_default() + 1
    }

    /// Makes the folder and takes its lock, unless both are as they were: somebody may have removed the folder.
    fn claim(&mut self) -> Result<(), LockError> {
        if self.lock.as_ref().is_some_and(|lock| lock.is_in_place()) {
            return Ok(());
        }
        // What was known of the files is no longer sure: another process may have had the folder meanwhile.
        (self.lock, self.unacknowledged) = (None, None);
        self.whole.clear();
        self.disk.create_folder(&self.folder).map_err(LockError::Io)?;
        self.lock = Some(self.disk.lock(&self.folder)?);
        Ok(())
    }

    fn stage(&self, saved: &Saved, staged: &Path) -> Result<u64, SaveError> {
        let mut file = self.disk.create(staged).map_err(|source| self.error("creating", staged, source))?;
        let bytes = encode(saved, &mut *file).map_err(|source| self.error("writing", staged, source))?;
        if bytes > MAX_FILE_BYTES {
            return Err(self.error("writing", staged, io::ErrorKind::FileTooLarge.into()));
        }
        file.sync().map_err(|source| self.error("syncing", staged, source))?;
        Ok(bytes)
    }

    fn settle(&self, staged: &Path, file: &Path) -> Result<(), SaveError> {
        self.disk.rename(staged, file).map_err(|source| self.error("renaming", staged, source))?;
        self.disk.sync_folder(&self.folder).map_err(|source| self.error("syncing", &self.folder, source))
    }

    /// Removes what is older than the newest `KEPT` that are known to be whole.
    fn remove_older(&mut self, names: &[Name], newest: u64) {
        self.whole.retain(|number| names.contains(&Name::Snapshot(*number)));
        self.whole.push(newest);
        let [.., oldest, _] = *self.whole else {
            return;
        };
        let older = |name: &&Name| matches!(name, Name::Snapshot(number) if *number < oldest);
        for name in names.iter().filter(older) {
            // ignored: it is in nobody's way, and the next save tries again
            let _ = self.disk.remove(&self.path(*name));
        }
        self.whole.drain(..self.whole.len().saturating_sub(KEPT));
    }

    fn remove_staged(&self, names: &[Name]) {
        for name in names.iter().filter(|name| matches!(name, Name::Staged(_))) {
            // ignored: it is in nobody's way but for its room, and the next save tries again
            let _ = self.disk.remove(&self.path(*name));
        }
    }

    fn names(&self) -> io::Result<Vec<Name>> {
        Ok(self.disk.list(&self.folder)?.iter().filter_map(|name| Name::parse(name)).collect())
    }

    fn path(&self, name: Name) -> PathBuf {
        self.folder.join(name.to_string())
    }

    fn not_claimed(&self, error: LockError) -> SaveError {
        match error {
            LockError::Held { pid } => SaveError::Locked { pid },
            LockError::Io(source) => self.error("locking", &self.folder, source),
        }
    }

    fn error(&self, deed: &'static str, path: &Path, source: io::Error) -> SaveError {
        SaveError::Disk { deed, path: path.display().to_string(), source }
    }
}
