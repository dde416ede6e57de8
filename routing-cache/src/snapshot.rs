//! Bytes <-> what a gateway must not forget: the served apps, what was received, and what the guard remembers.
//!
//! A snapshot is a magic, a schema byte and blocks: one `meta`, then `apps`, then a footer with counts and a checksum
//! over the checksums of all blocks. Each block carries its length and its own crc32c. A file that is not whole is
//! recognised as such, and the error names the block and the byte.
//!
//! It never opens a file ([`crate::store`] does) and never reads an app document ([`crate::wire`] does). Every length
//! is held against what is left before it is used, and documents are slices of the one buffer they came in.
//!
//! What later versions may do so that N and N-1 read each other's files: append fields to `meta` (what follows the
//! known fields is not looked at) and add block kinds from 0x80 on (verified, then passed over). Anything else needs a
//! new schema byte, written only once N-1 reads it.

mod cursor;
mod decode;
mod encode;
mod error;
#[cfg(test)]
mod tests;

use bytes::Bytes;

use crate::model::{App, AppId, Digest, Epoch, Generation, Rev, WallTime};

pub use decode::decode;
pub use encode::encode;
pub use error::{Block, Fault, SnapshotError};

/// What is written to disk, and what a restart begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Saved {
    /// About the table as a whole.
    pub meta: SavedMeta,
    /// Every app that is served or was received, each id once.
    pub apps: Vec<SavedApp>,
}

/// About the table as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedMeta {
    /// The epoch of what was received.
    pub epoch: Epoch,
    /// The generation received last: what `since` of the next changes call is.
    pub generation: Generation,
    /// That of the last update applied, in whole or in part.
    pub served_generation: Generation,
    /// The word for where the table came from, kept as given; at most 255 bytes are kept.
    pub source: String,
    /// When the orchestrator last confirmed the table.
    pub received_at: WallTime,
    /// What was received, which held and invalid apps make differ from what is served.
    pub received: ReceivedTable,
    /// The guard's sliding hour: when how many apps were taken away, oldest first.
    pub guard_window: Vec<(WallTime, u64)>,
    /// The largest number of apps in that hour.
    pub hour_max: u64,
    /// What is held, if anything.
    pub held: Option<SavedHeld>,
}

/// The table as the orchestrator described it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReceivedTable {
    /// Its digest.
    pub digest: Digest,
    /// Its number of apps.
    pub apps: u64,
}

/// Held deletes, as far as they do not follow from the apps themselves (served, but no longer received).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedHeld {
    /// The word for why; at most 255 bytes are kept.
    pub reason: String,
    /// Since when.
    pub since: WallTime,
    /// The generation that asked for them.
    pub generation: Generation,
}

/// One app: what is served of it and what was received of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedApp {
    /// Its name.
    pub id: AppId,
    /// What is served; `None` where no valid version was ever received.
    pub served: Option<ServedApp>,
    /// What was received last; `None` where it is no longer received and its delete is held. It takes no room on disk
    /// where it is what is served.
    pub received: Option<ReceivedApp>,
}

/// What is served of an app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServedApp {
    /// Its document's number.
    pub rev: Rev,
    /// Its number in the table's digest, kept so that a start need not hash every document.
    pub digest: Digest,
    /// The document's exact bytes.
    pub document: Bytes,
}

/// What was received of an app: enough to compare, and to know that its document was the invalid one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReceivedApp {
    /// Its document's number.
    pub rev: Rev,
    /// Its number in the received table's digest.
    pub digest: Digest,
}

impl ReceivedApp {
    /// Of an app that is served as it was received.
    #[must_use]
    pub fn of(app: &App) -> Self {
        Self { rev: app.rev, digest: app.digest }
    }
}

impl ServedApp {
    /// This, as received.
    #[must_use]
    pub fn as_received(&self) -> ReceivedApp {
        ReceivedApp { rev: self.rev, digest: self.digest }
    }
}

/// The first bytes of every snapshot. The high bit and the line end make a transfer as text show (as in PNG).
const MAGIC: [u8; 8] = *b"\x89HGSNAP\n";
/// The schema written by this version.
const SCHEMA: u8 = 1;
/// Bytes before the first block.
const HEADER_BYTES: usize = MAGIC.len() + 1;
/// Kind, length; the checksum follows the payload.
const BLOCK_HEAD_BYTES: usize = 1 + 4;
/// A crc32c.
const CHECKSUM_BYTES: usize = 4;

/// The block of [`SavedMeta`]; it comes first, once.
const KIND_META: u8 = 1;
/// A block of apps.
const KIND_APPS: u8 = 2;
/// From here on, but for the footer, a reader may pass over kinds it does not know.
const KIND_OPTIONAL: u8 = 0x80;
/// The footer; it comes last, once.
const KIND_FOOTER: u8 = 0xff;

/// The app has a served document.
const FLAG_SERVED: u8 = 1;
/// The app was received otherwise than it is served.
const FLAG_RECEIVED: u8 = 2;
/// The app was received as it is served.
const FLAG_SAME: u8 = 4;
