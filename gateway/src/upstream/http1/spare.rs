//! Memory that exchanges take turns with, those of clients and those of upstreams: a connection that idles holds none.

use std::cell::RefCell;

use bytes::BytesMut;

use crate::message::Fields;

/// So many of each kind are kept. Source: exchanges of one worker that begin and end between two waits for the kernel are a few
/// tens under load; what is beyond them is allocated and freed.
const KEPT: usize = 32;
/// A buffer for writing that has grown beyond this is not kept.
const MOST_WRITE_BYTES: usize = 16 << 10;
/// Nor is the memory of a head that has. Few are so large, and a copy of each is held while it is passed on.
const MOST_FIELD_BYTES: usize = 16 << 10;

/// What is left over for the next exchange of the same thread. What was used last is used first: it is in the processor's caches.
#[derive(Debug, Default)]
pub struct Spare {
    reads: RefCell<Vec<BytesMut>>,
    writes: RefCell<Vec<Vec<u8>>>,
    fields: RefCell<Vec<Fields>>,
}

impl Spare {
    /// A buffer to read into: the one that was used last, or none yet.
    #[must_use]
    pub fn take_read(&self) -> BytesMut {
        self.reads.borrow_mut().pop().unwrap_or_default()
    }

    /// Keeps a buffer that holds nothing any more. How much it may have grown is for its owner to judge: what was taken of it
    /// does not show.
    pub fn keep_read(&self, buffer: BytesMut) {
        debug_assert!(buffer.is_empty(), "what was not taken is kept for another");
        let mut kept = self.reads.borrow_mut();
        if kept.len() < KEPT {
            kept.push(buffer);
        }
    }

    /// An empty buffer to lay out in what is to be written.
    #[must_use]
    pub fn take_write(&self) -> Vec<u8> {
        self.writes.borrow_mut().pop().unwrap_or_default()
    }

    /// Keeps a buffer that holds nothing any more.
    pub fn keep_write(&self, buffer: Vec<u8>) {
        debug_assert!(buffer.is_empty(), "what was not written is kept for another");
        let mut kept = self.writes.borrow_mut();
        if kept.len() < KEPT && (1..=MOST_WRITE_BYTES).contains(&buffer.capacity()) {
            kept.push(buffer);
        }
    }

    /// No fields, with the memory of those that were recycled last.
    #[must_use]
    pub fn take_fields(&self) -> Fields {
        self.fields.borrow_mut().pop().unwrap_or_default()
    }

    /// Keeps the memory of a head's fields for another's.
    pub fn recycle(&self, mut fields: Fields) {
        let mut kept = self.fields.borrow_mut();
        if kept.len() < KEPT && (1..=MOST_FIELD_BYTES).contains(&fields.capacity()) {
            fields.clear();
            kept.push(fields);
        }
    }

    /// Keeps nothing.
    pub(crate) fn give_back(&self) {
        self.reads.take();
        self.writes.take();
        self.fields.take();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_heads_are_kept_and_none_that_is_large() {
        let spare = Spare::default();
        let of = |bytes: usize| Fields::from_iter([("a", "x".repeat(bytes))]);
        spare.recycle(of(1 << 10));
        spare.recycle(of(MOST_FIELD_BYTES));
        spare.recycle(Fields::new());
        let kept = spare.take_fields();
        assert!(kept.is_empty() && (1 << 10..MOST_FIELD_BYTES).contains(&kept.capacity()), "{}", kept.capacity());
        assert_eq!(spare.take_fields().capacity(), 0);
        (0..KEPT * 2).for_each(|_| spare.recycle(of(1)));
        assert_eq!(spare.fields.borrow().len(), KEPT);
        spare.give_back();
        assert_eq!(spare.take_fields().capacity(), 0);
    }
}
