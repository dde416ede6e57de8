//! Memory that exchanges take turns with, those of clients and those of upstreams: a connection that idles holds none.

use std::cell::RefCell;

use bytes::BytesMut;

use crate::message::Fields;

/// Pairs of buffers kept, at most, and as many heads' fields. Source: exchanges of one worker that begin and end between two
/// waits for the kernel are a few tens under load; what is beyond them is allocated and freed.
const KEPT: usize = 32;
/// A buffer for writing that has grown beyond this is not kept.
const MOST_WRITE_BYTES: usize = 16 << 10;
/// Nor is the memory of a head that has. Few are so large, and a copy of each is held while it is passed on.
const MOST_FIELD_BYTES: usize = 16 << 10;

/// What is left over for the next exchange of the same thread.
#[derive(Debug, Default)]
pub struct Spare {
    buffers: RefCell<Vec<Buffers>>,
    fields: RefCell<Vec<Fields>>,
}

/// What one exchange reads into and writes from.
#[derive(Debug, Default)]
pub struct Buffers {
    /// What was read and not taken yet.
    pub read: BytesMut,
    /// What is laid out to be written.
    pub write: Vec<u8>,
}

impl Spare {
    /// The buffers that were used last, or none yet.
    #[must_use]
    pub fn take(&self) -> Buffers {
        self.buffers.borrow_mut().pop().unwrap_or_default()
    }

    /// Keeps buffers that hold nothing any more. How much the one for reading may have grown is for its owner to judge: what
    /// was taken of it does not show.
    pub fn keep(&self, buffers: Buffers) {
        debug_assert!(buffers.read.is_empty() && buffers.write.is_empty(), "what was not taken is kept for another");
        let mut kept = self.buffers.borrow_mut();
        if kept.len() < KEPT && buffers.write.capacity() <= MOST_WRITE_BYTES {
            kept.push(buffers);
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
        self.buffers.take();
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
