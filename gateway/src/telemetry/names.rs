//! The name of every metric, in this one file, with its kind, unit and meaning; and the values of every label.
//!
//! Seconds and bytes; `_total` on counters. A label's values come from the lists here or from the configuration
//! (listeners, workers), never from a request: no host, no path, no address.

use metrics::Unit;

/// Label: the configured name of a listener.
pub const LISTENER: &str = "listener";
/// Label: one of [`class`]'s values.
pub const CLASS: &str = "class";
/// Label: how a thing ended.
pub const OUTCOME: &str = "outcome";
/// Label: why a thing was done.
pub const REASON: &str = "reason";
/// Label: where the served table comes from, one of [`TABLE_SOURCES`].
pub const SOURCE: &str = "source";
/// Label: the name of a limit, one of [`TABLE_LIMITS`] or [`LIMITS`].
pub const LIMIT_LABEL: &str = "limit";
/// Label: the state of an endpoint, one of [`ENDPOINT_STATES`].
pub const STATE: &str = "state";
/// Label: which call of the orchestrator API, one of [`ORCHESTRATOR_CALLS`].
pub const CALL: &str = "call";
/// Label: how a table was written, one of [`SAVE_KINDS`].
pub const KIND: &str = "kind";
/// Label: the number of a worker, as in the name of its thread.
pub const WORKER: &str = "worker";
/// Label: the version of this program.
pub const VERSION: &str = "version";

/// Values of [`SOURCE`].
pub const TABLE_SOURCES: [&str; 5] = ["live", "snapshot", "handover", "operator", "none"];
/// Values of [`OUTCOME`] for [`TABLE_UPDATES`].
pub const UPDATE_OUTCOMES: [&str; 5] = ["published", "unchanged", "held", "rejected", "failed"];
/// Values of [`LIMIT_LABEL`] for [`TABLE_LIMIT_RATIO`].
pub const TABLE_LIMITS: [&str; 5] = ["app_bytes", "changes_bytes", "snapshot_bytes", "snapshot_apps", "store_bytes"];
/// Values of [`OUTCOME`] for [`TABLE_AUDITS`].
pub const AUDIT_OUTCOMES: [&str; 3] = ["same", "drifted", "not_comparable"];
/// Values of [`KIND`]: one change appended to the journal, the whole table, or what had failed before once more.
pub const SAVE_KINDS: [&str; 3] = ["append", "whole", "retry"];
/// Values of [`LIMIT_LABEL`] for [`LIMIT`]: the keys of `[limits]`, durations in seconds.
pub const LIMITS: [&str; 11] = [
    "max_connections",
    "header_bytes",
    "header_timeout_seconds",
    "request_body_bytes",
    "min_request_bytes_per_second",
    "min_response_bytes_per_second",
    "min_rate_window_seconds",
    "app_bytes",
    "changes_bytes",
    "snapshot_bytes",
    "snapshot_apps",
];
/// Values of [`STATE`].
pub const ENDPOINT_STATES: [&str; 4] = ["healthy", "unhealthy", "ejected", "banned"];
/// Values of [`CALL`].
pub const ORCHESTRATOR_CALLS: [&str; 5] = ["state", "snapshot", "changes", "ack", "readiness"];
/// Values of [`OUTCOME`] for [`ORCHESTRATOR_REQUESTS`].
pub const CALL_OUTCOMES: [&str; 5] = ["ok", "refused", "timeout", "status", "garbage"];
/// Values of [`OUTCOME`] for [`RETRIES`]: the further attempt was answered, failed too, or was not made.
pub const RETRY_OUTCOMES: [&str; 3] = ["answered", "failed", "not_allowed"];
/// Values of [`REASON`] for [`SHED`].
pub const SHED_REASONS: [&str; 4] = ["connections", "descriptors", "memory", "draining"];
/// Values of [`REASON`] for [`SLOW_CLIENTS`]: what was waited for.
pub const SLOW_REASONS: [&str; 3] = ["request_head", "request_body", "response"];
/// Values of [`REASON`] for [`ACCEPT_ERRORS`].
pub const ACCEPT_ERROR_REASONS: [&str; 4] = ["descriptors", "memory", "aborted", "other"];
/// Values of [`REASON`] for [`UPSTREAM_CONNECT_ERRORS`].
pub const CONNECT_ERROR_REASONS: [&str; 4] = ["refused", "timeout", "unreachable", "other"];
/// Values of [`REASON`] for [`WATCHDOG_FAILURES`]: a worker or the admin thread without progress; a probe that came back in no
/// time, met a closed door, or was cut off; one that could not be made, or was answered by another process.
pub const WATCHDOG_REASONS: [&str; 7] = ["worker", "admin", "timeout", "refused", "broken", "no_socket", "elsewhere"];
/// Values of [`OUTCOME`] where a thing works or does not.
pub const OK_OR_FAILED: [&str; 2] = ["ok", "failed"];
/// Values of [`OUTCOME`] for [`TAKEOVERS`].
pub const TAKEOVER_OUTCOMES: [&str; 2] = ["replaced", "refused"];
/// Values of [`CLASS`].
pub const CLASSES: [&str; 6] = ["1xx", "2xx", "3xx", "4xx", "5xx", "other"];

/// The place of a status's class in [`CLASSES`].
#[must_use]
pub fn class(status: u16) -> usize {
    match status {
        100..=599 => usize::from(status / 100 - 1),
        _ => CLASSES.len() - 1,
    }
}

/// What a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It only grows.
    Counter,
    /// It is what it is now.
    Gauge,
    /// It counts into buckets.
    Histogram,
}

/// A metric's description.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// What it counts in.
    pub unit: Unit,
    /// Its labels.
    pub labels: &'static [&'static str],
    /// What it says.
    pub help: &'static str,
}

/// Makes a constant for each metric and the list of all, so that no name lacks its description.
macro_rules! metrics {
    ($($constant:ident = $name:literal, $kind:ident, $unit:ident, [$($label:ident),*], $help:literal;)*) => {
        $(#[doc = $help] pub const $constant: &str = concat!("holdgate_", $name);)*
        /// Every metric there is.
        pub const ALL: &[Metric] = &[
            $(Metric { name: $constant, kind: Kind::$kind, unit: Unit::$unit, labels: &[$($label),*], help: $help },)*
        ];
    };
}

metrics! {
    BUILD_INFO = "build_info", Gauge, Count, [VERSION], "1, with the version of this program.";
    START_TIME = "start_time_seconds", Gauge, Seconds, [], "When this process started, in seconds since 1970.";
    DRAINING = "draining", Gauge, Count, [], "1 while it drains.";
    READY = "ready", Gauge, Count, [], "1 while /readyz answers 200.";
    WORKERS = "workers", Gauge, Count, [], "Worker threads.";
    WORKER_CONNECTIONS = "worker_connections", Gauge, Count, [WORKER], "Connections that a worker has now.";
    WORKER_STALL = "worker_stall_seconds", Gauge, Seconds, [], "How long the slowest worker has made no progress.";
    CONFIG_RELOADS = "config_reloads_total", Counter, Count, [OUTCOME], "Reloads of the configuration.";
    LIMIT = "limit", Gauge, Count, [LIMIT_LABEL], "The configured limits; 0: no limit.";

    REQUESTS = "requests_total", Counter, Count, [LISTENER, CLASS], "Requests answered, by class of status.";
    REQUEST_DURATION = "request_duration_seconds", Histogram, Seconds, [],
        "From a request's head to the end of its answer.";
    REQUESTS_ACTIVE = "requests_active", Gauge, Count, [], "Requests being answered now.";
    REQUEST_BYTES = "request_body_bytes_total", Counter, Bytes, [], "Bytes of request bodies.";
    RESPONSE_BYTES = "response_body_bytes_total", Counter, Bytes, [], "Bytes of response bodies.";
    GATEWAY_ANSWERS = "gateway_answers_total", Counter, Count, [REASON],
        "Answers the gateway made itself, by the error type of Proxy-Status.";
    REQUESTS_REFUSED = "requests_refused_total", Counter, Count, [REASON],
        "Requests refused before they were routed: ambiguous framing or over a limit.";
    REQUESTS_CANCELLED = "requests_cancelled_total", Counter, Count, [],
        "Requests whose client went away before the answer was complete.";
    UPGRADES_ACTIVE = "upgrades_active", Gauge, Count, [], "Upgraded connections (WebSocket and others) open now.";
    CONNECTIONS = "connections", Gauge, Count, [LISTENER], "Connections open now.";
    CONNECTIONS_ACCEPTED = "connections_accepted_total", Counter, Count, [LISTENER], "Connections accepted.";
    CONNECTIONS_HANDED_OVER = "connections_handed_over_total", Counter, Count, [],
        "Connections that a worker with more than its share handed to another.";
    ACCEPT_ERRORS = "accept_errors_total", Counter, Count, [REASON], "Failures to accept a connection.";
    SHED = "shed_total", Counter, Count, [REASON], "Connections and requests refused to keep the rest served.";
    IDLE_CLOSED = "idle_connections_closed_total", Counter, Count, [REASON],
        "Idle connections closed before their time: for want of memory, descriptors or places.";
    SLOW_CLIENTS = "slow_clients_total", Counter, Count, [REASON],
        "Clients given up because they sent or took too little in too long.";
    RETRIES = "retries_total", Counter, Count, [OUTCOME], "Further attempts of requests.";

    UPSTREAM_REQUEST_DURATION = "upstream_request_duration_seconds", Histogram, Seconds, [],
        "From an attempt's start to the head of the upstream's answer.";
    UPSTREAM_CONNECT_DURATION = "upstream_connect_duration_seconds", Histogram, Seconds, [],
        "How long connecting to an endpoint took.";
    UPSTREAM_CONNECTIONS_OPENED = "upstream_connections_opened_total", Counter, Count, [],
        "Connections made to endpoints.";
    UPSTREAM_CONNECTIONS_REUSED = "upstream_connections_reused_total", Counter, Count, [],
        "Attempts that went over a kept connection.";
    UPSTREAM_CONNECT_ERRORS = "upstream_connect_errors_total", Counter, Count, [REASON],
        "Connections to endpoints that could not be made.";
    UPSTREAM_IDLE_CONNECTIONS = "upstream_idle_connections", Gauge, Count, [], "Connections to endpoints kept idle.";
    UPSTREAM_PENDING = "upstream_pending", Gauge, Count, [],
        "Requests that wait for a connection because of max_connections.";
    UPSTREAM_ENDPOINTS = "upstream_endpoints", Gauge, Count, [STATE], "Endpoints of the served table, by state.";
    UPSTREAM_EJECTIONS = "upstream_ejections_total", Counter, Count, [], "Endpoints taken out after failures in a row.";

    TABLE_AGE = "table_age_seconds", Gauge, Seconds, [], "Since the served table was confirmed last.";
    TABLE_GENERATION = "table_generation", Gauge, Count, [], "The generation of the last update applied.";
    TABLE_APPS = "table_apps", Gauge, Count, [], "Apps served.";
    TABLE_HOSTS = "table_hosts", Gauge, Count, [], "Hosts served.";
    TABLE_ENDPOINTS = "table_endpoints", Gauge, Count, [], "Endpoints of all apps served.";
    TABLE_SOURCE = "table_source", Gauge, Count, [SOURCE], "1 for where the served table comes from.";
    TABLE_UNSAVED = "table_unsaved", Gauge, Count, [], "1 while the served table is not on disk.";
    TABLE_SNAPSHOT_BYTES = "table_snapshot_bytes", Gauge, Bytes, [], "Size of the state folder's files after the last save.";
    TABLE_UPDATES = "table_updates_total", Counter, Count, [OUTCOME], "Updates offered by the orchestrator.";
    TABLE_UPDATE_DURATION = "table_update_duration_seconds", Histogram, Seconds, [],
        "From an update's offer to its publication, saving included.";
    TABLE_HELD_DELETES = "table_held_deletes", Gauge, Count, [], "Deletes held by the shrink guard.";
    TABLE_INVALID_APPS = "table_invalid_apps", Gauge, Count, [], "Apps whose last document is invalid.";
    TABLE_STALE_UPSERTS = "table_stale_upserts_total", Counter, Count, [], "Documents ignored for an old rev.";
    TABLE_LIMIT_RATIO = "table_limit_ratio", Gauge, Percent, [LIMIT_LABEL],
        "How much of a limit is used, 0 to 1 and over.";
    TABLE_RESURRECTIONS_REFUSED = "table_resurrections_refused_total", Counter, Count, [],
        "Upserts of deleted apps that were refused.";
    TABLE_TOMBSTONES = "table_tombstones", Gauge, Count, [], "Deleted apps whose old revs may not come back.";
    TABLE_PINNED = "table_pinned", Gauge, Count, [],
        "1 while an operator has the table stay as it is (rollback, import).";
    TABLE_POISONED = "table_poisoned", Gauge, Count, [],
        "1 while a table after which this program crashed is kept out.";
    TABLE_DOCUMENT_BYTES = "table_document_bytes", Gauge, Bytes, [], "Size of all documents served.";
    TABLE_LARGEST_APP_BYTES = "table_largest_app_bytes", Gauge, Bytes, [], "Size of the largest document served.";
    TABLE_STORE_BYTES = "table_store_bytes", Gauge, Bytes, [], "Size of all files of the state folder.";
    TABLE_SAVES = "table_saves_total", Counter, Count, [KIND, OUTCOME],
        "Attempts to write the table to disk: one change, or the whole of it.";
    TABLE_COMPACTIONS = "table_compactions_total", Counter, Count, [OUTCOME],
        "Journals that were folded into a new snapshot.";
    TABLE_COMPACTION_DURATION = "table_compaction_seconds", Histogram, Seconds, [],
        "How long a compaction took, in the background.";
    TABLE_AUDITS = "table_audits_total", Counter, Count, [OUTCOME],
        "Comparisons of what was received with what the orchestrator says that it has.";

    ORCHESTRATOR_GATE_OPEN = "orchestrator_gate_open", Gauge, Count, [], "1 while answers may change the table.";
    ORCHESTRATOR_READY = "orchestrator_ready", Gauge, Count, [], "1 while the orchestrator says that it is ready.";
    ORCHESTRATOR_LAST_CONTACT = "orchestrator_last_contact_seconds", Gauge, Seconds, [],
        "Since the orchestrator answered last, or this process started.";
    ORCHESTRATOR_REQUESTS = "orchestrator_requests_total", Counter, Count, [CALL, OUTCOME],
        "Calls of the orchestrator.";
    ORCHESTRATOR_REQUEST_DURATION = "orchestrator_request_duration_seconds", Histogram, Seconds, [CALL],
        "How long the orchestrator took to answer; the long poll's wait is counted.";

    ACCESS_LOG_DROPPED = "access_log_dropped_total", Counter, Count, [],
        "Lines of the access log dropped because it could not be written fast enough.";
    ACCESS_LOG_ERRORS = "access_log_errors_total", Counter, Count, [], "Failures to open or write the access log.";
    LOG_DROPPED = "log_dropped_total", Counter, Count, [],
        "Lines of the log dropped because it could not be written fast enough.";
    LOG_ERRORS = "log_errors_total", Counter, Count, [], "Failures to write the log.";
    MEMORY_PRESSURE = "memory_pressure_ratio", Gauge, Percent, [],
        "Memory used of what may be used, 0 to 1, by the measure that is nearest to its limit.";
    MEMORY_USED = "memory_used_bytes", Gauge, Bytes, [],
        "Memory used by that measure, file cache that can be taken back not counted.";
    MEMORY_STALLS = "memory_stall_ratio", Gauge, Percent, [],
        "Share of the last ten seconds in which a thread waited for memory (PSI, some avg10), 0 to 1.";
    DESCRIPTORS = "descriptors", Gauge, Count, [], "Open descriptors.";
    DESCRIPTORS_LIMIT = "descriptors_limit", Gauge, Count, [], "Descriptors that may be open.";
    OVERLOAD_LEVEL = "overload_level", Gauge, Count, [], "0: nothing is given up; 1: what is idle; 2: load is shed.";
    MEMORY_RSS = "memory_rss_bytes", Gauge, Bytes, [], "Resident memory of this process.";
    MEMORY_LIMIT = "memory_limit_bytes", Gauge, Bytes, [], "The memory limit of this process; 0: none.";
    WATCHDOG_PROBE = "watchdog_probe_seconds", Gauge, Seconds, [LISTENER],
        "How long the watchdog's last probe through a listener took, or was waited for in vain.";
    WATCHDOG_FAILURES = "watchdog_failures_total", Counter, Count, [REASON],
        "What the watchdog found wrong, counted at every look.";
    WATCHDOG_HANGING = "watchdog_hanging", Gauge, Count, [],
        "Workers and listeners that hang by the watchdog's verdict.";
    TAKEOVERS = "takeovers_total", Counter, Count, [OUTCOME],
        "Take-overs by a successor, from process to process; those refused count in the process that served on.";
    DRAINING_PREDECESSORS = "draining_predecessors", Gauge, Count, [],
        "Processes before this one that still drain after a take-over.";
}

/// Tells the recorder about every metric. Called once it is installed.
pub fn describe() {
    for metric in ALL {
        let (name, unit, help) = (metric.name, metric.unit, metric.help);
        match metric.kind {
            Kind::Counter => metrics::describe_counter!(name, unit, help),
            Kind::Gauge => metrics::describe_gauge!(name, unit, help),
            Kind::Histogram => metrics::describe_histogram!(name, unit, help),
        }
    }
}
