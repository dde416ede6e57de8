//! A disk in memory that loses what a real one may lose.
//!
//! # The fault model
//! - Bytes written and not synced are, after [`SimDisk::crash`], lost; or torn at any byte; or there in length, with
//!   zeros from some byte on or in one place; or all there. Synced bytes stay.
//! - A write may put down only a part and say so, as write(2) may. A file that was cut off and not synced since may be
//!   as long as it was before.
//! - Files created, renamed and removed in a folder that was not synced since: any of these changes may be lost, each
//!   for itself. A rename is lost or done, never half. Folders made by `create_folder` stay.
//! - An operation may fail ([`SimDisk::fail`]): with no space left, a write may have put down a part. After a failed
//!   sync the file's unsynced bytes are lost at the next crash, even where a later sync succeeds.
//! - The power may go during an operation ([`SimDisk::power_off_at`]): it is then done, half done (a write) or not done,
//!   and all that follow fail until the crash.
//! - Bytes that were synced may rot ([`SimDisk::rot`]), and a folder may be removed by somebody ([`SimDisk::lose_folder`]).
//! - Locks end at a crash, and when the process is killed ([`SimDisk::kill`]), which loses nothing.
//!
//! Everything follows from the seed. Clones are the same disk.

mod state;

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::{Buf, Bytes};

use super::{Disk, Lock, LockError, ReadFile, StagedFile};

pub use state::Failure;
use state::{FileId, Operation, State, Verdict};

/// One in so many writes is short.
const SHORT_WRITES: usize = 8;

/// The simulated disk; see the module for what it does to its users.
#[derive(Clone, Debug)]
pub struct SimDisk(Arc<Mutex<State>>);

impl SimDisk {
    /// An empty disk whose accidents all follow from `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(State::new(seed))))
    }

    /// The operations asked for so far.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.state().operations
    }

    /// Lets `times` operations fail that can fail so, beginning with the `nth` from now (0 is the next).
    pub fn fail(&self, nth: u64, times: u64, failure: Failure) {
        self.state().fail(nth, times, failure);
    }

    /// Ends all failures set so far.
    pub fn heal(&self) {
        self.state().failures.clear();
    }

    /// Lets the power go during the `nth` operation from now (0 is the next).
    pub fn power_off_at(&self, nth: u64) {
        let mut state = self.state();
        state.power_off_at = Some(state.operations.saturating_add(nth));
    }

    /// The power is gone and comes back: what was not synced is dealt with as the fault model says.
    pub fn crash(&self) {
        self.state().crash();
    }

    /// The process is gone, at the operation named by [`SimDisk::power_off_at`] if one was, but the system lives on: nothing
    /// is lost, and nothing more is durable than was.
    pub fn kill(&self) {
        self.state().kill();
    }

    /// Changes one byte of a file, on the disk itself. False when there is no such byte.
    pub fn rot(&self, file: &Path, at: usize, flip: u8) -> bool {
        self.state().rot(file, at, flip)
    }

    /// Another disk, just as this one is now.
    #[must_use]
    pub fn fork(&self) -> Self {
        Self(Arc::new(Mutex::new(self.state().clone())))
    }

    /// Somebody removes the folder with all that is in it, durably.
    pub fn lose_folder(&self, folder: &Path) {
        self.state().folders.remove(folder);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does `deed`, unless this operation fails or the power goes; when the power goes it may be done all the same.
    fn step<T>(&self, operation: Operation, deed: impl FnOnce(&mut State) -> io::Result<T>) -> io::Result<T> {
        let mut state = self.state();
        match state.verdict(operation) {
            Verdict::Done => deed(&mut state),
            Verdict::Fails(error) => Err(error),
            Verdict::PowerGoes(error) => {
                if state.coin() {
                    // ignored: nobody is left to hear of it
                    let _ = deed(&mut state);
                }
                Err(error)
            }
        }
    }
}

impl Disk for SimDisk {
    fn create_folder(&self, folder: &Path) -> io::Result<()> {
        self.step(Operation::Change, |state| {
            state.create_folder(folder);
            Ok(())
        })
    }

    fn lock(&self, folder: &Path) -> Result<Box<dyn Lock>, LockError> {
        let taken = self.step(Operation::Change, |state| state.lock(folder)).map_err(LockError::Io)?;
        match taken {
            Ok(id) => Ok(Box::new(SimLock { disk: self.clone(), folder: folder.to_owned(), id })),
            Err(pid) => Err(LockError::Held { pid: Some(pid) }),
        }
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        self.step(Operation::Read, |state| Ok(state.folder(folder)?.names()))
    }

    fn read(&self, file: &Path, limit: u64) -> io::Result<Bytes> {
        self.step(Operation::Read, |state| {
            let content = state.content(file)?;
            if content.len() as u64 > limit { Err(io::ErrorKind::FileTooLarge.into()) } else { Ok(content) }
        })
    }

    fn open(&self, file: &Path) -> io::Result<Box<dyn ReadFile>> {
        let content = self.step(Operation::Read, |state| state.content(file))?;
        Ok(Box::new(SimReading { disk: self.clone(), length: content.len() as u64, rest: content }))
    }

    fn append_to(&self, file: &Path) -> io::Result<Box<dyn StagedFile>> {
        let id = self.step(Operation::Change, |state| state.id(file))?;
        Ok(Box::new(SimFile { disk: self.clone(), id }))
    }

    fn size(&self, file: &Path) -> io::Result<u64> {
        self.step(Operation::Read, |state| Ok(state.content(file)?.len() as u64))
    }

    fn create(&self, file: &Path) -> io::Result<Box<dyn StagedFile>> {
        let id = self.step(Operation::Grow, |state| state.create(file))?;
        Ok(Box::new(SimFile { disk: self.clone(), id }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.step(Operation::Change, |state| state.rename(from, to))
    }

    fn remove(&self, file: &Path) -> io::Result<()> {
        self.step(Operation::Change, |state| state.remove(file))
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        self.step(Operation::Change, |state| {
            state.folder_mut(folder)?.sync();
            Ok(())
        })
    }
}

/// A file of the simulated disk, open for writing.
struct SimFile {
    disk: SimDisk,
    id: FileId,
}

impl io::Write for SimFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.disk.state();
        match state.verdict(Operation::Grow) {
            Verdict::Done => {
                let short = bytes.len() > 1 && state.below(SHORT_WRITES) == 0;
                let part = if short { 1 + state.below(bytes.len() - 1) } else { bytes.len() };
                Ok(state.append(self.id, bytes.get(..part).unwrap_or(bytes)))
            }
            Verdict::Fails(error) | Verdict::PowerGoes(error) => {
                let part = state.below(bytes.len() + 1);
                state.append(self.id, bytes.get(..part).unwrap_or_default());
                Err(error)
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl StagedFile for SimFile {
    fn sync(&mut self) -> io::Result<()> {
        let id = self.id;
        let synced = self.disk.step(Operation::Grow, |state| {
            state.sync(id);
            Ok(())
        });
        let mut state = self.disk.state();
        if synced.is_err() && !state.is_off() {
            state.give_up(id);
        }
        synced
    }

    fn sync_data(&mut self) -> io::Result<()> {
        self.sync()
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        let id = self.id;
        self.disk.step(Operation::Change, |state| {
            state.truncate(id, length);
            Ok(())
        })
    }
}

/// A file of the simulated disk, open for reading; it is seen as it was when it was opened.
struct SimReading {
    disk: SimDisk,
    rest: Bytes,
    length: u64,
}

impl io::Read for SimReading {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let wanted = into.len().min(self.rest.len());
        let read =
            self.disk.step(Operation::Read, |state| Ok(if wanted > 1 { 1 + state.below(wanted) } else { wanted }))?;
        self.rest.split_to(read).copy_to_slice(into.get_mut(..read).unwrap_or_default());
        Ok(read)
    }
}

impl ReadFile for SimReading {
    fn length(&self) -> u64 {
        self.length
    }

    fn read_onto(&mut self, into: &mut Vec<u8>, length: usize) -> io::Result<usize> {
        let wanted = length.min(self.rest.len());
        self.disk.step(Operation::Read, |_| Ok(()))?;
        into.extend_from_slice(&self.rest.split_to(wanted));
        Ok(wanted)
    }
}

/// A lock on a folder of the simulated disk.
#[derive(Debug)]
struct SimLock {
    disk: SimDisk,
    folder: PathBuf,
    id: u64,
}

impl Lock for SimLock {
    fn is_in_place(&self) -> bool {
        self.disk.state().is_locked_by(&self.folder, self.id)
    }
}

impl Drop for SimLock {
    fn drop(&mut self) {
        self.disk.state().unlock(&self.folder, self.id);
    }
}
