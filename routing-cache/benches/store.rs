//! What a store costs: `cargo bench -p routing-cache --bench store`. HOLDGATE_BENCH_APPS sets the number of apps, TMPDIR
//! the disk.
//!
//! Each app is simple: one host, one endpoint. Of several passes the median and the least are shown.

#![allow(clippy::print_stdout, reason = "it is what a bench is for")]

use std::{
    hint::black_box,
    sync::Arc,
    time::{Duration, Instant},
};

use routing_cache::{
    disk::RealDisk,
    model::{AppRecord, Epoch, Generation, HostRef, Provenance, Record, RecordParts, Rev, Source, WallTime},
    state::{Change, Meta, Op, State},
    store::{PoisonRules, Store, inspect},
    table::{Base, Table},
};

/// Passes of a measurement.
const PASSES: usize = 7;
/// Appends of a measurement.
const APPENDS: u64 = 1_000;
/// Never.
const RULES: PoisonRules = PoisonRules { crashes: 0, within: Duration::ZERO };

fn main() {
    let apps = std::env::var("HOLDGATE_BENCH_APPS").ok().and_then(|apps| apps.parse().ok()).unwrap_or(1_000_000);
    let folder = tempfile::tempdir().expect("there is a folder for temporary files");
    let open = || Store::open(Arc::new(RealDisk), folder.path()).expect("nobody else has it");
    let mut store = open();
    store.boot(RULES, WallTime(0));
    let mut state = build(apps);

    let start = Instant::now();
    let saved = store.save(&state).expect("the disk can be written");
    println!("{apps} apps; save: {:.1?}, {} bytes", start.elapsed(), saved.bytes);

    let mut number = 1;
    measure("append of one app and publish", APPENDS, || {
        number += 1;
        let change =
            Change { received: None, ops: vec![Op::Put(record(number, number as u64))], meta: meta(number as u64) };
        store.append(&change).expect("the disk can be written");
        state.apply(&change).expect("the host is the app's own");
    });
    drop(store);
    measure("boot with that journal", 1, || {
        let boot = open().boot(RULES, WallTime(0));
        assert!(boot.state.is_some_and(|state| state.generation() == Generation(number as u64)));
    });
    let mut store = open();
    let mut state = store.boot(RULES, WallTime(0)).state.expect("it was saved");
    let start = Instant::now();
    let compacted = store.begin_compaction(state.clone()).run();
    println!("compaction: {:.1?}", start.elapsed());
    store.finish_compaction(&compacted).expect("the disk can be written");
    state.table = Table::from_base(Arc::clone(&compacted.base));
    drop(store);
    measure("boot, first look-up included", 1, || {
        let boot = open().boot(RULES, WallTime(0));
        let state = boot.state.expect("it was saved");
        assert!(black_box(state.table.find_app(&host(apps / 2))).is_some());
    });
    measure("inspect (check of every file, and of what a boot would serve)", 1, || {
        assert!(inspect(&RealDisk, folder.path(), RULES).would_serve.is_some());
    });
    let mut store = open();
    store.boot(RULES, WallTime(0));
    let large = Change { ops: (0..10_000).map(|number| Op::Put(record(number, 9))).collect(), ..Change::of(meta(9)) };
    measure("append of 10,000 apps", 1, || store.append(&large).expect("the disk can be written"));
}

fn measure(what: &str, times: u64, mut deed: impl FnMut()) {
    let mut passes: Vec<Duration> = (0..PASSES)
        .map(|_| {
            let start = Instant::now();
            (0..times).for_each(|_| deed());
            start.elapsed() / u32::try_from(times).unwrap_or(1)
        })
        .collect();
    passes.sort();
    let (least, median) =
        (passes.first().copied().unwrap_or_default(), passes.get(PASSES / 2).copied().unwrap_or_default());
    println!("{what}: {median:.1?} (least {least:.1?})");
}

fn host(number: usize) -> String {
    format!("app-{number:07}.tenants.example.com")
}

fn write(number: usize, rev: u64, out: &mut Vec<u8>) {
    let host = host(number);
    let document =
        format!(r#"{{"hosts":["{host}"],"endpoints":["10.1.{}.{}:8080"]}}"#, number / 250 % 250, number % 250);
    let name = document.get(11..11 + host.len()).unwrap_or_default();
    let hosts = [HostRef { name, wildcard: false }];
    let id = format!("app-{number:07}");
    let parts = RecordParts { id: &id, rev: Rev(rev), document: document.as_bytes(), endpoints: 1, hosts: &hosts };
    parts.write(out).expect("the app is small");
}

fn record(number: usize, rev: u64) -> AppRecord {
    let mut bytes = Vec::new();
    write(number, rev, &mut bytes);
    AppRecord::copy_of(Record::at(&bytes, 0).expect("it was just written"))
}

fn meta(generation: u64) -> Meta {
    let provenance = Provenance {
        source: Source::Live,
        epoch: Epoch::new("bench").ok(),
        generation: Generation(generation),
        received_at: WallTime(generation),
    };
    Meta { provenance, ..Meta::default() }
}

fn build(apps: usize) -> State {
    let mut records = Vec::new();
    (0..apps).for_each(|number| write(number, 1, &mut records));
    records.shrink_to_fit();
    let base = Base::from_records(records).expect("no host is twice there");
    State { table: Table::from_base(Arc::new(base)), meta: meta(1), ..State::default() }
}
