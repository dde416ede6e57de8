//! One process takes the place of another on the same state folder: both live, and either may fail at any point.
//!
//! Each of these mutants was tried, and seen to be caught here: a claim that goes on whatever is on disk, a claim that goes on
//! where the old process was behind, a compaction that does not hold the lock, one that does not leave off, a regain that goes
//! on whatever was written meanwhile, a release that does not note that the run is no crash, offers taken without a folder.

use std::{path::Path, sync::Arc};

use proptest::prelude::*;

use super::rig::*;
use crate::{
    codec::tests::{Memory, told},
    disk::{
        Disk, Opened,
        sim::{Failure, SimDisk},
    },
    gate::Observation,
    live::Source,
    model::Generation,
    snapshot::Fault,
    state::State,
    store::Poisoned,
    updater::{
        BootError, BootReport, Claimed, Comparison, Outcome, ReceiveError, Regained, Rejection, Summary, Updater,
    },
};

/// What is handed on, as bytes.
pub(super) fn image_of(updater: &Updater) -> Vec<u8> {
    let mut bytes = Vec::new();
    updater.image().write(&mut bytes).unwrap();
    bytes
}

pub(super) fn names(disk: &SimDisk) -> Vec<String> {
    let mut names = disk.list(Path::new(FOLDER)).unwrap();
    names.retain(|name| name != "runs");
    names.sort();
    names
}

fn snapshots(disk: &SimDisk) -> Vec<String> {
    names(disk).into_iter().filter(|name| name.starts_with("snapshot")).collect()
}

/// All of a state but for where the process has it from.
fn told_of(state: &State) -> String {
    let mut state = state.clone();
    state.meta.provenance.source = Source::None;
    told(&state)
}

impl Rig {
    /// Another process that has received what this one serves.
    fn successor(&self) -> Self {
        self.successor_on(self.disk.clone())
    }

    fn successor_on(&self, disk: SimDisk) -> Self {
        let mut image = Memory::new(image_of(&self.updater));
        let folder = Path::new(FOLDER);
        let received = Updater::receive_on(Arc::new(disk.clone()), config(), &mut image, folder, self.now());
        let (updater, reader) = received.unwrap();
        Self { disk, updater, reader, boot: BootReport::default(), ms: self.ms }
    }

    fn claim(&mut self) -> Claimed {
        let now = self.now();
        self.updater.claim(now).unwrap()
    }

    fn is_locked_out(&mut self) -> bool {
        let now = self.now();
        matches!(self.updater.claim(now), Err(BootError::Locked { .. }))
    }

    fn is_unsaved(&self) -> bool {
        self.updater.report(self.now()).saved.unsaved
    }

    fn retry_save(&mut self) -> bool {
        let now = self.now();
        self.updater.retry_save(now)
    }
}

/// A state with something of everything in it, and the server it is from.
fn rich() -> (Rig, Server) {
    let mut server = Server::with_apps(200);
    let mut rig = Rig::serving(&server);
    server.delete(0..3);
    published(rig.delta(&server));
    server.put("app-9", "no document".into());
    server.delete(20..90);
    held(rig.delta(&server));
    server.put("app-10", document(&["app-11.example.com"], 1, 5));
    applied(rig.delta(&server));
    (rig, server)
}

fn applied(outcome: Outcome) -> Summary {
    outcome.summary().cloned().unwrap_or_else(|| panic!("not applied: {outcome:?}"))
}

#[test]
fn an_image_holds_all_there_is_and_nothing_is_touched_until_the_folder_is_claimed() {
    let (rig, server) = rich();
    let before = rig.disk.operations();
    let mut next = rig.successor();
    assert_eq!(rig.disk.operations(), before);
    assert_eq!(told_of(&next.updater.state), told_of(&rig.updater.state));
    assert_eq!((rig.source(), next.source()), (Source::Live, Source::Handover));
    let (here, there) = (rig.published().provenance.clone(), next.published().provenance.clone());
    assert_eq!((here.epoch, here.generation, here.received_at), (there.epoch, there.generation, there.received_at));
    assert_eq!(next.updater.mark().against(&rig.updater.mark()), Comparison::Same);
    assert_eq!((next.held(), rig.held()), (70, 70));
    let report = next.updater.report(next.now());
    assert_eq!((report.invalid_total, report.tombstones), (2, 3));
    assert!(report.saved.unsaved, "it cannot know yet");
    next.ready();
    for _ in 0..5 {
        next.ms += 5000;
        next.ready();
        next.updater.tick(at(next.ms));
        next.retry_save();
        assert!(next.updater.compaction().is_none());
    }
    assert!(!next.updater.wants_answers(next.now()));
    assert_eq!(next.delta(&server), Outcome::Rejected(Rejection::Away));
    assert_eq!(next.snapshot(&server), Outcome::Rejected(Rejection::Away));
    assert_eq!(rig.disk.operations(), before);
}

#[test]
fn a_pinned_table_and_what_is_kept_out_are_handed_on() {
    let (mut rig, _) = rich();
    let state = rig.updater.archive().load(Generation(1), None).unwrap();
    let now = rig.now();
    rig.updater.rollback(state, now).unwrap();
    rig.updater.poisoned =
        Some(Poisoned { generation: Generation(9), epoch: Some(epoch("e1")), digest: Default::default(), crashes: 3 });
    let next = rig.successor();
    assert_eq!(told_of(&next.updater.state), told_of(&rig.updater.state));
    assert_eq!((next.source(), &next.updater.poisoned), (Source::Operator, &rig.updater.poisoned));
}

#[test]
fn a_successor_of_a_process_without_a_table_waits_for_one_too() {
    let mut rig = Rig::new();
    let mut next = rig.successor();
    rig.updater.release();
    assert!(!next.is_unsaved() && !next.updater.has_table());
    assert!(!next.claim().goes_on && !next.is_unsaved());
    next.ready();
    published(next.snapshot(&Server::with_apps(3)));
    assert_eq!(next.restarted().served().len(), 3);
}

#[test]
fn an_image_that_is_not_whole_is_refused_with_the_reason() {
    let (rig, _) = rich();
    let whole = image_of(&rig.updater);
    let receive = |bytes: &[u8]| {
        let disk = Arc::new(rig.disk.clone());
        Updater::receive_on(disk, config(), &mut Memory::new(bytes), Path::new(FOLDER), rig.now()).map(drop)
    };
    assert!(receive(&whole).is_ok());
    for cut in (0..whole.len()).step_by(61).chain([whole.len() - 1]) {
        let refused = receive(&whole[..cut]);
        assert!(matches!(&refused, Err(ReceiveError::NotWhole(_))), "{cut}: {refused:?}");
        let mut flipped = whole.clone();
        flipped[cut] ^= 4;
        let refused = receive(&flipped);
        assert!(matches!(&refused, Err(ReceiveError::NotWhole(_) | ReceiveError::OtherVersion(_))), "{cut}");
    }
    let mut other = whole;
    other[8] = 9;
    let fixed = crate::codec::header(*b"\x89HGSNAP\n", 9);
    other[..fixed.len()].copy_from_slice(&fixed);
    assert!(
        matches!(receive(&other), Err(ReceiveError::OtherVersion(error)) if matches!(error.fault, Fault::Version { .. }))
    );
}

#[test]
fn a_folder_that_holds_what_is_served_is_gone_on_with_and_no_snapshot_is_written() {
    let (mut rig, mut server) = rich();
    let before = snapshots(&rig.disk);
    let mut next = rig.successor();
    assert!(next.is_locked_out() && next.updater.is_away(), "while the old one has it");
    rig.updater.release();
    let now = rig.now();
    assert!(!rig.updater.wants_answers(now));
    let claimed = next.claim();
    assert!(claimed.goes_on && claimed.found.damaged.is_empty() && !claimed.found.lost, "{claimed:?}");
    assert!(!next.is_unsaved() && next.retry_save());
    assert_eq!(snapshots(&rig.disk), before);
    drop(rig);
    next.open_gate();
    server.put("new", document(&["new.example.com"], 2, 1));
    applied(next.delta(&server));
    assert_eq!(snapshots(&next.disk), before);
    assert_eq!(next.source(), Source::Live);
    let (disk, generation) = (next.disk.clone(), server.generation);
    disk.crash();
    drop(next);
    let again = Rig::on(disk, 2_000_000);
    assert_eq!(again.published().provenance.generation, Generation(generation));
    assert!(again.serves("new") && again.held() == 70 && again.boot.damaged.is_empty());
}

#[test]
fn what_the_old_process_could_not_save_the_new_one_saves() {
    let (mut rig, mut server) = rich();
    rig.disk.fail(0, u64::MAX, Failure::NoSpace);
    server.put("new", document(&["new.example.com"], 2, 1));
    assert!(!applied(rig.delta(&server)).saved);
    let mut next = rig.successor();
    rig.updater.release();
    let claimed = next.claim();
    assert!(!claimed.goes_on && next.is_unsaved(), "{claimed:?}");
    assert!(!next.retry_save() && next.serves("new"));
    rig.disk.heal();
    assert!(next.retry_save() && !next.is_unsaved());
    next.disk.crash();
    let again = next.restarted();
    assert!(again.serves("new") && again.boot.restored.is_some());
}

/// Whatever became of the folder: it is no reason to fail, and saved as soon as that can be.
fn check_claim(spoil: impl Fn(&SimDisk), works: bool) -> Claimed {
    let (mut rig, server) = rich();
    let mut next = rig.successor();
    rig.updater.release();
    let served = rig.served();
    drop(rig);
    spoil(&next.disk);
    let claimed = next.claim();
    assert_eq!(next.served(), served);
    if !claimed.goes_on {
        assert!(next.is_unsaved());
        assert_eq!(next.retry_save(), works, "{claimed:?}");
    }
    next.disk.heal();
    assert!(next.retry_save() && !next.is_unsaved());
    next.open_gate();
    next.assert_settled(&server);
    next.disk.crash();
    assert_eq!(next.restarted().served(), served);
    claimed
}

#[test]
fn a_folder_that_cannot_be_written_is_no_reason_not_to_claim_it() {
    assert!(!check_claim(|disk| disk.fail(0, u64::MAX, Failure::InputOutput), false).goes_on);
    let read_only = check_claim(|disk| disk.fail(0, u64::MAX, Failure::ReadOnly), false);
    assert!(read_only.found.unwritable.is_some(), "{read_only:?}");
    let full = check_claim(|disk| disk.fail(0, u64::MAX, Failure::NoSpace), false);
    assert!(full.goes_on && full.found.unwritable.is_some(), "{full:?}");
}

#[test]
fn a_folder_that_is_gone_or_another_ones_is_filled_anew() {
    assert!(!check_claim(|disk| disk.lose_folder(Path::new(FOLDER)), true).goes_on);
    let foreign = check_claim(
        |disk| {
            disk.lose_folder(Path::new(FOLDER));
            let mut other = Rig::on(disk.clone(), 5);
            other.ready();
            published(other.snapshot(&Server::with_apps(7)));
        },
        true,
    );
    assert!(!foreign.goes_on && foreign.found.damaged.is_empty(), "{foreign:?}");
}

#[test]
fn damaged_files_are_set_aside_and_reported_by_a_claim() {
    let spoil = |disk: &SimDisk| {
        let newest = snapshots(disk).pop().unwrap();
        assert!(disk.rot(&Path::new(FOLDER).join(newest), 300, 1));
    };
    let claimed = check_claim(spoil, true);
    assert!(!claimed.goes_on);
    assert!(claimed.found.damaged[0].kept_as.as_ref().is_some_and(|name| name.ends_with(".damaged")), "{claimed:?}");
}

#[test]
fn a_folder_that_moved_on_since_the_image_is_not_gone_on_with() {
    let (mut rig, mut server) = rich();
    let mut next = rig.successor();
    server.put("late", document(&["late.example.com"], 1, 1));
    applied(rig.delta(&server));
    assert_eq!(next.updater.mark().against(&rig.updater.mark()), Comparison::Older);
    rig.updater.release();
    assert!(!next.claim().goes_on && next.is_unsaved());
}

#[test]
fn who_gets_a_folder_back_untouched_goes_on_as_if_nothing_had_been() {
    let (mut rig, mut server) = rich();
    let before = names(&rig.disk);
    rig.updater.release();
    assert_eq!(rig.delta(&server), Outcome::Rejected(Rejection::Away));
    assert!(rig.updater.compaction().is_none(), "it would write");
    assert_eq!(rig.updater.regain(), Regained::Untouched);
    assert!(rig.updater.compaction().is_some(), "one is due");
    assert_eq!((rig.is_unsaved(), names(&rig.disk)), (false, before.clone()));
    server.put("new", document(&["new.example.com"], 2, 1));
    assert!(applied(rig.delta(&server)).saved);
    assert_eq!(snapshots(&rig.disk).len(), before.iter().filter(|name| name.starts_with("snapshot")).count());
    rig.disk.crash();
    assert!(rig.restarted().serves("new"));
}

#[test]
fn after_a_claim_that_came_to_nothing_the_whole_state_is_saved_anew() {
    let (mut rig, mut server) = rich();
    let mut next = rig.successor();
    rig.updater.release();
    assert!(next.claim().goes_on);
    assert!(matches!(rig.updater.regain(), Regained::Locked { .. }), "while the new one lives");
    let report = rig.updater.report(rig.now());
    assert!(report.saved.unsaved && report.saved.error.is_some_and(|why| why.contains("another process")));
    assert!(!rig.retry_save());
    drop(next);
    assert!(rig.retry_save() && !rig.is_unsaved());
    server.put("app-9", plain(9, 2, 1));
    applied(rig.delta(&server));
    let mut next = rig.successor();
    rig.updater.release();
    assert!(next.claim().goes_on);
    let (compacted, now) = (next.updater.begin_compaction().run(), next.now());
    next.updater.compacted(compacted, now);
    drop(next);
    assert_eq!(rig.updater.regain(), Regained::Touched);
    assert!(rig.is_unsaved() && rig.retry_save());
    server.put("new", document(&["new.example.com"], 2, 1));
    assert!(applied(rig.delta(&server)).saved);
    rig.disk.crash();
    assert!(rig.restarted().serves("new"));
}

#[test]
fn a_compaction_that_is_under_way_keeps_the_folder_until_it_has_left_off() {
    let (mut rig, _) = rich();
    let compaction = rig.updater.begin_compaction();
    let mut next = rig.successor();
    rig.updater.release();
    assert!(next.is_locked_out(), "it may stage a file");
    let before = names(&rig.disk);
    let compacted = compaction.run();
    assert!(compacted.result.is_err() && names(&rig.disk) == before);
    assert!(next.claim().goes_on);
    let (served, now) = (rig.served(), rig.now());
    rig.updater.compacted(compacted, now);
    assert_eq!((rig.served(), names(&rig.disk).len()), (served, names(&next.disk).len()));
    let own = next.updater.begin_compaction().run();
    next.updater.compacted(own, now);
    assert!(!next.is_unsaved());
}

#[test]
fn a_compaction_that_ended_while_the_folder_was_away_is_not_put_in_its_place() {
    let (mut rig, server) = rich();
    let compacted = rig.updater.begin_compaction().run();
    assert!(compacted.result.is_ok());
    rig.updater.release();
    let before = snapshots(&rig.disk);
    assert!(before.iter().any(|name| name.ends_with(".staged")));
    let mut next = rig.successor_on(rig.disk.fork());
    next.claim();
    assert!(snapshots(&next.disk).iter().all(|name| !name.ends_with(".staged")));
    assert_eq!(rig.updater.regain(), Regained::Untouched);
    let now = rig.now();
    rig.updater.compacted(compacted, now);
    assert_eq!(snapshots(&rig.disk), before);
    assert!(!rig.is_unsaved());
    rig.assert_settled(&server);
}

#[test]
fn a_take_over_is_no_crash_and_the_run_of_the_new_process_begins_with_its_claim() {
    let mut server = Server::with_apps(3);
    let mut rig = Rig::serving(&server);
    rig.ms += 20_000;
    rig.updater.tick(rig.now());
    server.put("app-1", plain(1, 2, 2));
    rig.open_gate();
    published(rig.delta(&server));
    for _ in 0..6 {
        let mut next = rig.successor();
        rig.updater.release();
        assert!(next.claim().goes_on);
        rig = next;
    }
    rig = rig.restarted();
    assert_eq!((rig.endpoints("app-1"), &rig.boot.poisoned), (2, &None), "one run has died young");
    let mut next = rig.successor();
    rig.updater.release();
    assert!(next.claim().goes_on);
    drop(rig);
    next = next.restarted().restarted();
    assert!(next.boot.poisoned.is_some() && next.endpoints("app-1") == 1, "three have: {:?}", next.boot);
}

#[test]
fn the_run_of_who_regains_its_folder_goes_on() {
    let mut server = Server::with_apps(3);
    let mut rig = Rig::serving(&server);
    rig.ms += 20_000;
    rig.updater.tick(rig.now());
    for _ in 0..6 {
        let mut next = rig.successor();
        rig.updater.release();
        assert!(next.claim().goes_on || rig.is_unsaved());
        drop(next);
        rig.updater.regain();
        rig.retry_save();
    }
    server.put("app-1", plain(1, 2, 2));
    rig.open_gate();
    published(rig.delta(&server));
    let again = rig.restarted().restarted().restarted();
    assert_eq!((again.endpoints("app-1"), &again.boot.poisoned), (2, &None), "two of its own have died");
}

#[test]
fn on_a_real_disk_the_lock_passes_from_one_to_the_other_and_back() {
    let folder = tempfile::tempdir().unwrap();
    let booted = Updater::boot(config(), folder.path(), at(1_000_000)).unwrap();
    let (mut old, mut server) = (booted.0, Server::with_apps(5));
    old.observe(Observation::Ready, at(1_000_000));
    published(old.offer_snapshot(server.snapshot(), at(1_000_000)));
    (1..8).for_each(|second| old.observe(Observation::Ready, at(1_000_000 + second * 1000)));
    server.put("app-1", plain(1, 2, 2));
    published(old.offer_snapshot(server.snapshot(), at(1_007_000)));
    let mut file = tempfile::tempfile().unwrap();
    old.image().write(&mut file).unwrap();
    let mut image = Opened::new(file).unwrap();
    let (mut next, reader) = Updater::receive(config(), &mut image, folder.path(), at(1_000_000)).unwrap();
    assert!(matches!(next.claim(at(1_000_000)), Err(BootError::Locked { pid: Some(_) })));
    old.release();
    assert!(next.claim(at(1_000_000)).unwrap().goes_on);
    assert!(matches!(old.regain(), Regained::Locked { .. }));
    assert!(!old.retry_save(at(1_005_000)));
    drop(next);
    assert!(old.retry_save(at(1_010_000)));
    drop(old);
    let (_, again, report) = Updater::boot(config(), folder.path(), at(2_000_000)).unwrap();
    assert_eq!(again.load().table.digest(), reader.load().table.digest());
    assert_eq!((report.damaged.len(), report.lost), (0, false));
}

/// What happens between the release and the end of a claim. True when it had so many operations.
fn take_over_cut_at(cut: u64, power: bool) -> bool {
    let mut server = Server::with_apps(12);
    let mut rig = Rig::on(SimDisk::new(cut ^ 0xface), 1_000_000);
    rig.ready();
    published(rig.snapshot(&server));
    rig.open_gate();
    for n in 0..4 {
        server.put(&name(n), plain(n, 2, 7));
        published(rig.delta(&server));
    }
    let (served, generation) = (rig.served(), Generation(server.generation));
    let mut next = rig.successor();
    let began = rig.disk.operations();
    rig.disk.power_off_at(cut);
    rig.updater.release();
    let claimed = next.claim();
    let saved = next.retry_save();
    let reached = rig.disk.operations() - began > cut;
    let context = format!("cut {cut}, power {power}: {claimed:?}, saved {saved}");
    assert_eq!((&rig.served(), &next.served()), (&served, &served), "{context}");
    drop(next);
    if power {
        // Both are gone.
        rig.disk.crash();
        let disk = rig.disk.clone();
        drop(rig);
        rig = Rig::on(disk, 2_000_000);
        assert!(!rig.boot.lost, "{context}: {:?}", rig.boot);
    } else {
        // The new one is gone, and the old one goes on.
        rig.disk.kill();
        rig.updater.regain();
        rig.ms += 5000;
        assert!(rig.retry_save(), "{context}");
    }
    assert_eq!((rig.served(), rig.published().provenance.generation), (served, generation), "{context}");
    rig.open_gate();
    server.put("app-0", plain(0, 3, 9));
    assert!(matches!(rig.delta(&server), Outcome::Published(Summary { saved: true, .. })), "{context}");
    rig.disk.crash();
    let again = rig.restarted();
    assert_eq!(again.published().provenance.generation, Generation(server.generation), "{context}");
    assert_eq!(again.endpoints("app-0"), 3, "{context}");
    reached
}

#[test]
fn wherever_a_take_over_is_cut_off_one_of_the_two_goes_on_and_nothing_acknowledged_is_lost() {
    for power in [false, true] {
        let mut cut = 0;
        while take_over_cut_at(cut, power) {
            cut += 1;
        }
        assert!(cut > 10, "{cut}");
    }
}

#[derive(Clone, Debug)]
enum Deed {
    Put(usize, usize),
    Delete(usize, usize),
    Spoil(usize),
    Claim(usize, usize),
    NewEpoch,
    Approve,
    Rollback,
    Unpin,
    HandOver,
    Fold,
}

fn deeds() -> impl Strategy<Value = Deed> {
    prop_oneof![
        6 => (0usize..90, 0usize..3).prop_map(|(n, endpoints)| Deed::Put(n, endpoints)),
        3 => (0usize..90, 1usize..60).prop_map(|(n, count)| Deed::Delete(n, count)),
        1 => (0usize..90).prop_map(Deed::Spoil),
        1 => (0usize..90, 0usize..90).prop_map(|(n, of)| Deed::Claim(n, of)),
        1 => Just(Deed::NewEpoch),
        1 => Just(Deed::Approve),
        1 => Just(Deed::Rollback),
        1 => Just(Deed::Unpin),
        4 => Just(Deed::HandOver),
        1 => Just(Deed::Fold),
    ]
}

fn offer_to(rig: &mut Rig, server: &Server) {
    let since = rig.updater.position();
    match since.and_then(|since| server.changes(&since)) {
        Some(changes) => drop(rig.offer_changes(changes)),
        None => drop(rig.snapshot(server)),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// A process that is replaced serves and holds what one does that is restarted.
    #[test]
    fn a_chain_of_processes_is_as_one_that_is_restarted(deeds in prop::collection::vec(deeds(), 1..30)) {
        let mut server = Server::with_apps(90);
        let (mut one, mut chain) = (Rig::serving(&server), Rig::serving(&server));
        for (number, deed) in deeds.into_iter().enumerate() {
            match deed {
                Deed::Put(n, endpoints) => server.put(&name(n), plain(n, endpoints, number as u64)),
                Deed::Delete(from, count) => server.delete(from..from + count),
                Deed::Spoil(n) => server.put(&name(n), "{".into()),
                Deed::Claim(n, of) => server.put(&name(n), document(&[&format!("app-{of}.example.com")], 1, 1)),
                Deed::NewEpoch => server.epoch = format!("e1-{number}"),
                Deed::Approve => {
                    let now = one.now();
                    let generation = one.updater.report(now).held.generation;
                    let results = [&mut one, &mut chain].map(|rig| rig.updater.approve(generation, now).is_ok());
                    prop_assert_eq!(results[0], results[1]);
                }
                Deed::Rollback => {
                    let (state, now) = (one.updater.archive().load(Generation(1), None), one.now());
                    if let Ok(state) = state {
                        let results = [&mut one, &mut chain].map(|rig| rig.updater.rollback(state.clone(), now).is_ok());
                        prop_assert_eq!(results[0], results[1]);
                    }
                }
                Deed::Unpin => {
                    let now = one.now();
                    let results = [&mut one, &mut chain].map(|rig| rig.updater.unpin(now).is_ok());
                    prop_assert_eq!(results[0], results[1]);
                }
                Deed::HandOver => {
                    let mut next = chain.successor();
                    prop_assert_eq!(told_of(&next.updater.state), told_of(&chain.updater.state));
                    chain.updater.release();
                    prop_assert!(next.claim().goes_on);
                    one.updater.stopping();
                    one = one.restarted();
                    next.open_gate_as(&mut one);
                    chain = next;
                }
                Deed::Fold => {
                    let now = chain.now();
                    let compacted = chain.updater.begin_compaction().run();
                    chain.updater.compacted(compacted, now);
                }
            }
            offer_to(&mut one, &server);
            offer_to(&mut chain, &server);
            prop_assert_eq!(one.served(), chain.served());
            prop_assert_eq!(one.held(), chain.held());
            prop_assert_eq!(one.updater.position(), chain.updater.position());
            prop_assert_eq!(one.published().table.digest(), chain.published().table.digest());
        }
        let (served, last) = (chain.served(), chain.published());
        chain.disk.crash();
        let again = chain.restarted();
        prop_assert_eq!(again.served(), served);
        prop_assert_eq!(&again.published().provenance.epoch, &last.provenance.epoch);
    }
}

impl Rig {
    /// The gate of a process that has just begun opens; time passes for both.
    fn open_gate_as(&mut self, other: &mut Self) {
        for _ in 0..6 {
            self.ready();
            other.ready();
            self.ms += 2000;
            other.ms += 2000;
        }
        self.ready();
        other.ready();
    }
}
