//! What is kept of a request, written once when it is over: answered, cancelled or panicked.
//!
//! A [`Record`] is made with the request and goes with whatever is responsible for it: the service's future, then the
//! answer's body, or the tunnel. Dropping it is what writes it, so no way out is forgotten.

use std::{
    net::IpAddr,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use http::{Method, Version};
use routing_cache::model::{Address, App, AppId, WallTime};

use super::{connection::Connection, failure::Failure, metrics, target, upload::Upload};
use crate::{
    clock,
    message::{RequestHead, names},
    telemetry::access::AccessRecord,
};

/// The status of a request whose client went away before the answer's head. It is never sent. Source: nginx's access
/// log, whose readers know it.
const CLIENT_CLOSED_REQUEST: u16 = 499;
/// The status of a request whose handling panicked. It is never sent.
const PANICKED: u16 = 500;

/// The error of a request whose client went away.
const CLIENT_CLOSED: &str = "client_closed";

/// The error of a request whose client took too little of its answer.
const CLIENT_SLOW: &str = "client_slow";

/// One request's record.
#[derive(Debug)]
pub(crate) struct Record {
    connection: Rc<Connection>,
    started: Instant,
    line: Option<Box<Line>>,
    upload: Upload,
    tunnelled: u64,
    status: Option<u16>,
    error: Option<&'static str>,
    complete: bool,
    bytes_out: u64,
    upstream: Option<Duration>,
    attempts: u32,
}

/// What only the access log wants.
#[derive(Debug)]
struct Line {
    client: Option<IpAddr>,
    method: Method,
    host: String,
    path: String,
    protocol: &'static str,
    app: Option<AppId>,
    route: Option<Arc<str>>,
    upstream: Option<Arc<str>>,
    endpoint: Option<Address>,
}

impl Record {
    /// Begins the record of the request `head`.
    pub(crate) fn begin(connection: &Rc<Connection>, head: &RequestHead) -> Self {
        let worker = connection.worker();
        if !connection.is_probe() {
            worker.metrics.active.increment();
        }
        connection.answers(true);
        let logged = worker.access.enabled() && !connection.is_probe();
        let line = logged.then(|| Box::new(Line::new(head, connection.peer.client(&head.fields))));
        Self {
            connection: Rc::clone(connection),
            started: Instant::now(),
            line,
            upload: Upload::default(),
            tunnelled: 0,
            status: None,
            error: None,
            complete: false,
            bytes_out: 0,
            upstream: None,
            attempts: 0,
        }
    }

    /// When the request's head had come.
    pub(crate) fn started(&self) -> Instant {
        self.started
    }

    /// Counts this body's bytes as the request's.
    pub(crate) fn uploads(&mut self, upload: &Upload) {
        self.upload = upload.clone();
    }

    /// Notes the app and route that took it.
    pub(crate) fn routed(&mut self, app: &App, route: Option<&Arc<str>>) {
        if let Some(line) = &mut self.line {
            line.app = Some(app.id.clone());
            line.route = route.cloned();
        }
    }

    /// Notes an attempt.
    pub(crate) fn tried(&mut self, upstream: &Arc<str>, endpoint: &Address) {
        self.attempts += 1;
        if let Some(line) = &mut self.line {
            line.upstream = Some(Arc::clone(upstream));
            line.endpoint = Some(endpoint.clone());
        }
    }

    /// Notes how long the attempt that was answered took to its head.
    pub(crate) fn answered(&mut self, took: Duration) {
        self.connection.worker().metrics.answered(took);
        self.upstream = Some(took);
    }

    /// Notes the status that is sent.
    pub(crate) fn status(&mut self, status: u16) {
        self.status = Some(status);
    }

    /// Notes why it failed, in the one line of the log that a failure has.
    pub(crate) fn failed(&mut self, failure: &Failure) {
        let row = failure.cause.row();
        tracing::debug!(stage = ?failure.stage, cause = ?failure.cause, fault = ?row.fault, why = failure.words(), "failed");
        metrics::own_answer(row.error);
        self.error = Some(row.error);
    }

    /// Notes that the answer broke off after its head.
    pub(crate) fn broke(&mut self, error: &'static str) {
        self.error = Some(error);
    }

    /// Counts bytes of the answer's body.
    pub(crate) fn sent(&mut self, bytes: usize) {
        self.bytes_out = self.bytes_out.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
    }

    /// Counts what went through a tunnel, to the upstream and to the client.
    pub(crate) fn tunnelled(&mut self, up: u64, down: u64) {
        self.tunnelled = up;
        self.bytes_out = self.bytes_out.saturating_add(down);
    }

    /// Notes that all of the answer was handed to the connection.
    pub(crate) fn complete(&mut self) {
        self.complete = true;
        self.connection.answers(false);
    }

    fn bytes_in(&self) -> u64 {
        self.upload.bytes().saturating_add(self.tunnelled)
    }

    /// The status to record: what was sent, else what became of the request in place of an answer.
    fn final_status(&self) -> u16 {
        self.status.unwrap_or(if std::thread::panicking() { PANICKED } else { CLIENT_CLOSED_REQUEST })
    }

    fn final_error(&self) -> Option<&'static str> {
        if self.error.is_some() || self.complete {
            return self.error;
        }
        Some(match () {
            () if std::thread::panicking() => "proxy_internal_error",
            () if self.connection.worker().is_over() => "drain_timeout",
            () if self.connection.is_slow() => CLIENT_SLOW,
            () => CLIENT_CLOSED,
        })
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        self.upload.end();
        if self.connection.is_probe() {
            return;
        }
        let took = self.started.elapsed();
        let status = self.final_status();
        let error = self.final_error();
        let metrics = &self.connection.worker().metrics;
        metrics.active.decrement();
        metrics.request_duration.record(took);
        metrics.bytes_in.increment(self.bytes_in());
        metrics.bytes_out.increment(self.bytes_out);
        if error == Some(CLIENT_CLOSED) {
            metrics.cancelled.increment(1);
        }
        self.connection.listener().metrics.request(status);
        if let Some(line) = self.line.take() {
            self.write(*line, took, status, error);
        }
    }
}

impl Record {
    fn write(&self, line: Line, took: Duration, status: u16, error: Option<&'static str>) {
        let millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        self.connection.worker().access.record(AccessRecord {
            time: WallTime(clock::wall().0.saturating_sub(millis)),
            listener: Arc::clone(&self.connection.listener().name),
            client: line.client,
            method: line.method,
            host: line.host,
            path: line.path,
            protocol: line.protocol,
            status,
            app: line.app,
            route: line.route,
            upstream: line.upstream,
            endpoint: line.endpoint,
            bytes_in: self.bytes_in(),
            bytes_out: self.bytes_out,
            duration: took,
            upstream_duration: self.upstream,
            attempts: self.attempts,
            error,
        });
    }
}

impl Line {
    fn new(head: &RequestHead, client: Option<IpAddr>) -> Self {
        let host = head.fields.get(names::HOST).map(|host| String::from_utf8_lossy(host).into_owned());
        Self {
            client,
            method: head.method.clone(),
            host: host.unwrap_or_default(),
            path: target::path_and_query(&head.target).to_owned(),
            protocol: if head.version == Version::HTTP_10 { "HTTP/1.0" } else { "HTTP/1.1" },
            app: None,
            route: None,
            upstream: None,
            endpoint: None,
        }
    }
}
