//! Where a table came from.

use super::{Epoch, Generation, WallTime};

/// Where the served table came from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Source {
    /// There is none: no table was ever received or found on disk.
    #[default]
    None,
    /// From disk, at start.
    Snapshot,
    /// From the orchestrator, by this process.
    Live,
    /// From the process before this one.
    Handover,
    /// An operator put it there.
    Operator,
}

impl Source {
    /// The word for it in status and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Snapshot => "snapshot",
            Self::Live => "live",
            Self::Handover => "handover",
            Self::Operator => "operator",
        }
    }
}

/// Where a table came from and when.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Provenance {
    /// Where from.
    pub source: Source,
    /// Its epoch; `None` only where `source` is [`Source::None`].
    pub epoch: Option<Epoch>,
    /// That of the last update applied, in whole or in part.
    pub generation: Generation,
    /// When the orchestrator last confirmed it: the time of the answer it is from.
    pub received_at: WallTime,
}
