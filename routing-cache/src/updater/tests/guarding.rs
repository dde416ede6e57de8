//! The shrink guard in the updater: what is held, how it is let go.

use super::rig::*;
use crate::{
    model::Generation,
    updater::{ApproveError, Outcome, SHRINK_GUARD},
};

#[test]
fn an_empty_table_never_replaces_a_full_one() {
    let mut server = Server::with_apps(200);
    let mut rig = Rig::serving(&server);
    server.delete(0..200);
    let summary = held(rig.snapshot(&server));
    assert_eq!((summary.held, summary.removed), (200, 0));
    assert_eq!(rig.served().len(), 200);
    rig.assert_settled(&server);
}

#[test]
fn a_held_delta_has_its_adds_and_updates_applied() {
    let mut server = Server::with_apps(200);
    let mut rig = Rig::serving(&server);
    server.delete(0..60);
    server.put("app-100", plain(100, 2, 9));
    server.put("new", document(&["new.example.com"], 1, 0));
    let summary = held(rig.delta(&server));
    assert_eq!((summary.added, summary.updated, summary.removed, summary.held), (1, 1, 0, 60));
    assert!(rig.serves("app-0") && rig.serves("new"));
    rig.assert_settled(&server);
}

#[test]
fn what_is_held_is_reported_with_its_evidence() {
    let mut server = Server::with_apps(200);
    let mut rig = Rig::serving(&server);
    server.delete(0..60);
    held(rig.delta(&server));
    let report = rig.updater.report(rig.now()).held;
    assert_eq!((report.reason, report.total, report.generation), (Some(SHRINK_GUARD), 60, Generation(2)));
    assert_eq!(report.deletes.len(), 60);
    assert_eq!(report.since, Some(rig.now().wall));
    let evidence = report.evidence.unwrap();
    assert_eq!((evidence.apps_before, evidence.apps_after, evidence.percent), (200, 140, 30.0));
}

#[test]
fn many_small_steps_are_held_as_one_big_one_also_across_a_restart() {
    let mut server = Server::with_apps(200);
    let mut rig = Rig::serving(&server);
    for step in 0..5 {
        server.delete(step * 10..step * 10 + 10);
        published(rig.delta(&server));
        rig.pass_minutes(2);
    }
    let mut rig = rig.restarted();
    rig.open_gate();
    server.delete(50..51);
    assert_eq!(held(rig.delta(&server)).held, 1);
    assert!(rig.serves("app-50"));
}

#[test]
fn what_is_held_stays_held_when_the_hour_is_over() {
    let mut server = Server::with_apps(200);
    let mut rig = Rig::serving(&server);
    server.delete(0..45);
    published(rig.delta(&server));
    server.delete(45..55);
    held(rig.delta(&server));
    rig.pass_minutes(90);
    assert_eq!(held(rig.snapshot_after(&mut server)).held, 10);
    assert_eq!(rig.served().len(), 155);
}

#[test]
fn an_operator_releases_what_is_held_and_the_hour_starts_anew() {
    let mut server = Server::with_apps(200);
    let mut rig = Rig::serving(&server);
    server.delete(0..60);
    held(rig.delta(&server));
    let (wrong, right) = (Generation(1), Generation(2));
    let now = rig.now();
    assert_eq!(rig.updater.approve(wrong, now), Err(ApproveError::OtherGeneration { held: right }));
    assert_eq!(published(rig.updater.approve(right, now).unwrap()).removed, 60);
    assert_eq!((rig.served().len(), rig.held()), (140, 0));
    assert_eq!(rig.updater.approve(right, now), Err(ApproveError::NothingHeld));
    rig.assert_settled(&server);
    server.delete(60..80);
    published(rig.delta(&server));
    let rig = rig.restarted();
    assert_eq!(rig.served().len(), 120);
}

#[test]
fn an_approval_forgets_what_went_before_it() {
    let mut server = Server::with_apps(200);
    let mut rig = Rig::serving(&server);
    server.delete(0..40);
    published(rig.delta(&server));
    server.delete(40..100);
    held(rig.delta(&server));
    let now = rig.now();
    published(rig.updater.approve(Generation(3), now).unwrap());
    server.delete(100..120);
    assert_eq!(published(rig.delta(&server)).removed, 20);
}

#[test]
fn apps_that_went_and_came_back_are_not_counted_as_away() {
    let mut server = Server::with_apps(200);
    let mut rig = Rig::serving(&server);
    for step in 0..5 {
        let full = server.apps.clone();
        server.delete(step * 20..step * 20 + 20);
        published(rig.delta(&server));
        server.change(|apps, rev| *apps = renewed(full, rev));
        published(rig.delta(&server));
    }
}

#[test]
fn more_that_is_held_needs_another_look_before_it_is_approved() {
    let mut server = Server::with_apps(200);
    let mut rig = Rig::serving(&server);
    server.delete(0..60);
    held(rig.delta(&server));
    server.delete(60..61);
    held(rig.delta(&server));
    let now = rig.now();
    assert_eq!(rig.updater.approve(Generation(2), now), Err(ApproveError::OtherGeneration { held: Generation(3) }));
}

#[test]
fn the_orchestrator_releases_what_is_held_by_saying_that_it_means_it() {
    let mut server = Server::with_apps(200);
    let mut rig = Rig::serving(&server);
    server.delete(0..60);
    held(rig.delta(&server));
    server.shrink_ok = Some(141);
    assert!(matches!(rig.delta(&server), Outcome::Unchanged(_)), "there would be fewer than it says");
    server.shrink_ok = Some(140);
    assert_eq!(published(rig.delta(&server)).removed, 60);
    assert_eq!((rig.served().len(), rig.held()), (140, 0));
}

#[test]
fn a_partial_candidate_never_releases_what_is_held() {
    let mut server = Server::with_apps(200);
    let mut rig = Rig::serving(&server);
    server.delete(0..60);
    held(rig.delta(&server));
    server.shrink_ok = Some(0);
    let mut candidate = server.snapshot();
    candidate.partial = Some("cut short".into());
    assert!(matches!(rig.offer(candidate), Outcome::Unchanged(_)));
    assert_eq!((rig.served().len(), rig.held()), (200, 60));
}

#[test]
fn a_shrink_that_the_orchestrator_means_is_not_held_at_all() {
    let mut server = Server::with_apps(200);
    let mut rig = Rig::serving(&server);
    server.delete(0..150);
    server.shrink_ok = Some(50);
    assert_eq!(published(rig.snapshot(&server)).removed, 150);
}

#[test]
fn apps_that_come_back_are_not_held_any_more() {
    let mut server = Server::with_apps(200);
    let full = server.apps.clone();
    let mut rig = Rig::serving(&server);
    server.delete(0..60);
    held(rig.snapshot(&server));
    server.change(|apps, _| *apps = full);
    assert!(matches!(rig.delta(&server), Outcome::Unchanged(_)));
    assert_eq!((rig.served().len(), rig.held()), (200, 0));
    assert!(rig.updater.report(rig.now()).held.reason.is_none());
}

#[test]
fn an_app_without_endpoints_counts_as_taken_away_and_keeps_its_last_ones_while_it_is_held() {
    let mut server = Server::with_apps(200);
    let mut rig = Rig::serving(&server);
    server.change(|apps, rev| (0..60).for_each(|n| drop(apps.insert(name(n), (rev, plain(n, 0, 0))))));
    assert_eq!(held(rig.delta(&server)).held, 60);
    assert_eq!((rig.endpoints("app-0"), rig.rev("app-0")), (1, Some(1)));
    rig.assert_settled(&server);
    let now = rig.now();
    assert_eq!(published(rig.updater.approve(Generation(2), now).unwrap()).updated, 60);
    assert_eq!((rig.endpoints("app-0"), rig.rev("app-0")), (0, Some(2)));
    rig.assert_settled(&server);
}

#[test]
fn an_app_that_loses_its_endpoints_and_is_then_deleted_is_taken_away_once() {
    let mut server = Server::with_apps(200);
    let mut rig = Rig::serving(&server);
    server.change(|apps, rev| (0..40).for_each(|n| drop(apps.insert(name(n), (rev, plain(n, 0, 0))))));
    assert_eq!(published(rig.delta(&server)).updated, 40);
    server.delete(0..40);
    assert_eq!(published(rig.delta(&server)).removed, 40);
    server.delete(40..51);
    assert_eq!(held(rig.delta(&server)).held, 11);
}

#[test]
fn a_few_apps_without_endpoints_are_published_as_they_are() {
    let mut server = Server::with_apps(200);
    let mut rig = Rig::serving(&server);
    server.put("app-7", plain(7, 0, 0));
    published(rig.delta(&server));
    assert_eq!(rig.endpoints("app-7"), 0);
}

#[test]
fn what_is_held_is_held_after_a_restart_too_and_deltas_go_on() {
    let mut server = Server::with_apps(200);
    let mut rig = Rig::serving(&server);
    server.delete(0..60);
    server.change(|apps, rev| (60..70).for_each(|n| drop(apps.insert(name(n), (rev, plain(n, 0, 0))))));
    held(rig.delta(&server));
    let before = rig.updater.report(rig.now()).held;
    let mut rig = rig.restarted();
    let report = rig.updater.report(rig.now()).held;
    assert_eq!((report.total, report.since, report.generation), (70, before.since, Generation(3)));
    assert_eq!(report.evidence, before.evidence);
    rig.open_gate();
    rig.assert_settled(&server);
    assert_eq!((rig.endpoints("app-60"), rig.served().len()), (1, 200));
    let now = rig.now();
    let summary = published(rig.updater.approve(Generation(3), now).unwrap());
    assert_eq!((summary.removed, summary.updated), (60, 10));
    rig.assert_settled(&server);
    let mut rig = rig.restarted();
    assert_eq!((rig.held(), rig.served().len(), rig.endpoints("app-60")), (0, 140, 0));
    rig.open_gate();
    rig.assert_settled(&server);
}

#[test]
fn a_new_epoch_without_most_apps_is_held_as_well() {
    let server = Server::with_apps(200);
    let mut rig = Rig::serving(&server);
    let mut other = Server::with_apps(100);
    other.epoch = "e2".into();
    assert_eq!(held(rig.snapshot(&other)).held, 100);
    rig.assert_settled(&other);
    other.change(|apps, _| drop(apps.insert(name(150), (1, plain(150, 2, 0)))));
    published(rig.delta(&other));
    assert_eq!((rig.endpoints("app-150"), rig.held()), (2, 99));
}

/// The same apps with a new rev each: what was deleted comes back by nothing less.
fn renewed(apps: Apps, rev: u64) -> Apps {
    apps.into_iter().map(|(app, (_, document))| (app, (rev, document))).collect()
}

impl Rig {
    /// A snapshot one generation on, of the same apps.
    fn snapshot_after(&mut self, server: &mut Server) -> Outcome {
        server.change(|_, _| ());
        self.snapshot(server)
    }
}
