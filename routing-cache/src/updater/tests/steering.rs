//! An operator puts a table there, and it stays.

use super::rig::*;
use crate::{
    disk::sim::Failure,
    live::Source,
    model::Generation,
    updater::{ApproveError, Outcome, PinnedBy, Rejection, SteerError},
};

/// A rig that has served generation 1 (three apps) and serves generation 3 (two of them, one changed).
fn moved_on() -> (Server, Rig) {
    let mut server = Server::with_apps(3);
    let mut rig = Rig::serving(&server);
    server.delete(0..1);
    server.put("app-1", plain(1, 2, 2));
    published(rig.delta(&server));
    (server, rig)
}

impl Rig {
    fn rollback(&mut self, generation: u64) -> Result<Outcome, SteerError> {
        let now = self.now();
        let state = self.updater.archive().load(Generation(generation), None).unwrap();
        self.updater.rollback(state, now)
    }

    fn import(&mut self, server: &Server) -> Result<Outcome, SteerError> {
        let now = self.now();
        self.updater.import(server.snapshot(), now)
    }

    fn unpin(&mut self) {
        let now = self.now();
        self.updater.unpin(now).unwrap();
    }
}

#[test]
fn a_rollback_serves_what_was_served_and_stays_there_also_across_a_restart() {
    let (mut server, mut rig) = moved_on();
    let summary = published(rig.rollback(1).unwrap());
    assert_eq!((summary.added, summary.updated, summary.removed, summary.saved), (1, 1, 0, true));
    assert_eq!((rig.source(), rig.published().provenance.generation), (Source::Operator, Generation(1)));
    server.put("app-2", plain(2, 2, 2));
    for again in 0..2 {
        assert!(!rig.updater.wants_answers(rig.now()));
        assert_eq!(rig.snapshot(&server), Outcome::Rejected(Rejection::Pinned), "{again}");
        assert_eq!(rig.delta(&server), Outcome::Rejected(Rejection::Pinned), "{again}");
        assert_eq!((rig.served().len(), rig.endpoints("app-1")), (3, 1));
        assert_eq!(rig.source(), Source::Operator);
        rig = rig.restarted();
        let pin = rig.updater.report(rig.now()).pin.unwrap();
        assert_eq!(pin.by, PinnedBy::Rollback);
        (0..4).for_each(|_| {
            rig.ready();
            rig.ms += 2000;
        });
        assert!(rig.updater.report(rig.now()).gate_open, "the gate is watched all the same");
    }
}

#[test]
fn unpinned_it_follows_from_where_it_went_back_to() {
    let (mut server, mut rig) = moved_on();
    rig.rollback(1).unwrap();
    let now = rig.now();
    rig.unpin();
    assert_eq!(rig.updater.unpin(now), Err(SteerError::NotPinned));
    let mut rig = rig.restarted();
    rig.open_gate();
    assert_eq!(rig.updater.position().unwrap().generation, Generation(1));
    server.put("new", document(&["new.example.com"], 1, 0));
    let summary = published(rig.delta(&server));
    assert_eq!((summary.added, summary.updated, summary.removed), (1, 1, 1));
    assert_eq!(rig.source(), Source::Live);
    rig.assert_settled(&server);
}

#[test]
fn what_comes_after_a_rollback_is_judged_against_what_it_serves() {
    let mut server = Server::with_apps(200);
    let mut rig = Rig::serving(&server);
    server.change(|apps, rev| (200..1000).for_each(|n| drop(apps.insert(name(n), (rev, plain(n, 1, rev))))));
    published(rig.delta(&server));
    assert_eq!(published(rig.rollback(1).unwrap()).removed, 800);
    rig.unpin();
    server.delete(0..51);
    assert_eq!(held(rig.delta(&server)).held, 51);
}

#[test]
fn what_was_deleted_since_stays_buried_but_for_what_is_served_again() {
    let mut server = Server::with_apps(3);
    let mut rig = Rig::serving(&server);
    server.put("short-lived", document(&["x.example.com"], 1, 0));
    rig.delta(&server);
    server.change(|apps, _| drop(apps.remove("short-lived")));
    rig.delta(&server);
    server.delete(0..1);
    rig.delta(&server);
    rig.rollback(1).unwrap();
    assert_eq!(rig.updater.report(rig.now()).tombstones, 1);
    rig.unpin();
    server.change(|apps, _| drop(apps.insert("short-lived".into(), (2, document(&["x.example.com"], 1, 0)))));
    assert_eq!(rig.delta(&server).summary().unwrap().refused, 1);
    assert!(!rig.serves("app-0"));
}

#[test]
fn a_rollback_to_another_epoch_needs_a_snapshot_afterwards_and_not_one_of_that_epoch() {
    let (one, mut rig) = moved_on();
    let mut two = Server::with_apps(4);
    two.epoch = "e2".into();
    published(rig.snapshot(&two));
    rig.rollback(3).unwrap();
    rig.unpin();
    assert_eq!(rig.updater.position(), None);
    assert!(matches!(rig.snapshot(&one), Outcome::Rejected(Rejection::RetiredEpoch { .. })));
    published(rig.snapshot(&two));
    assert_eq!(rig.updater.report(rig.now()).retired, [epoch("e1")]);
    rig.assert_settled(&two);
}

#[test]
fn an_import_serves_a_table_of_the_operators_until_a_snapshot_after_it_is_unpinned() {
    let (mut server, mut rig) = moved_on();
    let mut mine = Server::new("mine");
    mine.put("app-1", plain(1, 5, 5));
    mine.put("own", document(&["own.example.com"], 1, 0));
    let summary = published(rig.import(&mine).unwrap());
    assert_eq!((summary.added, summary.updated, summary.removed), (1, 1, 1));
    assert_eq!(rig.published().table.digest(), mine.digest());
    assert_eq!(rig.snapshot(&server), Outcome::Rejected(Rejection::Pinned));
    let mut rig = rig.restarted();
    assert_eq!(rig.updater.report(rig.now()).pin.map(|pin| pin.by), Some(PinnedBy::Import));
    assert_eq!((rig.source(), rig.served().len()), (Source::Operator, 2));
    rig.unpin();
    rig.open_gate();
    assert_eq!(rig.updater.position(), None);
    server.change(|_, _| ());
    assert_eq!(published(rig.snapshot(&server)).updated, 1);
    rig.assert_settled(&server);
    assert_eq!(rig.restarted().published().table.digest(), server.digest());
}

#[test]
fn after_an_import_no_generation_goes_back_and_no_part_follows() {
    let (mut server, mut rig) = moved_on();
    let old = Server::with_apps(3);
    rig.import(&old).unwrap();
    rig.unpin();
    assert!(matches!(rig.snapshot(&old), Outcome::Rejected(Rejection::OldGeneration { .. })));
    let mut part = server.snapshot();
    part.partial = Some("cut short".into());
    assert!(matches!(rig.offer(part), Outcome::Rejected(Rejection::PartialOfAnotherEpoch { .. })));
    assert!(matches!(
        rig.offer_changes(
            server.changes(&super::super::Position { epoch: epoch("e1"), generation: Generation(3) }).unwrap()
        ),
        Outcome::NeedSnapshot(_)
    ));
    server.change(|_, _| ());
    published(rig.snapshot(&server));
    rig.assert_settled(&server);
}

#[test]
fn an_import_that_is_not_whole_or_has_nothing_is_refused() {
    let (server, mut rig) = moved_on();
    let (before, now) = (rig.served(), rig.now());
    let mut part = server.snapshot();
    part.partial = Some("cut short".into());
    assert_eq!(rig.updater.import(part, now), Err(SteerError::NotWhole("cut short".into())));
    assert_eq!(rig.import(&Server::new("mine")), Err(SteerError::Empty));
    let mut bad = Server::with_apps(100);
    bad.change(|apps, rev| (0..50).for_each(|n| drop(apps.insert(name(n), (rev, "{}".into())))));
    assert!(matches!(rig.import(&bad), Err(SteerError::TooManyInvalid { invalid: 50, apps: 100, .. })));
    assert_eq!(rig.updater.rollback(crate::state::State::default(), now), Err(SteerError::Empty));
    assert_eq!((rig.served(), rig.updater.report(now).pin), (before, None));
}

#[test]
fn an_app_of_an_import_that_is_invalid_keeps_its_last_version() {
    let (_, mut rig) = moved_on();
    let mut mine = Server::new("mine");
    mine.put("app-1", "{}".into());
    mine.put("own", document(&["own.example.com"], 1, 0));
    assert_eq!(published(rig.import(&mine).unwrap()).invalid, 1);
    assert_eq!((rig.rev("app-1"), rig.serves("own"), rig.served().len()), (Some(3), true, 2));
}

#[test]
fn a_rollback_is_published_while_the_disk_fails_and_saved_once_it_does_not() {
    let (_, mut rig) = moved_on();
    let state = rig.updater.archive().load(Generation(1), None).unwrap();
    rig.disk.fail(0, u64::MAX, Failure::NoSpace);
    let now = rig.now();
    assert!(!published(rig.updater.rollback(state, now).unwrap()).saved);
    assert_eq!(rig.served().len(), 3);
    rig.disk.heal();
    assert!(rig.updater.retry_save(now));
    let rig = rig.restarted();
    assert!(rig.updater.report(now).pin.is_some());
    assert_eq!(rig.served().len(), 3);
}

#[test]
fn what_is_held_cannot_be_approved_while_the_table_is_pinned() {
    let mut server = Server::with_apps(200);
    let mut rig = Rig::serving(&server);
    server.delete(0..60);
    held(rig.delta(&server));
    rig.rollback(2).unwrap();
    assert_eq!(rig.held(), 60);
    let now = rig.now();
    assert_eq!(rig.updater.approve(Generation(2), now), Err(ApproveError::Pinned));
    rig.unpin();
    assert_eq!(published(rig.updater.approve(Generation(2), now).unwrap()).removed, 60);
}
