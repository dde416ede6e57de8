//! The folder and its lock.

use std::sync::Arc;

use crate::disk::LockError;

use super::{
    OpenError, SaveError, Store,
    folder::{self, Folder},
    known::Known,
    runs::Runs,
    write::Pending,
};

pub(super) fn open(folder: Folder) -> Result<Store, OpenError> {
    let mut store = untouched(folder);
    match store.take_lock() {
        Err(LockError::Held { pid }) => {
            return Err(OpenError::Locked { folder: store.folder.path.display().to_string(), pid });
        }
        Err(LockError::Io(error)) => store.unwritable = Some(format!("{}: {error}", store.folder.path.display())),
        Ok(()) => store.folder.remove_staged(None),
    }
    Ok(store)
}

/// Of a folder that was not looked at yet.
pub(super) fn untouched(folder: Folder) -> Store {
    Store {
        folder,
        lock: None,
        away: None,
        given_away: Arc::default(),
        unwritable: None,
        claims: 0,
        last: 0,
        needs_whole: true,
        unsure: false,
        behind: false,
        pending: Pending::default(),
        segment: None,
        journal_bytes: 0,
        snapshot_bytes: 0,
        compact_at: super::compact::limit(0),
        compacting: None,
        sole: false,
        whole: Vec::new(),
        unacknowledged: None,
        runs: Runs::default(),
        bytes: 0,
        known: Known::default(),
    }
}

impl Store {
    pub(super) fn claim(&mut self) -> Result<(), SaveError> {
        if self.away.is_some() {
            return Err(SaveError::Away);
        }
        self.take_lock().map_err(|error| match error {
            LockError::Held { pid } => SaveError::Locked { pid },
            LockError::Io(source) => folder::error("locking", &self.folder.path, source),
        })
    }

    /// Makes the folder and takes its lock, unless both are as they were: somebody may have removed the folder.
    pub(super) fn take_lock(&mut self) -> Result<(), LockError> {
        if self.lock.as_ref().is_some_and(|lock| lock.is_in_place()) {
            return Ok(());
        }
        self.lock = None;
        let behind = self.behind || self.claims > 0;
        self.mistrust(behind);
        self.folder.disk.create_folder(&self.folder.path).map_err(LockError::Io)?;
        self.lock = Some(self.folder.disk.lock(&self.folder.path)?.into());
        self.claims += 1;
        Ok(())
    }

    /// What was known of the files is no longer sure: another process may have had the folder meanwhile.
    pub(super) fn mistrust(&mut self, behind: bool) {
        (self.unacknowledged, self.segment) = (None, None);
        (self.needs_whole, self.unsure, self.behind) = (true, true, behind);
        self.whole.clear();
        self.pending.clear();
    }
}
