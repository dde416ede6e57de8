//! What it costs to read a snapshot and to compile an app: prints nanoseconds for each app.
//!
//! `cargo bench -p routing-cache --bench wire -- [APPS]` (1,000,000 when not given). One core; the body is in memory, and
//! comes in pieces of 64 KiB, as from a socket. What is measured is the time on a CPU (Linux only), so that a busy machine
//! disturbs it less.

use std::{hint::black_box, time::Duration};

use routing_cache::{
    limits::Limits,
    model::{Digest, Epoch, Generation, Rev, app_digest},
    wire::{Batch, SnapshotDecoder, compile, encode},
};

/// As from a socket.
const PIECE: usize = 64 << 10;

fn main() {
    let apps = std::env::args().skip(1).find_map(|word| word.parse().ok()).unwrap_or(1_000_000);
    let simple = |n: u64| {
        let (high, low) = (n >> 8 & 0xff, n & 0xff);
        format!(
            r#"{{"hosts":["app-{n}.example.com"],"endpoints":["10.0.{high}.{low}:8080","10.1.{high}.{low}:8080"]}}"#
        )
    };
    let spaced = |n: u64| simple(n).replace(':', ": ").replace("8080", "80").replace(": 80", ":80");
    let long = |n: u64| {
        format!(
            r#"{{"hosts":["app-{n}.example.com"],"routes":[{{"to":"web"}}],"upstreams":{{"web":{{"endpoints":["10.0.0.1:80"]}}}}}}"#
        )
    };
    measure("simple", apps, simple);
    measure("simple, spaced", apps / 4, spaced);
    measure("long form", apps / 4, long);
}

fn measure(what: &str, apps: u64, document: impl Fn(u64) -> String) {
    let body = body(apps, document);
    let start = on_cpu();
    let batch = decode(&body);
    let whole = on_cpu().saturating_sub(start);
    assert_eq!((batch.valid() as u64, batch.invalid().len()), (apps, 0));
    let start = on_cpu();
    for record in batch.records() {
        drop(black_box(compile(record)));
    }
    let compiled = on_cpu().saturating_sub(start);
    let (each, records) = (|time: Duration| time.as_nanos() / u128::from(apps.max(1)), batch.into_records());
    println!(
        "{what}: {apps} apps, {} MB: decode {} ms, {} ns an app; compile {} ns an app; {} bytes of record an app",
        body.len() / 1_000_000,
        whole.as_millis(),
        each(whole),
        each(compiled),
        records.len() as u64 / apps.max(1),
    );
}

/// How long this thread has been on a CPU. Source: proc(5), schedstat.
fn on_cpu() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux with schedstat");
    let nanoseconds = text.split_whitespace().next().and_then(|word| word.parse().ok());
    Duration::from_nanos(nanoseconds.expect("a number first"))
}

fn decode(body: &[u8]) -> Batch {
    let mut decoder = SnapshotDecoder::new(Limits::default());
    for piece in body.chunks(PIECE) {
        decoder.push(piece).expect("a piece of a good body");
    }
    decoder.finish().expect("a good body").apps
}

fn body(apps: u64, document: impl Fn(u64) -> String) -> Vec<u8> {
    let epoch = Epoch::new("bench").expect("an epoch");
    let mut out = encode::snapshot_begin(&epoch, Generation(1), true, apps);
    let mut digest = Digest::default();
    for n in 0..apps {
        let (id, document) = (format!("app-{n}"), document(n));
        digest = digest.plus(app_digest(&id, Rev(n), document.as_bytes()));
        encode::snapshot_app(&mut out, &id, Rev(n), document.as_bytes());
    }
    out.extend(encode::snapshot_end(apps, digest));
    out
}
