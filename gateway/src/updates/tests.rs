use std::{path::Path, time::Duration};

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use routing_cache::{
    disk::sim::{Failure, SimDisk},
    gate::GateConfig,
    limits::Limits,
    model::{AppId, Epoch, Rev, WallTime},
    updater::{GuardConfig, PoisonRules, Rejection, Summary},
    wire::{Batch, Incoming},
};

mod handover;

use super::{record::Record, *};

/// How long a test waits for what must happen.
const DEADLINE: Duration = Duration::from_secs(20);

fn config(lost_after: Duration) -> UpdaterConfig {
    UpdaterConfig {
        gate: GateConfig { stable_for: Duration::ZERO, lost_after, readiness_url: false },
        guard: GuardConfig {
            max_shrink_percent: 20.0,
            max_shrink_apps: 50,
            max_invalid_percent: 1.0,
            max_invalid_apps: 20,
        },
        limits: Limits::default(),
        poison: PoisonRules { crashes: 3, within: Duration::from_secs(10) },
    }
}

fn booted(disk: &SimDisk, now: Now) -> (Updater, Reader) {
    let config = config(Duration::from_secs(10));
    let (updater, reader, _) = Updater::boot_on(Arc::new(disk.clone()), config, Path::new("/state"), now).unwrap();
    (updater, reader)
}

fn started(updater: Updater, reader: &Reader) -> (Updates, thread::JoinHandle<()>) {
    Updates::start(updater, reader.clone(), Path::new("/")).unwrap()
}

fn worker(updater: Updater, reader: &Reader, now: Now) -> Worker {
    Worker::new(updater, Usage::new(Limits::default(), reader.clone(), "/".into()), now)
}

/// A time of the test's own, well ahead of the process's clock, which the worker looks at too.
fn at(seconds: u64) -> Now {
    Now { monotonic: Duration::from_secs(1_000_000 + seconds), wall: WallTime(1_700_000_000_000 + seconds * 1000) }
}

fn snapshot(generation: u64, apps: usize) -> SnapshotCandidate {
    let read = |n| {
        let document = format!(r#"{{"hosts":["app-{n}.example.com"],"endpoints":["10.0.0.1:80"]}}"#);
        Incoming::read(AppId::new(&format!("app-{n}")).unwrap(), Rev(1), document.as_bytes(), &Limits::default())
    };
    let apps = Batch::from_incoming((0..apps).map(read)).unwrap();
    SnapshotCandidate {
        epoch: Epoch::new("e1").unwrap(),
        generation: Generation(generation),
        ready: true,
        shrink_ok: None,
        digest: apps.digest(),
        apps,
        partial: None,
        bytes: 1,
    }
}

fn in_runtime<T>(deed: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(DEADLINE, deed).await.expect("within the deadline") })
}

#[test]
fn an_offer_is_judged_on_the_thread_and_the_report_follows_at_once() {
    let (updater, reader) = booted(&SimDisk::new(1), clock::now());
    let (updates, _thread) = started(updater, &reader);
    in_runtime(async {
        let standing = updates.observe(Observation::Ready).await.unwrap();
        assert!(standing.wants_answers && !standing.has_table && standing.position.is_none());
        let outcome = updates.offer_snapshot(snapshot(1, 200)).await.unwrap();
        assert!(matches!(outcome, Outcome::Published(Summary { added: 200, saved: true, .. })), "{outcome:?}");
        assert_eq!(reader.load().table.len(), 200);
        assert_eq!(updates.report().received.as_ref().map(|(_, generation)| *generation), Some(Generation(1)));
        assert!(matches!(updates.offer_snapshot(snapshot(2, 100)).await.unwrap(), Outcome::Held(_)));
        assert_eq!(updates.report().held.total, 100);
        assert_eq!(
            updates.approve(Generation(1)).await,
            Ok(Err(ApproveError::OtherGeneration { held: Generation(2) }))
        );
        assert!(updates.approve(Generation(2)).await.unwrap().is_ok());
        assert_eq!((reader.load().table.len(), updates.report().held.total), (100, 0));
        let standing = updates.standing().await.unwrap();
        assert_eq!(standing.position.map(|position| position.generation), Some(Generation(2)));
    });
}

#[test]
fn an_operator_steers_the_table_through_the_thread() {
    let (updater, reader) = booted(&SimDisk::new(1), clock::now());
    let (updates, _thread) = started(updater, &reader);
    in_runtime(async {
        updates.observe(Observation::Ready).await.unwrap();
        updates.offer_snapshot(snapshot(1, 3)).await.unwrap();
        updates.offer_snapshot(snapshot(2, 4)).await.unwrap();
        assert_eq!(updates.archive().history().first().map(|kept| kept.generation), Some(Generation(2)));
        let state = updates.archive().load(Generation(1), None).unwrap();
        assert!(matches!(updates.rollback(state).await, Ok(Ok(_))));
        assert!(updates.report().pin.is_some() && reader.load().table.len() == 3);
        assert!(!updates.standing().await.unwrap().wants_answers, "while it is pinned");
        assert!(matches!(updates.import(snapshot(9, 5)).await, Ok(Ok(_))));
        assert_eq!(reader.load().table.len(), 5);
        assert_eq!(updates.unpin().await, Ok(Ok(())));
        assert!(updates.unpin().await.unwrap().is_err());
        assert!(updates.report().pin.is_none());
        updates.stopping().await.unwrap();
    });
}

#[test]
fn the_journal_is_folded_beside_the_updates() {
    let (updater, reader) = booted(&SimDisk::new(1), clock::now());
    let (updates, _thread) = started(updater, &reader);
    in_runtime(async {
        updates.observe(Observation::Ready).await.unwrap();
        updates.offer_snapshot(snapshot(1, 2)).await.unwrap();
        assert!(!reader.load().table.is_empty());
        // More than a tenth of a large table above its base: a compaction is due.
        for generation in 2..5 {
            updates.offer_snapshot(snapshot(generation, generation as usize * 5_000)).await.unwrap();
        }
        while !reader.load().table.is_flat() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(reader.load().table.len(), 20_000);
    });
}

#[test]
fn new_settings_are_gone_by() {
    let (updater, reader) = booted(&SimDisk::new(1), clock::now());
    let (updates, _thread) = started(updater, &reader);
    in_runtime(async {
        updates.observe(Observation::Ready).await.unwrap();
        updates.reconfigure(config(Duration::ZERO)).await.unwrap();
        let standing = updates.standing().await.unwrap();
        assert!(!standing.wants_answers, "everything is lost at once now");
    });
}

#[test]
fn the_thread_ends_with_the_last_handle() {
    let (updater, reader) = booted(&SimDisk::new(1), clock::now());
    let (updates, thread) = started(updater, &reader);
    drop(updates.clone());
    in_runtime(updates.standing()).unwrap();
    drop(updates);
    let (done, ended) = std::sync::mpsc::sync_channel(1);
    thread::spawn(move || done.send(thread.join().is_ok()));
    assert_eq!(ended.recv_timeout(DEADLINE), Ok(true));
}

#[test]
fn a_thread_that_panicked_is_an_error_of_every_call_and_the_table_stays() {
    let (updater, reader) = booted(&SimDisk::new(1), clock::now());
    let (updates, _thread) = started(updater, &reader);
    in_runtime(async {
        updates.observe(Observation::Ready).await.unwrap();
        updates.offer_snapshot(snapshot(1, 3)).await.unwrap();
        assert_eq!(updates.ask(|_, _| panic!("on purpose")).await, Err::<(), _>(UpdaterGone));
        assert!(matches!(updates.standing().await, Err(UpdaterGone)));
        assert!(matches!(updates.offer_snapshot(snapshot(2, 0)).await, Err(UpdaterGone)));
    });
    assert_eq!(reader.load().table.len(), 3);
}

#[test]
fn the_report_follows_the_time_alone() {
    let (updater, reader) = booted(&SimDisk::new(1), at(0));
    let mut worker = worker(updater, &reader, at(0));
    worker.updater.observe(Observation::Ready, at(0));
    worker.tick(at(1));
    assert!(worker.shared.report.load().gate_open);
    worker.tick(at(10));
    assert!(!worker.shared.report.load().gate_open);
    assert_eq!(worker.shared.report.load().gate_reason.as_deref(), Some("nothing was answered for 10 s"));
}

#[test]
fn a_failed_save_is_tried_again_every_few_seconds_until_it_succeeds() {
    let disk = SimDisk::new(1);
    let (updater, reader) = booted(&disk, at(0));
    let mut worker = worker(updater, &reader, at(0));
    disk.fail(0, u64::MAX, Failure::NoSpace);
    worker.updater.observe(Observation::Ready, at(0));
    let outcome = worker.offer(at(0), |updater| updater.offer_snapshot(snapshot(1, 3), at(0)));
    assert!(matches!(outcome, Outcome::Published(Summary { saved: false, .. })), "{outcome:?}");
    worker.tick(at(5));
    assert!(worker.shared.report.load().saved.unsaved);
    assert_eq!(reader.load().table.len(), 3, "it is served all the same");
    disk.heal();
    worker.tick(at(6));
    assert!(worker.shared.report.load().saved.unsaved, "not before its time");
    worker.tick(at(10));
    let saved = worker.shared.report.load().saved.clone();
    assert!(!saved.unsaved, "{saved:?}");
}

/// What is counted while `deed` is done.
fn counted(deed: impl FnOnce(&mut Record)) -> String {
    let recorder = PrometheusBuilder::new().build_recorder();
    let handle: PrometheusHandle = recorder.handle();
    metrics::with_local_recorder(&recorder, || deed(&mut Record::new()));
    handle.render()
}

#[test]
fn every_verdict_is_counted_under_its_outcome() {
    let counts = Summary { stale: 3, ..Summary::default() };
    let outcomes = [
        (Outcome::Published(counts), "published"),
        (Outcome::Unchanged(Summary::default()), "unchanged"),
        (Outcome::Held(Summary::default()), "held"),
        (Outcome::Rejected(Rejection::NotReady), "rejected"),
        (Outcome::NeedSnapshot("digest".into()), "failed"),
    ];
    let text = counted(|record| outcomes.iter().for_each(|(outcome, _)| record.judged(outcome, Duration::ZERO)));
    for (_, label) in &outcomes {
        let line = format!("holdgate_table_updates_total{{outcome=\"{label}\"}} 1");
        assert!(text.contains(&line), "{line} not in {text}");
    }
    assert!(text.contains("holdgate_table_stale_upserts_total 3"), "{text}");
}
