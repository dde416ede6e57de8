//! The table as the small orchestrator owns it: apps with their revs, and the log of what changed. Pure.
//!
//! Invariants: every change of an app gets a generation of its own, which is also the app's rev; a generation is never
//! used twice in an epoch; the log has one entry for an app, its last change; what lies before `floor`, or in a range
//! that an earlier process may have used without telling, is answered by 410.

mod log;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use bytes::Bytes;
use routing_cache::{
    model::{AppId, Digest, Epoch, Generation, Rev, app_digest},
    wire::ShrinkOk,
};

use self::log::Log;
use super::state_file::{Saved, SavedApp};

/// What stands around a document in a snapshot's line, in bytes, about.
const LINE_BYTES: u64 = 32;

/// An app.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) rev: Rev,
    digest: Digest,
    /// `None`: known from the state file, and not seen in the folder yet.
    pub(super) document: Option<Bytes>,
}

/// The table.
#[derive(Clone, Debug)]
pub(super) struct Book {
    epoch: Epoch,
    generation: Generation,
    apps: BTreeMap<AppId, Entry>,
    digest: Digest,
    bytes: u64,
    log: Log,
    /// Generations that the process before may have used after it last saved: after the first, before the second.
    doubtful: Option<(Generation, Generation)>,
    shrink_ok: Option<(Generation, ShrinkOk)>,
}

/// What follows on a generation.
#[derive(Debug)]
pub(super) struct Page<'a> {
    pub(super) to: Generation,
    pub(super) upserts: Vec<(&'a AppId, Rev, &'a Bytes)>,
    pub(super) deletes: Vec<(AppId, Rev)>,
    pub(super) more: bool,
    pub(super) apps: u64,
    pub(super) digest: Digest,
    pub(super) shrink_ok: Option<&'a ShrinkOk>,
}

/// How much of it a page may bring.
#[derive(Clone, Copy, Debug)]
pub(super) struct PageLimits {
    pub(super) changes: usize,
    pub(super) bytes: usize,
}

/// Why there is no page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoPage {
    /// 410: only a snapshot will do.
    Gone,
    /// 409: it asks for what follows on a generation that is not here yet.
    Ahead,
}

impl Book {
    /// A table without apps, in an epoch that was never used.
    pub(super) fn new(epoch: Epoch) -> Self {
        Self {
            epoch,
            generation: Generation(1),
            apps: BTreeMap::new(),
            digest: Digest::default(),
            bytes: 0,
            log: Log::new(Generation(1)),
            doubtful: None,
            shrink_ok: None,
        }
    }

    /// What the process before had saved. It continues above every generation that one may have used.
    pub(super) fn restore(epoch: Epoch, saved: &Saved) -> Self {
        let entry =
            |(id, app): (&AppId, &SavedApp)| (id.clone(), Entry { rev: app.rev, digest: app.digest, document: None });
        let apps: BTreeMap<_, _> = saved.apps.iter().map(entry).collect();
        let digest = apps.values().fold(Digest::default(), |sum, app| sum.plus(app.digest));
        Self {
            generation: saved.reserved,
            apps,
            digest,
            log: Log::new(saved.generation),
            doubtful: Some((saved.generation, saved.reserved)),
            ..Self::new(epoch)
        }
    }

    /// What is to be saved of it; generations up to `reserved` may be used before the next save.
    pub(super) fn saved(&self, reserved: Generation) -> Saved {
        let app = |(id, app): (&AppId, &Entry)| (id.clone(), SavedApp { rev: app.rev, digest: app.digest });
        Saved {
            epoch: self.epoch.as_str().to_owned(),
            generation: self.generation,
            reserved,
            apps: self.apps.iter().map(app).collect(),
        }
    }

    pub(super) fn epoch(&self) -> &Epoch {
        &self.epoch
    }

    pub(super) fn generation(&self) -> Generation {
        self.generation
    }

    pub(super) fn digest(&self) -> Digest {
        self.digest
    }

    pub(super) fn len(&self) -> u64 {
        self.apps.len() as u64
    }

    /// About the size of a snapshot.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn app(&self, id: &AppId) -> Option<&Entry> {
        self.apps.get(id)
    }

    /// Every app with its document.
    pub(super) fn apps(&self) -> impl Iterator<Item = (&AppId, Rev, &Bytes)> {
        self.apps.iter().filter_map(|(id, app)| Some((id, app.rev, app.document.as_ref()?)))
    }

    /// The word that a shrink is meant, where it is of this generation.
    pub(super) fn shrink_ok(&self) -> Option<&ShrinkOk> {
        self.shrink_ok.as_ref().filter(|(generation, _)| *generation == self.generation).map(|(_, ok)| ok)
    }

    /// How many generations `wanted` would take.
    pub(super) fn cost(&self, wanted: &BTreeMap<AppId, Bytes>) -> u64 {
        let changed = wanted.iter().filter(|(id, document)| !self.holds(id, document)).count();
        let gone = self.apps.keys().filter(|id| !wanted.contains_key(*id)).count();
        (changed + gone) as u64
    }

    /// Makes the apps those of `wanted`. True when that changed something.
    pub(super) fn apply(&mut self, wanted: BTreeMap<AppId, Bytes>, now: Duration) -> bool {
        let before = self.generation;
        let gone: BTreeSet<_> = self.apps.keys().filter(|id| !wanted.contains_key(*id)).cloned().collect();
        for (id, document) in wanted {
            self.put(id, document, now);
        }
        for id in gone {
            self.remove(&id, now);
        }
        self.log.trim(now);
        self.generation > before
    }

    /// Publishes that a shrink is meant, as a generation of its own.
    pub(super) fn announce(&mut self, ok: ShrinkOk) {
        self.generation.0 += 1;
        self.shrink_ok = Some((self.generation, ok));
    }

    /// What follows on `since`, no more than `limits` allow, but one change at least.
    pub(super) fn page(&self, epoch: &str, since: Generation, limits: PageLimits) -> Result<Page<'_>, NoPage> {
        if epoch != self.epoch.as_str() {
            return Err(NoPage::Gone);
        }
        if since > self.generation {
            return Err(NoPage::Ahead);
        }
        if since < self.log.floor() || self.is_doubtful(since) {
            return Err(NoPage::Gone);
        }
        Ok(self.collect(since, limits))
    }

    fn collect(&self, since: Generation, limits: PageLimits) -> Page<'_> {
        let mut page = Page {
            to: self.generation,
            upserts: Vec::new(),
            deletes: Vec::new(),
            more: false,
            apps: self.len(),
            digest: self.digest,
            shrink_ok: self.shrink_ok(),
        };
        let (mut count, mut bytes, mut last) = (0, 0, None::<(Generation, u64, Digest)>);
        for (generation, change) in self.log.after(since) {
            if let Some(last) = last.filter(|_| count >= limits.changes || bytes >= limits.bytes) {
                return page.cut(last);
            }
            count += 1;
            match self.apps.get_key_value(&change.app) {
                Some((id, Entry { rev, document: Some(document), .. })) => {
                    bytes += document.len();
                    page.upserts.push((id, *rev, document));
                }
                _ => page.deletes.push((change.app.clone(), Rev(generation.0))),
            }
            last = Some((generation, change.apps, change.digest));
        }
        page
    }

    /// Whether the app has this document already. One known from the state file is told by its digest.
    fn holds(&self, id: &AppId, document: &Bytes) -> bool {
        self.apps.get(id).is_some_and(|app| match &app.document {
            Some(known) => known == document,
            None => app.digest == app_digest(id.as_str(), app.rev, document),
        })
    }

    fn put(&mut self, id: AppId, document: Bytes, now: Duration) {
        let size = LINE_BYTES + (id.as_str().len() + document.len()) as u64;
        if self.holds(&id, &document) {
            if let Some(app) = self.apps.get_mut(&id).filter(|app| app.document.is_none()) {
                app.document = Some(document);
                self.bytes += size;
            }
            return;
        }
        self.take_out(&id);
        self.generation.0 += 1;
        let rev = Rev(self.generation.0);
        let digest = app_digest(id.as_str(), rev, &document);
        self.digest = self.digest.plus(digest);
        self.bytes += size;
        self.apps.insert(id.clone(), Entry { rev, digest, document: Some(document) });
        self.note(id, now);
    }

    fn remove(&mut self, id: &AppId, now: Duration) {
        self.take_out(id);
        self.generation.0 += 1;
        self.note(id.clone(), now);
    }

    fn take_out(&mut self, id: &AppId) {
        let Some(app) = self.apps.remove(id) else { return };
        self.digest = self.digest.minus(app.digest);
        let size = app.document.map_or(0, |d| LINE_BYTES + (id.as_str().len() + d.len()) as u64);
        self.bytes = self.bytes.saturating_sub(size);
    }

    fn note(&mut self, app: AppId, now: Duration) {
        self.log.note(self.generation, log::Change { app, at: now, apps: self.len(), digest: self.digest });
    }

    fn is_doubtful(&self, since: Generation) -> bool {
        self.doubtful.is_some_and(|(after, before)| since > after && since < before)
    }
}

impl Page<'_> {
    /// The same page, ended after the change that `last` tells of.
    fn cut(self, last: (Generation, u64, Digest)) -> Self {
        let (to, apps, digest) = last;
        Self { to, apps, digest, more: true, shrink_ok: None, ..self }
    }

    pub(super) fn is_empty(&self, since: Generation) -> bool {
        self.to == since
    }
}
