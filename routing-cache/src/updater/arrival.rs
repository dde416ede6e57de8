//! An app of an update on its way into the table, with what was found of it: nothing is looked up, nor a digest computed,
//! more often than once.

use crate::{
    model::{AppId, AppRecord, Digest},
    table::Held,
};

/// See the module.
#[derive(Debug)]
pub(super) struct Arrival {
    pub(super) id: AppId,
    pub(super) app: AppRecord,
    /// Its number in the digest, where it is known.
    pub(super) digest: Option<Digest>,
    /// What is served of it, where that was looked up.
    pub(super) held: Option<Held>,
}

impl Arrival {
    /// One of which nothing is known.
    pub(super) fn of(app: AppRecord) -> Self {
        Self { id: app.get().app_id(), app, digest: None, held: None }
    }
}
