//! Bits that flip and files that end too early: named, set aside, and never the end of the table.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use holdgate_tests::{backend::Backend, gateway::Gateway, http, orchestrator::Orchestrator, random::Random, wait};

use crate::{host, three};

/// Damages of each kind done to each file.
const ROUNDS: usize = 2;

/// What is in a folder.
type Files = BTreeMap<String, Vec<u8>>;

fn read(folder: &Path) -> Files {
    // Not the socket for a successor.
    let is_file = |file: &fs::DirEntry| file.file_type().is_ok_and(|kind| kind.is_file());
    let files = fs::read_dir(folder).expect("readable").flatten().filter(is_file);
    let name = |file: &fs::DirEntry| file.file_name().to_string_lossy().into_owned();
    files.map(|file| (name(&file), fs::read(file.path()).expect("readable"))).collect()
}

fn write(folder: &Path, files: &Files) {
    fs::remove_dir_all(folder).expect("ours");
    fs::create_dir(folder).expect("ours");
    for (name, bytes) in files {
        fs::write(folder.join(name), bytes).expect("writable");
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deed {
    Flip,
    Cut,
}

/// Does it at a random place, and says where.
fn hurt(bytes: &mut Vec<u8>, deed: Deed, random: &mut Random) -> usize {
    let at = usize::try_from(random.below(bytes.len() as u64)).expect("small");
    match deed {
        Deed::Flip => bytes[at] ^= 1 << random.below(8),
        Deed::Cut => bytes.truncate(at),
    }
    at
}

fn is_table(name: &str) -> bool {
    (name.starts_with("snapshot-") || name.starts_with("journal-")) && !name.contains("damaged")
}

/// A gateway that has ended, and left two snapshots or more and a journal with changes in it.
fn left_behind() -> (Vec<Backend>, Orchestrator, Gateway) {
    let (backends, mut orchestrator, _) = three();
    orchestrator.keep_changes(1000);
    let mut gateway = Gateway::configured(&orchestrator.url(), "[guard]\nmax_crashes = 0\n");
    // Few polls, since they are counted among five requests a second.
    gateway.reconfigure("stable_for = \"300ms\"", "stable_for = \"0s\"");
    gateway.reconfigure("check_every = \"100ms\"", "check_every = \"500ms\"");
    gateway.start_ready();
    gateway.until_status("an open gate", |s| s["orchestrator"]["gate"] == "open");
    let catches_up = |gateway: &Gateway| {
        let published = orchestrator.published();
        let (digest, generation) = (orchestrator.digest(), published.last().map(|p| p.generation));
        gateway.until_status("the table", |s| {
            s["table"]["digest"] == digest.as_str() && s["table"]["saved"]["generation"].as_u64() == generation
        });
    };
    let document = |n: usize| format!(r#"{{"hosts":["{}"],"endpoints":["{}"]}}"#, host(n), backends[0].address());
    let file = gateway.folder().join("table.json").display().to_string();
    for n in [10, 20] {
        for n in n..n + 3 {
            orchestrator.put(&format!("app-{n:05}"), &document(n));
            catches_up(&gateway);
        }
        // An operator's table is saved whole.
        let _ = gateway.says(&["table", "export", &file]);
        let _ = gateway.says(&["table", "import", &file]);
        let _ = gateway.says(&["table", "unpin"]);
        gateway.until_status("the table", |s| s["table"]["pinned"].is_null());
    }
    for n in 30..33 {
        orchestrator.put(&format!("app-{n:05}"), &document(n));
        catches_up(&gateway);
    }
    orchestrator.stop();
    gateway.kill_9();
    (backends, orchestrator, gateway)
}

/// What a start serves: one of those that were published, and not an empty one.
fn serves(gateway: &mut Gateway, orchestrator: &Orchestrator, what: &str) -> String {
    let starts = |gateway: &Gateway| gateway.log().matches("\"restored ").count();
    let before = starts(gateway);
    gateway.start_ready();
    // What was damaged is logged before it, by a thread of its own.
    wait::until("what was restored in the log", || (starts(gateway) > before).then_some(()));
    let table = gateway.status()["table"].clone();
    let digest = table["digest"].as_str().expect("a text").to_owned();
    let found = orchestrator.published().into_iter().find(|p| p.digest == digest);
    assert!(found.is_some_and(|p| p.apps > 0), "{what}: {table}\n{}", gateway.log());
    assert_eq!(http::get(gateway.web, &host(0), "/").expect("an answer").status, 200, "{what}");
    gateway.kill_9();
    digest
}

fn verify(gateway: &Gateway) -> (Option<i32>, serde_json::Value) {
    let output = gateway.command(&["state", "verify", "--json"]);
    let json = serde_json::from_slice(&output.stdout);
    let json = json.unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&output.stderr)));
    (output.status.code(), json)
}

/// Whether the report says that this file is not whole.
fn names(report: &serde_json::Value, file: &str) -> bool {
    let list = |key: &str| report[key].as_array().cloned().unwrap_or_default();
    list("files").iter().any(|f| f["name"] == file && f["state"] != "whole")
        || list("damaged").iter().any(|d| d["file"] == file)
}

#[test]
fn any_file_may_be_damaged_anywhere_and_a_published_table_is_served() {
    let (_backends, orchestrator, mut gateway) = left_behind();
    let mut random = Random::new();
    let (folder, newest) = (gateway.state_dir(), orchestrator.digest());
    let whole = read(&folder);
    let (code, report) = verify(&gateway);
    assert_eq!((code, &report["would_serve"]["digest"]), (Some(0), &newest.as_str().into()), "{report}");
    assert!(whole.keys().filter(|name| name.starts_with("snapshot-")).count() >= 2, "{:?}", whole.keys());
    for (name, bytes) in whole.iter().filter(|(name, bytes)| *name != "lock" && !bytes.is_empty()) {
        for deed in [Deed::Flip, Deed::Cut].repeat(ROUNDS) {
            let mut files = whole.clone();
            let mut hurt_bytes = bytes.clone();
            let at = hurt(&mut hurt_bytes, deed, &mut random);
            files.insert(name.clone(), hurt_bytes);
            write(&folder, &files);
            let what = format!("{deed:?} of {name} at {at} of {}", bytes.len());
            let (code, report) = verify(&gateway);
            // A journal that ends between two changes is as one to which no more was written.
            if is_table(name) && (deed == Deed::Flip || name.starts_with("snapshot-")) {
                assert!(code == Some(1) && names(&report, name), "{what}: {report}");
            }
            let said = gateway.log().len();
            let served = serves(&mut gateway, &orchestrator, &what);
            assert_eq!(report["would_serve"]["digest"], served.as_str(), "{what}: {report}");
            if deed == Deed::Flip && !name.starts_with("snapshot-") {
                assert_eq!(served, newest, "{what}: each change is there twice");
            }
            let log = gateway.log().split_off(said);
            let cut_journal = deed == Deed::Cut && name.starts_with("journal-");
            assert!(served == newest || cut_journal || log.contains(name), "{what} is not named:\n{log}");
        }
    }
}

#[test]
fn with_an_older_whole_table_no_damage_to_the_rest_boots_empty() {
    let (_backends, orchestrator, mut gateway) = left_behind();
    let (folder, mut random) = (gateway.state_dir(), Random::new());
    let whole = read(&folder);
    let snapshots: Vec<_> = whole.keys().filter(|name| name.starts_with("snapshot-")).cloned().collect();
    let mut files = whole.clone();
    for (name, bytes) in &mut files {
        if is_table(name) && *name != snapshots[0] && !bytes.is_empty() {
            hurt(bytes, Deed::Flip, &mut random);
        }
    }
    write(&folder, &files);
    serves(&mut gateway, &orchestrator, "all but the oldest snapshot are damaged");
    let kept: Vec<PathBuf> = fs::read_dir(&folder).expect("readable").flatten().map(|file| file.path()).collect();
    let newest = whole[snapshots.last().expect("two")].len() as u64;
    let aside = |path: &PathBuf| !path.ends_with("lock") && fs::metadata(path).is_ok_and(|m| m.len() == newest);
    assert!(kept.iter().any(aside), "what was damaged is kept for inspection: {kept:?}");
}

#[test]
fn a_damaged_folder_is_repaired_offline_and_only_offline() {
    let (_backends, mut orchestrator, mut gateway) = left_behind();
    let (folder, mut random) = (gateway.state_dir(), Random::new());
    let mut files = read(&folder);
    let name = files.keys().rfind(|name| name.starts_with("snapshot-")).expect("a snapshot").clone();
    hurt(files.get_mut(&name).expect("it is there"), Deed::Flip, &mut random);
    write(&folder, &files);

    let said = gateway.says(&["state", "repair", "--dry-run"]);
    assert!(said.contains(&name), "{said}");
    let tables = |files: Files| files.into_iter().filter(|(name, _)| name != "lock").collect::<Files>();
    assert_eq!(tables(read(&folder)), tables(files), "a dry run changes nothing");
    let promised = verify(&gateway).1["would_serve"]["digest"].clone();
    let said = gateway.says(&["state", "repair"]);
    assert!(said.contains(&name), "{said}");
    let (code, report) = verify(&gateway);
    assert_eq!((code, &report["would_serve"]["digest"]), (Some(0), &promised), "{report}");
    assert_eq!(serves(&mut gateway, &orchestrator, "repaired"), promised.as_str().expect("a text"));

    orchestrator.listen();
    gateway.start_ready();
    let refused = gateway.command(&["state", "repair"]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    let pid = gateway.pid().expect("it runs").to_string();
    assert!(refused.status.code() == Some(1) && said.contains(&pid), "it names who has the folder: {said}");
    wait::until("verify to work beside it", || verify(&gateway).1["would_serve"]["digest"].as_str().map(|_| ()));
}
