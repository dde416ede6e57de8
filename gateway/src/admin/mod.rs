//! The admin API of spec/admin-api.md, on a thread and a runtime of its own, so that a busy data plane cannot hide its
//! own state.
//!
//! It owns nothing that it shows: a [`Context`] hands it readers. It never waits for the updater's thread except to
//! steer the table, and that with a deadline; it never changes the table but by [`Updates`]. A whole table goes out and
//! comes in bit by bit, and what is read from disk is read on another thread.

mod access;
mod actions;
mod answer;
mod archive;
mod calls;
mod export;
mod gauges;
mod health;
mod import;
mod lookup;
mod patience;
mod process;
pub mod query;
mod server;
mod status;
mod table;
mod upstreams;
pub mod view;

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use routing_cache::{live::Reader, model::WallTime};
use tokio::sync::Semaphore;

pub use self::{
    health::checks,
    process::open_descriptors,
    server::{Accepting, Running, Socket, start},
};
use crate::{
    clock,
    config::Config,
    drain::Drain,
    overload::Overload,
    readiness::{Check, Readiness},
    telemetry::metrics::Exposition,
    updates::Updates,
    upstream::registry::Endpoints,
};

/// What the admin API may see and do.
#[derive(Clone)]
pub struct Context {
    /// The served table.
    pub reader: Reader,
    /// The updater's report, and the way to approve.
    pub updates: Updates,
    /// The conditions of `/readyz`.
    pub readiness: Readiness,
    /// Starts the drain.
    pub drain: Drain,
    /// The listeners, as bound.
    pub listeners: Vec<Listening>,
    /// The workers' progress.
    pub progress: Progress,
    /// Whether the process serves.
    pub alive: Alive,
    /// Counts the processes before this one that still drain.
    pub predecessors: Arc<dyn Fn() -> u64 + Send + Sync>,
    /// The process's metrics.
    pub metrics: Exposition,
    /// The effective configuration; a reload replaces it.
    pub config: Arc<ArcSwap<Config>>,
    /// The state of every endpoint.
    pub endpoints: Arc<Endpoints>,
    /// What is short, and what is shed for it.
    pub overload: Overload,
    /// Changes the log's level, where the log can do that.
    pub log_level: LogLevel,
    /// When the process started.
    pub started: WallTime,
    /// Held by whoever has a second table in memory (import, rollback, diff): one at a time.
    pub second_table: Arc<Semaphore>,
}

/// One listener of the data plane, as it is bound.
#[derive(Clone)]
pub struct Listening {
    /// Its configured name.
    pub name: Arc<str>,
    /// Its address, with the real port.
    pub address: String,
    /// Counts its open connections.
    pub connections: Arc<dyn Fn() -> u64 + Send + Sync>,
}

/// The worker that has gone longest without progress.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stall {
    /// Which one, as logs name its thread.
    pub worker: String,
    /// For how long.
    pub since: Duration,
}

/// Asks for the slowest worker; `None` where there is none.
#[derive(Clone)]
pub struct Progress(pub Arc<dyn Fn() -> Option<Stall> + Send + Sync>);

/// What the watchdog says, and what it is told.
#[derive(Clone)]
pub struct Alive {
    /// The checks of `/livez`.
    pub checks: Arc<dyn Fn() -> Vec<Check> + Send + Sync>,
    /// Shows that the admin thread makes progress.
    pub pulse: Pulse,
}

/// When the admin thread made progress last. Clones share it.
#[derive(Clone, Debug)]
pub struct Pulse(Arc<AtomicU64>);

impl Default for Pulse {
    /// It begins now.
    fn default() -> Self {
        let pulse = Self(Arc::default());
        pulse.beat();
        pulse
    }
}

impl Pulse {
    /// The last time, on the clock of [`clock::now`].
    #[must_use]
    pub fn last(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::Relaxed))
    }

    fn beat(&self) {
        let now = u64::try_from(clock::now().monotonic.as_millis()).unwrap_or(u64::MAX);
        self.0.store(now, Ordering::Relaxed);
    }
}

/// Sets the log's level for a while; the error is for the caller.
#[derive(Clone)]
pub struct LogLevel(pub Arc<SetLevel>);

/// Takes a level or a filter, and for how long.
pub type SetLevel = dyn Fn(&str, Duration) -> Result<(), String> + Send + Sync;

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
