//! `kind = "http"`: the client of spec/orchestrator-api.md.
//!
//! Invariants: every call has a deadline of its own and every body a bound, counted after decompression; a long poll
//! never shares a connection with a readiness poll, so neither can block the other; nothing is asked of a host that
//! the configuration does not name (no redirect is followed, no proxy is taken from the environment).

mod body;
mod error;
mod retry_after;
#[cfg(test)]
mod tests;
mod token;

use std::{path::PathBuf, time::Duration};

use bytes::Bytes;
use reqwest::{RequestBuilder, Response, StatusCode, Url};
use routing_cache::{
    limits::Limits,
    state::Position,
    wire::{self, ChangesPage, SnapshotCandidate, SnapshotDecoder, WireError},
};
use tokio::time::Instant;

use self::{body::Reading, error::of_send, token::TokenFile};
use super::{Ack, Call, CallMetrics, Failure, State};

/// How many changes one page may bring. Source: the example of spec/orchestrator-api.md.
const MAX_CHANGES: u32 = 5000;
/// Bytes of a state answer or of an error's body that are read: a state answer has about 200.
const SMALL_BODY_BYTES: u64 = 64 << 10;
/// After so many bytes of a snapshot other tasks get their turn: decoding them takes about a millisecond.
const BYTES_BETWEEN_TURNS: usize = 128 << 10;
/// Why a 503 without words is not ready.
const NO_REASON: &str = "it gives no reason";

/// Every deadline of the client.
#[derive(Clone, Copy, Debug)]
pub struct Deadlines {
    /// To make a connection, TLS included. Longer than one lost SYN (1 s, RFC 6298) and its repetition.
    pub connect: Duration,
    /// For a whole readiness poll or ack. Half of the default of `lost_after`, so that one slow answer loses nothing.
    pub short_call: Duration,
    /// A body that brings no byte for so long is given up.
    pub progress: Duration,
    /// For a whole snapshot: 1 GiB at 2 MB/s.
    pub snapshot: Duration,
    /// What the server of a long poll may hold it open for. Source: spec/orchestrator-api.md.
    pub wait: Duration,
    /// What an answer to a long poll may take longer than `wait`.
    pub margin: Duration,
    /// What the body of a page may take once it has begun: 8 MiB at 300 kB/s.
    pub page: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        let s = Duration::from_secs;
        Self {
            connect: s(3),
            short_call: s(5),
            progress: s(10),
            snapshot: s(540),
            wait: s(50),
            margin: s(10),
            page: s(30),
        }
    }
}

/// What the client is made from.
#[derive(Clone, Debug)]
pub struct HttpOptions {
    /// `orchestrator.url`; a path in it is kept before `/v1/...`.
    pub url: String,
    /// `orchestrator.token_file`: read again before each call.
    pub token_file: Option<PathBuf>,
    /// `orchestrator.readiness_url`. It never gets the token.
    pub readiness_url: Option<String>,
    /// Bounds on the answers.
    pub limits: Limits,
    /// Deadlines; the default is right but for tests.
    pub deadlines: Deadlines,
}

/// Why there can be no client.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// One of the URLs is none.
    #[error("{key}: not a URL that can be asked: {why}")]
    Url {
        /// Which key of the configuration.
        key: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// TLS or the resolver could not be set up.
    #[error("the HTTP client cannot be set up (https needs the system's certificates: Debian's ca-certificates)")]
    Setup(#[source] reqwest::Error),
}

/// One page of changes.
#[derive(Debug)]
pub struct Page {
    /// What it says.
    pub page: ChangesPage,
    /// Bytes of its body, decompressed.
    pub bytes: u64,
    /// True when the answer came before the wait was over.
    pub early: bool,
}

/// Asks one orchestrator.
#[derive(Debug)]
pub struct HttpClient {
    /// Connections for readiness polls and acks.
    light: reqwest::Client,
    /// Connections for snapshots and long polls.
    table: reqwest::Client,
    base: Url,
    readiness_url: Option<Url>,
    token: Option<TokenFile>,
    limits: Limits,
    deadlines: Deadlines,
    calls: Calls,
}

#[derive(Debug)]
struct Calls {
    state: CallMetrics,
    snapshot: CallMetrics,
    changes: CallMetrics,
    ack: CallMetrics,
    readiness: CallMetrics,
}

impl HttpClient {
    /// A client that has asked nothing yet.
    ///
    /// # Errors
    /// When a URL is not one of http or https, or TLS cannot be set up.
    pub fn new(options: HttpOptions) -> Result<Self, ClientError> {
        let deadlines = options.deadlines;
        let base = parse_url("orchestrator.url", &options.url)?;
        let readiness_url = options.readiness_url.as_deref();
        let readiness_url = readiness_url.map(|url| parse_url("orchestrator.readiness_url", url)).transpose()?;
        let secure = [Some(&base), readiness_url.as_ref()].into_iter().flatten().any(|url| url.scheme() == "https");
        Ok(Self {
            light: connections(&deadlines, secure)?,
            table: connections(&deadlines, secure)?,
            base,
            readiness_url,
            token: options.token_file.map(TokenFile::new),
            limits: options.limits,
            deadlines,
            calls: Calls {
                state: CallMetrics::new(Call::State),
                snapshot: CallMetrics::new(Call::Snapshot),
                changes: CallMetrics::new(Call::Changes),
                ack: CallMetrics::new(Call::Ack),
                readiness: CallMetrics::new(Call::Readiness),
            },
        })
    }

    /// Whether there is a readiness URL to poll.
    #[must_use]
    pub fn has_readiness_url(&self) -> bool {
        self.readiness_url.is_some()
    }

    /// What the client holds its answers to.
    #[must_use]
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// GET /v1/state.
    ///
    /// # Errors
    /// When nothing was answered that can be understood. That the orchestrator is not ready is no error.
    ///
    /// # Cancel safety
    /// Safe: a dropped call is an unanswered one. This holds for every call.
    pub async fn state(&self) -> Result<State, Failure> {
        counted(&self.calls.state, self.within(self.deadlines.short_call, self.ask_state())).await
    }

    /// Whether the readiness URL answers 2xx.
    ///
    /// # Errors
    /// When it does not; always when none is configured.
    pub async fn readiness(&self) -> Result<(), Failure> {
        counted(&self.calls.readiness, self.within(self.deadlines.short_call, self.ask_readiness())).await
    }

    /// GET /v1/snapshot, decoded as it comes.
    ///
    /// # Errors
    /// When it is not a whole, consistent snapshot of an orchestrator that is ready.
    pub async fn snapshot(&self) -> Result<SnapshotCandidate, Failure> {
        counted(&self.calls.snapshot, self.ask_snapshot()).await
    }

    /// GET /v1/changes: one page of what follows on `since`.
    ///
    /// # Errors
    /// When it is not a page of an orchestrator that is ready.
    pub async fn changes(&self, since: &Position) -> Result<Page, Failure> {
        counted(&self.calls.changes, self.ask_changes(since)).await
    }

    /// POST /v1/ack.
    ///
    /// # Errors
    /// When it was not answered 2xx.
    pub async fn ack(&self, ack: &Ack) -> Result<(), Failure> {
        counted(&self.calls.ack, self.within(self.deadlines.short_call, self.send_ack(ack))).await
    }

    async fn ask_state(&self) -> Result<State, Failure> {
        let response = self.send(self.light.get(self.at("v1/state"))).await?;
        let status = response.status();
        if status != StatusCode::OK && status != StatusCode::SERVICE_UNAVAILABLE {
            return Err(of_status(&response));
        }
        let refused = of_status(&response);
        let body = self.small_body(response).await?;
        match wire::parse_state(&body) {
            Ok(answer) if answer.ready && status == StatusCode::OK => Ok(State::Ready(answer)),
            Ok(answer) => Ok(State::NotReady(answer.reason.unwrap_or_else(|| NO_REASON.to_owned()))),
            Err(WireError::NotReady { reason }) => Ok(State::NotReady(reason)),
            Err(_) if status == StatusCode::SERVICE_UNAVAILABLE => Err(refused),
            Err(error) => Err(Failure::Garbage(error)),
        }
    }

    async fn ask_readiness(&self) -> Result<(), Failure> {
        let Some(url) = &self.readiness_url else { return Err(Failure::Unreachable("no URL".to_owned())) };
        let response = self.light.get(url.clone()).send().await.map_err(of_send)?;
        if response.status().is_success() { Ok(()) } else { Err(Failure::Status(response.status().as_u16())) }
    }

    async fn ask_snapshot(&self) -> Result<SnapshotCandidate, Failure> {
        let d = &self.deadlines;
        let overall = Instant::now() + d.snapshot;
        let response = self.table_call(self.at("v1/snapshot"), d.connect + d.progress).await?;
        let mut body = Reading { response, first_by: Instant::now() + d.progress, progress: d.progress, overall };
        let candidate = decode(&mut body, self.limits()).await?;
        if candidate.ready { Ok(candidate) } else { Err(Failure::NotReady("the snapshot says so".to_owned())) }
    }

    async fn ask_changes(&self, since: &Position) -> Result<Page, Failure> {
        let d = &self.deadlines;
        let started = Instant::now();
        let answer_by = started + d.wait + d.margin;
        let response = self.table_call(self.changes_url(since), d.wait + d.margin).await?;
        let mut body = Reading { response, first_by: answer_by, progress: d.progress, overall: answer_by + d.page };
        let limits = self.limits();
        let bytes = body.whole(limits.changes_bytes).await?;
        let early = started.elapsed() < d.wait;
        parse_page(bytes, &limits, early)
    }

    async fn send_ack(&self, ack: &Ack) -> Result<(), Failure> {
        let response = self.send(self.light.post(self.at("v1/ack")).json(ack)).await?;
        if response.status().is_success() { Ok(()) } else { Err(of_status(&response)) }
    }

    /// A table call's head: 200, or the failure that its status means.
    async fn table_call(&self, url: Url, deadline: Duration) -> Result<Response, Failure> {
        let response = self.within(deadline, self.send(self.table.get(url))).await?;
        if response.status() == StatusCode::OK { Ok(response) } else { Err(of_status(&response)) }
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response, Failure> {
        let request = match &self.token {
            Some(file) => request.headers(file.header().await),
            None => request,
        };
        request.send().await.map_err(of_send)
    }

    async fn small_body(&self, response: Response) -> Result<Bytes, Failure> {
        let by = Instant::now() + self.deadlines.short_call;
        let mut body = Reading { response, first_by: by, progress: self.deadlines.short_call, overall: by };
        body.whole(SMALL_BODY_BYTES).await
    }

    async fn within<T>(
        &self,
        deadline: Duration,
        call: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        tokio::time::timeout(deadline, call).await.unwrap_or(Err(Failure::Timeout("no answer in time")))
    }

    fn at(&self, path: &str) -> Url {
        let mut url = self.base.clone();
        let joined = format!("{}/{path}", url.path().trim_end_matches('/'));
        url.set_path(&joined);
        url
    }

    fn changes_url(&self, since: &Position) -> Url {
        let mut url = self.at("v1/changes");
        url.query_pairs_mut()
            .append_pair("epoch", since.epoch.as_str())
            .append_pair("since", &since.generation.to_string())
            .append_pair("wait", &duration_text(self.deadlines.wait))
            .append_pair("max", &MAX_CHANGES.to_string());
        url
    }
}

/// Connections of their own. HTTP/2 by ALPN where there is TLS, HTTP/1.1 else.
///
/// The system's certificates are looked for only where they are `needed`: a minimal system has none, and reqwest takes that
/// for an error.
fn connections(deadlines: &Deadlines, needed: bool) -> Result<reqwest::Client, ClientError> {
    let builder = reqwest::Client::builder();
    let builder = if needed { builder } else { builder.tls_certs_only([]) };
    builder
        .user_agent(concat!("holdgate/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(deadlines.connect)
        .tcp_nodelay(true)
        // A peer that vanished without a word is noticed before a long poll's deadline.
        .tcp_keepalive(deadlines.progress)
        .redirect(reqwest::redirect::Policy::none())
        // HTTP_PROXY of some login shell must not decide whether the control plane can be reached.
        .no_proxy()
        // Repetitions are the subscription's business: it counts and paces them.
        .retry(reqwest::retry::never())
        .referer(false)
        .build()
        .map_err(ClientError::Setup)
}

fn parse_url(key: &'static str, text: &str) -> Result<Url, ClientError> {
    let url = Url::parse(text).map_err(|error| ClientError::Url { key, why: error.to_string() })?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(ClientError::Url { key, why: "only http and https are spoken".to_owned() });
    }
    Ok(url)
}

async fn decode(body: &mut Reading, limits: Limits) -> Result<SnapshotCandidate, Failure> {
    let mut decoder = SnapshotDecoder::new(limits);
    let mut since_turn = 0;
    while let Some(chunk) = body.chunk().await? {
        decoder.push(&chunk)?;
        since_turn += chunk.len();
        if since_turn >= BYTES_BETWEEN_TURNS {
            since_turn = 0;
            tokio::task::yield_now().await;
        }
    }
    Ok(decoder.finish()?)
}

fn parse_page(body: Bytes, limits: &Limits, early: bool) -> Result<Page, Failure> {
    let bytes = body.len() as u64;
    let page = wire::parse_changes(body, limits)?;
    if page.ready { Ok(Page { page, bytes, early }) } else { Err(Failure::NotReady("the changes say so".to_owned())) }
}

/// What a status other than the one hoped for means.
fn of_status(response: &Response) -> Failure {
    let status = response.status();
    let later = matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
    match retry_after::of(response.headers()) {
        Some(delay) if later => Failure::RetryAfter(delay),
        _ if status == StatusCode::GONE => Failure::Gone,
        _ if status == StatusCode::CONFLICT => Failure::Ahead,
        _ => Failure::Status(status.as_u16()),
    }
}

async fn counted<T>(metrics: &CallMetrics, call: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let started = Instant::now();
    let result = call.await;
    metrics.count(result.as_ref().map_or_else(Failure::outcome, |_| "ok"), started.elapsed());
    result
}

/// `wait` as the contract writes durations.
fn duration_text(wait: Duration) -> String {
    if wait.subsec_millis() == 0 { format!("{}s", wait.as_secs()) } else { format!("{}ms", wait.as_millis()) }
}
