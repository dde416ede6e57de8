//! What stands before the body of a message.

use http::{Method, StatusCode, Version};

use super::Fields;

/// A request without its body.
#[derive(Clone, Debug)]
pub struct RequestHead {
    /// The method.
    pub method: Method,
    /// The target as it came: visible ASCII, not empty.
    pub target: String,
    /// HTTP/1.0 or HTTP/1.1.
    pub version: Version,
    /// The fields.
    pub fields: Fields,
}

impl Default for RequestHead {
    /// The memory of one.
    fn default() -> Self {
        Self { method: Method::GET, target: String::new(), version: Version::HTTP_11, fields: Fields::new() }
    }
}

/// An answer without its body.
#[derive(Clone, Debug)]
pub struct ResponseHead {
    /// The status.
    pub status: StatusCode,
    /// What the peer said it speaks.
    pub version: Version,
    /// The reason phrase, where it is not the usual one.
    pub reason: Option<Box<[u8]>>,
    /// The fields.
    pub fields: Fields,
}

impl ResponseHead {
    /// One of this gateway's own, without a field.
    #[must_use]
    pub fn new(status: StatusCode) -> Self {
        Self { status, version: Version::HTTP_11, reason: None, fields: Fields::new() }
    }
}
