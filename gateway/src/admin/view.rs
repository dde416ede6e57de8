//! The JSON of spec/admin-api.md as types: the server writes them, the commands read them.

mod table;

use serde::{Deserialize, Serialize};

pub use table::{
    AppLine, AppView, ApproveRequest, Approved, DiffSide, DiffView, EvidenceView, HeldView, HistoryView, KeptView,
    RollbackRequest, Steered, TablePage,
};

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
    /// Processes before this one that still drain after a take-over.
    #[serde(default)]
    pub draining_predecessors: u64,
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
    /// Used by the measure that is nearest to its limit; 0 from a gateway that does not say.
    #[serde(default)]
    pub used_bytes: u64,
    /// What may be used by that measure.
    #[serde(default)]
    pub usable_bytes: u64,
    /// `none`, `soft` (what is idle is given up) or `hard` (load is shed).
    pub pressure: String,
    /// `memory`, `descriptors` or `connections`; `null` under no pressure.
    #[serde(default)]
    pub short_of: Option<String>,
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
