//! The calls of the API.

use std::sync::Arc;

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, Request, StatusCode,
    header::{ETAG, IF_NONE_MATCH},
};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use routing_cache::wire::encode::{self, ChangesHead};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::time::{Instant, timeout_at};

use super::{
    book::{NoPage, Page, PageLimits},
    control,
    desk::{Desk, Inner},
    query::Query,
    reply::{self, JSON, NDJSON, Reply},
};

/// Bytes of documents in a page, before the one that goes over it: with one more, and all escapes, it stays under the
/// 8 MiB that a gateway takes (spec/orchestrator-api.md, rule 10).
const PAGE_BYTES: usize = 4 << 20;
/// Bytes of a request's body: an ack with 200 apps in it has some 50 kB.
const MAX_REQUEST_BYTES: usize = 1 << 20;

/// What all calls share.
#[derive(Debug)]
pub(super) struct Calls {
    pub(super) desk: Arc<Desk>,
    pub(super) control: bool,
}

/// Why changes are not told.
#[derive(Debug)]
enum Refusal {
    /// Nothing is loaded yet; the state says why.
    NotLoaded(Vec<u8>),
    /// They are not known.
    NoPage(NoPage),
}

impl Refusal {
    fn reply(self) -> Reply {
        match self {
            Self::NotLoaded(state) => reply::not_loaded(state),
            Self::NoPage(NoPage::Gone) => reply::error(StatusCode::GONE, "take a snapshot"),
            Self::NoPage(NoPage::Ahead) => reply::error(StatusCode::CONFLICT, "that generation is not here yet"),
        }
    }
}

/// The part of an ack that tells gateways apart.
#[derive(Deserialize)]
struct AckOf {
    gateway: String,
}

impl Calls {
    /// Answers one request.
    pub(super) async fn answer(&self, request: Request<Incoming>) -> Reply {
        let (head, body) = request.into_parts();
        match (head.uri.path(), &head.method) {
            ("/v1/state", &Method::GET) => reply::body(StatusCode::OK, JSON, Bytes::from(self.desk.lock().state())),
            ("/v1/snapshot", &Method::GET) => self.snapshot(&head.headers).await,
            ("/v1/changes", &Method::GET) => self.changes(head.uri.query(), &head.headers).await,
            ("/v1/ack", &Method::POST) => self.ack(body).await,
            ("/v1/acks", &Method::GET) => reply::body(StatusCode::OK, JSON, Bytes::from(self.desk.lock().acks())),
            ("/v1/state" | "/v1/snapshot" | "/v1/changes" | "/v1/acks", _) => reply::not_allowed("GET"),
            ("/v1/ack", _) => reply::not_allowed("POST"),
            (path, method) if self.control && path.starts_with("/control/") => {
                control::answer(&self.desk, path, method, read(body).await)
            }
            _ => reply::error(StatusCode::NOT_FOUND, "no such call"),
        }
    }

    async fn snapshot(&self, headers: &HeaderMap) -> Reply {
        let (snapshot, etag) = {
            let mut inner = self.desk.lock();
            if !inner.is_loaded() {
                return reply::not_loaded(inner.state());
            }
            let etag = etag(&inner);
            if inner.is_ready() && has(headers, &etag) {
                return tagged(reply::body(StatusCode::NOT_MODIFIED, NDJSON, Bytes::new()), &etag);
            }
            (inner.snapshot(), etag)
        };
        tagged(reply::compressed(headers, NDJSON, snapshot.plain, &snapshot.gzip).await, &etag)
    }

    async fn changes(&self, query: Option<&str>, headers: &HeaderMap) -> Reply {
        let query = match Query::parse(query) {
            Ok(query) => query,
            Err(why) => return reply::error(StatusCode::BAD_REQUEST, &why),
        };
        match self.page(&query).await {
            Ok(body) => reply::compressed(headers, JSON, Bytes::from(body), &Arc::default()).await,
            Err(refusal) => refusal.reply(),
        }
    }

    /// The page that follows on what is asked, as soon as there is one, or an empty one when the wait is over.
    async fn page(&self, query: &Query) -> Result<Vec<u8>, Refusal> {
        let until = Instant::now() + query.wait;
        let mut changed = self.desk.subscribe();
        loop {
            changed.borrow_and_update();
            if let Some(body) = encoded(&self.desk.lock(), query, Instant::now() >= until)? {
                return Ok(body);
            }
            // ignored: a wait that is over is answered as a change is; the sender lives as long as the desk
            let _ = timeout_at(until, changed.changed()).await;
        }
    }

    async fn ack(&self, body: Incoming) -> Reply {
        let Some(body) = read(body).await else {
            return reply::error(StatusCode::PAYLOAD_TOO_LARGE, "an ack has at most 1 MiB");
        };
        let of: Result<AckOf, _> = serde_json::from_slice(&body);
        let whole: Result<Box<RawValue>, _> = serde_json::from_slice(&body);
        match (of, whole) {
            (Ok(AckOf { gateway }), Ok(ack)) => {
                self.desk.lock().acknowledge(gateway, ack);
                let mut reply = http::Response::new(Full::default());
                *reply.status_mut() = StatusCode::NO_CONTENT;
                reply
            }
            (Err(error), _) | (_, Err(error)) => reply::error(StatusCode::BAD_REQUEST, &error.to_string()),
        }
    }
}

/// The page's body; `None` when there is nothing in it and the wait is not `over`.
fn encoded(inner: &Inner, query: &Query, over: bool) -> Result<Option<Vec<u8>>, Refusal> {
    if !inner.is_loaded() {
        return Err(Refusal::NotLoaded(inner.state()));
    }
    let limits = PageLimits { changes: query.max, bytes: PAGE_BYTES };
    match inner.book.page(&query.epoch, query.since, limits) {
        Ok(page) if page.is_empty(query.since) && !over => Ok(None),
        Ok(page) => Ok(Some(encode_page(&page, inner, query))),
        Err(why) => Err(Refusal::NoPage(why)),
    }
}

fn encode_page(page: &Page<'_>, inner: &Inner, query: &Query) -> Vec<u8> {
    let head = ChangesHead {
        epoch: inner.book.epoch(),
        from: query.since,
        to: page.to,
        ready: inner.is_ready(),
        more: page.more,
        apps: page.apps,
        digest: page.digest,
        shrink_ok: page.shrink_ok,
    };
    encode::changes(&head, page.upserts.iter().map(|(id, rev, document)| (*id, *rev, &document[..])), &page.deletes)
}

/// A whole request body; `None` when it is too long or breaks off.
async fn read(body: Incoming) -> Option<Bytes> {
    Limited::new(body, MAX_REQUEST_BYTES).collect().await.ok().map(http_body_util::Collected::to_bytes)
}

fn etag(inner: &Inner) -> String {
    format!("\"{}.{}\"", inner.book.epoch(), inner.book.generation())
}

fn tagged(mut reply: Reply, etag: &str) -> Reply {
    if let Ok(value) = HeaderValue::from_str(etag) {
        reply.headers_mut().insert(ETAG, value);
    }
    reply
}

/// Whether the client has that one: RFC 9110, 13.1.2, weak comparison.
fn has(headers: &HeaderMap, etag: &str) -> bool {
    let values = headers.get_all(IF_NONE_MATCH).iter().filter_map(|v| v.to_str().ok());
    values
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .any(|tag| tag == "*" || tag.trim_start_matches("W/") == etag)
}
