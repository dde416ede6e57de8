//! The table as it changes, as it is kept and as it is shown.

use std::fs;

use holdgate_tests::{gateway::Gateway, http, load::Load, wait};

use crate::three;

#[test]
fn a_change_reaches_requests_and_the_disk_and_is_acknowledged() {
    let (backends, orchestrator, hosts) = three();
    let mut gateway = Gateway::configured(&orchestrator.url(), "");
    gateway.start_ready();
    gateway.until_status("an open gate", |s| s["orchestrator"]["gate"] == "open");
    assert_eq!(http::get(gateway.web, "new.test", "/").expect("an answer").status, 404);
    let generation =
        orchestrator.put("new", &format!(r#"{{"hosts":["new.test"],"endpoints":["{}"]}}"#, backends[0].address()));
    let status = gateway.until_status("the change to be served and saved", |s| {
        s["table"]["generation"] == generation && s["table"]["saved"]["generation"] == generation
    });
    assert_eq!(status["table"]["apps"], 4);
    assert_eq!(status["table"]["digest"], orchestrator.digest().as_str());
    assert_eq!(http::get(gateway.web, "NEW.test.:80", "/").expect("an answer").status, 200);
    let acked = |a: &serde_json::Value| a["generation"] == generation && a["status"] == "applied";
    wait::until("the ack", || orchestrator.acks().iter().any(acked).then_some(()));
    drop(hosts);
}

#[test]
fn an_invalid_app_keeps_its_last_version_and_is_reported() {
    let (_backends, orchestrator, hosts) = three();
    let mut gateway = Gateway::configured(&orchestrator.url(), "");
    gateway.start_ready();
    gateway.until_status("an open gate", |s| s["orchestrator"]["gate"] == "open");
    let load = Load::start(gateway.web, &hosts);
    let generation = orchestrator.put("app-00001", r#"{"hosts":["app-00001.test"],"endpoints":["not an address"]}"#);
    gateway.until_status("the update", |s| s["orchestrator"]["received"]["generation"] == generation);
    load.go_on(50);
    load.stop_without_failure();
    let told = |a: &serde_json::Value| {
        let error = a["errors"].as_array().and_then(|e| e.iter().find(|e| e["app"] == "app-00001"));
        error.is_some_and(|e| e["message"].as_str().is_some_and(|m| m.contains("endpoints[0]")))
    };
    wait::until("the error to be acknowledged", || orchestrator.acks().iter().any(told).then_some(()));
}

/// More of this in damage.rs.
#[test]
fn a_damaged_change_is_kept_aside_and_the_table_before_it_is_served() {
    let (backends, mut orchestrator, hosts) = three();
    let mut gateway = Gateway::configured(&orchestrator.url(), "");
    gateway.start_ready();
    gateway.until_status("an open gate", |s| s["orchestrator"]["gate"] == "open");
    let generation =
        orchestrator.put("new", &format!(r#"{{"hosts":["new.test"],"endpoints":["{}"]}}"#, backends[0].address()));
    gateway.until_status("the second save", |s| s["table"]["saved"]["generation"] == generation);
    orchestrator.stop();
    gateway.kill_9();
    let newest = files(&gateway, "journal-").pop().expect("a journal");
    let mut bytes = fs::read(&newest).expect("readable");
    // It is written twice, so that one flipped byte costs nothing: see damage.rs. Here both are hurt.
    for at in [bytes.len() / 3, bytes.len() - 1] {
        bytes[at] ^= 0x10;
    }
    fs::write(&newest, bytes).expect("writable");
    gateway.start_ready();
    let status = gateway.status();
    assert_eq!(status["table"]["apps"], 3, "the table before the last change");
    assert_eq!(http::get(gateway.web, &hosts[0], "/").expect("an answer").status, 200);
    let name = newest.file_name().expect("a name").to_string_lossy().into_owned();
    wait::until("the log to name the damaged file", || gateway.log().contains(&name).then_some(()));
    let aside = fs::read_dir(gateway.state_dir()).expect("readable").flatten();
    let kept = |name: &str| name.ends_with(".damaged") || name.ends_with(".torn");
    assert!(aside.map(|e| e.file_name()).any(|f| kept(&f.to_string_lossy())), "it is kept for inspection");
}

#[test]
fn a_state_folder_that_cannot_be_written_is_survived_and_alarmed() {
    let (_backends, orchestrator, hosts) = three();
    let mut gateway = Gateway::configured(&orchestrator.url(), "");
    // A file where the folder should be: not even root can write below it.
    fs::write(gateway.state_dir(), "in the way").expect("writable");
    gateway.start_ready();
    assert_eq!(http::get(gateway.web, &hosts[0], "/").expect("an answer").status, 200);
    let status = gateway.until_status("the alarm", |s| s["table"]["saved"]["error"].is_string());
    assert_eq!(status["table"]["source"], "live");
    let metrics = gateway.ask("/metrics").expect("the admin API answers").text();
    assert!(metrics.contains("holdgate_table_unsaved 1"), "{metrics}");
    assert!(gateway.ask("/readyz?verbose").expect("the admin API answers").text().contains("save"));

    // Once the way is free the next try saves.
    fs::remove_file(gateway.state_dir()).expect("ours");
    gateway.until_status("a save", |s| s["table"]["saved"]["error"].is_null());
    assert!(!files(&gateway, "snapshot-").is_empty());
}

#[test]
fn lookup_says_which_route_a_request_would_take() {
    let (_backends, orchestrator, hosts) = three();
    let mut gateway = Gateway::configured(&orchestrator.url(), "");
    gateway.start_ready();
    let found = gateway.ask(&format!("/v1/table/lookup?host={}&path=/x&method=GET", hosts[1])).expect("an answer");
    assert!(found.status == 200 && found.text().contains("app-00001"), "{}", found.text());
    let missing = gateway.ask("/v1/table/lookup?host=nobody.test&path=/&method=GET").expect("an answer").text();
    assert!(missing.contains("nobody.test"), "it says why: {missing}");
    let app = gateway.ask("/v1/table/apps/app-00002").expect("an answer").json();
    assert_eq!(app["app"], "app-00002");
    assert_eq!(gateway.ask("/v1/table/apps/none").expect("an answer").status, 404);
    let page = gateway.ask("/v1/table?limit=2").expect("an answer").json();
    assert_eq!(page["apps"].as_array().map(Vec::len), Some(2));
    assert_eq!(page["next"], "app-00001");
    let rest = gateway.ask("/v1/table?limit=2&after=app-00001").expect("an answer").json();
    assert_eq!((rest["apps"].as_array().map(Vec::len), rest["next"].is_null()), (Some(1), true));
}

fn files(gateway: &Gateway, prefix: &str) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(gateway.state_dir()).expect("readable").flatten().map(|e| e.path());
    let mut files: Vec<_> =
        entries.filter(|p| p.file_name().is_some_and(|n| n.to_string_lossy().starts_with(prefix))).collect();
    files.sort();
    files
}
