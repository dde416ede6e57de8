//! The two threads that watch the process: whether it serves, and how short it is of what it needs.

use std::sync::Arc;

use anyhow::Context;

use super::boot::Base;
use crate::{
    admin::{Alive, Pulse},
    overload::{Sampler, Sources},
    proxy::Workers,
    watchdog::{self, ServiceManager, Watchdog, Watching},
};

/// Both, and what `/livez` says of the first.
pub(super) struct Lookouts {
    pub(super) sampler: Sampler,
    pub(super) watchdog: Watchdog,
    pub(super) alive: Alive,
}

impl Lookouts {
    /// Starts them. Not before the process serves: a listener that nobody accepts from is a hang.
    pub(super) fn start(base: &Base, workers: &Workers) -> anyhow::Result<Self> {
        let sampler = Sampler::start(base.overload.clone(), sources(base, workers));
        let sampler = sampler.context("the thread that watches the load cannot be started")?;
        let pulse = Pulse::default();
        let watchdog = watch(base, workers, pulse.clone()).context("the watchdog cannot be started")?;
        let watched = watchdog.watched();
        let alive = Alive { checks: Arc::new(move || watched.checks()), pulse };
        Ok(Self { sampler, watchdog, alive })
    }
}

fn sources(base: &Base, workers: &Workers) -> Sources {
    let listeners = workers.listeners();
    let connections = move || listeners.iter().map(|listener| listener.connections() as u64).sum();
    Sources { config: Arc::clone(&base.config), connections: Box::new(connections) }
}

fn watch(base: &Base, workers: &Workers, admin: Pulse) -> std::io::Result<Watchdog> {
    let beats = workers.heartbeats();
    let worker = |number| {
        let beats = beats.clone();
        let last: Box<watchdog::LastProgress> = Box::new(move || beats.last_of(number));
        (format!("worker-{number}"), last)
    };
    watchdog::start(Watching {
        workers: (0..beats.count()).map(worker).collect(),
        listeners: workers.listeners().iter().map(|stats| (stats.name().to_owned(), stats.address().clone())).collect(),
        admin: Box::new(move || Some(admin.last())),
        probes: base.probes.clone(),
        draining: base.drain.watch(),
        config: Arc::clone(&base.config),
        manager: ServiceManager::of_environment(),
    })
}
