//! `GET /v1/table`, `/v1/table/apps/ID` and `/v1/table/held`.

use std::sync::Arc;

use http::StatusCode;
use routing_cache::{
    model::{App, AppId},
    updater::{Evidence, Held, Report},
};
use serde_json::value::RawValue;

use super::{
    Context,
    answer::Answer,
    query::Query,
    status,
    view::{AppLine, AppView, EvidenceView, HeldView, TablePage},
};
use crate::clock;

/// Apps or endpoints on a page nobody gave a size for.
const PAGE: usize = 100;
/// Apps or endpoints on the largest page, so that no answer is made of a whole table.
const LARGEST_PAGE: usize = 1000;

/// The size of the page asked for by `limit`.
pub(super) fn page_size(query: &Query) -> Result<usize, Answer> {
    let Some(text) = query.get("limit") else { return Ok(PAGE) };
    let refused = || Answer::error(StatusCode::BAD_REQUEST, "limit: a number from 1 to 1000");
    text.parse().ok().filter(|limit| (1..=LARGEST_PAGE).contains(limit)).ok_or_else(refused)
}

/// One page of apps, sorted by id.
pub(super) fn page(context: &Context, query: &Query) -> Answer {
    let limit = match page_size(query) {
        Ok(limit) => limit,
        Err(refused) => return refused,
    };
    let (published, report) = (context.reader.load(), context.updates.report());
    // One more than asked for says whether another page follows.
    let mut apps = published.table.page(query.get("after"), limit + 1);
    let more = apps.len() > limit;
    apps.truncate(limit);
    Answer::json(&TablePage {
        generation: published.provenance.generation.0,
        next: apps.last().filter(|_| more).map(|app| app.id.to_string()),
        apps: apps.iter().map(|app| line(app, &report.held)).collect(),
    })
}

/// One app with its document and its provenance.
pub(super) fn app(context: &Context, id: &str) -> Answer {
    let (published, report) = (context.reader.load(), context.updates.report());
    let invalid = report.invalid.iter().find(|(app, _)| app.as_str() == id).map(|(_, error)| error.to_string());
    let Some(app) = published.table.app(id) else { return unknown(invalid.as_deref()) };
    let Some(document) = document(app) else {
        return Answer::error(StatusCode::INTERNAL_SERVER_ERROR, "the app's document is not JSON");
    };
    Answer::json(&AppView {
        line: line(app, &report.held),
        digest: app.digest.to_string(),
        endpoints: app.spec.endpoint_count() as u64,
        invalid,
        provenance: status::provenance(&published),
        document,
    })
}

fn unknown(invalid: Option<&str>) -> Answer {
    let why = invalid.map(|error| format!("; its document is invalid: {error}")).unwrap_or_default();
    Answer::error(StatusCode::NOT_FOUND, &format!("the served table has no such app{why}"))
}

fn document(app: &App) -> Option<Box<RawValue>> {
    let text = std::str::from_utf8(&app.document).ok()?;
    RawValue::from_string(text.to_owned()).ok()
}

fn line(app: &Arc<App>, held: &Held) -> AppLine {
    AppLine {
        app: app.id.to_string(),
        rev: app.rev.0,
        hosts: app.spec.hosts.iter().map(ToString::to_string).collect(),
        held: is_held(held, &app.id),
    }
}

/// The report names the first thousand, sorted by id.
fn is_held(held: &Held, id: &AppId) -> bool {
    held.deletes.binary_search(id).is_ok()
}

/// What is held, and why.
pub(super) fn held(report: &Report) -> HeldView {
    let held = &report.held;
    HeldView {
        reason: held.reason.map(str::to_owned),
        since: held.since.map(clock::rfc3339),
        generation: held.generation.0,
        deletes: held.deletes.iter().map(ToString::to_string).collect(),
        total: held.total as u64,
        evidence: held.evidence.map(evidence),
    }
}

fn evidence(evidence: Evidence) -> EvidenceView {
    let Evidence { apps_before, apps_after, percent, window_s } = evidence;
    EvidenceView { apps_before, apps_after, percent, window_s }
}
