//! POST /v1/ack: what a gateway tells the orchestrator it did with an update.

use routing_cache::model::{AppId, Epoch, Generation};
use serde::Serialize;

/// What became of an update.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AckStatus {
    /// Served.
    Applied,
    /// Served, but for deletes that are held.
    Held,
    /// Refused whole.
    Rejected,
}

/// The body of an ack.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Ack {
    /// `gateway.name`.
    pub gateway: String,
    /// This program's version.
    pub version: &'static str,
    /// The update's epoch.
    pub epoch: String,
    /// The update's generation.
    pub generation: u64,
    /// What became of it.
    pub status: AckStatus,
    /// Apps whose delete is held; the first ones.
    pub held: Vec<AckHeld>,
    /// Apps whose document is invalid; the first ones.
    pub errors: Vec<AckError>,
    /// What is served now.
    pub serving: AckServing,
}

/// A held app.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AckHeld {
    /// Which.
    pub app: String,
    /// By what.
    pub why: &'static str,
}

/// An invalid app.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AckError {
    /// Which.
    pub app: String,
    /// What is wrong with its document.
    pub message: String,
}

/// The served table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AckServing {
    /// Its epoch; `null` while there is no table.
    pub epoch: Option<String>,
    /// The last update applied to it.
    pub generation: u64,
    /// Where it came from.
    pub source: &'static str,
    /// Since the orchestrator last confirmed it.
    pub age_s: u64,
}

impl AckHeld {
    /// `app` is held for `why`.
    #[must_use]
    pub fn new(app: &AppId, why: &'static str) -> Self {
        Self { app: app.as_str().to_owned(), why }
    }
}

impl AckServing {
    /// The served table's identity.
    #[must_use]
    pub fn new(epoch: Option<&Epoch>, generation: Generation) -> Self {
        Self { epoch: epoch.map(|e| e.as_str().to_owned()), generation: generation.0, source: "none", age_s: 0 }
    }
}
