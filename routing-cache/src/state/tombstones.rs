//! Apps that were deleted, with the rev that may not come back (spec/orchestrator-api.md, rule 4).

use std::{collections::BTreeMap, sync::Arc};

use crate::model::{AppId, Rev};

/// Tombstones kept at most; beyond it those of the lowest revs are dropped. As many as a table has apps at most
/// (`snapshot_apps`).
pub const MAX_TOMBSTONES: usize = 2_000_000;

/// See the module. Cloning is cheap.
#[derive(Clone, Debug, Default)]
pub struct Tombstones(Arc<BTreeMap<AppId, Rev>>);

impl Tombstones {
    /// The rev up to which the app may not come back.
    #[must_use]
    pub fn of(&self, id: &str) -> Option<Rev> {
        self.0.get(id).copied()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True when there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All, by id.
    pub fn iter(&self) -> impl Iterator<Item = (&AppId, Rev)> {
        self.0.iter().map(|(id, rev)| (id, *rev))
    }

    /// Sets a tombstone; a higher one stays.
    pub fn bury(&mut self, id: AppId, rev: Rev) {
        let all = Arc::make_mut(&mut self.0);
        let there = all.entry(id).or_default();
        *there = rev.max(*there);
    }

    /// Takes a tombstone away.
    pub fn unbury(&mut self, id: &AppId) {
        if self.0.contains_key(id) {
            Arc::make_mut(&mut self.0).remove(id);
        }
    }
}
