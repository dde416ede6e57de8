//! An orchestrator as a value, and an updater with its disk and clock.

use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};

use bytes::Bytes;

use crate::{
    disk::sim::SimDisk,
    gate::{GateConfig, Observation},
    guard::GuardConfig,
    limits::Limits,
    live::{Published, Reader, Source},
    model::{AppId, Digest, Epoch, Generation, Now, Rev, WallTime},
    updater::{BootReport, Outcome, PoisonRules, Position, Summary, Updater, UpdaterConfig},
    wire::{Batch, Changes, Incoming, ShrinkOk, SnapshotCandidate},
};

pub(super) const FOLDER: &str = "/var/lib/holdgate";

pub(super) fn id(text: &str) -> AppId {
    AppId::new(text).unwrap()
}

pub(super) fn epoch(text: &str) -> Epoch {
    Epoch::new(text).unwrap()
}

/// A document with these hosts and `endpoints` endpoints; `note` makes it differ.
pub(super) fn document(hosts: &[&str], endpoints: usize, note: u64) -> String {
    let hosts: Vec<String> = hosts.iter().map(|host| format!("{host:?}")).collect();
    let port = 1000 + note % 50_000;
    let endpoints: Vec<String> = (1..=endpoints).map(|n| format!("\"10.0.0.{n}:{port}\"")).collect();
    format!("{{\"hosts\":[{}],\"endpoints\":[{}]}}", hosts.join(","), endpoints.join(","))
}

/// App -> rev and document.
pub(super) type Apps = BTreeMap<String, (u64, String)>;

/// The orchestrator's table, with everything it ever was.
#[derive(Clone, Debug)]
pub(super) struct Server {
    pub(super) epoch: String,
    pub(super) generation: u64,
    pub(super) apps: Apps,
    pub(super) shrink_ok: Option<u64>,
    history: BTreeMap<u64, Apps>,
}

impl Server {
    pub(super) fn new(epoch: &str) -> Self {
        let (apps, history) = (BTreeMap::new(), BTreeMap::from([(0, BTreeMap::new())]));
        Self { epoch: epoch.into(), generation: 0, apps, shrink_ok: None, history }
    }

    /// With `count` apps, `app-0` and so on, each with its own host and one endpoint.
    pub(super) fn with_apps(count: usize) -> Self {
        let mut server = Self::new("e1");
        server.change(|apps, rev| (0..count).for_each(|n| drop(apps.insert(name(n), (rev, plain(n, 1, rev))))));
        server
    }

    /// One more generation.
    pub(super) fn change(&mut self, deed: impl FnOnce(&mut Apps, u64)) {
        self.generation += 1;
        deed(&mut self.apps, self.generation);
        self.history.insert(self.generation, self.apps.clone());
    }

    pub(super) fn put(&mut self, app: &str, document: String) {
        self.change(|apps, rev| drop(apps.insert(app.into(), (rev, document))));
    }

    pub(super) fn delete(&mut self, gone: std::ops::Range<usize>) {
        self.change(|apps, _| gone.for_each(|n| drop(apps.remove(&name(n)))));
    }

    fn read(app: &str, rev: u64, document: &str) -> Incoming {
        Incoming::read(id(app), Rev(rev), document.as_bytes(), &Limits::default())
    }

    fn shrink_ok(&self) -> Option<ShrinkOk> {
        self.shrink_ok.map(|to_apps| ShrinkOk { to_apps, by: "ops".into(), why: "cleaning up".into() })
    }

    pub(super) fn digest(&self) -> Digest {
        let digest = |(app, (rev, doc)): (&String, &(u64, String))| Self::read(app, *rev, doc).digest;
        self.apps.iter().map(digest).fold(Digest::default(), Digest::plus)
    }

    /// Its apps as they are sent.
    pub(super) fn incoming(&self) -> Vec<Incoming> {
        self.apps.iter().map(|(app, (rev, doc))| Self::read(app, *rev, doc)).collect()
    }

    pub(super) fn snapshot(&self) -> SnapshotCandidate {
        SnapshotCandidate {
            epoch: epoch(&self.epoch),
            generation: Generation(self.generation),
            ready: true,
            shrink_ok: self.shrink_ok(),
            apps: batch(self.incoming()),
            partial: None,
            digest: self.digest(),
            bytes: 1,
        }
    }

    /// What changed since the position; `None` is a 410.
    pub(super) fn changes(&self, since: &Position) -> Option<Changes> {
        let before = self.history.get(&since.generation.0).filter(|_| since.epoch.as_str() == self.epoch)?;
        let upserts = self.apps.iter().filter(|(app, version)| before.get(*app) != Some(version));
        let deletes = before.keys().filter(|app| !self.apps.contains_key(*app));
        Some(Changes {
            epoch: epoch(&self.epoch),
            from: since.generation,
            to: Generation(self.generation),
            ready: true,
            upserts: upserts.map(|(app, (rev, doc))| Self::read(app, *rev, doc)).collect(),
            deletes: deletes.map(|app| (id(app), Rev(self.generation))).collect(),
            apps: self.apps.len() as u64,
            digest: self.digest(),
            shrink_ok: self.shrink_ok(),
        })
    }
}

pub(super) fn batch(apps: impl IntoIterator<Item = Incoming>) -> Batch {
    Batch::from_incoming(apps).unwrap()
}

pub(super) fn name(n: usize) -> String {
    format!("app-{n}")
}

pub(super) fn plain(n: usize, endpoints: usize, note: u64) -> String {
    document(&[&format!("app-{n}.example.com")], endpoints, note)
}

pub(super) fn config() -> UpdaterConfig {
    let (stable_for, lost_after) = (Duration::from_secs(5), Duration::from_secs(10));
    UpdaterConfig {
        gate: GateConfig { stable_for, lost_after, readiness_url: false },
        guard: GuardConfig {
            max_shrink_percent: 20.0,
            max_shrink_apps: 50,
            max_invalid_percent: 1.0,
            max_invalid_apps: 20,
        },
        limits: Limits::default(),
        poison: PoisonRules { crashes: 3, within: Duration::from_secs(10) },
    }
}

/// An updater with its disk and its clock.
pub(super) struct Rig {
    pub(super) disk: SimDisk,
    pub(super) updater: Updater,
    pub(super) reader: Reader,
    pub(super) boot: BootReport,
    pub(super) ms: u64,
}

impl Rig {
    pub(super) fn new() -> Self {
        Self::on(SimDisk::new(7), 1_000_000)
    }

    pub(super) fn on(disk: SimDisk, ms: u64) -> Self {
        let booted = Updater::boot_on(Arc::new(disk.clone()), config(), Path::new(FOLDER), at(ms));
        let (updater, reader, boot) = booted.unwrap();
        Self { disk, updater, reader, boot, ms }
    }

    /// Serves the server's table already, through an open gate.
    pub(super) fn serving(server: &Server) -> Self {
        let mut rig = Self::new();
        rig.ready();
        let outcome = rig.snapshot(server);
        assert!(matches!(outcome, Outcome::Published(_)), "{outcome:?}");
        rig.open_gate();
        rig
    }

    /// The process is killed and starts again on the same disk.
    pub(super) fn restarted(self) -> Self {
        let Self { disk, updater, ms, .. } = self;
        drop(updater);
        disk.kill();
        Self::on(disk, ms)
    }

    pub(super) fn now(&self) -> Now {
        at(self.ms)
    }

    pub(super) fn see(&mut self, seen: Observation) {
        self.updater.observe(seen, at(self.ms));
    }

    pub(super) fn ready(&mut self) {
        self.see(Observation::Ready);
    }

    pub(super) fn not_ready(&mut self) {
        self.see(Observation::NotReady("loading".into()));
    }

    pub(super) fn open_gate(&mut self) {
        for _ in 0..4 {
            self.ready();
            self.ms += 2000;
        }
        self.ready();
        assert!(self.updater.wants_answers(self.now()));
    }

    /// Time passes, with the orchestrator ready all along.
    pub(super) fn pass_minutes(&mut self, minutes: u64) {
        for _ in 0..minutes * 12 {
            self.ms += 5000;
            self.ready();
        }
    }

    pub(super) fn snapshot(&mut self, server: &Server) -> Outcome {
        self.updater.offer_snapshot(server.snapshot(), at(self.ms))
    }

    pub(super) fn offer(&mut self, candidate: SnapshotCandidate) -> Outcome {
        self.updater.offer_snapshot(candidate, at(self.ms))
    }

    pub(super) fn offer_changes(&mut self, changes: Changes) -> Outcome {
        self.updater.offer_changes(changes, at(self.ms))
    }

    /// The delta from where the updater is.
    pub(super) fn delta(&mut self, server: &Server) -> Outcome {
        let since = self.updater.position().expect("a position");
        self.offer_changes(server.changes(&since).expect("the changes are kept"))
    }

    pub(super) fn published(&self) -> std::sync::Arc<Published> {
        self.reader.load()
    }

    /// What is served: app -> rev, in order.
    pub(super) fn served(&self) -> BTreeMap<String, u64> {
        self.published().table.iter().map(|app| (app.id().to_owned(), app.rev().0)).collect()
    }

    pub(super) fn serves(&self, app: &str) -> bool {
        self.published().table.app(app).is_some()
    }

    pub(super) fn rev(&self, app: &str) -> Option<u64> {
        self.published().table.app(app).map(|app| app.rev().0)
    }

    pub(super) fn endpoints(&self, app: &str) -> usize {
        self.published().table.app(app).map_or(0, |app| app.endpoints() as usize)
    }

    pub(super) fn source(&self) -> Source {
        self.published().provenance.source
    }

    pub(super) fn held(&self) -> usize {
        self.updater.report(self.now()).held.total
    }

    /// The next heartbeat finds nothing to do: no loop.
    pub(super) fn assert_settled(&mut self, server: &Server) {
        assert_eq!(self.updater.position().map(|p| p.generation.0), Some(server.generation));
        let outcome = self.delta(server);
        assert!(matches!(outcome, Outcome::Unchanged(_)), "{outcome:?}");
    }
}

pub(super) fn at(ms: u64) -> Now {
    Now { monotonic: Duration::from_millis(ms), wall: WallTime(1_700_000_000_000 + ms) }
}

pub(super) fn published(outcome: Outcome) -> Summary {
    match outcome {
        Outcome::Published(summary) => summary,
        other => panic!("not published: {other:?}"),
    }
}

pub(super) fn held(outcome: Outcome) -> Summary {
    match outcome {
        Outcome::Held(summary) => summary,
        other => panic!("not held: {other:?}"),
    }
}

pub(super) fn served_document(rig: &Rig, app: &str) -> Bytes {
    rig.published().table.app(app).map(|app| Bytes::copy_from_slice(app.document())).unwrap_or_default()
}
