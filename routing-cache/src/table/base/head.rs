//! What is to be known before the parts of a base come, as numbers and as bytes.

use crate::model::Digest;

use super::{BaseError, IndexName};

/// Documents whose places a head names: more than anybody asks for, so that there are enough after some have changed.
pub(in crate::table) const LARGEST: usize = 16;

/// What is to be known before the parts of a base come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BaseHead {
    /// Of the hash of the indexes.
    pub seed: u64,
    /// What the hash made of fixed texts: another version's hash may differ, and then the indexes are made anew.
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
    /// Where the records of the largest documents stand, largest first: one more than a place; 0 where there is none.
    pub largest: [u32; LARGEST],
}

impl BaseHead {
    /// Bytes of a head. There is room for later fields, which are zero where a version does not know them.
    pub const BYTES: usize = 256;

    /// As bytes: each number little-endian and at its place for ever.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; Self::BYTES] {
        let Self { seed, check, apps, exact, wildcard, endpoints, documents, records, buckets, .. } = *self;
        let [by_app, by_host, by_wildcard] = buckets;
        let numbers = [seed, check, apps, exact, wildcard, endpoints, documents, records, by_app, by_host, by_wildcard];
        let numbers = numbers.into_iter().flat_map(u64::to_le_bytes);
        let all = numbers.chain(self.digest.0.to_le_bytes()).chain(self.largest.into_iter().flat_map(u32::to_le_bytes));
        let mut bytes = [0; Self::BYTES];
        bytes.iter_mut().zip(all).for_each(|(to, from)| *to = from);
        bytes
    }

    /// From its bytes. Another version's head may be shorter or longer: what is missing is zero, what is not known is
    /// passed over.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let mut rest = bytes.iter().copied();
        let mut next = || u64::from_le_bytes(take(&mut rest));
        Self {
            seed: next(),
            check: next(),
            apps: next(),
            exact: next(),
            wildcard: next(),
            endpoints: next(),
            documents: next(),
            records: next(),
            buckets: [next(), next(), next()],
            digest: Digest(u128::from_le_bytes(take(&mut rest))),
            largest: std::array::from_fn(|_| u32::from_le_bytes(take(&mut rest))),
        }
    }

    /// The number of buckets of an index, and of its entries.
    pub(super) fn index(&self, index: IndexName) -> (u64, u64) {
        let [apps, exact, wildcard] = self.buckets;
        match index {
            IndexName::Apps => (apps, self.apps),
            IndexName::Exact => (exact, self.exact),
            IndexName::Wildcard => (wildcard, self.wildcard),
        }
    }

    /// Refuses numbers that cannot be those of a base.
    pub(super) fn check_numbers(&self) -> Result<(), BaseError> {
        if self.records > super::MAX_RECORDS_BYTES {
            return Err(BaseError(format!("{} bytes of records are more than an index can name", self.records)));
        }
        for index in IndexName::ALL {
            let (buckets, entries) = self.index(index);
            if buckets < entries.div_ceil(BUCKET_ENTRIES) || buckets > entries.saturating_add(1) {
                return Err(BaseError(format!("{buckets} buckets do not fit an index of {entries} entries")));
            }
        }
        Ok(())
    }
}

/// Entries a bucket has at most.
const BUCKET_ENTRIES: u64 = 12;

fn take<const N: usize>(rest: &mut impl Iterator<Item = u8>) -> [u8; N] {
    std::array::from_fn(|_| rest.next().unwrap_or_default())
}
