//! The JSON of spec/admin-api.md as types: the server writes them, the commands read them.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// `GET /v1/status`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Status {
    /// Of this program.
    pub version: String,
    /// Of the process.
    pub pid: u32,
    /// `gateway.name`.
    pub name: String,
    /// `starting`, `waiting`, `serving` or `draining`.
    pub state: String,
    /// RFC 3339.
    pub started_at: String,
    /// Whole seconds since then.
    pub uptime_s: u64,
    /// What is served.
    pub table: TableStatus,
    /// How large it is.
    #[serde(default)]
    pub sizes: SizesStatus,
    /// Whom it is from.
    pub orchestrator: OrchestratorStatus,
    /// What is held.
    pub held: HeldStatus,
    /// Endpoints by state.
    pub upstreams: UpstreamCounts,
    /// The data plane's listeners.
    pub listeners: Vec<ListenerStatus>,
    /// What the process uses.
    pub memory: MemoryStatus,
}

/// The served table.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TableStatus {
    /// `live`, `snapshot`, `handover`, `operator` or `none`.
    pub source: String,
    /// Its epoch; `null` without a table.
    pub epoch: Option<String>,
    /// That of the last update applied, in whole or in part.
    pub generation: u64,
    /// Apps served.
    pub apps: u64,
    /// Hosts served.
    pub hosts: u64,
    /// Endpoints of all apps.
    pub endpoints: u64,
    /// Over what is served.
    pub digest: String,
    /// Whole seconds since `received_at`; `null` without a table.
    pub age_s: Option<u64>,
    /// RFC 3339; `null` without a table.
    pub received_at: Option<String>,
    /// What is on disk.
    pub saved: SavedStatus,
    /// Apps that are not served as received: their last document is invalid, or they have none that is valid.
    #[serde(default)]
    pub invalid: u64,
    /// An operator wants it to stay; `null` while the orchestrator is followed.
    #[serde(default)]
    pub pinned: Option<PinnedStatus>,
    /// A table that is kept out, as this program crashed with it; `null` when none is.
    #[serde(default)]
    pub poisoned: Option<PoisonedStatus>,
    /// Deleted apps whose old revs may not come back.
    #[serde(default)]
    pub tombstones: u64,
    /// Epochs that were left, newest first; only an operator's word takes one back.
    #[serde(default)]
    pub retired_epochs: Vec<String>,
}

/// An operator wants the table to stay.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PinnedStatus {
    /// RFC 3339.
    pub since: String,
    /// `rollback` or `import`.
    pub by: String,
}

/// A table that is kept out.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PoisonedStatus {
    /// Its generation.
    pub generation: u64,
    /// Its epoch, where it had one.
    pub epoch: Option<String>,
    /// Over what it served.
    pub digest: String,
    /// Runs in a row that crashed soon after they had begun to serve it.
    pub crashes: u32,
}

/// Sizes in bytes, as they were measured some ten seconds ago at most.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct SizesStatus {
    /// Of all documents served.
    pub documents_bytes: u64,
    /// Of all files of the state folder.
    pub store_bytes: u64,
    /// The five largest apps, largest first.
    pub largest: Vec<AppSize>,
}

/// An app and the size of its document.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AppSize {
    /// Its id.
    pub app: String,
    /// In bytes.
    pub bytes: u64,
}

/// The snapshot on disk.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct SavedStatus {
    /// Its generation.
    pub generation: u64,
    /// When it was written, RFC 3339; `null` when nothing was.
    pub at: Option<String>,
    /// Its size.
    pub bytes: u64,
    /// Why the last save failed; `null` when it did not.
    pub error: Option<String>,
}

/// The orchestrator as it is seen.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct OrchestratorStatus {
    /// `http` or `file`.
    pub kind: String,
    /// Its URL, or the path of the file kind.
    pub url: String,
    /// True when it was heard of within `orchestrator.lost_after`.
    pub reachable: bool,
    /// True when it says that it is ready.
    pub ready: bool,
    /// `open` or `shut`.
    pub gate: String,
    /// Why it is shut.
    pub gate_reason: Option<String>,
    /// Whole seconds since it answered; `null` when it never did.
    pub last_contact_s: Option<u64>,
    /// The last position received; `null` when nothing was.
    pub received: Option<Received>,
}

/// A position in the orchestrator's history.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Received {
    /// The epoch.
    pub epoch: String,
    /// The generation.
    pub generation: u64,
}

/// What the shrink guard holds.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct HeldStatus {
    /// How many deletes.
    pub deletes: u64,
    /// RFC 3339.
    pub since: Option<String>,
    /// Why.
    pub reason: Option<String>,
}

/// Endpoints by state.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct UpstreamCounts {
    /// Take traffic.
    pub healthy: u64,
    /// Failed their checks.
    pub unhealthy: u64,
    /// Taken out after failures in a row.
    #[serde(default)]
    pub ejected: u64,
    /// Taken out by an operator.
    pub banned: u64,
}

/// One listener.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ListenerStatus {
    /// Its configured name.
    pub name: String,
    /// Its address, with the real port.
    pub address: String,
    /// Open now.
    pub connections: u64,
}

/// What the process uses.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct MemoryStatus {
    /// Resident.
    pub rss_bytes: u64,
    /// The tightest limit of its control groups; 0: none.
    pub limit_bytes: u64,
    /// Always `none`: this version does not judge memory.
    pub pressure: String,
}

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

/// Where a table came from.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ProvenanceView {
    /// As in the status.
    pub source: String,
    /// As in the status.
    pub epoch: Option<String>,
    /// As in the status.
    pub generation: u64,
    /// As in the status.
    pub received_at: Option<String>,
    /// As in the status.
    pub age_s: Option<u64>,
}

/// `GET /v1/table/lookup`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct LookupView {
    /// As it is matched.
    pub host: String,
    /// As it is matched.
    pub path: String,
    /// As given.
    pub method: String,
    /// The status of the gateway's own answer, where no upstream would be asked.
    pub status: Option<u16>,
    /// The app.
    pub app: Option<String>,
    /// Its document's number.
    pub rev: Option<u64>,
    /// The pattern that took the host.
    pub pattern: Option<String>,
    /// The route.
    pub route: Option<RouteView>,
    /// Where it would go; empty for a redirect.
    pub upstreams: Vec<UpstreamView>,
    /// How it came to that, step by step.
    pub why: Vec<String>,
}

/// A route that was chosen.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RouteView {
    /// Its name, if it has one.
    pub name: Option<String>,
    /// Its place in the order of matching, from 0.
    pub index: usize,
    /// What it takes.
    pub matches: String,
    /// Where a redirect points.
    pub redirect: Option<String>,
}

/// An upstream of a route.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct UpstreamView {
    /// Its name.
    pub upstream: String,
    /// Its share.
    pub weight: u32,
    /// Its endpoints.
    pub endpoints: Vec<EndpointView>,
}

/// An endpoint.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EndpointView {
    /// Where it listens.
    pub address: String,
    /// Its share among its siblings.
    pub weight: u16,
    /// The orchestrator's name for it.
    pub instance: Option<String>,
    /// How it does.
    #[serde(flatten)]
    pub standing: StandingView,
}

/// How an endpoint does.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StandingView {
    /// `healthy` or `ejected` in this version.
    pub state: String,
    /// Why, where it is not healthy.
    pub why: Option<String>,
    /// RFC 3339, where it is known.
    pub since: Option<String>,
    /// Requests that it answers now.
    pub in_flight: u64,
}

/// `GET /v1/upstreams`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct UpstreamsPage {
    /// Sorted by app, and within it in the document's order. A page may have fewer than its limit, or none, and another
    /// one after it.
    pub endpoints: Vec<UpstreamLine>,
    /// `after` of the next page; `null` on the last.
    pub next: Option<String>,
}

/// One endpoint of a page.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct UpstreamLine {
    /// The app's id.
    pub app: String,
    /// The upstream's name.
    pub upstream: String,
    /// Where it listens.
    pub address: String,
    /// How it does.
    #[serde(flatten)]
    pub standing: StandingView,
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

/// What `POST /v1/log` takes.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogRequest {
    /// A level or a filter.
    pub level: String,
    /// A duration with its unit; the configured level is back after it.
    #[serde(rename = "for")]
    pub duration: String,
}

/// What a call that changed something answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Done {
    /// What is the case now.
    pub state: String,
}

/// Every error.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ErrorView {
    /// In words.
    pub error: String,
}
