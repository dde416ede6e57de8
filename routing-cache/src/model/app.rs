//! An app: one tenant's hosts, routes and upstreams.

use bytes::Bytes;

use super::{AppId, ErrorPages, HostPattern, Rev, Route, Upstream};

/// A valid app document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppSpec {
    /// What it claims; never empty, no host twice.
    pub hosts: Vec<HostPattern>,
    /// Sorted so that the first that matches is the one that wins (Gateway API's order of precedence).
    pub routes: Vec<Route>,
    /// Sorted by name; names are unique.
    pub upstreams: Vec<Upstream>,
    /// Its own pages for the gateway's error answers.
    pub error_pages: ErrorPages,
}

impl AppSpec {
    /// The number of its endpoints over all upstreams.
    #[must_use]
    pub fn endpoint_count(&self) -> usize {
        self.upstreams.iter().map(|u| u.endpoints.len()).sum()
    }
}

/// One app of the table: a valid document with where it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct App {
    /// Its name.
    pub id: AppId,
    /// The document's number.
    pub rev: Rev,
    /// The document's exact bytes, as sent.
    pub document: Bytes,
    /// The document, read.
    pub spec: AppSpec,
}
