//! A table that the disk does not have: systemd keeps it, and the next process starts from it.

use std::{
    fs,
    io::Write,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    process::Command,
};

use holdgate_tests::{
    gateway::{Gateway, binary},
    http,
    mounts::Mounts,
    wait,
};
use rustix::{
    fs::{SealFlags, fcntl_get_seals},
    process::Signal,
};

use crate::{
    disk::{fill, locked_away, opened, padded, saves_all, serves_all},
    follower,
    systemd::{Manager, pass, says},
    three,
};

/// A service with a runtime folder, and the way to have more than one start of it.
struct Service {
    gateway: Gateway,
    manager: Manager,
    wrapper: Vec<String>,
}

impl Service {
    fn new(url: &str, wrapper: impl FnOnce(&Gateway) -> Vec<String>) -> Self {
        let mut gateway = Gateway::configured(url, "[gateway]\nworkers = 1\n[guard]\nmax_crashes = 0\n");
        let manager = Manager::of(&mut gateway);
        let runtime = gateway.folder().join("runtime");
        fs::create_dir(&runtime).expect("ours");
        gateway.environment.push(("RUNTIME_DIRECTORY".to_owned(), runtime.display().to_string()));
        gateway.wrapper = wrapper(&gateway);
        Self { wrapper: gateway.wrapper.clone(), gateway, manager }
    }

    /// Starts it again, with all that is stored.
    fn start_again(&mut self) {
        self.manager.pass(&mut self.gateway, "");
        let pass = std::mem::take(&mut self.gateway.wrapper);
        self.gateway.wrapper = self.wrapper.iter().cloned().chain(pass).collect();
        self.gateway.start_ready();
    }

    /// What of the store is a table.
    fn tables(&self) -> Vec<&str> {
        self.manager.names().into_iter().filter(|name| name.starts_with("table")).collect()
    }

    fn note(&self) -> PathBuf {
        self.gateway.folder().join("runtime/kept-table")
    }
}

fn digest(gateway: &Gateway) -> String {
    gateway.status()["table"]["digest"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn a_table_that_was_never_on_disk_survives_a_kill_while_the_orchestrator_is_away() {
    let (_backends, mut orchestrator, hosts) = three();
    let mut service = Service::new(&orchestrator.url(), locked_away);
    service.gateway.start_ready();
    service.manager.until("FDNAME=table");
    assert_eq!(service.tables(), ["table"]);
    let (_, (_, memory)) = service.manager.stored.iter().find(|(_, (name, _))| name == "table").expect("it was stored");
    assert!(fcntl_get_seals(memory).expect("it is memory").contains(SealFlags::WRITE | SealFlags::SHRINK));
    let before = digest(&service.gateway);
    service.gateway.kill_9();
    orchestrator.stop();

    fs::write(service.gateway.folder().join("runtime/served"), "").expect("ours");
    let mut preflight = Command::new(binary());
    preflight.args(["preflight", "--before-start", "--config"]).arg(service.gateway.config_path());
    let asked = preflight.env("RUNTIME_DIRECTORY", service.gateway.folder().join("runtime")).output();
    assert!(asked.expect("it starts").status.success(), "it is not to be kept from starting");

    service.start_again();
    service.manager.until("READY=1");
    let status = service.gateway.status();
    assert_eq!(status["table"]["source"], "snapshot");
    assert_eq!(digest(&service.gateway), before);
    for host in &hosts {
        assert_eq!(http::get(service.gateway.web, host, "/").expect("an answer").status, 200);
    }
    says(&service.gateway, "kept a table, newer than what is on disk");
    assert_eq!(service.gateway.metric("holdgate_table_unsaved"), Some(1.0), "the disk does not have it yet");
    assert_eq!(service.tables(), ["table"], "so it stays, and is not stored again");

    opened(&service.gateway);
    service.manager.until("FDSTOREREMOVE=1");
    assert!(service.tables().is_empty());
    wait::until("the note to go", || (!service.note().exists()).then_some(()));
    saves_all(&service.gateway);
    service.gateway.kill_9();
    service.start_again();
    assert_eq!(digest(&service.gateway), before, "now it is on disk");
}

#[test]
fn a_restart_leaves_what_was_served_last_and_gives_up_the_older_one_after_that() {
    let (_backends, mut orchestrator, hosts) = three();
    orchestrator.keep_changes(1000);
    let mut service = Service::new(&orchestrator.url(), locked_away);
    service.gateway.start_ready();
    service.manager.until("FDNAME=table");
    orchestrator.put_all([padded(0, "a")]);
    serves_all(&service.gateway, &orchestrator);
    let last = digest(&service.gateway);
    service.gateway.signal(Signal::INT);
    assert_eq!(service.gateway.end().code(), Some(0), "{}", service.gateway.log());
    orchestrator.stop();
    service.manager.until("FDNAME=table-2");
    assert_eq!(service.tables().len(), 2, "there is always one");
    service.manager.until("FDSTOREREMOVE=1");
    assert_eq!(service.tables(), ["table-2"]);

    service.start_again();
    assert_eq!(digest(&service.gateway), last);
    assert_eq!(http::get(service.gateway.web, &hosts[0], "/").expect("an answer").status, 200);
}

#[test]
fn a_successor_gives_up_what_was_kept_once_the_disk_has_the_table() {
    let (_backends, orchestrator, hosts) = three();
    orchestrator.keep_changes(1000);
    let mut mounts = None;
    let mut service = Service::new(&orchestrator.url(), |gateway| {
        let small = gateway.folder().join("small");
        fs::create_dir(&small).expect("ours");
        mounts = Mounts::new(&format!("mount -t tmpfs -o size=1m tmpfs '{}'", small.display()))
            .inspect_err(|why| eprintln!("skipped: {why}"))
            .ok();
        gateway.reconfigure(&gateway.state_dir().display().to_string(), &small.join("state").display().to_string());
        mounts.as_ref().map(Mounts::wrapper).unwrap_or_default()
    });
    let Some(mounts) = mounts else { return };
    service.gateway.start_ready();
    service.manager.until("READY=1");
    saves_all(&service.gateway);
    let ballast = mounts.inside(&service.gateway.folder().join("small/ballast"));
    fill(&ballast);
    orchestrator.put_all((0..10).map(|n| padded(n, "a")));
    serves_all(&service.gateway, &orchestrator);
    service.manager.until("FDNAME=table");

    let mut old = service.gateway.take_over().unwrap_or_else(|refused| panic!("{}", refused.said));
    service.manager.until("MAINPID=");
    assert!(old.end().success());
    assert!(!service.tables().is_empty(), "it is still there");
    fs::remove_file(&ballast).expect("ours");
    wait::until("it to be given up", || {
        service.manager.take();
        service.tables().is_empty().then_some(())
    });
    assert_eq!(http::get(service.gateway.web, &hosts[0], "/").expect("an answer").status, 200);
}

/// A table to be passed, as a file.
fn file(folder: &Path, bytes: &[u8]) -> OwnedFd {
    let path = folder.join("passed");
    fs::File::create(&path).and_then(|mut file| file.write_all(bytes)).expect("ours");
    fs::File::open(&path).expect("it was made").into()
}

#[test]
fn a_kept_table_that_is_damaged_or_older_than_the_disk_is_said_to_be_and_not_served() {
    let (_backends, mut orchestrator, _) = three();
    let mut gateway = follower(&orchestrator, "");
    saves_all(&gateway);
    let older = wait::until("a snapshot", || {
        let mut files = fs::read_dir(gateway.state_dir()).ok()?.flatten();
        fs::read(files.find(|file| file.file_name().to_string_lossy().starts_with("snapshot-"))?.path()).ok()
    });
    orchestrator.put_all([padded(0, "a")]);
    serves_all(&gateway, &orchestrator);
    saves_all(&gateway);
    let newest = digest(&gateway);
    orchestrator.stop();

    let mut manager = Manager::of(&mut gateway);
    for (bytes, said) in [(&older[..], "not newer than what is on disk"), (b"no table", "is not whole")] {
        gateway.kill_9();
        manager.stored.clear();
        let passed = [file(gateway.folder(), bytes)];
        pass(&mut gateway, "", &passed, "table");
        gateway.start_ready();
        assert_eq!(digest(&gateway), newest);
        says(&gateway, said);
        manager.until("FDSTOREREMOVE=1");
    }
}
