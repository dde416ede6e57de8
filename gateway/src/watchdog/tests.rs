//! The thread over real sockets: listeners that nobody accepts from, and a service manager that listens.

use std::{
    ffi::OsString,
    net::TcpListener,
    os::{
        linux::net::SocketAddrExt as _,
        unix::net::{SocketAddr, UnixDatagram},
    },
    time::Instant,
};

use super::*;
use crate::drain::Drain;

const DEADLINE: Duration = Duration::from_secs(20);

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A pace for tests, which a busy machine keeps up with.
fn pace(feed_every: Option<Duration>) -> Pace {
    Pace { every: ms(20), patience: ms(200), fresh: DEADLINE, hung_after: ms(400), feed_every }
}

/// Accepts nobody; the kernel completes connections, and nobody reads them.
fn nobody_accepts() -> (TcpListener, (String, ListenAddress)) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = ListenAddress::Tcp(listener.local_addr().unwrap());
    (listener, ("web".to_owned(), address))
}

fn watching(listeners: Vec<(String, ListenAddress)>, drain: &Drain) -> Watching {
    let text = "state_dir = \"/nonexistent\"\n[[listener]]\nname = \"web\"\naddress = \"127.0.0.1:0\"\n\
                [orchestrator]\nkind = \"http\"\nurl = \"http://127.0.0.1:1\"\n";
    let config = Config::parse(std::path::Path::new("test.toml"), text, std::iter::empty()).unwrap().config;
    let lives: Box<LastProgress> = Box::new(|| Some(clock::now().monotonic));
    Watching {
        workers: vec![("worker-0".to_owned(), lives)],
        listeners,
        admin: Box::new(|| Some(clock::now().monotonic)),
        probes: Probes::default(),
        draining: drain.watch(),
        config: Arc::new(ArcSwap::from_pointee(config)),
        manager: None,
    }
}

/// A service manager's socket, and its end in this process.
fn manager() -> (UnixDatagram, ServiceManager) {
    let name = format!("holdgate-test-{}-{}", std::process::id(), fastrand::u64(..));
    let socket = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    let manager = ServiceManager::at(&OsString::from(format!("@{name}")), DEADLINE).unwrap();
    (socket, manager)
}

fn lines(watched: &Watched) -> Vec<String> {
    watched.checks().iter().map(ToString::to_string).collect()
}

fn eventually(watched: &Watched, condition: impl Fn(&[String]) -> bool) {
    let end = Instant::now() + DEADLINE;
    while !condition(&lines(watched)) {
        assert!(Instant::now() < end, "in vain: {:?}", lines(watched));
        std::thread::yield_now();
    }
}

fn is_well(lines: &[String]) -> bool {
    lines.iter().all(|line| line.starts_with("[+]"))
}

fn next_look(watched: &Watched) {
    for _ in 0..2 {
        let before = watched.0.looked.load(Ordering::Acquire);
        let end = Instant::now() + DEADLINE;
        while watched.0.looked.load(Ordering::Acquire) == before {
            assert!(Instant::now() < end, "it does not look");
            std::thread::yield_now();
        }
    }
}

#[test]
fn a_listener_that_nobody_accepts_from_hangs_though_every_heartbeat_goes_on() {
    let (_listener, address) = nobody_accepts();
    let (_socket, manager) = manager();
    let drain = Drain::default();
    let watching = Watching { manager: Some(manager), ..watching(vec![address], &drain) };
    let watchdog = start_at(watching, pace(Some(ms(40)))).unwrap();
    let watched = watchdog.watched();
    let failed = "[-]probes failed: the listener web has not answered for ";
    eventually(&watched, |lines| {
        lines[0] == "[+]workers ok" && lines[1].starts_with(failed) && lines[1].ends_with(": no answer in time")
    });
    _socket.set_nonblocking(true).unwrap();
    assert!(_socket.recv(&mut [0; 64]).is_err(), "it was never fed");
    // A drain closes listeners: what hangs is no matter any more.
    drain.start();
    eventually(&watched, is_well);
}

#[test]
fn what_is_well_is_fed_and_shown_and_what_hangs_is_not() {
    let (socket, manager) = manager();
    let drain = Drain::default();
    let lives = Arc::new(AtomicBool::new(true));
    let seen = Arc::clone(&lives);
    let started = clock::now().monotonic;
    let beat = move || Some(if seen.load(Ordering::Acquire) { clock::now().monotonic } else { started });
    let mut watching = Watching { manager: Some(manager), ..watching(Vec::new(), &drain) };
    watching.workers.push(("worker-1".to_owned(), Box::new(beat)));
    let pace = Pace { fresh: ms(0).max(ms(300)), ..pace(Some(ms(40))) };
    let watchdog = start_at(watching, pace).unwrap();
    let watched = watchdog.watched();
    let mut buffer = [0; 64];
    for _ in 0..3 {
        let length = socket.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"WATCHDOG=1\n");
    }
    assert!(is_well(&lines(&watched)), "{:?}", lines(&watched));

    lives.store(false, Ordering::Release);
    eventually(&watched, |lines| lines[0].starts_with("[-]workers failed: worker-1 has made no progress for "));
    socket.set_nonblocking(true).unwrap();
    while socket.recv(&mut buffer).is_ok() {}
    next_look(&watched);
    assert!(socket.recv(&mut buffer).is_err(), "fed though it hangs");

    lives.store(true, Ordering::Release);
    eventually(&watched, is_well);
    socket.set_nonblocking(false).unwrap();
    socket.recv(&mut buffer).unwrap();
}

#[test]
fn a_service_manager_that_was_started_anew_is_found_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let first = UnixDatagram::bind(&path).unwrap();
    let mut manager = ServiceManager::at(&path.clone().into_os_string(), DEADLINE).unwrap();
    assert!(manager.feed());
    drop(first);
    assert!(!manager.feed());
    std::fs::remove_file(&path).unwrap();
    let second = UnixDatagram::bind(&path).unwrap();
    assert!(manager.feed());
    let mut buffer = [0; 64];
    assert_eq!(second.recv(&mut buffer).unwrap(), 11);
}

#[test]
fn a_watchdog_that_looks_no_more_is_said_to_hang_itself() {
    let watchdog = start_at(watching(Vec::new(), &Drain::default()), pace(None)).unwrap();
    let watched = watchdog.watched();
    next_look(&watched);
    assert!(is_well(&lines(&watched)));
    drop(watchdog);
    eventually(&watched, |lines| lines[2].starts_with("[-]watchdog failed: it has not looked for "));
}
