//! The commands, as a user types them.

use std::{fs, process::Output};

use holdgate_tests::gateway::{Gateway, binary};

use crate::three;

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn check_accepts_a_good_configuration_and_names_what_is_wrong_with_a_bad_one() {
    let gateway = Gateway::configured("http://127.0.0.1:1", "");
    let good = gateway.command(&["check"]);
    assert_eq!(good.status.code(), Some(0), "{}", text(&good));
    fs::write(gateway.config_path(), "state_dir = 5\n[orchestrator]\nkind = \"carrier-pigeon\"\n").expect("writable");
    let bad = gateway.command(&["check"]);
    assert_eq!(bad.status.code(), Some(78));
    for part in ["holdgate.toml:1:", "holdgate.toml:3:", "state_dir", "carrier-pigeon"] {
        assert!(text(&bad).contains(part), "{part} is missing from {}", text(&bad));
    }
}

#[test]
fn a_missing_configuration_is_78_from_every_command() {
    for arguments in [&["run"][..], &["check"], &["preflight"], &["status"], &["config", "show"], &["drain"]] {
        let mut command = std::process::Command::new(binary());
        let output = command.args(arguments).args(["--config", "/nowhere/holdgate.toml"]).output().expect("it starts");
        assert_eq!(output.status.code(), Some(78), "{arguments:?}: {}", text(&output));
    }
}

#[test]
fn preflight_tells_a_safe_restart_from_an_unsafe_one() {
    let (_backends, mut orchestrator, _) = three();
    // So few that no machine has too few descriptors for them: nothing else is to be warned of.
    let mut gateway = Gateway::configured(&orchestrator.url(), "[limits]\nmax_connections = 100\n");
    gateway.start_ready();
    gateway.until_status("an open gate", |s| s["orchestrator"]["gate"] == "open");
    gateway.until_status("a save", |s| s["table"]["saved"]["generation"].as_u64() > Some(0));
    let safe = gateway.command(&["preflight", "--strict"]);
    assert_eq!(safe.status.code(), Some(0), "{}", text(&safe));

    orchestrator.stop();
    let warned = gateway.command(&["preflight", "--json"]);
    assert_eq!(warned.status.code(), Some(0), "a whole snapshot is enough: {}", text(&warned));
    serde_json::from_slice::<serde_json::Value>(&warned.stdout).expect("--json prints JSON");
    assert_eq!(gateway.command(&["preflight", "--strict"]).status.code(), Some(1));

    gateway.kill_9();
    fs::remove_dir_all(gateway.state_dir()).expect("ours");
    let unsafe_ = gateway.command(&["preflight"]);
    assert_eq!(unsafe_.status.code(), Some(1), "nothing to serve from and nobody to ask: {}", text(&unsafe_));
}

#[test]
fn status_and_table_show_what_is_served() {
    let (_backends, orchestrator, hosts) = three();
    let mut gateway = Gateway::configured(&orchestrator.url(), "");
    gateway.start_ready();
    let screen = gateway.command(&["status"]);
    assert!(screen.status.success() && text(&screen).contains("live"), "{}", text(&screen));
    let json = gateway.command(&["status", "--json"]);
    let status: serde_json::Value = serde_json::from_slice(&json.stdout).expect("JSON");
    assert_eq!(status["table"]["apps"], 3);
    let table = gateway.command(&["table", "show"]);
    assert!((0..3).all(|n| text(&table).contains(&hosts[n])), "{}", text(&table));
    let one = gateway.command(&["table", "show", &hosts[2]]);
    assert!(one.status.success() && text(&one).contains("app-00002"), "{}", text(&one));
    assert_eq!(gateway.command(&["table", "show", "nobody.test"]).status.code(), Some(1));
    let approve = gateway.command(&["table", "approve"]);
    assert!(approve.status.success() && text(&approve).contains("nothing is held"), "{}", text(&approve));
    let unknown = gateway.command(&["table", "approve", "--generation", "1"]);
    assert!(unknown.status.code() == Some(1) && !text(&unknown).contains("0 deletes"), "{}", text(&unknown));
}

#[test]
fn drain_ends_the_gateway_with_0() {
    let (_backends, orchestrator, _) = three();
    let mut gateway = Gateway::configured(&orchestrator.url(), "");
    gateway.start_ready();
    let output = gateway.command(&["drain"]);
    assert!(output.status.success(), "{}", text(&output));
    assert_eq!(gateway.end().code(), Some(0));
}

#[test]
fn a_command_without_a_gateway_says_so() {
    let gateway = Gateway::configured("http://127.0.0.1:1", "");
    let output = gateway.command(&["status"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output).contains(&gateway.admin.to_string()), "it names the address: {}", text(&output));
}

#[test]
fn schema_completions_and_man_are_printed() {
    let run = |arguments: &[&str]| std::process::Command::new(binary()).args(arguments).output().expect("it starts");
    let schema = run(&["config", "schema"]);
    serde_json::from_slice::<serde_json::Value>(&schema.stdout).expect("a JSON Schema");
    for arguments in [&["completions", "bash"][..], &["completions", "zsh"], &["completions", "fish"], &["man"]] {
        let output = run(arguments);
        assert!(output.status.success() && output.stdout.len() > 200, "{arguments:?}");
    }
}
