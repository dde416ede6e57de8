//! How a table becomes another: by one app, or by a new base below.

use std::sync::Arc;

use crate::model::{AppId, AppRecord, Digest, Record};

use super::{
    Base, HostTaken, MAX_RECORDS_BYTES, Place, Table, Totals,
    overlay::{Now, Overlay},
};

/// What a table has of an app that is to be replaced, as it was found: so that it need not be looked for again.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    now: Now,
    /// Of which base.
    base: usize,
    /// Its number in the digest, where it was computed already.
    pub(crate) digest: Option<Digest>,
}

impl Held {
    /// The record, in the table it was found in, or in one that has the same base.
    pub(crate) fn record<'a>(&'a self, table: &'a Table) -> Option<Record<'a>> {
        if self.base == place_of(&table.base) { self.now.record(&table.base) } else { None }
    }
}

impl Table {
    /// What there is of this id.
    pub(crate) fn hold(&self, id: &str) -> Option<Held> {
        let now = self.held(self.hash(id), id.as_bytes())?;
        Some(Held { now, base: place_of(&self.base), digest: None })
    }

    /// As [`Table::upsert`], of an app of which it is known what there is, and perhaps its number in the digest. Where that is
    /// not what there is, or the app claims other hosts, it is an upsert like any other.
    ///
    /// # Errors
    /// As for [`Table::upsert`].
    pub(crate) fn replace(&mut self, app: AppRecord, held: &Held, digest: Option<Digest>) -> Result<bool, HostTaken> {
        let (hash, next) = (self.hash(app.get().id()), app.get());
        let is_there = match self.overlay.app(hash, next.id_bytes(), &self.base) {
            Some(now) => now.is(&held.now),
            None => matches!(held.now, Now::Gone(_)),
        };
        let old = held.record(self).filter(|old| is_there && old.id_bytes() == next.id_bytes());
        let Some(old) = old.filter(|old| next.hosts().all(|host| old.claims(host)) && self.has_room_for(next)) else {
            return self.upsert(app);
        };
        let mut totals = self.totals;
        totals.take(old, held.digest);
        totals.add(next, digest);
        self.totals = totals;
        put(&mut self.overlay, &self.base, (hash, &app), Some(&held.now));
        Ok(true)
    }

    /// Puts `app` in, or in the place of the one of its id. Hosts that one had and this one does not claim are free then.
    /// True when there was one of its id.
    ///
    /// # Errors
    /// When another app has one of its hosts: then nothing has changed. Where the table would outgrow
    /// [`MAX_RECORDS_BYTES`], it says so of the app itself.
    pub fn upsert(&mut self, app: AppRecord) -> Result<bool, HostTaken> {
        self.check(app.get())?;
        let hash = self.hash(app.get().id());
        let old = self.held(hash, app.get().id_bytes());
        if let Some(record) = old.as_ref().and_then(|old| old.record(&self.base)) {
            self.totals.take(record, None);
        }
        self.totals.add(app.get(), None);
        put(&mut self.overlay, &self.base, (hash, &app), old.as_ref());
        Ok(old.is_some())
    }

    /// Takes the app of this id out and frees its hosts. False when there is none.
    pub fn remove(&mut self, id: &str) -> bool {
        let hash = self.hash(id);
        let Some(old) = self.held(hash, id.as_bytes()) else { return false };
        if let Some(record) = old.record(&self.base) {
            self.totals.take(record, None);
        }
        remove(&mut self.overlay, &self.base, (hash, id.as_bytes()), &old);
        true
    }

    /// A table of what `base` holds. It computes nothing.
    #[must_use]
    pub fn from_base(base: Arc<Base>) -> Self {
        let totals = Totals::of_base(&base);
        Self { base, overlay: Overlay::default(), totals }
    }

    /// Everything as one flat base.
    #[must_use]
    pub fn to_base(&self) -> Base {
        let mut records = Vec::with_capacity(self.totals.records as usize);
        self.iter().for_each(|app| records.extend_from_slice(app.as_bytes()));
        Base::of_table(records, self.totals.digest)
    }

    /// This table with `base` below it. `base` was made of an earlier state of this table; `changed` are the apps that
    /// have changed since (those that are not there any more included), and all that stays above it.
    #[must_use]
    pub fn rebased<'a>(&self, base: Arc<Base>, changed: impl Iterator<Item = &'a AppId> + Clone) -> Self {
        let mut table = Self::from_base(base);
        // All of them go before any comes: a host may have gone from one to another.
        for id in changed.clone().map(AppId::as_str) {
            let hash = table.hash(id);
            if let Some(old) = table.held(hash, id.as_bytes()) {
                remove(&mut table.overlay, &table.base, (hash, id.as_bytes()), &old);
            }
        }
        for id in changed.map(AppId::as_str) {
            let app = match self.place_of(self.hash(id), id.as_bytes()) {
                Some((Place::Own(app), _)) => app.clone(),
                Some((Place::Base(_), record)) => AppRecord::copy_of(record),
                None => continue,
            };
            let hash = table.hash(id);
            let twice = table.held(hash, id.as_bytes());
            put(&mut table.overlay, &table.base, (hash, &app), twice.as_ref());
        }
        // It holds what this one holds, so nothing is counted anew.
        table.totals = self.totals;
        table
    }

    /// Refuses an app that claims another's host, or for which there is no room.
    fn check(&self, app: Record<'_>) -> Result<(), HostTaken> {
        let full = !self.has_room_for(app);
        for host in app.hosts() {
            let owner = self.owner(host).filter(|owner| owner.id_bytes() != app.id_bytes());
            if let Some(owner) = owner.or(full.then_some(app)) {
                return Err(HostTaken { host: host.to_pattern(), owner: owner.app_id() });
            }
        }
        Ok(())
    }

    fn has_room_for(&self, app: Record<'_>) -> bool {
        self.totals.records + app.as_bytes().len() as u64 <= MAX_RECORDS_BYTES
    }

    /// What there is of this id, to be kept while it is replaced. What is to go from the base counts as gone.
    fn held(&self, hash: u64, id: &[u8]) -> Option<Now> {
        self.place_of(hash, id).map(|(place, _)| match place {
            Place::Base(place) => Now::Gone(place),
            Place::Own(record) => Now::Put(record.clone()),
        })
    }
}

/// Puts an app and its hash above the base, in the place of `old`.
fn put(overlay: &mut Overlay, base: &Base, (hash, app): (u64, &AppRecord), old: Option<&Now>) {
    if let Some(old) = old.and_then(|old| old.record(base)) {
        old.hosts().filter(|host| !app.get().claims(*host)).for_each(|host| overlay.release(host, base));
    }
    overlay.put_app(hash, app, base);
    overlay.claim(app, base);
}

fn remove(overlay: &mut Overlay, base: &Base, (hash, id): (u64, &[u8]), old: &Now) {
    if let Some(old) = old.record(base) {
        old.hosts().for_each(|host| overlay.release(host, base));
    }
    overlay.remove_app(hash, id, base);
}

impl Totals {
    fn of_base(base: &Base) -> Self {
        let head = base.head();
        let (apps, exact, wildcard) = (head.apps, head.exact, head.wildcard);
        let (endpoints, documents, records, digest) = (head.endpoints, head.documents, head.records, head.digest);
        Self { apps, exact, wildcard, endpoints, documents, records, digest }
    }

    /// `digest` is its number, where it is known.
    fn add(&mut self, app: Record<'_>, digest: Option<Digest>) {
        let (exact, wildcard) = hosts_of(app);
        self.apps += 1;
        self.exact += exact;
        self.wildcard += wildcard;
        self.endpoints += u64::from(app.endpoints());
        self.documents += app.document().len() as u64;
        self.records += app.as_bytes().len() as u64;
        self.digest = self.digest.plus(number_of(app, digest));
    }

    /// Never below nothing: the totals of a base are as its head says.
    fn take(&mut self, app: Record<'_>, digest: Option<Digest>) {
        let (exact, wildcard) = hosts_of(app);
        self.apps = self.apps.saturating_sub(1);
        self.exact = self.exact.saturating_sub(exact);
        self.wildcard = self.wildcard.saturating_sub(wildcard);
        self.endpoints = self.endpoints.saturating_sub(u64::from(app.endpoints()));
        self.documents = self.documents.saturating_sub(app.document().len() as u64);
        self.records = self.records.saturating_sub(app.as_bytes().len() as u64);
        self.digest = self.digest.minus(number_of(app, digest));
    }
}

fn number_of(app: Record<'_>, known: Option<Digest>) -> Digest {
    debug_assert!(known.is_none_or(|known| known == app.digest()), "what is known of {app:?} is right");
    known.unwrap_or_else(|| app.digest())
}

/// Tells one base from another, while both are there.
fn place_of(base: &Arc<Base>) -> usize {
    Arc::as_ptr(base).addr()
}

/// How many exact hosts it claims, and how many wildcards.
fn hosts_of(app: Record<'_>) -> (u64, u64) {
    let wildcard = app.host_names().filter(|(_, wildcard)| *wildcard).count();
    ((app.host_count() - wildcard) as u64, wildcard as u64)
}
