//! What has changed from one table to another.

use std::sync::Arc;

use crate::model::{AppId, Record};

use super::{Table, list::First};

/// What has changed: of each kind the first few ids, sorted, and how many there are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diff {
    /// Apps that were not there before.
    pub added: Vec<AppId>,
    /// Apps that are not there any more.
    pub removed: Vec<AppId>,
    /// Apps of another rev or document.
    pub changed: Vec<AppId>,
    /// How many were added.
    pub added_total: u64,
    /// How many were removed.
    pub removed_total: u64,
    /// How many have changed.
    pub changed_total: u64,
}

/// One kind of change.
struct Found<'a> {
    first: First<'a>,
    total: u64,
}

/// What has changed from `before` to `after`, with at most `limit` ids of each kind. Of two tables above the same base it
/// looks only at what lies above it.
#[must_use]
pub fn diff(before: &Table, after: &Table, limit: usize) -> Diff {
    let [mut added, mut removed, mut changed] = [(); 3].map(|()| Found { first: First::new(limit), total: 0 });
    for was in candidates(before, after) {
        match after.app(was.id()) {
            None => removed.add(was),
            Some(is) if is != was => changed.add(is),
            Some(_) => {}
        }
    }
    for is in candidates(after, before).filter(|is| before.app(is.id()).is_none()) {
        added.add(is);
    }
    let [added_total, removed_total, changed_total] = [&added, &removed, &changed].map(|found| found.total);
    let [added, removed, changed] = [added, removed, changed].map(Found::into_ids);
    Diff { added, removed, changed, added_total, removed_total, changed_total }
}

/// The apps of `table` that may differ from those of `other`, none twice.
fn candidates<'a>(table: &'a Table, other: &'a Table) -> Box<dyn Iterator<Item = Record<'a>> + 'a> {
    if !Arc::ptr_eq(&table.base, &other.base) {
        return Box::new(table.iter());
    }
    let overlaid = |of: &'a Table| of.overlay.apps_from(0).filter_map(|(_, now)| now.record(&of.base));
    let only_there = overlaid(other).filter(|record| {
        let id = record.id_bytes();
        table.overlay.app(table.base.hash().of(id), id, &table.base).is_none()
    });
    Box::new(overlaid(table).chain(only_there).filter_map(|record| table.app(record.id())))
}

impl<'a> Found<'a> {
    fn add(&mut self, app: Record<'a>) {
        self.total += 1;
        self.first.offer(app);
    }

    fn into_ids(self) -> Vec<AppId> {
        self.first.into_sorted().into_iter().map(Record::app_id).collect()
    }
}
