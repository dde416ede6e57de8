//! Time, memory and processor time, as the system counts them.

use std::{
    fs,
    hint::black_box,
    path::Path,
    time::{Duration, Instant},
};

/// What `deed` yields, and how long it took.
pub(crate) fn timed<T>(deed: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    let value = black_box(deed());
    (value, start.elapsed())
}

/// Durations, and what is said of them.
#[derive(Default)]
pub(crate) struct Times(Vec<Duration>);

impl Times {
    pub(crate) fn add(&mut self, time: Duration) {
        self.0.push(time);
    }

    /// The one that this share of them is not above.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an index"
    )]
    pub(crate) fn at(&self, share: f64) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let last = sorted.len().saturating_sub(1);
        sorted.get((last as f64 * share).round() as usize).copied().unwrap_or_default()
    }

    pub(crate) fn said(&self) -> String {
        let (median, least, most) = (self.at(0.5), self.at(0.0), self.at(1.0));
        format!(
            "median {median:.3?}, least {least:.3?}, p99 {:.3?}, most {most:.3?} of {}",
            self.at(0.99),
            self.0.len()
        )
    }
}

/// A line of /proc/self/status, in bytes.
fn status(name: &str) -> u64 {
    let text = fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kilobytes.unwrap_or_default() * 1024
}

/// Resident now, in bytes.
pub(crate) fn rss() -> u64 {
    status("VmRSS")
}

/// The most that was resident since [`reset_peak`], in bytes.
pub(crate) fn peak() -> u64 {
    status("VmHWM")
}

/// From now on the peak is counted anew (proc(5), clear_refs: 5).
pub(crate) fn reset_peak() {
    fs::write("/proc/self/clear_refs", "5").unwrap();
}

/// Processor time of all threads so far.
pub(crate) fn cpu() -> Duration {
    let text = fs::read_to_string("/proc/self/stat").unwrap();
    let fields = text.rsplit_once(')').unwrap().1;
    let ticks: u64 = fields.split_whitespace().skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap()).sum();
    // USER_HZ is 100 on every architecture that Linux has kept (time(7)).
    Duration::from_millis(ticks * 10)
}

/// Processor time of this thread so far (proc(5), schedstat: its first number).
pub(crate) fn cpu_here() -> Duration {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(text.split_whitespace().next().unwrap().parse().unwrap())
}

/// The size of the files in `folder`.
pub(crate) fn bytes_in(folder: &Path) -> u64 {
    let files = fs::read_dir(folder).unwrap().flatten();
    files.filter_map(|file| file.metadata().ok()).map(|file| file.len()).sum()
}

#[expect(clippy::cast_precision_loss, reason = "for people")]
pub(crate) fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
