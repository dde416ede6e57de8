//! What is read of a body, and what its head says of it.

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName};

use super::{Fields, names};

/// The largest `Content-Length`. Source: a signed 64-bit count, which every server's arithmetic can hold.
pub const MAX_LENGTH: u64 = i64::MAX.unsigned_abs();

/// What follows a head.
#[derive(Debug)]
pub enum Item {
    /// A piece of the body.
    Data(Bytes),
    /// The trailers, which end it.
    Trailers(HeaderMap),
    /// Its end.
    End,
    /// More must be read first.
    More,
}

/// Takes the first `most` bytes out of what was `read`, or all there are.
pub fn take(read: &mut BytesMut, most: u64) -> Bytes {
    let most = usize::try_from(most).map_or(read.len(), |most| most.min(read.len()));
    read.split_to(most).freeze()
}

/// The fields that `Trailer` names.
#[must_use]
pub fn named_trailers(fields: &Fields) -> Vec<HeaderName> {
    let values = fields.all(names::TRAILER).filter(|value| value.is_ascii());
    let named = values.flat_map(|value| value.split(|byte| *byte == b','));
    named.filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok()).collect()
}
