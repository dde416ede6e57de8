//! How many connections there are, over all workers: for each listener, and against `limits.max_connections`.

use std::{
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use super::{
    context::{Listener, Worker},
    spread::{Loads, Place},
};
use crate::config::ListenAddress;

/// The connections of one listener, and those of all.
#[derive(Debug)]
pub(crate) struct Connections {
    name: Arc<str>,
    address: ListenAddress,
    own: AtomicUsize,
    parked: AtomicUsize,
    /// Shared by every listener.
    loads: Arc<Loads>,
}

impl Connections {
    /// None yet; `loads` is shared by every listener.
    pub(crate) fn new(name: Arc<str>, address: ListenAddress, loads: Arc<Loads>) -> Arc<Self> {
        Arc::new(Self { name, address, own: AtomicUsize::new(0), parked: AtomicUsize::new(0), loads })
    }

    /// The listener's configured name.
    pub(crate) fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Where it listens, with the real port.
    pub(crate) fn address(&self) -> &ListenAddress {
        &self.address
    }

    /// True when no further one may be accepted.
    pub(crate) fn is_full(&self, limit: usize) -> bool {
        self.loads.total() >= limit
    }

    /// The connections of each worker, over all listeners.
    pub(crate) fn loads(&self) -> &Loads {
        &self.loads
    }

    /// Counts a connection; only a [`Place`] does.
    pub(super) fn add(&self) {
        self.own.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts it no more.
    pub(super) fn take(&self) {
        self.own.fetch_sub(1, Ordering::Relaxed);
    }

    /// One of them holds no buffers.
    pub(crate) fn parked(&self) {
        self.parked.fetch_add(1, Ordering::Relaxed);
    }

    /// One of them holds buffers again, or is over.
    pub(crate) fn unparked(&self) {
        self.parked.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What is known of a listener from outside.
#[derive(Clone, Debug)]
pub struct ListenerStats(Arc<Connections>);

impl ListenerStats {
    /// A view of `connections`.
    pub(crate) fn new(connections: Arc<Connections>) -> Self {
        Self(connections)
    }

    /// What it is a view of.
    pub(super) fn connections_of(&self) -> &Arc<Connections> {
        &self.0
    }

    /// Its configured name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Where it listens, with the real port.
    #[must_use]
    pub fn address(&self) -> &ListenAddress {
        self.0.address()
    }

    /// Connections open now, tunnels included.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.0.own.load(Ordering::Relaxed)
    }

    /// How many of them are parked: nothing is under way on them, and they hold no buffers.
    #[must_use]
    pub fn parked(&self) -> usize {
        self.0.parked.load(Ordering::Relaxed)
    }
}

/// A connection that is served, from when its worker has it to its end.
#[derive(Debug)]
pub(crate) struct Permit {
    worker: Rc<Worker>,
    listener: Rc<Listener>,
    /// Where it counts; `None` for a probe of this process's own, which counts nowhere.
    place: Option<Place>,
}

impl Permit {
    /// Counts a connection that has its place at `worker`.
    pub(crate) fn new(worker: &Rc<Worker>, listener: &Rc<Listener>, place: Place) -> Self {
        worker.opened();
        listener.metrics.accepted.increment(1);
        listener.metrics.connections.increment(1.0);
        Self { worker: Rc::clone(worker), listener: Rc::clone(listener), place: Some(place) }
    }

    /// For a probe: it takes no client's place, and its end is waited for like any other's.
    pub(crate) fn probe(worker: &Rc<Worker>, listener: &Rc<Listener>) -> Self {
        worker.opened();
        Self { worker: Rc::clone(worker), listener: Rc::clone(listener), place: None }
    }

    /// True for a probe.
    pub(crate) fn is_probe(&self) -> bool {
        self.place.is_none()
    }

    /// The worker that has it.
    pub(crate) fn worker(&self) -> &Rc<Worker> {
        &self.worker
    }

    /// The listener it came by.
    pub(crate) fn listener(&self) -> &Rc<Listener> {
        &self.listener
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.worker.closed();
        if !self.is_probe() {
            self.listener.metrics.connections.decrement(1.0);
        }
    }
}
