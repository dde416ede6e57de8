//! Epochs: a new one by a whole snapshot alone, an old one never again.

use super::rig::*;
use crate::updater::{EpochError, Outcome, Rejection};

fn other(epoch: &str, apps: usize) -> Server {
    let mut server = Server::with_apps(apps);
    server.epoch = epoch.into();
    server
}

#[test]
fn two_replicas_that_disagree_do_not_make_the_table_flap_also_across_a_restart() {
    let (one, two) = (Server::with_apps(3), other("e2", 4));
    let mut rig = Rig::serving(&one);
    published(rig.snapshot(&two));
    let left = Outcome::Rejected(Rejection::RetiredEpoch { epoch: epoch("e1") });
    assert_eq!(rig.snapshot(&one), left);
    let mut rig = rig.restarted();
    rig.open_gate();
    assert_eq!(rig.snapshot(&one), left);
    assert_eq!(rig.served().len(), 4);
    assert_eq!(rig.updater.report(rig.now()).retired, [epoch("e1")]);
    rig.assert_settled(&two);
}

#[test]
fn an_operator_takes_an_epoch_back() {
    let (one, two) = (Server::with_apps(3), other("e2", 4));
    let mut rig = Rig::serving(&one);
    published(rig.snapshot(&two));
    let now = rig.now();
    let unknown = EpochError::NotRetired { epoch: epoch("e2") };
    assert_eq!(rig.updater.approve_epoch(&epoch("e2"), now), Err(unknown));
    assert_eq!(rig.updater.approve_epoch(&epoch("e1"), now), Ok(()));
    let mut rig = rig.restarted();
    rig.open_gate();
    assert_eq!(published(rig.snapshot(&one)).removed, 1);
    assert_eq!(rig.updater.report(rig.now()).retired, [epoch("e2")]);
}

#[test]
fn so_many_epochs_are_remembered_and_no_more() {
    let mut rig = Rig::serving(&Server::with_apps(3));
    for n in 0..20 {
        rig.snapshot(&other(&format!("n{n}"), 3));
    }
    let retired = rig.updater.report(rig.now()).retired;
    assert_eq!((retired.len(), retired[0].as_str()), (crate::state::MAX_RETIRED_EPOCHS, "n18"));
}

#[test]
fn a_part_does_not_begin_an_epoch() {
    let mut rig = Rig::serving(&Server::with_apps(3));
    let mut candidate = other("e2", 4).snapshot();
    candidate.partial = Some("cut short".into());
    assert_eq!(rig.offer(candidate), Outcome::Rejected(Rejection::PartialOfAnotherEpoch { epoch: epoch("e2") }));
    assert_eq!(rig.served().len(), 3);
}

#[test]
fn changes_of_another_epoch_need_a_snapshot() {
    let server = Server::with_apps(3);
    let mut rig = Rig::serving(&server);
    let mut changes = server.changes(&rig.updater.position().unwrap()).unwrap();
    changes.epoch = epoch("e2");
    assert!(matches!(rig.offer_changes(changes), Outcome::NeedSnapshot(_)));
    rig.assert_settled(&server);
}

#[test]
fn an_epoch_that_is_refused_for_its_invalid_apps_retires_none() {
    let mut rig = Rig::serving(&Server::with_apps(100));
    let mut bad = other("e2", 100);
    bad.change(|apps, rev| (0..50).for_each(|n| drop(apps.insert(name(n), (rev, "{}".into())))));
    assert!(matches!(rig.snapshot(&bad), Outcome::Rejected(Rejection::TooManyInvalid { .. })));
    assert!(rig.updater.report(rig.now()).retired.is_empty());
    assert!(matches!(rig.snapshot(&Server::with_apps(100)), Outcome::Unchanged(_)));
}

#[test]
fn a_rev_below_the_live_one_is_stale_after_a_restart_too_and_one_of_another_epoch_is_not() {
    let mut server = Server::with_apps(3);
    server.put("app-1", plain(1, 2, 7));
    let mut rig = Rig::serving(&server).restarted();
    rig.open_gate();
    server.change(|apps, _| drop(apps.insert("app-1".into(), (1, plain(1, 3, 1)))));
    assert_eq!(rig.delta(&server).summary().unwrap().stale, 1);
    let mut restored = other("e2", 3);
    restored.change(|apps, _| drop(apps.insert("app-1".into(), (1, "{}".into()))));
    rig.snapshot(&restored);
    let mut rig = rig.restarted();
    rig.open_gate();
    restored.change(|apps, _| drop(apps.insert("app-1".into(), (2, plain(1, 4, 4)))));
    published(rig.delta(&restored));
    assert_eq!((rig.rev("app-1"), rig.endpoints("app-1")), (Some(2), 4));
}
