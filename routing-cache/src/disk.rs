//! The few file operations needed, as a trait: the real disk and the simulator.
//!
//! This is the one place of the library that touches files. It decides nothing: what is written when, and what is
//! believed at start, is [`crate::store`]'s.
//!
//! A durable file is made in this order: [`Disk::create`], write, [`StagedFile::sync`], [`Disk::rename`],
//! [`Disk::sync_folder`]. Nothing before the last of them survives a power cut for sure.

mod opened;
mod real;
pub mod sim;
#[cfg(test)]
mod tests;

use std::{fmt::Debug, io, path::Path};

use bytes::Bytes;

pub use opened::Opened;
pub use real::RealDisk;

/// The file in a folder whose lock is the folder's; it holds the pid of who has it.
pub const LOCK_FILE: &str = "lock";

/// Where snapshots and journals are kept.
pub trait Disk: Debug + Send + Sync {
    /// Makes the folder and what is missing above it, for the owner alone (0700), durably. Fine when it is there.
    ///
    /// # Errors
    /// What the system says.
    fn create_folder(&self, folder: &Path) -> io::Result<()>;

    /// Takes the folder's lock, one process's at a time. It is given back when the value is dropped or the process
    /// ends, however it ends.
    ///
    /// # Errors
    /// [`LockError::Held`] by another; [`LockError::Io`] when it cannot be told, the folder being not there or not
    /// writable among others.
    fn lock(&self, folder: &Path) -> Result<Box<dyn Lock>, LockError>;

    /// The names of the files in the folder, in no order; what is not UTF-8 is left out.
    ///
    /// # Errors
    /// What the system says.
    fn list(&self, folder: &Path) -> io::Result<Vec<String>>;

    /// The whole file.
    ///
    /// # Errors
    /// What the system says; `FileTooLarge` where it is over `limit` bytes.
    fn read(&self, file: &Path, limit: u64) -> io::Result<Bytes>;

    /// A file, to be read from its beginning bit by bit.
    ///
    /// # Errors
    /// What the system says.
    fn open(&self, file: &Path) -> io::Result<Box<dyn ReadFile>>;

    /// A file that is there, to be written on at its end.
    ///
    /// # Errors
    /// What the system says; `NotFound` when it is not there.
    fn append_to(&self, file: &Path) -> io::Result<Box<dyn StagedFile>>;

    /// The size of a file, in bytes.
    ///
    /// # Errors
    /// What the system says.
    fn size(&self, file: &Path) -> io::Result<u64>;

    /// Makes a new file, for the owner alone (0600).
    ///
    /// # Errors
    /// What the system says; `AlreadyExists` when it is there.
    fn create(&self, file: &Path) -> io::Result<Box<dyn StagedFile>>;

    /// Gives a file another name in the same folder, replacing what has that name.
    ///
    /// # Errors
    /// What the system says.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// What the system says.
    fn remove(&self, file: &Path) -> io::Result<()>;

    /// Makes what was created, renamed and removed in the folder durable.
    ///
    /// # Errors
    /// What the system says; then none of it may be.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;
}

/// A file that is being read.
pub trait ReadFile: io::Read + Send {
    /// Its length when it was opened, in bytes.
    fn length(&self) -> u64;

    /// Reads up to `length` bytes onto the end of `into`: fewer only where the file ends.
    ///
    /// # Errors
    /// What the system says; bytes may have been added then.
    fn read_onto(&mut self, into: &mut Vec<u8>, length: usize) -> io::Result<usize>;
}

/// A file that is being written, always at its end.
pub trait StagedFile: io::Write + Send {
    /// Makes what was written durable. After a failure the file is to be given up, not synced again: the system may
    /// have dropped what it could not write and report success the next time.
    ///
    /// # Errors
    /// What the system says.
    fn sync(&mut self) -> io::Result<()>;

    /// As [`StagedFile::sync`], for what is needed to read the bytes again (fdatasync(2)): for a file that was durable before
    /// and has grown.
    ///
    /// # Errors
    /// What the system says.
    fn sync_data(&mut self) -> io::Result<()>;

    /// Cuts the file off after `length` bytes. Not durable until it is synced.
    ///
    /// # Errors
    /// What the system says.
    fn truncate(&mut self, length: u64) -> io::Result<()>;
}

/// A folder's lock, while it is held.
pub trait Lock: Debug + Send + Sync {
    /// False when the lock no longer guards the folder that has its name now: the folder, or the lock's file, was
    /// removed since.
    fn is_in_place(&self) -> bool;
}

/// Why the lock was not taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process has it.
    #[error("another process holds the lock")]
    Held {
        /// Which one, where it has said so.
        pid: Option<u32>,
    },
    /// It cannot be told.
    #[error("the lock could not be taken")]
    Io(#[source] io::Error),
}
