//! The apps of a snapshot, compact: a million of them cost their records and an index of four bytes each.
//!
//! Owns what "an app is there once" means, for valid and invalid apps alike, and the digest over all of them. It decides
//! nothing: two apps of one batch may claim the same host.

use std::{fmt, hash::BuildHasher};

use foldhash::fast::RandomState;
use hashbrown::{HashTable, hash_table::Entry};

use super::{DocumentError, Incoming, WireError, check_size, plain::PlainLine, write_record, write_simple};
use crate::{
    limits::Limits,
    model::{AppId, Digest, Record, Rev, app_digest},
};

/// Room in the index is made at once for no more apps than this, whatever an answer promises: 10 MiB.
const MAX_RESERVED_APPS: usize = 1 << 20;
/// Where records begin: a multiple of so many bytes, so that 31 bits of the index reach over 8 GiB.
const ALIGNMENT: usize = 4;
/// The bit of a place in the index that says that it is one of the invalid apps'.
const INVALID: u32 = 1 << 31;

/// Apps, none twice: the valid ones as records, the invalid ones apart.
#[derive(Default)]
pub struct Batch {
    /// One after the other, each beginning at a multiple of [`ALIGNMENT`]; what is between them is 0.
    records: Vec<u8>,
    valid: usize,
    invalid: Vec<InvalidApp>,
    /// Where each app is, by id: a record's offset divided by [`ALIGNMENT`], or, with [`INVALID`], a place in `invalid`.
    index: HashTable<u32>,
    /// Seeded at random: ids come from outside.
    hasher: RandomState,
    digest: Digest,
    bytes: u64,
    largest: u64,
}

/// An app whose document is invalid.
#[derive(Clone, Debug)]
pub struct InvalidApp {
    /// Its name.
    pub id: AppId,
    /// The document's number.
    pub rev: Rev,
    /// Its number in the digest.
    pub digest: Digest,
    /// Size of the document in bytes.
    pub bytes: usize,
    /// What is wrong with the document.
    pub error: DocumentError,
}

/// The app is there already.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("app {app} is there twice")]
pub struct Duplicate {
    /// Which one.
    pub app: AppId,
}

impl Batch {
    /// An empty batch with room for about so many apps; no more than a bound.
    #[must_use]
    pub fn with_capacity(apps: u64) -> Self {
        let apps = usize::try_from(apps).unwrap_or(usize::MAX).min(MAX_RESERVED_APPS);
        Self { index: HashTable::with_capacity(apps), ..Self::default() }
    }

    /// A batch of these apps.
    ///
    /// # Errors
    /// When an app is there twice.
    pub fn from_incoming(apps: impl IntoIterator<Item = Incoming>) -> Result<Self, Duplicate> {
        let mut batch = Self::default();
        for app in apps {
            batch.push(app)?;
        }
        Ok(batch)
    }

    /// Adds an app.
    ///
    /// # Errors
    /// When it is there already; then nothing has changed.
    pub fn push(&mut self, app: Incoming) -> Result<(), Duplicate> {
        let Incoming { id, rev, digest, bytes, app } = app;
        let named = Named { id: id.as_str(), rev, digest, bytes };
        self.add(&named, |records| app.map(|app| records.extend_from_slice(app.get().as_bytes())))
    }

    /// Adds the app that a document makes: as [`Incoming::read`] and [`Batch::push`], without a copy on the way.
    ///
    /// # Errors
    /// When it is there already; then nothing has changed.
    pub fn read(&mut self, id: &AppId, rev: Rev, document: &[u8], limits: &Limits) -> Result<(), Duplicate> {
        let id = id.as_str();
        let named = Named { id, rev, digest: app_digest(id, rev, document), bytes: document.len() };
        self.add(&named, |records| write_record(records, id, rev, document, limits))
    }

    /// Adds the app of a line, if nothing is wrong with it; false where something is, and nothing has changed: what
    /// that is, the general readers say.
    pub(super) fn read_line(&mut self, line: &PlainLine<'_>, limits: &Limits) -> bool {
        let &PlainLine { id, rev, document, ref simple } = line;
        if check_size(document, limits).is_err() {
            return false;
        }
        let named = Named { id, rev, digest: app_digest(id, rev, document), bytes: document.len() };
        let written = self.add_valid(&named, |records| match simple {
            Some(simple) => write_simple(records, id, rev, document, simple),
            None => write_record(records, id, rev, document, limits),
        });
        matches!(written, Ok(Ok(())))
    }

    fn add(
        &mut self,
        app: &Named<'_>,
        write: impl FnOnce(&mut Vec<u8>) -> Result<(), DocumentError>,
    ) -> Result<(), Duplicate> {
        if let Err(error) = self.add_valid(app, write)? {
            self.invalid.push(app.invalid(error));
            let (place, hash) = (place_of_invalid(self.invalid.len() - 1), self.hasher.hash_one(app.id));
            let Self { records, invalid, index, hasher, .. } = self;
            index.insert_unique(hash, place, |&place| hasher.hash_one(id_at(records, invalid, place)));
            self.count(app);
        }
        Ok(())
    }

    /// Adds the app if its record can be written; else nothing has changed.
    fn add_valid(
        &mut self,
        app: &Named<'_>,
        write: impl FnOnce(&mut Vec<u8>) -> Result<(), DocumentError>,
    ) -> Result<Result<(), DocumentError>, Duplicate> {
        let Self { records, invalid, index, hasher, .. } = self;
        let is_it = |&place: &u32| id_at(records, invalid, place) == app.id;
        let rehash = |&place: &u32| hasher.hash_one(id_at(records, invalid, place));
        let Entry::Vacant(entry) = index.entry(hasher.hash_one(app.id), is_it, rehash) else {
            return Err(Duplicate { app: app.app_id() });
        };
        let before = records.len();
        records.resize(before.next_multiple_of(ALIGNMENT), 0);
        match place_of_record(records.len()).and_then(|place| write(records).map(|()| place)) {
            Ok(place) => entry.insert(place),
            Err(error) => {
                records.truncate(before);
                return Ok(Err(error));
            }
        };
        self.valid += 1;
        self.count(app);
        Ok(Ok(()))
    }

    fn count(&mut self, app: &Named<'_>) {
        let bytes = app.bytes as u64;
        self.digest = self.digest.plus(app.digest);
        self.bytes = self.bytes.saturating_add(bytes);
        self.largest = self.largest.max(bytes);
    }

    /// The number of apps, invalid ones too.
    #[must_use]
    pub fn len(&self) -> usize {
        self.valid + self.invalid.len()
    }

    /// True when there is no app.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The valid apps in the order they came.
    pub fn records(&self) -> impl Iterator<Item = Record<'_>> + Clone {
        let mut at = 0;
        std::iter::repeat_with(move || {
            let record = Record::at(&self.records, at)?;
            at = (at + record.as_bytes().len()).next_multiple_of(ALIGNMENT);
            Some(record)
        })
        .map_while(|record| record)
    }

    /// The number of valid apps.
    #[must_use]
    pub fn valid(&self) -> usize {
        self.valid
    }

    /// The invalid apps in the order they came.
    #[must_use]
    pub fn invalid(&self) -> &[InvalidApp] {
        &self.invalid
    }

    /// Whether the app is there, valid or not.
    #[must_use]
    pub fn contains(&self, id: &str) -> bool {
        self.place(id).is_some()
    }

    /// The valid app of this id.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<Record<'_>> {
        let place = self.place(id).filter(|place| place & INVALID == 0)?;
        Record::at(&self.records, offset_of(place))
    }

    /// The invalid app of this id.
    #[must_use]
    pub fn get_invalid(&self, id: &str) -> Option<&InvalidApp> {
        let place = self.place(id).filter(|place| place & INVALID != 0)?;
        self.invalid.get((place & !INVALID) as usize)
    }

    /// Over all apps, invalid ones too.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The size of all documents in bytes, those of invalid apps too.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The size of the largest document in bytes, those of invalid apps too.
    #[must_use]
    pub fn largest(&self) -> u64 {
        self.largest
    }

    /// The records: each begins at the next multiple of four bytes after the one before, and what is between is 0.
    #[must_use]
    pub fn into_records(self) -> Vec<u8> {
        let mut records = self.records;
        records.shrink_to_fit();
        records
    }

    fn place(&self, id: &str) -> Option<u32> {
        let is_it = |&place: &u32| id_at(&self.records, &self.invalid, place) == id;
        self.index.find(self.hasher.hash_one(id), is_it).copied()
    }
}

impl fmt::Debug for Batch {
    /// Counts only: there may be a million apps.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Batch");
        shown.field("valid", &self.valid).field("invalid", &self.invalid.len()).field("digest", &self.digest).finish()
    }
}

impl From<Duplicate> for WireError {
    fn from(Duplicate { app }: Duplicate) -> Self {
        Self::DuplicateApp { app }
    }
}

/// What is known of an app whatever its document is; `id` was found to be one.
struct Named<'a> {
    id: &'a str,
    rev: Rev,
    digest: Digest,
    bytes: usize,
}

impl Named<'_> {
    fn app_id(&self) -> AppId {
        AppId::new(self.id).unwrap_or_else(|_| AppId::unreadable())
    }

    fn invalid(&self, error: DocumentError) -> InvalidApp {
        InvalidApp { id: self.app_id(), rev: self.rev, digest: self.digest, bytes: self.bytes, error }
    }
}

fn id_at<'a>(records: &'a [u8], invalid: &'a [InvalidApp], place: u32) -> &'a str {
    let id = if place & INVALID == 0 {
        Record::at(records, offset_of(place)).map(Record::id)
    } else {
        invalid.get((place & !INVALID) as usize).map(|app| app.id.as_str())
    };
    id.unwrap_or_default()
}

fn offset_of(place: u32) -> usize {
    place as usize * ALIGNMENT
}

/// A batch of records over 8 GiB is no batch: what comes after that is invalid.
fn place_of_record(offset: usize) -> Result<u32, DocumentError> {
    let place = u32::try_from(offset / ALIGNMENT).ok().filter(|place| place & INVALID == 0);
    place.ok_or_else(|| DocumentError::new("comes after 8 GiB of other apps"))
}

/// Invalid apps are larger than four bytes, so their places run out later than memory.
fn place_of_invalid(place: usize) -> u32 {
    u32::try_from(place).unwrap_or(u32::MAX) | INVALID
}
