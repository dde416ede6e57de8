//! Start, readiness, drain and end of the real process.

use std::fs;

use holdgate_tests::{
    gateway::{Gateway, free_address},
    http::{self, Connection},
    load::Load,
    manager::Manager,
    orchestrator::{Mood, Orchestrator},
    server::Server,
    wait,
};
use rustix::process::Signal;

use crate::three;

#[test]
fn without_any_table_every_request_gets_503_and_readyz_says_why() {
    let (_backends, orchestrator, hosts) = three();
    orchestrator.become_(Mood::NotReadyAndEmpty);
    let mut gateway = Gateway::configured(&orchestrator.url(), "");
    gateway.start();
    let answer = wait::until("an answer", || http::get(gateway.web, &hosts[0], "/").ok());
    assert_eq!(answer.status, 503);
    assert!(answer.header("retry-after").is_some());
    assert!(answer.header("proxy-status").is_some_and(|p| p.starts_with("holdgate; error=")), "{:?}", answer.headers);
    let ready = gateway.ask("/readyz?verbose").expect("the admin API answers");
    assert_eq!(ready.status, 503);
    assert!(ready.text().contains("[-]table failed: "), "{}", ready.text());
    assert_eq!(gateway.ask("/livez").expect("the admin API answers").status, 200);

    // The first complete snapshot from a ready orchestrator ends it, without waiting for `stable_for`.
    orchestrator.become_(Mood::Honest);
    gateway.ready();
    assert_eq!(http::get(gateway.web, &hosts[0], "/").expect("an answer").status, 200);
}

#[test]
fn a_system_without_certificates_can_follow_an_orchestrator_over_http() {
    let (_backends, orchestrator, hosts) = three();
    let mut gateway = Gateway::configured(&orchestrator.url(), "");
    let nowhere = gateway.folder().join("nowhere").display().to_string();
    // Where OpenSSL, and whoever follows it, looks for certificates.
    gateway.environment = ["SSL_CERT_FILE", "SSL_CERT_DIR"].map(|name| (name.to_owned(), nowhere.clone())).into();
    gateway.start_ready();
    assert_eq!(http::get(gateway.web, &hosts[0], "/").expect("an answer").status, 200);
}

#[test]
fn sigterm_finishes_what_is_in_flight_and_refuses_what_comes_after() {
    let slow = Server::start(free_address(), |_, stream| {
        use std::io::Write;
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nsl")?;
        std::thread::sleep(std::time::Duration::from_millis(600));
        stream.write_all(b"ow")
    });
    let document = format!(r#"{{"hosts":["slow.test"],"endpoints":["{}"]}}"#, slow.address());
    let orchestrator = Orchestrator::start([("slow".to_owned(), document)]);
    let mut gateway = Gateway::configured(&orchestrator.url(), "");
    gateway.start_ready();
    let mut client = Connection::open(gateway.web).expect("a connection");
    client.write(b"GET / HTTP/1.1\r\nHost: slow.test\r\n\r\n").expect("written");
    gateway.until_status("the connection", |s| s["listeners"][0]["connections"] == 1);
    gateway.signal(Signal::TERM);
    wait::until("new connections to be refused", || http::get(gateway.web, "slow.test", "/").err());
    assert_eq!(client.answer(false).expect("a whole answer").text(), "slow");
    assert_eq!(gateway.end().code(), Some(0), "{}", gateway.log());
}

/// A connection whose request lacks its body: it keeps the process, so that there is a drain to look at.
fn in_use(gateway: &Gateway, host: &str) -> Connection {
    let mut client = Connection::open(gateway.web).expect("a connection");
    let head = format!("POST / HTTP/1.1\r\nHost: {host}\r\nContent-Length: 5\r\n\r\n");
    client.write(head.as_bytes()).expect("written");
    gateway.until_status("the connection", |s| s["listeners"][0]["connections"] == 1);
    client
}

#[test]
fn readiness_falls_before_the_listeners_close() {
    let (_backends, orchestrator, hosts) = three();
    let mut gateway = Gateway::configured(&orchestrator.url(), "");
    gateway.start_ready();
    let mut client = in_use(&gateway, &hosts[0]);
    gateway.signal(Signal::TERM);
    let why = wait::until("readiness to fall", || gateway.ask("/readyz?verbose").ok().filter(|a| a.status == 503));
    assert!(why.text().contains("drain"), "{}", why.text());
    assert_eq!(gateway.ask("/livez").expect("draining is not being hung").status, 200);
    client.write(b"hello").expect("the request may be finished");
    let answer = client.answer(false).expect("a whole answer");
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("connection"), Some("close"));
    assert_eq!(gateway.end().code(), Some(0), "{}", gateway.log());
}

#[test]
fn a_second_sigterm_ends_at_once() {
    let (_backends, orchestrator, hosts) = three();
    let mut gateway = Gateway::configured(&orchestrator.url(), "");
    gateway.start_ready();
    let _client = in_use(&gateway, &hosts[0]);
    gateway.signal(Signal::TERM);
    wait::until("the drain", || gateway.ask("/readyz").ok().filter(|a| a.status == 503));
    gateway.signal(Signal::TERM);
    let ended = gateway.end();
    assert!(!ended.success(), "it gave up a request: {ended:?}");
}

#[test]
fn a_second_process_on_the_same_state_folder_is_refused_and_named() {
    let (_backends, orchestrator, hosts) = three();
    let mut gateway = Gateway::configured(&orchestrator.url(), "");
    gateway.start_ready();
    let load = Load::start(gateway.web, &hosts);
    let output = gateway.command(&["run"]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let pid = gateway.pid().expect("it runs").to_string();
    assert!(said.contains(&pid), "it names the process that holds the folder: {said}");
    load.go_on(50);
    load.stop_without_failure();
}

#[test]
fn a_bad_configuration_is_78_with_every_error_and_nothing_bound_or_written() {
    let mut gateway = Gateway::configured("http://127.0.0.1:1", "");
    let path = gateway.config_path();
    let good = fs::read_to_string(&path).expect("readable");
    let bad =
        format!("{good}\n[guard]\nmax_shrink_percent = 900\nmax_shrink_aps = 3\n[upstream]\nconnect_timeout = 5\n");
    fs::write(&path, bad).expect("writable");
    gateway.spawn();
    assert_eq!(gateway.end().code(), Some(78));
    let log = gateway.log();
    for part in ["max_shrink_percent", "max_shrink_aps", "max_shrink_apps", "connect_timeout", "holdgate.toml:"] {
        assert!(log.contains(part), "{part} is missing from:\n{log}");
    }
    assert!(!gateway.state_dir().exists(), "nothing is written");
    assert!(Connection::open(gateway.web).is_err(), "nothing is bound");
}

#[test]
fn the_service_manager_is_kept_patient_told_ready_and_told_stopping() {
    let (_backends, orchestrator, _) = three();
    orchestrator.become_(Mood::NotReadyAndEmpty);
    let mut gateway = Gateway::configured(&orchestrator.url(), "");
    let manager = Manager::of(&mut gateway);
    gateway.start();
    manager.hears("EXTEND_TIMEOUT_USEC=");
    orchestrator.become_(Mood::Honest);
    manager.hears("READY=1");
    gateway.signal(Signal::HUP);
    assert!(manager.hears("RELOADING=1").contains("MONOTONIC_USEC="));
    manager.hears("READY=1");
    gateway.signal(Signal::TERM);
    manager.hears("STOPPING=1");
    assert_eq!(gateway.end().code(), Some(0), "{}", gateway.log());
}

#[test]
fn sighup_reloads_a_good_configuration_and_refuses_a_bad_one() {
    let (_backends, orchestrator, hosts) = three();
    let mut gateway = Gateway::configured(&orchestrator.url(), "[limits]\nrequest_body_bytes = 1000\n");
    gateway.start_ready();
    let load = Load::start(gateway.web, &hosts);
    let body = "x".repeat(500);
    assert_eq!(http::post(gateway.web, &hosts[0], "/", &body).expect("an answer").status, 200);
    let good = fs::read_to_string(gateway.config_path()).expect("readable");
    fs::write(gateway.config_path(), good.replace("= 1000", "= 100")).expect("writable");
    gateway.signal(Signal::HUP);
    wait::until("the new limit", || http::post(gateway.web, &hosts[0], "/", &body).ok().filter(|a| a.status == 413));
    fs::write(gateway.config_path(), good.replace("= 1000", "= \"many\"")).expect("writable");
    gateway.signal(Signal::HUP);
    wait::until("the refusal to be logged", || gateway.log().contains("request_body_bytes").then_some(()));
    assert_eq!(http::post(gateway.web, &hosts[0], "/", &body).expect("an answer").status, 413, "the old one is kept");
    load.stop_without_failure();
}
