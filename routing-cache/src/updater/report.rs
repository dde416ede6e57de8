//! What status, readiness, ack and metrics say about the table: plain values, with lists that are bounded.

use crate::{
    guard::Evidence,
    model::{AppId, Digest, Epoch, Generation, WallTime},
    state::{Differences, Kind, Pin, State},
    store::{Damage, Poisoned},
    wire::DocumentError,
};

/// Apps named at most in a list of a report; beside it stands the total.
pub const MAX_NAMED: usize = 1000;

/// The word for why deletes are held.
pub const SHRINK_GUARD: &str = "shrink-guard";

/// Everything there is to say about the table but the table itself.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Whether answers may change the table now.
    pub gate_open: bool,
    /// Why not.
    pub gate_reason: Option<String>,
    /// The position received last.
    pub received: Option<(Epoch, Generation)>,
    /// Apps of the orchestrator's table at that position.
    pub received_apps: u64,
    /// The digest of the orchestrator's table at that position.
    pub received_digest: Digest,
    /// When the orchestrator last answered anything, this process being there.
    pub last_contact: Option<WallTime>,
    /// Whether its last word about itself was `ready:true`, and not too long ago.
    pub orchestrator_ready: bool,
    /// What is held.
    pub held: Held,
    /// Apps that are not served as received, with the reason; at most [`MAX_NAMED`], by id.
    pub invalid: Vec<(AppId, DocumentError)>,
    /// How many there are.
    pub invalid_total: usize,
    /// What is on disk.
    pub saved: SavedReport,
    /// Attempts to save it, since the start.
    pub saves: Saves,
    /// The table is to stay as it is.
    pub pin: Option<Pin>,
    /// Deleted apps that may not come back with the rev they had.
    pub tombstones: usize,
    /// Epochs that were left, newest first.
    pub retired: Vec<Epoch>,
    /// The table that was not booted, this gateway having crashed with it.
    pub poisoned: Option<Poisoned>,
    /// Apps that were deleted, came again with a rev they had before, and were refused: so many since the start.
    pub resurrections: u64,
    /// Apps that are refused so now.
    pub resurrected: usize,
}

/// Apps that the orchestrator took away and that are served all the same.
#[derive(Clone, Debug, Default)]
pub struct Held {
    /// The word for why; `None` when nothing is held.
    pub reason: Option<&'static str>,
    /// Since when something has been held without a break.
    pub since: Option<WallTime>,
    /// The generation by which the set last grew; what an approval must name.
    pub generation: Generation,
    /// Which apps; at most [`MAX_NAMED`], by id.
    pub deletes: Vec<AppId>,
    /// How many there are.
    pub total: usize,
    /// The numbers behind it.
    pub evidence: Option<Evidence>,
}

/// What is on disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SavedReport {
    /// Its generation.
    pub generation: Generation,
    /// When it was saved; of a restored one, when its table was confirmed last.
    pub at: WallTime,
    /// The size of the files in the state folder.
    pub bytes: u64,
    /// What is served is newer than what is on disk.
    pub unsaved: bool,
    /// Why the last attempt to save failed.
    pub error: Option<String>,
}

/// Attempts to save since the start, by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Saves {
    /// One change, appended to the journal.
    pub appended: Attempts,
    /// The whole state, as a snapshot.
    pub whole: Attempts,
    /// What had failed before, once more.
    pub retried: Attempts,
}

/// How attempts of one kind ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attempts {
    /// So many were good.
    pub ok: u64,
    /// So many were not.
    pub failed: u64,
}

impl Attempts {
    pub(super) fn count<T, E>(&mut self, result: &Result<T, E>) {
        *(if result.is_ok() { &mut self.ok } else { &mut self.failed }) += 1;
    }
}

/// The sizes that are watched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    /// All documents served, in bytes.
    pub documents_bytes: u64,
    /// The files in the state folder, in bytes.
    pub store_bytes: u64,
    /// The apps with the largest documents, largest first, with their sizes in bytes; at most five.
    pub largest: Vec<(AppId, u64)>,
}

/// What boot found on disk.
#[derive(Clone, Debug, Default)]
pub struct BootReport {
    /// What is served from: files and apps.
    pub restored: Option<String>,
    /// What was not whole, and what became of it.
    pub damaged: Vec<Damage>,
    /// Files set aside earlier that were removed now, there being too many.
    pub removed: Vec<String>,
    /// `state_dir` could not be used for writing: why.
    pub unwritable: Option<String>,
    /// The table that was not booted, this gateway having crashed with it.
    pub poisoned: Option<Poisoned>,
    /// Changes that had been acknowledged could not be read.
    pub lost: bool,
    /// What became of the image there was, if there was one.
    pub image: Option<ImageFate>,
}

/// What became of an image that a start was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImageFate {
    /// It is served: it is newer than what is on disk, or there is nothing.
    Restored,
    /// What is on disk is served: it is as new, or newer.
    NotNewer,
    /// It is not whole: why.
    NotWhole(String),
    /// Runs have died young, and it may be why.
    KeptOut,
}

/// Whether what was received is what the orchestrator says it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audit {
    /// It is.
    Same,
    /// They are of different generations, or nothing was received: nothing follows from it.
    NotComparable,
    /// It is not: only a snapshot will do.
    Drifted,
}

impl Held {
    /// What is held of a state.
    pub(super) fn of(state: &State) -> Self {
        let (Some(holding), Some(differences)) = (&state.meta.holding, state.differences()) else {
            return Self::default();
        };
        let held = differences.iter().filter(|(_, difference)| difference.kind.is_held());
        Self {
            reason: Some(SHRINK_GUARD),
            since: Some(holding.since),
            generation: holding.generation,
            deletes: held.take(MAX_NAMED).map(|(id, _)| id.clone()).collect(),
            total: differences.held(),
            evidence: Some(holding.evidence),
        }
    }
}

/// The apps that are reported as invalid.
pub(super) fn invalid_named(differences: &Differences) -> Vec<(AppId, DocumentError)> {
    let invalid = differences.iter().filter_map(|(id, difference)| Some((id.clone(), error_of(&difference.kind)?)));
    if differences.invalid() == 0 { Vec::new() } else { invalid.take(MAX_NAMED).collect() }
}

fn error_of(kind: &Kind) -> Option<DocumentError> {
    match kind {
        Kind::Invalid(_, field, message) => Some(DocumentError { field: field.clone(), message: message.clone() }),
        Kind::Waiting(_, why) => {
            let (field, message) = why.split_once(": ").unwrap_or(("", why));
            Some(DocumentError { field: field.into(), message: message.into() })
        }
        _ => None,
    }
}
