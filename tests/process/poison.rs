//! A table that kills the process: it is not booted for ever.

use holdgate_tests::{gateway::Gateway, http, wait};

use crate::three;

/// Deaths within the window that make a table poison. The window is long: a test machine may be slow.
const POISON: &str = "[guard]\nmax_crashes = 3\ncrash_window = \"60s\"\n";

#[test]
fn a_table_that_kills_the_process_is_left_for_the_one_before_until_a_newer_one_comes() {
    let (backends, mut orchestrator, hosts) = three();
    orchestrator.keep_changes(1000);
    let mut gateway = Gateway::configured(&orchestrator.url(), POISON);
    gateway.start_ready();
    gateway.until_status("an open gate", |s| s["orchestrator"]["gate"] == "open");
    let good = gateway.status()["table"].clone();
    let document = |host: &str| format!(r#"{{"hosts":["{host}"],"endpoints":["{}"]}}"#, backends[0].address());
    let poison = orchestrator.put("poison", &document("poison.test"));
    gateway.until_status("the table that will kill", |s| s["table"]["saved"]["generation"] == poison);

    // It dies soon after publishing it, and soon after each boot with it.
    orchestrator.stop();
    for death in 1..=3 {
        assert_eq!(gateway.status()["table"]["generation"], poison, "before death {death}");
        gateway.kill_9();
        gateway.start_ready();
    }
    let status = gateway.status();
    assert_eq!((&status["table"]["generation"], &status["table"]["digest"]), (&good["generation"], &good["digest"]));
    assert_eq!(status["table"]["poisoned"]["generation"], poison, "{status}");
    assert_eq!(http::get(gateway.web, &hosts[0], "/").expect("an answer").status, 200);
    assert_eq!(http::get(gateway.web, "poison.test", "/").expect("an answer").status, 404);
    let verbose = gateway.ask("/readyz?verbose").expect("the admin API answers");
    assert!(verbose.status == 200 && verbose.text().contains(&poison.to_string()), "{}", verbose.text());
    assert!(gateway.log().contains(&format!("{poison}")), "{}", gateway.log());

    // Offered again it is refused; a newer table is not.
    orchestrator.listen();
    let refused = |a: &serde_json::Value| a["generation"] == poison && a["status"] == "rejected";
    wait::until("the same table to be refused", || orchestrator.acks().iter().any(refused).then_some(()));
    assert_eq!(gateway.status()["table"]["digest"], good["digest"]);
    orchestrator.put("poison", &document("cured.test"));
    let cured = orchestrator.digest();
    gateway.until_status("the newer table", |s| s["table"]["digest"] == cured.as_str());
    gateway.until_status("the alarm to end", |s| s["table"]["poisoned"].is_null());
    assert_eq!(http::get(gateway.web, "cured.test", "/").expect("an answer").status, 200);
}

#[test]
fn an_orderly_end_is_no_crash() {
    let (_backends, mut orchestrator, _hosts) = three();
    let mut gateway = Gateway::configured(&orchestrator.url(), "[guard]\nmax_crashes = 1\ncrash_window = \"60s\"\n");
    gateway.start_ready();
    let generation = gateway.status()["table"]["generation"].clone();
    gateway.until_status("a save", |s| s["table"]["saved"]["generation"] == generation);
    orchestrator.stop();
    for _ in 0..3 {
        gateway.signal(rustix::process::Signal::TERM);
        assert_eq!(gateway.end().code(), Some(0), "{}", gateway.log());
        gateway.start_ready();
        let status = gateway.status();
        assert_eq!((&status["table"]["generation"], &status["table"]["source"]), (&generation, &"snapshot".into()));
    }
}
