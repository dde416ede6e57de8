//! The one cell the live table stands in: one [`Writer`], which is not `Clone`, and many [`Reader`]s.
//!
//! A request loads the cell once and takes route, upstream and endpoints from that one generation. Nothing else in the
//! process holds a table that requests are matched against.

use std::sync::Arc;

use arc_swap::{ArcSwap, Cache};

use crate::table::Table;

pub use crate::model::{Provenance, Source};

/// A table with its provenance, as published.
#[derive(Debug, Default)]
pub struct Published {
    /// What requests are matched against.
    pub table: Table,
    /// Where it came from.
    pub provenance: Provenance,
}

impl Published {
    /// False until a table was received or restored: then every request gets 503.
    #[must_use]
    pub fn has_table(&self) -> bool {
        self.provenance.source != Source::None
    }
}

/// Puts tables into the cell. There is one for each cell, and the updater owns it.
#[derive(Debug)]
pub struct Writer(Arc<ArcSwap<Published>>);

/// Reads the cell from any thread.
#[derive(Clone, Debug)]
pub struct Reader(Arc<ArcSwap<Published>>);

/// Reads the cell from one thread; about ten times cheaper than a [`Reader`] (0.5 ns against 4.3 ns, measured).
#[derive(Clone, Debug)]
pub struct CachedReader(Cache<Arc<ArcSwap<Published>>, Arc<Published>>);

/// Makes a cell that holds `first`.
#[must_use]
pub fn cell(first: Published) -> (Writer, Reader) {
    let cell = Arc::new(ArcSwap::from_pointee(first));
    (Writer(Arc::clone(&cell)), Reader(cell))
}

impl Writer {
    /// Publishes `next` and returns what stood there, for the caller to drop where dropping may take time.
    pub fn publish(&mut self, next: Arc<Published>) -> Arc<Published> {
        self.0.swap(next)
    }
}

impl Reader {
    /// The table now. Never empty-handed: before the first table it is one with [`Source::None`].
    #[must_use]
    pub fn load(&self) -> Arc<Published> {
        self.0.load_full()
    }

    /// A reader for one thread.
    #[must_use]
    pub fn cached(&self) -> CachedReader {
        CachedReader(Cache::new(Arc::clone(&self.0)))
    }
}

impl CachedReader {
    /// The table now; one pointer comparison when it has not changed.
    pub fn load(&mut self) -> &Arc<Published> {
        self.0.load()
    }
}
