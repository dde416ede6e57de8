//! What can go wrong in an exchange.

use std::{error::Error, io};

use crate::net::outbox::SendError;

/// Why an answer is none that may be passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// A line of its head is none of HTTP/1, or there are too many.
    #[error("its head: {0}")]
    Head(httparse::Error),
    /// Its head is longer than is read.
    #[error("its head is too large")]
    HeadTooLarge,
    /// Its status, a name or a value cannot be.
    #[error("its head holds what cannot be")]
    Value,
    /// Its `Content-Length` is no number, too large, or there are several that differ.
    #[error("its Content-Length")]
    Length,
    /// `Transfer-Encoding` stands in HTTP/1.0, or more than once.
    #[error("its Transfer-Encoding")]
    Coding,
    /// A chunk's size, extension or end is malformed.
    #[error("a chunk")]
    Chunk,
    /// Its trailers are malformed or too large.
    #[error("its trailers")]
    Trailers,
    /// It left HTTP before the request was complete.
    #[error("it switches protocols before the request's end")]
    EarlySwitch,
}

/// What ended an exchange.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The upstream closed the connection before the answer was complete.
    #[error("the upstream ended the connection")]
    Ended,
    /// The socket broke.
    #[error("the socket: {0}")]
    Io(#[from] io::Error),
    /// What came is no answer.
    #[error("malformed answer: {0}")]
    Malformed(#[from] Flaw),
    /// The request's body ended in an error: the fault of whoever sends it.
    #[error("the request's body: {0}")]
    RequestBody(#[source] Box<dyn Error + Send + Sync>),
    /// The request's body was shorter than its head says.
    #[error("the request's body is shorter than its Content-Length")]
    RequestBodyShort,
}

impl<E: Into<Box<dyn Error + Send + Sync>>> From<SendError<E>> for Fault {
    fn from(error: SendError<E>) -> Self {
        match error {
            SendError::Io(error) => Self::Io(error),
            SendError::Body(error) => Self::RequestBody(error.into()),
            SendError::Short => Self::RequestBodyShort,
        }
    }
}
