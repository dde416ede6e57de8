//! The threads that serve: one runtime, one set of listening sockets and one set of upstream connections each.
//!
//! The kernel spreads connections over their sockets; a worker that has got more than its share hands new ones on before
//! it has read a byte of them (`spread`). Nothing else goes from one worker to another.

use std::{
    io,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
        mpsc::{SyncSender, sync_channel},
    },
    thread::JoinHandle,
    time::Duration,
};

use arc_swap::ArcSwap;
use routing_cache::live::Reader;
use tokio::sync::mpsc::Receiver;

use super::{
    connections::{Connections, ListenerStats},
    proving::Proving,
    returned::Returns,
    settings::Settings,
    spread::{self, Arrival, Loads, Peers},
    worker,
};
use crate::{
    clock,
    drain::Draining,
    net::listen::{BoundListener, ListenSocket},
    overload::Overload,
    probe::Probes,
    telemetry::access::AccessLog,
    upstream::{limit::Limits, registry::Endpoints},
};

/// For a worker to have its runtime and its sockets; it waits for nothing else.
const START_TIMEOUT: Duration = Duration::from_secs(10);

/// What the workers are made of.
#[derive(Debug)]
pub struct WorkersStart {
    /// How many; each listener has as many sockets, or more.
    pub workers: usize,
    /// Replaced whole by a reload.
    pub settings: Arc<ArcSwap<Settings>>,
    /// Where they listen.
    pub listeners: Vec<BoundListener>,
    /// The table.
    pub reader: Reader,
    /// Tells them to end.
    pub draining: Draining,
    /// Where each request's line goes.
    pub access: AccessLog,
    /// What is known of endpoints, shared with the admin API.
    pub endpoints: Arc<Endpoints>,
    /// This process's own requests.
    pub probes: Probes,
    /// What is short, and what is shed for it.
    pub overload: Overload,
    /// Whether what is accepted is another process's still.
    pub proving: Proving,
}

/// The running workers.
#[derive(Debug)]
pub struct Workers {
    threads: Vec<JoinHandle<()>>,
    listeners: Vec<ListenerStats>,
    heartbeats: Heartbeats,
    loads: Arc<Loads>,
    sockets: Vec<Weak<ListenSocket>>,
    returns: Returns,
}

/// When each worker last made progress.
#[derive(Clone, Debug)]
pub struct Heartbeats(Arc<[AtomicU64]>);

/// A listener's counts, and the sockets of it that one worker accepts from.
pub(crate) type OwnListener = (Arc<Connections>, Vec<Arc<ListenSocket>>);

/// What one worker's thread is given.
#[derive(Debug)]
pub(crate) struct WorkerStart {
    pub(crate) listeners: Vec<OwnListener>,
    pub(crate) settings: Arc<ArcSwap<Settings>>,
    pub(crate) reader: Reader,
    pub(crate) draining: Draining,
    pub(crate) access: AccessLog,
    pub(crate) endpoints: Arc<Endpoints>,
    pub(crate) probes: Probes,
    pub(crate) overload: Overload,
    pub(crate) proving: Proving,
    pub(crate) limits: Arc<Limits>,
    pub(crate) workers: usize,
    pub(crate) heartbeat: Heartbeat,
    pub(crate) peers: Peers,
    pub(crate) arrivals: Receiver<Arrival>,
}

impl Workers {
    /// Starts the threads. They serve when this returns.
    ///
    /// # Errors
    /// When a thread or its runtime cannot be made. Those that run then end with the process.
    pub fn start(start: WorkersStart) -> io::Result<Self> {
        let workers = start.workers.max(1);
        let heartbeats = Heartbeats::new(workers);
        let loads = Loads::new(workers, heartbeats.clone());
        let Shares { listeners, sockets, shares } = share(start.listeners, workers, &loads);
        let limits = Arc::new(Limits::default());
        let (ready, started) = sync_channel(workers);
        let mut threads = Vec::with_capacity(workers);
        let peers = spread::peers(&loads);
        let returns = Returns::new(&listeners, &peers);
        for (index, (listeners, (peers, arrivals))) in shares.into_iter().zip(peers).enumerate() {
            let own = WorkerStart {
                listeners,
                settings: Arc::clone(&start.settings),
                reader: start.reader.clone(),
                draining: start.draining.clone(),
                access: start.access.clone(),
                endpoints: Arc::clone(&start.endpoints),
                probes: start.probes.clone(),
                overload: start.overload.clone(),
                proving: start.proving.clone(),
                limits: Arc::clone(&limits),
                workers,
                heartbeat: heartbeats.of(index),
                peers,
                arrivals,
            };
            threads.push(spawn(index, own, ready.clone())?);
        }
        drop(ready);
        for _ in 0..workers {
            started.recv_timeout(START_TIMEOUT).map_err(|_| io::ErrorKind::TimedOut)??;
        }
        Ok(Self { threads, listeners, heartbeats, loads, sockets, returns })
    }

    /// Every listener, with its real port and the connections it has now.
    #[must_use]
    pub fn listeners(&self) -> Vec<ListenerStats> {
        self.listeners.clone()
    }

    /// The connections that each worker has now, tunnels included.
    #[must_use]
    pub fn loads(&self) -> Vec<usize> {
        self.loads.each().collect()
    }

    /// The listening sockets, for duplicates to be made of. One is gone as soon as its worker does not accept from it any
    /// more: nothing here keeps a socket open in which a client would wait for nobody.
    #[must_use]
    pub fn sockets(&self) -> Vec<Weak<ListenSocket>> {
        self.sockets.clone()
    }

    /// Takes connections that another process has accepted from these sockets.
    #[must_use]
    pub fn returns(&self) -> Returns {
        self.returns.clone()
    }

    /// The workers' heartbeats.
    #[must_use]
    pub fn heartbeats(&self) -> Heartbeats {
        self.heartbeats.clone()
    }

    /// The name of a worker whose thread is no more. Before a drain there should be none: it panicked.
    #[must_use]
    pub fn ended(&self) -> Option<String> {
        let ended = self.threads.iter().find(|thread| thread.is_finished());
        ended.map(|thread| thread.thread().name().unwrap_or("a worker").to_owned())
    }

    /// Returns when all workers have drained, or `drain.timeout` was over and they have cut what was left.
    pub fn join(self) {
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a worker's thread panicked");
            }
        }
    }
}

/// What each worker gets, and what is known of all.
struct Shares {
    listeners: Vec<ListenerStats>,
    sockets: Vec<Weak<ListenSocket>>,
    shares: Vec<Vec<OwnListener>>,
}

/// Gives each worker its sockets of each listener: one, or more where the process before had more workers.
fn share(bound: Vec<BoundListener>, workers: usize, loads: &Arc<Loads>) -> Shares {
    let mut shares: Vec<Vec<OwnListener>> = (0..workers).map(|_| Vec::new()).collect();
    let (mut listeners, mut all) = (Vec::with_capacity(bound.len()), Vec::new());
    for listener in bound {
        let connections = Connections::new(listener.name, listener.address, Arc::clone(loads));
        listeners.push(ListenerStats::new(Arc::clone(&connections)));
        let mut sockets: Vec<Vec<Arc<ListenSocket>>> = (0..workers).map(|_| Vec::new()).collect();
        for (number, socket) in listener.sockets.into_iter().map(Arc::new).enumerate() {
            all.push(Arc::downgrade(&socket));
            if let Some(own) = sockets.get_mut(number % workers) {
                own.push(socket);
            }
        }
        shares.iter_mut().zip(sockets).for_each(|(share, own)| share.push((Arc::clone(&connections), own)));
    }
    Shares { listeners, sockets: all, shares }
}

fn spawn(index: usize, start: WorkerStart, ready: SyncSender<io::Result<()>>) -> io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name(name(index)).spawn(move || worker::run(start, &ready))
}

fn name(index: usize) -> String {
    format!("worker-{index}")
}

impl Heartbeats {
    pub(super) fn new(workers: usize) -> Self {
        let now = millis();
        Self((0..workers).map(|_| AtomicU64::new(now)).collect())
    }

    /// The place of one worker.
    pub(super) fn of(&self, index: usize) -> Heartbeat {
        Heartbeat { all: self.clone(), index }
    }

    /// The worker that has gone longest without progress, by the name of its thread, and for how long. One that has
    /// drained is not slow.
    #[must_use]
    pub fn slowest(&self) -> Option<(String, Duration)> {
        let beats = self.0.iter().map(|beat| beat.load(Ordering::Relaxed)).enumerate();
        let (index, beat) = beats.min_by_key(|(_, beat)| *beat)?;
        Some((name(index), Duration::from_millis(millis().saturating_sub(beat))))
    }

    /// How many workers there are, those that have drained included.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// When this worker made progress last, on the clock of this process; `None` once it has drained.
    #[must_use]
    pub fn last_of(&self, worker: usize) -> Option<Duration> {
        let beat = self.0.get(worker).map(|beat| beat.load(Ordering::Relaxed));
        beat.filter(|&beat| beat != u64::MAX).map(Duration::from_millis)
    }

    /// How long ago this worker made progress.
    pub(super) fn age_of(&self, worker: usize) -> Duration {
        let beat = self.0.get(worker).map_or(0, |beat| beat.load(Ordering::Relaxed));
        Duration::from_millis(millis().saturating_sub(beat))
    }

    /// How long ago the slowest worker made progress. A worker that has drained is not slow.
    #[must_use]
    pub fn stalest(&self) -> Duration {
        let oldest = self.0.iter().map(|beat| beat.load(Ordering::Relaxed)).min().unwrap_or(u64::MAX);
        Duration::from_millis(millis().saturating_sub(oldest))
    }
}

/// One worker's place among the heartbeats.
#[derive(Debug)]
pub(crate) struct Heartbeat {
    all: Heartbeats,
    index: usize,
}

impl Heartbeat {
    /// This worker makes progress.
    pub(crate) fn beat(&self) {
        self.set(millis());
    }

    fn set(&self, at: u64) {
        if let Some(beat) = self.all.0.get(self.index) {
            beat.store(at, Ordering::Relaxed);
        }
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        // A thread that panicked is dead, not done: its last beat stays and grows old.
        if !std::thread::panicking() {
            self.set(u64::MAX);
        }
    }
}

fn millis() -> u64 {
    u64::try_from(clock::now().monotonic.as_millis()).unwrap_or(u64::MAX)
}
