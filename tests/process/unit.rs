//! What the unit has systemd call: `holdgate reload`, and `holdgate preflight --before-start` before each start.

use std::{
    fs,
    process::{Command, Output},
};

use holdgate_tests::{
    gateway::{Gateway, binary},
    http, wait,
};

use crate::three;

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn reload_says_what_came_of_it() {
    let (_backends, orchestrator, hosts) = three();
    let mut gateway = Gateway::configured(&orchestrator.url(), "[limits]\nrequest_body_bytes = 1000\n");
    gateway.start_ready();
    gateway.reconfigure("= 1000", "= 100");
    assert_eq!(gateway.says(&["reload"]), "reloaded\n");
    let body = "x".repeat(500);
    assert_eq!(http::post(gateway.web, &hosts[0], "/", &body).expect("an answer").status, 413, "it has taken effect");

    gateway.reconfigure("= 100", "= \"many\"");
    let bad = gateway.command(&["reload"]);
    assert_eq!(bad.status.code(), Some(78), "{}", text(&bad));
    assert!(text(&bad).contains("request_body_bytes"), "{}", text(&bad));
    assert!(!gateway.log().contains("was refused"), "the gateway was told nothing");
    gateway.kill_9();
    gateway.reconfigure("= \"many\"", "= 100");
    let away = gateway.command(&["reload"]);
    assert_eq!(away.status.code(), Some(1), "nobody is there to reload: {}", text(&away));
}

/// As systemd calls it, with the unit's runtime folder.
fn before_start(gateway: &Gateway) -> Command {
    let mut command = Command::new(binary());
    command.args(["preflight", "--before-start", "--unless-exists"]).arg(gateway.folder().join("anyway"));
    command.arg("--config").arg(gateway.config_path()).env("RUNTIME_DIRECTORY", gateway.folder());
    command
}

#[test]
fn a_start_that_would_serve_nothing_of_what_was_served_is_refused_until_somebody_insists() {
    let (_backends, mut orchestrator, _) = three();
    let mut gateway = Gateway::configured(&orchestrator.url(), "");
    let ask = |gateway: &Gateway| before_start(gateway).output().expect("it starts");
    let mut bad = before_start(&gateway);
    bad.env("HOLDGATE_GATEWAY__WORKERS", "many");
    assert_eq!(bad.output().expect("it starts").status.code(), Some(0), "`run` says so, with 78");

    orchestrator.stop();
    let fresh = ask(&gateway);
    assert_eq!(fresh.status.code(), Some(0), "a fresh machine has nothing to lose: {}", text(&fresh));

    orchestrator.listen();
    gateway.start_ready();
    gateway.until_status("a save", |s| s["table"]["saved"]["generation"].as_u64() > Some(0));
    fs::write(gateway.folder().join("served"), "").expect("writable");
    gateway.kill_9();
    orchestrator.stop();
    let kept = ask(&gateway);
    assert_eq!((kept.status.code(), text(&kept).as_str()), (Some(0), ""), "it restores from disk");

    fs::remove_dir_all(gateway.state_dir()).expect("ours");
    let lost = ask(&gateway);
    assert_eq!(lost.status.code(), Some(1), "{}", text(&lost));
    for part in ["not started", "no whole table is in", "away", "touch "] {
        assert!(text(&lost).contains(part), "{part} is missing from {}", text(&lost));
    }

    let mut waiting = before_start(&gateway).spawn().expect("it starts");
    orchestrator.listen();
    assert_eq!(wait::until("it to go on", || waiting.try_wait().expect("ours")).code(), Some(0));
    orchestrator.stop();
    fs::write(gateway.folder().join("anyway"), "").expect("writable");
    let insisted = ask(&gateway);
    assert_eq!(insisted.status.code(), Some(0), "{}", text(&insisted));
    assert!(text(&insisted).contains("started without a table"), "{}", text(&insisted));
}
