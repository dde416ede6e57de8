//! What a restart begins with: from what is served and received to [`Saved`], and back.
//!
//! An app whose saved document no longer parses is left out and named; everything else is served. Documents that are
//! received but not served are not kept: what is known of them is that a snapshot must bring them.

use std::sync::Arc;

use super::{
    Holding,
    received::{Difference, Kind, Position, Received},
    report::SHRINK_GUARD,
};
use crate::{
    guard::Guard,
    live::{Provenance, Published, Source},
    model::{App, AppId, WallTime},
    snapshot::{ReceivedApp, ReceivedTable, Saved, SavedApp, SavedHeld, SavedMeta, ServedApp},
    wire::parse_document,
};

/// What is saved, as of now.
pub(super) struct Keep<'a> {
    pub(super) published: &'a Published,
    pub(super) received: &'a Received,
    pub(super) holding: Option<&'a Holding>,
    pub(super) guard: &'a Guard,
}

impl Keep<'_> {
    pub(super) fn to_saved(&self, now: WallTime) -> Saved {
        Saved { meta: self.meta(now), apps: self.apps() }
    }

    fn meta(&self, now: WallTime) -> SavedMeta {
        let (guard_window, hour_max) = self.guard.to_save(now);
        let held = |h: &Holding| SavedHeld { reason: SHRINK_GUARD.into(), since: h.since, generation: h.generation };
        let provenance = &self.published.provenance;
        SavedMeta {
            epoch: self.received.position.epoch.clone(),
            generation: self.received.position.generation,
            served_generation: provenance.generation,
            source: provenance.source.as_str().into(),
            received_at: provenance.received_at,
            received: ReceivedTable { digest: self.received.digest, apps: self.received.apps },
            guard_window,
            hour_max,
            held: self.holding.map(held),
        }
    }

    fn apps(&self) -> Vec<SavedApp> {
        let Self { published: Published { table, .. }, received: Received { differences, .. }, .. } = self;
        let served = table.iter().map(|app| {
            let received = differences.get(&app.id).map_or(Some(ReceivedApp::of(app)), |d| d.kind.received());
            (&app.id, Some(served(app)), received)
        });
        let unserved = differences.iter().filter(|(id, _)| table.app(id.as_str()).is_none());
        let apps = served.chain(unserved.map(|(id, difference)| (id, None, difference.kind.received())));
        apps.map(|(id, served, received)| SavedApp { id: id.clone(), served, received }).collect()
    }
}

fn served(app: &App) -> ServedApp {
    ServedApp { rev: app.rev, digest: app.digest, document: app.document.clone() }
}

/// What was saved, back in use.
pub(super) struct Restored {
    pub(super) published: Published,
    pub(super) received: Received,
    pub(super) holding: Option<Holding>,
    /// Apps that were served and cannot be any more, and why.
    pub(super) unreadable: Vec<(String, String)>,
}

impl Restored {
    pub(super) fn new(saved: Saved) -> Self {
        let Saved { meta, apps } = saved;
        let position = Position { epoch: meta.epoch.clone(), generation: meta.generation };
        let received = apps.iter().filter_map(|app| app.received).fold(Received::nothing(position), Received::with);
        let mut restored = Self { published: Published::default(), received, holding: None, unreadable: Vec::new() };
        let had_apps = apps.iter().any(|app| app.served.is_some());
        apps.into_iter().for_each(|app| restored.put_back(app, meta.held.is_some()));
        let nothing_left = had_apps && restored.published.table.is_empty();
        restored.published.provenance = Provenance {
            source: if nothing_left { Source::None } else { Source::Snapshot },
            epoch: Some(meta.epoch),
            generation: meta.served_generation,
            received_at: meta.received_at,
        };
        let held = restored.received.held().next().is_some();
        restored.holding = meta.held.filter(|_| held).map(|h| Holding::restored(h.since, h.generation));
        restored
    }

    fn put_back(&mut self, app: SavedApp, something_held: bool) {
        let SavedApp { id, served, received } = app;
        let is_same = served.as_ref().is_some_and(|s| received == Some(s.as_received()));
        let held = something_held && served.is_some();
        let serves = served.is_some_and(|served| match self.serve(&id, served) {
            Ok(()) => true,
            Err(why) => {
                self.unreadable.push((id.to_string(), why));
                false
            }
        });
        let kind = match received {
            _ if serves && is_same => return,
            None if serves => Kind::Deleted,
            None => return,
            Some(number) => Kind::Unknown { number, held: held && serves && !is_same },
        };
        self.received.differ(id, Difference { kind, foreign: true });
    }

    fn serve(&mut self, id: &AppId, served: ServedApp) -> Result<(), String> {
        let ServedApp { rev, digest, document } = served;
        let spec = parse_document(&document).map_err(|error| error.to_string())?;
        let app = App { id: id.clone(), rev, digest, document, spec };
        self.published.table.upsert(Arc::new(app)).map(drop).map_err(|taken| taken.to_string())
    }
}
