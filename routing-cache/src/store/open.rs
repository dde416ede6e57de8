//! The folder and its lock.

use crate::disk::LockError;

use super::{
    OpenError, SaveError, Store,
    folder::{self, Folder},
    known::Known,
    runs::Runs,
    write::Pending,
};

pub(super) fn open(folder: Folder) -> Result<Store, OpenError> {
    let mut store = Store {
        folder,
        lock: None,
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
    };
    match store.take_lock() {
        Err(LockError::Held { pid }) => {
            return Err(OpenError::Locked { folder: store.folder.path.display().to_string(), pid });
        }
        Err(LockError::Io(error)) => store.unwritable = Some(format!("{}: {error}", store.folder.path.display())),
        Ok(()) => store.folder.remove_staged(None),
    }
    Ok(store)
}

impl Store {
    pub(super) fn claim(&mut self) -> Result<(), SaveError> {
        self.take_lock().map_err(|error| match error {
            LockError::Held { pid } => SaveError::Locked { pid },
            LockError::Io(source) => folder::error("locking", &self.folder.path, source),
        })
    }

    /// Makes the folder and takes its lock, unless both are as they were: somebody may have removed the folder.
    fn take_lock(&mut self) -> Result<(), LockError> {
        if self.lock.as_ref().is_some_and(|lock| lock.is_in_place()) {
            return Ok(());
        }
        // What was known of the files is no longer sure: another process may have had the folder meanwhile.
        (self.lock, self.unacknowledged, self.segment) = (None, None, None);
        self.behind |= self.claims > 0;
        (self.needs_whole, self.unsure) = (true, true);
        self.whole.clear();
        self.pending.clear();
        self.folder.disk.create_folder(&self.folder.path).map_err(LockError::Io)?;
        self.lock = Some(self.folder.disk.lock(&self.folder.path)?);
        self.claims += 1;
        Ok(())
    }
}
