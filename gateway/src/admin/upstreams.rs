//! `GET /v1/upstreams`: each endpoint of the served table and how it does.

use std::{
    collections::{BTreeMap, HashSet},
    time::{Duration, Instant},
};

use http::StatusCode;
use memchr::memchr;
use routing_cache::{
    model::{Address, App, AppId, Record, WallTime},
    table::Table,
    wire::compile,
};

use super::{
    Context,
    answer::Answer,
    query::Query,
    table::page_size,
    view::{StandingView, UpstreamCounts, UpstreamLine, UpstreamsPage},
};
use crate::{
    clock,
    upstream::registry::{Counts, EndpointState, Endpoints},
};

/// The states of `?state=`; this version tells the first and the third.
const STATES: [&str; 6] = ["healthy", "unhealthy", "ejected", "banned", "draining", "holding-port"];

/// The endpoints' states at one moment.
pub(super) struct States<'a> {
    endpoints: &'a Endpoints,
    now: Instant,
}

impl<'a> States<'a> {
    /// As `context` sees them now.
    pub(super) fn of(context: &'a Context) -> Self {
        Self { endpoints: &context.endpoints, now: Instant::now() }
    }
}

/// Endpoints by state. An endpoint nobody has asked yet is healthy: nothing is known against it.
pub(super) fn counts(context: &Context, table: &Table) -> UpstreamCounts {
    let Counts { healthy, unhealthy, ejected, banned } = context.endpoints.counts(table.endpoints());
    UpstreamCounts { healthy, unhealthy, ejected, banned }
}

/// How the endpoint at `address` does.
pub(super) fn standing(states: &States<'_>, address: &Address) -> StandingView {
    match states.endpoints.known(address) {
        Some(known) if known.is_ejected(states.now) => ejected(&known, states.now),
        known => StandingView {
            state: "healthy".to_owned(),
            why: None,
            since: None,
            in_flight: known.map_or(0, |known| u64::from(known.in_flight())),
        },
    }
}

fn ejected(known: &EndpointState, now: Instant) -> StandingView {
    let left = known.ejected_for(now).unwrap_or_default().as_secs_f64().ceil();
    StandingView {
        state: "ejected".to_owned(),
        why: Some(format!("{} failures in a row; left out for another {left} s", known.failures())),
        since: known.ejected_ago(now).map(ago),
        in_flight: u64::from(known.in_flight()),
    }
}

/// The time of day so long ago.
fn ago(duration: Duration) -> String {
    let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    clock::rfc3339(WallTime(clock::wall().0.saturating_sub(millis)))
}

/// Where a page begins: behind this endpoint of this app.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Cursor {
    app: String,
    endpoint: usize,
}

impl Cursor {
    /// `INDEX.APP`: the app's id may hold anything, the index may not.
    fn parse(text: &str) -> Option<Self> {
        let (endpoint, app) = text.split_once('.')?;
        Some(Self { app: app.to_owned(), endpoint: endpoint.parse().ok()? })
    }

    fn text(&self) -> String {
        format!("{}.{}", self.endpoint, self.app)
    }

    /// True for what the pages before did not show.
    fn is_before(&self, app: &AppId, endpoint: usize) -> bool {
        (self.app.as_str(), self.endpoint) < (app.as_str(), endpoint)
    }
}

/// One page, sorted by app, and within it in the document's order.
pub(super) fn page(context: &Context, query: &Query) -> Answer {
    match selection(query) {
        Ok(selection) => Answer::json(&selection.page(&States::of(context), &context.reader.load().table)),
        Err(refused) => refused,
    }
}

struct Selection<'a> {
    state: Option<&'a str>,
    after: Option<Cursor>,
    limit: usize,
}

fn selection(query: &Query) -> Result<Selection<'_>, Answer> {
    let refused = |error: &str| Answer::error(StatusCode::BAD_REQUEST, error);
    let state = query.get("state");
    if state.is_some_and(|state| !STATES.contains(&state)) {
        return Err(refused(&format!("state: one of {}", STATES.join(", "))));
    }
    let after = match query.get("after") {
        None => None,
        Some(text) => Some(Cursor::parse(text).ok_or_else(|| refused("after: give `next` of the page before"))?),
    };
    Ok(Selection { state, after, limit: page_size(query)? })
}

impl Selection<'_> {
    fn page(&self, states: &States<'_>, table: &Table) -> UpstreamsPage {
        let Some(records) = self.candidates(states, table) else { return UpstreamsPage::default() };
        let looked_at_all = records.len() <= self.limit;
        let last = records.last().map(|record| Cursor { app: record.id().to_owned(), endpoint: usize::MAX });
        let mut found: Vec<(Cursor, UpstreamLine)> = Vec::new();
        // ignored: an app that this version does not understand has no endpoints that could be shown
        for app in records.into_iter().filter_map(|record| compile(record).ok()) {
            found.extend(self.lines(states, &app));
        }
        let more = found.len() > self.limit;
        found.truncate(self.limit);
        let next = found.last().filter(|_| more).map(|(cursor, _)| cursor.text());
        let next = next.or_else(|| last.filter(|_| !looked_at_all).map(|cursor| cursor.text()));
        UpstreamsPage { endpoints: found.into_iter().map(|(_, line)| line).collect(), next }
    }

    /// The first apps by id that may have a line for this page, one more than its limit; nothing of a document is read
    /// for it but where an ejected address is looked for. `None`: no endpoint is in that state.
    fn candidates<'t>(&self, states: &States<'_>, table: &'t Table) -> Option<Vec<Record<'t>>> {
        let mentioned = match self.state {
            None | Some("healthy") => None,
            Some("ejected") => Some(Mentioned::new(states.endpoints.ejected(states.now))?),
            Some(_) => return None,
        };
        let after = self.after.as_ref();
        let wanted = table.iter().filter(|record| {
            record.endpoints() > 0
                && after.is_none_or(|after| after.app.as_str() <= record.id())
                && mentioned.as_ref().is_none_or(|mentioned| mentioned.may_be_in(record.document()))
        });
        Some(first_by_id(wanted, self.limit + 1))
    }

    fn lines(&self, states: &States<'_>, app: &App) -> impl Iterator<Item = (Cursor, UpstreamLine)> {
        let upstreams = app.spec.upstreams.iter();
        let endpoints = upstreams.flat_map(|u| u.endpoints.iter().map(move |e| (&u.name, &e.address)));
        let wanted =
            endpoints.enumerate().filter(|(index, _)| self.after.as_ref().is_none_or(|a| a.is_before(&app.id, *index)));
        let lines = wanted.map(|(index, (upstream, address))| {
            let cursor = Cursor { app: app.id.to_string(), endpoint: index };
            let line = UpstreamLine {
                app: app.id.to_string(),
                upstream: upstream.to_string(),
                address: address.to_string(),
                standing: standing(states, address),
            };
            (cursor, line)
        });
        lines.filter(|(_, line)| self.state.is_none_or(|state| line.standing.state == state))
    }
}

fn first_by_id<'t>(records: impl Iterator<Item = Record<'t>>, limit: usize) -> Vec<Record<'t>> {
    let mut first: BTreeMap<&str, Record<'t>> = BTreeMap::new();
    for record in records {
        if first.len() >= limit && first.last_key_value().is_some_and(|(last, _)| *last < record.id()) {
            continue;
        }
        first.insert(record.id(), record);
        if first.len() > limit {
            first.pop_last();
        }
    }
    first.into_values().collect()
}

/// Addresses that are looked for in documents, without reading these as documents.
struct Mentioned {
    addresses: HashSet<Address>,
    texts: HashSet<String>,
}

impl Mentioned {
    /// `None` where there is none.
    fn new(addresses: Vec<Address>) -> Option<Self> {
        let texts = addresses.iter().map(ToString::to_string).collect();
        (!addresses.is_empty()).then(|| Self { addresses: addresses.into_iter().collect(), texts })
    }

    /// False only where no string of the document is one of the addresses.
    fn may_be_in(&self, document: &[u8]) -> bool {
        // With an escape in it, a string is not what it looks like.
        memchr(b'\\', document).is_some() || document.split(|byte| *byte == b'"').any(|text| self.is_one(text))
    }

    fn is_one(&self, text: &[u8]) -> bool {
        let Ok(text) = std::str::from_utf8(text) else { return false };
        // An IPv6 address, and a port with zeros before it, can be written in more than one way.
        let odd = text.starts_with('[') || text.contains(":0");
        self.texts.contains(text) || (odd && text.parse().is_ok_and(|address| self.addresses.contains(&address)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_survives_ids_with_dots() {
        let cursor = Cursor { app: "a.b".into(), endpoint: 7 };
        assert_eq!(cursor.text(), "7.a.b");
        assert_eq!(Cursor::parse(&cursor.text()), Some(cursor));
        assert_eq!(Cursor::parse("x.a"), None);
        assert_eq!(Cursor::parse("7"), None);
    }

    #[test]
    fn a_cursor_is_before_what_comes_later() {
        let cursor = Cursor { app: "b".into(), endpoint: 1 };
        let id = |id| AppId::new(id).unwrap();
        assert!(cursor.is_before(&id("b"), 2) && cursor.is_before(&id("c"), 0));
        assert!(!cursor.is_before(&id("b"), 1) && !cursor.is_before(&id("a"), 9));
    }

    #[test]
    fn an_address_is_found_in_a_document_however_it_is_written_there() {
        let addresses = ["10.0.0.1:80", "[::1]:8080", "unix:/run/a.sock"].map(|text| text.parse().unwrap());
        let mentioned = Mentioned::new(addresses.to_vec()).unwrap();
        for text in
            ["10.0.0.1:80", "10.0.0.1:080", "[::1]:8080", "[0:0::1]:8080", "unix:/run/a.sock", "unix:\\/run\\/a.sock"]
        {
            assert!(mentioned.may_be_in(format!("{{\"endpoints\":[\"{text}\"]}}").as_bytes()), "{text}");
        }
        for text in ["10.0.0.1:8", "10.0.0.1:801", "[::2]:8080", "unix:/run/a"] {
            assert!(!mentioned.may_be_in(format!("{{\"endpoints\":[\"{text}\"]}}").as_bytes()), "{text}");
        }
        assert!(Mentioned::new(Vec::new()).is_none());
    }
}
