//! Boot, lookup, export, verify: what only reads.

use std::{hint::black_box, path::Path, sync::Arc, time::Instant};

use routing_cache::{
    disk::RealDisk,
    live::{CachedReader, Reader},
    store,
    table::Walk,
    updater::Updater,
    wire::encode,
};

use crate::{
    Setting,
    apps::{Chance, epoch, host},
    measure::{Times, Took, bytes_in, mib, peak, reset_peak, rss, start, timed},
    updating::{config, now},
};

/// Hosts asked for in one round.
const ASKED: usize = 1 << 20;

/// A booted updater and its reader.
pub(crate) fn booted(folder: &Path) -> (Updater, Reader) {
    let (updater, reader, report) = Updater::boot(config(), folder, now()).unwrap();
    assert!(report.damaged.is_empty() && report.restored.is_some(), "{report:?}");
    (updater, reader)
}

/// From the state folder to the first answer, and the memory it takes.
pub(crate) fn boot(setting: &Setting) {
    let (mut times, mut first) = (Times::default(), 0);
    let (before, wanted) = (rss(), host(setting.apps.0 / 2));
    for round in 0..9 {
        let (kept, time) = timed(|| {
            let (updater, reader) = booted(&setting.folder);
            assert!(reader.cached().find_app(&wanted).unwrap().is_ok());
            (updater, reader)
        });
        if round == 0 {
            first = rss() - before;
        }
        times.add(time);
        drop(kept);
    }
    let size = mib(bytes_in(&setting.folder));
    println!("boot: state folder ({size:.1} MiB) to first lookup: {times}");
    println!(
        "boot: resident {:.1} MiB above {:.1}, {} B for each app",
        mib(first),
        mib(before),
        first / setting.apps.0
    );
}

fn nanoseconds(name: &str, hosts: &[String], mut look: impl FnMut(&str) -> bool) {
    let mut times = Times::default();
    for _ in 0..5 {
        let ((), time) = timed(|| {
            for host in hosts {
                black_box(look(black_box(host)));
            }
        });
        times.add(time);
    }
    println!("lookup: {name}: {}", times.each(hosts.len()));
}

/// Lookup by host: the record alone, and compiled for routing.
pub(crate) fn lookup(setting: &Setting) {
    let (_updater, reader) = booted(&setting.folder);
    // As the gateway does, on a thread of its own.
    let (laid, time) = timed(|| reader.load().table.base().lay_on_huge_pages());
    println!("lookup: laid on huge pages in {time}: {laid:?}");
    let (count, mut chance) = (setting.apps.0, Chance(1));
    let uniform: Vec<_> = (0..ASKED).map(|_| host(chance.below(count))).collect();
    let zipf: Vec<_> = (0..ASKED).map(|_| host(chance.zipf(count))).collect();
    let missing: Vec<_> = (0..ASKED).map(|_| format!("nobody-{}.example.com", chance.below(count))).collect();
    let record = |reader: &mut CachedReader, host: &str| reader.load().table.find_app(host).is_some();
    let compiled = |reader: &mut CachedReader, host: &str| reader.find_app(host).is_some();
    let mut reader = reader.cached();
    for (name, hosts) in [("uniform", &uniform), ("zipf", &zipf), ("miss", &missing)] {
        nanoseconds(&format!("{name}, record"), hosts, |host| record(&mut reader, host));
        let before = rss();
        nanoseconds(&format!("{name}, compiled"), hosts, |host| compiled(&mut reader, host));
        println!("lookup: {name}: compiled apps take {:.1} MiB", mib(rss().saturating_sub(before)));
    }
}

/// The whole table as a snapshot's body, bit by bit.
pub(crate) fn export(setting: &Setting) {
    let (_updater, reader) = booted(&setting.folder);
    let published = reader.load();
    reset_peak();
    let (before, clock, start) = (rss(), Instant::now(), start());
    let (mut bytes, mut from) = (0_u64, Some(Walk::default()));
    black_box(encode::snapshot_begin(&epoch(), published.provenance.generation, true, published.table.len() as u64));
    while let Some(walk) = from {
        let (records, next) = published.table.walk(walk, 256 << 10);
        let mut part = Vec::with_capacity(320 << 10);
        for record in records {
            encode::snapshot_app(&mut part, record.id(), record.rev(), record.document());
        }
        bytes += black_box(part).len() as u64;
        from = next;
    }
    let rate = mib(bytes) / clock.elapsed().as_secs_f64();
    let time = Took::since(start);
    let more = mib(peak().saturating_sub(before));
    println!("export: {:.1} MiB in {time}, {rate:.0} MiB/s, {more:.2} MiB more at its peak", mib(bytes));
}

/// `holdgate state verify`.
pub(crate) fn verify(setting: &Setting) {
    let disk = Arc::new(RealDisk);
    reset_peak();
    let before = rss();
    let (inspection, time) = timed(|| store::inspect(disk.as_ref(), &setting.folder, store::PoisonRules::default()));
    let more = mib(peak().saturating_sub(before));
    assert!(inspection.damaged.is_empty(), "{:?}", inspection.damaged);
    let (files, size) = (inspection.files.len(), mib(bytes_in(&setting.folder)));
    println!("verify: {files} files, {size:.1} MiB, in {time}, {more:.2} MiB more at its peak");
}
