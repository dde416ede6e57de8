//! Why bytes are not a whole snapshot: which block, at which byte, what.

use std::{fmt, io};

use crate::codec::Malformed;

/// Where in a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Block {
    /// Magic and version.
    Header,
    /// The block of this index; the head is 0.
    Index(u32),
    /// Counts and the checksum of checksums.
    Footer,
}

impl fmt::Display for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header => f.write_str("header"),
            Self::Index(index) => write!(f, "block {index}"),
            Self::Footer => f.write_str("footer"),
        }
    }
}

/// What is wrong there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// It does not start as a snapshot does.
    #[error("is not a snapshot of this program")]
    Magic,
    /// It is of a version this one does not read.
    #[error("is from {} version ({found}, and this one reads {read})", if found > read { "a newer" } else { "an older" })]
    Version {
        /// Its version.
        found: u8,
        /// The one that is read.
        read: u8,
    },
    /// It ends too early.
    #[error("is cut short: {needed} bytes more are needed, {left} are left")]
    CutShort {
        /// What the next part takes.
        needed: u64,
        /// What there is.
        left: u64,
    },
    /// A checksum is not that of what was read.
    #[error("has checksum {computed:08x} where {stored:08x} is written")]
    Checksum {
        /// As written.
        stored: u32,
        /// Of what was read.
        computed: u32,
    },
    /// A block of a kind that may not stand here.
    #[error("is of kind {0:#04x}, which may not stand here")]
    Kind(u8),
    /// A value that cannot be.
    #[error("{0}")]
    Malformed(Malformed),
    /// A count is not that of what was read.
    #[error("counts {stored} {what} where {found} were read")]
    Count {
        /// Of what.
        what: &'static str,
        /// As written.
        stored: u64,
        /// As read.
        found: u64,
    },
    /// The parts do not make a table.
    #[error("{0}")]
    Table(String),
    /// Something follows what should be the end.
    #[error("is followed by {0} bytes that do not belong there")]
    Trailing(u64),
}

impl From<Malformed> for Fault {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed)
    }
}

/// The bytes are not a whole snapshot that this version can read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{block} at byte {offset} {fault}")]
pub struct SnapshotError {
    /// In which block.
    pub block: Block,
    /// At which byte of the file.
    pub offset: u64,
    /// What.
    pub fault: Fault,
}

impl SnapshotError {
    /// True where another version of this program may well be able to read it: then it is not damaged.
    #[must_use]
    pub fn is_from_another_version(&self) -> bool {
        matches!(self.fault, Fault::Version { .. })
    }
}

/// Why a file was not read as a snapshot.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The system did not let it be read.
    #[error("cannot be read: {0}")]
    Disk(#[from] io::Error),
    /// It is not whole.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
}
