//! How near the table and the store are to their limits: a gauge for each, a warning at 90 % and a word when it is over.

use std::path::PathBuf;

use metrics::gauge;
use routing_cache::{limits::Limits, live::Reader, updater::Sizes};
use tracing::{info, warn};

use crate::telemetry::names::{LIMIT_LABEL, TABLE_LIMIT_RATIO};

/// From here on a limit is warned of. Source: spec/orchestrator-api.md, rule 10.
const WARN_AT: f64 = 0.9;
/// What a line of a snapshot has beside the document of its app: 26 bytes of its own, a rev of some ten digits, and an
/// id, which is rarely longer than the rest.
const LINE_BYTES: u64 = 64;

/// The limits that are watched, and which of them were warned of.
#[derive(Debug)]
pub(super) struct Usage {
    limits: Limits,
    reader: Reader,
    state_dir: PathBuf,
    warned: Vec<&'static str>,
}

impl Usage {
    /// Nothing was warned of yet.
    pub(super) fn new(limits: Limits, reader: Reader, state_dir: PathBuf) -> Self {
        Self { limits, reader, state_dir, warned: Vec::new() }
    }

    /// Other limits hold.
    pub(super) fn limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Shows how much of each limit is used, and warns. The answers' own sizes are the subscription's to show.
    pub(super) fn watch(&mut self, sizes: &Sizes) {
        let apps = self.reader.load().table.len() as u64;
        let largest = sizes.largest.first();
        let app = largest.map_or("", |(app, _)| app.as_str());
        self.show("app_bytes", (largest.map_or(0, |(_, bytes)| *bytes), self.limits.app_bytes), app);
        self.show("snapshot_apps", (apps, self.limits.snapshot_apps), "");
        let body = sizes.documents_bytes.saturating_add(apps.saturating_mul(LINE_BYTES));
        self.show("snapshot_bytes", (body, self.limits.snapshot_bytes), "");
        if let Some(free) = self.free_bytes() {
            self.show("store_bytes", (sizes.store_bytes, sizes.store_bytes.saturating_add(free)), "");
        }
    }

    /// What is left on the file system of the state folder; `None` where it does not say.
    fn free_bytes(&self) -> Option<u64> {
        let told = rustix::fs::statvfs(&self.state_dir).ok()?;
        Some(told.f_bavail.saturating_mul(told.f_frsize))
    }

    fn show(&mut self, limit: &'static str, (used, of): (u64, u64), app: &str) {
        let ratio = ratio(used, of);
        gauge!(TABLE_LIMIT_RATIO, LIMIT_LABEL => limit).set(ratio);
        let warned = self.warned.contains(&limit);
        if ratio >= WARN_AT && !warned {
            self.warned.push(limit);
            warn!(limit, used, of, app, "a limit is nearly reached");
        } else if ratio < WARN_AT && warned {
            self.warned.retain(|other| *other != limit);
            info!(limit, used, of, "the limit is no longer near");
        }
    }
}

/// The share of `of` that is used; a limit of 0 is reached by nothing.
#[expect(clippy::cast_precision_loss, reason = "a ratio needs no more than 52 bits")]
fn ratio(used: u64, of: u64) -> f64 {
    used as f64 / of.max(1) as f64
}

#[cfg(test)]
mod tests;
