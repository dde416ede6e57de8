//! Boot, offer, approve, steer: decode -> gate -> guard -> save -> publish. The only way into the table.
//!
//! It owns the one [`Writer`], the store, the gate, the guard and the [`State`]. It never asks the time and never opens a
//! socket; it does write to disk, so it is not called from a thread that serves requests.
//!
//! - Nothing is changed in place: an update is a `Draft`, and a draft that is refused is dropped.
//! - The order of a commit is: judge, save, publish. A disk that fails does not stop the publication.
//! - What is saved, and when: every change, whenever the apps, the position or what is held change. That the orchestrator
//!   has confirmed what is there is published and not saved, so a restart shows the table a little older than it is.
//! - What was *received* stands apart from what is *served* ([`crate::state::Received`]), so apps that are held, invalid,
//!   stale or refused make nobody ask for the table again.

mod arrival;
mod carry;
mod draft;
mod handover;
mod hosts;
mod keep;
mod mark;
mod offer;
mod outcome;
mod report;
mod steer;
#[cfg(test)]
mod tests;
mod weigh;

use std::{path::Path, sync::Arc, time::Duration};

use crate::{
    disk::{Disk, ReadFile, RealDisk},
    gate::{Gate, GateConfig, Observation},
    guard::Guard,
    limits::Limits,
    live::{self, Published, Reader, Writer},
    model::{Now, Source, WallTime},
    state::State,
    store::{OpenError, Store},
};

pub use crate::{
    guard::{Evidence, GuardConfig},
    state::{Pin, PinnedBy, Position},
    store::{Damage, Image, PoisonRules, Poisoned, Regained},
};
pub use handover::{Claimed, ReceiveError};
pub use mark::{Comparison, TableMark};
pub use outcome::{ApproveError, EpochError, Outcome, Rejection, SteerError, Summary};
pub use report::{
    Attempts, Audit, BootReport, Held, ImageFate, MAX_NAMED, Report, SHRINK_GUARD, SavedReport, Saves, Sizes,
};

/// What an updater goes by.
#[derive(Clone, Debug)]
pub struct UpdaterConfig {
    /// When the orchestrator is believed.
    pub gate: GateConfig,
    /// What it may do.
    pub guard: GuardConfig,
    /// The bounds on its answers. The decoders enforce them; here it is that deltas do not add up to more.
    pub limits: Limits,
    /// When a table is not booted again.
    pub poison: PoisonRules,
}

/// Why the state folder was not taken, at a start or by a [claim](Updater::claim). It can be tried again.
#[derive(Debug, thiserror::Error)]
pub enum BootError {
    /// Another process holds the lock.
    #[error("the state folder is in use by another process{}", .pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default())]
    Locked {
        /// Which one, where known.
        pid: Option<u32>,
    },
    /// The folder cannot even be looked at.
    #[error("{folder}: {source}")]
    Disk {
        /// Which folder.
        folder: String,
        /// What the system said.
        source: std::io::Error,
    },
}

/// See the module.
#[derive(Debug)]
pub struct Updater {
    config: UpdaterConfig,
    gate: Gate,
    guard: Guard,
    store: Store,
    writer: Writer,
    /// As it is published, and on disk unless `saved` says otherwise.
    state: State,
    retired: Vec<Arc<Published>>,
    /// What was received is not what the orchestrator has: only a snapshot will do.
    drifted: bool,
    last_contact: Option<WallTime>,
    saved: SavedReport,
    poisoned: Option<Poisoned>,
    refused_resurrections: u64,
    compacting: Option<keep::Compacting>,
    saves: Saves,
    largest: keep::Largest,
    booted_at: Duration,
    /// When a table was last noted as one to live with.
    proven_at: Option<Duration>,
    /// It has not changed since.
    is_proven: bool,
}

impl Updater {
    /// Restores from disk, or serves nothing. A damaged or unwritable folder is in the report and never an error.
    ///
    /// # Errors
    /// When another process works on `state_dir`.
    pub fn boot(config: UpdaterConfig, state_dir: &Path, now: Now) -> Result<(Self, Reader, BootReport), BootError> {
        Self::boot_on(Arc::new(RealDisk), config, state_dir, now)
    }

    /// As [`Updater::boot`], with an image that a process before has left, which is restored where it is whole and newer than
    /// what is on disk. Which it was stands in the report.
    ///
    /// # Errors
    /// When another process works on `state_dir`.
    pub fn boot_with(
        config: UpdaterConfig,
        state_dir: &Path,
        image: Option<&mut dyn ReadFile>,
        now: Now,
    ) -> Result<(Self, Reader, BootReport), BootError> {
        Self::boot_with_on(Arc::new(RealDisk), config, state_dir, image, now)
    }

    /// As [`Updater::boot`], on a disk of the caller's.
    ///
    /// # Errors
    /// When another process works on `state_dir`.
    pub fn boot_on(
        disk: Arc<dyn Disk>,
        config: UpdaterConfig,
        state_dir: &Path,
        now: Now,
    ) -> Result<(Self, Reader, BootReport), BootError> {
        Self::boot_with_on(disk, config, state_dir, None, now)
    }

    /// As [`Updater::boot_with`], on a disk of the caller's.
    ///
    /// # Errors
    /// When another process works on `state_dir`.
    pub fn boot_with_on(
        disk: Arc<dyn Disk>,
        config: UpdaterConfig,
        state_dir: &Path,
        image: Option<&mut dyn ReadFile>,
        now: Now,
    ) -> Result<(Self, Reader, BootReport), BootError> {
        let mut store = Store::open(disk, state_dir)?;
        let mut found = store.boot(config.poison, now.wall);
        let on_disk = found.state.as_ref().map(|state| state.meta.provenance.clone());
        let fate = image.map(|image| handover::choose(&mut store, &mut found, config.poison, image));
        let (writer, reader) = live::cell(Published::default());
        let mut updater = Self::new(config, store, writer, now);
        let mut report = BootReport {
            damaged: found.damaged,
            removed: found.removed,
            unwritable: updater.store.unwritable().map(str::to_owned),
            lost: found.lost,
            image: fate,
            ..BootReport::default()
        };
        if let Some(state) = found.state {
            updater.restore(state, Source::Snapshot, now);
            let apps = updater.state.table.len();
            report.restored = updater.has_table().then(|| format!("{} with {apps} apps", found.origin));
        }
        updater.poisoned = found.poisoned.filter(|poisoned| updater.is_behind_of(poisoned));
        report.poisoned.clone_from(&updater.poisoned);
        updater.saved.error.clone_from(&report.unwritable);
        if report.image == Some(ImageFate::Restored) {
            updater.note_on_disk(on_disk.as_ref());
            updater.saved.unsaved = true;
        }
        updater.saved.bytes = updater.store.bytes();
        Ok((updater, reader, report))
    }

    fn new(config: UpdaterConfig, store: Store, writer: Writer, now: Now) -> Self {
        Self {
            gate: Gate::new(config.gate.clone()),
            guard: Guard::new(config.guard),
            config,
            store,
            writer,
            state: State::default(),
            retired: Vec::new(),
            drifted: false,
            last_contact: None,
            saved: SavedReport::default(),
            poisoned: None,
            refused_resurrections: 0,
            compacting: None,
            saves: Saves::default(),
            largest: keep::Largest::default(),
            booted_at: now.monotonic,
            proven_at: None,
            is_proven: false,
        }
    }

    fn restore(&mut self, state: State, source: Source, now: Now) {
        self.state = state;
        if !self.has_table() {
            return;
        }
        let meta = &mut self.state.meta;
        let away = meta.window.iter().fold(0_u64, |sum, (_, count)| sum.saturating_add(*count));
        // An hour's largest number that has outlived its hour would let more go: what is there and what went bound it.
        let most = meta.hour_max.min(away.saturating_add(self.state.table.len() as u64));
        self.guard = Guard::restore(self.config.guard, &meta.window, most, now.wall);
        meta.provenance.source = if meta.pin.is_some() { Source::Operator } else { source };
        (self.saved.generation, self.saved.at) = (meta.provenance.generation, meta.provenance.received_at);
        self.publish();
    }

    /// Whether the table found to be poison is ahead of the one that is served; else it is past.
    fn is_behind_of(&self, poisoned: &Poisoned) -> bool {
        let served = &self.state.meta.provenance;
        served.epoch != poisoned.epoch || served.generation <= poisoned.generation
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
    /// that it is ready; and no operator has pinned the table.
    #[must_use]
    pub fn wants_answers(&self, now: Now) -> bool {
        let believed = if self.has_table() { self.gate.is_open(now) } else { self.gate.says_ready(now) };
        believed && self.state.meta.pin.is_none() && !self.store.is_away()
    }

    /// What the next changes call asks for. `None`: only a snapshot will do.
    #[must_use]
    pub fn position(&self) -> Option<Position> {
        let received = self.state.received.as_ref().filter(|_| !self.drifted && !self.state.meta.foreign)?;
        let is_left = self.state.meta.retired.contains(&received.position.epoch);
        (!is_left).then(|| received.position.clone())
    }

    /// Whether a table is served.
    #[must_use]
    pub fn has_table(&self) -> bool {
        self.state.has_table()
    }

    /// Everything there is to say, now.
    #[must_use]
    pub fn report(&self, now: Now) -> Report {
        let reason = self.gate.shut_reason(now);
        let State { received, tombstones, meta, .. } = &self.state;
        let received = received.as_ref().filter(|_| !meta.foreign);
        let differences = received.map(|received| &received.differences);
        Report {
            gate_open: reason.is_none(),
            gate_reason: reason.map(|reason| reason.to_string()),
            received: received.map(|r| (r.position.epoch.clone(), r.position.generation)),
            received_apps: received.map(|r| r.apps).unwrap_or_default(),
            received_digest: received.map(|r| r.digest).unwrap_or_default(),
            last_contact: self.last_contact,
            orchestrator_ready: self.gate.says_ready(now),
            held: Held::of(&self.state),
            invalid: differences.map(report::invalid_named).unwrap_or_default(),
            invalid_total: differences.map_or(0, |differences| differences.invalid()),
            saved: self.saved.clone(),
            saves: self.saves,
            pin: meta.pin.clone(),
            tombstones: tombstones.len(),
            retired: meta.retired.clone(),
            poisoned: self.poisoned.clone(),
            resurrections: self.refused_resurrections,
            resurrected: differences.map_or(0, |differences| differences.resurrected()),
        }
    }

    /// New settings.
    pub fn reconfigure(&mut self, config: UpdaterConfig) {
        self.gate.reconfigure(config.gate.clone());
        self.guard.reconfigure(config.guard);
        self.config = config;
        if self.config.poison.crashes == 0 {
            self.poisoned = None;
        }
    }

    /// What it goes by.
    #[must_use]
    pub fn config(&self) -> &UpdaterConfig {
        &self.config
    }
}

impl From<OpenError> for BootError {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Locked { pid, .. } => Self::Locked { pid },
            OpenError::Disk { folder, source } => Self::Disk { folder, source },
        }
    }
}
