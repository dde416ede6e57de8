//! Memory that exchanges take turns with: a connection that idles holds none.

use std::cell::RefCell;

use bytes::BytesMut;
use http::HeaderMap;

/// Pairs of buffers kept, at most. Source: exchanges of one worker that begin and end between two waits for the kernel are
/// a few tens under load; what is beyond them is allocated and freed.
const KEPT: usize = 32;
/// A buffer for writing that has grown beyond this is not kept.
const MOST_WRITE_BYTES: usize = 16 << 10;

/// What is left over for the next exchange of the same thread.
#[derive(Debug, Default)]
pub(crate) struct Spare {
    buffers: RefCell<Vec<Buffers>>,
    headers: RefCell<HeaderMap>,
}

/// What one exchange reads into and writes from.
#[derive(Debug, Default)]
pub(super) struct Buffers {
    pub(super) read: BytesMut,
    pub(super) write: Vec<u8>,
}

impl Spare {
    /// The buffers that were used last, or none yet.
    pub(super) fn take(&self) -> Buffers {
        self.buffers.borrow_mut().pop().unwrap_or_default()
    }

    /// Keeps buffers that hold nothing any more.
    pub(super) fn keep(&self, buffers: Buffers) {
        debug_assert!(buffers.read.is_empty() && buffers.write.is_empty(), "what was not taken is kept for another");
        let mut kept = self.buffers.borrow_mut();
        if kept.len() < KEPT && buffers.write.capacity() <= MOST_WRITE_BYTES {
            kept.push(buffers);
        }
    }

    /// An empty map, with the memory of one that was recycled where there is one.
    pub(super) fn take_headers(&self) -> HeaderMap {
        self.headers.take()
    }

    /// Keeps nothing.
    pub(crate) fn give_back(&self) {
        self.buffers.take();
        self.headers.take();
    }

    /// Keeps the memory of a request's fields for an answer's.
    pub(crate) fn recycle(&self, mut headers: HeaderMap) {
        headers.clear();
        self.headers.replace(headers);
    }
}
