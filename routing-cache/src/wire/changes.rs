//! GET /v1/changes: pages, and the change they make together.

use bytes::Bytes;
use foldhash::fast::RandomState;
use hashbrown::{HashMap, HashSet, hash_map::Entry};

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

/// Pages that follow one another, as one change. Applied together when the last has arrived.
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
    /// New and changed apps; invalid ones too. No app is in both lists, or twice in one.
    pub upserts: Vec<Incoming>,
    /// Apps that are gone.
    pub deletes: Vec<(AppId, Rev)>,
    /// Apps in the whole table at `to`.
    pub apps: u64,
    /// The digest of the whole table at `to`.
    pub digest: Digest,
    /// The orchestrator's word that a shrink is meant: that of the last page that has one.
    pub shrink_ok: Option<ShrinkOk>,
}

impl Changes {
    /// The change that the first page makes.
    #[must_use]
    pub fn from_page(page: ChangesPage) -> Self {
        let ChangesPage { epoch, from, to, ready, upserts, deletes, more: _, apps, digest, shrink_ok } = page;
        Self { epoch, from, to, ready, upserts, deletes, apps, digest, shrink_ok }
    }

    /// Adds the page that follows; its upsert or delete of an app replaces an earlier one.
    ///
    /// # Errors
    /// When the page does not follow on what is there, or all pages together are larger than a snapshot may be. Then
    /// nothing was added, and the pages so far are of no use: take a snapshot.
    pub fn append(&mut self, page: ChangesPage, limits: &Limits) -> Result<(), WireError> {
        if page.epoch != self.epoch {
            return Err(WireError::EpochChanged { expected: self.epoch.clone(), found: page.epoch });
        }
        if page.from != self.to {
            return Err(WireError::Gap { expected: self.to, found: page.from });
        }
        self.check_size(&page, limits)?;
        self.replace(page.upserts, page.deletes);
        self.to = page.to;
        self.ready &= page.ready;
        self.apps = page.apps;
        self.digest = page.digest;
        self.shrink_ok = page.shrink_ok.or(self.shrink_ok.take());
        Ok(())
    }

    fn check_size(&self, page: &ChangesPage, limits: &Limits) -> Result<(), WireError> {
        let count = [self.upserts.len(), self.deletes.len(), page.upserts.len(), page.deletes.len()].iter().sum();
        let bytes = self.upserts.iter().chain(&page.upserts).map(|upsert| upsert.bytes).sum();
        let wide = |size: usize| u64::try_from(size).unwrap_or(u64::MAX);
        check_limit(wide(count), LimitName::SnapshotApps, limits.snapshot_apps)?;
        check_limit(wide(bytes), LimitName::SnapshotBytes, limits.snapshot_bytes)
    }

    fn replace(&mut self, upserts: Vec<Incoming>, deletes: Deletes) {
        let ids = upserts.iter().map(|upsert| &upsert.id).chain(deletes.iter().map(|(id, _)| id));
        let changed: HashSet<&AppId, RandomState> = ids.collect();
        self.upserts.retain(|upsert| !changed.contains(&upsert.id));
        self.deletes.retain(|(id, _)| !changed.contains(id));
        drop(changed);
        self.upserts.extend(upserts);
        self.deletes.extend(deletes);
    }
}
