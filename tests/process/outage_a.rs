//! Outage A of docs/OUTAGES.md: gateways restarted before the orchestrator was up.

use holdgate_tests::{gateway::Gateway, http, load::Load, orchestrator::Mood};

use crate::three;

#[test]
fn gateways_restarted_before_the_orchestrator_was_up() {
    let (_backends, mut orchestrator, hosts) = three();
    let mut gateway = Gateway::configured(&orchestrator.url(), "");
    gateway.start_ready();
    gateway.until_status("a live table", |s| s["table"]["source"] == "live");
    let digest = gateway.status()["table"]["digest"].clone();
    let before = Load::start(gateway.web, &hosts);
    before.go_on(50);

    // 19:00: the orchestrator goes down for maintenance. Sites stay up.
    orchestrator.stop();
    gateway.until_status("the gate to shut", |s| s["orchestrator"]["gate"] == "shut");
    before.go_on(200);
    before.stop_without_failure();

    // 19:30: the gateway is restarted, without warning and without anybody to ask.
    gateway.kill_9();
    gateway.start_ready();
    for host in &hosts {
        let answer = http::get(gateway.web, host, "/").expect("the gateway answers");
        assert_eq!((answer.status, answer.text().split(' ').next()), (200, Some(host.as_str())));
    }
    let status = gateway.status();
    assert_eq!(status["table"]["source"], "snapshot");
    let metrics = gateway.ask("/metrics").expect("the admin API answers").text();
    assert!(
        metrics.contains("\nholdgate_orchestrator_last_contact_seconds "),
        "an alarm on silence must fire: {metrics}"
    );
    assert_eq!(status["table"]["digest"], digest);

    // The orchestrator comes back: empty and not ready, then cut short, then ready. Nobody notices.
    let load = Load::start(gateway.web, &hosts);
    orchestrator.become_(Mood::NotReadyAndEmpty);
    orchestrator.listen();
    gateway.until_status("the orchestrator to be heard", |s| {
        s["orchestrator"]["reachable"] == true && s["orchestrator"]["ready"] == false
    });
    load.go_on(200);
    assert_eq!(gateway.status()["table"]["digest"], digest);

    orchestrator.put("app-00000", &document(&hosts[0], &_backends[0]));
    orchestrator.become_(Mood::CutShort);
    orchestrator.asked_for_its_table(3);
    load.go_on(200);
    assert_eq!(gateway.status()["table"]["digest"], digest);

    orchestrator.become_(Mood::Honest);
    let caught_up = orchestrator.digest();
    gateway.until_status("the new table", |s| s["table"]["digest"] == caught_up.as_str());
    load.go_on(200);
    load.stop_without_failure();
    assert_eq!(gateway.status()["table"]["source"], "live");
}

fn document(host: &str, backend: &holdgate_tests::backend::Backend) -> String {
    format!(r#"{{"hosts":["{host}","www.{host}"],"endpoints":["{}"]}}"#, backend.address())
}
