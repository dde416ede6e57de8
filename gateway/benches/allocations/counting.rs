//! An allocator that counts what the threads of the gateway ask of it.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    ops::Sub,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

/// The system's allocator, with counts.
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);
static BYTES: AtomicU64 = AtomicU64::new(0);

thread_local! {
    // Without a destructor and made without an allocation, so the allocator may use it at any time.
    static LEFT_OUT: Cell<bool> = const { Cell::new(false) };
}

/// What this thread allocates from now on is not counted: it is a client or an upstream.
pub(crate) fn leave_out() {
    LEFT_OUT.set(true);
}

/// What was asked for so far, by all threads that are not left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Allocations; one that grows or shrinks in place counts again.
    pub(crate) allocations: u64,
    /// Bytes asked for; of one that grows its new size.
    pub(crate) bytes: u64,
}

/// The counts now.
pub(crate) fn counts() -> Counts {
    Counts { allocations: ALLOCATIONS.load(Relaxed), bytes: BYTES.load(Relaxed) }
}

impl Sub for Counts {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self { allocations: self.allocations - before.allocations, bytes: self.bytes - before.bytes }
    }
}

fn count(bytes: usize) {
    if LEFT_OUT.try_with(Cell::get) == Ok(false) {
        ALLOCATIONS.fetch_add(1, Relaxed);
        BYTES.fetch_add(bytes as u64, Relaxed);
    }
}

#[allow(unsafe_code)] // see SAFETY below; a global allocator cannot be had without.
// SAFETY: every call goes to the system's allocator as it came, so its promises are kept and so are the caller's; counting
// touches two atomics and a thread-local without a destructor, and so neither allocates nor unwinds.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller's promise is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller's promise is the same.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size);
        // SAFETY: the caller's promise is the same, and `memory` is the system's, as all is.
        unsafe { System.realloc(memory, layout, size) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is the same, and `memory` is the system's, as all is.
        unsafe { System.dealloc(memory, layout) }
    }
}
