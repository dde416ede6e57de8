//! What was *received*, apart from what is *served*: position, count and digest are those that the orchestrator's are
//! compared with (spec/orchestrator-api.md, rule 8).
//!
//! Almost every app is served as it was received, so only the [`Difference`]s are kept: an app without one was received
//! as it is served. Invariant: `apps` and `digest` are those of the served table with every difference applied.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    model::{App, AppId, Digest, Epoch, Generation},
    snapshot::ReceivedApp,
    table::Table,
    wire::DocumentError,
};

/// The orchestrator's position the gateway has received: what `since` and `epoch` of the next changes call are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// Which numbering.
    pub epoch: Epoch,
    /// Where in it.
    pub generation: Generation,
}

/// The orchestrator's table as received.
#[derive(Clone, Debug)]
pub(super) struct Received {
    pub(super) position: Position,
    pub(super) apps: u64,
    pub(super) digest: Digest,
    /// Shared until it changes: while much is held it is large, and most updates leave it as it is.
    pub(super) differences: Arc<BTreeMap<AppId, Difference>>,
}

/// How what was received of an app differs from what is served of it.
#[derive(Clone, Debug)]
pub(super) struct Difference {
    pub(super) kind: Kind,
    /// The served version's rev is, or may be, of another epoch: it cannot be compared.
    pub(super) foreign: bool,
}

#[derive(Clone, Debug)]
pub(super) enum Kind {
    /// It is not received any more, and its delete is held.
    Deleted,
    /// It has no endpoints any more, and that is held.
    Withheld(Arc<App>),
    /// It is valid, and waits: for this update to be carried out, or (then it says why) for its host.
    Waiting(Arc<App>, Option<Box<DocumentError>>),
    /// Its document is invalid.
    Invalid(ReceivedApp, Box<DocumentError>),
    /// Its rev is below the served one's.
    Stale(ReceivedApp),
    /// It differed when this gateway was restarted, and its document was not kept.
    Unknown {
        /// What was received.
        number: ReceivedApp,
        /// Something was held then, and it may have been this. Once let go, the document is not held when it comes.
        held: bool,
    },
}

impl Kind {
    /// What was received; `None` where the app is not there any more.
    pub(super) fn received(&self) -> Option<ReceivedApp> {
        match self {
            Self::Deleted => None,
            Self::Withheld(app) | Self::Waiting(app, _) => Some(ReceivedApp::of(app)),
            Self::Invalid(number, _) | Self::Stale(number) | Self::Unknown { number, .. } => Some(*number),
        }
    }

    /// Whether the guard holds the app.
    pub(super) fn is_held(&self) -> bool {
        matches!(self, Self::Deleted | Self::Withheld(_) | Self::Unknown { held: true, .. })
    }

    /// Whether the app is reported as invalid.
    pub(super) fn is_invalid(&self) -> bool {
        matches!(self, Self::Invalid(..) | Self::Waiting(_, Some(_)) | Self::Unknown { held: false, .. })
    }

    /// Why the app is reported as invalid.
    pub(super) fn error(&self) -> Option<DocumentError> {
        match self {
            Self::Invalid(_, error) | Self::Waiting(_, Some(error)) => Some((**error).clone()),
            Self::Unknown { held: false, .. } => Some(DocumentError {
                field: "spec".into(),
                message: "was not served as received when this gateway was restarted; waits for a snapshot".into(),
            }),
            _ => None,
        }
    }
}

impl Received {
    /// Nothing, at a position.
    pub(super) fn nothing(position: Position) -> Self {
        Self { position, apps: 0, digest: Digest::default(), differences: Arc::default() }
    }

    /// The same, with one app more in its count and digest.
    pub(super) fn with(mut self, app: ReceivedApp) -> Self {
        self.apps += 1;
        self.digest = self.digest.plus(app.digest);
        self
    }

    /// What was received of an app.
    pub(super) fn of(&self, id: &AppId, served: &Table) -> Option<ReceivedApp> {
        match self.differences.get(id) {
            Some(difference) => difference.kind.received(),
            None => served.app(id.as_str()).map(|app| ReceivedApp::of(app)),
        }
    }

    /// Notes how an app differs from what is served of it.
    pub(super) fn differ(&mut self, id: AppId, difference: Difference) {
        Arc::make_mut(&mut self.differences).insert(id, difference);
    }

    /// Notes that an app was received as it is served.
    pub(super) fn agree(&mut self, id: &AppId) {
        if self.differences.contains_key(id) {
            Arc::make_mut(&mut self.differences).remove(id);
        }
    }

    /// The apps the guard holds.
    pub(super) fn held(&self) -> impl Iterator<Item = &AppId> {
        self.differences.iter().filter(|(_, d)| d.kind.is_held()).map(|(id, _)| id)
    }

    /// The apps that are reported as invalid.
    pub(super) fn invalid(&self) -> impl Iterator<Item = (&AppId, DocumentError)> {
        self.differences.iter().filter_map(|(id, d)| d.kind.error().map(|error| (id, error)))
    }

    /// How many there are of them.
    pub(super) fn invalid_total(&self) -> usize {
        self.differences.values().filter(|d| d.kind.is_invalid()).count()
    }

    /// Whether a document is missing that only a snapshot will bring.
    pub(super) fn lacks_documents(&self) -> bool {
        self.differences.values().any(|d| matches!(d.kind, Kind::Unknown { .. }))
    }
}
