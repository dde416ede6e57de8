//! What a pool counts. It is added up here and handed to the metrics at each sweep, so that a request over a kept connection
//! costs a plain addition.

use std::{cell::Cell, io, time::Duration};

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

use crate::{net::stream::ConnectError, telemetry::names};

/// One pool's counts.
#[derive(Debug)]
pub(super) struct Meter {
    /// Idle connections there are.
    idle: Cell<usize>,
    /// As many of them as the gauge knows of.
    told: Cell<usize>,
    reused: Cell<u64>,
    idle_gauge: Gauge,
    reused_counter: Counter,
    opened: Counter,
    errors: [Counter; 4],
    took: Histogram,
}

impl Meter {
    /// Looks every handle up.
    pub(super) fn new() -> Self {
        Self {
            idle: Cell::new(0),
            told: Cell::new(0),
            reused: Cell::new(0),
            idle_gauge: gauge!(names::UPSTREAM_IDLE_CONNECTIONS),
            reused_counter: counter!(names::UPSTREAM_CONNECTIONS_REUSED),
            opened: counter!(names::UPSTREAM_CONNECTIONS_OPENED),
            errors: names::CONNECT_ERROR_REASONS
                .map(|reason| counter!(names::UPSTREAM_CONNECT_ERRORS, names::REASON => reason)),
            took: histogram!(names::UPSTREAM_CONNECT_DURATION),
        }
    }

    /// Idle connections there are.
    pub(super) fn idle(&self) -> usize {
        self.idle.get()
    }

    /// So many more of them.
    pub(super) fn more_idle(&self, count: usize) {
        self.idle.set(self.idle.get() + count);
    }

    /// So many fewer.
    pub(super) fn fewer_idle(&self, count: usize) {
        self.idle.set(self.idle.get().saturating_sub(count));
    }

    /// A kept connection is used again.
    pub(super) fn reused(&self) {
        self.reused.set(self.reused.get() + 1);
    }

    /// A connection was made in this time.
    pub(super) fn opened(&self, took: Duration) {
        self.opened.increment(1);
        self.took.record(took.as_secs_f64());
    }

    /// One could not be made.
    pub(super) fn refused(&self, error: &ConnectError) {
        let [refused, timeout, unreachable, other] = &self.errors;
        match error {
            ConnectError::TimedOut { .. } => timeout,
            ConnectError::Local(_) => other,
            ConnectError::Refused(error) => match error.kind() {
                io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => refused,
                io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => unreachable,
                _ => other,
            },
        }
        .increment(1);
    }

    /// Hands over what was added up.
    pub(super) fn tell(&self) {
        self.reused_counter.increment(self.reused.take());
        let (told, idle) = (self.told.replace(self.idle.get()), self.idle.get());
        self.idle_gauge.increment(idle as f64 - told as f64);
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.idle.set(0);
        self.tell();
    }
}
