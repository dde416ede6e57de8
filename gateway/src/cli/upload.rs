//! A request's body that is read while it is sent: a table need not be in memory for it.

use std::{
    io::{self, Read},
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame};

/// Bytes read at once.
const CHUNK: usize = 64 << 10;

/// The body. Reading it blocks the thread, which in a command has nothing else to do.
pub struct Upload(Box<dyn Read + Send>);

impl Upload {
    /// Everything that `source` gives.
    #[must_use]
    pub fn new(source: impl Read + Send + 'static) -> Self {
        Self(Box::new(source))
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let mut chunk = Vec::with_capacity(CHUNK);
        let read = self.get_mut().0.by_ref().take(CHUNK as u64).read_to_end(&mut chunk);
        Poll::Ready(match read {
            Ok(0) => None,
            Ok(_) => Some(Ok(Frame::data(chunk.into()))),
            Err(error) => Some(Err(error)),
        })
    }
}
