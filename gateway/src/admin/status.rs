//! `GET /v1/status`: copies of what others report, put together. It waits for nobody.

use routing_cache::{
    live::{Published, Source},
    model::{AppId, WallTime},
    updater::{Pin, PinnedBy, Poisoned, Report, SavedReport, Sizes},
};

use super::{
    Context, process, upstreams,
    view::{
        AppSize, HeldStatus, ListenerStatus, MemoryStatus, OrchestratorStatus, PinnedStatus, PoisonedStatus,
        ProvenanceView, Received, SavedStatus, SizesStatus, Status, TableStatus,
    },
};
use crate::{
    clock,
    config::{OrchestratorConfig, OrchestratorKind},
    overload::{Level, Overload},
};

/// Everything of one screen.
pub(super) fn status(context: &Context) -> Status {
    let (published, report, config) = (context.reader.load(), context.updates.report(), context.config.load());
    Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        name: config.gateway.name.clone(),
        state: state(context, &published).to_owned(),
        started_at: clock::rfc3339(context.started),
        uptime_s: clock::age_seconds(context.started),
        table: table(&published, &report),
        sizes: sizes(&context.updates.sizes()),
        orchestrator: orchestrator(&config.orchestrator, &report),
        held: HeldStatus {
            deletes: report.held.total as u64,
            since: report.held.since.map(clock::rfc3339),
            reason: report.held.reason.map(str::to_owned),
        },
        upstreams: upstreams::counts(context, &published.table),
        draining_predecessors: (context.predecessors)(),
        listeners: context.listeners.iter().map(listener).collect(),
        memory: memory(&context.overload),
    }
}

fn memory(overload: &Overload) -> MemoryStatus {
    let (readings, standing) = (overload.readings(), overload.standing());
    MemoryStatus {
        rss_bytes: process::rss_bytes(),
        limit_bytes: readings.limit_bytes,
        used_bytes: readings.memory.used,
        usable_bytes: readings.memory.of,
        pressure: standing.level.as_str().to_owned(),
        short_of: (standing.level > Level::None).then(|| standing.reason.as_str().to_owned()),
    }
}

/// `starting` until every condition of its own holds, `waiting` while only a table is missing.
pub(super) fn state(context: &Context, published: &Published) -> &'static str {
    let starting = || context.readiness.checks().iter().any(|check| !check.holds());
    match () {
        () if context.drain.watch().has_started() => "draining",
        () if starting() => "starting",
        () if !published.has_table() => "waiting",
        () => "serving",
    }
}

/// Where `published` came from.
pub(super) fn provenance(published: &Published) -> ProvenanceView {
    let from = &published.provenance;
    let known = (from.source != Source::None).then_some(from.received_at);
    ProvenanceView {
        source: from.source.as_str().to_owned(),
        epoch: from.epoch.as_ref().map(ToString::to_string),
        generation: from.generation.0,
        received_at: known.map(clock::rfc3339),
        age_s: known.map(clock::age_seconds),
    }
}

fn table(published: &Published, report: &Report) -> TableStatus {
    let from = provenance(published);
    TableStatus {
        source: from.source,
        epoch: from.epoch,
        generation: from.generation,
        apps: published.table.len() as u64,
        hosts: published.table.hosts() as u64,
        endpoints: published.table.endpoints(),
        digest: published.table.digest().to_string(),
        age_s: from.age_s,
        received_at: from.received_at,
        saved: saved(&report.saved),
        invalid: report.invalid_total as u64,
        pinned: report.pin.as_ref().map(pinned),
        poisoned: report.poisoned.as_ref().map(poisoned),
        tombstones: report.tombstones as u64,
        retired_epochs: report.retired.iter().map(ToString::to_string).collect(),
    }
}

fn pinned(pin: &Pin) -> PinnedStatus {
    let by = match pin.by {
        PinnedBy::Rollback => "rollback",
        PinnedBy::Import => "import",
    };
    PinnedStatus { since: clock::rfc3339(pin.since), by: by.to_owned() }
}

fn poisoned(poisoned: &Poisoned) -> PoisonedStatus {
    PoisonedStatus {
        generation: poisoned.generation.0,
        epoch: poisoned.epoch.as_ref().map(ToString::to_string),
        digest: poisoned.digest.to_string(),
        crashes: poisoned.crashes,
    }
}

fn sizes(sizes: &Sizes) -> SizesStatus {
    let largest = |(app, bytes): &(AppId, u64)| AppSize { app: app.to_string(), bytes: *bytes };
    SizesStatus {
        documents_bytes: sizes.documents_bytes,
        store_bytes: sizes.store_bytes,
        largest: sizes.largest.iter().map(largest).collect(),
    }
}

fn saved(report: &SavedReport) -> SavedStatus {
    SavedStatus {
        generation: report.generation.0,
        at: (report.at != WallTime::default()).then(|| clock::rfc3339(report.at)),
        bytes: report.bytes,
        error: report.error.clone(),
    }
}

fn orchestrator(config: &OrchestratorConfig, report: &Report) -> OrchestratorStatus {
    let last_contact_s = report.last_contact.map(clock::age_seconds);
    let (kind, url) = match &config.kind {
        OrchestratorKind::Http { url, .. } => ("http", url.clone()),
        OrchestratorKind::File { path } => ("file", path.display().to_string()),
    };
    let received = |(epoch, generation): &(routing_cache::model::Epoch, routing_cache::model::Generation)| Received {
        epoch: epoch.to_string(),
        generation: generation.0,
    };
    OrchestratorStatus {
        kind: kind.to_owned(),
        url,
        reachable: last_contact_s.is_some_and(|age| age <= config.lost_after.as_secs()),
        ready: report.orchestrator_ready,
        gate: if report.gate_open { "open" } else { "shut" }.to_owned(),
        gate_reason: report.gate_reason.clone(),
        last_contact_s,
        received: report.received.as_ref().map(received),
    }
}

fn listener(listening: &super::Listening) -> ListenerStatus {
    ListenerStatus {
        name: listening.name.to_string(),
        address: listening.address.clone(),
        connections: (listening.connections)(),
    }
}
