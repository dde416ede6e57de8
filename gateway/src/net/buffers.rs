//! How much of a message is held in memory at once: the sizes of the HTTP library's buffers on both sides. What a connection
//! may cost follows from them (docs/OPERATING.md, "What one connection may cost").

/// Room in the buffer of a client's connection beyond the head's own limit, so that the framing guard finds a head too large
/// before hyper does, which would answer in its own words.
const SLACK: usize = 16 << 10;

/// The buffer of an upstream's connection, and so the largest head of an answer. hyper's own default is 417,792 bytes, most
/// of which a slow client would fill for nothing; a body passes in pieces of 64 KiB as fast.
pub const UPSTREAM: usize = 64 << 10;

/// The buffer of a client's connection where a head may have `header_bytes`.
#[must_use]
pub fn client(header_bytes: usize) -> usize {
    header_bytes.max(SLACK) + SLACK
}
