//! How a base is made of records: they are counted once and indexed once.

use std::hint::black_box;

use crate::model::{Digest, HostRef, Record};

use super::{
    super::HostTaken,
    Base, BaseHead, IndexName,
    head::LARGEST,
    index::{Index, buckets_for},
};
use crate::table::hash::TableHash;

/// Entries that are indexed together.
const BATCH: usize = 64;

impl Base {
    /// A base of these apps, which claim no host twice.
    #[must_use]
    pub fn build<'a>(apps: impl Iterator<Item = Record<'a>>) -> Self {
        let mut records = Vec::new();
        apps.for_each(|app| records.extend_from_slice(app.as_bytes()));
        records.shrink_to_fit();
        let digest = digest_of(&records);
        Self::of_table(records, digest)
    }

    /// Indexes records that are there. They are written one after the other, none of them of an app that was before.
    ///
    /// # Errors
    /// When two of them claim the same host. Of an app that is there twice, or that begins beyond
    /// [`MAX_RECORDS_BYTES`](super::MAX_RECORDS_BYTES), it says that it has its first host already.
    pub fn from_records(records: Vec<u8>) -> Result<Self, HostTaken> {
        let digest = digest_of(&records);
        Self::from_records_of(records, digest)
    }

    /// As [`Base::from_records`], for who knows the digest over all of them: computing it is most of the work.
    ///
    /// # Errors
    /// As there.
    pub fn from_records_of(records: Vec<u8>, digest: Digest) -> Result<Self, HostTaken> {
        let mut base = Self::unindexed(TableHash::random(), records);
        base.count(digest);
        base.index_all(true)?;
        Ok(base)
    }

    /// Of the records of a table, in which no host is claimed twice.
    pub(in crate::table) fn of_table(records: Vec<u8>, digest: Digest) -> Self {
        let mut base = Self::unindexed(TableHash::random(), records);
        base.count(digest);
        let indexed = base.index_all(false);
        debug_assert!(indexed.is_ok(), "{indexed:?}");
        base
    }

    /// Records without totals and indexes.
    pub(super) fn unindexed(hash: TableHash, records: Vec<u8>) -> Self {
        let head =
            BaseHead { seed: hash.seed(), check: hash.check(), records: records.len() as u64, ..BaseHead::default() };
        let [apps, exact, wildcard] = [(); 3].map(|()| Index::default());
        Self { head, hash, records, apps, exact, wildcard }
    }

    /// Everything in the head that the records say.
    pub(super) fn count(&mut self, digest: Digest) {
        let mut head = BaseHead { digest, ..Self::unindexed_head(&self.head) };
        let mut largest = Largest::default();
        for (offset, record) in self.records_from(0) {
            let document = record.document().len();
            head.apps += 1;
            head.endpoints += u64::from(record.endpoints());
            head.documents += document as u64;
            for (_, is_wildcard) in record.host_names() {
                head.wildcard += u64::from(is_wildcard);
                head.exact += u64::from(!is_wildcard);
            }
            largest.offer(document, offset);
        }
        head.buckets = [head.apps, head.exact, head.wildcard].map(buckets_for);
        head.largest = largest.places();
        self.head = head;
    }

    fn unindexed_head(head: &BaseHead) -> BaseHead {
        BaseHead { seed: head.seed, check: head.check, records: head.records, ..BaseHead::default() }
    }

    /// Makes the indexes anew; the head has the totals. Whether an app or a host is there twice is found out where
    /// `check` says so.
    pub(super) fn index_all(&mut self, check: bool) -> Result<(), HostTaken> {
        let mut indexes = self.head.buckets.map(|buckets| Index::empty(buckets as usize));
        let mut entries = Vec::with_capacity(BATCH);
        for (offset, record) in self.records_from(0) {
            let Ok(place) = u32::try_from(offset / Record::ALIGN) else { return Err(out_of_reach(record)) };
            entries.push(Entry { hash: self.hash.of(record.id_bytes()), place, of: IndexName::Apps, host: 0 });
            for (host, (name, wildcard)) in (0..).zip(record.host_names()) {
                let of = if wildcard { IndexName::Wildcard } else { IndexName::Exact };
                entries.push(Entry { hash: self.hash.of(name), place, of, host });
            }
            if entries.len() >= BATCH {
                self.index_batch(&mut indexes, &mut entries, check)?;
            }
        }
        self.index_batch(&mut indexes, &mut entries, check)?;
        [self.apps, self.exact, self.wildcard] = indexes;
        Ok(())
    }

    fn index_batch(&self, indexes: &mut [Index; 3], entries: &mut Vec<Entry>, check: bool) -> Result<(), HostTaken> {
        // Their buckets are all over memory: they are asked for together, so that the waits for them overlap.
        let [apps, exact, wildcard] = indexes;
        let touched = entries.iter().map(|entry| of_name(entry.of, [&*apps, &*exact, &*wildcard]).touch(entry.hash));
        black_box(touched.fold(0, |sum, byte| sum ^ byte));
        for entry in entries.drain(..) {
            let index = of_name(entry.of, [&mut *apps, &mut *exact, &mut *wildcard]);
            if check {
                self.check(index, &entry)?;
            }
            index.insert(entry.hash, entry.place);
        }
        Ok(())
    }

    /// Refuses an entry that is there. Two hosts of one app may look alike in an index: it takes nothing from itself.
    fn check(&self, index: &Index, entry: &Entry) -> Result<(), HostTaken> {
        let twice = index.find(entry.hash, |place| {
            if place == entry.place {
                return None;
            }
            let (there, record) = (self.record(place)?, self.record(entry.place)?);
            let host = record.hosts().nth(if entry.of == IndexName::Apps { 0 } else { entry.host })?;
            let same =
                if entry.of == IndexName::Apps { there.id_bytes() == record.id_bytes() } else { there.claims(host) };
            same.then_some((there, host))
        });
        twice.map_or(Ok(()), |(there, host)| Err(HostTaken { host: host.to_pattern(), owner: there.app_id() }))
    }
}

/// What is to be put into an index.
struct Entry {
    hash: u64,
    place: u32,
    of: IndexName,
    /// Which host of the record.
    host: usize,
}

fn of_name<T>(name: IndexName, [apps, exact, wildcard]: [T; 3]) -> T {
    match name {
        IndexName::Apps => apps,
        IndexName::Exact => exact,
        IndexName::Wildcard => wildcard,
    }
}

fn out_of_reach(record: Record<'_>) -> HostTaken {
    let host = record.hosts().next().unwrap_or(HostRef { name: "", wildcard: false });
    HostTaken { host: host.to_pattern(), owner: record.app_id() }
}

/// The digest over all records.
pub(super) fn digest_of(records: &[u8]) -> Digest {
    let mut offset = 0;
    let all = std::iter::from_fn(|| {
        let record = Record::at(records, offset)?;
        offset += record.as_bytes().len();
        Some(record)
    });
    all.fold(Digest::default(), |sum, record| sum.plus(record.digest()))
}

/// The largest documents so far.
#[derive(Default)]
struct Largest {
    /// Largest first, each with its offset.
    found: Vec<(usize, usize)>,
}

impl Largest {
    fn offer(&mut self, document: usize, offset: usize) {
        if self.found.len() >= LARGEST && self.found.last().is_some_and(|(least, _)| document <= *least) {
            return;
        }
        let at = self.found.partition_point(|(larger, _)| *larger >= document);
        self.found.insert(at, (document, offset));
        self.found.truncate(LARGEST);
    }

    fn places(&self) -> [u32; LARGEST] {
        let mut found = self.found.iter().map(|(_, offset)| u32::try_from(offset / Record::ALIGN + 1).unwrap_or(0));
        std::array::from_fn(|_| found.next().unwrap_or(0))
    }
}
