//! A table read through: all of it, bit by bit, by pages, by size.

use std::{
    cmp::{Ordering, Reverse},
    collections::BinaryHeap,
};

use crate::model::Record;

use super::{Now, Table, overlay::Overlay};

/// Where a walk over a table stands. It goes on where it stood only over the same table or a clone of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Walk {
    /// In the records of the base.
    base: usize,
    /// In the overlay: which leaf, and how many of its apps were seen.
    leaf: usize,
    seen: usize,
}

impl Table {
    /// All apps, in no order.
    pub fn iter(&self) -> impl Iterator<Item = Record<'_>> {
        self.base_from(0).map(|(_, record)| record).chain(put(&self.overlay, 0).map(|(_, record)| record))
    }

    /// Apps from where `from` stands, in no order, until they are `bytes` or more, at least one; and where to go on, if
    /// there is more. So a table can be written out bit by bit by whoever holds it. To go on costs nothing.
    #[must_use]
    pub fn walk(&self, from: Walk, bytes: usize) -> (Vec<Record<'_>>, Option<Walk>) {
        let (mut found, mut size) = (Vec::new(), 0);
        for (offset, record) in self.base_from(from.base) {
            if size >= bytes.max(1) {
                return (found, Some(Walk { base: offset, ..from }));
            }
            size += record.as_bytes().len();
            found.push(record);
        }
        let mut at = Walk { base: self.base.records().len(), ..from };
        for (leaf, record) in put(&self.overlay, from.leaf).skip(from.seen) {
            at = if leaf == at.leaf { at } else { Walk { leaf, seen: 0, ..at } };
            if size >= bytes.max(1) {
                return (found, Some(at));
            }
            at.seen += 1;
            size += record.as_bytes().len();
            found.push(record);
        }
        (found, None)
    }

    /// At most `limit` apps with ids after `after`, sorted by id. It looks at every app and keeps `limit`: for people.
    #[must_use]
    pub fn page(&self, after: Option<&str>, limit: usize) -> Vec<Record<'_>> {
        let mut first = First::new(limit);
        let after = after.map(str::as_bytes);
        for app in self.iter().filter(|app| after.is_none_or(|after| app.id_bytes() > after)) {
            first.offer(app);
        }
        first.into_sorted()
    }

    /// The apps with the largest documents, largest first. It looks at what has changed and at the largest of the base;
    /// at all of the base only where those do not tell.
    #[must_use]
    pub fn largest(&self, count: usize) -> Vec<Record<'_>> {
        let size = |record: &Record<'_>| record.document().len();
        // No other app of the base is larger than the last of these.
        let (known, least) = self.base.largest().fold((0, 0), |(known, _), record| (known + 1, size(&record)));
        let known_all = known == self.base.head().apps;
        let of_base = self.base.largest().filter(|record| self.is_of_base(*record));
        let mut found: Vec<Record<'_>> = of_base.chain(put(&self.overlay, 0).map(|(_, record)| record)).collect();
        found.sort_by_key(|record| Reverse(size(record)));
        if !known_all && count > 0 && found.get(count - 1).is_none_or(|last| size(last) < least) {
            found = self.iter().collect();
            found.sort_by_key(|record| Reverse(size(record)));
        }
        found.truncate(count);
        found
    }

    /// The records of the base that are still right, each with its offset, from an offset on.
    fn base_from(&self, offset: usize) -> impl Iterator<Item = (usize, Record<'_>)> {
        self.base.records_from(offset).filter(|(_, record)| self.is_of_base(*record))
    }

    /// Whether nothing has become of a record of the base.
    fn is_of_base(&self, record: Record<'_>) -> bool {
        self.is_flat() || {
            let id = record.id_bytes();
            self.overlay.app(self.base.hash().of(id), id, &self.base).is_none()
        }
    }
}

/// The apps that stand above the base, each with its leaf.
fn put(overlay: &Overlay, leaf: usize) -> impl Iterator<Item = (usize, Record<'_>)> {
    overlay.apps_from(leaf).filter_map(|(leaf, now)| match now {
        Now::Put(record) => Some((leaf, record.get())),
        Now::Gone(_) => None,
    })
}

/// The first so many by id of those that are offered.
pub(super) struct First<'a> {
    limit: usize,
    found: BinaryHeap<ById<'a>>,
}

impl<'a> First<'a> {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, found: BinaryHeap::new() }
    }

    pub(super) fn offer(&mut self, app: Record<'a>) {
        let full = self.found.len() >= self.limit;
        if full && self.found.peek().is_none_or(|last| last.0.id_bytes() <= app.id_bytes()) {
            return;
        }
        if full {
            self.found.pop();
        }
        self.found.push(ById(app));
    }

    pub(super) fn into_sorted(self) -> Vec<Record<'a>> {
        self.found.into_sorted_vec().into_iter().map(|app| app.0).collect()
    }
}

/// An app in the order of its id.
struct ById<'a>(Record<'a>);

impl Ord for ById<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.id_bytes().cmp(other.0.id_bytes())
    }
}

impl PartialOrd for ById<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for ById<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for ById<'_> {}
