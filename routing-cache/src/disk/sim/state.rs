//! What the simulated disk holds, what of it is durable, and what accidents are to come.

use std::{
    collections::{BTreeMap, HashMap},
    io,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use rustix::io::Errno;

/// The pid of whoever holds a lock here.
const PID: u32 = 1;
/// What the system writes back at a time, in bytes; one such piece may be missing after a crash.
const SECTOR_BYTES: usize = 512;

/// How an operation fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// No space is left (ENOSPC): creating, writing and syncing a file.
    NoSpace,
    /// Input or output error (EIO): everything.
    InputOutput,
    /// The file system is read-only (EROFS): everything but reading.
    ReadOnly,
}

/// What an operation is, as far as failures care.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    /// Takes space.
    Grow,
    /// Changes something without taking space.
    Change,
    /// Changes nothing.
    Read,
}

impl Failure {
    fn can_hit(self, operation: Operation) -> bool {
        match self {
            Self::NoSpace => operation == Operation::Grow,
            Self::InputOutput => true,
            Self::ReadOnly => operation != Operation::Read,
        }
    }

    fn error(self) -> io::Error {
        match self {
            Self::NoSpace => Errno::NOSPC.into(),
            Self::InputOutput => Errno::IO.into(),
            Self::ReadOnly => Errno::ROFS.into(),
        }
    }
}

/// What becomes of an operation.
pub(super) enum Verdict {
    Done,
    Fails(io::Error),
    PowerGoes(io::Error),
}

/// Failures of the operations from one number to another, that one not included.
#[derive(Clone, Debug)]
pub(super) struct Failures {
    from: u64,
    to: u64,
    failure: Failure,
}

/// Names a file's content, whatever its name is.
pub(super) type FileId = usize;

#[derive(Clone, Debug, Default)]
struct Content {
    /// As it is read.
    now: Vec<u8>,
    /// How much of it survives for sure; files are only appended to.
    durable: usize,
    /// A sync failed: what was not durable then will be lost.
    given_up: bool,
    /// As it was before it was cut off, which is not durable yet.
    uncut: Option<Vec<u8>>,
}

/// A change of a folder that is not durable yet.
#[derive(Clone, Debug)]
enum Change {
    Created(String, FileId),
    Removed(String),
    Renamed(String, String, FileId),
}

#[derive(Clone, Debug, Default)]
pub(super) struct Folder {
    now: BTreeMap<String, FileId>,
    durable: BTreeMap<String, FileId>,
    pending: Vec<Change>,
    lock: Option<u64>,
}

impl Folder {
    pub(super) fn names(&self) -> Vec<String> {
        self.now.keys().cloned().collect()
    }

    pub(super) fn sync(&mut self) {
        self.durable = self.now.clone();
        self.pending.clear();
    }

    fn change(&mut self, change: Change) {
        apply(&mut self.now, &change);
        self.pending.push(change);
    }
}

fn apply(names: &mut BTreeMap<String, FileId>, change: &Change) {
    match change {
        Change::Created(name, id) => {
            names.insert(name.clone(), *id);
        }
        Change::Removed(name) => {
            names.remove(name);
        }
        Change::Renamed(from, to, id) => {
            names.remove(from);
            names.insert(to.clone(), *id);
        }
    }
}

#[derive(Clone, Debug)]
pub(super) struct State {
    random: u64,
    pub(super) operations: u64,
    pub(super) failures: Vec<Failures>,
    pub(super) power_off_at: Option<u64>,
    pub(super) folders: HashMap<PathBuf, Folder>,
    contents: Vec<Content>,
    locks: u64,
}

impl State {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            random: seed,
            operations: 0,
            failures: Vec::new(),
            power_off_at: None,
            folders: HashMap::new(),
            contents: Vec::new(),
            locks: 0,
        }
    }

    pub(super) fn fail(&mut self, nth: u64, times: u64, failure: Failure) {
        let from = self.operations.saturating_add(nth);
        self.failures.push(Failures { from, to: from.saturating_add(times), failure });
    }

    /// Counts the operation and says what becomes of it.
    pub(super) fn verdict(&mut self, operation: Operation) -> Verdict {
        let number = self.operations;
        self.operations += 1;
        match self.power_off_at {
            Some(off) if number == off => return Verdict::PowerGoes(Errno::IO.into()),
            Some(off) if number > off => return Verdict::Fails(Errno::IO.into()),
            _ => {}
        }
        let hit = |f: &&Failures| (f.from..f.to).contains(&number) && f.failure.can_hit(operation);
        self.failures.iter().find(hit).map_or(Verdict::Done, |f| Verdict::Fails(f.failure.error()))
    }

    /// True from the moment the power has gone.
    pub(super) fn is_off(&self) -> bool {
        self.power_off_at.is_some_and(|off| self.operations > off)
    }

    pub(super) fn kill(&mut self) {
        self.power_off_at = None;
        self.failures.clear();
        self.folders.values_mut().for_each(|folder| folder.lock = None);
    }

    pub(super) fn crash(&mut self) {
        self.kill();
        for at in 0..self.contents.len() {
            self.crash_content(at);
        }
        let mut folders = std::mem::take(&mut self.folders);
        for folder in folders.values_mut() {
            self.crash_folder(folder);
        }
        self.folders = folders;
    }

    fn crash_content(&mut self, id: FileId) {
        let Some(Content { mut now, durable, given_up, uncut }) = self.contents.get_mut(id).map(std::mem::take) else {
            return;
        };
        let cut = durable + self.below(now.len() - durable + 1);
        match self.below(5) {
            _ if given_up => now.truncate(durable),
            0 => now.truncate(durable),
            1 => now.truncate(cut),
            2 => now.iter_mut().skip(cut).for_each(|byte| *byte = 0),
            3 => now.iter_mut().skip(cut).take(SECTOR_BYTES).for_each(|byte| *byte = 0),
            _ => {}
        }
        if let Some(uncut) = uncut.filter(|_| self.coin()) {
            now = uncut;
        }
        let durable = now.len();
        if let Some(content) = self.contents.get_mut(id) {
            *content = Content { now, durable, given_up: false, uncut: None };
        }
    }

    fn crash_folder(&mut self, folder: &mut Folder) {
        let (all, none) = (self.below(4) == 0, self.below(4) == 0);
        for change in std::mem::take(&mut folder.pending) {
            if all || (!none && self.coin()) {
                apply(&mut folder.durable, &change);
            }
        }
        folder.now = folder.durable.clone();
    }

    pub(super) fn rot(&mut self, file: &Path, at: usize, flip: u8) -> bool {
        let found = self.id(file).ok().and_then(|id| self.contents.get_mut(id)?.now.get_mut(at));
        found.map(|byte| *byte ^= flip).is_some()
    }

    pub(super) fn create_folder(&mut self, folder: &Path) {
        self.folders.entry(folder.to_owned()).or_default();
    }

    pub(super) fn folder(&self, folder: &Path) -> io::Result<&Folder> {
        self.folders.get(folder).ok_or_else(not_found)
    }

    pub(super) fn folder_mut(&mut self, folder: &Path) -> io::Result<&mut Folder> {
        self.folders.get_mut(folder).ok_or_else(not_found)
    }

    /// The lock's number, or the pid of who has it.
    pub(super) fn lock(&mut self, folder: &Path) -> io::Result<Result<u64, u32>> {
        self.locks += 1;
        let id = self.locks;
        let folder = self.folder_mut(folder)?;
        Ok(if folder.lock.is_some() { Err(PID) } else { Ok(*folder.lock.insert(id)) })
    }

    pub(super) fn is_locked_by(&self, folder: &Path, id: u64) -> bool {
        self.folders.get(folder).is_some_and(|folder| folder.lock == Some(id))
    }

    pub(super) fn unlock(&mut self, folder: &Path, id: u64) {
        if let Some(folder) = self.folders.get_mut(folder).filter(|folder| folder.lock == Some(id)) {
            folder.lock = None;
        }
    }

    pub(super) fn create(&mut self, file: &Path) -> io::Result<FileId> {
        let (folder, name) = split(file)?;
        let id = self.contents.len();
        let folder = self.folder_mut(folder)?;
        if folder.now.contains_key(&name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        folder.change(Change::Created(name, id));
        self.contents.push(Content::default());
        Ok(id)
    }

    pub(super) fn content(&self, file: &Path) -> io::Result<Bytes> {
        let content = self.contents.get(self.id(file)?).ok_or_else(not_found)?;
        Ok(Bytes::copy_from_slice(&content.now))
    }

    pub(super) fn append(&mut self, id: FileId, bytes: &[u8]) -> usize {
        if let Some(content) = self.contents.get_mut(id) {
            content.now.extend_from_slice(bytes);
        }
        bytes.len()
    }

    pub(super) fn truncate(&mut self, id: FileId, length: u64) {
        if let Some(content) = self.contents.get_mut(id) {
            let length = usize::try_from(length).unwrap_or(usize::MAX);
            if length < content.durable {
                content.uncut.get_or_insert_with(|| content.now.get(..content.durable).unwrap_or_default().to_vec());
            }
            content.now.truncate(length);
            content.durable = content.durable.min(content.now.len());
        }
    }

    pub(super) fn sync(&mut self, id: FileId) {
        if let Some(content) = self.contents.get_mut(id).filter(|content| !content.given_up) {
            content.durable = content.now.len();
            content.uncut = None;
        }
    }

    pub(super) fn give_up(&mut self, id: FileId) {
        if let Some(content) = self.contents.get_mut(id) {
            content.given_up = content.durable < content.now.len();
        }
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let id = self.id(from)?;
        let ((folder, from), (_, to)) = (split(from)?, split(to)?);
        self.folder_mut(folder)?.change(Change::Renamed(from, to, id));
        Ok(())
    }

    pub(super) fn remove(&mut self, file: &Path) -> io::Result<()> {
        self.id(file)?;
        let (folder, name) = split(file)?;
        self.folder_mut(folder)?.change(Change::Removed(name));
        Ok(())
    }

    pub(super) fn coin(&mut self) -> bool {
        self.below(2) == 0
    }

    /// A number from 0 to below `bound`, which is not 0. The generator is SplitMix64 (Steele, Lea, Flood, 2014).
    pub(super) fn below(&mut self, bound: usize) -> usize {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % bound.max(1) as u64) as usize
    }

    pub(super) fn id(&self, file: &Path) -> io::Result<FileId> {
        let (folder, name) = split(file)?;
        self.folder(folder)?.now.get(&name).copied().ok_or_else(not_found)
    }
}

fn split(file: &Path) -> io::Result<(&Path, String)> {
    match (file.parent(), file.file_name().and_then(|name| name.to_str())) {
        (Some(folder), Some(name)) => Ok((folder, name.to_owned())),
        _ => Err(io::ErrorKind::InvalidInput.into()),
    }
}

fn not_found() -> io::Error {
    io::ErrorKind::NotFound.into()
}
