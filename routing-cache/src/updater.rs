//! Boot, offer, approve: decode -> gate -> guard -> save -> publish. The only way into the table.
//!
//! It owns the one [`Writer`], the store, the gate and the guard, and what was *received*, which is
//! kept apart from what is *served*. It never asks the time and never opens a socket; it does write to disk, so it is
//! not called from a thread that serves requests.
//!
//! - Nothing is changed in place: an update is a `Draft`, and a draft that is refused is dropped.
//! - The order of a commit is: judge, save, publish. A disk that fails does not stop the publication.
//! - What is saved, and when: everything, whenever the apps, the position or what is held change. That the orchestrator
//!   has confirmed what is there is published and not saved, so a restart shows the table a little older than it is.

mod draft;
mod hosts;
mod offer;
mod outcome;
mod persist;
mod received;
mod report;
#[cfg(test)]
mod tests;

use std::{path::Path, sync::Arc};

use crate::{
    disk::{Disk, RealDisk},
    gate::{Gate, GateConfig, Observation},
    guard::{Guard, Shrink, Verdict},
    limits::Limits,
    live::{self, Published, Reader, Writer},
    model::{AppId, Generation, Now, WallTime},
    snapshot::Saved,
    store::{OpenError, Store},
    wire::DocumentError,
};

use draft::Draft;
use persist::{Keep, Restored};
use received::Received;

pub use crate::guard::{Evidence, GuardConfig};
pub use outcome::{Outcome, Rejection, Summary};
pub use received::Position;
pub use report::{BootReport, Held, MAX_NAMED, Report, SHRINK_GUARD, SavedReport};

/// Published tables kept at most until the last reader has let go of them, so that they are dropped here and not by a
/// thread that serves requests.
const MAX_RETIRED: usize = 16;

/// What an updater goes by.
#[derive(Clone, Debug)]
pub struct UpdaterConfig {
    /// When the orchestrator is believed.
    pub gate: GateConfig,
    /// What it may do.
    pub guard: GuardConfig,
    /// The bounds on its answers, for the record; the decoders enforce them.
    pub limits: Limits,
}

/// Why nothing was booted.
#[derive(Debug, thiserror::Error)]
pub enum BootError {
    /// Another process holds the lock.
    #[error("the state folder is in use by another process{}", .pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default())]
    Locked {
        /// Which one, where known.
        pid: Option<u32>,
    },
}

/// Why nothing was approved.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApproveError {
    /// There is nothing to approve.
    #[error("nothing is held")]
    NothingHeld,
    /// What is held is not what was looked at.
    #[error("what is held now is of generation {held}: look at it again")]
    OtherGeneration {
        /// The generation to name.
        held: Generation,
    },
}

/// Something is held.
#[derive(Clone, Debug)]
struct Holding {
    since: WallTime,
    generation: Generation,
    /// `None` after a restart.
    evidence: Option<Evidence>,
}

impl Holding {
    fn restored(since: WallTime, generation: Generation) -> Self {
        Self { since, generation, evidence: None }
    }
}

/// See the module.
#[derive(Debug)]
pub struct Updater {
    config: UpdaterConfig,
    gate: Gate,
    guard: Guard,
    store: Store,
    writer: Writer,
    current: Arc<Published>,
    retired: Vec<Arc<Published>>,
    received: Option<Received>,
    holding: Option<Holding>,
    /// As it is on disk.
    saved_holding: Option<Holding>,
    /// What was received is not what the orchestrator has: only a snapshot will do.
    drifted: bool,
    last_contact: Option<WallTime>,
    saved: SavedReport,
}

impl Updater {
    /// Restores from disk, or serves nothing. A damaged or unwritable folder is in the report and never an error.
    ///
    /// # Errors
    /// When another process works on `state_dir`.
    pub fn boot(config: UpdaterConfig, state_dir: &Path, now: Now) -> Result<(Self, Reader, BootReport), BootError> {
        Self::boot_on(RealDisk, config, state_dir, now)
    }

    /// As [`Updater::boot`], on a disk of the caller's.
    ///
    /// # Errors
    /// When another process works on `state_dir`.
    pub fn boot_on(
        disk: impl Disk + 'static,
        config: UpdaterConfig,
        state_dir: &Path,
        now: Now,
    ) -> Result<(Self, Reader, BootReport), BootError> {
        let mut store =
            Store::open(disk, state_dir).map_err(|OpenError::Locked { pid, .. }| BootError::Locked { pid })?;
        let found = store.boot();
        let mut report = BootReport { damaged: found.damaged, removed: found.removed, ..BootReport::default() };
        let (writer, reader) = live::cell(Published::default());
        let mut updater = Self::new(config, store, writer);
        if let Some((saved, file)) = found.saved {
            updater.restore(saved, &file, now, &mut report);
        }
        report.unwritable = updater.store.unwritable().map(str::to_owned);
        updater.saved.error.clone_from(&report.unwritable);
        Ok((updater, reader, report))
    }

    fn new(config: UpdaterConfig, store: Store, writer: Writer) -> Self {
        Self {
            gate: Gate::new(config.gate.clone()),
            guard: Guard::new(config.guard),
            config,
            store,
            writer,
            current: Arc::default(),
            retired: Vec::new(),
            received: None,
            holding: None,
            saved_holding: None,
            drifted: false,
            last_contact: None,
            saved: SavedReport::default(),
        }
    }

    fn restore(&mut self, saved: Saved, file: &str, now: Now, report: &mut BootReport) {
        let (taken, most) = (saved.meta.guard_window.clone(), saved.meta.hour_max);
        let restored = Restored::new(saved);
        report.damaged.extend(restored.unreadable.into_iter().map(|(id, why)| (format!("{file}: app {id}"), why)));
        if restored.published.has_table() {
            self.guard = Guard::restore(self.config.guard, &taken, most, now.wall);
            let provenance = &restored.published.provenance;
            (self.saved.generation, self.saved.at) = (provenance.generation, provenance.received_at);
            (self.received, self.holding) = (Some(restored.received), restored.holding);
            self.saved_holding.clone_from(&self.holding);
            report.restored = Some(format!("{file} with {} apps", restored.published.table.len()));
            self.publish(restored.published);
        }
    }

    /// Feeds the gate.
    pub fn observe(&mut self, seen: Observation, now: Now) {
        if matches!(seen, Observation::Ready | Observation::NotReady(_)) {
            self.last_contact = Some(now.wall);
        }
        self.gate.observe(seen, now);
        self.drop_retired();
    }

    /// True when an answer may change the table now: the gate is open, or there is no table and the orchestrator says
    /// that it is ready.
    #[must_use]
    pub fn wants_answers(&self, now: Now) -> bool {
        if self.has_table() { self.gate.is_open(now) } else { self.gate.says_ready(now) }
    }

    /// What the next changes call asks for. `None`: only a snapshot will do.
    #[must_use]
    pub fn position(&self) -> Option<Position> {
        let received = self.received.as_ref().filter(|r| !self.drifted && !r.lacks_documents())?;
        Some(received.position.clone())
    }

    /// Releases what is held at this generation, and starts the guard's hour anew.
    ///
    /// # Errors
    /// When nothing is held, or more than was held at that generation.
    pub fn approve(&mut self, generation: Generation, now: Now) -> Result<Outcome, ApproveError> {
        let (Some(holding), Some(received)) = (&self.holding, &self.received) else {
            return Err(ApproveError::NothingHeld);
        };
        if holding.generation != generation {
            return Err(ApproveError::OtherGeneration { held: holding.generation });
        }
        let mut draft = Draft::new(&self.current.table, Some(received), &received.position);
        draft.carry_out(&Verdict::Release);
        self.guard.restart();
        self.holding = None;
        let provenance = self.current.provenance.clone();
        Ok(Outcome::Published(self.commit(draft, provenance, now)))
    }

    /// Saves again after a failed save. True when nothing is unsaved.
    pub fn retry_save(&mut self, now: Now) -> bool {
        if self.saved.unsaved || self.saved.error.is_some() {
            let received = self.received.take();
            received.iter().for_each(|received| self.save(&Arc::clone(&self.current), received, now));
            self.received = received;
        }
        self.drop_retired();
        !self.saved.unsaved
    }

    /// Everything there is to say, now.
    #[must_use]
    pub fn report(&self, now: Now) -> Report {
        let reason = self.gate.shut_reason(now);
        let received = self.received.as_ref();
        Report {
            gate_open: reason.is_none(),
            gate_reason: reason.map(|reason| reason.to_string()),
            received: received.map(|r| (r.position.epoch.clone(), r.position.generation)),
            received_apps: received.map(|r| r.apps).unwrap_or_default(),
            received_digest: received.map(|r| r.digest).unwrap_or_default(),
            last_contact: self.last_contact,
            orchestrator_ready: self.gate.says_ready(now),
            held: self.held(now),
            invalid: received.into_iter().flat_map(invalid_named).collect(),
            invalid_total: received.map_or(0, |r| r.invalid_total()),
            saved: self.saved.clone(),
        }
    }

    /// New settings.
    pub fn reconfigure(&mut self, config: UpdaterConfig) {
        self.gate.reconfigure(config.gate.clone());
        self.guard.reconfigure(config.guard);
        self.config = config;
    }

    /// What it goes by.
    #[must_use]
    pub fn config(&self) -> &UpdaterConfig {
        &self.config
    }

    fn held(&self, now: Now) -> Held {
        let (Some(holding), Some(received)) = (&self.holding, &self.received) else { return Held::default() };
        let total = received.held().count();
        let shrink = || Shrink { served: self.current.table.len() as u64, held: total as u64, ..Shrink::default() };
        Held {
            reason: Some(SHRINK_GUARD),
            since: Some(holding.since),
            generation: holding.generation,
            deletes: received.held().take(MAX_NAMED).cloned().collect(),
            total,
            evidence: Some(holding.evidence.unwrap_or_else(|| self.guard.evidence(&shrink(), now.wall))),
        }
    }

    /// The one way by which a table is published: save, then swap.
    fn commit(&mut self, draft: Draft, provenance: live::Provenance, now: Now) -> Summary {
        debug_assert!(draft.is_sound(), "count and digest of what was received follow from what is kept of it");
        let worth_saving = draft.is_worth_saving() || self.saved.unsaved || !self.holding_is_saved();
        let Draft { table, received, mut summary, .. } = draft;
        self.guard.saw(table.len() as u64, now.wall);
        let published = Published { table, provenance };
        if worth_saving {
            self.save(&published, &received, now);
        }
        self.received = Some(received);
        self.publish(published);
        summary.saved = !self.saved.unsaved;
        summary
    }

    fn save(&mut self, published: &Published, received: &Received, now: Now) {
        let keep = Keep { published, received, holding: self.holding.as_ref(), guard: &self.guard };
        match self.store.save(&keep.to_saved(now.wall)) {
            Ok(info) => {
                self.saved_holding.clone_from(&self.holding);
                let generation = published.provenance.generation;
                self.saved = SavedReport { generation, at: now.wall, bytes: info.bytes, unsaved: false, error: None };
            }
            Err(error) => {
                self.saved.unsaved = true;
                self.saved.error = Some(error.to_string());
            }
        }
    }

    fn holding_is_saved(&self) -> bool {
        let key = |holding: &Holding| (holding.since, holding.generation);
        self.holding.as_ref().map(key) == self.saved_holding.as_ref().map(key)
    }

    fn publish(&mut self, published: Published) {
        self.current = Arc::new(published);
        let before = self.writer.publish(Arc::clone(&self.current));
        self.retired.push(before);
        self.drop_retired();
    }

    /// Drops tables that no reader has any more; the oldest in any case where there are too many.
    fn drop_retired(&mut self) {
        let too_many = self.retired.len().saturating_sub(MAX_RETIRED);
        self.retired.drain(..too_many);
        self.retired.retain(|published| Arc::strong_count(published) > 1);
    }

    /// Whether a table is served.
    #[must_use]
    pub fn has_table(&self) -> bool {
        self.current.has_table()
    }
}

fn invalid_named(received: &Received) -> Vec<(AppId, DocumentError)> {
    received.invalid().take(MAX_NAMED).map(|(id, error)| (id.clone(), error)).collect()
}
