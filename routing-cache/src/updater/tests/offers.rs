//! Gate, order, revs: which answers change the table at all.

use super::rig::*;
use crate::{
    gate::{Observation, ShutReason},
    live::Source,
    model::Generation,
    updater::{Outcome, Rejection},
};

#[test]
fn before_the_first_table_none_is_served_and_no_position_is_known() {
    let rig = Rig::new();
    assert_eq!(rig.source(), Source::None);
    assert_eq!(rig.updater.position(), None);
    assert!(!rig.updater.wants_answers(rig.now()));
}

#[test]
fn the_first_table_is_taken_without_waiting_for_stable_for() {
    let mut rig = Rig::new();
    rig.ready();
    assert!(rig.updater.wants_answers(rig.now()));
    let summary = published(rig.snapshot(&Server::with_apps(3)));
    assert_eq!((summary.added, summary.saved), (3, true));
    assert_eq!(rig.source(), Source::Live);
    assert_eq!(rig.served().len(), 3);
}

#[test]
fn the_first_table_is_not_taken_from_an_orchestrator_that_is_not_ready() {
    let mut rig = Rig::new();
    rig.not_ready();
    let reason = ShutReason::NotReady("loading".into());
    assert_eq!(rig.snapshot(&Server::with_apps(3)), Outcome::Rejected(Rejection::GateShut(reason)));
    rig.ready();
    let mut candidate = Server::with_apps(3).snapshot();
    candidate.ready = false;
    assert_eq!(rig.offer(candidate), Outcome::Rejected(Rejection::NotReady));
    assert_eq!(rig.source(), Source::None);
}

#[test]
fn an_empty_table_may_be_the_first_one() {
    let mut rig = Rig::new();
    rig.ready();
    rig.snapshot(&Server::with_apps(0));
    assert!(rig.published().has_table());
}

#[test]
fn a_first_table_of_which_nothing_can_be_read_is_not_taken() {
    let mut server = Server::new("e1");
    server.put("a", "{}".into());
    let mut rig = Rig::new();
    rig.ready();
    assert!(matches!(rig.snapshot(&server), Outcome::Rejected(Rejection::TooManyInvalid { .. })));
    let mut candidate = Server::new("e1").snapshot();
    candidate.partial = Some("a.json is cut short".into());
    assert!(matches!(rig.offer(candidate), Outcome::Rejected(Rejection::NothingWhole(_))));
    assert!(!rig.published().has_table());
}

#[test]
fn no_answer_changes_the_table_while_the_gate_is_shut() {
    let mut server = Server::with_apps(3);
    let mut rig = Rig::serving(&server);
    server.delete(0..1);
    rig.not_ready();
    assert!(!rig.updater.wants_answers(rig.now()));
    assert!(matches!(rig.delta(&server), Outcome::Rejected(Rejection::GateShut(_))));
    assert!(matches!(rig.snapshot(&server), Outcome::Rejected(Rejection::GateShut(_))));
    assert_eq!(rig.served().len(), 3);
    rig.open_gate();
    assert_eq!(published(rig.delta(&server)).removed, 1);
}

#[test]
fn the_second_table_waits_until_the_orchestrator_has_been_ready_for_stable_for() {
    let mut server = Server::with_apps(3);
    let mut rig = Rig::serving(&server).restarted();
    server.delete(0..1);
    rig.ready();
    rig.ms += 4999;
    rig.ready();
    assert!(matches!(rig.snapshot(&server), Outcome::Rejected(Rejection::GateShut(ShutReason::Settling { .. }))));
    rig.ms += 1;
    rig.ready();
    assert_eq!(published(rig.snapshot(&server)).removed, 1);
}

#[test]
fn an_answer_that_says_not_ready_shuts_the_gate() {
    let server = Server::with_apps(3);
    let mut rig = Rig::serving(&server);
    let mut candidate = Server::with_apps(0).snapshot();
    (candidate.ready, candidate.generation) = (false, Generation(99));
    assert_eq!(rig.offer(candidate), Outcome::Rejected(Rejection::NotReady));
    assert!(!rig.updater.wants_answers(rig.now()));
    assert_eq!(rig.served().len(), 3);
}

#[test]
fn a_lower_generation_of_the_same_epoch_is_ignored() {
    let mut server = Server::with_apps(3);
    let old = server.snapshot();
    server.put("app-1", plain(1, 2, 5));
    let mut rig = Rig::serving(&server);
    let (offered, received) = (Generation(1), Generation(2));
    assert_eq!(rig.offer(old), Outcome::Rejected(Rejection::OldGeneration { offered, received }));
    assert_eq!(rig.rev("app-1"), Some(2));
}

#[test]
fn the_same_generation_with_the_same_digest_is_confirmed_and_not_saved_again() {
    let server = Server::with_apps(3);
    let mut rig = Rig::serving(&server);
    let (operations, received_at) = (rig.disk.operations(), rig.published().provenance.received_at);
    assert!(matches!(rig.snapshot(&server), Outcome::Unchanged(_)));
    rig.assert_settled(&server);
    assert!(rig.published().provenance.received_at > received_at);
    assert_eq!(rig.disk.operations(), operations);
}

#[test]
fn a_delta_adds_updates_and_removes() {
    let mut server = Server::with_apps(3);
    let mut rig = Rig::serving(&server);
    server.put("app-0", plain(0, 2, 9));
    server.put("new", document(&["new.example.com"], 1, 0));
    server.delete(2..3);
    let summary = published(rig.delta(&server));
    assert_eq!((summary.added, summary.updated, summary.removed), (1, 1, 1));
    assert_eq!(rig.published().provenance.generation, Generation(4));
    assert_eq!(rig.published().table.digest(), server.digest());
    rig.assert_settled(&server);
}

#[test]
fn a_delete_of_an_unknown_app_is_fine() {
    let server = Server::with_apps(3);
    let mut rig = Rig::serving(&server);
    let mut changes = server.changes(&rig.updater.position().unwrap()).unwrap();
    changes.deletes.push((id("never-seen"), crate::model::Rev(9)));
    assert!(matches!(rig.offer_changes(changes), Outcome::Unchanged(_)));
}

#[test]
fn a_delta_that_does_not_follow_on_needs_a_snapshot_and_changes_nothing() {
    let mut server = Server::with_apps(3);
    let mut rig = Rig::serving(&server);
    let since = rig.updater.position().unwrap();
    server.delete(0..1);
    let mut gap = server.changes(&since).unwrap();
    gap.from = Generation(7);
    gap.to = Generation(8);
    assert!(matches!(rig.offer_changes(gap), Outcome::NeedSnapshot(_)));
    let mut other = server.changes(&since).unwrap();
    other.epoch = epoch("e2");
    assert!(matches!(rig.offer_changes(other), Outcome::NeedSnapshot(_)));
    assert_eq!(rig.served().len(), 3);
}

#[test]
fn a_delta_after_which_digest_or_count_differ_needs_a_snapshot_and_changes_nothing() {
    for lie in [|c: &mut crate::wire::Changes| c.apps += 1, |c: &mut crate::wire::Changes| c.digest.0 ^= 1] {
        let mut server = Server::with_apps(3);
        let mut rig = Rig::serving(&server);
        server.delete(0..1);
        let mut changes = server.changes(&rig.updater.position().unwrap()).unwrap();
        lie(&mut changes);
        assert!(matches!(rig.offer_changes(changes), Outcome::NeedSnapshot(_)));
        assert_eq!(rig.served().len(), 3);
        assert_eq!(rig.updater.position(), None, "only a snapshot will do");
        published(rig.snapshot(&server));
        rig.assert_settled(&server);
    }
}

#[test]
fn a_document_with_a_rev_below_the_live_one_is_ignored_and_causes_no_resync() {
    let mut server = Server::with_apps(3);
    let mut rig = Rig::serving(&server);
    server.put("app-1", plain(1, 2, 7));
    published(rig.delta(&server));
    server.change(|apps, _| drop(apps.insert("app-1".into(), (1, plain(1, 3, 1)))));
    let Outcome::Unchanged(summary) = rig.delta(&server) else { panic!("it was taken") };
    assert_eq!(summary.stale, 1);
    assert_eq!((rig.rev("app-1"), rig.endpoints("app-1")), (Some(2), 2));
    rig.assert_settled(&server);
    server.change(|_, _| ());
    assert!(matches!(rig.snapshot(&server), Outcome::Unchanged(_)));
    assert_eq!(rig.rev("app-1"), Some(2));
    server.put("app-1", plain(1, 4, 4));
    published(rig.delta(&server));
    assert_eq!(rig.endpoints("app-1"), 4);
}

#[test]
fn revs_start_anew_with_an_epoch() {
    let mut server = Server::with_apps(3);
    for note in 0..5 {
        server.put("app-1", plain(1, 1, note));
    }
    let mut rig = Rig::serving(&server);
    let mut restored = Server::with_apps(3);
    restored.epoch = "e2".into();
    published(rig.snapshot(&restored));
    assert_eq!(rig.rev("app-1"), Some(1));
    assert_eq!(rig.published().provenance.epoch, Some(epoch("e2")));
    rig.assert_settled(&restored);
}

#[test]
fn an_app_that_kept_its_version_of_another_epoch_is_not_measured_by_its_rev() {
    let mut server = Server::with_apps(3);
    for note in 0..5 {
        server.put("app-1", plain(1, 1, note));
    }
    let mut rig = Rig::serving(&server);
    let mut restored = Server::with_apps(3);
    restored.epoch = "e2".into();
    restored.change(|apps, _| drop(apps.insert("app-1".into(), (1, "{}".into()))));
    assert!(matches!(rig.snapshot(&restored), Outcome::Unchanged(_)));
    assert_eq!(rig.rev("app-1"), Some(6), "its document is invalid, so it keeps its last version");
    restored.change(|apps, _| drop(apps.insert("app-1".into(), (2, plain(1, 3, 3)))));
    published(rig.delta(&restored));
    assert_eq!(rig.rev("app-1"), Some(2));
}

#[test]
fn a_partial_candidate_never_deletes() {
    let mut server = Server::with_apps(3);
    let mut rig = Rig::serving(&server);
    server.delete(0..2);
    server.put("app-2", plain(2, 2, 2));
    let mut candidate = server.snapshot();
    candidate.partial = Some("shop.json is cut short".into());
    let summary = published(rig.offer(candidate));
    assert_eq!((summary.updated, summary.removed), (1, 0));
    assert_eq!(rig.served().len(), 3);
    assert_eq!(rig.updater.report(rig.now()).received_apps, 3);
}

#[test]
fn an_answered_table_request_is_a_sign_of_life() {
    let server = Server::with_apps(3);
    let mut rig = Rig::serving(&server);
    rig.ms += 9000;
    rig.assert_settled(&server);
    rig.ms += 9000;
    assert!(rig.updater.wants_answers(rig.now()));
    assert_eq!(rig.updater.report(rig.now()).last_contact.map(|at| rig.now().wall.0 - at.0), Some(9000));
}

#[test]
fn an_old_table_is_dropped_by_the_updater_once_no_reader_has_it() {
    let mut server = Server::with_apps(3);
    let mut rig = Rig::serving(&server);
    let old = rig.published();
    let weak = std::sync::Arc::downgrade(&old);
    server.delete(0..1);
    published(rig.delta(&server));
    drop(old);
    assert!(weak.upgrade().is_some(), "not by the reader");
    rig.ready();
    assert!(weak.upgrade().is_none());
}

#[test]
fn the_gate_shuts_by_time_alone_and_the_report_says_why() {
    let server = Server::with_apps(3);
    let mut rig = Rig::serving(&server);
    assert!(rig.updater.report(rig.now()).gate_open);
    rig.see(Observation::Unanswered("time-out".into()));
    rig.ms += 10_000;
    let report = rig.updater.report(rig.now());
    assert_eq!(report.gate_reason.as_deref(), Some("nothing was answered for 10 s"));
    assert!(!report.orchestrator_ready && !report.gate_open);
    assert_eq!(report.received, Some((epoch("e1"), Generation(1))));
}
