//! `GET /v1/table`, `/v1/table/apps/ID` and `/v1/table/held`.

use http::StatusCode;
use routing_cache::{
    live::Published,
    model::{AppId, Record},
    updater::{Evidence, Held, Report},
    wire::DocumentError,
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

/// One page of apps, sorted by id: of all, or only of those that are held or invalid.
pub(super) fn page(context: &Context, query: &Query) -> Answer {
    let limit = match page_size(query) {
        Ok(limit) => limit,
        Err(refused) => return refused,
    };
    let (published, report) = (context.reader.load(), context.updates.report());
    let (after, lines) = (query.get("after"), Lines { published: &published, report: &report });
    // One more than asked for says whether another page follows.
    let mut apps = match (is_set(query, "held"), is_set(query, "invalid")) {
        (true, true) => return Answer::error(StatusCode::BAD_REQUEST, "give held or invalid, not both"),
        (true, false) => lines.held(after, limit + 1),
        (false, true) => lines.invalid(after, limit + 1),
        (false, false) => lines.all(after, limit + 1),
    };
    let more = apps.len() > limit;
    apps.truncate(limit);
    let next = apps.last().filter(|_| more).map(|app| app.app.clone());
    Answer::json(&TablePage { generation: published.provenance.generation.0, next, apps })
}

fn is_set(query: &Query, name: &str) -> bool {
    query.get(name).is_some_and(|value| value != "false")
}

/// Makes the lines of a page.
struct Lines<'a> {
    published: &'a Published,
    report: &'a Report,
}

impl Lines<'_> {
    fn all(&self, after: Option<&str>, limit: usize) -> Vec<AppLine> {
        self.published.table.page(after, limit).into_iter().map(|app| self.served(app)).collect()
    }

    /// The report names the first thousand by id; so does this.
    fn held(&self, after: Option<&str>, limit: usize) -> Vec<AppLine> {
        let ids = self.report.held.deletes.iter().filter(|id| is_after(id, after));
        ids.filter_map(|id| self.published.table.app(id.as_str())).take(limit).map(|app| self.served(app)).collect()
    }

    /// As `held`. One that has no valid version is not served: it has no rev and no hosts here.
    fn invalid(&self, after: Option<&str>, limit: usize) -> Vec<AppLine> {
        let invalid = self.report.invalid.iter().filter(|(id, _)| is_after(id, after)).take(limit);
        invalid.map(|(id, error)| self.of(id, error)).collect()
    }

    fn of(&self, id: &AppId, error: &DocumentError) -> AppLine {
        let unserved = || AppLine {
            app: id.to_string(),
            rev: 0,
            hosts: Vec::new(),
            held: false,
            invalid: Some(error.to_string()),
        };
        self.published.table.app(id.as_str()).map_or_else(unserved, |app| self.served(app))
    }

    fn served(&self, app: Record<'_>) -> AppLine {
        AppLine {
            app: app.id().to_owned(),
            rev: app.rev().0,
            hosts: app.hosts().map(|host| host.to_string()).collect(),
            held: is_held(&self.report.held, app.id()),
            invalid: why_invalid(self.report, app.id()),
        }
    }
}

fn is_after(id: &AppId, after: Option<&str>) -> bool {
    after.is_none_or(|after| id.as_str() > after)
}

/// The report names the first thousand, sorted by id.
fn is_held(held: &Held, id: &str) -> bool {
    held.deletes.binary_search_by(|held| held.as_str().cmp(id)).is_ok()
}

/// As `is_held`.
fn why_invalid(report: &Report, id: &str) -> Option<String> {
    let at = report.invalid.binary_search_by(|(invalid, _)| invalid.as_str().cmp(id)).ok()?;
    report.invalid.get(at).map(|(_, error)| error.to_string())
}

/// One app with its document and its provenance.
pub(super) fn app(context: &Context, id: &str) -> Answer {
    let (published, report) = (context.reader.load(), context.updates.report());
    let lines = Lines { published: &published, report: &report };
    let Some(app) = published.table.app(id) else { return unknown(why_invalid(&report, id).as_deref()) };
    let Some(document) = document(app) else {
        return Answer::error(StatusCode::INTERNAL_SERVER_ERROR, "the app's document is not JSON");
    };
    Answer::json(&AppView {
        line: lines.served(app),
        digest: app.digest().to_string(),
        endpoints: u64::from(app.endpoints()),
        provenance: status::provenance(&published),
        document,
    })
}

fn unknown(invalid: Option<&str>) -> Answer {
    let why = invalid.map(|error| format!("; its document is invalid: {error}")).unwrap_or_default();
    Answer::error(StatusCode::NOT_FOUND, &format!("the served table has no such app{why}"))
}

fn document(app: Record<'_>) -> Option<Box<RawValue>> {
    let text = std::str::from_utf8(app.document()).ok()?;
    RawValue::from_string(text.to_owned()).ok()
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
