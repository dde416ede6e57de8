//! Bytes <-> changes, one after the other, each with its sequence number.
//!
//! A segment is a header (magic, version, checksum; twice) and frames: magic, length, sequence number, crc32c, payload.
//! Each frame is written **twice** in one append, so that one flipped byte, in a length or wherever else, loses nothing:
//! the reader looks for the next whole frame, and takes the copy where the first is damaged. Copies are passed over by their
//! number.
//!
//! It never opens a file ([`crate::store`] does). It reads in the memory of one frame, says which bytes were not readable,
//! and leaves it to the store what that means: at the end of a segment they were most likely never acknowledged.
//!
//! A frame's magic holds bytes that no text in UTF-8 does, so what stands in an app's document is never taken for a frame,
//! even where the search for the next whole one goes through a damaged one.
//!
//! # Versions
//! As for [`crate::snapshot`]: a segment of another version is refused as such. What may be added within a version stands at
//! [`crate::codec`]. A frame of another version would have another magic.

mod scan;
#[cfg(test)]
mod tests;

use crate::{
    codec::{HEADER_BYTES, Malformed, Reader, header, read_change, write_change},
    state::{Change, Op},
};

pub use scan::{Frame, Scanner, SegmentError};

/// The first bytes of every segment.
const MAGIC: [u8; 8] = *b"\x89HGJRNL\n";
/// The version written, and the only one read.
const VERSION: u8 = 1;
/// The first bytes of every frame: 0xff and 0xfe are in no UTF-8.
const FRAME: [u8; 4] = [0xff, b'H', 0xfe, b'F'];
/// Bytes of a frame before its payload: magic, length, sequence number, checksum.
const FRAME_HEAD: usize = 4 + 4 + 8 + 4;
/// Room for a change without its steps, and for a step, in bytes. More is taken where it is needed.
const CHANGE_BYTES: usize = 1 << 10;
const OP_BYTES: usize = 64;

/// The largest change, in bytes as written. A changes answer of the default limit (8 MiB) makes at most a little more than
/// its own size; what is larger is saved as a whole snapshot.
pub const MAX_CHANGE_BYTES: usize = 16 << 20;

/// The beginning of a segment.
#[must_use]
pub fn segment_header() -> Vec<u8> {
    let mut out = Vec::with_capacity(2 * HEADER_BYTES);
    out.extend_from_slice(&header(MAGIC, VERSION));
    out.extend_from_slice(&header(MAGIC, VERSION));
    out
}

/// A change as it is appended to a segment: its frame, twice. `Err` has its size where that is over
/// [`MAX_CHANGE_BYTES`].
///
/// # Errors
/// When the change is too large.
pub fn encode(sequence: u64, change: &Change) -> Result<Vec<u8>, u64> {
    let mut out = Vec::with_capacity(2 * (FRAME_HEAD + room_for(change)));
    out.resize(FRAME_HEAD, 0);
    write_change(&mut out, change);
    twice(sequence, out)
}

/// As [`encode`], of a payload that was read from a frame.
///
/// # Errors
/// When it is too large.
pub fn encode_payload(sequence: u64, payload: &[u8]) -> Result<Vec<u8>, u64> {
    let mut out = Vec::with_capacity(2 * (FRAME_HEAD + payload.len()));
    out.resize(FRAME_HEAD, 0);
    out.extend_from_slice(payload);
    twice(sequence, out)
}

/// Bytes that a change takes, roughly: with room for two of it nothing is moved while it is written.
fn room_for(change: &Change) -> usize {
    let op = |op: &Op| match op {
        Op::Put(app) => app.get().as_bytes().len() + OP_BYTES / 2,
        _ => OP_BYTES,
    };
    CHANGE_BYTES + change.ops.iter().map(op).sum::<usize>()
}

/// A frame, twice, of a payload that stands after the room for the frame's head.
fn twice(sequence: u64, mut out: Vec<u8>) -> Result<Vec<u8>, u64> {
    let payload = out.get(FRAME_HEAD..).unwrap_or_default();
    let length = u32::try_from(payload.len()).ok().filter(|_| payload.len() <= MAX_CHANGE_BYTES);
    let length = length.ok_or(payload.len() as u64)?.to_le_bytes();
    let sequence = sequence.to_le_bytes();
    let checksum = checksum(&length, &sequence, payload).to_le_bytes();
    let head = [&FRAME[..], &length, &sequence, &checksum].concat();
    out.iter_mut().zip(head).for_each(|(byte, is)| *byte = is);
    out.extend_from_within(..);
    Ok(out)
}

/// The change in a frame's payload.
///
/// # Errors
/// When this version cannot bring it about.
pub fn decode(payload: &[u8]) -> Result<Change, Malformed> {
    read_change(&mut Reader::new(payload))
}

fn checksum(length: &[u8; 4], sequence: &[u8; 8], payload: &[u8]) -> u32 {
    let head = crc32c::crc32c_append(crc32c::crc32c(length), sequence);
    crc32c::crc32c_append(head, payload)
}
