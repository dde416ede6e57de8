//! Time, memory and processor time, as the system counts them.

use std::{
    fmt, fs,
    hint::black_box,
    ops::Add,
    path::Path,
    time::{Duration, Instant},
};

use rustix::time::{ClockId, clock_gettime};

/// How long something took on the clock, and of this thread's processor time: on a busy machine they differ.
#[derive(Clone, Copy, Default)]
pub(crate) struct Took {
    wall: Duration,
    cpu: Duration,
}

impl Took {
    /// What it took since `start`.
    pub(crate) fn since((wall, cpu): (Instant, Duration)) -> Self {
        Self { wall: wall.elapsed(), cpu: cpu_here() - cpu }
    }
}

impl Add for Took {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { wall: self.wall + other.wall, cpu: self.cpu + other.cpu }
    }
}

impl fmt::Display for Took {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3?} (cpu {:.3?})", self.wall, self.cpu)
    }
}

/// This moment, for [`Took::since`].
pub(crate) fn start() -> (Instant, Duration) {
    (Instant::now(), cpu_here())
}

/// What `deed` yields, and what it took.
pub(crate) fn timed<T>(deed: impl FnOnce() -> T) -> (T, Took) {
    let start = start();
    let value = black_box(deed());
    (value, Took::since(start))
}

/// What the same deed took each time.
#[derive(Default)]
pub(crate) struct Times {
    wall: Vec<Duration>,
    cpu: Vec<Duration>,
}

impl Times {
    pub(crate) fn add(&mut self, took: Took) {
        self.wall.push(took.wall);
        self.cpu.push(took.cpu);
    }

    /// Divided by this: where each time was for so many.
    pub(crate) fn each(&self, count: usize) -> String {
        let nanoseconds = |of: &[Duration], at: f64| share(of, at).as_nanos() / count as u128;
        let (median, least) = (nanoseconds(&self.wall, 0.5), nanoseconds(&self.wall, 0.0));
        format!("median {median} ns, least {least} ns; cpu: least {} ns", nanoseconds(&self.cpu, 0.0))
    }
}

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [least, median, high, most] = [0.0, 0.5, 0.99, 1.0].map(|at| share(&self.wall, at));
        write!(f, "median {median:.3?}, least {least:.3?}, p99 {high:.3?}, most {most:.3?} of {}", self.wall.len())?;
        write!(f, "; cpu: median {:.3?}, least {:.3?}", share(&self.cpu, 0.5), share(&self.cpu, 0.0))
    }
}

/// The time that this share of them is not above.
#[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index")]
fn share(times: &[Duration], at: f64) -> Duration {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    let last = sorted.len().saturating_sub(1);
    sorted.get((last as f64 * at).round() as usize).copied().unwrap_or_default()
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

/// Processor time of this thread so far.
pub(crate) fn cpu_here() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap())
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
