//! The flat part of a table: records one after the other, and indexes from id and host to where a record is.
//!
//! It is never changed. It is written to disk as it is, and read back as it is. What was read is not trusted further than
//! its checksums go: a place that leads to no record leads nowhere, and nothing panics.
//!
//! A place is a record's offset in units of [`Record::ALIGN`], so 32 bits reach 16 GiB.

mod build;
mod head;
mod index;
mod load;
#[cfg(test)]
mod tests;

use std::io;

use crate::{
    memory,
    model::{HostRef, Record},
};

pub use head::BaseHead;
pub use index::Bucket;
pub use load::{BaseError, BaseLoader};

use super::hash::TableHash;
use index::Index;

/// Bytes of records a base holds at most: what 32 bits of a place reach.
pub const MAX_RECORDS_BYTES: u64 = Record::ALIGN as u64 * u32::MAX as u64;

/// Which index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IndexName {
    /// By app id.
    Apps,
    /// By exact host.
    Exact,
    /// By wildcard, without its `*.`.
    Wildcard,
}

impl IndexName {
    /// All, in their order.
    pub const ALL: [Self; 3] = [Self::Apps, Self::Exact, Self::Wildcard];
}

/// See the module.
#[derive(Debug)]
pub struct Base {
    head: BaseHead,
    hash: TableHash,
    records: Vec<u8>,
    apps: Index,
    exact: Index,
    wildcard: Index,
}

impl Default for Base {
    /// One without apps, of a seed of its own.
    fn default() -> Self {
        Self::unindexed(TableHash::random(), Vec::new())
    }
}

impl Base {
    /// What is to be known before the parts come.
    #[must_use]
    pub fn head(&self) -> BaseHead {
        self.head
    }

    /// The records.
    #[must_use]
    pub fn records(&self) -> &[u8] {
        &self.records
    }

    /// The buckets of an index; `as_flattened` makes bytes of them.
    #[must_use]
    pub fn buckets(&self, index: IndexName) -> &[Bucket] {
        self.index(index).buckets()
    }

    /// All apps.
    pub fn iter(&self) -> impl Iterator<Item = Record<'_>> {
        self.records_from(0).map(|(_, record)| record)
    }

    /// Bytes of memory it takes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.records.capacity() + IndexName::ALL.map(|index| self.index(index).bytes()).into_iter().sum::<usize>()
    }

    /// Has it laid out on huge pages, so that a look-up finds its way through memory faster; the memory is what it was.
    /// See [`memory::lay_on_huge_pages`]: for a thread that nobody waits for.
    ///
    /// # Errors
    /// Where the kernel cannot, for a part of it or all.
    pub fn lay_on_huge_pages(&self) -> io::Result<()> {
        let indexes = IndexName::ALL.map(|index| self.index(index).lay_on_huge_pages());
        indexes.into_iter().fold(memory::lay_on_huge_pages(&self.records), Result::and)
    }

    /// The hash of its indexes.
    pub(super) fn hash(&self) -> &TableHash {
        &self.hash
    }

    /// The record at a place.
    #[inline]
    pub(super) fn record(&self, place: u32) -> Option<Record<'_>> {
        Record::at(&self.records, place as usize * Record::ALIGN)
    }

    /// The app of this id, of which `hash` is the hash.
    pub(super) fn app(&self, hash: u64, id: &[u8]) -> Option<(u32, Record<'_>)> {
        self.apps.find(hash, |place| {
            let record = self.record(place).filter(|record| record.id_bytes() == id)?;
            Some((place, record))
        })
    }

    /// The app that claims this host, of whose name `hash` is the hash.
    #[inline]
    pub(super) fn owner(&self, hash: u64, host: HostRef<'_>) -> Option<(u32, Record<'_>)> {
        let index = if host.wildcard { &self.wildcard } else { &self.exact };
        index.find(hash, |place| {
            let record = self.record(place).filter(|record| record.claims(host))?;
            Some((place, record))
        })
    }

    /// The records from an offset on, each with its offset.
    pub(super) fn records_from(&self, offset: usize) -> impl Iterator<Item = (usize, Record<'_>)> {
        let mut next = offset;
        std::iter::from_fn(move || {
            let (at, record) = (next, Record::at(&self.records, next)?);
            next += record.as_bytes().len();
            Some((at, record))
        })
    }

    /// The records of the largest documents, largest first.
    pub(super) fn largest(&self) -> impl Iterator<Item = Record<'_>> {
        self.head.largest.iter().filter_map(|place| self.record(place.checked_sub(1)?))
    }

    fn index(&self, index: IndexName) -> &Index {
        match index {
            IndexName::Apps => &self.apps,
            IndexName::Exact => &self.exact,
            IndexName::Wildcard => &self.wildcard,
        }
    }

    fn index_mut(&mut self, index: IndexName) -> &mut Index {
        match index {
            IndexName::Apps => &mut self.apps,
            IndexName::Exact => &mut self.exact,
            IndexName::Wildcard => &mut self.wildcard,
        }
    }
}
