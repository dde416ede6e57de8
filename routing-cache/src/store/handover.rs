//! A folder that changes hands while both processes live: given away, taken back, taken up.
//!
//! Who writes into a folder holds its lock, so at each instant one process does at most. What it was given away with is
//! remembered: only where nothing at all was written meanwhile does the journal go on. In every other case the whole state
//! is saved anew, under a number after all others.

use std::{io, path::Path, sync::Arc, sync::atomic::Ordering};

use crate::{
    codec::Reader,
    disk::{Disk, LockError, ReadFile},
    model::Provenance,
    snapshot::{self, Head, ReadError, Snapshot},
    state::State,
};

use super::{
    Damage, OpenError, Poisoned, SaveError, Store,
    boot::is_lost,
    folder::{Files, Folder},
    names::{Name, Place},
    open,
    replay::{Restore, Restored},
    runs::{Mark, Runs, put_table, read_table},
    write::flat,
};

/// Why nothing is written.
#[derive(Debug)]
pub(super) enum Away {
    /// The state came from another process, and the folder was not taken up yet.
    Unclaimed {
        /// All of that state was on disk.
        settled: bool,
    },
    /// It was ours.
    Released {
        /// The files in use with their sizes, as they were left; `None` where they could not be looked at.
        files: Option<Vec<(Name, u64)>>,
        /// As it was, this run counted.
        runs: Runs,
    },
}

/// A whole state on its way from one process to the next, or to a start to come.
#[derive(Debug)]
pub struct Image {
    /// The number of the last change in it.
    pub sequence: u64,
    /// The state.
    pub state: State,
    /// All of it was on disk when the image was made.
    pub settled: bool,
    /// The table that is kept out, the program having crashed with it.
    pub poisoned: Option<Poisoned>,
}

/// How a folder was taken back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Regained {
    /// As it was left: the journal goes on.
    Untouched,
    /// Something was written meanwhile, or it cannot be told: the whole state is to be saved.
    Touched,
    /// It was not: another process holds the lock.
    Locked {
        /// Which one, where known.
        pid: Option<u32>,
    },
    /// It was not: why it cannot be used.
    Unusable(String),
}

/// What was found in a folder that was taken up.
#[derive(Debug, Default)]
pub struct TakenUp {
    /// What the journal goes on from, in words; `None` where the whole state is to be saved.
    pub goes_on_from: Option<String>,
    /// Of the table that is on disk.
    pub on_disk: Option<Provenance>,
    /// What was found damaged, and what became of it.
    pub damaged: Vec<Damage>,
    /// Files set aside earlier that were now removed, there being too many.
    pub removed: Vec<String>,
    /// The table last found to be poison.
    pub poisoned: Option<Poisoned>,
    /// Acknowledged changes could not be read.
    pub lost: bool,
}

impl Image {
    /// Writes it, and returns how many bytes that took. It may take a second, and the memory of a table where what is served
    /// does not lie in one piece.
    ///
    /// # Errors
    /// What the system says.
    pub fn write(&self, out: &mut dyn io::Write) -> io::Result<u64> {
        let mut beside = vec![u8::from(self.settled), u8::from(self.poisoned.is_some())];
        if let Some(poisoned) = &self.poisoned {
            beside.extend_from_slice(&poisoned.crashes.to_le_bytes());
            put_table(&mut beside, poisoned.generation, poisoned.epoch.as_ref(), poisoned.digest);
        }
        snapshot::write_with(out, self.sequence, &self.state, &flat(&self.state.table), &beside)
    }

    /// Reads one. What is only a snapshot is one, too; nothing is known then of where else it stands.
    ///
    /// # Errors
    /// When it cannot be read, or is not whole.
    pub fn read(file: &mut dyn ReadFile) -> Result<Self, ReadError> {
        snapshot::read(file).map(Self::from)
    }

    /// As [`Image::read`], where what it says of itself is `wanted`; else `None`.
    ///
    /// # Errors
    /// As [`Image::read`], of as much as is read.
    pub fn read_if(file: &mut dyn ReadFile, wanted: impl FnOnce(&Head) -> bool) -> Result<Option<Self>, ReadError> {
        Ok(snapshot::read_if(file, wanted)?.map(Self::from))
    }
}

impl From<Snapshot> for Image {
    fn from(snapshot: Snapshot) -> Self {
        let Snapshot { sequence, state, beside } = snapshot;
        let mut from = Reader::new(&beside);
        let settled = from.option("flag for what is on disk", |_| Ok(())).ok().flatten().is_some();
        let poisoned = from.option("flag for poison", |from| {
            let crashes = from.u32("number of runs")?;
            let (generation, epoch, digest) = read_table(from)?;
            Ok(Poisoned { generation, epoch, digest, crashes })
        });
        Self { sequence, state, settled, poisoned: poisoned.ok().flatten() }
    }
}

impl Store {
    /// The store of a state that came from another process: its folder is neither looked at nor locked before it is
    /// [taken up](Store::take_up).
    #[must_use]
    pub fn unclaimed(disk: Arc<dyn Disk>, folder: &Path, image: &Image) -> Self {
        let mut store = open::untouched(Folder { disk, path: folder.to_owned() });
        store.away = Some(Away::Unclaimed { settled: image.settled });
        store.last = image.sequence;
        store.known.note(image.sequence, &image.state);
        store
    }

    /// Whether the folder is another process's for now.
    #[must_use]
    pub fn is_away(&self) -> bool {
        self.away.is_some()
    }

    /// What is served now, to be handed on. Cheap: what takes its time is to [write](Image::write) it.
    #[must_use]
    pub fn image(&self, state: &State, poisoned: Option<Poisoned>) -> Image {
        let settled = !self.behind && !self.needs_whole && self.pending_is_empty() && self.away.is_none();
        Image { sequence: self.last, state: state.clone(), settled, poisoned }
    }

    /// A state that is not what was found at the start is served: all of it is to be saved.
    pub fn supersede(&mut self, sequence: u64, state: &State) {
        self.last = self.last.max(sequence);
        self.need_whole();
        self.known.note(self.last, state);
    }

    /// Gives the folder away: this run is no crash, and nothing is written from now on. A compaction that is under way leaves
    /// off; the lock goes with it.
    pub fn release(&mut self) {
        if self.away.is_some() {
            return;
        }
        let runs = self.runs.clone();
        self.stopping();
        self.given_away.store(true, Ordering::Relaxed);
        self.give_up_compaction();
        self.segment = None;
        let files = self.lock.as_ref().and_then(|_| in_use(&self.folder).ok());
        self.away = Some(Away::Released { files, runs });
        self.lock = None;
    }

    /// Takes back a folder that was given away. `state` is what is served. What fails is tried again with each
    /// [`Store::retry`].
    pub fn regain(&mut self, state: &State) -> Regained {
        let Some(Away::Released { files, runs }) = self.away.take_if(|away| matches!(away, Away::Released { .. }))
        else {
            return Regained::Untouched;
        };
        self.given_away = Arc::default();
        let regained = match self.folder.disk.lock(&self.folder.path) {
            Ok(lock) => {
                self.lock = Some(lock.into());
                self.claims += 1;
                let untouched = files.is_some() && in_use(&self.folder).ok() == files;
                if untouched { Regained::Untouched } else { Regained::Touched }
            }
            Err(LockError::Held { pid }) => Regained::Locked { pid },
            Err(LockError::Io(error)) => Regained::Unusable(format!("{}: {error}", self.folder.path.display())),
        };
        if regained != Regained::Untouched {
            self.mistrust(state.has_table());
        }
        match &regained {
            Regained::Untouched | Regained::Touched => {
                self.runs = Runs::read(&self.folder);
                // ignored: as for a run that could not be counted at a start
                let _ = self.write_runs(runs);
            }
            Regained::Locked { pid } => self.unwritable = Some(SaveError::Locked { pid: *pid }.to_string()),
            Regained::Unusable(why) => self.unwritable = Some(why.clone()),
        }
        regained
    }

    /// Takes up the folder of a state that came from another process, and begins a run. Where what is on disk is that state,
    /// its journal goes on; else the store [is behind](Store::is_behind). What is not whole is set aside, as at a start.
    ///
    /// # Errors
    /// When another process holds the lock; then nothing has happened.
    pub fn take_up(&mut self, state: &State) -> Result<TakenUp, OpenError> {
        let Some(Away::Unclaimed { settled }) = self.away else { return Ok(TakenUp::default()) };
        let own = self.last;
        match self.take_lock() {
            Err(LockError::Held { pid }) => {
                return Err(OpenError::Locked { folder: self.folder.path.display().to_string(), pid });
            }
            Err(LockError::Io(error)) => self.unwritable = Some(format!("{}: {error}", self.folder.path.display())),
            Ok(()) => self.folder.remove_staged(None),
        }
        self.away = None;
        self.runs = Runs::read(&self.folder);
        let mut taken = TakenUp { poisoned: self.runs.poisoned.clone(), ..TakenUp::default() };
        match Files::list(&*self.folder.disk, &self.folder.path) {
            Ok(files) => self.look_into(&files, (state, own, settled), &mut taken),
            Err(error) => {
                let (file, why) = (self.folder.path.display().to_string(), format!("cannot be listed: {error}"));
                taken.damaged.push(Damage { file, offset: None, why, kept_as: None });
                self.begin_run(None);
                self.behind = state.has_table();
            }
        }
        self.known.note(own, state);
        self.bytes = self.folder.bytes();
        Ok(taken)
    }

    fn look_into(&mut self, files: &Files, (state, own, settled): (&State, u64, bool), taken: &mut TakenUp) {
        let (disk, folder) = (&*self.folder.disk, &*self.folder.path);
        let mut restored = Restore { disk, folder, files, upto: None, thin: true }.run(&mut |_, _| {});
        taken.lost = is_lost(files, &restored);
        taken.damaged = self.report(&restored);
        taken.on_disk = restored.state.as_ref().map(|state| state.meta.provenance.clone());
        self.begin_run(None);
        if self.lock.is_some() {
            taken.removed = self.folder.remove_oldest_aside();
        }
        if settled && !taken.lost && is_of(&restored, state, own) {
            taken.goes_on_from = Some(restored.origin());
            return self.go_on_from(files, &mut restored, false);
        }
        self.learn_of(files, &restored);
        self.last = own.max(restored.last).max(restored.highest);
        self.need_whole();
        self.behind = state.has_table();
    }
}

/// Whether a folder holds this state, as far as that can be told without reading all of it. Numbers are given once, so it is
/// enough that both are what the same change has led to.
fn is_of(restored: &Restored, state: &State, sequence: u64) -> bool {
    let Some(found) = &restored.state else { return false };
    let told = |state: &State| {
        let meta = &state.meta;
        (meta.holding.clone(), meta.retired.clone(), meta.pin.clone(), meta.foreign)
    };
    let received = |state: &State| state.received.as_ref().map(|r| (r.position.clone(), r.apps, r.digest));
    let same_received = received(found).is_none_or(|found| received(state) == Some(found));
    restored.mark() == Some(Mark::of(state, sequence)) && told(found) == told(state) && same_received
}

/// The files in use, with their sizes: they are written on at their ends alone, so what is as long is the same.
fn in_use(folder: &Folder) -> Result<Vec<(Name, u64)>, SaveError> {
    let files = folder.files()?;
    let live = files.iter().filter(|name| name.place == Place::Live);
    let size = |name: Name| {
        let path = folder.file(name);
        folder.disk.size(&path).map_err(|source| super::folder::error("looking at", &path, source))
    };
    live.map(|name| Ok((name, size(name)?))).collect()
}
