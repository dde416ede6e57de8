//! What one worker keeps of connections, and for how long.

use std::time::{Duration, Instant};

use crate::config::{LimitsConfig, UpstreamConfig};

/// How long a connection may idle. Source: under the 60 to 75 s after which many servers close an idle connection (nginx's
/// `keepalive_timeout` is 75 s), as a connection that both sides close at once breaks a request.
pub const IDLE_FOR: Duration = Duration::from_secs(55);
/// How long a connection is used at the longest: what stands behind an address (a second process on the port, a virtual
/// address that was moved, a balancer that has grown) gets its share of requests within it. Source: short against a
/// deployment's life, long against a connection's cost; a busy one carries many thousand requests in it.
pub const MAX_AGE: Duration = Duration::from_mins(15);
/// The part of [`MAX_AGE`] by which ages differ, so that connections that were made together do not end together.
const AGE_SPREAD: f64 = 0.2;
/// When this part of all places is taken, those that idle longest are closed early.
const CROWDED: f64 = 0.75;
/// How early: what was not used for so long is not likely to be needed next.
const CROWDED_IDLE_FOR: Duration = Duration::from_secs(5);

/// What one worker keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolSettings {
    /// Idle connections to one endpoint, at most.
    pub idle_per_endpoint: usize,
    /// Idle connections to all endpoints, at most.
    pub idle_total: usize,
    /// How long one may idle.
    pub idle_for: Duration,
    /// How long one may be used.
    pub max_age: Duration,
}

impl PoolSettings {
    /// The share of one of `workers`, rounded up.
    ///
    /// There are as many places for idle connections as clients may be connected, so that the number of descriptors is
    /// known: one for each client, one for its upstream (`holdgate preflight` reckons with that).
    #[must_use]
    pub fn for_worker(upstream: &UpstreamConfig, limits: &LimitsConfig, workers: usize) -> Self {
        let workers = workers.max(1);
        Self {
            idle_per_endpoint: upstream.idle_connections_per_endpoint.div_ceil(workers),
            idle_total: limits.max_connections.div_ceil(workers),
            idle_for: IDLE_FOR,
            max_age: MAX_AGE,
        }
    }

    /// Until when a connection that is made now is used.
    pub(super) fn retires(&self, now: Instant) -> Instant {
        now + self.max_age.mul_f64(1.0 - AGE_SPREAD * fastrand::f64())
    }

    /// How long one may idle while there are `idle` in all.
    pub(super) fn patience(&self, idle: usize) -> Duration {
        let crowded = idle as f64 >= self.idle_total as f64 * CROWDED;
        if crowded { self.idle_for.min(CROWDED_IDLE_FOR) } else { self.idle_for }
    }
}
