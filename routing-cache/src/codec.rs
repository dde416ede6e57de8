//! Values <-> bytes, as the snapshot and the journal write them.
//!
//! It knows no file and no checksum ([`crate::snapshot`] and [`crate::journal`] do). Every length is held against what is
//! left before it is used, and no count takes memory that is not there.
//!
//! What later versions may do so that this one reads what they write: append fields to the meta (what follows the known
//! fields is not looked at), and add steps and differences of kinds from [`OPTIONAL`] on, which are passed over. A word that
//! is not known is read as the most careful one that is. Anything else needs a new version byte of the file.

mod header;
mod read;
#[cfg(test)]
pub(crate) mod tests;
mod write;

pub use header::{HEADER_BYTES, header, header_version};
pub use read::{Malformed, Reader, read_change, read_difference, read_meta, read_position};
pub use write::{write_change, write_difference, write_meta, write_position};

/// Kinds from here on may be passed over by a reader that does not know them.
pub const OPTIONAL: u8 = 0x80;

const OP_REMOVE: u8 = 1;
const OP_PUT: u8 = 2;
const OP_DIFFER: u8 = 3;
const OP_AGREE: u8 = 4;
const OP_BURY: u8 = 5;
const OP_UNBURY: u8 = 6;
const OP_UNBURY_ALL: u8 = 7;

const DELETED: u8 = 1;
const WITHHELD: u8 = 2;
const WAITING: u8 = 3;
const INVALID: u8 = 4;
const STALE: u8 = 5;
const RESURRECTED: u8 = 6;
