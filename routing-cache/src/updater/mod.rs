//! Boot, offer, approve, steer: decode -> gate -> guard -> save -> publish. The only way into the table.

mod outcome;
mod report;

use std::{path::Path, sync::Arc};

use crate::{
    disk::Disk,
    gate::{GateConfig, Observation},
    limits::Limits,
    live::Reader,
    model::{Epoch, Generation, Now},
    state::State,
    store::{Archive, Compacted, Compaction},
    wire::{Changes, SnapshotCandidate, StateAnswer},
};

pub use crate::{
    guard::{Evidence, GuardConfig},
    state::{Pin, PinnedBy, Position},
    store::{Damage, PoisonRules, Poisoned},
};
pub use outcome::{ApproveError, EpochError, Outcome, Rejection, SteerError, Summary};
pub use report::{Audit, BootReport, Held, MAX_NAMED, Report, SHRINK_GUARD, SavedReport, Sizes};

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

/// See the module.
#[derive(Debug)]
pub struct Updater {
    config: UpdaterConfig,
}

#[allow(unused_variables, clippy::unused_self, missing_docs)]
impl Updater {
    pub fn boot(config: UpdaterConfig, state_dir: &Path, now: Now) -> Result<(Self, Reader, BootReport), BootError> {
        unimplemented!()
    }
    pub fn boot_on(
        disk: Arc<dyn Disk>,
        config: UpdaterConfig,
        state_dir: &Path,
        now: Now,
    ) -> Result<(Self, Reader, BootReport), BootError> {
        unimplemented!()
    }
    pub fn observe(&mut self, seen: Observation, now: Now) {
        unimplemented!()
    }
    pub fn wants_answers(&self, now: Now) -> bool {
        unimplemented!()
    }
    pub fn position(&self) -> Option<Position> {
        unimplemented!()
    }
    pub fn has_table(&self) -> bool {
        unimplemented!()
    }
    pub fn offer_snapshot(&mut self, candidate: SnapshotCandidate, now: Now) -> Outcome {
        unimplemented!()
    }
    pub fn offer_changes(&mut self, changes: Changes, now: Now) -> Outcome {
        unimplemented!()
    }
    pub fn audit(&mut self, answer: &StateAnswer, now: Now) -> Audit {
        unimplemented!()
    }
    pub fn approve(&mut self, generation: Generation, now: Now) -> Result<Outcome, ApproveError> {
        unimplemented!()
    }
    pub fn approve_epoch(&mut self, epoch: &Epoch, now: Now) -> Result<(), EpochError> {
        unimplemented!()
    }
    pub fn rollback(&mut self, to: State, now: Now) -> Result<Outcome, SteerError> {
        unimplemented!()
    }
    pub fn import(&mut self, candidate: SnapshotCandidate, now: Now) -> Result<Outcome, SteerError> {
        unimplemented!()
    }
    pub fn unpin(&mut self, now: Now) -> Result<(), SteerError> {
        unimplemented!()
    }
    pub fn archive(&self) -> Archive {
        unimplemented!()
    }
    pub fn compaction(&mut self) -> Option<Compaction> {
        unimplemented!()
    }
    pub fn compacted(&mut self, compacted: Compacted, now: Now) {
        unimplemented!()
    }
    pub fn tick(&mut self, now: Now) {
        unimplemented!()
    }
    pub fn stopping(&mut self) {
        unimplemented!()
    }
    pub fn retry_save(&mut self, now: Now) -> bool {
        unimplemented!()
    }
    pub fn report(&self, now: Now) -> Report {
        unimplemented!()
    }
    pub fn sizes(&mut self) -> Sizes {
        unimplemented!()
    }
    pub fn reconfigure(&mut self, config: UpdaterConfig) {
        unimplemented!()
    }
    pub fn config(&self) -> &UpdaterConfig {
        &self.config
    }
}
