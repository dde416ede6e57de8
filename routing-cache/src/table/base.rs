//! The flat part of a table: records one after the other, and indexes from id and host to where a record is.
//!
//! It is never changed. It is written to disk as it is, and read back as it is.

use foldhash::quality::RandomState;

use crate::model::{Digest, Record};

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

/// A cache line of an index.
pub type Bucket = [u8; 64];

/// What is to be known before the parts of a base come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BaseHead {
    /// Of the hash of the indexes.
    pub seed: u64,
    /// What the hash made of a fixed text: another version's hash may differ, and then the indexes are made anew.
    pub check: u64,
    /// Apps.
    pub apps: u64,
    /// Exact hosts.
    pub exact: u64,
    /// Wildcards.
    pub wildcard: u64,
    /// Endpoints over all apps.
    pub endpoints: u64,
    /// Bytes of all documents.
    pub documents: u64,
    /// The digest over all apps.
    pub digest: Digest,
    /// Bytes of the records.
    pub records: u64,
    /// Buckets of the indexes, in the order of [`IndexName`].
    pub buckets: [u64; 3],
}

/// Parts that are no base.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BaseError(pub String);

/// See the module.
#[derive(Debug, Default)]
pub struct Base {
    head: BaseHead,
    records: Vec<u8>,
}

impl Base {
    /// A base of these apps, which claim no host twice.
    #[must_use]
    pub fn build<'a>(apps: impl Iterator<Item = Record<'a>>) -> Self {
        let mut base = Self::default();
        let _ = RandomState::default();
        for record in apps {
            base.records.extend_from_slice(record.as_bytes());
            base.head.apps += 1;
        }
        base.head.records = base.records.len() as u64;
        base
    }

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

    /// An index.
    #[must_use]
    pub fn buckets(&self, _index: IndexName) -> &[Bucket] {
        &[]
    }

    /// All apps.
    pub fn iter(&self) -> impl Iterator<Item = Record<'_>> {
        let mut at = 0;
        std::iter::from_fn(move || {
            let record = Record::at(&self.records, at)?;
            at += record.as_bytes().len();
            Some(record)
        })
    }

    /// Bytes of memory it takes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.records.capacity()
    }
}

/// Puts a base together from its parts, as they come from a file whose checksums are verified.
#[derive(Debug)]
pub struct BaseLoader {
    base: Base,
}

impl BaseLoader {
    /// Makes room.
    ///
    /// # Errors
    /// When the head cannot be one.
    pub fn new(head: BaseHead) -> Result<Self, BaseError> {
        Ok(Self { base: Base { head, records: Vec::new() } })
    }

    /// Where the records go; the file's reader appends to it.
    pub fn records(&mut self) -> &mut Vec<u8> {
        &mut self.base.records
    }

    /// Takes whole buckets of an index, in their order.
    ///
    /// # Errors
    /// When it is no whole number of buckets, or more than the head says.
    pub fn buckets(&mut self, _index: IndexName, _bytes: &[u8]) -> Result<(), BaseError> {
        Ok(())
    }

    /// The base.
    ///
    /// # Errors
    /// When the parts do not fit the head.
    pub fn finish(self) -> Result<Base, BaseError> {
        if self.base.records.len() as u64 == self.base.head.records {
            Ok(self.base)
        } else {
            Err(BaseError("the records are cut short".into()))
        }
    }
}
