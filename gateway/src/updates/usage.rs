//! How near the served table and the store are to their limits.

use std::path::PathBuf;

use routing_cache::{limits::Limits, live::Reader, updater::Sizes};

use crate::telemetry::limits::{LimitWatch, Usage as Used};

/// What a line of a snapshot has beside the document of its app: 26 bytes of its own, a rev of some ten digits, and an
/// id, which is rarely longer than the rest.
const LINE_BYTES: u64 = 64;

/// The limits that are watched here. Those of answers are the subscription's.
#[derive(Debug)]
pub(super) struct Usage {
    limits: Limits,
    reader: Reader,
    state_dir: PathBuf,
    watch: LimitWatch,
}

impl Usage {
    /// Nothing was warned of yet.
    pub(super) fn new(limits: Limits, reader: Reader, state_dir: PathBuf) -> Self {
        Self { limits, reader, state_dir, watch: LimitWatch::default() }
    }

    /// Other limits hold.
    pub(super) fn limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Shows how much of each limit is used, and warns.
    pub(super) fn watch(&mut self, sizes: &Sizes) {
        let apps = self.reader.load().table.len() as u64;
        let (app, largest) = sizes.largest.first().map_or(("", 0), |(app, bytes)| (app.as_str(), *bytes));
        let body = sizes.documents_bytes.saturating_add(apps.saturating_mul(LINE_BYTES));
        let Limits { app_bytes, snapshot_bytes, snapshot_apps, .. } = self.limits;
        self.watch.show(Used { limit: "app_bytes", used: largest, of: app_bytes, by: app });
        self.watch.show(Used { limit: "snapshot_apps", used: apps, of: snapshot_apps, by: "" });
        self.watch.show(Used { limit: "snapshot_bytes", used: body, of: snapshot_bytes, by: "" });
        if let Some(free) = self.free_bytes() {
            let (used, of) = (sizes.store_bytes, sizes.store_bytes.saturating_add(free));
            self.watch.show(Used { limit: "store_bytes", used, of, by: "" });
        }
    }

    /// What is left on the file system of the state folder; `None` where it does not say.
    fn free_bytes(&self) -> Option<u64> {
        let told = rustix::fs::statvfs(&self.state_dir).ok()?;
        Some(told.f_bavail.saturating_mul(told.f_frsize))
    }
}
