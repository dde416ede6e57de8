//! The ways in which a call of the orchestrator can fail: a closed list, one variant for each branch a caller takes.

use std::time::Duration;

use routing_cache::wire::{StateAnswer, WireError};

/// Why a call brought no usable answer. None of them is information about the table.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// No connection, or it broke before an answer's head: refused, unknown name, TLS, reset.
    #[error("cannot be reached: {0}")]
    Unreachable(String),
    /// A deadline passed: says which.
    #[error("timed out: {0}")]
    Timeout(&'static str),
    /// A status that the call does not name.
    #[error("answered with status {0}")]
    Status(u16),
    /// The answer's body broke off, or could not be decompressed.
    #[error("the answer broke off: {0}")]
    CutShort(String),
    /// The answer is longer than its limit.
    #[error("the answer is over its limit of {limit} bytes")]
    TooLarge {
        /// In bytes, after decompression.
        limit: u64,
    },
    /// The answer came whole and means nothing.
    #[error("the answer cannot be used: {0}")]
    Garbage(#[source] WireError),
    /// The orchestrator says that it is not ready, and why.
    #[error("not ready: {0}")]
    NotReady(String),
    /// 410: our position is of no use any more; only a snapshot will do.
    #[error("our position is not known there any more")]
    Gone,
    /// 409: our position is ahead of this server.
    #[error("this server lags behind what was received before")]
    Ahead,
    /// 429 or 503 that says how long to stay away.
    #[error("asks to come back in {} s", .0.as_secs())]
    RetryAfter(Duration),
}

impl Failure {
    /// The `outcome` of `holdgate_orchestrator_requests_total`.
    #[must_use]
    pub fn outcome(&self) -> &'static str {
        match self {
            Self::Unreachable(_) => "refused",
            Self::Timeout(_) => "timeout",
            Self::Status(_) | Self::Gone | Self::Ahead | Self::RetryAfter(_) => "status",
            Self::CutShort(_) | Self::TooLarge { .. } | Self::Garbage(_) => "garbage",
            // An answer that says no is still an answer.
            Self::NotReady(_) => "ok",
        }
    }
}

impl From<WireError> for Failure {
    fn from(error: WireError) -> Self {
        match error {
            WireError::NotReady { reason } => Self::NotReady(reason),
            error => Self::Garbage(error),
        }
    }
}

/// What GET /v1/state brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// `ready:true`, and what else it says.
    Ready(StateAnswer),
    /// Not ready, and why.
    NotReady(String),
}
