//! What an update costs at a million apps: `cargo bench -p routing-cache --bench updater -- [APPS]`.
#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::cast_precision_loss, reason = "it is what a bench is for")]

use std::{
    path::Path,
    time::{Duration, Instant},
};

use routing_cache::{
    gate::{GateConfig, Observation},
    limits::Limits,
    model::{AppId, Digest, Epoch, Generation, Now, Rev, WallTime},
    updater::{GuardConfig, PoisonRules, Updater, UpdaterConfig},
    wire::{Batch, Changes, Incoming, SnapshotCandidate},
};

fn incoming(n: usize, rev: u64) -> Incoming {
    let document = format!(
        "{{\"hosts\":[\"app-{n}.example.com\"],\"endpoints\":[\"10.{}.{}.{}:8080\"]}}",
        n >> 16 & 255,
        n >> 8 & 255,
        n & 255
    );
    Incoming::read(AppId::new(&format!("app-{n}")).unwrap(), Rev(rev), document.as_bytes(), &Limits::default())
}

fn candidate(apps: usize, generation: u64, changed: usize) -> SnapshotCandidate {
    let rev = |n| if n < changed { generation } else { 1 };
    let batch = Batch::from_incoming((0..apps).map(|n| incoming(n, rev(n)))).unwrap();
    SnapshotCandidate {
        epoch: Epoch::new("e1").unwrap(),
        generation: Generation(generation),
        ready: true,
        shrink_ok: None,
        digest: batch.digest(),
        bytes: batch.bytes(),
        apps: batch,
        partial: None,
    }
}

fn delta(from: u64, apps: (u64, Digest), changed: std::ops::Range<usize>, before: u64) -> Changes {
    let upserts: Vec<Incoming> = changed.clone().map(|n| incoming(n, from + 1)).collect();
    let old = changed.map(|n| incoming(n, before).digest).fold(Digest::default(), Digest::plus);
    let digest = upserts.iter().fold(apps.1, |sum, app| sum.plus(app.digest)).minus(old);
    let epoch = Epoch::new("e1").unwrap();
    let (from, to) = (Generation(from), Generation(from + 1));
    Changes { epoch, from, to, ready: true, upserts, deletes: Vec::new(), apps: apps.0, digest, shrink_ok: None }
}

fn resident_mib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = |name: &str| status.lines().find(|line| line.starts_with(name)).map(str::to_owned).unwrap_or_default();
    let kib: f64 = line("VmRSS").split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).unwrap_or_default();
    kib / 1024.0
}

fn timed(what: &str, deed: impl FnOnce() -> String) {
    let start = Instant::now();
    let became = deed();
    println!(
        "{what:<44} {:>10.3} ms  {became:<10} {:>7.1} MiB",
        start.elapsed().as_secs_f64() * 1000.0,
        resident_mib()
    );
}

fn main() {
    let apps: usize = std::env::args().filter_map(|word| word.parse().ok()).next().unwrap_or(1_000_000);
    let folder = tempfile::tempdir().unwrap();
    let gate = GateConfig { stable_for: Duration::ZERO, lost_after: Duration::from_secs(3600), readiness_url: false };
    let guard =
        GuardConfig { max_shrink_percent: 20.0, max_shrink_apps: 50, max_invalid_percent: 1.0, max_invalid_apps: 20 };
    let poison = PoisonRules { crashes: 3, within: Duration::from_secs(10) };
    let config = UpdaterConfig { gate, guard, limits: Limits::default(), poison };
    let now = Now { monotonic: Duration::from_secs(1), wall: WallTime(1_700_000_000_000) };
    let (mut updater, _reader, _) = Updater::boot(config, Path::new(folder.path()), now).unwrap();
    updater.observe(Observation::Ready, now);
    let mut offer = |what: &str, candidate: SnapshotCandidate| {
        timed(what, || updater.offer_snapshot(candidate, now).label().to_owned());
    };
    offer("the first table", candidate(apps, 1, 0));
    let mut digest = candidate(apps, 1, 0).digest;
    offer("the same again", candidate(apps, 1, 0));
    offer("a generation later, nothing changed", candidate(apps, 2, 0));
    let next = candidate(apps, 3, apps);
    digest = if next.apps.is_empty() { digest } else { next.digest };
    offer("all apps changed", next);
    for (generation, changed, what) in [
        (3, 0..10_000, "a delta of 10,000"),
        (4, 10_000..10_001, "a delta of one"),
        (5, 10_001..10_002, "a delta of one"),
    ] {
        let changes = delta(generation, (apps as u64, digest), changed, 3);
        digest = changes.digest;
        timed(what, || updater.offer_changes(changes, now).label().to_owned());
    }
}
