//! Why an answer is no information about the table.

use crate::{
    limits::LimitName,
    model::{AppId, Epoch, Generation},
};

/// The longest piece of an answer that an error repeats, in characters: errors travel in acks and logs.
const MAX_TEXT_CHARS: usize = 200;

/// Why an answer is no information about the table: it changes nothing. Each variant is one branch.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// It is not what the API says: not JSON, a field missing, a wrong type.
    #[error("line {line} cannot be understood: {message}")]
    Garbage {
        /// Which line of the body, from 1.
        line: u64,
        /// What is wrong with it.
        message: String,
    },
    /// It says that the orchestrator is not ready, and not much more.
    #[error("the orchestrator is not ready: {reason}")]
    NotReady {
        /// Why, in the orchestrator's words; empty when it gives none.
        reason: String,
    },
    /// It is of a version of the API that this one does not know.
    #[error("schema {found} is not known, this version reads schema 1")]
    Schema {
        /// What the answer says.
        found: u64,
    },
    /// The first line is not `begin`.
    #[error("line {line} comes before `begin`")]
    NoBegin {
        /// Which line of the body, from 1.
        line: u64,
    },
    /// `begin` is there again.
    #[error("line {line} is a second `begin`")]
    SecondBegin {
        /// Which line of the body, from 1.
        line: u64,
    },
    /// The body ended without `end`.
    #[error("cut short: the body ends after {apps} apps, without `end`")]
    CutShort {
        /// So many apps had come.
        apps: u64,
    },
    /// Something follows `end`.
    #[error("line {line} comes after `end`")]
    AfterEnd {
        /// Which line of the body, from 1.
        line: u64,
    },
    /// `begin` or `end` says another number of apps than came.
    #[error("{said} apps were announced, {received} came")]
    WrongCount {
        /// What the answer says.
        said: u64,
        /// What came.
        received: u64,
    },
    /// `end` says another digest than that of what came.
    #[error("the digest does not fit what came")]
    WrongDigest,
    /// An app is there twice.
    #[error("app {app} is there twice")]
    DuplicateApp {
        /// Which one.
        app: AppId,
    },
    /// It is over a limit.
    #[error("over the limit {limit} of {allowed}")]
    TooLarge {
        /// Which one.
        limit: LimitName,
        /// Its value.
        allowed: u64,
    },
    /// A page of changes is of another epoch than the page before.
    #[error("the epoch changed between two pages, from {expected} to {found}")]
    EpochChanged {
        /// That of the page before.
        expected: Epoch,
        /// That of this page.
        found: Epoch,
    },
    /// A page of changes does not start where the page before has ended.
    #[error("a page starts at generation {found}, the one before ended at {expected}")]
    Gap {
        /// Where the page before has ended.
        expected: Generation,
        /// Where this page starts.
        found: Generation,
    },
}

impl WireError {
    /// Its name in metrics and logs: one of a closed set.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Garbage { .. } => "garbage",
            Self::NotReady { .. } => "not-ready",
            Self::Schema { .. } => "schema",
            Self::NoBegin { .. } => "no-begin",
            Self::SecondBegin { .. } => "second-begin",
            Self::CutShort { .. } => "cut-short",
            Self::AfterEnd { .. } => "after-end",
            Self::WrongCount { .. } => "wrong-count",
            Self::WrongDigest => "wrong-digest",
            Self::DuplicateApp { .. } => "duplicate-app",
            Self::TooLarge { .. } => "too-large",
            Self::EpochChanged { .. } => "epoch-changed",
            Self::Gap { .. } => "gap",
        }
    }

    /// What is not as the API says, in the line of that number.
    pub(super) fn garbage(line: u64, problem: impl ToString) -> Self {
        Self::Garbage { line, message: bounded(&problem.to_string()) }
    }
}

/// `text`, or its beginning when it is long.
pub(super) fn bounded(text: &str) -> String {
    match text.char_indices().nth(MAX_TEXT_CHARS) {
        Some((end, _)) => format!("{}...", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}
