//! What an operator does with a table: look back, go back, stay, go on, take it elsewhere.

use std::{
    fs,
    net::SocketAddr,
    process::{Child, Command, Stdio},
};

use holdgate_tests::{
    gateway::{Gateway, binary, free_address},
    http::{self, Connection},
    load::Load,
    wait,
};

use crate::{follower, three};

/// No orchestrator is there.
const NOBODY: &str = "http://127.0.0.1:1";

fn saved(gateway: &Gateway, generation: u64) {
    gateway.until_status("the save", |s| s["table"]["saved"]["generation"] == generation);
}

fn digest_is(gateway: &Gateway, digest: &str) {
    gateway.until_status("the table", |s| s["table"]["digest"] == digest);
}

#[test]
fn a_rollback_stays_over_a_restart_until_the_gateway_is_unpinned() {
    let (backends, orchestrator, hosts) = three();
    let mut gateway = follower(&orchestrator, "");
    let document = |host: &str| format!(r#"{{"hosts":["{host}"],"endpoints":["{}"]}}"#, backends[0].address());
    let one = orchestrator.put("one", &document("one.test"));
    saved(&gateway, one);
    let before = orchestrator.digest();
    let two = orchestrator.put("two", &document("two.test"));
    saved(&gateway, two);
    let load = Load::start(gateway.web, &hosts);

    let history = gateway.says(&["table", "history"]);
    let lines: Vec<_> = history.lines().collect();
    let first = |line: &str| line.split_whitespace().next().and_then(|word| word.parse().ok());
    let line = |generation: u64| lines.iter().position(|line| first(line) == Some(generation));
    assert!(line(two).is_some() && line(two) < line(one), "newest first:\n{history}");
    let diff = gateway.says(&["table", "diff", &one.to_string(), &two.to_string()]);
    assert!(diff.contains("two") && !diff.contains("app-00000"), "{diff}");
    let unknown = gateway.command(&["table", "rollback", "999"]);
    assert_eq!(unknown.status.code(), Some(1), "a generation that is not kept");
    digest_is(&gateway, &orchestrator.digest());
    let unpinned = gateway.command(&["table", "unpin"]);
    assert_eq!(unpinned.status.code(), Some(1), "nothing is pinned yet");

    let _ = gateway.says(&["table", "rollback", &one.to_string()]);
    digest_is(&gateway, &before);
    let pinned = |s: &serde_json::Value| !s["table"]["pinned"].is_null() && s["table"]["digest"] == before.as_str();
    let status = gateway.until_status("the pin", pinned);
    assert_eq!(status["table"]["source"], "operator", "{status}");
    assert_eq!(http::get(gateway.web, "two.test", "/").expect("an answer").status, 404);
    let diff = gateway.says(&["table", "diff", &two.to_string()]);
    assert!(diff.contains("two"), "from a generation to what is served: {diff}");

    // It stays, whatever the orchestrator has, and over a restart.
    orchestrator.put("three", &document("three.test"));
    orchestrator.asked_whether_ready(5);
    assert!(pinned(&gateway.status()), "{}", gateway.status());
    load.stop_without_failure();
    gateway.kill_9();
    gateway.start_ready();
    assert!(pinned(&gateway.status()), "{}", gateway.status());
    orchestrator.asked_whether_ready(5);
    assert!(pinned(&gateway.status()), "{}", gateway.status());

    let _ = gateway.says(&["table", "unpin"]);
    digest_is(&gateway, &orchestrator.digest());
    gateway.until_status("the pin to be gone", |s| s["table"]["pinned"].is_null() && s["table"]["source"] == "live");
    assert_eq!(http::get(gateway.web, "three.test", "/").expect("an answer").status, 200);
}

/// The small orchestrator on a folder.
struct Small(Child, SocketAddr);

impl Small {
    fn start(apps: &std::path::Path) -> Self {
        let address = free_address();
        let mut command = Command::new(binary());
        command.arg("orchestrator").arg("--apps").arg(apps).args(["--listen", &address.to_string()]);
        command.env_remove("HOLDGATE_BIN").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let small = Self(command.spawn().expect("it can be started"), address);
        wait::until("the small orchestrator", || Connection::open(address).ok());
        small
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        // ignored: it may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn an_exported_table_is_taken_by_an_orchestrator_and_by_another_gateway() {
    let (_backends, orchestrator, hosts) = three();
    let gateway = follower(&orchestrator, "");
    let apps = gateway.folder().join("apps");
    fs::create_dir(&apps).expect("ours");
    let file = apps.join("table.json");
    let path = file.display().to_string();
    let _ = gateway.says(&["table", "export", &path]);
    let exported = fs::read_to_string(&file).expect("it was written");
    assert_eq!(exported, gateway.says(&["table", "export"]), "without a file it goes to stdout");
    assert!(exported.lines().count() == 5 && exported.contains(&orchestrator.digest()), "{exported}");
    let _ = gateway.says(&["check", "--table", &path]);

    let small = Small::start(&apps);
    let mut second = Gateway::configured(&format!("http://{}", small.1), "");
    second.start_ready();
    assert_eq!(second.status()["table"]["apps"], 3);
    assert_eq!(http::get(second.web, &hosts[1], "/").expect("an answer").status, 200);

    let mut third = Gateway::configured(NOBODY, "");
    third.start();
    let _ = third.says(&["table", "import", &path]);
    third.ready();
    let digest = orchestrator.digest();
    let imported =
        |s: &serde_json::Value| s["table"]["digest"] == digest.as_str() && s["table"]["source"] == "operator";
    assert!(imported(&third.status()), "{}", third.status());
    third.until_status("the save", |s| s["table"]["saved"]["at"].is_string() && s["table"]["saved"]["error"].is_null());
    third.kill_9();
    third.start_ready();
    assert_eq!(third.status()["table"]["digest"], orchestrator.digest().as_str());
    assert!(!third.status()["table"]["pinned"].is_null(), "it stays until it is unpinned");
    assert_eq!(http::get(third.web, &hosts[2], "/").expect("an answer").status, 200);

    // What is cut short is no table.
    let cut = apps.join("cut");
    fs::write(&cut, &exported[..exported.len() * 2 / 3]).expect("ours");
    assert_eq!(third.command(&["table", "import", &cut.display().to_string()]).status.code(), Some(1));
    assert_eq!(third.status()["table"]["digest"], orchestrator.digest().as_str());
}

#[test]
fn an_import_over_a_live_table_stays_until_the_gateway_is_unpinned() {
    let (_backends, orchestrator, hosts) = three();
    let gateway = follower(&orchestrator, "");
    let file = gateway.folder().join("table.json").display().to_string();
    let _ = gateway.says(&["table", "export", &file]);
    let exported = orchestrator.digest();
    orchestrator.put("app-00001", r#"{"hosts":["moved.test"],"endpoints":[]}"#);
    digest_is(&gateway, &orchestrator.digest());
    let _ = gateway.says(&["table", "import", &file]);
    digest_is(&gateway, &exported);
    assert_eq!(http::get(gateway.web, &hosts[1], "/").expect("an answer").status, 200);
    orchestrator.asked_whether_ready(5);
    assert_eq!(gateway.status()["table"]["digest"], exported.as_str());
    let _ = gateway.says(&["table", "unpin"]);
    digest_is(&gateway, &orchestrator.digest());
}

#[test]
fn the_table_is_shown_in_pages_and_by_what_is_wrong_with_it() {
    let (_backends, orchestrator, _hosts) = three();
    let gateway = follower(&orchestrator, "");
    let page = gateway.says(&["table", "show", "--after", "app-00000", "--limit", "1"]);
    assert!(page.contains("app-00001") && !page.contains("app-00000.") && !page.contains("app-00002"), "{page}");
    orchestrator.put("app-00002", r#"{"hosts":["app-00002.test"],"endpoints":["not an address"]}"#);
    gateway.until_status("the update", |s| s["table"]["invalid"] == 1);
    let invalid = gateway.says(&["table", "show", "--invalid"]);
    assert!(invalid.contains("app-00002") && !invalid.contains("app-00001"), "{invalid}");
    assert!(!gateway.says(&["table", "show", "--held"]).contains("app-"), "nothing is held");
}

#[test]
fn documents_near_their_limit_are_warned_of_and_the_largest_are_named() {
    let (_backends, orchestrator, _hosts) = three();
    let gateway = follower(&orchestrator, "[limits]\napp_bytes = 1000\n");
    let document = |n: usize, bytes: usize| {
        let head = format!(r#"{{"hosts":["large-{n}.test"],"endpoints":[],"error_pages":{{"503":""#);
        format!("{head}{}\"}}}}", "x".repeat(bytes - head.len() - 3))
    };
    orchestrator.put_all((0..6).map(|n| (format!("large-{n}"), document(n, 500 + 90 * n))));
    let status = gateway.until_status("the sizes", |s| s["sizes"]["largest"][0]["app"] == "large-5");
    let largest = status["sizes"]["largest"].as_array().expect("a list");
    let named: Vec<_> = largest.iter().filter_map(|l| Some((l["app"].as_str()?, l["bytes"].as_u64()?))).collect();
    let expected = [("large-5", 950), ("large-4", 860), ("large-3", 770), ("large-2", 680), ("large-1", 590)];
    assert_eq!(named, expected);
    let near = |line: &&str| line.contains("WARN") && line.contains("app_bytes");
    wait::until("the warning", || gateway.log().lines().find(near).map(|_| ()));
    let metrics = gateway.ask("/metrics").expect("the admin API answers").text();
    let ratio = metrics.lines().find(|l| l.starts_with("holdgate_table_limit_ratio{limit=\"app_bytes\"}"));
    assert!(ratio.is_some_and(|l| l.ends_with(" 0.95")), "{ratio:?}");
}
