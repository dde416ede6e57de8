//! What status, readiness, ack and metrics say about the table: plain values, with lists that are bounded.

use crate::{
    guard::Evidence,
    model::{AppId, Digest, Epoch, Generation, WallTime},
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

/// The last snapshot on disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SavedReport {
    /// Its generation.
    pub generation: Generation,
    /// When it was saved; of a restored one, when its table was confirmed last.
    pub at: WallTime,
    /// Its size; 0 of a restored one.
    pub bytes: u64,
    /// What is served is newer than what is on disk.
    pub unsaved: bool,
    /// Why the last attempt to save failed.
    pub error: Option<String>,
}

/// What boot found on disk.
#[derive(Clone, Debug, Default)]
pub struct BootReport {
    /// What is served from: file name and apps.
    pub restored: Option<String>,
    /// What was not whole: a file, or `FILE: app ID`, and why. Files are kept aside.
    pub damaged: Vec<(String, String)>,
    /// Files set aside earlier that were removed now, there being too many.
    pub removed: Vec<String>,
    /// `state_dir` could not be used for writing: why.
    pub unwritable: Option<String>,
}
