//! A snapshot of a state that was built up by changes, made beside the store.

use std::{
    io::{self, Write},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use crate::{
    disk::{Lock, StagedFile},
    snapshot,
    state::State,
    table::Base,
};

use super::{
    SaveError, SavedInfo, Store,
    folder::{self, Folder},
    names::{Name, Place},
    write::flat,
};

/// A compaction is due when more than this share of the apps lies above the base.
pub(super) const OVERLAY_SHARE: usize = 8;
/// And at least so many.
pub(super) const MIN_OVERLAY: usize = 10_000;
/// A journal is compacted when it is larger than this share of the snapshot, within these bounds, in bytes.
const SNAPSHOT_SHARE: u64 = 8;
const MIN_LIMIT: u64 = 4 << 20;
pub(super) const MAX_LIMIT: u64 = 64 << 20;

/// The size of a journal from which on it is compacted.
pub(super) fn limit(snapshot_bytes: u64) -> u64 {
    (snapshot_bytes / SNAPSHOT_SHARE).clamp(MIN_LIMIT, MAX_LIMIT)
}

/// A compaction that was begun and not finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct UnderWay {
    pub(super) number: u64,
    /// Under which lock.
    claims: u64,
    /// Of the journal up to its number: what is to be made up for when it fails.
    pub(super) journal_bytes: u64,
}

/// A snapshot to be made of a state, beside the store.
#[derive(Debug)]
pub struct Compaction {
    folder: Folder,
    under_way: UnderWay,
    state: State,
    /// Held until it is done with the folder: nobody else stages a file there meanwhile.
    lock: Option<Arc<dyn Lock>>,
    given_away: Arc<AtomicBool>,
}

/// What became of a [`Compaction`].
#[derive(Debug)]
pub struct Compacted {
    /// The table of the state, flat.
    pub base: Arc<Base>,
    /// The snapshot, staged and durable, by the name it gets; or why there is none.
    pub result: Result<SavedInfo, SaveError>,
    under_way: UnderWay,
    state: State,
}

impl Compaction {
    /// Makes the flat base and stages the snapshot. It takes as long as it takes, on any thread; the store may go on
    /// meanwhile. Where the store gives the folder away it leaves off soon.
    #[must_use]
    pub fn run(self) -> Compacted {
        let Self { folder, under_way, state, lock, given_away } = self;
        let base = flat(&state.table);
        let name = Name::snapshot(under_way.number);
        let staged = folder.stage(&folder.file(name.at(Place::Staged)), |file| {
            let mut file = WhileOurs { file, given_away: &given_away };
            snapshot::write(&mut file, under_way.number, &state, &base)
        });
        drop(lock);
        let result = staged.map(|(_, bytes)| SavedInfo { bytes, file: name.to_string() });
        Compacted { base, result, under_way, state }
    }
}

/// Passes on what is written, until the folder is given away.
struct WhileOurs<'a> {
    file: &'a mut dyn StagedFile,
    given_away: &'a AtomicBool,
}

impl Write for WhileOurs<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.given_away.load(Ordering::Relaxed) {
            return Err(io::Error::other("the state folder was given to another process"));
        }
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

pub(super) fn begin(store: &mut Store, state: State) -> Compaction {
    if store.needs_whole {
        // The state is none that the last number stands for; its own one leads nowhere until it is saved.
        store.last = store.next_number().unwrap_or(store.last.saturating_add(1));
    }
    store.segment = None;
    let under_way = UnderWay { number: store.last, claims: store.claims, journal_bytes: store.journal_bytes };
    store.compacting = Some(under_way);
    store.journal_bytes = 0;
    let (lock, given_away) = (store.lock.clone(), Arc::clone(&store.given_away));
    Compaction { folder: store.folder.clone(), under_way, state, lock, given_away }
}

/// Nothing will come of the one that is under way; what it has staged is removed with what is left over.
pub(super) fn give_up(store: &mut Store) {
    if let Some(current) = store.compacting.take() {
        store.put_off(current);
    }
}

pub(super) fn finish(store: &mut Store, compacted: &Compacted) -> Result<(), SaveError> {
    let Some(current) = store.compacting.take_if(|current| current.is(compacted.under_way)) else {
        return Ok(());
    };
    let placed = match &compacted.result {
        Ok(info) => place(store, compacted.under_way).map(|()| Some(info.bytes)),
        Err(_) => Ok(None),
    };
    if let Ok(Some(bytes)) = placed {
        // One that was saved meanwhile is alone: nothing before it leads to it.
        store.sole &= store.whole.last().is_some_and(|newest| *newest > current.number);
        store.covered_up_to(current.number, compacted, bytes);
        return Ok(());
    }
    store.put_off(current);
    placed.map(drop)
}

fn place(store: &mut Store, under_way: UnderWay) -> Result<(), SaveError> {
    store.claim()?;
    let name = Name::snapshot(under_way.number);
    let (staged, file) = (store.folder.file(name.at(Place::Staged)), store.folder.file(name));
    if store.claims != under_way.claims {
        // ignored: it belongs to a folder that is gone, or was another process's meanwhile
        let _ = store.folder.disk.remove(&staged);
        return Err(folder::error("renaming", &staged, std::io::ErrorKind::NotFound.into()));
    }
    store.folder.settle(&staged, &file)
}

impl UnderWay {
    fn is(self, other: Self) -> bool {
        (self.number, self.claims) == (other.number, other.claims)
    }
}

impl Store {
    /// Nothing came of a compaction. Not at once again: it is a large file for a disk, or a thread, that has just failed.
    fn put_off(&mut self, failed: UnderWay) {
        self.journal_bytes += failed.journal_bytes;
        self.sole = false;
        self.compact_at = self.journal_bytes.saturating_add(limit(self.snapshot_bytes) / 4);
    }

    fn covered_up_to(&mut self, number: u64, compacted: &Compacted, bytes: u64) {
        self.known.whole(number, &compacted.state);
        if !self.needs_whole && self.last == number {
            self.pending.clear();
            self.behind = false;
        }
        self.has_whole(number, bytes);
    }
}
