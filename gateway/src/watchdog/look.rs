//! The thread: it looks, judges, feeds, and in the end aborts.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use metrics::{Counter, Gauge, counter, gauge};

use super::{
    Watched, Watching,
    judge::{Doubt, Judge, Probed, Sight, Subject, Verdict, Why},
    last_words, millis,
    pace::FURTHER,
};
use crate::{clock, probe::ProbeError, telemetry::names};

/// The admin thread ticks every second; for longer than this it waits for nothing.
const ADMIN_HUNG_AFTER: Duration = Duration::from_secs(10);
/// A look that comes so much later than any can: not this thread was slow, the process stood still.
const LATE: Duration = Duration::from_secs(1);

/// What the thread has.
pub(super) struct Watch {
    watching: Watching,
    watched: Watched,
    judge: Judge,
    counts: Counts,
    /// Room for what is seen, so that looking takes no memory.
    workers: Vec<Option<Duration>>,
    listeners: Vec<(Duration, Probed)>,
    looked: Duration,
    fed: Option<Instant>,
    bad_since: Option<Instant>,
}

/// Handles that are held, so that counting waits for nobody.
struct Counts {
    seconds: Vec<Gauge>,
    /// In the order of [`names::WATCHDOG_REASONS`].
    failures: [Counter; 7],
    hanging: Gauge,
}

impl Watch {
    pub(super) fn new(watching: Watching, watched: Watched) -> Self {
        let seconds = |name: &String| gauge!(names::WATCHDOG_PROBE, names::LISTENER => name.clone());
        let counts = Counts {
            seconds: watched.0.listeners.iter().map(seconds).collect(),
            failures: names::WATCHDOG_REASONS.map(|reason| counter!(names::WATCHDOG_FAILURES, names::REASON => reason)),
            hanging: gauge!(names::WATCHDOG_HANGING),
        };
        let (workers, listeners) = (watching.workers.len(), watching.listeners.len());
        let now = clock::now().monotonic;
        Self {
            judge: Judge::new(watched.0.pace, listeners, now),
            counts,
            workers: Vec::with_capacity(workers),
            listeners: Vec::with_capacity(listeners),
            looked: now,
            fed: None,
            bad_since: None,
            watching,
            watched,
        }
    }

    /// Looks until `stop`.
    pub(super) fn run(&mut self, stop: &AtomicBool) {
        while !stop.load(Ordering::Acquire) {
            self.look();
            thread::park_timeout(self.watched.0.pace.every);
        }
    }

    fn look(&mut self) {
        let draining = self.ask_listeners();
        // After the probes, so that nothing older than a moment is fed on.
        self.workers.clear();
        self.workers.extend(self.watching.workers.iter().map(|(_, last)| last()));
        let now = clock::now().monotonic;
        if now.saturating_sub(self.looked) > self.watched.0.pace.longest_look(self.listeners.len()) + LATE {
            self.judge.stood_still(now);
        }
        self.looked = now;
        let sight = Sight { now, workers: &self.workers, listeners: &self.listeners, draining };
        let judgement = self.judge.judge(sight);
        let admin = self.look_at_admin(now);
        self.publish(Verdict { admin, ..judgement.verdict }, now);
        if judgement.well {
            self.feed();
        }
        self.end_what_hangs(now);
    }

    /// Sends a probe through each listener; true when it drains, and what became of them says nothing.
    fn ask_listeners(&mut self) -> bool {
        self.listeners.clear();
        let (draining, began) = (&self.watching.draining, Instant::now());
        let patience = self.watched.0.pace.patience;
        for ((_, address), seconds) in self.watching.listeners.iter().zip(&self.counts.seconds) {
            if draining.has_started() {
                return true;
            }
            let left = patience.saturating_sub(began.elapsed()).max(FURTHER);
            let (since, asked) = (clock::now().monotonic, Instant::now());
            let probed = outcome(self.watching.probes.ask(address, left));
            seconds.set(asked.elapsed().as_secs_f64());
            self.listeners.push((since, probed));
        }
        if draining.has_started() {
            return true;
        }
        self.listeners.iter().for_each(|(_, probed)| self.counts.count(*probed));
        false
    }

    fn look_at_admin(&self, now: Duration) -> Option<Duration> {
        let last = (self.watching.admin)()?;
        if now.saturating_sub(last) <= ADMIN_HUNG_AFTER {
            return None;
        }
        self.counts.failed("admin");
        Some(last)
    }

    /// Leaves the verdict for others; only a new one takes memory.
    fn publish(&mut self, verdict: Verdict, now: Duration) {
        let workers = verdict.faults.iter().filter(|fault| matches!(fault.subject, Subject::Worker(_)));
        workers.for_each(|_| self.counts.failed("worker"));
        self.counts.hanging.set(verdict.faults.len() as f64);
        let bad = (!verdict.is_good()).then(|| self.bad_since.unwrap_or_else(Instant::now));
        self.bad_since = bad;
        let shared = &self.watched.0;
        if **shared.verdict.load() != verdict {
            shared.verdict.store(Arc::new(verdict));
        }
        shared.looked.store(millis(now), Ordering::Release);
    }

    fn feed(&mut self) {
        let (Some(manager), Some(every)) = (&mut self.watching.manager, self.watched.0.pace.feed_every) else { return };
        // At the half, not after it.
        let due = self.fed.is_none_or(|fed| fed.elapsed() + self.watched.0.pace.every >= every);
        if due && manager.feed() {
            self.fed = Some(Instant::now());
        }
    }

    fn end_what_hangs(&self, now: Duration) {
        let Some(bad_since) = self.bad_since else { return };
        let config = self.watching.config.load();
        let after = config.watchdog.abort_after;
        if !after.is_zero() && bad_since.elapsed() >= after {
            let shared = &self.watched;
            let verdict = shared.0.verdict.load();
            if let Some(fault) = verdict.faults.first() {
                last_words::say(config.log.format, &shared.named(fault, now), verdict.faults.len());
            }
            std::process::abort();
        }
    }
}

impl Counts {
    fn count(&self, probed: Probed) {
        match probed {
            Probed::Back => {}
            Probed::Silent(Why::NoAnswer | Why::NoProgress) => self.failed("timeout"),
            Probed::Silent(Why::Refused) => self.failed("refused"),
            Probed::Silent(Why::Broken) => self.failed("broken"),
            Probed::Unknown(Doubt::NoSocket) => self.failed("no_socket"),
            Probed::Unknown(Doubt::Elsewhere) => self.failed("elsewhere"),
        }
    }

    fn failed(&self, reason: &str) {
        let place = names::WATCHDOG_REASONS.iter().position(|known| *known == reason);
        debug_assert!(place.is_some(), "invariant: {reason} is among the reasons");
        if let Some(counter) = place.and_then(|place| self.failures.get(place)) {
            counter.increment(1);
        }
    }
}

fn outcome(asked: Result<Duration, ProbeError>) -> Probed {
    match asked {
        Ok(_) => Probed::Back,
        Err(ProbeError::NoSocket(_) | ProbeError::Busy) => Probed::Unknown(Doubt::NoSocket),
        Err(ProbeError::Elsewhere) => Probed::Unknown(Doubt::Elsewhere),
        Err(ProbeError::TimedOut(_)) => Probed::Silent(Why::NoAnswer),
        Err(ProbeError::Connect(_)) => Probed::Silent(Why::Refused),
        Err(ProbeError::Broken(_)) => Probed::Silent(Why::Broken),
    }
}
