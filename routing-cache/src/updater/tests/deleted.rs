//! Deletes stick.

use super::rig::*;
use crate::{
    model::{Generation, Rev},
    updater::Outcome,
};

/// A server with `count` apps that has deleted `app-0`, and a rig that has followed by a delta.
fn deleted() -> (Server, Rig) {
    let mut server = Server::with_apps(3);
    let mut rig = Rig::serving(&server);
    server.delete(0..1);
    published(rig.delta(&server));
    (server, rig)
}

fn comes_back(server: &mut Server, rev: u64) {
    server.change(|apps, _| drop(apps.insert("app-0".into(), (rev, plain(0, 1, 1)))));
}

#[test]
fn an_app_that_was_deleted_does_not_come_back_with_a_rev_it_had_and_is_counted() {
    let (mut server, mut rig) = deleted();
    comes_back(&mut server, 2);
    let Outcome::Unchanged(summary) = rig.delta(&server) else { panic!("it was taken") };
    assert_eq!(summary.refused, 1);
    let report = rig.updater.report(rig.now());
    assert_eq!((report.resurrections, report.resurrected, report.tombstones), (1, 1, 1));
    assert!(!rig.serves("app-0"));
    rig.assert_settled(&server);
    comes_back(&mut server, 4);
    assert_eq!(published(rig.delta(&server)).added, 1);
    let report = rig.updater.report(rig.now());
    assert_eq!((report.resurrections, report.resurrected, report.tombstones), (1, 0, 0));
}

#[test]
fn it_does_not_come_back_by_a_snapshot_nor_after_a_restart() {
    let (mut server, rig) = deleted();
    let mut rig = rig.restarted();
    rig.open_gate();
    comes_back(&mut server, 2);
    let Outcome::Unchanged(summary) = rig.snapshot(&server) else { panic!("it was taken") };
    assert_eq!(summary.refused, 1);
    let mut rig = rig.restarted();
    assert_eq!(rig.updater.report(rig.now()).resurrected, 1);
    rig.open_gate();
    rig.assert_settled(&server);
}

#[test]
fn an_app_that_is_absent_from_a_snapshot_is_buried_at_its_generation() {
    let mut server = Server::with_apps(3);
    let mut rig = Rig::serving(&server);
    server.change(|_, _| ());
    server.delete(0..1);
    assert_eq!(published(rig.snapshot(&server)).removed, 1);
    for (rev, refused) in [(3, 1), (4, 0)] {
        comes_back(&mut server, rev);
        assert_eq!(rig.delta(&server).summary().unwrap().refused, refused, "rev {rev}");
    }
    assert!(rig.serves("app-0"));
}

#[test]
fn a_delete_with_a_rev_below_the_live_one_buries_the_live_one() {
    let mut server = Server::with_apps(3);
    server.change(|apps, _| drop(apps.insert("app-0".into(), (9, plain(0, 1, 1)))));
    let mut rig = Rig::serving(&server);
    server.delete(0..1);
    published(rig.delta(&server));
    comes_back(&mut server, 9);
    assert_eq!(rig.delta(&server).summary().unwrap().refused, 1);
}

#[test]
fn what_is_held_is_not_buried_until_it_is_let_go() {
    let mut server = Server::with_apps(200);
    let mut rig = Rig::serving(&server);
    let full = server.apps.clone();
    server.delete(0..60);
    held(rig.delta(&server));
    assert_eq!(rig.updater.report(rig.now()).tombstones, 0);
    server.change(|apps, _| *apps = full.clone());
    assert!(matches!(rig.delta(&server), Outcome::Unchanged(_)), "it was there all along");
    server.delete(0..60);
    held(rig.delta(&server));
    let mut rig = rig.restarted();
    let now = rig.now();
    published(rig.updater.approve(Generation(4), now).unwrap());
    assert_eq!(rig.updater.report(now).tombstones, 60);
    server.change(|apps, _| *apps = full);
    rig.open_gate();
    assert_eq!(rig.delta(&server).summary().unwrap().refused, 60);
}

#[test]
fn a_delete_of_an_app_that_was_never_seen_sticks_too() {
    let mut server = Server::with_apps(3);
    let mut rig = Rig::serving(&server);
    let mut changes = server.changes(&rig.updater.position().unwrap()).unwrap();
    changes.deletes.push((id("late"), Rev(7)));
    assert!(matches!(rig.offer_changes(changes), Outcome::Unchanged(_)));
    server.change(|apps, _| drop(apps.insert("late".into(), (7, document(&["late.example.com"], 1, 0)))));
    assert_eq!(rig.delta(&server).summary().unwrap().refused, 1);
}

#[test]
fn a_deleted_app_that_was_never_valid_is_buried_too() {
    let mut server = Server::with_apps(3);
    server.put("bad", "{}".into());
    let mut rig = Rig::serving(&server);
    server.change(|apps, _| drop(apps.remove("bad")));
    rig.delta(&server);
    server.change(|apps, _| drop(apps.insert("bad".into(), (2, document(&["bad.example.com"], 1, 0)))));
    assert_eq!(rig.delta(&server).summary().unwrap().refused, 1);
}

#[test]
fn a_new_epoch_forgets_what_was_deleted() {
    let (_, mut rig) = deleted();
    let mut restored = Server::with_apps(3);
    restored.epoch = "e2".into();
    assert_eq!(published(rig.snapshot(&restored)).added, 1);
    assert_eq!(rig.updater.report(rig.now()).tombstones, 0);
    assert_eq!(rig.restarted().served().len(), 3);
}
