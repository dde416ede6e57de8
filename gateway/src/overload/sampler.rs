//! The thread that reads and judges, a few times a second.

use std::{
    fmt, io,
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread::JoinHandle,
    time::Duration,
};

use arc_swap::ArcSwap;
use metrics::{Gauge, gauge};

use super::{
    Overload, connection_bytes,
    levels::{Level, Levels, Readings, Reason, Share, Standing, Thresholds},
    meter::Meter,
};
use crate::{clock, config::Config, telemetry::names};

/// From one reading to the next. A reading takes less than 0.2 ms (/proc/PID/task/TID/schedstat, without optimisation).
const CALM: Duration = Duration::from_millis(250);
/// The same while memory is near a level: in this time two cores that do nothing else fill a few megabytes of
/// buffers (tests/process/overload.rs: with level hard at 72 of 80 MiB the peak was 73).
const TENSE: Duration = Duration::from_millis(20);
/// So many percent below level soft is near.
const NEAR: u32 = 40;

/// What the sampler asks others for.
pub struct Sources {
    /// Thresholds and limits; a reload replaces it.
    pub config: Arc<ArcSwap<Config>>,
    /// Counts the open connections of clients.
    pub connections: Box<dyn Fn() -> u64 + Send>,
}

impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sources").finish_non_exhaustive()
    }
}

/// The running thread; dropped, it ends.
#[derive(Debug)]
pub struct Sampler {
    stop: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Sampler {
    /// Starts it; `overload` is told of what it finds.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start(overload: Overload, sources: Sources) -> io::Result<Self> {
        let (stop, stopped) = sync_channel(1);
        let run = Run {
            meter: Meter::open(),
            levels: Levels::default(),
            level: gauge!(names::OVERLOAD_LEVEL),
            overload,
            sources,
        };
        let thread = std::thread::Builder::new().name("overload".to_owned()).spawn(move || run.until(&stopped))?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // ignored: a panic there has been reported by the panic hook.
            let _ = thread.join();
        }
    }
}

struct Run {
    meter: Meter,
    levels: Levels,
    level: Gauge,
    overload: Overload,
    sources: Sources,
}

impl Run {
    fn until(mut self, stopped: &Receiver<()>) {
        loop {
            let pause = self.sample();
            if !matches!(stopped.recv_timeout(pause), Err(RecvTimeoutError::Timeout)) {
                return;
            }
        }
    }

    /// Reads and judges once; says when to do it again.
    fn sample(&mut self) -> Duration {
        let config = self.sources.config.load();
        let places = config.limits.max_connections as u64;
        let connections = Share { used: (self.sources.connections)(), of: places };
        let readings = Readings { connections, ..self.meter.read() };
        let thresholds = Thresholds {
            soft: config.overload.soft_percent,
            hard: config.overload.hard_percent,
            connection_bytes: connection_bytes(&config.limits),
        };
        let judged = self.levels.step(clock::now().monotonic, &readings, thresholds);
        let standing = if config.overload.enabled { judged } else { Standing::default() };
        drop(config);
        self.overload.bound(fitting(standing, &readings, thresholds));
        self.tell(standing, &readings);
        self.overload.note(readings);
        if readings.memory.reaches(thresholds.soft.saturating_sub(NEAR)) { TENSE } else { CALM }
    }

    /// In the log only where something has changed.
    fn tell(&self, standing: Standing, readings: &Readings) {
        let before = self.overload.standing();
        self.overload.set(standing);
        self.level.set(f64::from(standing.level as u8));
        if standing == before {
            return;
        }
        let (Share { used, of }, level, reason) = (readings.memory, standing.level.as_str(), standing.reason.as_str());
        match standing.level {
            Level::None => tracing::info!(memory_bytes = used, of, "no longer short of anything"),
            Level::Soft => {
                tracing::warn!(level, reason, memory_bytes = used, of, "idle connections and caches are given up")
            }
            Level::Hard => tracing::error!(level, reason, memory_bytes = used, of, "load is shed"),
        }
    }
}

/// See [`Overload::places`].
fn fitting(standing: Standing, readings: &Readings, thresholds: Thresholds) -> Option<usize> {
    let Share { used, of } = readings.memory;
    let is_short = standing.level != Level::None && standing.reason == Reason::Memory;
    let room = (of / 100 * u64::from(thresholds.hard)).saturating_sub(used) / thresholds.connection_bytes.max(1);
    let places = readings.connections.used.saturating_add(room);
    (is_short && of > 0).then(|| usize::try_from(places).unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn while_memory_is_short_there_are_places_for_as_many_more_as_fit_below_hard() {
        let thresholds = Thresholds { soft: 80, hard: 90, connection_bytes: 100 };
        let memory = Share { used: 8_500, of: 10_000 };
        let readings = Readings { memory, connections: Share { used: 7, of: 1000 }, ..Readings::default() };
        let bound = |level, reason, readings| fitting(Standing { level, reason }, &readings, thresholds);
        assert_eq!(bound(Level::Soft, Reason::Memory, readings), Some(7 + 5));
        let full = Readings { memory: Share { used: 9_500, ..memory }, ..readings };
        assert_eq!(bound(Level::Hard, Reason::Memory, full), Some(7));
        assert_eq!(bound(Level::None, Reason::Memory, readings), None);
        assert_eq!(bound(Level::Soft, Reason::Descriptors, readings), None);
    }

    fn config(more: &str) -> Arc<ArcSwap<Config>> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("h.toml");
        let text = format!(
            "state_dir = \"/nowhere\"\n[[listener]]\nname = \"web\"\naddress = \"127.0.0.1:0\"\n[orchestrator]\nkind = \
             \"file\"\npath = \"/nowhere\"\n{more}"
        );
        std::fs::write(&file, text).unwrap();
        Arc::new(ArcSwap::from_pointee(Config::load(Some(&file), std::iter::empty()).unwrap().config))
    }

    fn standing(connections: u64, more: &str) -> Standing {
        let overload = Overload::default();
        let sources = Sources { config: config(more), connections: Box::new(move || connections) };
        let _sampler = Sampler::start(overload.clone(), sources).unwrap();
        let end = std::time::Instant::now() + Duration::from_secs(10);
        while overload.readings().connections.of == 0 {
            assert!(std::time::Instant::now() < end, "nothing was read");
            std::thread::yield_now();
        }
        overload.standing()
    }

    #[test]
    fn what_is_read_is_judged_by_the_configuration() {
        let limits = "[limits]\nmax_connections = 100\n";
        assert_eq!(standing(10, limits).level, Level::None);
        assert_eq!(standing(96, limits), Standing { level: Level::Soft, reason: Reason::Connections });
        assert_eq!(standing(96, &format!("{limits}[overload]\nenabled = false\n")).level, Level::None);
    }
}
