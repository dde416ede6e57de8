//! A commit: save, then swap. And what is kept beside it: the flat base, the tables that readers still have, the sizes.

use std::{collections::HashSet, sync::Arc};

use super::{Sizes, Summary, Updater, draft::Draft};
use crate::{
    live::Published,
    model::{AppId, Now, Record},
    state::{Change, Meta, Op, State},
    store::{Archive, Compacted, Compaction, SaveError},
    table::{Base, Table},
};

/// Published tables kept at most until the last reader has let go of them, so that they are dropped here and not by a
/// thread that serves requests.
const MAX_RETIRED: usize = 16;

/// Apps that may change while a base is made; beyond it the base is made anew.
const MAX_CHANGED: usize = if cfg!(test) { 16 } else { 500_000 };

/// Apps named as the largest.
const LARGEST: usize = 5;

/// In debug builds a commit of so few apps is counted anew.
const MAX_RECOUNTED: usize = 4096;

/// A base is being made.
#[derive(Debug, Default)]
pub(super) struct Compacting {
    /// What has changed since it was begun.
    changed: HashSet<AppId>,
    /// Too much: it is of no use any more.
    given_up: bool,
}

/// The apps with the largest documents, while they are known.
#[derive(Debug, Default)]
pub(super) struct Largest(Option<Vec<(AppId, u64)>>);

impl Updater {
    /// The one way by which an update is published: save, then swap.
    pub(super) fn commit(&mut self, mut draft: Draft, now: Now) -> Summary {
        let few = draft.work.table.len() <= MAX_RECOUNTED;
        debug_assert!(!few || draft.is_sound(), "count and digest of what was received follow from what is kept of it");
        self.remember_hour(&mut draft.work, now);
        let steps = draft.whole || !draft.ops.is_empty() || draft.moves();
        let worth_saving = steps || differ(&draft.before.meta, &draft.work.meta) || self.store.is_behind();
        let change = draft.change();
        self.follow(change.as_ref());
        let Draft { work, mut summary, .. } = draft;
        if summary.changes_table() {
            self.poisoned = None;
        }
        self.state = work;
        if worth_saving {
            self.save(change.as_ref(), now);
        }
        self.publish();
        summary.saved = !self.saved.unsaved;
        summary
    }

    /// Another state takes the place of this one: by an operator, so the guard's hour begins anew.
    pub(super) fn replace(&mut self, mut next: State, now: Now) -> Summary {
        let mut summary = compared(&self.state.table, &next.table);
        self.guard.restart();
        self.remember_hour(&mut next, now);
        self.follow(None);
        (self.drifted, self.poisoned) = (false, None);
        self.state = next;
        self.save(None, now);
        self.publish();
        summary.saved = !self.saved.unsaved;
        summary
    }

    /// Changes nothing but the meta.
    pub(super) fn amend(&mut self, meta: Meta, now: Now) {
        let change = Change::of(meta);
        self.state.meta = change.meta.clone();
        self.save(Some(&change), now);
    }

    fn remember_hour(&mut self, state: &mut State, now: Now) {
        self.guard.saw(state.table.len() as u64, now.wall);
        (state.meta.window, state.meta.hour_max) = self.guard.to_save(now.wall);
    }

    /// `None`: whole.
    fn save(&mut self, change: Option<&Change>, now: Now) {
        let result = match change.map(|change| self.store.append(change)) {
            None | Some(Err(SaveError::NeedsWhole | SaveError::TooLarge { .. })) => {
                let result = self.store.save(&self.state).map(drop);
                self.saves.whole.count(&result);
                result
            }
            Some(result) => {
                self.saves.appended.count(&result);
                result
            }
        };
        self.store.note(&self.state);
        self.note_saved(result, now);
    }

    fn note_saved(&mut self, result: Result<(), SaveError>, now: Now) {
        match result {
            Ok(()) => {
                self.saved.generation = self.state.generation();
                (self.saved.at, self.saved.error) = (now.wall, None);
            }
            Err(error) => self.saved.error = Some(error.to_string()),
        }
        self.saved.unsaved = self.saved.error.is_some() || self.store.is_behind();
        self.saved.bytes = self.store.bytes();
    }

    /// Saves again after a failed save. True when nothing is unsaved.
    pub fn retry_save(&mut self, now: Now) -> bool {
        if self.has_table() && (self.saved.unsaved || self.saved.error.is_some()) {
            // A folder that could not be written at start, and nothing has changed since: only a save tells.
            let untried = !self.store.is_behind() && self.store.unwritable().is_some();
            let result = if untried { self.store.save(&self.state).map(drop) } else { self.store.retry(&self.state) };
            self.saves.retried.count(&result);
            self.note_saved(result, now);
        }
        self.drop_retired();
        !self.saved.unsaved
    }

    pub(super) fn publish(&mut self) {
        let (table, provenance) = (self.state.table.clone(), self.state.meta.provenance.clone());
        let before = self.writer.publish(Arc::new(Published { table, provenance }));
        self.retired.push(before);
        if self.retired.len() > MAX_RETIRED {
            self.drop_retired();
        }
    }

    /// Drops tables that no reader has any more; the oldest in any case where there are too many. To be called after an
    /// update, once nobody waits for its outcome.
    pub fn drop_retired(&mut self) {
        let too_many = self.retired.len().saturating_sub(MAX_RETIRED);
        self.retired.drain(..too_many);
        self.retired.retain(|published| Arc::strong_count(published) > 1);
    }

    /// What hangs on which apps change. `None`: any may have.
    fn follow(&mut self, change: Option<&Change>) {
        match change {
            Some(change) => {
                change.ops.iter().for_each(|op| self.largest.follow(op));
                self.compacting.iter_mut().for_each(|compacting| compacting.follow(&change.ops));
                self.is_proven &= change.ops.iter().all(|op| changed(op).is_none());
            }
            None => {
                self.largest = Largest::default();
                self.compacting.iter_mut().for_each(Compacting::give_up);
                self.is_proven = false;
            }
        }
    }

    /// A reader of what is kept on disk.
    #[must_use]
    pub fn archive(&self) -> Archive {
        self.store.archive()
    }

    /// A snapshot that is due, to be made on another thread and given to [`Updater::compacted`]. At most one is under way.
    pub fn compaction(&mut self) -> Option<Compaction> {
        if self.compacting.is_some() || !self.has_table() || !self.store.wants_compaction(&self.state.table) {
            return None;
        }
        Some(self.begin_compaction())
    }

    pub(super) fn begin_compaction(&mut self) -> Compaction {
        self.compacting = Some(Compacting::default());
        self.store.begin_compaction(self.state.clone())
    }

    /// Takes what came of [`Updater::compaction`]: the file into the store, the flat base below the table. What is served
    /// stays the same.
    pub fn compacted(&mut self, compacted: Compacted, _now: Now) {
        let Some(compacting) = self.compacting.take() else { return };
        if let Err(error) = self.store.finish_compaction(&compacted) {
            self.saved.error = Some(error.to_string());
        }
        self.saved.bytes = self.store.bytes();
        if !compacting.given_up {
            self.state.table = self.state.table.rebased(compacted.base, compacting.changed.iter());
            self.publish();
        }
    }

    /// Nothing will come of the compaction that is under way: what made it has broken. Another one is due later.
    pub fn compaction_broke(&mut self) {
        self.compacting = None;
        self.store.give_up_compaction();
    }

    /// To be called every second or so: notes when the table has lived long enough to be no poison, sees to a second
    /// snapshot where there is only one, and drops tables that no reader has any more.
    pub fn tick(&mut self, now: Now) {
        self.drop_retired();
        if self.has_table() && self.store.lacks_a_second() {
            self.amend(self.state.meta.clone(), now);
        }
        let since = self.proven_at.unwrap_or(self.booted_at);
        let lived = now.monotonic.saturating_sub(since) >= self.config.poison.within;
        if lived && !self.is_proven && self.has_table() && self.store.survived(&self.state).is_ok() {
            (self.is_proven, self.proven_at) = (true, Some(now.monotonic));
        }
    }

    /// An orderly end has begun: it is no crash.
    pub fn stopping(&mut self) {
        self.store.stopping();
    }

    /// What the table stands on.
    #[must_use]
    pub fn base(&self) -> &Arc<Base> {
        self.state.table.base()
    }

    /// The sizes that are watched. Looks at every app where the largest are not known any more.
    pub fn sizes(&mut self) -> Sizes {
        let table = &self.state.table;
        let largest = self.largest.0.get_or_insert_with(|| table.largest(LARGEST).into_iter().map(size).collect());
        Sizes { documents_bytes: table.document_bytes(), store_bytes: self.store.bytes(), largest: largest.clone() }
    }
}

impl Compacting {
    fn follow(&mut self, ops: &[Op]) {
        if !self.given_up {
            self.changed.extend(ops.iter().filter_map(changed));
        }
        if self.changed.len() > MAX_CHANGED {
            self.give_up();
        }
    }

    fn give_up(&mut self) {
        (self.given_up, self.changed) = (true, HashSet::new());
    }
}

impl Largest {
    fn follow(&mut self, op: &Op) {
        let Some(known) = &mut self.0 else { return };
        match op {
            // An op of another kind changes no app.
            Op::Put(app) => {
                let (id, bytes) = (app.get().id(), app.get().document().len() as u64);
                let before = known.iter().position(|(there, _)| there.as_str() == id).map(|at| known.remove(at).1);
                let least = known.last().map_or(0, |(_, bytes)| *bytes);
                if before.is_some_and(|before| before > bytes) || (before.is_none() && known.len() < LARGEST) {
                    self.0 = None;
                } else if bytes > least || before.is_some() {
                    known.push(size(app.get()));
                    known.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
                    known.truncate(LARGEST);
                }
            }
            Op::Remove(id) if known.iter().any(|(there, _)| there == id) => self.0 = None,
            _ => {}
        }
    }
}

fn size(app: Record<'_>) -> (AppId, u64) {
    (app.app_id(), app.document().len() as u64)
}

/// The app whose served version an op changes.
fn changed(op: &Op) -> Option<AppId> {
    match op {
        Op::Put(app) => Some(app.get().app_id()),
        Op::Remove(id) => Some(id.clone()),
        _ => None,
    }
}

/// Whether a meta is worth saving for itself. Times of confirmation, and an hour that only grows older, are not.
fn differ(before: &Meta, after: &Meta) -> bool {
    let key = |meta: &Meta| (meta.holding.clone(), meta.retired.clone(), meta.pin.clone(), meta.foreign);
    key(before) != key(after)
}

/// What makes one table of another.
fn compared(before: &Table, after: &Table) -> Summary {
    let mut summary = Summary::default();
    let mut there = 0;
    for app in after.iter() {
        match before.app(app.id()) {
            Some(old) => {
                there += 1;
                summary.updated += usize::from(old != app);
            }
            None => summary.added += 1,
        }
    }
    summary.removed = before.len().saturating_sub(there);
    summary
}
