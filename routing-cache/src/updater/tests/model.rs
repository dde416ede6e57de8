//! The model: whatever an orchestrator, an operator and a disk do, the last good table is never dropped.
//!
//! A world of a few apps, in virtual time, on a simulated disk. The orchestrator restarts with its storage gone or restored
//! (a new epoch), has replicas that lag or disagree, answers in part and lies; its apps are broken, take each other's hosts,
//! come back from the dead, go one by one or all at once. The operator approves, goes back, imports, unpins, takes epochs
//! back and changes limits. The process is killed and the power goes.
//!
//! Held after every step:
//! - no path leads from an error to an empty table, and nothing changes while the gate is shut or the table is pinned;
//! - an app goes, or loses its endpoints, only when the orchestrator's own answer says so, and then no more than the guard
//!   lets go within an hour, but for what an operator or a `shrink_ok` has released;
//! - an app that was taken away does not come back within its epoch with a rev that is not above its tombstone;
//! - digest and counts of what is served are those of a recount, and what was received is what a shadow of the answers
//!   that were taken says;
//! - after a restart the table is one that was published, and not older than the last one acknowledged as saved.
//!
//! Mutants that it was seen to catch: an upsert with just the tombstone's rev taken; retired epochs not asked; the hour
//! forgotten at a restart; the gate not asked; held apps removed; a save acknowledged that failed; a partial snapshot that
//! deletes. Stale revs and poison are not its matter: `epochs`, `offers` and `keeping` have them.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Arc,
};

use proptest::prelude::*;

use super::rig::*;
use crate::{
    disk::sim::{Failure, SimDisk},
    gate::Observation,
    guard::WINDOW,
    live::Reader,
    model::Digest,
    updater::{GuardConfig, Outcome, Updater, UpdaterConfig},
    wire::{Changes, Incoming, SnapshotCandidate},
};

/// Apps there can be.
const APPS: usize = 14;
/// Apps that may go in an hour without being held, if they are few in percent too.
const MAX_SHRINK_APPS: u64 = 2;
/// Of the apps, in percent.
const MAX_SHRINK_PERCENT: f64 = 20.0;

#[derive(Clone, Debug)]
enum Step {
    Pass(u64),
    Ready,
    OpenGate,
    NotReady,
    TimeOut,
    Put { app: usize, host: usize, endpoints: usize },
    Break(usize),
    Delete { from: usize, count: usize },
    Revive { app: usize, rev: u64 },
    MeanIt(bool),
    NewEpoch,
    KeepServer,
    SwapServer,
    Offer(Offer),
    Approve,
    ApproveEpoch(usize),
    Rollback(usize),
    Import(usize),
    Unpin,
    Compact,
    Tick,
    DiskFails(u64),
    PowerGoes(u64),
    DiskHeals,
    RetrySave,
    Kill,
    Crash,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Offer {
    Snapshot,
    Delta,
    Part(usize),
    Unready,
    Empty,
    Lie,
    /// A delta of what is not the truth, with a digest that fits.
    Consistent(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let put = (0..APPS, 0..APPS, 0usize..3).prop_map(|(app, host, endpoints)| Step::Put { app, host, endpoints });
    let own = (0..APPS, 0usize..3).prop_map(|(app, endpoints)| Step::Put { app, host: app, endpoints });
    let delete = (0..APPS, 1..APPS).prop_map(|(from, count)| Step::Delete { from, count });
    let boil = (0..APPS).prop_map(|from| Step::Delete { from, count: 1 });
    let offers = prop_oneof![
        5 => Just(Offer::Snapshot),
        10 => Just(Offer::Delta),
        1 => (0..APPS).prop_map(Offer::Part),
        1 => Just(Offer::Unready),
        1 => Just(Offer::Empty),
        1 => Just(Offer::Lie),
        1 => (0..APPS).prop_map(Offer::Consistent),
    ];
    let orchestrator = prop_oneof![
        3 => put, 4 => own, 1 => (0..APPS).prop_map(Step::Break), 2 => delete, 3 => boil,
        2 => (0..APPS, 0u64..30).prop_map(|(app, rev)| Step::Revive { app, rev }),
        1 => any::<bool>().prop_map(Step::MeanIt), 1 => Just(Step::NewEpoch),
        1 => Just(Step::KeepServer), 1 => Just(Step::SwapServer),
    ];
    let operator = prop_oneof![
        2 => Just(Step::Approve), 1 => (0usize..3).prop_map(Step::ApproveEpoch),
        1 => (0usize..6).prop_map(Step::Rollback), 1 => (0..APPS).prop_map(Step::Import), 3 => Just(Step::Unpin),
    ];
    let machine = prop_oneof![
        1 => Just(Step::Compact), 1 => Just(Step::Tick), 1 => (0u64..12).prop_map(Step::DiskFails),
        1 => (0u64..12).prop_map(Step::PowerGoes), 1 => Just(Step::DiskHeals), 1 => Just(Step::RetrySave),
        1 => Just(Step::Kill), 1 => Just(Step::Crash),
    ];
    let gate = prop_oneof![
        5 => Just(Step::OpenGate), 3 => Just(Step::Ready), 1 => Just(Step::NotReady), 1 => Just(Step::TimeOut),
        4 => prop_oneof![0u64..3000, 3000u64..15_000, Just(600_000), Just(3_700_000)].prop_map(Step::Pass),
    ];
    prop_oneof![8 => gate, 8 => orchestrator, 12 => offers.prop_map(Step::Offer), 2 => operator, 4 => machine]
}

/// What is served: app -> rev, endpoints, number in the digest.
type View = BTreeMap<String, (u64, u32, Digest)>;
/// What was received: app -> number in the digest.
type Shadow = BTreeMap<String, Digest>;

/// What is known beside the updater.
#[derive(Clone)]
struct Known {
    view: View,
    epoch: Option<String>,
    shadow: Option<Shadow>,
    /// App -> the lowest rev that its tombstone may have, within the epoch.
    buried: BTreeMap<String, u64>,
    /// App that is gone, taken away or held -> the rev by which it first was.
    asked: BTreeMap<String, u64>,
    /// When which apps were taken away that still are, released ones apart.
    taken: Vec<(u64, String)>,
    /// When how many apps there were.
    seen: Vec<(u64, usize)>,
    pinned: bool,
}

impl Known {
    fn nothing() -> Self {
        Self {
            view: View::new(),
            epoch: None,
            shadow: None,
            buried: BTreeMap::new(),
            asked: BTreeMap::new(),
            taken: Vec::new(),
            seen: Vec::new(),
            pinned: false,
        }
    }

    fn bury(&mut self, before: &View, after: &View) {
        for id in before.keys().filter(|id| !after.contains_key(*id)) {
            let rev = self.asked.get(id).copied();
            rev.into_iter().for_each(|rev| _ = self.buried.insert(id.clone(), rev));
        }
        after.keys().for_each(|id| _ = self.buried.remove(id));
    }
}

struct World {
    disk: SimDisk,
    updater: Updater,
    reader: Reader,
    ms: u64,
    server: Server,
    other: Option<Server>,
    known: Known,
    /// Every state that was published, and how many of them were when a save last succeeded.
    published: Vec<Known>,
    durable: usize,
    epochs: u64,
}

fn small() -> UpdaterConfig {
    let guard = GuardConfig {
        max_shrink_percent: MAX_SHRINK_PERCENT,
        max_shrink_apps: MAX_SHRINK_APPS,
        max_invalid_percent: 10.0,
        max_invalid_apps: 2,
    };
    // Poison has tests of its own: here every restart is to serve what was published last.
    let poison = crate::updater::PoisonRules { crashes: 0, ..config().poison };
    UpdaterConfig { guard, poison, ..config() }
}

fn boot(disk: &SimDisk, ms: u64) -> (Updater, Reader) {
    let (updater, reader, _) = Updater::boot_on(Arc::new(disk.clone()), small(), Path::new(FOLDER), at(ms)).unwrap();
    (updater, reader)
}

fn view(reader: &Reader) -> View {
    let published = reader.load();
    let view: View =
        published.table.iter().map(|app| (app.id().to_owned(), (app.rev().0, app.endpoints(), app.digest()))).collect();
    let digest = view.values().fold(Digest::default(), |sum, (_, _, digest)| sum.plus(*digest));
    assert_eq!((published.table.len(), published.table.digest()), (view.len(), digest), "as counted anew");
    assert_eq!(published.table.endpoints(), view.values().map(|(_, endpoints, _)| u64::from(*endpoints)).sum::<u64>());
    view
}

fn shadow_of(apps: &[Incoming]) -> Shadow {
    apps.iter().map(|app| (app.id.to_string(), app.digest)).collect()
}

/// Apps that an answer has, with their endpoints; `None` where the document is invalid.
fn endpoints(apps: &[Incoming]) -> BTreeMap<String, Option<u32>> {
    apps.iter().map(|app| (app.id.to_string(), app.app.as_ref().ok().map(|app| app.get().endpoints()))).collect()
}

impl World {
    fn new(seed: u64) -> Self {
        let disk = SimDisk::new(seed);
        let (updater, reader) = boot(&disk, 0);
        let known = Known::nothing();
        let (server, published) = (Server::with_apps(9), Vec::new());
        Self { disk, updater, reader, ms: 0, server, other: None, known, published, durable: 0, epochs: 0 }
    }

    fn take(&mut self, step: Step) {
        let before = (self.reader.load().has_table(), self.known.view.clone());
        match step {
            Step::Pass(ms) => self.ms += ms,
            Step::Ready => self.see(Observation::Ready),
            Step::OpenGate => (0..4).for_each(|_| {
                self.see(Observation::Ready);
                self.ms += 2000;
            }),
            Step::NotReady => self.see(Observation::NotReady("loading".into())),
            Step::TimeOut => self.see(Observation::Unanswered("time-out".into())),
            Step::Offer(offer) => return self.offer(offer),
            Step::Approve => return self.approve(),
            Step::ApproveEpoch(nth) => self.approve_epoch(nth),
            Step::Rollback(nth) => return self.rollback(nth),
            Step::Import(apps) => return self.import(apps),
            Step::Unpin => self.unpin(),
            Step::Compact => {
                let compaction = self.updater.begin_compaction();
                self.updater.compacted(compaction.run(), at(self.ms));
            }
            Step::Tick => self.updater.tick(at(self.ms)),
            Step::Kill | Step::Crash => return self.restart(matches!(step, Step::Crash)),
            Step::RetrySave => self.retry_save(),
            Step::DiskFails(nth) => self.disk.fail(nth, 3, Failure::NoSpace),
            Step::PowerGoes(nth) => self.disk.power_off_at(nth),
            Step::DiskHeals => self.disk.heal(),
            step => self.change_server(step),
        }
        assert_eq!((self.reader.load().has_table(), view(&self.reader)), before, "nothing was offered");
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
            Step::Revive { app, rev } => {
                server.change(|apps, _| drop(apps.insert(name(app), (rev, plain(app, 1, rev)))));
            }
            Step::MeanIt(yes) => server.shrink_ok = yes.then_some(server.apps.len() as u64),
            Step::NewEpoch => {
                self.epochs += 1;
                let mut next = Server::new(&format!("n{}", self.epochs));
                next.change(|apps, _| *apps = server.apps.clone());
                self.other = Some(std::mem::replace(server, next));
            }
            Step::KeepServer => self.other = Some(server.clone()),
            Step::SwapServer => self.other.iter_mut().for_each(|other| std::mem::swap(other, server)),
            _ => {}
        }
    }

    fn offer(&mut self, offer: Offer) {
        match offer {
            Offer::Delta | Offer::Lie | Offer::Consistent(_) => self.offer_delta(offer),
            _ => self.offer_snapshot(offer),
        }
    }

    fn offer_snapshot(&mut self, offer: Offer) {
        let mut apps = if offer == Offer::Empty { Vec::new() } else { self.server.incoming() };
        let mut candidate = self.server.snapshot();
        if let Offer::Part(count) = offer {
            apps.truncate(count);
            candidate.partial = Some("cut short".into());
        }
        candidate.ready = offer != Offer::Unready;
        candidate.digest = apps.iter().fold(Digest::default(), |sum, app| sum.plus(app.digest));
        let (partial, there, shadow) = (candidate.partial.is_some(), endpoints(&apps), shadow_of(&apps));
        let answer = Answer {
            epoch: self.server.epoch.clone(),
            generation: self.server.generation,
            ready: candidate.ready,
            meant: self.server.shrink_ok.filter(|to_apps| !partial && apps.len() as u64 >= *to_apps).is_some(),
            complete: !partial,
            gone: self.known.view.keys().filter(|id| !partial && !there.contains_key(*id)).cloned().collect(),
            there,
            deletes: BTreeMap::new(),
        };
        let candidate = SnapshotCandidate { apps: batch(apps), ..candidate };
        let retired = self.updater.report(at(self.ms)).retired.contains(&candidate.epoch);
        let outcome = self.updater.offer_snapshot(candidate, at(self.ms));
        assert!(!retired || outcome.summary().is_none(), "an epoch that was left: {outcome:?}");
        let next = match &mut self.known.shadow {
            Some(known) if partial => known.clone().into_iter().chain(shadow).collect(),
            _ => shadow,
        };
        self.check(&answer, &outcome, next);
        if outcome.summary().is_some() {
            assert!(partial || self.updater.position().is_some(), "a whole snapshot brings everything");
        }
    }

    fn offer_delta(&mut self, offer: Offer) {
        let Some(since) = self.updater.position() else { return };
        let Some(mut changes) = self.server.changes(&since) else { return };
        let shadow = self.known.shadow.clone().unwrap_or_default();
        if let Offer::Consistent(app) = offer {
            changes.upserts.retain(|upsert| upsert.id.as_str() != name(app));
        }
        let mut next = shadow;
        next.extend(shadow_of(&changes.upserts));
        changes.deletes.iter().for_each(|(id, _)| _ = next.remove(id.as_str()));
        if matches!(offer, Offer::Consistent(_)) {
            changes.apps = next.len() as u64;
            changes.digest = next.values().fold(Digest::default(), |sum, app| sum.plus(*app));
        }
        changes.digest.0 ^= u128::from(offer == Offer::Lie);
        let answer = self.answer_of(&changes);
        let outcome = self.updater.offer_changes(changes, at(self.ms));
        assert!(!(offer == Offer::Lie && outcome.summary().is_some()), "{outcome:?}");
        self.check(&answer, &outcome, next);
    }

    /// A delta may let go what was held before: everything that was received as gone is.
    fn answer_of(&self, changes: &Changes) -> Answer {
        let received = self.known.shadow.clone().unwrap_or_default();
        let mut gone: BTreeSet<String> =
            self.known.view.keys().filter(|id| !received.contains_key(*id)).cloned().collect();
        gone.extend(changes.deletes.iter().map(|(id, _)| id.to_string()));
        Answer {
            epoch: changes.epoch.to_string(),
            generation: changes.to.0,
            ready: true,
            meant: self.server.shrink_ok.filter(|to_apps| changes.apps >= *to_apps).is_some(),
            complete: false,
            gone,
            there: endpoints(&changes.upserts),
            deletes: changes.deletes.iter().map(|(id, rev)| (id.to_string(), rev.0)).collect(),
        }
    }

    /// The invariants of one offer.
    fn check(&mut self, answer: &Answer, outcome: &Outcome, shadow: Shadow) {
        let (after, before) = (view(&self.reader), self.known.view.clone());
        if outcome.summary().is_none() {
            assert_eq!(after, before, "refused: {outcome:?}");
            return;
        }
        assert!(answer.ready && !self.known.pinned, "{outcome:?}");
        assert!(self.gate_was_open() || self.published.is_empty(), "the gate is shut: {outcome:?}");
        let new_epoch = self.known.epoch.as_deref().is_some_and(|epoch| epoch != answer.epoch);
        self.check_comebacks(&before, &after, new_epoch, answer);
        self.check_losses(&before, &after, answer, outcome);
        if new_epoch {
            self.known.buried.clear();
            self.known.asked.clear();
        }
        self.bury(&before, &after, answer);
        (self.known.epoch, self.known.shadow) = (Some(answer.epoch.clone()), Some(shadow));
        self.known.view = after;
        self.check_received();
        self.note(outcome);
    }

    fn gate_was_open(&self) -> bool {
        self.updater.report(at(self.ms)).gate_open
    }

    fn check_comebacks(&self, before: &View, after: &View, new_epoch: bool, answer: &Answer) {
        for (id, (rev, ..)) in after.iter().filter(|(id, _)| !before.contains_key(*id) && !new_epoch) {
            let buried = self.known.buried.get(id);
            assert!(buried.is_none_or(|buried| rev > buried), "{id} rev {rev} is back: {buried:?}, {answer:?}");
        }
    }

    fn check_losses(&mut self, before: &View, after: &View, answer: &Answer, outcome: &Outcome) {
        let mut lost = Vec::new();
        for (id, (_, had, _)) in before {
            match after.get(id) {
                None => assert!(answer.gone.contains(id), "{id} is gone: {outcome:?} {answer:?}"),
                Some((_, 0, _)) if *had > 0 => {
                    let empties = answer.there.get(id).is_none_or(|endpoints| *endpoints == Some(0));
                    assert!(empties, "{id} lost its endpoints: {outcome:?}");
                }
                Some(_) => continue,
            }
            lost.push(id.clone());
        }
        let hour = self.ms.saturating_sub(u64::try_from(WINDOW.as_millis()).unwrap());
        let known = &mut self.known;
        known.taken.retain(|(ms, id)| *ms > hour && after.get(id).is_none_or(|(_, endpoints, _)| *endpoints == 0));
        known.seen.retain(|(ms, _)| *ms + 60_000 > hour);
        known.seen.push((self.ms, before.len()));
        if answer.meant || lost.is_empty() {
            return;
        }
        let already: BTreeSet<&String> = known.taken.iter().map(|(_, id)| id).collect();
        let new: Vec<String> = lost.iter().filter(|id| !already.contains(id)).cloned().collect();
        known.taken.extend(new.into_iter().map(|id| (self.ms, id)));
        let most = known.seen.iter().map(|(_, apps)| *apps).max().unwrap_or(1).max(1);
        let percent = known.taken.len() as f64 * 100.0 / most as f64;
        let few = known.taken.len() as u64 <= MAX_SHRINK_APPS || percent <= MAX_SHRINK_PERCENT;
        assert!(few, "{:?} of {most} went within an hour: {outcome:?}", known.taken);
    }

    fn bury(&mut self, before: &View, after: &View, answer: &Answer) {
        let known = &mut self.known;
        for id in &answer.gone {
            let rev = if answer.complete { Some(answer.generation) } else { answer.deletes.get(id).copied() };
            rev.into_iter().for_each(|rev| _ = known.asked.entry(id.clone()).or_insert(rev));
        }
        answer.there.keys().for_each(|id| _ = known.asked.remove(id));
        known.bury(before, after);
    }

    fn check_received(&self) {
        let report = self.updater.report(at(self.ms));
        let Some(shadow) = &self.known.shadow else { return };
        let digest = shadow.values().fold(Digest::default(), |sum, app| sum.plus(*app));
        assert_eq!((report.received_apps, report.received_digest), (shadow.len() as u64, digest), "as received");
    }

    fn note(&mut self, outcome: &Outcome) {
        let Some(summary) = outcome.summary() else { return };
        self.published.push(self.known.clone());
        if summary.saved {
            self.durable = self.published.len();
        }
    }

    /// What was not acknowledged may be lost or kept, whatever it was.
    fn note_meta(&mut self) {
        self.published.push(self.known.clone());
        if !self.updater.report(at(self.ms)).saved.unsaved {
            self.durable = self.published.len();
        }
    }

    fn approve(&mut self) {
        let held = self.updater.report(at(self.ms)).held;
        let before = self.known.view.clone();
        let Ok(outcome) = self.updater.approve(held.generation, at(self.ms)) else {
            assert!(held.total == 0 || self.known.pinned);
            return;
        };
        self.known.view = view(&self.reader);
        let gone = before.keys().filter(|id| !self.known.view.contains_key(*id));
        gone.for_each(|id| assert!(held.deletes.iter().any(|held| held.as_str() == id)));
        let after = self.known.view.clone();
        self.known.bury(&before, &after);
        self.known.taken.clear();
        self.known.seen.clear();
        self.check_received();
        self.note(&outcome);
    }

    fn approve_epoch(&mut self, nth: usize) {
        let retired = self.updater.report(at(self.ms)).retired;
        if let Some(epoch) = retired.get(nth) {
            self.updater.approve_epoch(epoch, at(self.ms)).unwrap();
            self.note_meta();
        }
    }

    /// What an operator puts there is a new beginning for what was seen of the hour.
    fn steered(&mut self, outcome: &Outcome, known: Known) {
        self.known = Known {
            view: view(&self.reader),
            pinned: true,
            taken: Vec::new(),
            seen: Vec::new(),
            asked: BTreeMap::new(),
            ..known
        };
        assert!(!self.known.view.is_empty());
        self.note(outcome);
    }

    fn rollback(&mut self, nth: usize) {
        let kept = self.updater.archive().history();
        let Some(kept) = kept.get(nth.min(kept.len().saturating_sub(1))) else { return };
        let Ok(state) = self.updater.archive().load(kept.generation, kept.epoch.as_ref()) else { return };
        let shown: BTreeMap<String, Digest> =
            state.table.iter().map(|app| (app.id().to_owned(), app.digest())).collect();
        let shadow = state.received.as_ref().filter(|_| !state.meta.foreign).map(|received| {
            let mut shadow = shown.clone();
            for (id, difference) in received.differences.iter() {
                match difference.kind.received() {
                    Some(number) => _ = shadow.insert(id.to_string(), number.digest),
                    None => _ = shadow.remove(id.as_str()),
                }
            }
            shadow
        });
        let epoch = state.received.as_ref().map(|received| received.position.epoch.to_string());
        let same_epoch = epoch == self.known.epoch;
        let Ok(outcome) = self.updater.rollback(state, at(self.ms)) else { return };
        let mut known = Known { epoch, shadow, ..self.known.clone() };
        known.buried.retain(|id, _| same_epoch && !shown.contains_key(id));
        self.steered(&outcome, known);
        let served: BTreeMap<String, Digest> =
            self.known.view.iter().map(|(id, (_, _, digest))| (id.clone(), *digest)).collect();
        assert_eq!(served, shown);
    }

    fn import(&mut self, apps: usize) {
        let mut mine = Server::with_apps(apps);
        mine.epoch = "mine".into();
        let Ok(outcome) = self.updater.import(mine.snapshot(), at(self.ms)) else { return };
        let mut known = Known { shadow: None, ..self.known.clone() };
        known.buried.retain(|id, _| !mine.apps.contains_key(id));
        self.steered(&outcome, known);
    }

    fn unpin(&mut self) {
        if self.updater.unpin(at(self.ms)).is_ok() {
            self.known.pinned = false;
            self.note_meta();
        }
    }

    fn retry_save(&mut self) {
        let unsaved = self.updater.report(at(self.ms)).saved.unsaved;
        if self.updater.retry_save(at(self.ms)) && unsaved {
            self.durable = self.published.len();
        }
    }

    fn restart(&mut self, power: bool) {
        // The updater goes before its disk does.
        (self.updater, self.reader) = boot(&SimDisk::new(0), 0);
        self.disk.heal();
        if power {
            self.disk.crash()
        } else {
            self.disk.kill()
        }
        (self.updater, self.reader) = boot(&self.disk, self.ms);
        let served = view(&self.reader);
        if self.durable == 0 && !self.reader.load().has_table() {
            self.published.clear();
            // Nothing was ever saved, so the hour and the tombstones are as gone as the table is.
            self.known = Known { view: served, ..Known::nothing() };
            return;
        }
        let report = self.updater.report(at(self.ms));
        let received = report.received.as_ref().map(|_| (report.received_apps, report.received_digest));
        let is_it = |known: &&Known| {
            let shadow = known.shadow.as_ref().map(|shadow| {
                (shadow.len() as u64, shadow.values().fold(Digest::default(), |sum, app| sum.plus(*app)))
            });
            known.view == served && known.pinned == report.pin.is_some() && shadow == received
        };
        let may_be = self.published.get(self.durable.saturating_sub(1)..).unwrap_or_default();
        // Of those that look alike the oldest: what it remembers, every later one does.
        let found = may_be.iter().find(is_it).cloned();
        let found =
            found.unwrap_or_else(|| panic!("not one that was published since the last save: {served:?} {report:?}"));
        // The hour may have lost its latest minutes with a state that was not saved: what went since is there again.
        self.known = found;
        self.durable = self.published.len();
        self.published.push(self.known.clone());
        self.durable = self.published.len();
    }
}

/// What an answer says.
#[derive(Debug)]
struct Answer {
    epoch: String,
    generation: u64,
    ready: bool,
    /// It says that a shrink is meant, to no more apps than it has.
    meant: bool,
    complete: bool,
    /// Served apps that it says are not there any more.
    gone: BTreeSet<String>,
    /// Apps it has, and their endpoints.
    there: BTreeMap<String, Option<u32>>,
    deletes: BTreeMap<String, u64>,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn the_last_good_table_is_never_dropped(seed in any::<u64>(), steps in prop::collection::vec(step(), 1..150)) {
        let mut world = World::new(seed);
        for step in steps {
            world.take(step);
        }
    }
}

#[test]
fn a_world_in_which_all_is_well_follows_its_orchestrator() {
    let mut world = World::new(1);
    world.take(Step::OpenGate);
    for app in 0..APPS {
        world.take(Step::Offer(Offer::Delta));
        world.take(Step::Offer(Offer::Snapshot));
        world.take(Step::Put { app, host: app, endpoints: 2 });
    }
    world.take(Step::Offer(Offer::Delta));
    assert_eq!(world.known.view.len(), APPS);
    assert_eq!(world.updater.offer_snapshot(world.server.snapshot(), at(world.ms)).label(), "unchanged");
}
