//! How much of a message is held in memory at once: the sizes of the buffers on both sides. What a connection may cost
//! follows from them (docs/OPERATING.md, "What one connection may cost").

/// Room in the buffer of a client's connection beyond the head's own limit, so that the framing guard finds a head too large
/// before hyper does, which would answer in its own words.
const SLACK: usize = 16 << 10;

/// What is read at once from an upstream's connection, and the largest head of an answer: a slow client holds a few of these.
pub const UPSTREAM: usize = 64 << 10;

/// The buffer of a client's connection where a head may have `header_bytes`.
#[must_use]
pub fn client(header_bytes: usize) -> usize {
    header_bytes.max(SLACK) + SLACK
}
