//! Snapshots, deltas, single updates: what changes the table.

use std::{
    fs::File,
    io::Write,
    sync::{Arc, LazyLock, mpsc},
    thread,
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;
use routing_cache::{
    gate::{GateConfig, Observation},
    limits::Limits,
    live::{Published, Reader, cell},
    model::{Generation, Now, WallTime},
    store::{Compacted, PoisonRules},
    updater::{GuardConfig, Outcome, Updater, UpdaterConfig},
    wire::{Changes, SnapshotCandidate, SnapshotDecoder, parse_changes},
};

use crate::{
    Setting,
    apps::{Apps, Chance, changes, host, record},
    measure::{Times, Took, bytes_in, cpu, cpu_here, mib, peak, reset_peak, rss, start, timed},
    reading::booted,
};

/// The generation of the first snapshot; its apps have rev 1 and version 0.
const FIRST: u64 = 1000;
/// Updates of one app that are measured one by one.
const SINGLE: usize = 2000;
/// Apps in the delta.
const DELTA: usize = 10_000;
/// One-app updates a second in the stream.
const RATE: u64 = 1000;
/// Table requests a second that a gateway makes at most; what came meanwhile is in one answer.
const ANSWERS: u64 = 5;

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// This moment.
pub(crate) fn now() -> Now {
    let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    Now { monotonic: START.elapsed(), wall: WallTime(u64::try_from(wall.as_millis()).unwrap()) }
}

/// The defaults, but for a gate that opens at the first answer and no poison.
pub(crate) fn config() -> UpdaterConfig {
    let gate = GateConfig { stable_for: Duration::ZERO, lost_after: Duration::from_secs(3600), readiness_url: false };
    let guard =
        GuardConfig { max_shrink_percent: 20.0, max_shrink_apps: 50, max_invalid_percent: 1.0, max_invalid_apps: 20 };
    let poison = PoisonRules { crashes: 0, within: Duration::from_secs(10) };
    UpdaterConfig { gate, guard, limits: Limits::default(), poison }
}

fn decoded(apps: Apps, generation: u64, rev: u64, version: u64) -> (SnapshotCandidate, Took) {
    let (mut decoder, mut time) = (SnapshotDecoder::new(Limits::default()), Took::default());
    apps.snapshot(generation, rev, version, |part| {
        let (result, took) = timed(|| decoder.push(part));
        result.unwrap();
        time = time + took;
    });
    let (candidate, took) = timed(|| decoder.finish().unwrap());
    (candidate, time + took)
}

fn published(outcome: &Outcome) {
    let saved = matches!(outcome, Outcome::Published(summary) if summary.saved);
    assert!(saved, "{outcome:?}");
}

/// Takes a whole table, all of whose apps are new to what is served, and says what it cost.
fn take(name: &str, updater: &mut Updater, (apps, generation, rev, version): (Apps, u64, u64, u64)) {
    updater.observe(Observation::Ready, now());
    reset_peak();
    let (candidate, decode) = decoded(apps, generation, rev, version);
    let (after_decode, bytes) = (peak(), candidate.bytes);
    let (outcome, offer) = timed(|| updater.offer_snapshot(candidate, now()));
    published(&outcome);
    updater.tick(now());
    let (most, steady) = (peak(), rss());
    println!(
        "{name}: {:.1} MiB of NDJSON: {}: decode, validate, digest {decode}; judge, save, publish {offer}",
        mib(bytes),
        decode + offer
    );
    println!(
        "{name}: peak {:.1} MiB ({:.1} while it is decoded), {:.1} MiB resident after it",
        mib(most),
        mib(after_decode),
        mib(steady)
    );
}

/// Of an empty gateway.
pub(crate) fn first_snapshot(setting: &Setting) {
    let (mut updater, _reader, _) = Updater::boot(config(), &setting.folder, now()).unwrap();
    take("first snapshot", &mut updater, (setting.apps, FIRST, 1, 0));
    println!("first snapshot: {:.1} MiB on disk", mib(bytes_in(&setting.folder)));
}

/// Of a gateway that serves as many apps already, each of which has changed.
pub(crate) fn second_snapshot(setting: &Setting) {
    let (mut updater, reader) = booted(&setting.folder);
    let generation = reader.load().provenance.generation.0 + 1;
    println!("second snapshot: {:.1} MiB resident before it", mib(rss()));
    take("second snapshot", &mut updater, (setting.apps, generation, generation, 7));
}

/// One app into a table of all and into the cell, without the disk.
pub(crate) fn publish(setting: &Setting) {
    let (_updater, reader) = booted(&setting.folder);
    let first = reader.load();
    let (table, provenance) = (first.table.clone(), first.provenance.clone());
    let (mut writer, reader) = cell(Published { table, provenance });
    let (mut times, mut chance) = (Times::default(), Chance(2));
    for version in 0..20_000 {
        let record = record(chance.below(setting.apps.0), FIRST + version, version);
        let start = start();
        let served = reader.load();
        let mut table = served.table.clone();
        table.upsert(record).unwrap();
        let provenance = served.provenance.clone();
        let old = writer.publish(Arc::new(Published { table, provenance }));
        drop((served, old));
        times.add(Took::since(start));
    }
    println!("publish: one app, without durability: {times}");
}

/// The next changes answer, with these apps in it, for who serves all that came before.
fn answer(updater: &Updater, reader: &Reader, numbers: &[u64]) -> Bytes {
    let Generation(generation) = updater.position().unwrap().generation;
    changes(&reader.load().table, numbers, generation + 1).into()
}

/// Decodes an answer and has it judged, saved and published.
fn offer(updater: &mut Updater, body: Bytes) -> (Took, Took) {
    let (changes, decode) = timed(|| Changes::from_page(parse_changes(body, &Limits::default()).unwrap()));
    let (outcome, offer) = timed(|| updater.offer_changes(changes, now()));
    published(&outcome);
    updater.drop_retired();
    (decode, offer)
}

/// One app, durable, one after the other; and what the disk alone takes.
pub(crate) fn one_durable(setting: &Setting) {
    let (mut updater, reader) = booted(&setting.folder);
    updater.observe(Observation::Ready, now());
    let mut times = Times::default();
    for n in 0..SINGLE as u64 {
        let body = answer(&updater, &reader, &[n]);
        let (decode, offer) = offer(&mut updater, body);
        times.add(decode + offer);
        updater.tick(now());
    }
    println!("one app: decode to publish, durable: {times}");
    let path = setting.folder.with_file_name("fdatasync");
    let (mut file, mut times) = (File::create(&path).unwrap(), Times::default());
    for _ in 0..SINGLE {
        let ((), time) = timed(|| {
            file.write_all(&[b'x'; 256]).unwrap();
            file.sync_data().unwrap();
        });
        times.add(time);
    }
    println!("one app: an append of 256 bytes with fdatasync alone: {times}");
    std::fs::remove_file(path).unwrap();
}

/// Ten thousand apps in one answer.
pub(crate) fn delta(setting: &Setting) {
    let (mut updater, reader) = booted(&setting.folder);
    updater.observe(Observation::Ready, now());
    settle(&updater);
    let (mut whole, mut decoding) = (Times::default(), Times::default());
    let size = (DELTA as u64).min(setting.apps.0 / 20);
    for round in 0..7 {
        let first = round * size;
        let numbers: Vec<u64> = (first..first + size).collect();
        let body = answer(&updater, &reader, &numbers);
        let (decode, offer) = offer(&mut updater, body);
        assert!(reader.cached().find_app(&host(first)).unwrap().is_ok());
        whole.add(decode + offer);
        decoding.add(decode);
        compact(&mut updater);
    }
    println!("delta of {size} apps: decode to publish, durable: {whole}");
    println!("delta of {size} apps: its decoding alone: {decoding}");
}

/// Runs a compaction that is due, here and now.
fn compact(updater: &mut Updater) {
    if let Some(compaction) = updater.compaction() {
        let (compacted, time) = timed(|| compaction.run());
        let ((), finish) = timed(|| updater.compacted(compacted, now()));
        println!("compaction: {time} beside, {finish} on the updater's thread");
        settle(updater);
    }
}

/// As the gateway does after a new base, on a thread beside.
fn settle(updater: &Updater) {
    // ignored: without huge pages it is slower.
    let _ = updater.base().lay_on_huge_pages();
}

/// A steady stream of one-app updates, first each by itself, then gathered as they are between two answers.
pub(crate) fn stream(setting: &Setting) {
    streamed(setting, RATE);
    streamed(setting, ANSWERS);
}

#[expect(clippy::cast_precision_loss, reason = "for people")]
fn streamed(setting: &Setting, answers: u64) {
    let (mut updater, reader) = booted(&setting.folder);
    let (sender, done) = mpsc::sync_channel::<Compacted>(1);
    let (group, period) = (RATE / answers, Duration::from_secs(1) / u32::try_from(answers).unwrap());
    let (mut times, mut making, mut most_bytes, mut compactions) = (Times::default(), Duration::ZERO, 0, 0);
    let (start, cpu_before) = (Instant::now(), cpu());
    for turn in 0..answers * setting.seconds {
        let numbers: Vec<u64> = (0..group).map(|k| (turn * group + k) * 7919 % setting.apps.0).collect();
        let before = cpu_here();
        let body = answer(&updater, &reader, &numbers);
        making += cpu_here() - before;
        updater.observe(Observation::Ready, now());
        let (decode, offer) = offer(&mut updater, body);
        times.add(decode + offer);
        if let Some(compaction) = updater.compaction() {
            let sender = sender.clone();
            compactions += 1;
            thread::spawn(move || sender.send(compaction.run()).unwrap());
        }
        if let Ok(compacted) = done.try_recv() {
            updater.compacted(compacted, now());
        }
        updater.tick(now());
        if turn % (answers / 5).max(1) == 0 {
            most_bytes = most_bytes.max(bytes_in(&setting.folder));
        }
        thread::sleep((period * u32::try_from(turn + 1).unwrap()).saturating_sub(start.elapsed()));
    }
    let (elapsed, used) = (start.elapsed(), (cpu() - cpu_before).saturating_sub(making));
    // Of the time that the stream stands for: a disk that is too slow for it makes it last longer, not cheaper.
    let share = used.as_secs_f64() / setting.seconds as f64 * 100.0;
    println!(
        "stream: {RATE} apps/s in {answers} updates/s, durable, {elapsed:.1?}: {share:.1} % of a core, {compactions} \
         compactions, at most {:.1} MiB on disk; one update: {times}",
        mib(most_bytes)
    );
    drop((updater, done));
}
