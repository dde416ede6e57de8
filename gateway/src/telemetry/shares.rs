//! Metrics that every request changes: each worker has a share of its own, and whoever reads adds them up.
//!
//! A number that all workers change goes from core to core with every request, and a histogram of the exporter keeps
//! each sample until it is read. A share is changed by one thread, which needs no more than a load and a store, and takes
//! the same memory for ever. Nothing is late: a reading takes what is there.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use metrics::{Counter, Gauge};

use super::names;

/// Upper bounds of the buckets, in microseconds, and as they are written, in seconds: those of
/// [`super::metrics`], as the exporter writes them.
const BOUNDS: [(u64, &str); 16] = [
    (500, "0.0005"),
    (1_000, "0.001"),
    (2_500, "0.0025"),
    (5_000, "0.005"),
    (10_000, "0.01"),
    (25_000, "0.025"),
    (50_000, "0.05"),
    (100_000, "0.1"),
    (250_000, "0.25"),
    (500_000, "0.5"),
    (1_000_000, "1"),
    (2_500_000, "2.5"),
    (5_000_000, "5"),
    (10_000_000, "10"),
    (30_000_000, "30"),
    (60_000_000, "60"),
];

/// One thread's share of a number. Another that changed it too would lose counts, and nothing else.
#[derive(Debug, Default)]
struct Share(AtomicU64);

impl Share {
    fn add(&self, n: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(n), Relaxed);
    }

    fn now(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// One thread's share of a counter.
#[derive(Debug)]
pub struct CounterShare(Arc<Share>);

impl CounterShare {
    /// A share of `counter`, which nobody else may set.
    #[must_use]
    pub fn of(counter: Counter) -> Self {
        let share = Arc::<Share>::default();
        registry().counters.push(Told { whole: counter, share: Arc::clone(&share), told: 0 });
        Self(share)
    }

    /// Counts `n` more.
    pub fn increment(&self, n: u64) {
        self.0.add(n);
    }
}

/// One thread's share of a gauge that counts what there is.
#[derive(Debug)]
pub struct GaugeShare(Arc<Share>);

impl GaugeShare {
    /// A share of `gauge`, which nobody else may set.
    #[must_use]
    pub fn of(gauge: Gauge) -> Self {
        let share = Arc::<Share>::default();
        registry().gauges.push(Told { whole: gauge, share: Arc::clone(&share), told: 0 });
        Self(share)
    }

    /// One more.
    pub fn increment(&self) {
        self.0.add(1);
    }

    /// One less.
    pub fn decrement(&self) {
        self.0.add(u64::MAX);
    }
}

/// One thread's share of a histogram of durations.
#[derive(Debug)]
pub struct DurationShare(Arc<Durations>);

#[derive(Debug, Default)]
struct Durations {
    buckets: [Share; BOUNDS.len()],
    beyond: Share,
    nanos: Share,
}

impl DurationShare {
    /// A share of the histogram called `name`.
    #[must_use]
    pub fn of(name: &'static str) -> Self {
        let share = Arc::<Durations>::default();
        registry().histograms.entry(name).or_default().shares.push(Arc::clone(&share));
        Self(share)
    }

    /// Counts one that took so long.
    pub fn record(&self, took: Duration) {
        // Rounded up: a bucket holds what is no longer than its bound.
        let micros =
            took.as_secs().saturating_mul(1_000_000).saturating_add(u64::from(took.subsec_nanos().div_ceil(1000)));
        let place = BOUNDS.iter().zip(&self.0.buckets).find(|((bound, _), _)| micros <= *bound);
        place.map_or(&self.0.beyond, |(_, bucket)| bucket).add(1);
        self.0.nanos.add(took.as_secs().saturating_mul(1_000_000_000).saturating_add(u64::from(took.subsec_nanos())));
    }
}

/// A share, and how much of it the whole has been told.
#[derive(Debug)]
struct Told<W> {
    whole: W,
    share: Arc<Share>,
    told: u64,
}

impl<W> Told<W> {
    /// What is new. Wraps where it has shrunk.
    fn news(&mut self) -> u64 {
        let now = self.share.now();
        now.wrapping_sub(std::mem::replace(&mut self.told, now))
    }

    /// Somebody may still change it.
    fn lives(&self) -> bool {
        Arc::strong_count(&self.share) > 1
    }
}

/// What a histogram's shares hold.
#[derive(Clone, Copy, Debug, Default)]
struct Totals {
    buckets: [u64; BOUNDS.len()],
    beyond: u64,
    nanos: u64,
}

impl Totals {
    fn add(&mut self, share: &Durations) {
        for (total, bucket) in self.buckets.iter_mut().zip(&share.buckets) {
            *total += bucket.now();
        }
        self.beyond += share.beyond.now();
        self.nanos = self.nanos.wrapping_add(share.nanos.now());
    }
}

#[derive(Debug, Default)]
struct Histogram {
    shares: Vec<Arc<Durations>>,
    /// What the shares held that are gone.
    ended: Totals,
}

impl Histogram {
    fn totals(&mut self) -> Totals {
        let ended = &mut self.ended;
        self.shares.retain(|share| {
            let lives = Arc::strong_count(share) > 1;
            if !lives {
                ended.add(share);
            }
            lives
        });
        self.shares.iter().fold(*ended, |mut totals, share| {
            totals.add(share);
            totals
        })
    }
}

#[derive(Debug, Default)]
struct Registry {
    counters: Vec<Told<Counter>>,
    gauges: Vec<Told<Gauge>>,
    histograms: BTreeMap<&'static str, Histogram>,
}

fn registry() -> MutexGuard<'static, Registry> {
    static REGISTRY: Mutex<Registry> =
        Mutex::new(Registry { counters: Vec::new(), gauges: Vec::new(), histograms: BTreeMap::new() });
    REGISTRY.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Tells the counters and gauges what is new in their shares. A share that nobody has any more is told a last time.
pub(super) fn tell() {
    let mut registry = registry();
    registry.counters.retain_mut(|told| {
        let lives = told.lives();
        let news = told.news();
        told.whole.increment(news);
        lives
    });
    registry.gauges.retain_mut(|told| {
        let lives = told.lives();
        let news = told.news().cast_signed();
        told.whole.increment(news as f64);
        lives
    });
}

/// Writes the histograms, as the exporter writes its own.
pub(super) fn write(text: &mut String) {
    for (name, histogram) in &mut registry().histograms {
        // ignored: a text takes every text.
        let _ = write_histogram(text, name, &histogram.totals());
    }
}

fn write_histogram(text: &mut String, name: &str, totals: &Totals) -> std::fmt::Result {
    if let Some(metric) = names::ALL.iter().find(|metric| metric.name == name) {
        writeln!(text, "# HELP {name} {}", metric.help)?;
    }
    writeln!(text, "# TYPE {name} histogram")?;
    let mut count = 0;
    for ((_, bound), bucket) in BOUNDS.iter().zip(&totals.buckets) {
        count += bucket;
        writeln!(text, "{name}_bucket{{le=\"{bound}\"}} {count}")?;
    }
    count += totals.beyond;
    writeln!(text, "{name}_bucket{{le=\"+Inf\"}} {count}")?;
    writeln!(text, "{name}_sum {}", Duration::from_nanos(totals.nanos).as_secs_f64())?;
    writeln!(text, "{name}_count {count}\n")
}

#[cfg(test)]
mod tests;
