//! The counters of the calls, made once and held.

use std::time::Duration;

use metrics::{Counter, Histogram, counter, histogram};

use crate::telemetry::names;

/// A call of the orchestrator API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// GET /v1/state.
    State,
    /// GET /v1/snapshot.
    Snapshot,
    /// GET /v1/changes.
    Changes,
    /// POST /v1/ack.
    Ack,
    /// GET of the readiness URL.
    Readiness,
}

impl Call {
    /// Its name in metrics and logs, a value of [`names::CALL`].
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::State => "state",
            Self::Snapshot => "snapshot",
            Self::Changes => "changes",
            Self::Ack => "ack",
            Self::Readiness => "readiness",
        }
    }
}

/// The counters of one call.
#[derive(Debug)]
pub struct CallMetrics {
    outcomes: [(&'static str, Counter); 5],
    duration: Histogram,
}

impl CallMetrics {
    /// Those of `call`.
    #[must_use]
    pub fn new(call: Call) -> Self {
        let of = |outcome| {
            let labels = [(names::CALL, call.as_str()), (names::OUTCOME, outcome)];
            (outcome, counter!(names::ORCHESTRATOR_REQUESTS, &labels))
        };
        Self {
            outcomes: names::CALL_OUTCOMES.map(of),
            duration: histogram!(names::ORCHESTRATOR_REQUEST_DURATION, names::CALL => call.as_str()),
        }
    }

    /// Counts one call that ended in `outcome`, a value of [`names::CALL_OUTCOMES`].
    pub fn count(&self, outcome: &'static str, took: Duration) {
        if let Some((_, counter)) = self.outcomes.iter().find(|(name, _)| *name == outcome) {
            counter.increment(1);
        }
        self.duration.record(took);
    }
}
