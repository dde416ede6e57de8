//! The data plane's metric handles, made once for each worker and held: a held counter costs 4 ns, a lookup 67 to 124.
//! What every request changes is a share of the worker's own.

use std::time::Duration;

use metrics::{Counter, Gauge, counter, gauge};

use crate::telemetry::{
    names,
    shares::{CounterShare, DurationShare, GaugeShare},
};

/// What became of a further attempt; a value of [`names::RETRY_OUTCOMES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RetryOutcome {
    /// It was answered.
    Answered,
    /// It failed too.
    Failed,
    /// It was not made, though the cause is one to retry: the body is gone, or the method is not idempotent.
    NotAllowed,
}

/// Handles of one worker.
#[derive(Debug)]
pub(crate) struct Metrics {
    pub(crate) request_duration: DurationShare,
    pub(crate) upstream_duration: DurationShare,
    pub(crate) active: GaugeShare,
    pub(crate) bytes_in: CounterShare,
    pub(crate) bytes_out: CounterShare,
    pub(crate) cancelled: Counter,
    pub(crate) upgrades: Gauge,
    pub(crate) handed_over: Counter,
    retries: [Counter; 3],
}

impl Metrics {
    /// Looks every handle up.
    pub(crate) fn new() -> Self {
        Self {
            request_duration: DurationShare::of(names::REQUEST_DURATION),
            upstream_duration: DurationShare::of(names::UPSTREAM_REQUEST_DURATION),
            active: GaugeShare::of(gauge!(names::REQUESTS_ACTIVE)),
            bytes_in: CounterShare::of(counter!(names::REQUEST_BYTES)),
            bytes_out: CounterShare::of(counter!(names::RESPONSE_BYTES)),
            cancelled: counter!(names::REQUESTS_CANCELLED),
            upgrades: gauge!(names::UPGRADES_ACTIVE),
            handed_over: counter!(names::CONNECTIONS_HANDED_OVER),
            retries: names::RETRY_OUTCOMES.map(|outcome| counter!(names::RETRIES, names::OUTCOME => outcome)),
        }
    }

    /// Counts a further attempt.
    pub(crate) fn retry(&self, outcome: RetryOutcome) {
        let [answered, failed, not_allowed] = &self.retries;
        match outcome {
            RetryOutcome::Answered => answered.increment(1),
            RetryOutcome::Failed => failed.increment(1),
            RetryOutcome::NotAllowed => not_allowed.increment(1),
        }
    }

    /// Counts an attempt's time to the head of its answer.
    pub(crate) fn answered(&self, took: Duration) {
        self.upstream_duration.record(took);
    }
}

/// Handles of one listener in one worker.
#[derive(Debug)]
pub(crate) struct ListenerMetrics {
    pub(crate) connections: Gauge,
    pub(crate) accepted: Counter,
    requests: [CounterShare; 6],
}

impl ListenerMetrics {
    /// Looks every handle of the listener called `name` up.
    pub(crate) fn new(name: &str) -> Self {
        let count = |class| counter!(names::REQUESTS, names::LISTENER => name.to_owned(), names::CLASS => class);
        let requests = names::CLASSES.map(|class| CounterShare::of(count(class)));
        Self {
            connections: gauge!(names::CONNECTIONS, names::LISTENER => name.to_owned()),
            accepted: counter!(names::CONNECTIONS_ACCEPTED, names::LISTENER => name.to_owned()),
            requests,
        }
    }

    /// Counts a request that ended with `status`.
    pub(crate) fn request(&self, status: u16) {
        if let Some(requests) = self.requests.get(names::class(status)) {
            requests.increment(1);
        }
    }
}

/// The connections of the worker with this number.
pub(crate) fn worker_connections(worker: usize) -> Gauge {
    gauge!(names::WORKER_CONNECTIONS, names::WORKER => worker.to_string())
}

/// Counts an answer that the gateway made itself, by its error type.
pub(crate) fn own_answer(error: &'static str) {
    counter!(names::GATEWAY_ANSWERS, names::REASON => error).increment(1);
}

/// Counts a request that was refused before it was one.
pub(crate) fn refused(reason: &'static str) {
    counter!(names::REQUESTS_REFUSED, names::REASON => reason).increment(1);
}

/// Counts a client that was given up for being slow; `reason` is one of [`names::SLOW_REASONS`].
pub(crate) fn slow_client(reason: &'static str) {
    counter!(names::SLOW_CLIENTS, names::REASON => reason).increment(1);
}

/// Counts idle connections that were closed for others; `reason` is one of [`names::SHED_REASONS`].
pub(crate) fn idle_closed(reason: &'static str, connections: usize) {
    if connections > 0 {
        counter!(names::IDLE_CLOSED, names::REASON => reason).increment(connections as u64);
    }
}

/// Counts a failure to accept; `reason` is one of [`names::ACCEPT_ERROR_REASONS`].
pub(crate) fn accept_error(reason: &'static str) {
    counter!(names::ACCEPT_ERRORS, names::REASON => reason).increment(1);
}

/// Counts what was turned away to keep the rest served; `reason` is one of [`names::SHED_REASONS`].
pub(crate) fn shed(reason: &'static str) {
    counter!(names::SHED, names::REASON => reason).increment(1);
}
