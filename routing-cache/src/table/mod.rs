//! One generation: host and path -> route -> upstream. Cheap to change by one app, cheap to read.
//!
//! It owns the maps from host to app and the counts and digest of what is served, which are kept with every change and
//! never counted anew. It never judges a change ([`crate::guard`] does) and never publishes one ([`crate::live`] does).
//!
//! Invariants: a host belongs to one app; every host of every app leads to that app; a change that fails has changed
//! nothing. Hosts come from outside, so the maps are seeded at random in each process.

mod host;
mod matching;
mod shards;
#[cfg(test)]
mod tests;

use std::{cmp::Ordering, collections::BinaryHeap, fmt, hash::BuildHasher, sync::Arc};

use foldhash::quality::RandomState;

use crate::model::{App, AppId, Digest, HostPattern, MAX_HOST_BYTES};

pub use crate::model::{NormalPath, PathError};
pub use host::normal_host;
pub use matching::match_route;

use shards::Shards;

/// A table. Cloning it is cheap (shared parts); changing a clone copies only the parts that change.
#[derive(Clone, Default)]
pub struct Table {
    seed: RandomState,
    apps: Shards<Arc<App>>,
    exact: Shards<Claim>,
    wildcard: Shards<Claim>,
    endpoints: usize,
    digest: Digest,
}

/// A host (a wildcard without its `*.`) and the app that has it.
#[derive(Clone)]
struct Claim {
    host: Arc<str>,
    app: Arc<App>,
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
    pub fn endpoints(&self) -> usize {
        self.endpoints
    }

    /// The digest over what is served.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The app of this id.
    #[must_use]
    pub fn app(&self, id: &str) -> Option<&Arc<App>> {
        self.apps.find(self.hash(id), |app| app.id.as_str() == id)
    }

    /// The app that has `host`, and the pattern by which: the exact host, else the longest wildcard. `host` must be
    /// normal (see [`normal_host`]).
    #[must_use]
    pub fn find(&self, host: &str) -> Option<(&Arc<App>, HostPattern)> {
        if let Some(claim) = self.claim(&self.exact, host) {
            return Some((&claim.app, HostPattern::Exact(Arc::clone(&claim.host))));
        }
        self.longest_wildcard(host).map(|claim| (&claim.app, HostPattern::Wildcard(Arc::clone(&claim.host))))
    }

    /// As [`Table::find`], without naming the pattern: for the data plane. It allocates nothing.
    #[must_use]
    pub fn find_app(&self, host: &str) -> Option<&Arc<App>> {
        self.claim(&self.exact, host).or_else(|| self.longest_wildcard(host)).map(|claim| &claim.app)
    }

    /// The app that claims exactly this host.
    #[must_use]
    pub fn owner(&self, host: &HostPattern) -> Option<&Arc<App>> {
        self.claim(self.claims_of(host), name(host)).map(|claim| &claim.app)
    }

    /// All apps, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<App>> {
        self.apps.iter()
    }

    /// At most `limit` apps with ids after `after`, sorted by id. It looks at every app and keeps `limit`: for people.
    #[must_use]
    pub fn page(&self, after: Option<&str>, limit: usize) -> Vec<Arc<App>> {
        let mut first: BinaryHeap<ById<'_>> = BinaryHeap::new();
        for app in self.iter().filter(|app| after.is_none_or(|after| app.id.as_str() > after)) {
            let full = first.len() >= limit;
            if full && first.peek().is_none_or(|last| last.0.id <= app.id) {
                continue;
            }
            if full {
                first.pop();
            }
            first.push(ById(app));
        }
        first.into_sorted_vec().into_iter().map(|app| Arc::clone(app.0)).collect()
    }

    /// Puts `app` in, or in the place of the one of its id, which is returned. Hosts that one had and this one does not
    /// claim are free then.
    ///
    /// # Errors
    /// When another app has one of its hosts: then nothing has changed.
    pub fn upsert(&mut self, app: Arc<App>) -> Result<Option<Arc<App>>, HostTaken> {
        self.check_hosts(&app)?;
        let replaced = self.put_app(&app);
        for host in &app.spec.hosts {
            self.put_claim(host, &app);
        }
        if let Some(old) = &replaced {
            self.free_hosts(old, &app);
        }
        Ok(replaced)
    }

    /// Takes the app of this id out and frees its hosts.
    pub fn remove(&mut self, id: &str) -> Option<Arc<App>> {
        let app = self.apps.remove(self.hash(id), |app| app.id.as_str() == id)?;
        self.discount(&app);
        for host in &app.spec.hosts {
            self.remove_claim(host, &app);
        }
        Some(app)
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

    fn claims_of(&self, host: &HostPattern) -> &Shards<Claim> {
        match host {
            HostPattern::Exact(_) => &self.exact,
            HostPattern::Wildcard(_) => &self.wildcard,
        }
    }

    fn claims_of_mut(&mut self, host: &HostPattern) -> &mut Shards<Claim> {
        match host {
            HostPattern::Exact(_) => &mut self.exact,
            HostPattern::Wildcard(_) => &mut self.wildcard,
        }
    }

    fn check_hosts(&self, app: &App) -> Result<(), HostTaken> {
        for host in &app.spec.hosts {
            if let Some(owner) = self.owner(host).filter(|owner| owner.id != app.id) {
                return Err(HostTaken { host: host.clone(), owner: owner.id.clone() });
            }
        }
        Ok(())
    }

    fn put_app(&mut self, app: &Arc<App>) -> Option<Arc<App>> {
        let (hash, seed) = (self.hash(app.id.as_str()), self.seed.clone());
        let rehash = |app: &Arc<App>| seed.hash_one(app.id.as_str());
        let replaced = self.apps.replace(hash, Arc::clone(app), |there, app| there.id == app.id, rehash);
        if let Some(old) = &replaced {
            self.discount(old);
        }
        self.endpoints += app.spec.endpoint_count();
        self.digest = self.digest.plus(app.digest);
        replaced
    }

    fn discount(&mut self, app: &App) {
        self.endpoints -= app.spec.endpoint_count();
        self.digest = self.digest.minus(app.digest);
    }

    fn put_claim(&mut self, host: &HostPattern, app: &Arc<App>) {
        let (hash, seed) = (self.hash(name(host)), self.seed.clone());
        let claim = Claim { host: Arc::clone(name(host)), app: Arc::clone(app) };
        let rehash = |claim: &Claim| seed.hash_one(&*claim.host);
        self.claims_of_mut(host).replace(hash, claim, |there, claim| there.host == claim.host, rehash);
    }

    /// Frees what still leads to `old` after `new` has taken its place.
    fn free_hosts(&mut self, old: &Arc<App>, new: &Arc<App>) {
        if Arc::ptr_eq(old, new) {
            return;
        }
        for host in &old.spec.hosts {
            self.remove_claim(host, old);
        }
    }

    fn remove_claim(&mut self, host: &HostPattern, app: &Arc<App>) {
        let hash = self.hash(name(host));
        let is_its = |claim: &Claim| claim.host == *name(host) && Arc::ptr_eq(&claim.app, app);
        self.claims_of_mut(host).remove(hash, is_its);
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

fn name(host: &HostPattern) -> &Arc<str> {
    match host {
        HostPattern::Exact(name) | HostPattern::Wildcard(name) => name,
    }
}

/// An app in the order of its id.
struct ById<'a>(&'a Arc<App>);

impl Ord for ById<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.id.cmp(&other.0.id)
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
