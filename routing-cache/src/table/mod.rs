//! One generation: host and path -> route -> upstream. Cheap to change by one app, cheap to read.
//!
//! It owns the maps from host to app and the counts and digest of what is served, which are kept with every change and
//! never counted anew. It never judges a change ([`crate::guard`] does) and never publishes one ([`crate::live`] does).
//!
//! Invariants: a host belongs to one app; every host of every app leads to that app; a change that fails has changed
//! nothing. Hosts come from outside, so the maps are seeded at random in each process.

mod base;
mod host;
mod matching;
mod shards;
#[cfg(test)]
mod tests;

use std::{cmp::Ordering, collections::BinaryHeap, fmt, hash::BuildHasher, sync::Arc};

use foldhash::quality::RandomState;

use crate::model::{AppId, AppRecord, Digest, HostPattern, HostRef, MAX_HOST_BYTES, Record};

pub use crate::model::{NormalPath, PathError};
pub use base::{Base, BaseError, BaseHead, BaseLoader, Bucket, IndexName};
pub use host::normal_host;
pub use matching::match_route;

use shards::Shards;

/// A table. Cloning it is cheap (shared parts); changing a clone copies only the parts that change.
#[derive(Clone, Default)]
pub struct Table {
    seed: RandomState,
    apps: Shards<AppRecord>,
    exact: Shards<Claim>,
    wildcard: Shards<Claim>,
    endpoints: u64,
    documents: u64,
    digest: Digest,
}

/// A host (a wildcard without its `*.`) and the app that has it.
#[derive(Clone)]
struct Claim {
    host: Arc<str>,
    app: AppRecord,
}

/// Where a walk over a table stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Walk(u64);

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
        self.apps.len()
    }

    /// True when there is no app.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number of hosts over all apps, wildcards counted as one each.
    #[must_use]
    pub fn hosts(&self) -> usize {
        self.exact.len() + self.wildcard.len()
    }

    /// The number of endpoints over all apps.
    #[must_use]
    pub fn endpoints(&self) -> u64 {
        self.endpoints
    }

    /// The size of all documents, in bytes.
    #[must_use]
    pub fn document_bytes(&self) -> u64 {
        self.documents
    }

    /// The digest over what is served.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The app of this id.
    #[must_use]
    pub fn app(&self, id: &str) -> Option<Record<'_>> {
        self.apps.find(self.hash(id), |app| app.get().id() == id).map(AppRecord::get)
    }

    /// The app that has `host`, and the pattern by which: the exact host, else the longest wildcard. `host` must be
    /// normal (see [`normal_host`]).
    #[must_use]
    pub fn find(&self, host: &str) -> Option<(Record<'_>, HostPattern)> {
        if let Some(claim) = self.claim(&self.exact, host) {
            return Some((claim.app.get(), HostPattern::Exact(Arc::clone(&claim.host))));
        }
        self.longest_wildcard(host).map(|claim| (claim.app.get(), HostPattern::Wildcard(Arc::clone(&claim.host))))
    }

    /// As [`Table::find`], without naming the pattern: for the data plane. It allocates nothing.
    #[must_use]
    pub fn find_app(&self, host: &str) -> Option<Record<'_>> {
        self.claim(&self.exact, host).or_else(|| self.longest_wildcard(host)).map(|claim| claim.app.get())
    }

    /// The app that claims exactly this host.
    #[must_use]
    pub fn owner(&self, host: HostRef<'_>) -> Option<Record<'_>> {
        self.claim(self.claims_of(host), host.name).map(|claim| claim.app.get())
    }

    /// All apps, in no order.
    pub fn iter(&self) -> impl Iterator<Item = Record<'_>> {
        self.apps.iter().map(AppRecord::get)
    }

    /// Apps from where `from` stands, in no order, until they are `bytes` or more; and where to go on, if there is more.
    /// So a table can be written out bit by bit by whoever holds it.
    #[must_use]
    pub fn walk(&self, from: Walk, bytes: usize) -> (Vec<Record<'_>>, Option<Walk>) {
        let (mut found, mut size) = (Vec::new(), 0);
        for (number, record) in self.iter().enumerate().skip(from.0 as usize) {
            if size >= bytes {
                return (found, Some(Walk(number as u64)));
            }
            size += record.as_bytes().len();
            found.push(record);
        }
        (found, None)
    }

    /// At most `limit` apps with ids after `after`, sorted by id. It looks at every app and keeps `limit`: for people.
    #[must_use]
    pub fn page(&self, after: Option<&str>, limit: usize) -> Vec<Record<'_>> {
        let mut first: BinaryHeap<ById<'_>> = BinaryHeap::new();
        for app in self.iter().filter(|app| after.is_none_or(|after| app.id() > after)) {
            let full = first.len() >= limit;
            if full && first.peek().is_none_or(|last| last.0.id() <= app.id()) {
                continue;
            }
            if full {
                first.pop();
            }
            first.push(ById(app));
        }
        first.into_sorted_vec().into_iter().map(|app| app.0).collect()
    }

    /// The apps with the largest documents, largest first.
    #[must_use]
    pub fn largest(&self, count: usize) -> Vec<Record<'_>> {
        let mut all: Vec<Record<'_>> = self.iter().collect();
        all.sort_by_key(|record| std::cmp::Reverse(record.document().len()));
        all.truncate(count);
        all
    }

    /// Puts `app` in, or in the place of the one of its id. Hosts that one had and this one does not claim are free then.
    /// True when there was one of its id.
    ///
    /// # Errors
    /// When another app has one of its hosts: then nothing has changed.
    pub fn upsert(&mut self, app: AppRecord) -> Result<bool, HostTaken> {
        self.check_hosts(app.get())?;
        let old = self.app(app.get().id()).map(AppRecord::copy_of);
        if let Some(old) = &old {
            self.remove(old.get().id());
        }
        self.put_app(&app);
        for host in app.get().hosts() {
            self.put_claim(host, &app);
        }
        Ok(old.is_some())
    }

    /// Takes the app of this id out and frees its hosts. False when there is none.
    pub fn remove(&mut self, id: &str) -> bool {
        let Some(app) = self.apps.remove(self.hash(id), |app| app.get().id() == id) else { return false };
        self.discount(app.get());
        for host in app.get().hosts() {
            let hash = self.hash(host.name);
            self.claims_of_mut(host).remove(hash, |claim| *claim.host == *host.name);
        }
        true
    }

    /// A table of what `base` holds.
    #[must_use]
    pub fn from_base(base: Arc<Base>) -> Self {
        let mut table = Self::default();
        for record in base.iter() {
            // ignored: a base holds no host twice
            let _ = table.upsert(AppRecord::copy_of(record));
        }
        table
    }

    /// Everything as one flat base.
    #[must_use]
    pub fn to_base(&self) -> Base {
        Base::build(self.iter())
    }

    /// This table with `base` below it. `base` was made of an earlier state of this table; `changed` are the apps that
    /// have changed since (those that are not there any more included).
    #[must_use]
    pub fn rebased<'a>(&self, base: Arc<Base>, changed: impl Iterator<Item = &'a AppId> + Clone) -> Self {
        let mut table = Self::from_base(base);
        for id in changed.clone() {
            table.remove(id.as_str());
        }
        for record in changed.filter_map(|id| self.app(id.as_str())) {
            // ignored: this table holds no host twice
            let _ = table.upsert(AppRecord::copy_of(record));
        }
        table
    }

    /// Apps that have changed above the base: what a new base would take in.
    #[must_use]
    pub fn overlaid(&self) -> usize {
        self.apps.len()
    }

    fn hash(&self, text: &str) -> u64 {
        self.seed.hash_one(text)
    }

    fn claim<'a>(&self, claims: &'a Shards<Claim>, host: &str) -> Option<&'a Claim> {
        claims.find(self.hash(host), |claim| &*claim.host == host)
    }

    /// Goes from label to label: at most one look-up for each dot of at most 253 bytes.
    fn longest_wildcard(&self, host: &str) -> Option<&Claim> {
        if self.wildcard.len() == 0 || host.len() > MAX_HOST_BYTES {
            return None;
        }
        let mut rest = host;
        while let Some((_, suffix)) = rest.split_once('.') {
            if let Some(claim) = self.claim(&self.wildcard, suffix) {
                return Some(claim);
            }
            rest = suffix;
        }
        None
    }

    fn claims_of(&self, host: HostRef<'_>) -> &Shards<Claim> {
        if host.wildcard { &self.wildcard } else { &self.exact }
    }

    fn claims_of_mut(&mut self, host: HostRef<'_>) -> &mut Shards<Claim> {
        if host.wildcard { &mut self.wildcard } else { &mut self.exact }
    }

    fn check_hosts(&self, app: Record<'_>) -> Result<(), HostTaken> {
        for host in app.hosts() {
            if let Some(owner) = self.owner(host).filter(|owner| owner.id() != app.id()) {
                return Err(HostTaken { host: host.to_pattern(), owner: owner.app_id() });
            }
        }
        Ok(())
    }

    fn put_app(&mut self, app: &AppRecord) {
        let (hash, seed) = (self.hash(app.get().id()), self.seed.clone());
        let rehash = |app: &AppRecord| seed.hash_one(app.get().id());
        self.apps.replace(hash, app.clone(), |there, app| there.get().id() == app.get().id(), rehash);
        self.endpoints += u64::from(app.get().endpoints());
        self.documents += app.get().document().len() as u64;
        self.digest = self.digest.plus(app.get().digest());
    }

    fn discount(&mut self, app: Record<'_>) {
        self.endpoints -= u64::from(app.endpoints());
        self.documents -= app.document().len() as u64;
        self.digest = self.digest.minus(app.digest());
    }

    fn put_claim(&mut self, host: HostRef<'_>, app: &AppRecord) {
        let (hash, seed) = (self.hash(host.name), self.seed.clone());
        let claim = Claim { host: Arc::from(host.name), app: app.clone() };
        let rehash = |claim: &Claim| seed.hash_one(&*claim.host);
        self.claims_of_mut(host).replace(hash, claim, |there, claim| there.host == claim.host, rehash);
    }
}

impl fmt::Debug for Table {
    /// Counts only: a table may hold a million apps.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Table");
        shown.field("apps", &self.len()).field("hosts", &self.hosts()).field("endpoints", &self.endpoints);
        shown.field("digest", &self.digest).finish()
    }
}

/// An app in the order of its id.
struct ById<'a>(Record<'a>);

impl Ord for ById<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.id().cmp(other.0.id())
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
