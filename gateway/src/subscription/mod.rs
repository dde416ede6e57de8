//! The control plane's loop: asks the orchestrator, hands every answer to the updater, and acknowledges.
//!
//! It decides what to ask next and when; never what becomes of the table. Invariants: one table request is under way
//! at a time; every wait has a deadline; every failing step ends here, counted and logged, with the table untouched.
//! It runs on a thread of its own, and ends at the drain.

mod acks;
mod complaint;
mod files;
mod pace;
mod pages;
mod plan;
mod server;
#[cfg(test)]
mod tests;

use std::time::Duration;

use routing_cache::live::Reader;

use crate::{
    drain::Draining,
    orchestrator::Client,
    updates::{UpdaterGone, Updates},
};

/// What the subscription is told by the configuration.
#[derive(Clone, Debug)]
pub struct SubscriptionOptions {
    /// `gateway.name`, for acks.
    pub gateway: String,
    /// `orchestrator.check_every`.
    pub check_every: Duration,
    /// How often what was received is compared with what the orchestrator has; [`AUDIT_EVERY`] but in tests.
    pub audit_every: Duration,
}

/// How often what was received is compared with what the orchestrator has. Source: spec/orchestrator-api.md, rule 8.
pub const AUDIT_EVERY: Duration = Duration::from_secs(3600);

/// Follows the orchestrator until the drain starts. It needs a tokio runtime with timers and I/O, and its own thread:
/// a snapshot is decoded on it.
///
/// # Cancel safety
/// Safe: what was handed to the updater is done, the rest is asked for again.
pub async fn run(client: Client, updates: Updates, reader: Reader, options: SubscriptionOptions, draining: Draining) {
    let follow = async {
        match client {
            Client::Http(client) => server::follow(&client, &updates, &reader, &options).await,
            Client::File(client) => files::follow(client, &updates, &options).await,
        }
    };
    tokio::select! {
        () = draining.started() => {}
        UpdaterGone = follow => if !updates.handed_over() {
            tracing::error!("the updater has ended: the table stays as it is");
        },
    }
}

/// A number in 0..1.
fn dice() -> f64 {
    fastrand::f64()
}
