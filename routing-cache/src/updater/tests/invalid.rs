//! Bad apps do not poison the rest.

use super::rig::*;
use crate::updater::{Outcome, Rejection};

fn errors(rig: &Rig) -> Vec<(String, String)> {
    let report = rig.updater.report(rig.now());
    assert_eq!(report.invalid.len(), report.invalid_total);
    report.invalid.iter().map(|(id, error)| (id.to_string(), error.to_string())).collect()
}

#[test]
fn an_app_whose_document_is_invalid_keeps_its_last_valid_version_and_is_reported() {
    let mut server = Server::with_apps(3);
    let mut rig = Rig::serving(&server);
    server.put("app-1", r#"{"hosts":["Upper.example.com"],"endpoints":[]}"#.into());
    server.put("app-2", plain(2, 2, 2));
    let summary = published(rig.delta(&server));
    assert_eq!((summary.updated, summary.invalid), (1, 1));
    assert_eq!((rig.rev("app-1"), rig.rev("app-2")), (Some(1), Some(3)));
    assert_eq!(errors(&rig)[0].0, "app-1");
    assert!(errors(&rig)[0].1.starts_with("hosts[0]"), "{:?}", errors(&rig));
    rig.assert_settled(&server);
    server.put("app-1", plain(1, 2, 2));
    published(rig.delta(&server));
    assert_eq!(errors(&rig), []);
}

#[test]
fn an_app_that_was_never_valid_is_received_and_not_served() {
    let mut server = Server::with_apps(3);
    server.put("bad", "[]".into());
    let mut rig = Rig::serving(&server);
    assert!(!rig.serves("bad"));
    rig.assert_settled(&server);
    server.change(|apps, _| drop(apps.remove("bad")));
    assert!(matches!(rig.delta(&server), Outcome::Unchanged(_)));
    assert_eq!(errors(&rig), []);
}

#[test]
fn an_invalid_app_that_is_deleted_is_not_served_any_more() {
    let mut server = Server::with_apps(3);
    let mut rig = Rig::serving(&server);
    server.put("app-1", "[]".into());
    rig.delta(&server);
    server.delete(1..2);
    assert_eq!(published(rig.delta(&server)).removed, 1);
    rig.assert_settled(&server);
}

#[test]
fn too_many_invalid_apps_reject_the_whole_update() {
    let mut server = Server::with_apps(100);
    let mut rig = Rig::serving(&server);
    server.change(|apps, rev| (0..21).for_each(|n| drop(apps.insert(name(n), (rev, "[]".into())))));
    server.put("app-50", plain(50, 2, 2));
    let rejected = Outcome::Rejected(Rejection::TooManyInvalid { invalid: 21, apps: 100 });
    assert_eq!(rig.delta(&server), rejected);
    assert_eq!(rig.snapshot(&server), rejected);
    assert_eq!(rig.rev("app-50"), Some(1));
    server.put("app-20", plain(20, 1, 1));
    published(rig.delta(&server));
    rig.assert_settled(&server);
}

#[test]
fn a_gateway_without_a_table_serves_the_valid_ones_of_however_many() {
    let mut server = Server::with_apps(100);
    server.change(|apps, rev| (0..99).for_each(|n| drop(apps.insert(name(n), (rev, "[]".into())))));
    let mut rig = Rig::new();
    rig.ready();
    let summary = published(rig.snapshot(&server));
    assert_eq!((summary.added, summary.invalid), (1, 99));
    rig.open_gate();
    rig.assert_settled(&server);
}

#[test]
fn apps_that_are_invalid_already_do_not_reject_the_snapshot_that_follows_a_restart() {
    let mut server = Server::with_apps(100);
    server.change(|apps, rev| (0..99).for_each(|n| drop(apps.insert(name(n), (rev, "[]".into())))));
    let mut rig = Rig::new();
    rig.ready();
    published(rig.snapshot(&server));
    let mut rig = rig.restarted();
    rig.open_gate();
    server.put("app-0", plain(0, 1, 1));
    let summary = published(rig.snapshot(&server));
    assert_eq!((summary.added, summary.invalid), (1, 98));
    rig.assert_settled(&server);
}

#[test]
fn what_is_invalid_is_known_after_a_restart_and_deltas_go_on() {
    let mut server = Server::with_apps(3);
    server.put("app-1", "[]".into());
    server.put("app-2", plain(0, 1, 1));
    let rig = Rig::serving(&server);
    let before = errors(&rig);
    assert_eq!(before.len(), 2);
    let mut rig = rig.restarted();
    assert_eq!(errors(&rig), before);
    rig.open_gate();
    rig.assert_settled(&server);
    server.delete(0..1);
    let summary = published(rig.delta(&server));
    assert_eq!((summary.removed, summary.added), (1, 1), "the app that waited for its host has it now");
}
