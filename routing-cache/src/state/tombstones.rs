//! Apps that were deleted, with the rev that may not come back (spec/orchestrator-api.md, rule 4).

use super::ids::IdMap;
use crate::model::{AppId, Rev};

/// Tombstones kept at most; beyond it those of the lowest revs are dropped. As many as a table has apps at most
/// (`snapshot_apps`).
pub const MAX_TOMBSTONES: usize = 2_000_000;

/// The part of them that is dropped at once when there are too many, so that the looking for them is rare.
const DROPPED_PART: usize = 16;

/// See the module. Cloning is cheap, also when much is buried, and so is a change after it.
#[derive(Clone, Debug, Default)]
pub struct Tombstones {
    all: IdMap<Rev>,
    dropped: u64,
}

impl Tombstones {
    /// The rev up to which the app may not come back.
    #[must_use]
    pub fn of(&self, id: &str) -> Option<Rev> {
        self.all.get(id).copied()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// True when there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.all.len() == 0
    }

    /// How many were dropped, there being too many, since this process began with them.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// All, by id.
    pub fn iter(&self) -> impl Iterator<Item = (&AppId, Rev)> {
        self.all.iter().map(|(id, rev)| (id, *rev))
    }

    /// Sets a tombstone; a higher one stays.
    pub fn bury(&mut self, id: AppId, rev: Rev) {
        self.bury_within(MAX_TOMBSTONES, id, rev);
    }

    /// Takes a tombstone away.
    pub fn unbury(&mut self, id: &AppId) {
        self.all.remove(id.as_str());
    }

    /// Takes all away (a new epoch).
    pub fn clear(&mut self) {
        self.all = IdMap::default();
    }

    fn bury_within(&mut self, limit: usize, id: AppId, rev: Rev) {
        if self.of(id.as_str()).is_none_or(|there| there < rev) {
            self.all.insert(id, rev);
        }
        if self.all.len() > limit {
            self.drop_lowest((limit / DROPPED_PART).max(1));
        }
    }

    /// Which go follows from what there is alone, so that a journal that is read again leads to the same.
    fn drop_lowest(&mut self, count: usize) {
        let mut by_rev: Vec<(Rev, &AppId)> = self.all.iter().map(|(id, rev)| (*rev, id)).collect();
        let Some(at) = count.checked_sub(1).filter(|at| *at < by_rev.len()) else { return };
        let (rev, id) = by_rev.select_nth_unstable(at).1;
        let last = (*rev, id.clone());
        self.all.retain(|id, rev| (*rev, id) > (last.0, &last.1));
        self.dropped = self.dropped.saturating_add(count as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u64) -> AppId {
        AppId::new(&format!("app-{n}")).unwrap()
    }

    #[test]
    fn a_tombstone_only_grows_until_it_is_taken_away() {
        let mut tombstones = Tombstones::default();
        for (rev, is) in [(5, 5), (3, 5), (9, 9)] {
            tombstones.bury(id(1), Rev(rev));
            assert_eq!(tombstones.of("app-1"), Some(Rev(is)));
        }
        tombstones.unbury(&id(1));
        assert!(tombstones.is_empty());
    }

    #[test]
    fn of_too_many_those_of_the_lowest_revs_are_dropped_and_counted() {
        let (mut tombstones, limit) = (Tombstones::default(), 64);
        for n in 0..65 {
            tombstones.bury_within(limit, id(n), Rev(1000 - n));
        }
        assert_eq!((tombstones.len(), tombstones.dropped()), (61, 4));
        assert_eq!(tombstones.of("app-61"), None);
        assert_eq!(tombstones.of("app-60"), Some(Rev(940)));
    }

    #[test]
    fn of_too_many_with_one_rev_only_some_are_dropped() {
        let mut tombstones = Tombstones::default();
        (0..65).for_each(|n| tombstones.bury_within(64, id(n), Rev(7)));
        assert_eq!(tombstones.len(), 61);
    }
}
