//! What changed, in the order of generations; bounded in number and age.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Bound,
    time::Duration,
};

use routing_cache::model::{AppId, Digest, Generation};

/// Changes kept: more is no cheaper to catch up with than by a snapshot.
pub(super) const MAX_CHANGES: usize = 100_000;
/// How long a change is kept. Source: spec/orchestrator-api.md, GET /v1/changes.
pub(super) const KEPT_FOR: Duration = Duration::from_secs(24 * 3600);

/// One change, and the whole table after it.
#[derive(Clone, Debug)]
pub(super) struct Change {
    pub(super) app: AppId,
    pub(super) at: Duration,
    pub(super) apps: u64,
    pub(super) digest: Digest,
}

/// The last change of every app that changed lately.
#[derive(Clone, Debug)]
pub(super) struct Log {
    changes: BTreeMap<Generation, Change>,
    latest: HashMap<AppId, Generation>,
    /// What follows on a generation below this is not known any more.
    floor: Generation,
}

impl Log {
    /// Nothing has changed since `floor`.
    pub(super) fn new(floor: Generation) -> Self {
        Self { changes: BTreeMap::new(), latest: HashMap::new(), floor }
    }

    pub(super) fn floor(&self) -> Generation {
        self.floor
    }

    /// The changes that follow on `since`.
    pub(super) fn after(&self, since: Generation) -> impl Iterator<Item = (Generation, &Change)> {
        self.changes.range((Bound::Excluded(since), Bound::Unbounded)).map(|(generation, change)| (*generation, change))
    }

    /// Adds a change; an earlier one of the same app is no longer needed.
    pub(super) fn note(&mut self, generation: Generation, change: Change) {
        if let Some(before) = self.latest.insert(change.app.clone(), generation) {
            self.changes.remove(&before);
        }
        self.changes.insert(generation, change);
    }

    /// Forgets what is too much or too old.
    pub(super) fn trim(&mut self, now: Duration) {
        while let Some(first) = self.changes.first_entry() {
            let old = now.saturating_sub(first.get().at) > KEPT_FOR;
            if !old && self.latest.len() <= MAX_CHANGES {
                return;
            }
            let (generation, change) = first.remove_entry();
            self.latest.remove(&change.app);
            self.floor = generation;
        }
    }
}
