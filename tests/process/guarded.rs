//! The shrink guard: what is held, what lets go of it, and that neither a restart nor patience gets round it.

use holdgate_tests::{backend::Backend, gateway::Gateway, http, load::Load, orchestrator::Orchestrator};

use crate::{apps, host, three};

/// Few apps are many where the guard says so.
const GUARD: &str = "[guard]\nmax_shrink_apps = 1\nmax_crashes = 0\n";

fn guarded(orchestrator: &Orchestrator) -> Gateway {
    orchestrator.keep_changes(1000);
    let mut gateway = Gateway::configured(&orchestrator.url(), GUARD);
    open(&mut gateway);
    gateway
}

fn open(gateway: &mut Gateway) {
    gateway.start_ready();
    gateway.until_status("an open gate", |s| s["orchestrator"]["gate"] == "open");
}

#[test]
fn a_slow_boil_counts_as_one_change_over_restarts_too() {
    let backends = [Backend::start("app")];
    let orchestrator = Orchestrator::start(apps(20, &backends));
    let mut gateway = guarded(&orchestrator);
    for (gone, left) in [(["app-00019", "app-00018"], 18), (["app-00017", "app-00016"], 16)] {
        orchestrator.delete(&gone);
        gateway.until_status("two apps to go", |s| s["table"]["apps"] == left);
        gateway.kill_9();
        open(&mut gateway);
    }
    // Two more would be 30 % of the 20 that there were within the hour.
    orchestrator.delete(&["app-00015", "app-00014"]);
    let held = gateway.until_status("the guard to hold", |s| s["held"]["deletes"] == 2);
    assert_eq!((&held["held"]["reason"], &held["table"]["apps"]), (&"shrink-guard".into(), &16.into()));
    let listed = gateway.ask("/v1/table/held").expect("the admin API answers").json();
    assert_eq!(listed["evidence"]["apps_before"], 20, "{listed}");
    assert_eq!(http::get(gateway.web, &host(15), "/").expect("an answer").status, 200);
    // Adds and updates of the same update are not held back.
    let document = format!(r#"{{"hosts":["new.test"],"endpoints":["{}"]}}"#, backends[0].address());
    orchestrator.put("new", &document);
    gateway.until_status("the new app", |s| s["table"]["apps"] == 17 && s["held"]["deletes"] == 2);
    // What comes back is not held any more.
    let back = format!(r#"{{"hosts":["{}"],"endpoints":["{}"]}}"#, host(15), backends[0].address());
    orchestrator.put("app-00015", &back);
    gateway.until_status("one hold to end", |s| s["table"]["apps"] == 17 && s["held"]["deletes"] == 1);
}

#[test]
fn apps_that_lose_all_their_endpoints_keep_them_until_it_is_approved() {
    let (_backends, orchestrator, hosts) = three();
    let mut gateway = guarded(&orchestrator);
    let load = Load::start(gateway.web, &hosts);
    let empty = |n: usize| (format!("app-{n:05}"), format!(r#"{{"hosts":["{}"],"endpoints":[]}}"#, host(n)));
    orchestrator.put_all((0..3).map(empty));
    let held = gateway.until_status("the guard to hold", |s| s["held"]["deletes"] == 3);
    assert_eq!(held["held"]["reason"], "shrink-guard");
    load.go_on(100);
    load.stop_without_failure();
    gateway.kill_9();
    open(&mut gateway);
    assert_eq!(gateway.status()["held"]["deletes"], 3);
    let listed = gateway.says(&["table", "show", "--held"]);
    assert!(listed.contains("app-00001"), "{listed}");
    let said = gateway.says(&["table", "approve"]);
    assert!(said.contains("app-00002"), "it names what it releases: {said}");
    let digest = orchestrator.digest();
    gateway
        .until_status("nothing to be held", |s| s["held"]["deletes"] == 0 && s["table"]["digest"] == digest.as_str());
    assert_eq!(http::get(gateway.web, &hosts[0], "/").expect("an answer").status, 503);
}

#[test]
fn a_shrink_that_the_orchestrator_means_is_let_through() {
    let backends = [Backend::start("app")];
    let orchestrator = Orchestrator::start(apps(10, &backends));
    let gateway = guarded(&orchestrator);
    orchestrator.delete(&["app-00005", "app-00006", "app-00007", "app-00008", "app-00009"]);
    gateway.until_status("the guard to hold", |s| s["held"]["deletes"] == 5 && s["table"]["apps"] == 10);
    orchestrator.mean_to_shrink(6);
    let generation = orchestrator.published().last().map(|p| p.generation);
    gateway.until_status("the word of too many apps", |s| {
        s["orchestrator"]["received"]["generation"].as_u64() == generation
    });
    assert_eq!(gateway.status()["held"]["deletes"], 5, "five are fewer than the six that were meant");
    orchestrator.mean_to_shrink(5);
    gateway.until_status("the apps to go", |s| s["held"]["deletes"] == 0 && s["table"]["apps"] == 5);
}
