//! Looks, a few at a time, whether the endpoints with idle connections still are in the table.

use std::sync::Arc;

use routing_cache::{
    live::Published,
    model::{Address, App, AppId},
    wire,
};

use super::context::Worker;
use crate::upstream::pool::Unchecked;

/// Endpoints looked at in one tick. Each costs the reading of one app's document, some microseconds.
const AT_ONCE: usize = 64;

/// How far the looking has come.
#[derive(Debug, Default)]
pub(crate) struct Departed {
    unchecked: Unchecked,
    /// The table at the last look; an address only, so that it is not held.
    table: usize,
}

impl Departed {
    /// Looks on; from the beginning where the table has changed since the last round began.
    pub(crate) fn look(&mut self, worker: &Worker) {
        let published = worker.table();
        let table = Arc::as_ptr(&published) as usize;
        if self.unchecked.is_empty() && table != self.table {
            (self.unchecked, self.table) = (worker.pool.unchecked(), table);
        }
        worker.pool.close_departed(&mut self.unchecked, AT_ONCE, |app, address| stays(&published, app, address));
    }
}

fn stays(published: &Published, id: &AppId, address: &Address) -> bool {
    let Some(record) = published.table.app(id.as_str()) else { return false };
    // What cannot be read now may be readable later.
    wire::compile(record).map_or(true, |app| has(&app, address))
}

fn has(app: &App, address: &Address) -> bool {
    app.spec.upstreams.iter().any(|upstream| upstream.endpoints.iter().any(|endpoint| endpoint.address == *address))
}
