//! How many requests an upstream takes at once, over all workers.
//!
//! A request over HTTP/1.1 has a connection to itself, so this bounds the connections in use. Idle ones are bounded apart,
//! by `idle_connections_per_endpoint`.

use std::{
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use metrics::{Gauge, gauge};
use routing_cache::model::{AppId, Upstream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::telemetry::names;

/// Requests that may wait where an app limits its connections and says nothing about waiting.
/// Source: the value that app-document.md shows.
pub const DEFAULT_MAX_PENDING: u32 = 1024;
/// Gates that are kept before unused ones are looked for.
const FIRST_SWEEP: usize = 64;

/// The limits of all upstreams that have one.
#[derive(Debug, Default)]
pub struct Limits(RwLock<Gates>);

#[derive(Debug, Default)]
struct Gates {
    by_app: HashMap<AppId, HashMap<Arc<str>, Arc<Gate>, RandomState>, RandomState>,
    /// Gates there are.
    len: usize,
    /// At so many, unused ones are dropped.
    sweep_at: usize,
}

/// The places of one upstream.
#[derive(Debug)]
struct Gate {
    places: u32,
    free: Arc<Semaphore>,
    waiting: AtomicU32,
}

/// A place; given back when dropped.
#[derive(Debug)]
pub struct Permit {
    /// `None` where there is no limit.
    _place: Option<OwnedSemaphorePermit>,
}

/// Why there is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LimitError {
    /// As many requests wait as may.
    #[error("as many requests wait as max_pending allows")]
    Full,
    /// No place came free in time.
    #[error("no connection came free in time")]
    TimedOut,
}

impl Limits {
    /// A place at `upstream` of `app`: at once where it has no limit, else within `wait`.
    ///
    /// A changed limit holds for new requests; those that are under way keep the places they have.
    ///
    /// # Errors
    /// When too many wait already, and when the wait was in vain.
    ///
    /// # Cancel safety
    /// Safe: dropping the future gives up the place in the queue.
    pub async fn acquire(&self, app: &AppId, upstream: &Upstream, wait: Duration) -> Result<Permit, LimitError> {
        let Some(places) = upstream.max_connections else { return Ok(Permit { _place: None }) };
        let gate = self.gate(app, &upstream.name, places);
        if let Ok(place) = Arc::clone(&gate.free).try_acquire_owned() {
            return Ok(Permit { _place: Some(place) });
        }
        let _waiting = Waiting::begin(&gate, upstream.max_pending.unwrap_or(DEFAULT_MAX_PENDING))?;
        match tokio::time::timeout(wait, Arc::clone(&gate.free).acquire_owned()).await {
            Ok(Ok(place)) => Ok(Permit { _place: Some(place) }),
            // The semaphore is never closed; a time-out is what is left to say.
            Ok(Err(_)) | Err(_) => Err(LimitError::TimedOut),
        }
    }

    fn gate(&self, app: &AppId, upstream: &Arc<str>, places: u32) -> Arc<Gate> {
        let gates = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let found = gates.by_app.get(app).and_then(|of_app| of_app.get(upstream)).filter(|gate| gate.places == places);
        if let Some(gate) = found {
            return Arc::clone(gate);
        }
        drop(gates);
        self.0.write().unwrap_or_else(PoisonError::into_inner).make(app, upstream, places)
    }
}

impl Gates {
    /// The gate with so many places, made anew unless another worker was faster.
    fn make(&mut self, app: &AppId, upstream: &Arc<str>, places: u32) -> Arc<Gate> {
        self.sweep();
        let of_app = self.by_app.entry_ref(app).or_default();
        if let Some(gate) = of_app.get(upstream).filter(|gate| gate.places == places) {
            return Arc::clone(gate);
        }
        let free = Arc::new(Semaphore::new(places as usize));
        let gate = Arc::new(Gate { places, free, waiting: AtomicU32::new(0) });
        self.len += usize::from(of_app.insert(Arc::clone(upstream), Arc::clone(&gate)).is_none());
        gate
    }

    /// Drops gates nobody uses, each time their number has doubled: apps come and go.
    fn sweep(&mut self) {
        if self.len < self.sweep_at.max(FIRST_SWEEP) {
            return;
        }
        for of_app in self.by_app.values_mut() {
            of_app.retain(|_, gate| Arc::strong_count(gate) > 1 || Arc::strong_count(&gate.free) > 1);
        }
        self.by_app.retain(|_, of_app| !of_app.is_empty());
        self.len = self.by_app.values().map(HashMap::len).sum();
        self.sweep_at = self.len * 2;
    }
}

/// One request that waits, or finds that it may not.
struct Waiting<'a> {
    gate: &'a Gate,
    pending: Gauge,
}

impl<'a> Waiting<'a> {
    fn begin(gate: &'a Gate, most: u32) -> Result<Self, LimitError> {
        let pending = gauge!(names::UPSTREAM_PENDING);
        pending.increment(1.0);
        let waiting = Self { gate, pending };
        if gate.waiting.fetch_add(1, Relaxed) < most { Ok(waiting) } else { Err(LimitError::Full) }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.gate.waiting.fetch_sub(1, Relaxed);
        self.pending.decrement(1.0);
    }
}

#[cfg(test)]
mod tests;
