//! Restarts: what was served is served, whatever the disk does.

use std::{path::Path, sync::Arc};

use super::rig::*;
use crate::{
    disk::sim::{Failure, SimDisk},
    live::Source,
    model::Generation,
    updater::{BootError, Outcome, Updater},
};

#[test]
fn the_table_is_served_after_a_restart_with_no_orchestrator_in_sight() {
    let server = Server::with_apps(3);
    let rig = Rig::serving(&server);
    let (served, provenance) = (rig.served(), rig.published().provenance.clone());
    let rig = rig.restarted();
    assert_eq!(rig.served(), served);
    assert_eq!(rig.source(), Source::Snapshot);
    let restored = rig.published().provenance.clone();
    assert_eq!((restored.epoch, restored.generation), (provenance.epoch, provenance.generation));
    assert_eq!(rig.updater.report(rig.now()).received, Some((epoch("e1"), Generation(1))));
    assert!(rig.boot.restored.is_some() && rig.boot.damaged.is_empty());
    assert_eq!(served_document(&rig, "app-0"), plain(0, 1, 1));
}

#[test]
fn after_a_restart_the_next_delta_follows_on_and_makes_the_table_live() {
    let mut server = Server::with_apps(3);
    let mut rig = Rig::serving(&server).restarted();
    rig.open_gate();
    rig.assert_settled(&server);
    assert_eq!(rig.source(), Source::Live);
    server.delete(0..1);
    published(rig.delta(&server));
    assert_eq!(rig.restarted().served().len(), 2);
}

#[test]
fn a_restored_table_meets_the_same_gate_and_guard() {
    let server = Server::with_apps(200);
    let mut rig = Rig::serving(&server).restarted();
    let mut empty = Server::with_apps(0);
    empty.generation = 9;
    rig.ready();
    assert!(matches!(rig.snapshot(&empty), Outcome::Rejected(_)));
    rig.open_gate();
    assert_eq!(held(rig.snapshot(&empty)).held, 200);
}

#[test]
fn an_empty_folder_serves_nothing_and_is_no_error() {
    let rig = Rig::new();
    assert!(!rig.published().has_table());
    assert_eq!(rig.boot.restored, None);
}

#[test]
fn a_folder_in_use_is_the_only_error() {
    let rig = Rig::new();
    let again = Updater::boot_on(Arc::new(rig.disk.clone()), config(), Path::new(FOLDER), rig.now());
    assert!(matches!(again, Err(BootError::Locked { .. })));
}

#[test]
fn a_failing_disk_does_not_stop_the_table_and_is_reported_until_a_save_succeeds() {
    let mut server = Server::with_apps(3);
    let mut rig = Rig::serving(&server);
    rig.disk.fail(0, u64::MAX, Failure::NoSpace);
    server.delete(0..1);
    let summary = published(rig.delta(&server));
    assert!(!summary.saved);
    assert_eq!(rig.served().len(), 2);
    let now = rig.now();
    let saved = rig.updater.report(now).saved;
    assert!(saved.unsaved && saved.error.is_some());
    assert_eq!(saved.generation, Generation(1));
    assert!(!rig.updater.retry_save(now));
    rig.disk.heal();
    assert!(rig.updater.retry_save(now));
    let saved = rig.updater.report(now).saved;
    assert_eq!((saved.unsaved, saved.error, saved.generation), (false, None, Generation(2)));
    assert_eq!(rig.restarted().served().len(), 2);
}

#[test]
fn the_next_update_saves_what_could_not_be_saved_before() {
    let mut server = Server::with_apps(3);
    let mut rig = Rig::serving(&server);
    rig.disk.fail(0, u64::MAX, Failure::NoSpace);
    server.delete(0..1);
    rig.delta(&server);
    rig.disk.heal();
    rig.assert_settled(&server);
    assert!(!rig.updater.report(rig.now()).saved.unsaved);
}

#[test]
fn a_read_only_folder_is_served_from_and_reported() {
    let server = Server::with_apps(3);
    let Rig { disk, updater, ms, .. } = Rig::serving(&server);
    drop(updater);
    disk.kill();
    disk.fail(0, u64::MAX, Failure::ReadOnly);
    let rig = Rig::on(disk, ms);
    assert_eq!(rig.served().len(), 3);
    assert!(rig.boot.unwritable.is_some());
    assert_eq!(rig.updater.report(rig.now()).saved.error, rig.boot.unwritable);
}

#[test]
fn a_save_cut_short_by_a_power_cut_leaves_a_table_that_was_published() {
    for cut in 0..40 {
        let mut server = Server::with_apps(3);
        let mut rig = Rig::serving(&server);
        server.delete(0..1);
        rig.disk.power_off_at(cut);
        rig.delta(&server);
        let Rig { disk, updater, ms, .. } = rig;
        drop(updater);
        disk.crash();
        let rig = Rig::on(disk, ms);
        assert!([2, 3].contains(&rig.served().len()), "cut at {cut}: {:?}", rig.boot);
    }
}

#[test]
fn a_disk_that_forgets_is_no_reason_to_stop() {
    let disk = SimDisk::new(3);
    let mut rig = Rig::on(disk.clone(), 1000);
    disk.lose_folder(Path::new(FOLDER));
    rig.ready();
    published(rig.snapshot(&Server::with_apps(3)));
    assert_eq!(rig.served().len(), 3);
}
