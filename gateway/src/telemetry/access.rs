//! The access log: one line for each request, written by a thread of its own.
//!
//! A request hands over its record and goes on. What comes from a client is cut to a bounded length and written so that
//! it can neither end a line nor look like another field.

use std::{
    borrow::Cow,
    io::{self, Write},
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use metrics::counter;
use routing_cache::model::{Address, AppId, WallTime};
use serde::Serialize;

use super::{
    lines::{Counters, Lines},
    names,
    target::Target,
};
use crate::{
    clock,
    config::{AccessLogTarget, LogFormat},
};

/// The most bytes of a host or path that are kept: with the queue's length it bounds what waiting lines hold.
const MAX_TEXT_BYTES: usize = 2048;
/// How long a change or the end may wait for the queue.
const FLUSH_LIMIT: Duration = Duration::from_secs(if cfg!(test) { 20 } else { 1 });

/// What is said of one request.
#[derive(Clone, Debug)]
pub struct AccessRecord {
    /// When its head had come.
    pub time: WallTime,
    /// The listener it came by.
    pub listener: Arc<str>,
    /// Who sent it, after trusted proxies; none on a Unix socket.
    pub client: Option<IpAddr>,
    /// Its method.
    pub method: http::Method,
    /// Its host, as it came.
    pub host: String,
    /// Its path and query, as they came.
    pub path: String,
    /// `HTTP/1.1` and the like.
    pub protocol: &'static str,
    /// The status it was answered with; 0: it was not.
    pub status: u16,
    /// The app it was for.
    pub app: Option<AppId>,
    /// The name of the route it took.
    pub route: Option<Arc<str>>,
    /// The upstream it went to.
    pub upstream: Option<Arc<str>>,
    /// The endpoint that answered, or failed last.
    pub endpoint: Option<Address>,
    /// Bytes of its body.
    pub bytes_in: u64,
    /// Bytes of the answer's body.
    pub bytes_out: u64,
    /// From its head to the end of the answer.
    pub duration: Duration,
    /// From the last attempt's start to the head of the upstream's answer.
    pub upstream_duration: Option<Duration>,
    /// Attempts made; 0 where the gateway answered by itself.
    pub attempts: u32,
    /// What went wrong, of a closed set.
    pub error: Option<&'static str>,
}

/// Takes the records. Clones feed the same log.
#[derive(Clone, Debug)]
pub struct AccessLog {
    lines: Option<Lines<AccessRecord>>,
    enabled: Arc<AtomicBool>,
    json: Arc<AtomicBool>,
}

impl AccessLog {
    /// Starts its thread. A file or socket that cannot be opened is no error: it is tried again, what is lost meanwhile is
    /// counted, and the log says so.
    ///
    /// # Errors
    /// When there can be no further thread.
    pub fn start(target: &AccessLogTarget, format: LogFormat) -> io::Result<Self> {
        let counters =
            Counters { dropped: counter!(names::ACCESS_LOG_DROPPED), errors: counter!(names::ACCESS_LOG_ERRORS) };
        Self::counted(target, format, counters)
    }

    fn counted(target: &AccessLogTarget, format: LogFormat, counters: Counters) -> io::Result<Self> {
        let enabled = Arc::new(AtomicBool::new(*target != AccessLogTarget::Off));
        let json = Arc::new(AtomicBool::new(format == LogFormat::Json));
        let is_json = Arc::clone(&json);
        let line = move |record: &AccessRecord, out: &mut Vec<u8>| record.write(is_json.load(Ordering::Relaxed), out);
        let lines = Lines::start("access-log", of_config(target), counters, line)?;
        Ok(Self { lines: Some(lines), enabled, json })
    }

    /// A log that takes nothing.
    #[must_use]
    pub fn off() -> Self {
        Self { lines: None, enabled: Arc::default(), json: Arc::default() }
    }

    /// Whether a record would be written; asked before one is made.
    #[must_use]
    pub fn enabled(&self) -> bool {
        self.enabled.load(Ordering::Relaxed)
    }

    /// Hands over a record; never waits.
    pub fn record(&self, mut record: AccessRecord) {
        let Some(lines) = self.lines.as_ref().filter(|_| self.enabled()) else { return };
        cut(&mut record.host);
        cut(&mut record.path);
        lines.push(record);
    }

    /// Writes to another target, or in another format, from the next record on. Waits a second at most.
    pub fn change(&self, target: &AccessLogTarget, format: LogFormat) {
        let Some(lines) = &self.lines else { return };
        lines.change(of_config(target), FLUSH_LIMIT);
        self.json.store(format == LogFormat::Json, Ordering::Relaxed);
        self.enabled.store(*target != AccessLogTarget::Off, Ordering::Relaxed);
    }

    /// Waits, a second at most, until every record so far is written.
    pub fn flush(&self) {
        if let Some(lines) = &self.lines {
            lines.flush(FLUSH_LIMIT);
        }
    }
}

fn of_config(target: &AccessLogTarget) -> Target {
    match target {
        AccessLogTarget::Off => Target::Off,
        AccessLogTarget::Stdout => Target::Stdout,
        AccessLogTarget::File(path) => Target::file(path),
        AccessLogTarget::Unix(path) => Target::unix(path),
    }
}

/// Cuts a text that is too long, and gives its memory back.
fn cut(text: &mut String) {
    if text.len() > MAX_TEXT_BYTES {
        text.truncate(text.floor_char_boundary(MAX_TEXT_BYTES));
        text.push('…');
        text.shrink_to_fit();
    }
}

/// A record as JSON. What there is none of is absent.
#[derive(Serialize)]
struct Json<'a> {
    time: String,
    listener: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<IpAddr>,
    method: &'a str,
    host: &'a str,
    path: &'a str,
    protocol: &'a str,
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    app: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    route: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    upstream: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    endpoint: Option<String>,
    bytes_in: u64,
    bytes_out: u64,
    duration_seconds: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    upstream_duration_seconds: Option<f64>,
    attempts: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
}

impl AccessRecord {
    fn write(&self, json: bool, out: &mut Vec<u8>) {
        // ignored, both: a Vec takes every write, and no field can fail to be written
        let _ =
            if json { serde_json::to_writer(&mut *out, &self.json()).map_err(io::Error::from) } else { self.text(out) };
        out.push(b'\n');
    }

    fn json(&self) -> Json<'_> {
        Json {
            time: clock::rfc3339(self.time),
            listener: &self.listener,
            client: self.client,
            method: self.method.as_str(),
            host: &self.host,
            path: &self.path,
            protocol: self.protocol,
            status: self.status,
            app: self.app.as_ref().map(AppId::as_str),
            route: self.route.as_deref(),
            upstream: self.upstream.as_deref(),
            endpoint: self.endpoint.as_ref().map(ToString::to_string),
            bytes_in: self.bytes_in,
            bytes_out: self.bytes_out,
            duration_seconds: seconds(self.duration),
            upstream_duration_seconds: self.upstream_duration.map(seconds),
            attempts: self.attempts,
            error: self.error,
        }
    }

    /// `TIME LISTENER CLIENT "METHOD PATH PROTOCOL" HOST STATUS IN OUT SECONDS APP UPSTREAM ENDPOINT ATTEMPTS ERROR`, and
    /// `-` for what there is none of.
    fn text(&self, out: &mut Vec<u8>) -> io::Result<()> {
        let client = self.client.map(|client| client.to_string());
        let endpoint = self.endpoint.as_ref().map(ToString::to_string);
        let request = format!("{} {} {}", self.method, self.path, self.protocol);
        write!(out, "{} {} {}", clock::rfc3339(self.time), self.listener, or_dash(client.as_deref()))?;
        write!(out, " {request:?} {:?} {}", self.host, self.status)?;
        write!(out, " {} {} {:.6}", self.bytes_in, self.bytes_out, self.duration.as_secs_f64())?;
        let app = self.app.as_ref().map(AppId::as_str);
        write!(out, " {} {}", or_dash(app), or_dash(self.upstream.as_deref()))?;
        write!(out, " {} {} {}", or_dash(endpoint.as_deref()), self.attempts, or_dash(self.error))
    }
}

/// An app's id and an upstream's name may hold spaces; then they are quoted.
fn or_dash(text: Option<&str>) -> Cow<'_, str> {
    let plain = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic() && b != b'"');
    match text {
        None => Cow::Borrowed("-"),
        Some(text) if plain(text) => Cow::Borrowed(text),
        Some(text) => Cow::Owned(format!("{text:?}")),
    }
}

/// Microseconds are enough, and keep a float from showing seventeen digits.
fn seconds(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1e6
}

#[cfg(test)]
mod tests;
