//! The one cell the live table stands in: one [`Writer`], which is not `Clone`, and many [`Reader`]s.
//!
//! A request loads the cell once and takes route, upstream and endpoints from that one generation. Nothing else in the
//! process holds a table that requests are matched against.
//!
//! A table holds documents; a [`CachedReader`] makes apps of those it is asked for, and keeps a bounded number of them.

mod compiled;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use arc_swap::{ArcSwap, Cache};

use crate::{model::App, table::Table, wire::DocumentError};

use compiled::Compiled;

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

/// Reads the cell from one thread; about ten times cheaper than a [`Reader`] (0.5 ns against 4.3 ns, measured). A clone
/// begins without compiled apps.
#[derive(Clone, Debug)]
pub struct CachedReader {
    cell: Cache<Arc<ArcSwap<Published>>, Arc<Published>>,
    /// What the last load found.
    loaded: Arc<Published>,
    compiled: Compiled,
}

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
        let mut cell = Cache::new(Arc::clone(&self.0));
        let loaded = Arc::clone(cell.load());
        CachedReader { cell, loaded, compiled: Compiled::default() }
    }
}

impl CachedReader {
    /// The table now; one pointer comparison when it has not changed.
    pub fn load(&mut self) -> &Arc<Published> {
        let now = self.cell.load();
        if !Arc::ptr_eq(now, &self.loaded) {
            self.loaded = Arc::clone(now);
        }
        &self.loaded
    }

    /// The table as it was at the last [`CachedReader::load`] or [`CachedReader::find_app`]: whoever looks further at what
    /// those said looks here, and stays in one generation.
    #[must_use]
    pub fn published(&self) -> &Arc<Published> {
        &self.loaded
    }

    /// Gives back the memory of the apps that were compiled; each is compiled anew when it is next asked for.
    pub fn forget(&mut self) {
        self.compiled = Compiled::default();
    }

    /// The app that has `host` in the table now (see [`Table::find`]), ready for requests. The same version of an app is
    /// the same `Arc` as long as it is kept; how many are kept is bounded.
    ///
    /// # Errors
    /// When the app's document, which was valid to the version that took it in, is not to this one.
    pub fn find_app(&mut self, host: &str) -> Option<Result<Arc<App>, DocumentError>> {
        self.load();
        let table = &self.loaded.table;
        let ((place, record), _) = table.locate(host)?;
        Some(self.compiled.app(table.base(), place, record))
    }
}
