//! How much of a message is held in memory at once: the sizes of the buffers on both sides. What a connection may cost
//! follows from them (docs/OPERATING.md, "What one connection may cost").

/// Room in the buffer of a client's connection beyond the head's own limit: a head is found too large by the byte after it, and
/// of a body a read takes more than a page.
const SLACK: usize = 16 << 10;

/// The largest head of an answer.
pub const ANSWER_HEAD: usize = 64 << 10;

/// What is read at once of an answer's body, at most; a read grows to it only while each takes all that it asked for. Answers
/// of 1 MiB take 310 us of CPU time where it is 384 KiB, and 680 where it is 64 (`tests/peers/compare.py --work 1m`); a client
/// that does not read what it has asked for holds 290 KiB where it was 150.
pub const ANSWER_PIECE: usize = 384 << 10;

/// The buffer of a client's connection where a head may have `header_bytes`.
#[must_use]
pub fn client(header_bytes: usize) -> usize {
    header_bytes.max(SLACK) + SLACK
}
