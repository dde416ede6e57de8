//! What was *received*, apart from what is *served*: position, count and digest are those that the orchestrator's are
//! compared with (spec/orchestrator-api.md, rule 8).
//!
//! Almost every app is served as it was received, so only the [`Difference`]s are kept: an app without one was received
//! as it is served. Invariant: `apps` and `digest` are those of the served table with every difference applied.

use std::sync::Arc;

use super::ids::IdMap;
use crate::model::{AppId, AppRecord, Digest, Epoch, Generation, Record, Rev};

/// The orchestrator's position the gateway has received: what `since` and `epoch` of the next changes call are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// Which numbering.
    pub epoch: Epoch,
    /// Where in it.
    pub generation: Generation,
}

/// What was received of an app, as far as its place in the digest goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Number {
    /// Its document's number.
    pub rev: Rev,
    /// Its number in the received table's digest.
    pub digest: Digest,
}

/// The orchestrator's table as received.
#[derive(Clone, Debug)]
pub struct Received {
    /// How far.
    pub position: Position,
    /// Apps in it.
    pub apps: u64,
    /// Its digest.
    pub digest: Digest,
    /// How apps differ from what is served of them.
    pub differences: Differences,
}

/// The apps that are not served as received, by id. Cloning is cheap, also when there are a million, and so is a change
/// after it.
#[derive(Clone, Debug, Default)]
pub struct Differences {
    all: IdMap<Arc<Difference>>,
    held: usize,
    invalid: usize,
    waiting: usize,
    resurrected: usize,
}

/// How what was received of an app differs from what is served of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// How.
    pub kind: Kind,
    /// The served version's rev is of another epoch: it cannot be compared.
    pub foreign: bool,
}

/// How what was received of an app differs from what is served of it.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// It is not received any more, and its delete is held: by this rev.
    Deleted(Rev),
    /// It has no endpoints any more, and that is held.
    Withheld(AppRecord),
    /// It is valid, and waits for a host: says which, and whose it is.
    Waiting(AppRecord, String),
    /// Its document is invalid: says why (field, message).
    Invalid(Number, String, String),
    /// Its rev is below the served one's.
    Stale(Number),
    /// Its rev is not above its tombstone's, and it is not served.
    Resurrected(Number),
}

impl Number {
    /// Of an app as it is served.
    #[must_use]
    pub fn of(record: Record<'_>) -> Self {
        Self { rev: record.rev(), digest: record.digest() }
    }
}

impl Kind {
    /// What was received; `None` where the app is not there any more.
    #[must_use]
    pub fn received(&self) -> Option<Number> {
        match self {
            Self::Deleted(_) => None,
            Self::Withheld(app) | Self::Waiting(app, _) => Some(Number::of(app.get())),
            Self::Invalid(number, ..) | Self::Stale(number) | Self::Resurrected(number) => Some(*number),
        }
    }

    /// Whether the guard holds the app.
    #[must_use]
    pub fn is_held(&self) -> bool {
        matches!(self, Self::Deleted(_) | Self::Withheld(_))
    }

    /// Whether the app is reported as invalid.
    #[must_use]
    pub fn is_invalid(&self) -> bool {
        matches!(self, Self::Invalid(..) | Self::Waiting(..))
    }
}

impl Received {
    /// Nothing, at a position.
    #[must_use]
    pub fn nothing(position: Position) -> Self {
        Self { position, apps: 0, digest: Digest::default(), differences: Differences::default() }
    }

    /// Notes how an app differs from what is served of it.
    pub fn differ(&mut self, id: AppId, difference: Difference) {
        self.differences.insert(id, difference);
    }

    /// Notes that an app was received as it is served.
    pub fn agree(&mut self, id: &AppId) {
        self.differences.remove(id.as_str());
    }
}

impl Differences {
    /// How the app differs, if it does.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<&Difference> {
        self.all.get(id).map(Arc::as_ref)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// True when all is served as received.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.all.len() == 0
    }

    /// All, by id.
    pub fn iter(&self) -> impl Iterator<Item = (&AppId, &Difference)> {
        self.all.iter().map(|(id, difference)| (id, &**difference))
    }

    /// How many apps the guard holds.
    #[must_use]
    pub fn held(&self) -> usize {
        self.held
    }

    /// How many apps are reported as invalid.
    #[must_use]
    pub fn invalid(&self) -> usize {
        self.invalid
    }

    /// How many apps wait for a host.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting
    }

    /// How many apps are back that were deleted, and refused.
    #[must_use]
    pub fn resurrected(&self) -> usize {
        self.resurrected
    }

    fn insert(&mut self, id: AppId, difference: Difference) {
        self.count(&difference.kind, usize::wrapping_add);
        if let Some(before) = self.all.insert(id, Arc::new(difference)) {
            self.count(&before.kind, usize::wrapping_sub);
        }
    }

    fn remove(&mut self, id: &str) {
        if let Some(before) = self.all.remove(id) {
            self.count(&before.kind, usize::wrapping_sub);
        }
    }

    fn count(&mut self, kind: &Kind, add: fn(usize, usize) -> usize) {
        let one = |is: bool| usize::from(is);
        self.held = add(self.held, one(kind.is_held()));
        self.invalid = add(self.invalid, one(kind.is_invalid()));
        self.waiting = add(self.waiting, one(matches!(kind, Kind::Waiting(..))));
        self.resurrected = add(self.resurrected, one(matches!(kind, Kind::Resurrected(_))));
    }
}
