//! The system's files.

use std::{
    fs::{DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use bytes::Bytes;

use super::{Disk, LOCK_FILE, Lock, LockError, ReadFile, StagedFile};

/// Folders are for the owner alone: a snapshot tells every app's inner addresses.
const FOLDER_MODE: u32 = 0o700;
/// Files likewise.
const FILE_MODE: u32 = 0o600;
/// A pid in text is at most this long. Source: proc(5), pid_max is at most 2^22.
const PID_BYTES: u64 = 10;

/// The system's own disk.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealDisk;

impl Disk for RealDisk {
    fn create_folder(&self, folder: &Path) -> io::Result<()> {
        if folder.is_dir() {
            return Ok(());
        }
        if let Some(above) = parent(folder) {
            self.create_folder(above)?;
        }
        match DirBuilder::new().mode(FOLDER_MODE).create(folder) {
            // Another process may have made it meanwhile.
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists || !folder.is_dir() => return Err(error),
            _ => {}
        }
        match self.sync_folder(parent(folder).unwrap_or(Path::new("."))) {
            // A folder that may be written but not read cannot be synced; that is no reason not to use what is below.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
            synced => synced,
        }
    }

    fn lock(&self, folder: &Path) -> Result<Box<dyn Lock>, LockError> {
        let path = folder.join(LOCK_FILE);
        let (file, writable) = open_lock(&path).map_err(LockError::Io)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(LockError::Held { pid: holder(&file) }),
            Err(TryLockError::Error(error)) => return Err(LockError::Io(error)),
        }
        match writable {
            Ok(()) => {
                // ignored: the pid is only for the message of the process that comes second
                let _ = note_holder(&file);
                Ok(Box::new(RealLock { path, file }))
            }
            Err(error) => Err(LockError::Io(error)),
        }
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in folder.read_dir()? {
            names.extend(entry?.file_name().into_string());
        }
        Ok(names)
    }

    fn read(&self, file: &Path, limit: u64) -> io::Result<Bytes> {
        let file = File::open(file)?;
        let length = file.metadata()?.len();
        if length > limit {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(usize::try_from(length).map_err(|_| io::ErrorKind::FileTooLarge)?)?;
        file.take(length).read_to_end(&mut bytes)?;
        Ok(bytes.into())
    }

    fn open(&self, file: &Path) -> io::Result<Box<dyn ReadFile>> {
        let file = File::open(file)?;
        let length = file.metadata()?.len();
        Ok(Box::new(Reading { file, length }))
    }

    fn append_to(&self, file: &Path) -> io::Result<Box<dyn StagedFile>> {
        Ok(Box::new(OpenOptions::new().append(true).open(file)?))
    }

    fn size(&self, file: &Path) -> io::Result<u64> {
        Ok(file.metadata()?.len())
    }

    fn create(&self, file: &Path) -> io::Result<Box<dyn StagedFile>> {
        let file = OpenOptions::new().append(true).create_new(true).mode(FILE_MODE).open(file)?;
        Ok(Box::new(file))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn remove(&self, file: &Path) -> io::Result<()> {
        std::fs::remove_file(file)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        File::open(folder)?.sync_all()
    }
}

impl StagedFile for File {
    fn sync(&mut self) -> io::Result<()> {
        self.sync_all()
    }

    fn sync_data(&mut self) -> io::Result<()> {
        File::sync_data(self)
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        self.set_len(length)
    }
}

/// A file that is open for reading.
#[derive(Debug)]
struct Reading {
    file: File,
    length: u64,
}

impl Read for Reading {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.file.read(into)
    }
}

impl ReadFile for Reading {
    fn length(&self) -> u64 {
        self.length
    }

    /// The system's file reads into the room of a vector without making it zero first.
    fn read_onto(&mut self, into: &mut Vec<u8>, length: usize) -> io::Result<usize> {
        (&self.file).take(length as u64).read_to_end(into)
    }
}

/// The lock's file, open and locked (flock(2)); dropping it gives the lock back.
#[derive(Debug)]
struct RealLock {
    path: PathBuf,
    file: File,
}

impl Lock for RealLock {
    fn is_in_place(&self) -> bool {
        let (Ok(held), Ok(there)) = (self.file.metadata(), self.path.metadata()) else {
            return false;
        };
        (held.dev(), held.ino()) == (there.dev(), there.ino())
    }
}

/// The lock's file, and whether it is open for writing. One that is there can be asked who holds it even where nothing
/// can be written.
fn open_lock(path: &Path) -> io::Result<(File, io::Result<()>)> {
    match OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(FILE_MODE).open(path) {
        Ok(file) => Ok((file, Ok(()))),
        Err(error) => match File::open(path) {
            Ok(file) => Ok((file, Err(error))),
            Err(_) => Err(error),
        },
    }
}

fn note_holder(mut file: &File) -> io::Result<()> {
    file.set_len(0)?;
    file.write_all(std::process::id().to_string().as_bytes())
}

fn holder(file: &File) -> Option<u32> {
    let mut text = String::new();
    file.take(PID_BYTES).read_to_string(&mut text).ok()?;
    text.parse().ok()
}

fn parent(path: &Path) -> Option<&Path> {
    path.parent().filter(|above| !above.as_os_str().is_empty())
}
