//! A process that is there and does not serve, and one that only looks so.

use std::{fs, os::unix::process::ExitStatusExt, time::Duration};

use holdgate_tests::{
    gateway::Gateway,
    hold::Held,
    http::{self, Connection},
    manager::Manager,
    wait,
};
use rustix::process::{Pid, Resource, Rlimit, Signal, prlimit};

use crate::three;

const TWO_WORKERS: &str = "[gateway]\nworkers = 2\n";
/// What a service manager waits for; a hang is one after half of it.
const WITHIN: Duration = Duration::from_secs(4);

fn alive(gateway: &Gateway) -> Option<http::Answer> {
    gateway.ask("/livez").ok().filter(|answer| answer.status == 200)
}

/// `/livez` once it fails.
fn dead(gateway: &Gateway) -> String {
    wait::until("/livez to fail", || gateway.ask("/livez").ok().filter(|answer| answer.status == 503)).text()
}

fn counted(gateway: &Gateway, series: &str) -> f64 {
    gateway.metric(&format!("holdgate_{series}")).unwrap_or(0.0)
}

#[test]
fn one_worker_that_hangs_is_named_by_livez_until_it_goes_on() {
    let (_backends, orchestrator, _) = three();
    let mut gateway = Gateway::configured(&orchestrator.url(), TWO_WORKERS);
    gateway.start_ready();
    let held = Held::threads(gateway.pid().expect("it runs"), &["worker-1"]);
    let why = dead(&gateway);
    assert!(
        why.contains("[-]workers failed: worker-1 has made no progress for ") && !why.contains("worker-0"),
        "{why}"
    );
    assert!(counted(&gateway, "watchdog_failures_total{reason=\"worker\"}") > 0.0);
    assert!(counted(&gateway, "watchdog_hanging") > 0.0);
    wait::until("the log to name it", || gateway.log().contains("hanging: worker-1 has made").then_some(()));
    drop(held);
    wait::until("/livez to hold again", || alive(&gateway));
    wait::until("the log to say so", || gateway.log().contains("nothing hangs any more").then_some(()));
}

#[test]
fn a_process_that_hangs_for_longer_than_abort_after_ends_by_sigabrt_and_says_why() {
    let (_backends, orchestrator, _) = three();
    let more = format!("{TWO_WORKERS}[watchdog]\nabort_after = \"300ms\"\n");
    let mut gateway = Gateway::configured(&orchestrator.url(), &more);
    gateway.start_ready();
    let _held = Held::threads(gateway.pid().expect("it runs"), &["worker-1"]);
    assert_eq!(gateway.end().signal(), Some(Signal::ABORT.as_raw()));
    let log = gateway.log();
    let last = log.lines().last().expect("a line");
    let last: serde_json::Value = serde_json::from_str(last).unwrap_or_else(|e| panic!("{e}: {last}"));
    let words = last["message"].as_str().expect("a message");
    assert!(words.starts_with("aborting, to be started anew: worker-1 has made no progress for "), "{words}");
}

#[test]
fn a_service_manager_is_fed_while_all_is_well_and_not_while_a_worker_hangs() {
    let (_backends, orchestrator, _) = three();
    let mut gateway = Gateway::configured(&orchestrator.url(), TWO_WORKERS);
    let manager = Manager::waiting(&mut gateway, WITHIN);
    gateway.start_ready();
    for _ in 0..3 {
        manager.hears("WATCHDOG=1");
    }
    gateway.signal(Signal::HUP);
    manager.hears("READY=1");
    manager.hears("WATCHDOG=1");
    let held = Held::threads(gateway.pid().expect("it runs"), &["worker-0"]);
    let why = dead(&gateway);
    assert!(why.contains("worker-0"), "{why}");
    manager.forget();
    assert_eq!(manager.hears_within("WATCHDOG=1", WITHIN), None);
    drop(held);
    manager.hears("WATCHDOG=1");
}

#[test]
fn a_service_manager_that_waits_for_another_process_is_not_fed() {
    let (_backends, orchestrator, _) = three();
    let mut gateway = Gateway::configured(&orchestrator.url(), "");
    // As a child inherits it from its parent.
    gateway.environment.push(("WATCHDOG_PID".to_owned(), std::process::id().to_string()));
    let manager = Manager::waiting(&mut gateway, WITHIN);
    gateway.start_ready();
    assert_eq!(manager.hears_within("WATCHDOG=1", WITHIN), None);
}

#[test]
fn a_process_that_drains_is_fed_and_alive() {
    let (_backends, orchestrator, hosts) = three();
    let mut gateway = Gateway::configured(&orchestrator.url(), TWO_WORKERS);
    gateway.reconfigure("timeout = \"5s\"", "timeout = \"60s\"");
    let manager = Manager::waiting(&mut gateway, WITHIN);
    gateway.start_ready();
    let mut client = Connection::open(gateway.web).expect("a connection");
    let head = format!("POST / HTTP/1.1\r\nHost: {}\r\nContent-Length: 5\r\n\r\n", hosts[0]);
    client.write(head.as_bytes()).expect("written");
    gateway.until_status("the connection", |s| s["listeners"][0]["connections"] == 1);
    gateway.signal(Signal::TERM);
    manager.hears("STOPPING=1");
    manager.forget();
    // For longer than a listener may be silent, of which none is there any more.
    for _ in 0..3 {
        manager.hears("WATCHDOG=1");
        assert!(alive(&gateway).is_some());
    }
    client.write(b"hello").expect("written");
    assert_eq!(client.answer(false).expect("an answer").status, 200);
    assert_eq!(gateway.end().code(), Some(0), "{}", gateway.log());
}

#[test]
fn a_listener_whose_socket_file_is_gone_hangs_though_all_workers_go_on() {
    let (_backends, orchestrator, _) = three();
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("web.sock");
    let more = format!("[[listener]]\nname = \"local\"\naddress = \"unix:{}\"\n", path.display());
    let mut gateway = Gateway::configured(&orchestrator.url(), &more);
    let manager = Manager::waiting(&mut gateway, WITHIN);
    gateway.start_ready();
    manager.hears("WATCHDOG=1");
    fs::remove_file(&path).expect("it is there");
    let why = dead(&gateway);
    assert!(why.contains("[+]workers ok"), "{why}");
    assert!(why.contains("[-]probes failed: the listener local has not answered for "), "{why}");
    assert!(why.contains(": nobody listens there"), "{why}");
    assert!(counted(&gateway, "watchdog_failures_total{reason=\"refused\"}") > 0.0);
    manager.forget();
    assert_eq!(manager.hears_within("WATCHDOG=1", WITHIN), None);
}

#[test]
fn an_admin_thread_that_hangs_is_told_and_costs_nothing_else() {
    let (_backends, orchestrator, hosts) = three();
    let mut gateway = Gateway::configured(&orchestrator.url(), "");
    let manager = Manager::waiting(&mut gateway, WITHIN);
    gateway.start_ready();
    let held = Held::threads(gateway.pid().expect("it runs"), &["admin"]);
    wait::until("the log to name it", || {
        // Who reads nothing has the main thread wait.
        manager.forget();
        gateway.log().contains("the admin thread makes no progress").then_some(())
    });
    manager.hears("WATCHDOG=1");
    assert_eq!(http::get(gateway.web, &hosts[0], "/").expect("an answer").status, 200);
    drop(held);
    wait::until("the log to say so", || gateway.log().contains("the admin thread makes progress again").then_some(()));
}

/// Leaves the process so many more descriptors than it has.
fn leave_descriptors(gateway: &Gateway, more: u64) {
    let pid = gateway.pid().expect("it runs");
    let open = fs::read_dir(format!("/proc/{pid}/fd")).expect("it is ours").count() as u64;
    let limit = Rlimit { current: Some(open + more), maximum: Some(open + more) };
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    prlimit(pid, Resource::Nofile, limit).expect("it is ours");
}

#[test]
fn without_descriptors_probe_and_admin_are_answered_and_clients_served_once_there_are_some() {
    let (_backends, orchestrator, hosts) = three();
    // Shedding would close the crowd before the shortage has lasted.
    let more = format!("{TWO_WORKERS}[limits]\nheader_timeout = \"60s\"\n[overload]\nenabled = false\n");
    let mut gateway = Gateway::configured(&orchestrator.url(), &more);
    let manager = Manager::waiting(&mut gateway, WITHIN);
    gateway.start_ready();
    gateway.until_status("a live table", |s| s["table"]["source"] == "live");
    leave_descriptors(&gateway, 6);
    let crowd: Vec<Connection> = (0..40).map(|_| Connection::open(gateway.web).expect("the kernel takes it")).collect();
    let shortage = "accept_errors_total{reason=\"descriptors\"}";
    wait::until("the shortage", || Some(()).filter(|()| counted(&gateway, shortage) > 0.0));
    // Those of the crowd who wait are told to come again when a probe has to get by.
    let shed = "shed_total{reason=\"descriptors\"}";
    wait::until("some to be turned away", || Some(()).filter(|()| counted(&gateway, shed) > 0.0));
    let turned_away = wait::until("an answer", || http::get(gateway.web, &hosts[0], "/").ok());
    assert_eq!((turned_away.status, turned_away.header("retry-after")), (503, Some("1")));
    manager.forget();
    for _ in 0..4 {
        manager.hears("WATCHDOG=1");
        assert!(alive(&gateway).is_some());
    }
    assert!(counted(&gateway, shortage) > 0.0);
    for reason in ["timeout", "refused", "broken", "no_socket", "elsewhere"] {
        let failed = counted(&gateway, &format!("watchdog_failures_total{{reason=\"{reason}\"}}"));
        assert_eq!(failed, 0.0, "probes failed: {reason}");
    }
    assert!(!gateway.log().contains("an admin connection could not be accepted"), "for want of what is kept back");
    drop(crowd);
    for host in &hosts {
        let served = wait::until("service", || http::get(gateway.web, host, "/").ok().filter(|a| a.status == 200));
        assert!(served.text().starts_with(host.as_str()));
    }
}
