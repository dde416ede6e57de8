//! What the store answers with.

use std::{fmt, io, time::Duration};

use crate::{
    model::{Digest, Epoch, Generation, Source, WallTime},
    state::State,
};

/// Why a store was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process works on this folder.
    #[error("{folder} is in use by another process{}", .pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default())]
    Locked {
        /// Which folder.
        folder: String,
        /// Which process, where it has said so.
        pid: Option<u32>,
    },
    /// The folder cannot be worked on.
    #[error("{folder}: {source}")]
    Disk {
        /// Which folder.
        folder: String,
        /// What the system said.
        source: io::Error,
    },
}

/// Why something was not saved. What is on disk is no worse than before.
#[derive(Debug, thiserror::Error)]
pub enum SaveError {
    /// The folder was gone, and another process has the one that took its place.
    #[error("the state folder is in use by another process")]
    Locked {
        /// Which process, where it has said so.
        pid: Option<u32>,
    },
    /// It was given away, or is not claimed yet.
    #[error("the state folder is another process's for now")]
    Away,
    /// A step of the saving failed.
    #[error("{deed} {path}: {source}")]
    Disk {
        /// Which step: `writing`, `syncing`, ...
        deed: &'static str,
        /// Of what.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// The change is larger than a frame of the journal may be: a whole snapshot is to be saved.
    #[error("a change of {bytes} bytes is too large for the journal (limit {limit}): a whole snapshot is needed")]
    TooLarge {
        /// What it takes.
        bytes: u64,
        /// What a frame takes.
        limit: u64,
    },
    /// The journal has nothing to go on from: a whole snapshot is to be saved first.
    #[error("a whole snapshot is needed before changes can be appended")]
    NeedsWhole,
}

/// A snapshot that is durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedInfo {
    /// Its size.
    pub bytes: u64,
    /// Its name in the state folder.
    pub file: String,
}

/// When a table is not booted again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoisonRules {
    /// After this many runs in a row that died young; 0: never.
    pub crashes: u32,
    /// A run that lived so long has not died young: [`super::Store::survived`] is to be called then.
    pub within: Duration,
}

impl Default for PoisonRules {
    /// Those of a configuration that says nothing else (`guard.max_crashes`, `guard.crash_window`).
    fn default() -> Self {
        Self { crashes: 3, within: Duration::from_secs(10) }
    }
}

/// A table that was not booted again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Poisoned {
    /// Its generation.
    pub generation: Generation,
    /// Its epoch.
    pub epoch: Option<Epoch>,
    /// Its digest, as served.
    pub digest: Digest,
    /// The runs in a row that died young with it.
    pub crashes: u32,
}

/// What a start begins with.
#[derive(Debug, Default)]
pub struct Boot {
    /// What is to be served; `None` where nothing whole was found.
    pub state: Option<State>,
    /// What it was read from, in words.
    pub origin: String,
    /// What was found damaged, and what became of it.
    pub damaged: Vec<Damage>,
    /// Files set aside at earlier starts that were now removed, there being too many.
    pub removed: Vec<String>,
    /// The table last found to be poison, at this start or an earlier one.
    pub poisoned: Option<Poisoned>,
    /// Acknowledged changes could not be read.
    pub lost: bool,
    /// The number of the last change in the state.
    pub sequence: u64,
    /// Runs in a row before this one that died young.
    pub died_young: u32,
}

/// Something in the state folder that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The file, by the name it was found by.
    pub file: String,
    /// Where in it, where that is known.
    pub offset: Option<u64>,
    /// What.
    pub why: String,
    /// The name it is kept under now, or its copy.
    pub kept_as: Option<String>,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.file, self.why)?;
        match &self.kept_as {
            Some(name) => write!(f, "; it is kept as {name}"),
            None => Ok(()),
        }
    }
}

/// A generation that can be loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Its number.
    pub generation: Generation,
    /// Its epoch.
    pub epoch: Option<Epoch>,
    /// The store's number of it; of two the higher one is the later.
    pub sequence: u64,
    /// When it was received.
    pub at: WallTime,
    /// Apps served.
    pub apps: u64,
    /// The digest of what is served.
    pub digest: Digest,
    /// Where it came from.
    pub source: Source,
    /// The snapshot that holds it whole.
    pub whole: Option<String>,
}

/// Why a kept generation was not loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// It is not kept.
    #[error("generation {generation}{} is not kept", .epoch.as_ref().map(|epoch| format!(" of epoch {epoch}")).unwrap_or_default())]
    NotKept {
        /// Which.
        generation: Generation,
        /// Of which epoch, where one was named.
        epoch: Option<Epoch>,
    },
    /// What it would be made of cannot be read (any more).
    #[error("{file}: {why}")]
    Unreadable {
        /// Which file.
        file: String,
        /// Why.
        why: String,
    },
}

/// What is in a state folder.
#[derive(Debug, Default)]
pub struct Inspection {
    /// Its files, by name.
    pub files: Vec<FileReport>,
    /// What a boot would serve.
    pub would_serve: Option<WouldServe>,
    /// What is not as it should be.
    pub damaged: Vec<Damage>,
}

/// What a boot would serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WouldServe {
    /// What it would be read from.
    pub origin: String,
    /// Its generation.
    pub generation: Generation,
    /// Its epoch.
    pub epoch: Option<Epoch>,
    /// Apps.
    pub apps: u64,
    /// The digest of what would be served.
    pub digest: Digest,
    /// When it was received.
    pub received_at: WallTime,
    /// The size of all documents, in bytes.
    pub document_bytes: u64,
    /// The newer table that the process has died of too often, and that is passed over.
    pub instead_of: Option<Poisoned>,
}

/// One file of a state folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileReport {
    /// Its name.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// What it is.
    pub kind: FileKind,
    /// Whether it is whole.
    pub state: FileState,
    /// More about that, in words; may be empty.
    pub detail: String,
    /// The first sequence number in it.
    pub first_sequence: Option<u64>,
    /// The last sequence number in it.
    pub last_sequence: Option<u64>,
    /// Apps, in a snapshot.
    pub apps: Option<u64>,
}

/// What a file of a state folder is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// A whole state.
    Snapshot,
    /// A segment of the journal.
    Journal,
    /// The runs that have not survived.
    Runs,
    /// The lock.
    Lock,
    /// Being written, or left over from what was cut off.
    Staged,
    /// Set aside.
    Aside,
    /// Not the store's.
    Other,
}

/// Whether a file is whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileState {
    /// All of it.
    Whole,
    /// Its end was never acknowledged.
    Torn,
    /// It is not what was written.
    Damaged,
    /// The system does not let it be read, or it is of a newer version.
    Unreadable,
    /// There is nothing to hold it against.
    Unknown,
}

/// Something that was done to a state folder, or would be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deed(pub String);

impl fmt::Display for Deed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FileKind {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Snapshot => "snapshot",
            Self::Journal => "journal",
            Self::Runs => "runs",
            Self::Lock => "lock",
            Self::Staged => "staged",
            Self::Aside => "set aside",
            Self::Other => "other",
        }
    }
}

impl FileState {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::Torn => "torn",
            Self::Damaged => "damaged",
            Self::Unreadable => "unreadable",
            Self::Unknown => "unknown",
        }
    }
}
