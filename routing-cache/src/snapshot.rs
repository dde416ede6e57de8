//! Bytes <-> a whole state at a sequence number.
//!
//! A snapshot is a header (magic, version, checksum) and blocks: one head, then the table's records and indexes as they lie
//! in memory, the differences, the tombstones, and a footer with counts and a checksum over the checksums of all blocks.
//! Each block carries its kind, its length and a crc32c over all of it. A file that is not whole is recognised as such, and
//! the error names the block and the byte.
//!
//! It never opens a file ([`crate::store`] does) and never reads an app document. Reading goes block by block straight into
//! the memory where the table's parts stay; a length is held against what is left of the file before it is used.
//!
//! # Versions
//! - A file of a higher version is refused as such, and left as it is: it is whole, for a newer program.
//! - Within a version, a later program may append fields to the head, to its meta and to the footer (what follows the known
//!   fields is not looked at), and add block kinds from 0x80 on (verified, then passed over).
//! - Anything else needs a new version, written only once the version before reads it.

mod blocks;
mod error;
mod head;
mod read;
#[cfg(test)]
mod tests;
mod write;

use crate::state::State;

pub use error::{Block, Fault, ReadError, SnapshotError};
pub use head::Head;
pub use read::{check, check_each, read, read_head, read_if};
pub use write::{write, write_with};

/// A whole state, and the sequence number of the last change in it.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// All changes up to this one are in the state.
    pub sequence: u64,
    /// The state.
    pub state: State,
    /// What a process hands on beside its state, as [`write_with`] was given it; nothing in what the store keeps.
    pub beside: Vec<u8>,
}

/// The first bytes of every snapshot. The high bit and the line end make a transfer as text show (as in PNG).
const MAGIC: [u8; 8] = *b"\x89HGSNAP\n";
/// The version written, and the only one read.
const VERSION: u8 = 1;

/// Records and index are written in blocks of this size: small enough to be still in the processor's cache when their
/// checksum is computed, large enough that the system calls do not count.
const BLOCK_BYTES: usize = 512 << 10;

/// What is known of the whole; it comes first, once.
const KIND_HEAD: u8 = 1;
/// The next bytes of the records.
const KIND_RECORDS: u8 = 2;
/// The next buckets of the index by id.
const KIND_APPS: u8 = 3;
/// The next buckets of the index by exact host.
const KIND_EXACT: u8 = 4;
/// The next buckets of the index by wildcard.
const KIND_WILDCARD: u8 = 5;
/// Differences between what was received and what is served.
const KIND_DIFFERENCES: u8 = 6;
/// Tombstones.
const KIND_TOMBSTONES: u8 = 7;
/// From here on, but for the footer, a reader may pass over kinds it does not know.
const KIND_OPTIONAL: u8 = 0x80;
/// What a process hands on beside its state; once at most, and only in what is handed from one process to another.
const KIND_BESIDE: u8 = 0x90;
/// The footer; it comes last, once.
const KIND_FOOTER: u8 = 0xff;
