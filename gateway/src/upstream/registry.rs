//! What is known of each endpoint's address, shared by all workers and the admin API.
//!
//! An address that is shared by two upstreams has one state: if it fails for one it fails for the other. States are made
//! when they are first asked for, and forgotten once nobody has asked for them for [`FORGET_AFTER`] (see
//! [`Endpoints::sweep`]). Nothing here walks a table: it may have a million apps, and another one every millisecond.
//!
//! Ejection is passive: requests that fail in a row take an endpoint out for a while. It is never the last healthy one
//! of the upstream the failing request was for, and whoever picks may still use ejected ones when none else is left.

mod passed_on;

use std::{
    hash::BuildHasher,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use routing_cache::model::{Address, Upstream};

pub use passed_on::History;

use crate::config::UpstreamConfig;

/// A state that nobody used for so long is forgotten. Longer than [`MAX_EJECTION`], so that it takes no ejection's
/// history with it that would still count.
pub const FORGET_AFTER: Duration = Duration::from_secs(600);

/// Parts of the registry, each with a lock of its own: a sweep of a million states holds up nobody for longer than a
/// sixty-fourth of it takes.
const SHARDS: usize = 64;

/// The longest ejection, however often an endpoint returned and failed again. Source: configuration.md, `eject_for`.
pub const MAX_EJECTION: Duration = Duration::from_secs(300);

/// Endpoints by state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Those nothing is known against.
    pub healthy: u64,
    /// Failed by their active check; there is none in this version.
    pub unhealthy: u64,
    /// Out for a while, after failures in a row.
    pub ejected: u64,
    /// Taken out by an operator; not in this version.
    pub banned: u64,
}

/// All endpoints that requests went to.
#[derive(Debug)]
pub struct Endpoints {
    seed: RandomState,
    shards: [RwLock<States>; SHARDS],
    /// Those that were ejected last, some of them back by now. Found here without a walk over all.
    ejected: Mutex<States>,
    /// Grows when states are forgotten, so that workers forget them too.
    version: AtomicU64,
    /// No endpoint is ejected after this time, in milliseconds since `begun`.
    none_ejected_after: AtomicU64,
    begun: Instant,
}

type States = HashMap<Address, Arc<EndpointState>, RandomState>;

/// One address. On a cache line of its own: every worker writes to it for every request.
#[derive(Debug)]
#[repr(align(64))]
pub struct EndpointState {
    in_flight: AtomicU32,
    /// Failures since the last success.
    failures: AtomicU32,
    /// How often it was ejected in a row.
    ejections: AtomicU32,
    /// Requests that took turns; see [`super::balance`].
    pub(super) turn: AtomicU32,
    /// In milliseconds since `begun`; 0: never.
    ejected_until: AtomicU64,
    /// In milliseconds since `begun`.
    ejected_since: AtomicU64,
    /// Since when a sweep has found it unused, in milliseconds since `begun`; 0: it was used since.
    idle_since: AtomicU64,
    begun: Instant,
}

/// One request in flight; dropping it, on whatever path, ends it.
#[derive(Debug)]
pub struct InFlight(Arc<EndpointState>);

impl Default for Endpoints {
    fn default() -> Self {
        Self {
            seed: RandomState::default(),
            shards: std::array::from_fn(|_| RwLock::default()),
            ejected: Mutex::default(),
            version: AtomicU64::new(0),
            none_ejected_after: AtomicU64::new(0),
            begun: Instant::now(),
        }
    }
}

impl Endpoints {
    /// None known yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The state of `address`, made if it is new.
    #[must_use]
    pub fn state(&self, address: &Address) -> Arc<EndpointState> {
        if let Some(state) = self.known(address) {
            return state;
        }
        let mut states = self.shard(address).write().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(states.entry(address.clone()).or_insert_with(|| Arc::new(EndpointState::new(self.begun))))
    }

    /// The state of `address`, if requests went there of late.
    #[must_use]
    pub fn known(&self, address: &Address) -> Option<Arc<EndpointState>> {
        self.shard(address).read().unwrap_or_else(PoisonError::into_inner).get(address).cloned()
    }

    /// Forgets what was not used since it was found unused [`FORGET_AFTER`] ago. What a request is at, and what is
    /// ejected, is in use. To be called every minute or so, not by a worker's thread.
    pub fn sweep(&self, now: Instant) {
        self.ejected_states().retain(|_, state| state.is_ejected(now));
        let mut forgotten = 0;
        for shard in &self.shards {
            let mut states = shard.write().unwrap_or_else(PoisonError::into_inner);
            let before = states.len();
            states.retain(|_, state| !state.is_forgettable(now));
            forgotten += before - states.len();
            if states.len() < states.capacity() / 4 {
                states.shrink_to_fit();
            }
        }
        if forgotten > 0 {
            self.version.fetch_add(1, Relaxed);
        }
    }

    /// The endpoints by state of a table that has `all`. One nobody asked yet is healthy: nothing is known against it.
    #[must_use]
    pub fn counts(&self, all: u64) -> Counts {
        let ejected = self.ejected(Instant::now()).len() as u64;
        Counts { healthy: all.saturating_sub(ejected), ejected, ..Counts::default() }
    }

    /// The endpoints that are ejected now.
    #[must_use]
    pub fn ejected(&self, now: Instant) -> Vec<Address> {
        let states = self.ejected_states();
        states.iter().filter(|(_, state)| state.is_ejected(now)).map(|(address, _)| address.clone()).collect()
    }

    /// Notes a gateway-class failure at `failed`, an endpoint of `upstream`. True when it was ejected for it.
    pub fn failed(&self, upstream: &Upstream, failed: &EndpointState, rules: &UpstreamConfig, now: Instant) -> bool {
        let failures = failed.failures.fetch_add(1, Relaxed).saturating_add(1);
        if failures < rules.eject_after || failed.is_ejected(now) || !self.may_eject(upstream, failed, rules, now) {
            return false;
        }
        let until = failed.eject(rules.eject_for, now);
        for endpoint in &upstream.endpoints {
            let state = self.known(&endpoint.address).filter(|state| std::ptr::eq(Arc::as_ptr(state), failed));
            state.and_then(|state| self.ejected_states().insert(endpoint.address.clone(), state));
        }
        self.none_ejected_after.fetch_max(until, Relaxed);
        true
    }

    /// Somebody may be ejected. False costs one load, and is the usual case.
    pub(super) fn any_ejected(&self, now: Instant) -> bool {
        let until = self.none_ejected_after.load(Relaxed);
        until != 0 && millis(self.begun, now) < until
    }

    /// Grows when states are forgotten.
    pub(super) fn version(&self) -> u64 {
        self.version.load(Relaxed)
    }

    fn shard(&self, address: &Address) -> &RwLock<States> {
        // The upper bits: a table's own places are chosen by the lower ones.
        let number = (self.seed.hash_one(address) >> 32) as usize % SHARDS;
        let [first, ..] = &self.shards;
        self.shards.get(number).unwrap_or(first)
    }

    fn ejected_states(&self) -> MutexGuard<'_, States> {
        self.ejected.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// At least one other endpoint stays healthy, and the share of ejected ones stays within its limit.
    fn may_eject(&self, upstream: &Upstream, failed: &EndpointState, rules: &UpstreamConfig, now: Instant) -> bool {
        let (mut all, mut ejected, mut others) = (0_usize, 1_usize, 0_usize);
        for endpoint in upstream.endpoints.iter().filter(|endpoint| endpoint.weight > 0) {
            all += 1;
            match self.known(&endpoint.address) {
                Some(state) if std::ptr::eq(Arc::as_ptr(&state), failed) => {}
                Some(state) if state.is_ejected(now) => ejected += 1,
                _ => others += 1,
            }
        }
        others > 0 && ejected * 100 <= all * rules.max_ejected_percent as usize
    }
}

impl EndpointState {
    fn new(begun: Instant) -> Self {
        Self {
            in_flight: AtomicU32::new(0),
            failures: AtomicU32::new(0),
            ejections: AtomicU32::new(0),
            turn: AtomicU32::new(0),
            ejected_until: AtomicU64::new(0),
            ejected_since: AtomicU64::new(0),
            idle_since: AtomicU64::new(0),
            begun,
        }
    }

    /// Counts a request until the guard is dropped.
    #[must_use]
    pub fn begin(self: &Arc<Self>) -> InFlight {
        self.in_flight.fetch_add(1, Relaxed);
        // Written only when it changes; the line is this worker's already.
        if self.idle_since.load(Relaxed) != 0 {
            self.idle_since.store(0, Relaxed);
        }
        InFlight(Arc::clone(self))
    }

    /// Requests that are there now.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Relaxed)
    }

    /// Notes an answer that is no gateway-class failure.
    pub fn succeeded(&self) {
        // Written only when it changes: other workers read this cache line all the time.
        if self.failures.load(Relaxed) != 0 {
            self.failures.store(0, Relaxed);
        }
    }

    /// Failures since the last success.
    #[must_use]
    pub fn failures(&self) -> u32 {
        self.failures.load(Relaxed)
    }

    /// True while it is out for its failures.
    #[must_use]
    pub fn is_ejected(&self, now: Instant) -> bool {
        self.ejected_for(now).is_some()
    }

    /// How much longer it is out; `None` when it is not.
    #[must_use]
    pub fn ejected_for(&self, now: Instant) -> Option<Duration> {
        let left = self.ejected_until.load(Relaxed).saturating_sub(millis(self.begun, now));
        (left > 0).then(|| Duration::from_millis(left))
    }

    /// How long ago it was last ejected; `None` when it never was.
    #[must_use]
    pub fn ejected_ago(&self, now: Instant) -> Option<Duration> {
        let since = self.ejected_since.load(Relaxed);
        let ever = self.ejected_until.load(Relaxed) != 0;
        ever.then(|| Duration::from_millis(millis(self.begun, now).saturating_sub(since)))
    }

    /// True when it was found unused [`FORGET_AFTER`] ago and was not used since. Notes when it is found unused.
    fn is_forgettable(&self, now: Instant) -> bool {
        if self.in_flight() > 0 || self.is_ejected(now) {
            self.idle_since.store(0, Relaxed);
            return false;
        }
        // At least 1: 0 means that it was used.
        let now = millis(self.begun, now).max(1);
        match self.idle_since.compare_exchange(0, now, Relaxed, Relaxed) {
            Ok(_) => false,
            Err(since) => u128::from(now.saturating_sub(since)) >= FORGET_AFTER.as_millis(),
        }
    }

    /// Takes it out and returns until when. Each time in a row is twice as long as the one before; after a quiet time as
    /// long as the longest ejection it starts anew.
    fn eject(&self, first: Duration, now: Instant) -> u64 {
        let now = millis(self.begun, now);
        let quiet = now.saturating_sub(self.ejected_until.load(Relaxed));
        let times = if u128::from(quiet) > MAX_EJECTION.as_millis() { 0 } else { self.ejections.load(Relaxed) };
        self.ejections.store(times.saturating_add(1), Relaxed);
        self.ejected_since.store(now, Relaxed);
        let length = first.saturating_mul(2_u32.saturating_pow(times)).min(MAX_EJECTION);
        let until = now + u64::try_from(length.as_millis()).unwrap_or(u64::MAX / 2);
        self.ejected_until.store(until, Relaxed);
        until
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Relaxed);
    }
}

fn millis(begun: Instant, now: Instant) -> u64 {
    u64::try_from(now.saturating_duration_since(begun).as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
