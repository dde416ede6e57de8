//! What to ask next, and how long to wait before. Pure.

#[cfg(test)]
mod tests;

use std::time::Duration;

use routing_cache::updater::{Outcome, Position, Rejection};

use crate::{orchestrator::Failure, updates::Standing};

/// Changes that cannot be used so many times in a row are given up for a snapshot.
const MAX_UNUSABLE_CHANGES: u32 = 3;

/// A table request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    /// The whole table.
    Snapshot,
    /// What follows on this position.
    Changes(Position),
}

/// How long to wait before the next table request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pause {
    /// Not at all.
    None,
    /// As after a failure.
    BackOff,
    /// As the orchestrator asked for.
    For(Duration),
    /// As after a failure, and then until the orchestrator has something else: the same would be refused again, and a
    /// whole table every few seconds for that is a load on the orchestrator that brings nothing.
    UntilNews(News),
}

/// What makes another answer of one that was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum News {
    /// A later generation, or another epoch.
    OtherTable,
    /// Another epoch.
    OtherEpoch,
}

/// What the last answers mean for the next request.
#[derive(Clone, Debug, Default)]
pub(super) struct Plan {
    snapshot_next: bool,
    /// The last update was a snapshot, and no changes have followed on it yet. Another snapshot then is no progress.
    fresh: bool,
    unusable: u32,
}

impl Plan {
    /// The next request.
    pub(super) fn ask(&self, standing: &Standing) -> Ask {
        match &standing.position {
            Some(position) if !self.snapshot_next => Ask::Changes(position.clone()),
            _ => Ask::Snapshot,
        }
    }

    /// A request failed.
    pub(super) fn failed(&mut self, asked: &Ask, failure: &Failure) -> Pause {
        if let Failure::RetryAfter(delay) = failure {
            return Pause::For(*delay);
        }
        if *asked == Ask::Snapshot {
            return Pause::BackOff;
        }
        match failure {
            Failure::Gone => self.need_snapshot(),
            Failure::TooLarge { .. } => {
                self.snapshot_next = true;
                Pause::BackOff
            }
            Failure::Garbage(_) | Failure::CutShort(_) => {
                self.unusable += 1;
                self.snapshot_next |= self.unusable >= MAX_UNUSABLE_CHANGES;
                Pause::BackOff
            }
            _ => Pause::BackOff,
        }
    }

    /// An update was judged; `progress` is false for an answer that came too early and brought nothing.
    pub(super) fn judged(&mut self, asked: &Ask, outcome: &Outcome, progress: bool) -> Pause {
        match outcome {
            Outcome::Rejected(why) => after_rejection(why),
            Outcome::NeedSnapshot(_) => self.need_snapshot(),
            Outcome::Published(_) | Outcome::Unchanged(_) | Outcome::Held(_) => self.taken(asked, progress),
        }
    }

    /// True when the last answer was a good one to a request for changes: only that ends a row of failures, since
    /// snapshot and 410 in turn are a row of failures too.
    pub(super) fn is_settled(&self) -> bool {
        !self.snapshot_next && !self.fresh && self.unusable == 0
    }

    /// True where what is asked for can only be a snapshot by now.
    pub(super) fn is_outdated(asked: &Ask, standing: &Standing) -> bool {
        !standing.wants_answers || (standing.position.is_none() && matches!(asked, Ask::Changes(_)))
    }

    fn need_snapshot(&mut self) -> Pause {
        self.snapshot_next = true;
        if self.fresh { Pause::BackOff } else { Pause::None }
    }

    fn taken(&mut self, asked: &Ask, progress: bool) -> Pause {
        self.unusable = 0;
        self.snapshot_next = false;
        if *asked == Ask::Snapshot {
            self.fresh = true;
            return Pause::None;
        }
        if !progress {
            return Pause::BackOff;
        }
        self.fresh = false;
        Pause::None
    }
}

fn after_rejection(why: &Rejection) -> Pause {
    match why {
        Rejection::RetiredEpoch { .. } | Rejection::PartialOfAnotherEpoch { .. } => Pause::UntilNews(News::OtherEpoch),
        Rejection::Poisoned { .. } | Rejection::TooLarge { .. } | Rejection::TooManyInvalid { .. } => {
            Pause::UntilNews(News::OtherTable)
        }
        // Refused for the moment. While a table is pinned nothing is asked anyway.
        Rejection::GateShut(_)
        | Rejection::OldGeneration { .. }
        | Rejection::NotReady
        | Rejection::NothingWhole(_)
        | Rejection::Away
        | Rejection::Pinned => Pause::BackOff,
    }
}
