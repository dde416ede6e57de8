//! How many connections each worker has, and which worker is to have a new one.
//!
//! The kernel spreads connections over the workers' sockets by a hash of their addresses, which says nothing of how many
//! a worker has. Measured on Linux 6.18, the busiest worker has so many times its share, in the median and at worst:
//!
//! | connections | 2 workers | 4 workers | 8 workers |
//! |---|---|---|---|
//! | 16 | 1.19, 1.62 | 1.50, 1.75 | 2.00, 4.00 |
//! | 400 | 1.04, 1.07 | 1.09, 1.23 | 1.17, 1.40 |
//!
//! Short connections even that out by themselves. Long ones do not: the few of a load balancer before this gateway, or of
//! a benchmark, stay where they fell. So a worker that has more than its share hands a new connection to the one that has
//! fewest, through a bounded queue. Only accepting looks at this; requests never do.

use std::{
    cell::Cell,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::sync::mpsc::{Receiver, Sender, WeakSender, channel};

use super::{connections::Connections, workers::Heartbeats};
use crate::net::stream::Accepted;

/// Connections handed to one worker that it has not taken. It takes them within a turn of its loop, so more wait only at one
/// that makes no progress; they are served where they came in then.
const QUEUE: usize = 64;
/// A worker is not over its share before it has this part of it more, so that a few connections are spread exactly. A
/// sixteenth: less than the kernel's own spread of some hundred connections.
const SLACK_PART: usize = 16;
/// A worker that made no progress for so long is handed nothing. Source: four times the interval of its heartbeat.
const STALLED: Duration = Duration::from_secs(1);

/// The open connections of every worker.
#[derive(Debug)]
pub(crate) struct Loads {
    loads: Box<[Load]>,
    heartbeats: Heartbeats,
}

/// One worker's; on a cache line of its own, as it is written for every connection.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Load(AtomicUsize);

impl Loads {
    /// None has any yet.
    pub(crate) fn new(workers: usize, heartbeats: Heartbeats) -> Arc<Self> {
        Arc::new(Self { loads: (0..workers).map(|_| Load::default()).collect(), heartbeats })
    }

    /// The connections of `worker`, those on their way to it included.
    pub(crate) fn of(&self, worker: usize) -> usize {
        self.loads.get(worker).map_or(0, |load| load.0.load(Relaxed))
    }

    /// All connections.
    pub(crate) fn total(&self) -> usize {
        self.each().sum()
    }

    /// The connections of each worker.
    pub(crate) fn each(&self) -> impl Iterator<Item = usize> {
        self.loads.iter().map(|load| load.0.load(Relaxed))
    }

    fn add(&self, worker: usize) {
        if let Some(load) = self.loads.get(worker) {
            load.0.fetch_add(1, Relaxed);
        }
    }

    fn take(&self, worker: usize) {
        if let Some(load) = self.loads.get(worker) {
            load.0.fetch_sub(1, Relaxed);
        }
    }

    /// The workers, those that have fewest connections first; without those that make no progress, unless none does.
    pub(crate) fn by_room(&self) -> Vec<usize> {
        let mut workers: Vec<_> = self.each().enumerate().map(|(worker, open)| (open, worker)).collect();
        workers.sort_unstable();
        let all = workers.iter().map(|(_, worker)| *worker);
        let alive: Vec<_> = all.clone().filter(|worker| self.heartbeats.age_of(*worker) < STALLED).collect();
        if alive.is_empty() { all.collect() } else { alive }
    }

    /// The worker that is to have a connection which `own` has accepted.
    fn choose(&self, own: usize) -> usize {
        if fits(self.of(own), self.total(), self.loads.len()) {
            return own;
        }
        let alive = self.each().enumerate().filter(|(worker, _)| self.heartbeats.age_of(*worker) < STALLED);
        alive.min_by_key(|(_, open)| *open).map_or(own, |(least, open)| if open < self.of(own) { least } else { own })
    }
}

/// True when a worker that has `own` of the `total` connections of all `workers` may keep one more.
fn fits(own: usize, total: usize, workers: usize) -> bool {
    let share = (total + 1).div_ceil(workers.max(1));
    own < share + share / SLACK_PART
}

/// A connection's place in the counts of its worker and its listener, from its acceptance to its end.
#[derive(Debug)]
pub(crate) struct Place {
    connections: Arc<Connections>,
    worker: usize,
}

impl Place {
    /// A place at `worker`.
    pub(crate) fn new(connections: &Arc<Connections>, worker: usize) -> Self {
        connections.loads().add(worker);
        connections.add();
        Self { connections: Arc::clone(connections), worker }
    }

    /// The workers it could be at, the best first.
    pub(super) fn workers(&self) -> Vec<usize> {
        self.connections.loads().by_room()
    }

    /// The same connection at another worker.
    pub(super) fn at(mut self, worker: usize) -> Self {
        let loads = self.connections.loads();
        loads.add(worker);
        loads.take(self.worker);
        self.worker = worker;
        self
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.connections.loads().take(self.worker);
        self.connections.take();
    }
}

/// An accepted connection that nobody serves yet.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub(crate) socket: Accepted,
    /// Its client's; `None` on a Unix socket.
    pub(crate) address: Option<IpAddr>,
    /// Which of the listeners it came by, in the order that all workers have them in.
    pub(crate) listener: usize,
    pub(crate) place: Place,
}

/// The queues to all workers, as the one with the number `own` sees them.
///
/// Only acceptors hold it: the queues end when the last of all workers has stopped accepting, and with that what may still
/// be handed over.
#[derive(Debug)]
pub(crate) struct Peers {
    own: usize,
    loads: Arc<Loads>,
    queues: Arc<[Sender<Arrival>]>,
}

/// A [`Peers`] for each worker, and the end of its own queue.
pub(crate) fn peers(loads: &Arc<Loads>) -> Vec<(Peers, Receiver<Arrival>)> {
    let (queues, ends): (Vec<_>, Vec<_>) = loads.each().map(|_| channel(QUEUE)).unzip();
    let queues: Arc<[_]> = queues.into();
    let with = |(own, end)| (Peers { own, loads: Arc::clone(loads), queues: Arc::clone(&queues) }, end);
    ends.into_iter().enumerate().map(with).collect()
}

impl Peers {
    /// The number of this worker.
    pub(crate) fn own(&self) -> usize {
        self.own
    }

    /// A way into every worker's queue that does not keep them from ending.
    pub(crate) fn ways_in(&self) -> Vec<WeakSender<Arrival>> {
        self.queues.iter().map(Sender::downgrade).collect()
    }

    /// The worker that is to have the next connection.
    pub(crate) fn choose(&self) -> usize {
        self.loads.choose(self.own)
    }

    /// Hands `arrival` to the worker it has its place at.
    ///
    /// # Errors
    /// It comes back, with a place at this worker, when that one is this one, has ended, or does not keep up.
    pub(crate) fn hand_over(&self, arrival: Arrival) -> Result<(), Arrival> {
        let to = self.queues.get(arrival.place.worker).filter(|_| arrival.place.worker != self.own);
        let refused = match to {
            Some(queue) => match queue.try_send(arrival) {
                Ok(()) => return Ok(()),
                Err(error) => error.into_inner(),
            },
            None => return Err(arrival),
        };
        Err(Arrival { place: refused.place.at(self.own), ..refused })
    }
}

/// Whether a worker's connections are short: those are not worth handing over.
#[derive(Debug, Default)]
pub(crate) struct Churn {
    closed: Cell<usize>,
    short: Cell<bool>,
}

impl Churn {
    /// A connection has ended.
    pub(crate) fn closed(&self) {
        self.closed.set(self.closed.get() + 1);
    }

    /// A tick has passed, and `open` connections are there. Where as many have ended, they live about a tick.
    pub(crate) fn tick(&self, open: usize) {
        self.short.set(self.closed.take() > open.max(1));
    }

    /// True when connections live for about a tick or less.
    pub(crate) fn is_short(&self) -> bool {
        self.short.get()
    }
}

#[cfg(test)]
mod tests;
