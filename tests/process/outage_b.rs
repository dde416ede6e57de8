//! Outage B of docs/OUTAGES.md: the proxy that stopped listening and did not crash.

use std::{os::unix::process::ExitStatusExt, thread};

use holdgate_tests::{gateway::Gateway, hold::Held, http, load::Load, wait};
use rustix::process::Signal;

use crate::three;

#[test]
fn the_proxy_that_stopped_listening_and_did_not_crash() {
    let (_backends, mut orchestrator, hosts) = three();
    let more = "[gateway]\nworkers = 2\n[watchdog]\nabort_after = \"1s\"\n";
    let mut gateway = Gateway::configured(&orchestrator.url(), more);
    gateway.start_ready();
    gateway.until_status("a live table", |s| s["table"]["source"] == "live");
    let digest = gateway.status()["table"]["digest"].clone();
    orchestrator.stop();

    // 01:51: alive, logging nothing, accepting nothing. Its process is there, its port is open, so nobody restarts it.
    let pid = gateway.pid().expect("it runs");
    let held = Held::threads(pid, &["worker-0", "worker-1"]);
    let (web, host) = (gateway.web, hosts[0].clone());
    let waits = thread::spawn(move || http::get(web, &host, "/"));
    let why = wait::until("/livez to fail", || gateway.ask("/livez").ok().filter(|answer| answer.status == 503)).text();
    assert!(why.contains("has made no progress"), "{why}");

    // Not 04:13, and no person: it ends by itself, and whatever started it starts it again.
    assert_eq!(gateway.end().signal(), Some(Signal::ABORT.as_raw()));
    drop(held);
    assert!(waits.join().expect("no panic").is_err(), "nobody was served meanwhile");
    assert!(gateway.log().contains("aborting, to be started anew: worker-"), "{}", gateway.log());
    gateway.start_ready();
    let load = Load::start(gateway.web, &hosts);
    load.go_on(50);
    load.stop_without_failure();
    let status = gateway.status();
    assert_eq!((&status["table"]["source"], &status["table"]["digest"]), (&"snapshot".into(), &digest));
    assert_eq!(gateway.ask("/livez").expect("the admin API answers").status, 200);
}
