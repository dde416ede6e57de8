//! kill -9 at random while updates stream: what was acknowledged is never lost, and what is served was published.
//!
//! The folder is on the machine's own disk, whose page cache outlives the process: this is about a process that dies, in
//! the middle of a write too. What a machine that loses its power may lose is the simulated disk's part.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use holdgate_tests::{backend::Backend, gateway::Gateway, http, orchestrator::Orchestrator, random::Random, wait};

use crate::{apps, host};

/// So many times it is killed; `HOLDGATE_KILLS` makes it more.
const KILLS: u64 = 30;
/// Apps at the start.
const APPS: usize = 100;
/// From one update to the next at most.
const PACE: Duration = Duration::from_millis(6);
/// After what a kill waits for, it comes within this time.
const SOON: Duration = Duration::from_millis(4);

/// Updates without end, until it is dropped.
struct Stream {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Stream {
    fn start(orchestrator: &Arc<Orchestrator>, mut random: Random) -> Self {
        let (orchestrator, stop) = (Arc::clone(orchestrator), Arc::new(AtomicBool::new(false)));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            while !stopped.load(Ordering::Acquire) {
                update(&orchestrator, &mut random);
                thread::sleep(random.within(PACE));
            }
        });
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            // ignored: a panic there has been printed, and must not hide the test's own.
            let _ = thread.join();
        }
    }
}

/// Mostly one app, now and then many large ones or a delete. The first of them all is left alone, to be asked for.
fn update(orchestrator: &Orchestrator, random: &mut Random) {
    let mut any = || 1 + random.below(APPS as u64 * 2);
    let id = |n: u64| format!("app-{n:05}");
    match any() % 16 {
        0 => drop(orchestrator.put_all((0..60).map(|_| any()).map(|n| (id(n), document(n, 2000))))),
        1 => drop(orchestrator.delete(&[&id(any())])),
        _ => {
            let n = any();
            orchestrator.put(&id(n), &document(n, n * 3));
        }
    }
}

fn document(n: u64, padding: u64) -> String {
    let page = "x".repeat(usize::try_from(padding).expect("small"));
    format!(r#"{{"hosts":["app-{n:05}.test"],"endpoints":["127.0.0.1:9"],"error_pages":{{"503":"{page}"}}}}"#)
}

/// Waits for a moment worth dying in: right after an answer with changes, right after an ack, or any.
fn a_moment(orchestrator: &Orchestrator, random: &mut Random) {
    let (sent, acknowledged) = (orchestrator.changes_sent(), orchestrator.acknowledged());
    let deadline = Instant::now() + wait::DEADLINE;
    let kind = random.below(3);
    let come = || match kind {
        0 => orchestrator.changes_sent() > sent,
        _ => orchestrator.acknowledged() > acknowledged,
    };
    while !come() {
        assert!(Instant::now() < deadline, "no update was taken");
        thread::sleep(Duration::from_micros(200));
    }
    // The moment is to be a random one.
    thread::sleep(random.within(if kind == 2 { Duration::from_millis(300) } else { SOON }));
}

/// What is served was published, and nothing newer was acknowledged.
fn check(gateway: &Gateway, orchestrator: &Orchestrator, acknowledged: u64) -> u64 {
    let table = gateway.status()["table"].clone();
    let generation = table["generation"].as_u64().expect("a number");
    assert_eq!(table["source"], "snapshot", "{table}");
    let published = orchestrator.published();
    let at = published.iter().find(|p| p.generation == generation);
    let at = at.unwrap_or_else(|| panic!("generation {generation} was never published"));
    assert_eq!((&table["digest"], &table["apps"]), (&at.digest.as_str().into(), &at.apps.into()), "{table}");
    assert!(generation >= acknowledged, "{generation} is served, {acknowledged} was acknowledged\n{}", gateway.log());
    assert!(table["saved"]["error"].is_null(), "{table}");
    generation
}

#[test]
fn no_acknowledged_update_is_lost_by_kill_minus_nine() {
    let kills = std::env::var("HOLDGATE_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(KILLS);
    let mut random = Random::new();
    let backends = [Backend::start(&host(0))];
    let mut orchestrator = Arc::new(Orchestrator::start(apps(APPS, &backends)));
    orchestrator.keep_changes(10_000);
    // Nothing is to be held: after a restart the guard does not know which apps were away, so that one that comes back
    // counts on, and in an hour of restarts that adds up.
    let guard = "[guard]\nmax_shrink_apps = 1000000\nmax_crashes = 0\n";
    let mut gateway = Gateway::configured(&orchestrator.url(), guard);
    // The gate opens at the first answer; few polls, since they are counted among five requests a second.
    gateway.reconfigure("stable_for = \"300ms\"", "stable_for = \"0s\"");
    gateway.reconfigure("check_every = \"100ms\"", "check_every = \"500ms\"");
    gateway.start_ready();
    let (mut served, mut moved) = (0, 0);
    for kill in 0..kills {
        let stream = Stream::start(&orchestrator, random.another());
        a_moment(&orchestrator, &mut random);
        gateway.kill_9();
        drop(stream);
        Arc::get_mut(&mut orchestrator).expect("the stream has ended").stop();
        if kill % 8 == 7 {
            orchestrator.forget_changes();
        }
        let acknowledged = orchestrator.acknowledged();
        gateway.start_ready();
        let now = check(&gateway, &orchestrator, acknowledged);
        assert!(now >= served, "kill {kill}: from {served} back to {now}");
        assert_eq!(http::get(gateway.web, &host(0), "/").expect("an answer").status, 200);
        moved += u64::from(now > served);
        served = now;
        Arc::get_mut(&mut orchestrator).expect("the stream has ended").listen();
    }
    assert!(moved * 2 >= kills, "in {kills} rounds only {moved} had an update on disk");
    let digest = orchestrator.digest();
    gateway.until_status("the last table", |s| s["table"]["digest"] == digest.as_str());
}
