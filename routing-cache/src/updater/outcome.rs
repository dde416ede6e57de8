//! What became of an offer, or of an operator's wish.

use crate::{
    gate::ShutReason,
    limits::LimitName,
    model::{Epoch, Generation},
};

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
    /// Apps of this update that were deleted and may not come back with this rev.
    pub refused: usize,
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
    /// The epoch was left for another one. An operator may take it back.
    #[error("epoch {epoch} was left for another one (`holdgate table approve --epoch {epoch}` takes it back)")]
    RetiredEpoch {
        /// Which.
        epoch: Epoch,
    },
    /// What could not be read whole is no answer to what another epoch, or an operator, has left.
    #[error("a source that could not be read whole cannot begin epoch {epoch}")]
    PartialOfAnotherEpoch {
        /// Which.
        epoch: Epoch,
    },
    /// It is on its way from one process to another.
    #[error("the table is being handed from one process to another")]
    Away,
    /// An operator has said that the table is to stay as it is.
    #[error("the table is pinned (`holdgate table unpin` follows the orchestrator again)")]
    Pinned,
    /// It would make the table again after which this gateway crashed.
    #[error("it makes the table of generation {generation} again, with which this gateway crashed")]
    Poisoned {
        /// The generation that crashed.
        generation: Generation,
    },
    /// The table would grow over a limit.
    #[error("the table would have {found} {}, the limit {limit} is {allowed}", limit_unit(*limit))]
    TooLarge {
        /// Which limit.
        limit: LimitName,
        /// What it would be.
        found: u64,
        /// What it may be.
        allowed: u64,
    },
}

fn limit_unit(limit: LimitName) -> &'static str {
    if limit == LimitName::SnapshotApps { "apps" } else { "bytes" }
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
    /// The table is to stay as it is.
    #[error("the table is pinned: unpin it first")]
    Pinned,
}

/// Why an epoch was not taken back.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EpochError {
    /// It was not left.
    #[error("epoch {epoch} is not one that was left")]
    NotRetired {
        /// Which.
        epoch: Epoch,
    },
}

/// Why the table was not put where an operator wants it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SteerError {
    /// It follows the orchestrator already.
    #[error("the table is not pinned")]
    NotPinned,
    /// That would serve nothing.
    #[error("there is no app in it")]
    Empty,
    /// Too many documents are invalid for the rest to be meant.
    #[error("{invalid} of {apps} documents are invalid: {first}")]
    TooManyInvalid {
        /// So many.
        invalid: usize,
        /// Of so many.
        apps: usize,
        /// One of them, and what is wrong with it.
        first: String,
    },
    /// It was not read whole.
    #[error("it could not be read whole: {0}")]
    NotWhole(String),
    /// It was taken while the orchestrator was not ready, and is no table.
    #[error("it says ready:false")]
    NotReady,
    /// Two apps of it claim one host, which cannot be in a table that was served.
    #[error("{0}")]
    Inconsistent(String),
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

impl Summary {
    /// Whether the table differs from the one before.
    #[must_use]
    pub fn changes_table(&self) -> bool {
        self.added + self.updated + self.removed > 0
    }
}
