//! A take-over as its operator sees it: what goes over to the successor, and what becomes of the process before.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    os::unix::net::UnixStream,
};

use holdgate_tests::{
    backend::Backend,
    gateway::{Gateway, free_address},
    http::{self, Connection},
    load::Load,
    mounts::Mounts,
    orchestrator::{Mood, Orchestrator},
    wait,
};
use rustix::process::{Pid, Signal, kill_process};

use crate::{host, steady, three};

/// A process that is no child of the test. Dropped, it is killed.
struct Stranger(u32);

impl Drop for Stranger {
    fn drop(&mut self) {
        let pid = i32::try_from(self.0).ok().and_then(Pid::from_raw).expect("a pid");
        // ignored: it may have ended by itself.
        let _ = kill_process(pid, Signal::KILL);
    }
}

fn parent_of(pid: u32) -> u32 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:")).expect("every process has a parent");
    parent.trim().parse().expect("a number")
}

#[test]
fn an_upgrade_replaces_the_process_says_both_versions_and_leaves_no_chain() {
    let (_backends, orchestrator, hosts) = three();
    let mut gateway = steady(&orchestrator, "");
    let load = Load::start(gateway.web, &hosts);
    let first = gateway.pid().expect("it runs");
    let mut before = first;
    let mut strangers = Vec::new();
    for round in 0..3 {
        let said = gateway.says(&["upgrade"]);
        let version = env!("CARGO_PKG_VERSION");
        assert!(said.contains(&format!("from process {before} (version {version})")), "{said}");
        let status = gateway.until_status("the successor", |s| s["pid"] != before);
        before = u32::try_from(status["pid"].as_u64().expect("a number")).expect("a pid");
        strangers.push(Stranger(before));
        assert!(said.contains(&format!("process {before} (version {version})")), "{said}");
        assert_eq!(status["table"]["source"], "handover", "round {round}");
        // It is nobody's child that a gateway was: neither the first's nor that of the command, which has ended.
        let parent = parent_of(before);
        assert!(parent != first && !strangers.iter().any(|stranger| stranger.0 == parent), "{parent}");
        load.go_on(30);
    }
    assert_eq!(gateway.end().code(), Some(0), "the first has drained");
    assert!(gateway.log().contains("has taken over from process"), "it logs where the first did: {}", gateway.log());
    load.stop_without_failure();
}

#[test]
fn what_is_known_goes_over_and_the_successor_follows_on() {
    let backend = Backend::start("app");
    let dead = free_address();
    let document = format!(r#"{{"hosts":["{}"],"endpoints":["{}","{dead}"]}}"#, host(0), backend.address());
    let orchestrator = Orchestrator::start([("app-00000".to_owned(), document)]);
    let mut gateway = steady(&orchestrator, "[upstream]\neject_after = 2\neject_for = \"60s\"\n");
    wait::until("the dead endpoint to be ejected", || {
        assert_eq!(http::get(gateway.web, &host(0), "/").expect("an answer").status, 200);
        (gateway.status()["upstreams"]["ejected"] == 1).then_some(())
    });
    let before = gateway.status();
    let mut old = gateway.take_over().expect("a take-over");
    let after = gateway.status();
    assert_eq!(after["upstreams"]["ejected"], 1, "what is out stays out");
    for same in ["epoch", "generation", "apps", "digest", "received_at"] {
        assert_eq!(before["table"][same], after["table"][same], "{same}");
    }
    assert_eq!((&before["table"]["source"], &after["table"]["source"]), (&"live".into(), &"handover".into()));
    assert_eq!(after["table"]["saved"]["generation"], before["table"]["saved"]["generation"]);
    assert_eq!(after["table"]["saved"]["error"], serde_json::Value::Null);
    let metrics = gateway.ask("/metrics").expect("the admin API answers").text();
    assert!(metrics.contains(r#"holdgate_takeovers_total{outcome="replaced"} 1"#), "{metrics}");
    assert!(metrics.contains(r#"holdgate_table_source{source="handover"} 1"#), "{metrics}");
    assert_eq!(old.end().code(), Some(0));

    // It follows from where the one before was, and what it saves is there after a restart.
    let generation = orchestrator.put("app-00001", r#"{"hosts":["b.test"],"endpoints":["127.0.0.1:9"]}"#);
    gateway.until_status("the next change", |s| s["table"]["generation"] == generation);
    assert_eq!(gateway.status()["table"]["source"], "live");
    gateway.kill_9();
    gateway.start_ready();
    assert_eq!(gateway.status()["table"]["apps"], 2);
}

#[test]
fn a_table_that_is_served_survives_although_its_folder_is_gone() {
    let (_backends, orchestrator, hosts) = three();
    let mut gateway = steady(&orchestrator, "");
    // Nobody is there to give it again.
    orchestrator.become_(Mood::NotReadyAndEmpty);
    let load = Load::start(gateway.web, &hosts);
    for round in 0..3 {
        fs::remove_dir_all(gateway.state_dir()).expect("ours");
        let mut old = wait::until("the socket to be there again", || gateway.take_over().ok());
        assert_eq!(old.end().code(), Some(0), "round {round}");
        assert_eq!(gateway.status()["table"]["apps"], 3);
        load.go_on(30);
    }
    gateway.until_status("the table to be saved again", |s| s["table"]["saved"]["error"] == serde_json::Value::Null);
    load.stop_without_failure();
    gateway.kill_9();
    gateway.start_ready();
    assert_eq!(gateway.status()["table"]["apps"], 3);
}

#[test]
fn a_full_disk_keeps_nobody_from_taking_over() {
    let (_backends, orchestrator, hosts) = three();
    let mut gateway = Gateway::configured(&orchestrator.url(), "");
    let small = gateway.folder().join("small");
    fs::create_dir(&small).expect("ours");
    let mounts = match Mounts::new(&format!("mount -t tmpfs -o size=1m tmpfs '{}'", small.display())) {
        Ok(mounts) => mounts,
        Err(why) => return eprintln!("skipped: {why}"),
    };
    gateway.wrapper = mounts.wrapper();
    gateway.reconfigure(&gateway.state_dir().display().to_string(), &small.join("state").display().to_string());
    gateway.start_ready();
    gateway.until_status("an open gate", |s| s["orchestrator"]["gate"] == "open");
    let ballast = mounts.inside(&small.join("ballast"));
    let mut file = fs::File::create(&ballast).expect("there is room for a name");
    for size in [1 << 16, 1 << 12, 1] {
        while file.write_all(&vec![0; size]).is_ok() {}
    }
    drop(file);
    let page = "x".repeat(9000);
    orchestrator.put(
        "large",
        &format!(r#"{{"hosts":["l.test"],"endpoints":["127.0.0.1:9"],"error_pages":{{"503":"{page}"}}}}"#),
    );
    let saved = |s: &serde_json::Value| s["table"]["saved"]["error"].is_null();
    gateway.until_status("a table that is not saved", |s| s["table"]["apps"] == 4 && !saved(s));
    let load = Load::start(gateway.web, &hosts);
    for _ in 0..2 {
        let mut old = gateway.take_over().unwrap_or_else(|refused| panic!("{}", refused.said));
        assert_eq!(old.end().code(), Some(0));
        assert_eq!(gateway.status()["table"]["apps"], 4, "what was never on disk is served");
        gateway.until_status("the alarm", |s| !saved(s));
    }
    load.stop_without_failure();
    fs::remove_file(ballast).expect("ours");
    gateway.until_status("the table to be saved", saved);
    gateway.kill_9();
    orchestrator.become_(Mood::NotReadyAndEmpty);
    gateway.start_ready();
    assert_eq!(gateway.status()["table"]["apps"], 4);
}

#[test]
fn a_unix_listener_and_a_unix_admin_api_stay_where_they_are() {
    let (_backends, orchestrator, hosts) = three();
    let mut gateway = Gateway::configured(&orchestrator.url(), "");
    let (web, admin) = (gateway.folder().join("web.sock"), gateway.folder().join("admin.sock"));
    let text = fs::read_to_string(gateway.config_path()).expect("readable");
    let more = format!("[[listener]]\nname = \"unix\"\naddress = \"unix:{}\"\n[admin]", web.display());
    fs::write(gateway.config_path(), text.replace("[admin]", &more)).expect("writable");
    gateway.start_ready();
    let ask = || {
        let mut stream = UnixStream::connect(&web).expect("somebody listens");
        let request = format!("GET / HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", hosts[0]);
        stream.write_all(request.as_bytes()).expect("written");
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).expect("an answer");
        line
    };
    for _ in 0..2 {
        let mut old = gateway.take_over().unwrap_or_else(|refused| panic!("{}", refused.said));
        assert_eq!(old.end().code(), Some(0));
        assert!(web.exists() && ask().starts_with("HTTP/1.1 200"));
    }
    // The admin API moves where it is configured to be.
    gateway
        .reconfigure(&format!("address = \"{}\"", gateway.admin), &format!("address = \"unix:{}\"", admin.display()));
    drop(gateway.take_over().unwrap_or_else(|refused| panic!("{}", refused.said)));
    for _ in 0..2 {
        let pid = gateway.pid().expect("it runs");
        assert!(wait::until("the status", || Some(gateway.says(&["status"]))).contains(&format!("pid {pid}")));
        drop(gateway.take_over().unwrap_or_else(|refused| panic!("{}", refused.said)));
    }
}

#[test]
fn a_successor_may_have_other_listeners_and_workers() {
    let (_backends, orchestrator, hosts) = three();
    let mut gateway = steady(&orchestrator, "[gateway]\nworkers = 3\n");
    let load = Load::start(gateway.web, &hosts);
    for (from, to) in [("= 3", "= 1"), ("= 1", "= 4"), ("= 4", "= 2")] {
        gateway.reconfigure(&format!("workers {from}"), &format!("workers {to}"));
        let mut old = gateway.take_over().unwrap_or_else(|refused| panic!("{}", refused.said));
        assert_eq!(old.end().code(), Some(0));
        load.go_on(100);
    }
    load.stop_without_failure();
    // An address that nobody is configured to listen on any more refuses, once the one before has ended.
    let (before, after) = (gateway.web, free_address());
    gateway.reconfigure(&format!("address = \"{before}\""), &format!("address = \"{after}\""));
    let mut old = gateway.take_over().unwrap_or_else(|refused| panic!("{}", refused.said));
    assert_eq!(old.end().code(), Some(0));
    assert_eq!(http::get(after, &hosts[0], "/").expect("an answer").status, 200);
    assert!(Connection::open(before).is_err());
}

#[test]
fn the_one_before_answers_what_it_has_begun_and_says_that_it_closes() {
    let (_backends, orchestrator, hosts) = three();
    let mut gateway = steady(&orchestrator, "");
    let mut client = Connection::open(gateway.web).expect("a connection");
    let head = format!("POST / HTTP/1.1\r\nHost: {}\r\nContent-Length: 5\r\n\r\n", hosts[0]);
    client.write(head.as_bytes()).expect("written");
    gateway.until_status("the connection", |s| s["listeners"][0]["connections"] == 1);
    let mut old = gateway.take_over().expect("a take-over");
    assert!(old.runs());
    gateway.until_status("the one before", |s| s["draining_predecessors"] == 1);
    client.write(b"hello").expect("the request may be finished");
    let answer = client.answer(false).expect("a whole answer");
    assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
    assert_eq!(old.end().code(), Some(0));
    gateway.until_status("the one before to be gone", |s| s["draining_predecessors"] == 0);
}
