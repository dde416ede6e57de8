//! What is shown of the table: pages, what is held, and what an operator does with it.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::ProvenanceView;

/// `GET /v1/table`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TablePage {
    /// Of the table that the page is from.
    pub generation: u64,
    /// Sorted by id.
    pub apps: Vec<AppLine>,
    /// `after` of the next page; `null` on the last.
    pub next: Option<String>,
}

/// One app of a page.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AppLine {
    /// Its id.
    pub app: String,
    /// Its document's number.
    pub rev: u64,
    /// What it claims.
    pub hosts: Vec<String>,
    /// True when the orchestrator took it away and the guard keeps it.
    pub held: bool,
    /// Why its last document is not what is served; `null` when it is.
    #[serde(default)]
    pub invalid: Option<String>,
}

/// `GET /v1/table/apps/ID`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AppView {
    /// The app.
    #[serde(flatten)]
    pub line: AppLine,
    /// Its number in the table's digest.
    pub digest: String,
    /// Endpoints over all upstreams.
    pub endpoints: u64,
    /// Where the table it stands in came from.
    pub provenance: ProvenanceView,
    /// The document, byte for byte as it was sent.
    pub document: Box<RawValue>,
}

/// `GET /v1/table/held`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct HeldView {
    /// Why; `null` when nothing is held.
    pub reason: Option<String>,
    /// RFC 3339.
    pub since: Option<String>,
    /// What `approve` has to name.
    pub generation: u64,
    /// The first of them by id, at most 1000.
    pub deletes: Vec<String>,
    /// All of them.
    pub total: u64,
    /// What the guard went by.
    pub evidence: Option<EvidenceView>,
}

/// What the shrink guard went by.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct EvidenceView {
    /// The most apps in the window.
    pub apps_before: u64,
    /// Apps without those that are held.
    pub apps_after: u64,
    /// How much that takes away.
    pub percent: f64,
    /// How far the guard looks back, in seconds.
    pub window_s: u64,
}

/// What `POST /v1/table/approve` takes: one of the two.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApproveRequest {
    /// That of the held update.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<u64>,
    /// A retired epoch that is to be taken back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<String>,
}

/// What `POST /v1/table/rollback` takes.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RollbackRequest {
    /// That of a kept generation.
    pub generation: u64,
    /// Its epoch; without it the newest of that number is meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<String>,
}

/// What `POST /v1/table/rollback` and `POST /v1/table/import` answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Steered {
    /// As in `holdgate_table_updates_total`.
    pub outcome: String,
    /// Apps that were not served before.
    pub added: u64,
    /// Apps served in another version than before.
    pub updated: u64,
    /// Apps that are not served any more.
    pub removed: u64,
    /// Apps of it that are not served as they stand in it.
    pub invalid: u64,
    /// Of the served table.
    pub generation: u64,
    /// Apps served now.
    pub apps: u64,
    /// What is served is on disk.
    pub saved: bool,
}

/// `GET /v1/table/history`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct HistoryView {
    /// What is served now.
    pub served: ProvenanceView,
    /// What can be gone back to, newest first.
    pub generations: Vec<KeptView>,
}

/// A kept generation.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct KeptView {
    /// Its number.
    pub generation: u64,
    /// Its epoch.
    pub epoch: Option<String>,
    /// The store's number of it: of two, the higher one came later.
    pub sequence: u64,
    /// When it was received, RFC 3339.
    pub at: String,
    /// Apps served.
    pub apps: u64,
    /// Over what was served.
    pub digest: String,
    /// As in the status.
    pub source: String,
    /// The file that holds it whole; `null` where it is made of one and the changes after it.
    pub file: Option<String>,
}

/// `GET /v1/table/diff`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DiffView {
    /// The older side.
    pub from: DiffSide,
    /// The newer side.
    pub to: DiffSide,
    /// Apps of `to` alone; the first by id.
    pub added: Vec<String>,
    /// Apps of `from` alone; the first by id.
    pub removed: Vec<String>,
    /// Apps of both in different versions; the first by id.
    pub changed: Vec<String>,
    /// All of them.
    pub added_total: u64,
    /// All of them.
    pub removed_total: u64,
    /// All of them.
    pub changed_total: u64,
}

/// One side of a difference.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DiffSide {
    /// Its number.
    pub generation: u64,
    /// Its epoch.
    pub epoch: Option<String>,
    /// Its apps.
    pub apps: u64,
    /// Over what it serves.
    pub digest: String,
}

/// What `POST /v1/table/approve` answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Approved {
    /// As in `holdgate_table_updates_total`.
    pub outcome: String,
    /// Apps removed.
    pub removed: u64,
    /// Of the served table.
    pub generation: u64,
    /// Apps left.
    pub apps: u64,
}
