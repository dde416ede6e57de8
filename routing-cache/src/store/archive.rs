//! What is kept, to be looked at and to go back to.

use std::collections::HashSet;

use crate::{
    model::{Epoch, Generation},
    state::State,
};

use super::{
    Kept, LoadError,
    folder::{Files, Folder},
    known::{Entry, Inner, Known},
    names::{Kind, Name},
    replay::{NotLoaded, Restore, Restored},
};

/// Generations named at most.
const MAX_HISTORY: usize = 1_000;

/// Reads what the store keeps, beside it and without its lock. What the store removes meanwhile is an error, and no more.
#[derive(Clone, Debug)]
pub struct Archive {
    folder: Folder,
    known: Known,
}

impl Archive {
    pub(super) fn new(folder: Folder, known: Known) -> Self {
        Self { folder, known }
    }

    /// The generations kept, newest first, at most a thousand. Where the store was not told what changes made of the table
    /// ([`super::Store::note`]) they are read and brought about anew, which takes the time and memory of a start.
    #[must_use]
    pub fn history(&self) -> Vec<Kept> {
        let files = self.files();
        self.learn(&files);
        let known = self.known.get();
        let oldest = files.live(Kind::Snapshot).next().unwrap_or_default();
        let kept = known.states.range(oldest..).rev();
        let (mut history, mut seen) = (Vec::new(), HashSet::new());
        for (number, Entry { provenance, table }) in kept {
            let generation = (provenance.epoch.clone(), provenance.generation);
            let Some((apps, digest)) = *table else { continue };
            let whole = files.live(Kind::Snapshot).find(|snapshot| snapshot == number);
            let whole = whole.map(|number| Name::snapshot(number).to_string());
            if !seen.insert(generation) {
                // A later state of the same generation is there; that an earlier one is whole is no news.
                continue;
            }
            history.push(Kept {
                generation: provenance.generation,
                epoch: provenance.epoch.clone(),
                sequence: *number,
                at: provenance.received_at,
                apps,
                digest,
                source: provenance.source,
                whole,
            });
            if history.len() >= MAX_HISTORY {
                break;
            }
        }
        history
    }

    /// A kept generation, as it was last; where no epoch is named, the newest of that number.
    ///
    /// # Errors
    /// When it is not kept, or cannot be read.
    pub fn load(&self, generation: Generation, epoch: Option<&Epoch>) -> Result<State, LoadError> {
        let files = self.files();
        self.learn(&files);
        let not_kept = || LoadError::NotKept { generation, epoch: epoch.cloned() };
        let wanted = |entry: &Entry| {
            let of_epoch = epoch.is_none_or(|epoch| entry.provenance.epoch.as_ref() == Some(epoch));
            entry.provenance.generation == generation && of_epoch
        };
        let target = {
            let known = self.known.get();
            known.states.iter().rev().find(|(_, entry)| wanted(entry)).map(|(number, _)| *number)
        };
        let target = target.ok_or_else(not_kept)?;
        let restored = self.restore(&files, target);
        match restored.state {
            Some(state) if restored.last == target => Ok(state),
            _ => Err(unreadable(target, &restored).unwrap_or_else(not_kept)),
        }
    }

    fn files(&self) -> Files {
        Files::list(&*self.folder.disk, &self.folder.path).unwrap_or_default()
    }

    fn restore(&self, files: &Files, upto: u64) -> Restored {
        let restore =
            Restore { disk: &*self.folder.disk, folder: &self.folder.path, files, upto: Some(upto), thin: false };
        restore.run(&mut |_, _| {})
    }

    /// Reads what is not known of the states kept.
    fn learn(&self, files: &Files) {
        let Some(oldest) = files.live(Kind::Snapshot).next() else { return };
        if self.known.get().is_complete(oldest) {
            return;
        }
        let mut found = Vec::new();
        let mut snapshots: Vec<u64> = files.live(Kind::Snapshot).collect();
        snapshots.push(u64::MAX);
        for pair in snapshots.windows(2) {
            let &[_, next] = pair else { continue };
            let upto = Some(next.saturating_sub(1));
            let restore = Restore { disk: &*self.folder.disk, folder: &self.folder.path, files, upto, thin: false };
            restore.run(&mut |number, state| found.push((number, Entry::of(state))));
        }
        let mut known = self.known.get();
        for (number, entry) in found {
            known.put(number, entry);
        }
        known.from = Some(known.from.unwrap_or(oldest).min(oldest));
    }
}

impl Inner {
    /// Whether enough is known of what is kept since `oldest`.
    fn is_complete(&self, oldest: u64) -> bool {
        let all = self.from.is_some_and(|from| from <= oldest);
        let mut newest = self.states.range(oldest..).rev().take(if all { usize::MAX } else { MAX_HISTORY });
        let enough = all || self.states.len() >= MAX_HISTORY;
        enough && newest.all(|(_, entry)| entry.table.is_some())
    }
}

fn unreadable(target: u64, restored: &Restored) -> Option<LoadError> {
    let passed = restored.passed.first().map(|(number, why)| {
        let why = match why {
            NotLoaded::Gone => "was removed meanwhile".to_owned(),
            NotLoaded::Left(why) | NotLoaded::Damaged(_, why) => why.clone(),
        };
        (Name::snapshot(*number), why)
    });
    let unread = || {
        let segment = restored.segments.iter().find_map(|segment| Some((segment.number, segment.unread.clone()?)));
        segment.map(|(number, why)| (Name::journal(number), why))
    };
    let short = || restored.state.as_ref().map(|_| (Name::journal(target), "is missing or not whole".to_owned()));
    passed.or_else(unread).or_else(short).map(|(file, why)| LoadError::Unreadable { file: file.to_string(), why })
}
