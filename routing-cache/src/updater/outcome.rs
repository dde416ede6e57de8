//! What became of an offer.

use crate::{gate::ShutReason, model::Generation};

/// What became of an offer.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// Published in whole.
    Published(Summary),
    /// Nothing differed from what is served; that it is still so was noted.
    Unchanged(Summary),
    /// Published, but for what is held.
    Held(Summary),
    /// Judged and refused: live table untouched.
    Rejected(Rejection),
    /// A delta after which digest or count differ, or that does not follow on what was received: take a snapshot. Live
    /// table untouched.
    NeedSnapshot(String),
}

/// Counts of one update.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Apps that were not served before.
    pub added: usize,
    /// Apps served in another version than before.
    pub updated: usize,
    /// Apps that are not served any more.
    pub removed: usize,
    /// Apps held, from before included.
    pub held: usize,
    /// Apps of this update that are not served as sent: invalid documents, and hosts that are another's.
    pub invalid: usize,
    /// Apps of this update with a rev below the live one's.
    pub stale: usize,
    /// What is served is on disk.
    pub saved: bool,
}

/// Why an offer was refused.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Rejection {
    /// The orchestrator is not to be believed now.
    #[error("the gate is shut: {0}")]
    GateShut(ShutReason),
    /// Within an epoch a generation never goes back.
    #[error("generation {offered} is older than {received}, which was received before")]
    OldGeneration {
        /// What came.
        offered: Generation,
        /// What had come before.
        received: Generation,
    },
    /// Too many documents are invalid for the rest to be believed.
    #[error("{invalid} documents are invalid, the table having {apps} apps")]
    TooManyInvalid {
        /// So many that were not received before.
        invalid: usize,
        /// Of the table that was offered.
        apps: usize,
    },
    /// The answer itself says so.
    #[error("the answer says ready:false")]
    NotReady,
    /// There is no table yet, and a source that could not be read whole had no valid app.
    #[error("the source could not be read whole and has no valid app: {0}")]
    NothingWhole(String),
}

impl Outcome {
    /// The `outcome` of `table_updates_total`.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::Published(_) => "published",
            Self::Unchanged(_) => "unchanged",
            Self::Held(_) => "held",
            Self::Rejected(_) => "rejected",
            Self::NeedSnapshot(_) => "failed",
        }
    }

    /// Its counts; `None` where nothing was applied.
    #[must_use]
    pub fn summary(&self) -> Option<&Summary> {
        match self {
            Self::Published(summary) | Self::Unchanged(summary) | Self::Held(summary) => Some(summary),
            Self::Rejected(_) | Self::NeedSnapshot(_) => None,
        }
    }
}
