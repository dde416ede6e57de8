//! Disks that are full, read-only, locked away, or gone: survived, alarmed, and healed from by itself.

use std::{
    fs,
    io::Write,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use holdgate_tests::{gateway::Gateway, http, load::Load, mounts::Mounts, orchestrator::Orchestrator, wait};

use crate::three;

/// A version of an app whose document is not small.
pub(crate) fn padded(n: usize, text: &str) -> (String, String) {
    let page = text.repeat(4000);
    let document = format!(r#"{{"hosts":["padded-{n}.test"],"endpoints":[],"error_pages":{{"503":"{page}"}}}}"#);
    (format!("padded-{n}"), document)
}

/// Waits until what the orchestrator has is served.
pub(crate) fn serves_all(gateway: &Gateway, orchestrator: &Orchestrator) {
    let digest = orchestrator.digest();
    gateway.until_status("the table", |s| s["table"]["digest"] == digest.as_str());
}

/// Waits until it is on disk too, and nobody is alarmed any more.
pub(crate) fn saves_all(gateway: &Gateway) {
    gateway.until_status("a save", |s| {
        let table = &s["table"];
        table["saved"]["error"].is_null() && table["saved"]["generation"] == table["generation"]
    });
    wait::until("the alarm to end", || gateway.metric("holdgate_table_unsaved").filter(|unsaved| *unsaved == 0.0));
}

/// The table is served and not on disk, and says so wherever one may look.
fn alarms(gateway: &Gateway) -> String {
    wait::until("the alarm", || gateway.metric("holdgate_table_unsaved").filter(|unsaved| *unsaved == 1.0));
    let status = gateway.until_status("the error", |s| s["table"]["saved"]["error"].is_string());
    let verbose = gateway.ask("/readyz?verbose").expect("the admin API answers");
    assert_eq!(verbose.status, 200, "it is served all the same: {}", verbose.text());
    assert!(verbose.text().contains("saved"), "{}", verbose.text());
    let error = status["table"]["saved"]["error"].as_str().unwrap_or_default().to_owned();
    assert!(verbose.text().contains(&error), "the same words: {error:?} and {}", verbose.text());
    wait::until("the log to say it", || gateway.log().contains("could not be saved").then_some(()));
    error
}

fn started(orchestrator: &Orchestrator, gateway: &mut Gateway) {
    orchestrator.keep_changes(1000);
    gateway.start_ready();
    gateway.until_status("an open gate", |s| s["orchestrator"]["gate"] == "open");
}

/// Fills the file system that `file` is on, to the last byte.
pub(crate) fn fill(file: &Path) {
    let mut file = fs::File::create(file).expect("there is room for a name");
    for size in [1 << 16, 1 << 12, 1] {
        let block = vec![0; size];
        while file.write_all(&block).is_ok() {}
    }
}

/// Makes a state folder that the gateway may not enter where it is started by what is returned.
pub(crate) fn locked_away(gateway: &Gateway) -> Vec<String> {
    fs::create_dir(gateway.state_dir()).expect("ours");
    fs::set_permissions(gateway.state_dir(), fs::Permissions::from_mode(0o000)).expect("ours");
    // Root may enter anything, unless it gives that up.
    let unprivileged = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"];
    if rustix::process::geteuid().is_root() { unprivileged.map(str::to_owned).into() } else { Vec::new() }
}

/// It may be entered from now on.
pub(crate) fn opened(gateway: &Gateway) {
    fs::set_permissions(gateway.state_dir(), fs::Permissions::from_mode(0o700)).expect("ours");
}

#[test]
fn a_full_disk_stops_no_update_and_is_healed_once_there_is_room() {
    let (_backends, mut orchestrator, hosts) = three();
    let mut gateway = Gateway::configured(&orchestrator.url(), "[guard]\nmax_crashes = 0\n");
    let small = gateway.folder().join("small");
    fs::create_dir(&small).expect("ours");
    let mounts = match Mounts::new(&format!("mount -t tmpfs -o size=1m tmpfs '{}'", small.display())) {
        Ok(mounts) => mounts,
        Err(why) => return eprintln!("skipped: {why}"),
    };
    gateway.wrapper = mounts.wrapper();
    gateway.reconfigure(&gateway.state_dir().display().to_string(), &small.join("state").display().to_string());
    started(&orchestrator, &mut gateway);
    saves_all(&gateway);
    let whole = gateway.status()["table"]["digest"].clone();
    let load = Load::start(gateway.web, &hosts);

    let ballast = mounts.inside(&small.join("ballast"));
    fill(&ballast);
    orchestrator.put_all((0..10).map(|n| padded(n, "a")));
    serves_all(&gateway, &orchestrator);
    let error = alarms(&gateway);
    assert!(error.to_lowercase().contains("space"), "it names the cause: {error}");
    orchestrator.put_all((0..10).map(|n| padded(n, "b")));
    serves_all(&gateway, &orchestrator);
    load.stop_without_failure();

    // A restart on the full disk serves what was saved.
    gateway.kill_9();
    orchestrator.stop();
    gateway.start_ready();
    assert_eq!(gateway.status()["table"]["digest"], whole);
    orchestrator.listen();
    serves_all(&gateway, &orchestrator);
    alarms(&gateway);

    fs::remove_file(&ballast).expect("ours");
    saves_all(&gateway);
    let saved = gateway.status()["table"]["digest"].clone();
    gateway.kill_9();
    orchestrator.stop();
    gateway.start_ready();
    assert_eq!(gateway.status()["table"]["digest"], saved);
    assert_eq!(http::get(gateway.web, &hosts[0], "/").expect("an answer").status, 200);
}

#[test]
fn a_read_only_disk_is_booted_from_and_followed_on() {
    let (_backends, mut orchestrator, hosts) = three();
    let mut gateway = Gateway::configured(&orchestrator.url(), "[guard]\nmax_crashes = 0\n");
    started(&orchestrator, &mut gateway);
    saves_all(&gateway);
    gateway.kill_9();
    let state = gateway.state_dir().display().to_string();
    let script = format!("mount --bind '{state}' '{state}' && mount -o remount,ro,bind '{state}'");
    let mounts = match Mounts::new(&script) {
        Ok(mounts) => mounts,
        Err(why) => return eprintln!("skipped: {why}"),
    };
    gateway.wrapper = mounts.wrapper();
    orchestrator.stop();
    gateway.start_ready();
    assert_eq!(gateway.status()["table"]["source"], "snapshot");
    assert_eq!(http::get(gateway.web, &hosts[0], "/").expect("an answer").status, 200);
    orchestrator.listen();
    orchestrator.put_all([padded(0, "a")]);
    serves_all(&gateway, &orchestrator);
    alarms(&gateway);
}

#[test]
fn a_folder_that_may_not_be_entered_is_survived_and_used_once_it_may() {
    let (_backends, orchestrator, hosts) = three();
    let mut gateway = Gateway::configured(&orchestrator.url(), "[guard]\nmax_crashes = 0\n");
    gateway.wrapper = locked_away(&gateway);
    started(&orchestrator, &mut gateway);
    assert_eq!(http::get(gateway.web, &hosts[0], "/").expect("an answer").status, 200);
    let error = alarms(&gateway);
    assert!(error.to_lowercase().contains("permission"), "it names the cause: {error}");
    opened(&gateway);
    saves_all(&gateway);
}

#[test]
fn a_folder_that_is_missing_or_goes_away_is_made_again() {
    let (_backends, mut orchestrator, hosts) = three();
    let mut gateway = Gateway::configured(&orchestrator.url(), "[guard]\nmax_crashes = 0\n");
    assert!(!gateway.state_dir().exists());
    started(&orchestrator, &mut gateway);
    saves_all(&gateway);
    let mode = fs::metadata(gateway.state_dir()).expect("it was made").permissions().mode();
    assert_eq!(mode & 0o777, 0o700, "it is the gateway's alone");

    let load = Load::start(gateway.web, &hosts);
    fs::remove_dir_all(gateway.state_dir()).expect("ours");
    orchestrator.put_all([padded(0, "a")]);
    serves_all(&gateway, &orchestrator);
    let there = |folder: PathBuf| wait::until("the folder", || fs::read_dir(&folder).ok()?.next().map(|_| ()));
    there(gateway.state_dir());
    saves_all(&gateway);
    load.stop_without_failure();

    let digest = gateway.status()["table"]["digest"].clone();
    gateway.kill_9();
    orchestrator.stop();
    gateway.start_ready();
    assert_eq!(gateway.status()["table"]["digest"], digest, "the whole table is in the new folder");
}
