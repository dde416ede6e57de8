//! GET /v1/changes: pages, and the change they make together.
//!
//! A page that came whole is taken whole; pages that follow one another are applied together when the last has arrived.

use bytes::Bytes;
use foldhash::fast::RandomState;
use hashbrown::{HashMap, hash_map::Entry};

use super::{Incoming, ShrinkOk, WireError, raw, snapshot::check_limit};
use crate::{
    limits::{LimitName, Limits},
    model::{AppId, Digest, Epoch, Generation, Rev},
};

/// One page of changes.
#[derive(Debug)]
pub struct ChangesPage {
    /// The epoch it is of.
    pub epoch: Epoch,
    /// The generation it follows on.
    pub from: Generation,
    /// The generation it leads to; never lower than `from`.
    pub to: Generation,
    /// Whether the orchestrator says it is ready; where it does not, this is no change.
    pub ready: bool,
    /// New and changed apps; invalid ones too. No app is in both lists, or twice in one.
    pub upserts: Vec<Incoming>,
    /// Apps that are gone.
    pub deletes: Vec<(AppId, Rev)>,
    /// Another page follows from `to`.
    pub more: bool,
    /// Apps in the whole table at `to`.
    pub apps: u64,
    /// The digest of the whole table at `to`.
    pub digest: Digest,
    /// The orchestrator's word that a shrink is meant.
    pub shrink_ok: Option<ShrinkOk>,
}

/// Reads one page. Of two changes of one app in it the one with the higher rev counts: the two lists of a page have no
/// order among each other.
///
/// # Errors
/// When it is over `changes_bytes`, cannot be understood, or has two changes of one app with the same rev.
pub fn parse_changes(body: Bytes, limits: &Limits) -> Result<ChangesPage, WireError> {
    let length = u64::try_from(body.len()).unwrap_or(u64::MAX);
    check_limit(length, LimitName::ChangesBytes, limits.changes_bytes)?;
    page(raw::read_answer(&body)?, limits)
}

fn page(raw: raw::Changes<'_>, limits: &Limits) -> Result<ChangesPage, WireError> {
    if raw.to < raw.from {
        return Err(WireError::garbage(1, "`to` is lower than `from`"));
    }
    let upserts = raw.upserts.iter().flatten().map(|upsert| read_upsert(upsert, limits));
    let deletes = raw.deletes.iter().flatten().map(raw::Delete::read);
    let (upserts, deletes) = newest(upserts.collect::<Result<_, _>>()?, deletes.collect::<Result<_, _>>()?)?;
    Ok(ChangesPage {
        epoch: raw::epoch(1, &raw.epoch)?,
        from: Generation(raw.from),
        to: Generation(raw.to),
        ready: raw.ready,
        upserts,
        deletes,
        more: raw.more,
        apps: raw.apps,
        digest: raw::digest(1, &raw.digest)?,
        shrink_ok: raw.shrink_ok.map(ShrinkOk::from),
    })
}

fn read_upsert(upsert: &raw::Upsert<'_>, limits: &Limits) -> Result<Incoming, WireError> {
    let id = raw::app_id(1, &upsert.app)?;
    Ok(Incoming::read(id, Rev(upsert.rev), upsert.spec.get().as_bytes(), limits))
}

type Deletes = Vec<(AppId, Rev)>;

/// Leaves one change of each app, that with the highest rev.
fn newest(mut upserts: Vec<Incoming>, mut deletes: Deletes) -> Result<(Vec<Incoming>, Deletes), WireError> {
    let mut revs: HashMap<AppId, Rev, RandomState> = HashMap::default();
    let changed = upserts.iter().map(|upsert| (&upsert.id, upsert.rev));
    for (id, rev) in changed.chain(deletes.iter().map(|(id, rev)| (id, *rev))) {
        match revs.entry(id.clone()) {
            Entry::Occupied(known) if *known.get() == rev => return Err(WireError::DuplicateApp { app: id.clone() }),
            Entry::Occupied(mut known) => *known.get_mut() = rev.max(*known.get()),
            Entry::Vacant(place) => {
                place.insert(rev);
            }
        }
    }
    if revs.len() < upserts.len() + deletes.len() {
        upserts.retain(|upsert| revs.get(&upsert.id) == Some(&upsert.rev));
        deletes.retain(|(id, rev)| revs.get(id) == Some(rev));
    }
    Ok((upserts, deletes))
}

/// A change: what one page says, or several that follow one another.
#[derive(Debug)]
pub struct Changes {
    /// The epoch it is of.
    pub epoch: Epoch,
    /// The generation it follows on.
    pub from: Generation,
    /// The generation it leads to.
    pub to: Generation,
    /// Whether the orchestrator has said with every page that it is ready.
    pub ready: bool,
    /// New and changed apps, in no order; invalid ones too. No app is in both lists, or twice in one.
    pub upserts: Vec<Incoming>,
    /// Apps that are gone, in no order.
    pub deletes: Vec<(AppId, Rev)>,
    /// Apps in the whole table at `to`.
    pub apps: u64,
    /// The digest of the whole table at `to`.
    pub digest: Digest,
    /// The orchestrator's word that a shrink is meant: that of the last page that has one.
    pub shrink_ok: Option<ShrinkOk>,
}

impl Changes {
    /// The change that one page makes.
    #[must_use]
    pub fn from_page(page: ChangesPage) -> Self {
        let ChangesPage { epoch, from, to, ready, upserts, deletes, more: _, apps, digest, shrink_ok } = page;
        Self { epoch, from, to, ready, upserts, deletes, apps, digest, shrink_ok }
    }
}

/// Pages that follow one another, while they become one change. A page costs its own length, however many came before.
#[derive(Debug)]
pub struct GatheredChanges {
    changes: Changes,
    /// Where each app stands.
    places: HashMap<AppId, Place, RandomState>,
    /// Of the documents in `changes`.
    bytes: u64,
}

/// Where an app stands in a change.
#[derive(Clone, Copy, Debug)]
enum Place {
    Upsert(usize),
    Delete(usize),
}

impl GatheredChanges {
    /// The first page.
    #[must_use]
    pub fn from_page(page: ChangesPage) -> Self {
        let changes = Changes::from_page(page);
        let upserts = changes.upserts.iter().map(|upsert| upsert.id.clone()).zip((0..).map(Place::Upsert));
        let deletes = changes.deletes.iter().map(|(id, _)| id.clone()).zip((0..).map(Place::Delete));
        Self { places: upserts.chain(deletes).collect(), bytes: bytes_of(&changes.upserts), changes }
    }

    /// Adds the page that follows; its upsert or delete of an app replaces an earlier one.
    ///
    /// # Errors
    /// When it is of another epoch, does not follow, or makes more than a whole snapshot may hold (`limits`). Then
    /// nothing was added, and the pages so far are of no use: take a snapshot.
    pub fn append(&mut self, page: ChangesPage, limits: &Limits) -> Result<(), WireError> {
        let changes = &self.changes;
        if page.epoch != changes.epoch {
            return Err(WireError::EpochChanged { expected: changes.epoch.clone(), found: page.epoch });
        }
        if page.from != changes.to {
            return Err(WireError::Gap { expected: changes.to, found: page.from });
        }
        self.check_size(&page, limits)?;
        for upsert in page.upserts {
            self.upsert(upsert);
        }
        for (id, rev) in page.deletes {
            self.delete(id, rev);
        }
        let changes = &mut self.changes;
        changes.to = page.to;
        changes.ready &= page.ready;
        changes.apps = page.apps;
        changes.digest = page.digest;
        changes.shrink_ok = page.shrink_ok.or(changes.shrink_ok.take());
        Ok(())
    }

    /// What has been gathered.
    #[must_use]
    pub fn finish(self) -> Changes {
        self.changes
    }

    /// What has been gathered so far.
    #[must_use]
    pub fn changes(&self) -> &Changes {
        &self.changes
    }

    fn check_size(&self, page: &ChangesPage, limits: &Limits) -> Result<(), WireError> {
        let count = self.places.len() + page.upserts.len() + page.deletes.len();
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        check_limit(count, LimitName::SnapshotApps, limits.snapshot_apps)?;
        let bytes = self.bytes.saturating_add(bytes_of(&page.upserts));
        check_limit(bytes, LimitName::SnapshotBytes, limits.snapshot_bytes)
    }

    fn upsert(&mut self, upsert: Incoming) {
        self.leave(&upsert.id);
        self.places.insert(upsert.id.clone(), Place::Upsert(self.changes.upserts.len()));
        self.bytes = self.bytes.saturating_add(upsert.bytes as u64);
        self.changes.upserts.push(upsert);
    }

    fn delete(&mut self, id: AppId, rev: Rev) {
        self.leave(&id);
        self.places.insert(id.clone(), Place::Delete(self.changes.deletes.len()));
        self.changes.deletes.push((id, rev));
    }

    /// Takes out what an earlier page says of the app; the last of its list comes into its place.
    fn leave(&mut self, id: &AppId) {
        let Changes { upserts, deletes, .. } = &mut self.changes;
        let place = self.places.remove(id);
        let moved = match place {
            Some(Place::Upsert(at)) if at < upserts.len() => {
                self.bytes = self.bytes.saturating_sub(upserts.swap_remove(at).bytes as u64);
                upserts.get(at).map(|upsert| &upsert.id)
            }
            Some(Place::Delete(at)) if at < deletes.len() => {
                deletes.swap_remove(at);
                deletes.get(at).map(|(id, _)| id)
            }
            _ => None,
        };
        if let (Some(place), Some(known)) = (place, moved.and_then(|id| self.places.get_mut(id))) {
            *known = place;
        }
    }
}

fn bytes_of(upserts: &[Incoming]) -> u64 {
    upserts.iter().map(|upsert| upsert.bytes as u64).sum()
}
