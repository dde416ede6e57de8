//! Epochs, generations and revs: replicas that disagree, deletes that stick, changes that got lost.

use holdgate_tests::{backend::Backend, gateway::Gateway, http, load::Load, orchestrator::Orchestrator, wait};

use crate::{apps, follower, host, three};

fn document(host: &str, backend: &Backend) -> String {
    format!(r#"{{"hosts":["{host}"],"endpoints":["{}"]}}"#, backend.address())
}

fn catches_up(gateway: &Gateway, orchestrator: &Orchestrator) {
    let digest = orchestrator.digest();
    gateway.until_status("the orchestrator's table", |s| s["table"]["digest"] == digest.as_str());
}

#[test]
fn two_replicas_that_disagree_do_not_make_the_table_flap_and_an_operator_may_choose() {
    let (backends, orchestrator, hosts) = three();
    let mut gateway = follower(&orchestrator, "");
    orchestrator.switch("02OTHER", 50, apps(4, &backends));
    let status = gateway.until_status("the new epoch", |s| s["table"]["epoch"] == "02OTHER");
    let (digest, load) = (status["table"]["digest"].clone(), Load::start(gateway.web, &hosts));

    let refused = |a: &serde_json::Value| a["epoch"] == "01TEST" && a["status"] == "rejected";
    orchestrator.switch("01TEST", 60, apps(3, &backends));
    wait::until("the old epoch to be refused", || orchestrator.acks().iter().any(refused).then_some(()));
    assert_eq!(gateway.status()["table"]["digest"], digest);

    load.stop_without_failure();

    // Retired is retired, after a restart too.
    gateway.kill_9();
    let acks = orchestrator.acks().len();
    gateway.start_ready();
    let load = Load::start(gateway.web, &hosts);
    wait::until("it to be refused again", || orchestrator.acks()[acks..].iter().any(refused).then_some(()));
    let status = gateway.status();
    assert_eq!((&status["table"]["digest"], &status["table"]["epoch"]), (&digest, &"02OTHER".into()));

    // The replica of the new epoch answers again: nothing has changed.
    orchestrator.switch("02OTHER", 61, apps(4, &backends));
    gateway.until_status("the new epoch to go on", |s| s["orchestrator"]["received"]["generation"] == 61);
    assert_eq!(gateway.status()["table"]["apps"], 4);

    let nobody = gateway.command(&["table", "approve", "--epoch", "nobody"]);
    assert_eq!(nobody.status.code(), Some(1), "an epoch that is not retired cannot be taken back");
    orchestrator.switch("01TEST", 62, apps(3, &backends));
    let _ = gateway.says(&["table", "approve", "--epoch", "01TEST"]);
    gateway.until_status("the epoch that was taken back", |s| s["table"]["epoch"] == "01TEST");
    catches_up(&gateway, &orchestrator);
    load.stop_without_failure();
}

#[test]
fn a_deleted_app_does_not_come_back_by_an_old_rev_nor_by_a_restart() {
    let (backends, orchestrator, _hosts) = three();
    let mut gateway = follower(&orchestrator, "");
    let gone = document("gone.test", &backends[0]);
    let rev = orchestrator.put("gone", &gone);
    catches_up(&gateway, &orchestrator);
    orchestrator.delete(&["gone"]);
    catches_up(&gateway, &orchestrator);

    let received =
        |generation: u64| move |s: &serde_json::Value| s["orchestrator"]["received"]["generation"] == generation;
    let refused = |gateway: &Gateway| {
        assert_eq!(gateway.status()["table"]["apps"], 3);
        assert_eq!(http::get(gateway.web, "gone.test", "/").expect("an answer").status, 404);
    };
    gateway.until_status("the resurrection", received(orchestrator.put_at("gone", rev, &gone)));
    refused(&gateway);
    wait::until("it to be counted", || {
        gateway.metric("holdgate_table_resurrections_refused_total").filter(|count| *count >= 1.0)
    });

    gateway.kill_9();
    let generation = orchestrator.put_at("gone", rev, &gone);
    gateway.start_ready();
    refused(&gateway);
    gateway.until_status("it again, after a restart", received(generation));
    refused(&gateway);
    // As part of a whole table it is no better.
    orchestrator.forget_changes();
    gateway.until_status("the whole table", received(orchestrator.put_at("gone", rev, &gone)));
    refused(&gateway);

    orchestrator.put("gone", &gone);
    catches_up(&gateway, &orchestrator);
    assert_eq!(http::get(gateway.web, "gone.test", "/").expect("an answer").status, 200);
}

#[test]
fn changes_in_pages_are_applied_together() {
    let (backends, orchestrator, _hosts) = three();
    let mut gateway = follower(&orchestrator, "");
    gateway.kill_9();
    orchestrator.keep_changes(2);
    let last = (3..10).map(|n| orchestrator.put(&format!("app-{n:05}"), &document(&host(n), &backends[0]))).max();
    let acks = orchestrator.acks().len();
    gateway.start_ready();
    catches_up(&gateway, &orchestrator);
    assert_eq!(gateway.status()["table"]["apps"], 10);
    let acked = wait::until("the ack", || orchestrator.acks().get(acks).cloned());
    assert_eq!(acked["generation"].as_u64(), last, "no page was taken alone: {acked}");
}

#[test]
fn a_gateway_that_is_behind_what_is_kept_takes_a_snapshot() {
    let (backends, orchestrator, _hosts) = three();
    let mut gateway = follower(&orchestrator, "");
    gateway.kill_9();
    orchestrator.put("new", &document("new.test", &backends[0]));
    orchestrator.delete(&["app-00000"]);
    orchestrator.forget_changes();
    gateway.start_ready();
    catches_up(&gateway, &orchestrator);
    assert_eq!(http::get(gateway.web, "new.test", "/").expect("an answer").status, 200);
    assert_eq!(http::get(gateway.web, &host(0), "/").expect("an answer").status, 404);
}

#[test]
fn a_replica_that_lags_is_waited_for() {
    let (backends, orchestrator, hosts) = three();
    let gateway = follower(&orchestrator, "");
    let digest = gateway.status()["table"]["digest"].clone();
    let load = Load::start(gateway.web, &hosts);
    orchestrator.lag(true);
    orchestrator.put("new", &document("new.test", &backends[0]));
    orchestrator.asked_for_its_table(2);
    assert_eq!(gateway.status()["table"]["digest"], digest);
    orchestrator.lag(false);
    catches_up(&gateway, &orchestrator);
    load.stop_without_failure();
}

#[test]
fn a_change_that_got_lost_is_healed_by_a_snapshot() {
    let (backends, orchestrator, hosts) = three();
    let gateway = follower(&orchestrator, "");
    let load = Load::start(gateway.web, &hosts);
    orchestrator.put_and_forget("lost", &document("lost.test", &backends[0]));
    orchestrator.put("new", &document("new.test", &backends[0]));
    catches_up(&gateway, &orchestrator);
    assert_eq!(http::get(gateway.web, "lost.test", "/").expect("an answer").status, 200);
    load.stop_without_failure();
}
