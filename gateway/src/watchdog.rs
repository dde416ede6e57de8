//! Does this process serve? A verdict, reached on a thread of its own, for systemd, for /livez, and for the process itself.
//!
//! Two things are looked at, again and again: (a) that every worker makes progress, by its heartbeat, and (b) that a request
//! of the process's own through each real listener comes back from the routing layer. (a) covers each worker, whichever of
//! the sockets of one address the kernel has chosen for a probe. (b) covers what heartbeats say nothing of: that the address
//! can still be reached, that somebody accepts at it, and that what is accepted is read, routed and answered.
//!
//! The thread depends on no runtime, no queue and no lock that a worker could hold when it hangs. It opens the sockets it
//! needs from a reserve, keeps the one to systemd open, and never writes to the log; what has changed is told by another thread
//! ([`Herald`]). What remains shared with the rest of the process is the kernel, the processor, and the allocator: a thread that
//! hangs in the middle of an allocation may stop this one too. So nothing good is ever said by default: systemd is fed by a
//! look that found everything well, and by nothing else, and /livez fails once no look was taken for a while.
//!
//! Not hung: a process that drains (its listeners close; only the workers that are still there are judged), one that is at its
//! limits (a probe takes nobody's place), one without a table (it routes, and says so), and one for which no probe could be made.

mod feed;
mod herald;
mod judge;
mod last_words;
mod look;
mod pace;

use std::{
    fmt, io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use arc_swap::ArcSwap;

pub use self::{feed::ServiceManager, herald::Herald, pace::Pace};
use self::{
    judge::{Fault, Subject, Verdict},
    look::Watch,
};
use crate::{
    clock,
    config::{Config, ListenAddress},
    drain::Draining,
    probe::Probes,
    readiness::{Check, Standing},
};

/// When something made progress last, on the clock of [`clock::now`]; `None` once it has ended as it should.
pub type LastProgress = dyn Fn() -> Option<Duration> + Send + Sync;

/// What is watched, and who is told.
pub struct Watching {
    /// Each worker by the name of its thread.
    pub workers: Vec<(String, Box<LastProgress>)>,
    /// Each listener by its name, as it is bound.
    pub listeners: Vec<(String, ListenAddress)>,
    /// The admin thread, whose hanging is told and costs nothing else.
    pub admin: Box<LastProgress>,
    /// How listeners are asked.
    pub probes: Probes,
    /// Ends the probes.
    pub draining: Draining,
    /// For `watchdog.abort_after`, and the form of the last line.
    pub config: Arc<ArcSwap<Config>>,
    /// Who is fed, where somebody waits for it.
    pub manager: Option<ServiceManager>,
}

/// The watchdog's thread. It ends when this is dropped.
#[derive(Debug)]
pub struct Watchdog {
    thread: JoinHandle<()>,
    watched: Watched,
    stop: Arc<AtomicBool>,
}

/// What the watchdog has found. Clones share it.
#[derive(Clone, Debug)]
pub struct Watched(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    workers: Vec<String>,
    listeners: Vec<String>,
    pace: Pace,
    verdict: ArcSwap<Verdict>,
    /// When the last look ended, in milliseconds of [`clock::now`].
    looked: AtomicU64,
}

/// Starts the watchdog.
///
/// # Errors
/// When there can be no further thread.
pub fn start(watching: Watching) -> io::Result<Watchdog> {
    let pace = Pace::of(watching.manager.as_ref().map(ServiceManager::within));
    start_at(watching, pace)
}

fn start_at(watching: Watching, pace: Pace) -> io::Result<Watchdog> {
    let watched = Watched(Arc::new(Inner {
        workers: watching.workers.iter().map(|(name, _)| name.clone()).collect(),
        listeners: watching.listeners.iter().map(|(name, _)| name.clone()).collect(),
        pace,
        verdict: ArcSwap::default(),
        looked: AtomicU64::new(millis(clock::now().monotonic)),
    }));
    let stop = Arc::new(AtomicBool::new(false));
    let mut watch = Watch::new(watching, watched.clone());
    let stopped = Arc::clone(&stop);
    let run = move || watch.run(&stopped);
    let thread = std::thread::Builder::new().name("watchdog".into()).spawn(run)?;
    Ok(Watchdog { thread, watched, stop })
}

impl Watchdog {
    /// What it finds, for whoever wants to know.
    #[must_use]
    pub fn watched(&self) -> Watched {
        self.watched.clone()
    }

    /// True once the thread is no more, which nobody has asked for.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.thread.is_finished()
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        self.thread.thread().unpark();
    }
}

impl Watched {
    /// The checks of `/livez`: the workers, the listeners by their probes, and the watchdog itself.
    #[must_use]
    pub fn checks(&self) -> Vec<Check> {
        let (verdict, now) = (self.0.verdict.load(), clock::now().monotonic);
        let hanging = |wanted: fn(&Subject) -> bool| {
            let found = verdict.faults.iter().filter(|fault| wanted(&fault.subject));
            let said: Vec<String> = found.map(|fault| self.named(fault, now).to_string()).collect();
            (!said.is_empty()).then(|| said.join("; "))
        };
        let probes = hanging(|subject| matches!(subject, Subject::Listener(_)));
        vec![
            Check::condition("workers", hanging(|subject| matches!(subject, Subject::Worker(_)))),
            Check { name: "probes", standing: self.of_probes(probes, &verdict) },
            Check::condition("watchdog", self.asleep(now)),
        ]
    }

    fn of_probes(&self, failure: Option<String>, verdict: &Verdict) -> Standing {
        let said = verdict.doubts.iter().map(|(listener, doubt)| format!("{}: {doubt}", self.listener(*listener)));
        let said: Vec<String> = said.collect();
        match failure {
            Some(failure) => Standing::Failed(failure),
            None if said.is_empty() => Standing::Ok,
            None => Standing::Warned(said.join("; ")),
        }
    }

    /// Why the verdict is worth nothing: it is too old.
    fn asleep(&self, now: Duration) -> Option<String> {
        let looked = Duration::from_millis(self.0.looked.load(Ordering::Acquire));
        let age = now.saturating_sub(looked);
        (age > self.0.pace.asleep_after(self.0.listeners.len()))
            .then(|| format!("it has not looked for {} s", age.as_secs()))
    }

    fn listener(&self, number: usize) -> &str {
        self.0.listeners.get(number).map_or("?", String::as_str)
    }

    /// A fault in words, at `now`.
    fn named(&self, fault: &Fault, now: Duration) -> Named<'_> {
        Named { watched: self, fault: *fault, seconds: now.saturating_sub(fault.since).as_secs() }
    }
}

/// What hangs, why, and for how long.
struct Named<'a> {
    watched: &'a Watched,
    fault: Fault,
    seconds: u64,
}

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { watched, fault, seconds } = self;
        match fault.subject {
            Subject::Worker(number) => {
                let name = watched.0.workers.get(number).map_or("?", String::as_str);
                write!(f, "{name} has made no progress for {seconds} s")
            }
            Subject::Listener(number) => {
                let (name, why) = (watched.listener(number), fault.why.words());
                write!(f, "the listener {name} has not answered for {seconds} s: {why}")
            }
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
