//! `GET /metrics`: the gauges that follow from something else are set when they are asked for, so that none is stale.
//!
//! Counters and histograms belong to whoever counts; nothing here counts.

use metrics::gauge;
use routing_cache::{
    live::Published,
    model::WallTime,
    updater::{Report, Sizes},
};

use super::{Context, answer::Answer, health, process, upstreams};
use crate::{
    clock,
    config::LimitsConfig,
    overload::Readings,
    readiness::Check,
    telemetry::names::{self, ENDPOINT_STATES, LIMIT_LABEL, SOURCE, STATE, TABLE_SOURCES, VERSION},
};

/// Prometheus' text format.
pub(super) fn metrics(context: &Context) -> Answer {
    let (published, report) = (context.reader.load(), context.updates.report());
    set_process(context);
    set_load(&context.overload.readings());
    set_limits(&context.config.load().limits);
    set_table(&published, &report);
    set_sizes(&published, &context.updates.sizes());
    set_orchestrator(&report, context.started);
    set_upstreams(context, &published);
    Answer::metrics(context.metrics.render())
}

fn set_process(context: &Context) {
    let started = context.started.0 as f64 / 1000.0;
    let stall = (context.progress.0)().map_or(0.0, |stall| stall.since.as_secs_f64());
    gauge!(names::BUILD_INFO, VERSION => env!("CARGO_PKG_VERSION")).set(1.0);
    gauge!(names::START_TIME).set(started);
    gauge!(names::DRAINING).set(flag(context.drain.watch().has_started()));
    gauge!(names::READY).set(flag(health::checks(context).iter().all(Check::holds)));
    gauge!(names::WORKERS).set(context.config.load().gateway.workers as f64);
    gauge!(names::WORKER_STALL).set(stall);
    gauge!(names::DRAINING_PREDECESSORS).set((context.predecessors)() as f64);
}

/// The level itself is set by whoever judges.
fn set_load(readings: &Readings) {
    gauge!(names::MEMORY_RSS).set(process::rss_bytes() as f64);
    gauge!(names::MEMORY_LIMIT).set(readings.limit_bytes as f64);
    gauge!(names::MEMORY_USED).set(readings.memory.used as f64);
    gauge!(names::MEMORY_PRESSURE).set(readings.memory.ratio());
    gauge!(names::MEMORY_STALLS).set(readings.stalls.ratio());
    gauge!(names::DESCRIPTORS).set(readings.descriptors.used as f64);
    gauge!(names::DESCRIPTORS_LIMIT).set(readings.descriptors.of as f64);
}

/// In the order of [`names::LIMITS`].
fn set_limits(limits: &LimitsConfig) {
    let values = [
        limits.max_connections as f64,
        limits.header_bytes as f64,
        limits.header_timeout.as_secs_f64(),
        limits.request_body_bytes as f64,
        limits.min_request_bytes_per_second as f64,
        limits.min_response_bytes_per_second as f64,
        limits.min_rate_window.as_secs_f64(),
        limits.app_bytes as f64,
        limits.changes_bytes as f64,
        limits.snapshot_bytes as f64,
        limits.snapshot_apps as f64,
    ];
    for (limit, value) in names::LIMITS.into_iter().zip(values) {
        gauge!(names::LIMIT, LIMIT_LABEL => limit).set(value);
    }
}

fn set_table(published: &Published, report: &Report) {
    let from = &published.provenance;
    let age = if published.has_table() { clock::age_seconds(from.received_at) } else { 0 };
    gauge!(names::TABLE_AGE).set(age as f64);
    gauge!(names::TABLE_GENERATION).set(from.generation.0 as f64);
    gauge!(names::TABLE_APPS).set(published.table.len() as f64);
    gauge!(names::TABLE_HOSTS).set(published.table.hosts() as f64);
    gauge!(names::TABLE_ENDPOINTS).set(published.table.endpoints() as f64);
    gauge!(names::TABLE_UNSAVED).set(flag(report.saved.unsaved));
    gauge!(names::TABLE_SNAPSHOT_BYTES).set(report.saved.bytes as f64);
    gauge!(names::TABLE_HELD_DELETES).set(report.held.total as f64);
    gauge!(names::TABLE_INVALID_APPS).set(report.invalid_total as f64);
    gauge!(names::TABLE_TOMBSTONES).set(report.tombstones as f64);
    gauge!(names::TABLE_PINNED).set(flag(report.pin.is_some()));
    gauge!(names::TABLE_POISONED).set(flag(report.poisoned.is_some()));
    for source in TABLE_SOURCES {
        gauge!(names::TABLE_SOURCE, SOURCE => source).set(flag(source == from.source.as_str()));
    }
}

fn set_sizes(published: &Published, sizes: &Sizes) {
    let largest = sizes.largest.first().map_or(0, |(_, bytes)| *bytes);
    gauge!(names::TABLE_DOCUMENT_BYTES).set(published.table.document_bytes() as f64);
    gauge!(names::TABLE_LARGEST_APP_BYTES).set(largest as f64);
    gauge!(names::TABLE_STORE_BYTES).set(sizes.store_bytes as f64);
}

/// While it has never been heard of, the silence counts from this process's start: an alarm on it must fire then too.
fn set_orchestrator(report: &Report, started: WallTime) {
    gauge!(names::ORCHESTRATOR_GATE_OPEN).set(flag(report.gate_open));
    gauge!(names::ORCHESTRATOR_READY).set(flag(report.orchestrator_ready));
    let last = report.last_contact.unwrap_or(started);
    gauge!(names::ORCHESTRATOR_LAST_CONTACT).set(clock::age_seconds(last) as f64);
}

fn set_upstreams(context: &Context, published: &Published) {
    let counts = upstreams::counts(context, &published.table);
    let by_state = [counts.healthy, counts.unhealthy, counts.ejected, counts.banned];
    for (state, count) in ENDPOINT_STATES.into_iter().zip(by_state) {
        gauge!(names::UPSTREAM_ENDPOINTS, STATE => state).set(count as f64);
    }
}

fn flag(set: bool) -> f64 {
    f64::from(u8::from(set))
}
