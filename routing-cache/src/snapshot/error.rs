//! Why bytes are not a whole snapshot: which block, at which byte, what.

use std::fmt;

/// Where in a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Block {
    /// Magic and schema.
    Header,
    /// The block of this index; the meta block is 0.
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
    /// It is of a schema this version does not know; a newer version may.
    #[error("has schema {0}, which this version does not know")]
    Schema(u8),
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
    /// A field holds what it never holds.
    #[error("has a {0} that cannot be")]
    Field(&'static str),
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
    /// Something follows what should be the end.
    #[error("is followed by {0} bytes that do not belong there")]
    Trailing(u64),
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
    /// True where a newer version of this program may well be able to read it: then it is not damaged.
    #[must_use]
    pub fn is_from_another_version(&self) -> bool {
        matches!(self.fault, Fault::Schema(_))
    }
}
