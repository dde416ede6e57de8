//! Whatever an orchestrator, an operator and a disk do: the last good table is never dropped.
//!
//! A world of a few apps, in virtual time, on a simulated disk. After every step the served table is compared with the
//! one before, and every difference must have been asked for through an open gate and be within the guard's limits.

use std::{collections::BTreeMap, path::Path};

use proptest::prelude::*;

use super::rig::*;
use crate::{
    disk::sim::{Failure, SimDisk},
    gate::Observation,
    live::Reader,
    model::{AppId, Generation},
    updater::{GuardConfig, Outcome, Updater, UpdaterConfig},
    wire::SnapshotCandidate,
};

/// Apps there can be.
const APPS: usize = 12;
/// Apps that may go in an hour without being held, if they are few in percent too.
const MAX_SHRINK_APPS: u64 = 2;
/// Of the apps, in percent.
const MAX_SHRINK_PERCENT: f64 = 20.0;

#[derive(Clone, Debug)]
enum Step {
    Pass(u64),
    Ready,
    NotReady,
    TimeOut,
    Put { app: usize, host: usize, endpoints: usize },
    Break(usize),
    Delete { from: usize, count: usize },
    MeanIt(bool),
    NewEpoch,
    KeepSnapshot,
    OfferSnapshot,
    OfferKept,
    OfferPart(usize),
    OfferUnready,
    OfferEmpty,
    OfferDelta,
    OfferLie,
    Approve,
    DiskFails(u64),
    PowerGoes(u64),
    DiskHeals,
    RetrySave,
    Kill,
    Crash,
}

fn step() -> impl Strategy<Value = Step> {
    let put = (0..APPS, 0..APPS, 0usize..3).prop_map(|(app, host, endpoints)| Step::Put { app, host, endpoints });
    let own = (0..APPS, 0usize..3).prop_map(|(app, endpoints)| Step::Put { app, host: app, endpoints });
    let delete = (0..APPS, 1..APPS).prop_map(|(from, count)| Step::Delete { from, count });
    prop_oneof![
        4 => prop_oneof![0u64..3000, 3000u64..15_000, Just(3_700_000)].prop_map(Step::Pass),
        12 => Just(Step::Ready),
        1 => Just(Step::NotReady),
        1 => Just(Step::TimeOut),
        3 => put,
        4 => own,
        1 => (0..APPS).prop_map(Step::Break),
        3 => delete,
        1 => any::<bool>().prop_map(Step::MeanIt),
        1 => Just(Step::NewEpoch),
        1 => Just(Step::KeepSnapshot),
        4 => Just(Step::OfferSnapshot),
        1 => Just(Step::OfferKept),
        1 => (0..APPS).prop_map(Step::OfferPart),
        1 => Just(Step::OfferUnready),
        1 => Just(Step::OfferEmpty),
        8 => Just(Step::OfferDelta),
        1 => Just(Step::OfferLie),
        1 => Just(Step::Approve),
        1 => (0u64..12).prop_map(Step::DiskFails),
        1 => (0u64..12).prop_map(Step::PowerGoes),
        1 => Just(Step::DiskHeals),
        1 => Just(Step::RetrySave),
        1 => Just(Step::Kill),
        1 => Just(Step::Crash),
    ]
}

/// What is served: app -> rev and number of endpoints.
type View = BTreeMap<AppId, (u64, usize)>;

struct World {
    disk: SimDisk,
    updater: Updater,
    reader: Reader,
    ms: u64,
    server: Server,
    kept: Option<SnapshotCandidate>,
    /// Every table that was published, and how many of them were when a save last succeeded.
    published: Vec<View>,
    durable: usize,
    /// What was received last is not what the server had: a part of it, or a lie.
    patchwork: bool,
    /// That was so once, and may be so again after a restart.
    ever_patchwork: bool,
}

fn small() -> UpdaterConfig {
    let guard = GuardConfig {
        max_shrink_percent: MAX_SHRINK_PERCENT,
        max_shrink_apps: MAX_SHRINK_APPS,
        max_invalid_percent: 10.0,
        max_invalid_apps: 1,
    };
    UpdaterConfig { guard, ..config() }
}

fn boot(disk: &SimDisk, ms: u64) -> (Updater, Reader) {
    let (updater, reader, _) = Updater::boot_on(disk.clone(), small(), Path::new(FOLDER), at(ms)).unwrap();
    (updater, reader)
}

impl World {
    fn new(seed: u64) -> Self {
        let disk = SimDisk::new(seed);
        let (updater, reader) = boot(&disk, 0);
        let (server, kept) = (Server::with_apps(8), None);
        let (patchwork, ever_patchwork, published) = (false, false, Vec::new());
        Self { disk, updater, reader, ms: 0, server, kept, published, durable: 0, patchwork, ever_patchwork }
    }

    fn view(&self) -> View {
        let published = self.reader.load();
        let view = |app: &std::sync::Arc<crate::model::App>| (app.id.clone(), (app.rev.0, app.spec.endpoint_count()));
        published.table.iter().map(view).collect()
    }

    fn take(&mut self, step: Step) {
        let before = (self.reader.load().has_table(), self.view());
        match step {
            Step::Pass(ms) => self.ms += ms,
            Step::Ready => self.see(Observation::Ready),
            Step::NotReady => self.see(Observation::NotReady("loading".into())),
            Step::TimeOut => self.see(Observation::Unanswered("time-out".into())),
            Step::Approve => return self.approve(&before.1),
            Step::Kill | Step::Crash => return self.restart(matches!(step, Step::Crash)),
            Step::RetrySave => self.retry_save(),
            Step::DiskFails(nth) => self.disk.fail(nth, 3, Failure::NoSpace),
            Step::PowerGoes(nth) => self.disk.power_off_at(nth),
            Step::DiskHeals => self.disk.heal(),
            step if self.offer(&step) => return,
            step => self.change_server(step),
        }
        assert_eq!((self.reader.load().has_table(), self.view()), before, "nothing was offered");
    }

    fn see(&mut self, seen: Observation) {
        self.updater.observe(seen, at(self.ms));
    }

    fn change_server(&mut self, step: Step) {
        let server = &mut self.server;
        match step {
            Step::Put { app, host, endpoints } => server.put(&name(app), plain(host, endpoints, app as u64)),
            Step::Break(app) => server.put(&name(app), "{\"hosts\":[]}".into()),
            Step::Delete { from, count } => server.delete(from..from + count),
            Step::MeanIt(true) => server.shrink_ok = Some(server.apps.len() as u64),
            Step::MeanIt(false) => server.shrink_ok = None,
            Step::NewEpoch => {
                let mut next = Server::new(&format!("{}x", &server.epoch[..server.epoch.len().min(40)]));
                next.change(|apps, rev| {
                    server.apps.iter().for_each(|(app, (_, document))| {
                        drop(apps.insert(app.clone(), (rev, document.clone())));
                    })
                });
                *server = next;
            }
            Step::KeepSnapshot => self.kept = Some(server.snapshot()),
            _ => {}
        }
    }

    /// False when the step is no offer.
    fn offer(&mut self, step: &Step) -> bool {
        let mut candidate = match step {
            Step::OfferSnapshot | Step::OfferUnready | Step::OfferPart(_) => self.server.snapshot(),
            Step::OfferEmpty => Server::new(&self.server.epoch).snapshot(),
            Step::OfferKept => match self.kept.take() {
                Some(kept) => kept,
                None => return true,
            },
            Step::OfferDelta | Step::OfferLie => {
                self.offer_delta(matches!(step, Step::OfferLie));
                return true;
            }
            _ => return false,
        };
        match step {
            Step::OfferUnready => candidate.ready = false,
            Step::OfferEmpty => candidate.generation = Generation(self.server.generation),
            Step::OfferPart(apps) => {
                candidate.apps.truncate(*apps);
                candidate.partial = Some("cut short".into());
            }
            _ => {}
        }
        let real = matches!(step, Step::OfferSnapshot | Step::OfferKept);
        self.offer_snapshot(candidate, real);
        true
    }

    fn offer_snapshot(&mut self, candidate: SnapshotCandidate, real: bool) {
        let partial = candidate.partial.is_some();
        let there = endpoints(&candidate.apps);
        let (before, wanted, meant) = (self.view(), self.wants(candidate.ready), candidate.shrink_ok.is_some());
        let outcome = self.updater.offer_snapshot(candidate, at(self.ms));
        let takes = |id: &AppId| !partial && !there.contains_key(id);
        let empties = |id: &AppId| there.get(id) == Some(&Some(0));
        self.check(&Offered { before, wanted, meant, takes: &takes, empties: &empties }, &outcome);
        self.note(&outcome);
        if outcome.summary().is_some() {
            self.patchwork = !real;
            self.ever_patchwork |= !real;
            assert!(partial || self.updater.position().is_some(), "a whole snapshot brings everything");
        }
        self.check_settled(&outcome);
    }

    fn offer_delta(&mut self, lie: bool) {
        let Some(mut changes) = self.updater.position().and_then(|since| self.server.changes(&since)) else { return };
        changes.digest.0 ^= u128::from(lie);
        let (before, wanted, meant) = (self.view(), self.wants(true), changes.shrink_ok.is_some());
        let outcome = self.updater.offer_changes(changes, at(self.ms));
        assert!(!(lie && outcome.summary().is_some()), "{outcome:?}");
        let (takes, empties) = (|id: &AppId| self.server_lacks(id), |id: &AppId| self.server_has_none(id));
        self.check(&Offered { before, wanted, meant, takes: &takes, empties: &empties }, &outcome);
        self.note(&outcome);
        if !lie {
            let drifted = matches!(outcome, Outcome::NeedSnapshot(_));
            assert!(!drifted || self.patchwork, "{outcome:?}");
            self.check_settled(&outcome);
        }
    }

    /// A delta is held against the whole of the server's table: one that releases what was held does not name it again.
    fn server_lacks(&self, id: &AppId) -> bool {
        !self.server.apps.contains_key(id.as_str())
    }

    fn server_has_none(&self, id: &AppId) -> bool {
        self.server.apps.get(id.as_str()).is_some_and(|(_, document)| document.ends_with("[]}"))
    }

    fn wants(&self, ready: bool) -> bool {
        let gate = self.updater.report(at(self.ms));
        ready && (gate.gate_open || !self.reader.load().has_table())
    }

    /// The invariants of one offer.
    fn check(&self, offered: &Offered<'_>, outcome: &Outcome) {
        let (after, before) = (self.view(), &offered.before);
        if outcome.summary().is_none() {
            assert_eq!(&after, before, "refused: {outcome:?}");
            return;
        }
        assert!(offered.wanted, "the gate is shut: {outcome:?}");
        assert!(self.reader.load().has_table());
        let mut lost = 0;
        for (id, (_, had)) in before {
            match after.get(id) {
                None => assert!((offered.takes)(id), "{id} is gone: {outcome:?}"),
                Some((_, 0)) if *had > 0 => assert!((offered.empties)(id), "{id} lost its endpoints: {outcome:?}"),
                Some(_) => continue,
            }
            lost += 1;
        }
        let percent = lost as f64 * 100.0 / before.len().max(1) as f64;
        let few = lost <= MAX_SHRINK_APPS || percent <= MAX_SHRINK_PERCENT;
        assert!(few || offered.meant, "{lost} of {} went at once: {outcome:?}", before.len());
    }

    fn note(&mut self, outcome: &Outcome) {
        let Some(summary) = outcome.summary() else { return };
        self.published.push(self.view());
        if summary.saved {
            self.durable = self.published.len();
        }
    }

    /// After the server's own table was taken, in whole or in part, its next heartbeat finds nothing to do.
    fn check_settled(&mut self, outcome: &Outcome) {
        if outcome.summary().is_none() || self.patchwork {
            return;
        }
        let since = self.updater.position().filter(|since| since.generation.0 == self.server.generation);
        let heartbeat = since.and_then(|since| self.server.changes(&since));
        let (Some(heartbeat), true) = (heartbeat, self.wants(true)) else { return };
        assert_eq!(heartbeat.upserts.len() + heartbeat.deletes.len(), 0);
        let before = self.view();
        let outcome = self.updater.offer_changes(heartbeat, at(self.ms));
        assert!(!matches!(outcome, Outcome::NeedSnapshot(_)), "a loop: {outcome:?}");
        let after = self.view();
        before.keys().for_each(|id| assert!(after.contains_key(id) || self.server_lacks(id)));
        self.note(&outcome);
    }

    fn approve(&mut self, before: &View) {
        let held = self.updater.report(at(self.ms)).held;
        let Ok(outcome) = self.updater.approve(held.generation, at(self.ms)) else {
            assert_eq!(held.total, 0);
            return;
        };
        let after = self.view();
        before.keys().filter(|id| !after.contains_key(*id)).for_each(|id| assert!(held.deletes.contains(id)));
        self.note(&outcome);
    }

    fn retry_save(&mut self) {
        let unsaved = self.updater.report(at(self.ms)).saved.unsaved;
        if self.updater.retry_save(at(self.ms)) && unsaved {
            self.durable = self.published.len();
        }
    }

    fn restart(&mut self, power: bool) {
        let report = self.updater.report(at(self.ms));
        let (held, saved) = (report.held.total, !report.saved.unsaved);
        // The updater goes before its disk does.
        let (updater, reader) = boot(&SimDisk::new(0), 0);
        (self.updater, self.reader) = (updater, reader);
        self.disk.heal();
        if power {
            self.disk.crash()
        } else {
            self.disk.kill()
        }
        let (updater, reader) = boot(&self.disk, self.ms);
        (self.updater, self.reader) = (updater, reader);
        self.patchwork = self.ever_patchwork;
        let view = self.view();
        if self.durable == 0 && !self.reader.load().has_table() {
            return;
        }
        let may_be = &self.published[self.durable.saturating_sub(1)..];
        assert!(may_be.contains(&view), "not one that was published since the last save: {view:?}");
        if saved {
            // Which of those that differ were held and which invalid is known again after a snapshot.
            let unsure = if held > 0 { report.invalid_total } else { 0 };
            let now = self.updater.report(at(self.ms)).held.total;
            assert!((held..=held + unsure).contains(&now), "{now} held after a restart, {held} before");
        }
    }
}

/// What an offer may do.
struct Offered<'a> {
    before: View,
    /// The gate is open, or there is no table.
    wanted: bool,
    /// The orchestrator said that a shrink is meant.
    meant: bool,
    /// Whether it takes an app away.
    takes: &'a dyn Fn(&AppId) -> bool,
    /// Whether it leaves an app without endpoints.
    empties: &'a dyn Fn(&AppId) -> bool,
}

/// The endpoints of each app; `None` where its document is invalid.
fn endpoints(apps: &[crate::wire::Incoming]) -> BTreeMap<AppId, Option<usize>> {
    let count = |app: &crate::wire::Incoming| app.app.as_ref().ok().map(|app| app.spec.endpoint_count());
    apps.iter().map(|app| (app.id.clone(), count(app))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_last_good_table_is_never_dropped(seed in any::<u64>(), steps in prop::collection::vec(step(), 1..120)) {
        let mut world = World::new(seed);
        for step in steps {
            world.take(step);
        }
    }
}
