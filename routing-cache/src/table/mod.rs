//! One generation: host and path -> route -> upstream. Cheap to change by one app, cheap to read.
//!
//! It owns the maps from host to app and the counts and digest of what is served, which are kept with every change and
//! never counted anew. It never judges a change ([`crate::guard`] does) and never publishes one ([`crate::live`] does).
//!
//! A table is a flat [`Base`], which never changes and is what stands on disk, and above it an overlay of what has changed
//! since. A look-up asks the overlay, if there is one, and where that has no entry the base. From time to time somebody
//! makes a new base of everything ([`Table::to_base`]) and puts it below ([`Table::rebased`]).
//!
//! Invariants: a host belongs to one app; every host of every app leads to that app; a change that fails has changed
//! nothing. Hosts come from outside, so each base and what lies above it has a random seed of its own.

mod base;
mod change;
mod diff;
mod hash;
mod host;
mod list;
mod matching;
mod overlay;
mod shards;
#[cfg(test)]
mod tests;

use std::{fmt, sync::Arc};

use crate::model::{AppId, AppRecord, Digest, HostPattern, HostRef, MAX_HOST_BYTES, Record};

pub use crate::model::{NormalPath, PathError};
pub use base::{Base, BaseError, BaseHead, BaseLoader, Bucket, IndexName, MAX_RECORDS_BYTES};
pub(crate) use change::Held;
pub use diff::{Diff, diff};
pub use host::normal_host;
pub use list::Walk;
pub use matching::match_route;

use overlay::{Now, Overlay};

/// A table. Cloning it is cheap (shared parts); changing a clone copies only the parts that change.
#[derive(Clone, Default)]
pub struct Table {
    base: Arc<Base>,
    overlay: Overlay,
    totals: Totals,
}

/// What is counted with every change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Totals {
    apps: u64,
    exact: u64,
    wildcard: u64,
    endpoints: u64,
    documents: u64,
    /// Bytes of all records.
    records: u64,
    digest: Digest,
}

/// Where a record of a table stands.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place<'a> {
    /// In the base, which is never changed: the same place of the same base is the same record.
    Base(u32),
    /// Above it.
    Own(&'a AppRecord),
}

/// Why a host could not be given to an app.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("host {host} belongs to app {owner}")]
pub struct HostTaken {
    /// The host that was claimed.
    pub host: HostPattern,
    /// The app that has it.
    pub owner: AppId,
}

impl Table {
    /// The number of apps.
    #[must_use]
    pub fn len(&self) -> usize {
        self.totals.apps as usize
    }

    /// True when there is no app.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number of hosts over all apps, wildcards counted as one each.
    #[must_use]
    pub fn hosts(&self) -> usize {
        self.totals.exact as usize + self.totals.wildcard as usize
    }

    /// The number of endpoints over all apps.
    #[must_use]
    pub fn endpoints(&self) -> u64 {
        self.totals.endpoints
    }

    /// The size of all documents, in bytes.
    #[must_use]
    pub fn document_bytes(&self) -> u64 {
        self.totals.documents
    }

    /// The digest over what is served.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.totals.digest
    }

    /// What it stands on.
    #[must_use]
    pub fn base(&self) -> &Arc<Base> {
        &self.base
    }

    /// Whether nothing has changed above the base.
    #[must_use]
    pub fn is_flat(&self) -> bool {
        self.overlay.len() == 0
    }

    /// Apps that have changed above the base: what a new base would take in.
    #[must_use]
    pub fn overlaid(&self) -> usize {
        self.overlay.len()
    }

    /// The app of this id.
    #[must_use]
    pub fn app(&self, id: &str) -> Option<Record<'_>> {
        self.place_of(self.hash(id), id.as_bytes()).map(|(_, record)| record)
    }

    /// The app that has `host`, and the pattern by which: the exact host, else the longest wildcard. `host` must be
    /// normal (see [`normal_host`]).
    #[must_use]
    pub fn find(&self, host: &str) -> Option<(Record<'_>, HostPattern)> {
        let (found, pattern) = self.locate(host)?;
        Some((found.1, pattern.to_pattern()))
    }

    /// As [`Table::find`], without naming the pattern: for the data plane. It allocates nothing.
    #[must_use]
    pub fn find_app(&self, host: &str) -> Option<Record<'_>> {
        self.locate(host).map(|(found, _)| found.1)
    }

    /// The app that claims exactly this host.
    #[must_use]
    pub fn owner(&self, host: HostRef<'_>) -> Option<Record<'_>> {
        self.owner_of(host).map(|(_, record)| record)
    }

    /// As [`Table::find`], with the place of the record.
    pub(crate) fn locate<'h>(&self, host: &'h str) -> Option<((Place<'_>, Record<'_>), HostRef<'h>)> {
        let exact = HostRef { name: host, wildcard: false };
        match self.owner_of(exact) {
            Some(found) => Some((found, exact)),
            None => self.longest_wildcard(host),
        }
    }

    /// Goes from label to label: at most one look-up for each dot of at most 253 bytes.
    fn longest_wildcard<'h>(&self, host: &'h str) -> Option<((Place<'_>, Record<'_>), HostRef<'h>)> {
        if self.totals.wildcard == 0 || host.len() > MAX_HOST_BYTES {
            return None;
        }
        let mut rest = host;
        while let Some((_, suffix)) = rest.split_once('.') {
            let wildcard = HostRef { name: suffix, wildcard: true };
            if let Some(found) = self.owner_of(wildcard) {
                return Some((found, wildcard));
            }
            rest = suffix;
        }
        None
    }

    fn hash(&self, text: &str) -> u64 {
        self.base.hash().of(text.as_bytes())
    }

    /// The app of this id, and where it stands.
    fn place_of(&self, hash: u64, id: &[u8]) -> Option<(Place<'_>, Record<'_>)> {
        match self.overlay.app(hash, id, &self.base) {
            Some(now) => now.place(),
            None => self.base.app(hash, id).map(|(place, record)| (Place::Base(place), record)),
        }
    }

    /// The app that claims exactly this host, and where it stands.
    #[inline]
    fn owner_of(&self, host: HostRef<'_>) -> Option<(Place<'_>, Record<'_>)> {
        let hash = self.hash(host.name);
        match self.overlay.host(hash, host, &self.base) {
            Some(now) => now.place(),
            None => self.base.owner(hash, host).map(|(place, record)| (Place::Base(place), record)),
        }
    }
}

impl Now {
    fn place(&self) -> Option<(Place<'_>, Record<'_>)> {
        match self {
            Self::Put(record) => Some((Place::Own(record), record.get())),
            Self::Gone(_) => None,
        }
    }
}

impl fmt::Debug for Table {
    /// Counts only: a table may hold a million apps.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Table");
        shown.field("apps", &self.len()).field("hosts", &self.hosts()).field("endpoints", &self.totals.endpoints);
        shown.field("digest", &self.totals.digest).finish()
    }
}
