//! What is known of each endpoint's address, shared by all workers and the admin API.
//!
//! An address that is shared by two upstreams has one state: if it fails for one it fails for the other. States are made
//! when they are first asked for, and forgotten by [`Endpoints::retain`].
//!
//! Ejection is passive: requests that fail in a row take an endpoint out for a while. It is never the last healthy one
//! of the upstream the failing request was for, and whoever picks may still use ejected ones when none else is left.

use std::{
    collections::HashSet,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use routing_cache::{
    model::{Address, Upstream},
    table::Table,
};

use crate::config::UpstreamConfig;

/// The longest ejection, however often an endpoint returned and failed again. Source: configuration.md, `eject_for`.
pub const MAX_EJECTION: Duration = Duration::from_secs(300);

/// Endpoints by state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Those nothing is known against.
    pub healthy: usize,
    /// Failed by their active check; there is none in this version.
    pub unhealthy: usize,
    /// Out for a while, after failures in a row.
    pub ejected: usize,
    /// Taken out by an operator; not in this version.
    pub banned: usize,
}

/// All endpoints that requests went to.
#[derive(Debug)]
pub struct Endpoints {
    states: RwLock<HashMap<Address, Arc<EndpointState>, RandomState>>,
    /// Grows when states are forgotten, so that workers forget them too.
    version: AtomicU64,
    /// No endpoint is ejected after this time, in milliseconds since `begun`.
    none_ejected_after: AtomicU64,
    /// Endpoints of the table, as of the last `retain`.
    total: AtomicUsize,
    begun: Instant,
}

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
    begun: Instant,
}

/// One request in flight; dropping it, on whatever path, ends it.
#[derive(Debug)]
pub struct InFlight(Arc<EndpointState>);

impl Default for Endpoints {
    fn default() -> Self {
        Self {
            states: RwLock::default(),
            version: AtomicU64::new(0),
            none_ejected_after: AtomicU64::new(0),
            total: AtomicUsize::new(0),
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
        let mut states = self.states.write().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(states.entry(address.clone()).or_insert_with(|| Arc::new(EndpointState::new(self.begun))))
    }

    /// The state of `address`, if requests ever went there.
    #[must_use]
    pub fn known(&self, address: &Address) -> Option<Arc<EndpointState>> {
        self.states.read().unwrap_or_else(PoisonError::into_inner).get(address).cloned()
    }

    /// Forgets addresses that are no longer in `table` and that no request is at, and learns how many there are. It walks
    /// the whole table, so it is nothing for a worker's thread.
    pub fn retain(&self, table: &Table) {
        self.total.store(table.endpoints(), Relaxed);
        let mut gone = self.unused();
        let apps = table.iter().flat_map(|app| &app.spec.upstreams);
        for endpoint in apps.flat_map(|upstream| &upstream.endpoints) {
            gone.remove(&endpoint.address);
        }
        if gone.is_empty() {
            return;
        }
        self.states.write().unwrap_or_else(PoisonError::into_inner).retain(|address, _| !gone.contains(address));
        self.version.fetch_add(1, Relaxed);
    }

    /// Endpoints by state. One nobody asked yet is healthy: nothing is known against it.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let now = Instant::now();
        let states = self.states.read().unwrap_or_else(PoisonError::into_inner);
        let ejected = states.values().filter(|state| state.is_ejected(now)).count();
        let healthy = self.total.load(Relaxed).max(states.len()) - ejected;
        Counts { healthy, ejected, ..Counts::default() }
    }

    /// Notes a gateway-class failure at `failed`, an endpoint of `upstream`. True when it was ejected for it.
    pub fn failed(&self, upstream: &Upstream, failed: &EndpointState, rules: &UpstreamConfig, now: Instant) -> bool {
        let failures = failed.failures.fetch_add(1, Relaxed).saturating_add(1);
        if failures < rules.eject_after || failed.is_ejected(now) || !self.may_eject(upstream, failed, rules, now) {
            return false;
        }
        self.none_ejected_after.fetch_max(failed.eject(rules.eject_for, now), Relaxed);
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

    /// Addresses that no request is at.
    fn unused(&self) -> HashSet<Address> {
        let states = self.states.read().unwrap_or_else(PoisonError::into_inner);
        states.iter().filter(|(_, state)| state.in_flight() == 0).map(|(address, _)| address.clone()).collect()
    }

    /// At least one other endpoint stays healthy, and the share of ejected ones stays within its limit.
    fn may_eject(&self, upstream: &Upstream, failed: &EndpointState, rules: &UpstreamConfig, now: Instant) -> bool {
        let states = self.states.read().unwrap_or_else(PoisonError::into_inner);
        let (mut all, mut ejected, mut others) = (0_usize, 1_usize, 0_usize);
        for endpoint in upstream.endpoints.iter().filter(|endpoint| endpoint.weight > 0) {
            all += 1;
            match states.get(&endpoint.address) {
                Some(state) if std::ptr::eq(Arc::as_ptr(state), failed) => {}
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
            begun,
        }
    }

    /// Counts a request until the guard is dropped.
    #[must_use]
    pub fn begin(self: &Arc<Self>) -> InFlight {
        self.in_flight.fetch_add(1, Relaxed);
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
