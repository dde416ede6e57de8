//! What a table costs: `cargo bench -p routing-cache --bench table`. HOLDGATE_BENCH_APPS sets the number of apps.
//!
//! Each app is simple: one host, one or two endpoints. Times are of one thread; of several passes the median and the least
//! are shown, since other work on the machine makes them longer, never shorter.

#![allow(clippy::print_stdout, reason = "it is what a bench is for")]

use std::{fs, hint::black_box, sync::Arc, time::Instant};

use routing_cache::{
    live::{self, Provenance, Published, Source},
    model::{AppId, AppRecord, HostRef, Record, RecordParts, Rev},
    table::{self, Base, BaseLoader, IndexName, Table},
};

/// Look-ups in a pass.
const LOOKUPS: usize = 1_000_000;
/// Passes of a measurement.
const PASSES: usize = 7;
/// Bytes of a page of memory.
const PAGE: usize = 4096;

fn main() {
    let apps = std::env::var("HOLDGATE_BENCH_APPS").ok().and_then(|apps| apps.parse().ok()).unwrap_or(1_000_000);
    println!("{apps} apps, one host and one or two endpoints each");
    let table = build(apps);
    load(table.base());
    lookups(&table, apps);
    compiled(&table, apps);
    changes(&table, apps);
    compaction(&table, apps);
}

fn host(number: usize) -> String {
    format!("app-{number:07}.tenants.example.com")
}

fn document(number: usize, rev: u64) -> String {
    let (high, low) = (number / 250 % 250, number % 250);
    let two = number.is_multiple_of(2);
    let second = if two { format!(r#","10.{}.{high}.{low}:8080""#, 2 + rev % 200) } else { String::new() };
    format!(r#"{{"hosts":["{}"],"endpoints":["10.1.{high}.{low}:8080"{second}]}}"#, host(number))
}

/// Appends the record of an app, as the reader of a snapshot does.
fn write(number: usize, rev: u64, out: &mut Vec<u8>) {
    let (id, document) = (format!("app-{number:07}"), document(number, rev));
    let name = document.get(11..11 + host(number).len()).unwrap_or_default();
    let hosts = [HostRef { name, wildcard: false }];
    let endpoints = 1 + u32::from(number.is_multiple_of(2));
    let parts = RecordParts { id: &id, rev: Rev(rev), document: document.as_bytes(), endpoints, hosts: &hosts };
    parts.write(out).expect("the app is small");
}

fn record(number: usize, rev: u64) -> AppRecord {
    let mut bytes = Vec::new();
    write(number, rev, &mut bytes);
    AppRecord::copy_of(Record::at(&bytes, 0).expect("it was just written"))
}

fn build(apps: usize) -> Table {
    let before = resident();
    let mut records = Vec::new();
    (0..apps).for_each(|number| write(number, 1, &mut records));
    records.shrink_to_fit();
    let base = Base::from_records(records).expect("no host is there twice");
    let grown = resident().saturating_sub(before);
    let (all, of_records) = (per(base.bytes(), apps), per(base.records().len(), apps));
    println!("base                           {all:9.1} B an app, of which records {of_records:.1}");
    println!("resident memory                {:9.1} B an app", per(grown, apps));
    let digest = base.head().digest;
    let pass = || timed_of(base.records().to_vec(), |records| Base::from_records_of(records, digest));
    show("index records", &passes(5, pass), "ms");
    let pass = || timed_of(base.records().to_vec(), Base::from_records);
    show("index records, digest anew", &passes(3, pass), "ms");
    show("build of an iterator", &passes(3, || timed(|| Base::build(base.iter()))), "ms");
    Table::from_base(Arc::new(base))
}

fn load(base: &Base) {
    let pass = || {
        timed(|| {
            let mut loader = BaseLoader::new(base.head()).expect("the head is right");
            loader.records().extend_from_slice(base.records());
            for index in IndexName::ALL {
                loader.buckets(index, base.buckets(index).as_flattened()).expect("the index is whole");
            }
            loader.finish().map(|base| Table::from_base(Arc::new(base)))
        })
    };
    show("load, copied from memory", &passes(5, pass), "ms");
}

fn lookups(table: &Table, apps: usize) {
    let mut random = Random(7);
    let uniform: Vec<String> = (0..LOOKUPS).map(|_| host(random.below(apps))).collect();
    let zipf: Vec<String> = (0..LOOKUPS).map(|_| host(random.zipf(apps))).collect();
    let miss: Vec<String> = (0..LOOKUPS).map(|_| format!("no{}", host(random.below(apps)))).collect();
    let mut overlaid = table.clone();
    for _ in 0..10_000 {
        overlaid.upsert(record(random.below(apps), 2)).expect("the host is its own");
    }
    for (name, table) in [("", table), (", 10,000 above", &overlaid)] {
        for (kind, hosts) in [("uniform", &uniform), ("zipf", &zipf), ("miss", &miss)] {
            let pass = || per_lookup(hosts, |host| table.find_app(host).is_some());
            show(&format!("lookup {kind}{name}"), &passes(PASSES, pass), "ns");
        }
    }
}

/// Through the cache of compiled apps: hosts of so few apps that all are kept.
fn compiled(table: &Table, apps: usize) {
    let provenance = Provenance { source: Source::Live, ..Provenance::default() };
    let (_writer, reader) = live::cell(Published { table: table.clone(), provenance });
    let mut reader = reader.cached();
    let mut random = Random(11);
    let hosts: Vec<String> = (0..LOOKUPS).map(|_| host(random.below(apps.min(4_000)))).collect();
    let pass = || per_lookup(&hosts, |host| table.find_app(host).is_some());
    show("lookup of 4,000 apps", &passes(PASSES, pass), "ns");
    let mut ready = |host: &str| reader.find_app(host).is_some_and(|app| app.is_ok());
    assert!(ready(&host(0)) && ready(&host(1)), "the documents are valid");
    let pass = || per_lookup(&hosts, &mut ready);
    show("the same, compiled", &passes(PASSES, pass), "ns");
    let first = table.find_app(&host(0)).expect("there is one app");
    show("compile of an app", &passes(PASSES, || timed(|| routing_cache::wire::compile(first))), "us");
}

fn changes(table: &Table, apps: usize) {
    let mut random = Random(13);
    let mut current = table.clone();
    let pass = || {
        let records: Vec<_> = (0..1000).map(|_| record(random.below(apps), 3)).collect();
        let publish = |record| {
            let mut next = current.clone();
            next.upsert(record).expect("the host is its own");
            current = next;
        };
        timed(|| records.into_iter().for_each(publish)) / 1000.0
    };
    show("publish of one app", &passes(PASSES, pass), "us");
    let pass = || {
        let records: Vec<_> = (0..10_000).map(|_| record(random.below(apps), 4)).collect();
        let mut next = table.clone();
        timed(|| records.into_iter().for_each(|record| drop(next.upsert(record))))
    };
    show("10,000 upserts", &passes(PASSES, pass), "ms");
    let records: Vec<_> = (0..10_000).map(|number| record(number, 5)).collect();
    let pass = || timed(|| records.iter().fold(0, |sum, record| sum ^ record.get().digest().0));
    show("10,000 digests", &passes(PASSES, pass), "ms");
    let ids: Vec<_> = (0..10_000).map(|_| format!("app-{:07}", random.below(apps))).collect();
    let pass = || timed_of(table.clone(), |mut table| ids.iter().filter(|id| table.remove(id)).count());
    show("10,000 removals", &passes(PASSES, pass), "ms");
}

fn compaction(table: &Table, apps: usize) {
    let mut changed = table.clone();
    let mut random = Random(17);
    (0..10_000).for_each(|_| drop(changed.upsert(record(random.below(apps), 20))));
    let mut later = changed.clone();
    let numbers: Vec<usize> = (0..1000).map(|_| random.below(apps)).collect();
    numbers.iter().for_each(|number| drop(later.upsert(record(*number, 30))));
    let ids: Vec<AppId> = numbers.iter().filter_map(|number| AppId::new(&format!("app-{number:07}")).ok()).collect();
    show("to_base, 10,000 above", &passes(5, || timed(|| changed.to_base())), "ms");
    let base = Arc::new(changed.to_base());
    show("rebased, 1,000 above", &passes(5, || timed(|| later.rebased(Arc::clone(&base), ids.iter()))), "ms");
    show("largest 5, 10,000 above", &passes(5, || timed(|| changed.largest(5))), "us");
    show("page of 100", &passes(3, || timed(|| changed.page(None, 100))), "ms");
    let flat = Table::from_base(base);
    show("diff, same base", &passes(3, || timed(|| table::diff(table, &changed, 10))), "ms");
    show("diff, another base", &passes(3, || timed(|| table::diff(table, &flat, 10))), "ms");
}

/// In seconds. What it makes is dropped afterwards.
fn timed<T>(work: impl FnOnce() -> T) -> f64 {
    timed_of((), |()| work())
}

fn timed_of<A, T>(argument: A, work: impl FnOnce(A) -> T) -> f64 {
    let start = Instant::now();
    let made = black_box(work(argument));
    let seconds = start.elapsed().as_secs_f64();
    drop(made);
    seconds
}

fn per_lookup(hosts: &[String], mut found: impl FnMut(&str) -> bool) -> f64 {
    timed(|| hosts.iter().filter(|host| found(host)).count()) / hosts.len() as f64
}

/// So many measurements, the least first.
fn passes(count: usize, mut pass: impl FnMut() -> f64) -> Vec<f64> {
    let mut all: Vec<f64> = (0..count).map(|_| pass()).collect();
    all.sort_by(f64::total_cmp);
    all
}

fn show(what: &str, seconds: &[f64], unit: &str) {
    let scale = match unit {
        "ns" => 1e9,
        "us" => 1e6,
        _ => 1e3,
    };
    let median = seconds.get(seconds.len() / 2).copied().unwrap_or_default() * scale;
    let least = seconds.first().copied().unwrap_or_default() * scale;
    println!("{what:30} {median:9.1} {unit}  (least {least:.1})");
}

fn per(bytes: usize, apps: usize) -> f64 {
    bytes as f64 / apps.max(1) as f64
}

/// Resident memory in bytes.
fn resident() -> usize {
    let statm = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).unwrap_or_default() * PAGE
}

/// Numbers that look random and are the same in each run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, limit: usize) -> usize {
        ((u128::from(self.next()) * limit as u128) >> 64) as usize
    }

    /// By Zipf's law with exponent 1, the ranks spread over the numbers.
    fn zipf(&mut self, limit: usize) -> usize {
        let share = self.next() as f64 / u64::MAX as f64;
        let rank = (limit as f64).powf(share) as usize;
        rank.wrapping_mul(0x9e37_79b9) % limit
    }
}
