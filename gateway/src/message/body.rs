//! What is read of a body.

use bytes::{Bytes, BytesMut};
use http::HeaderMap;

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
