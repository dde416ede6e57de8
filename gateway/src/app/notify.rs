//! What systemd is told (sd_notify(3)): that a start takes its time, that a table is served, how it stands, that it ends.

use std::time::{Duration, Instant};

use routing_cache::{live::Published, updater::Report};
use sd_notify::NotifyState;

use crate::clock;

/// How much more time a start without a table asks for.
const EXTEND_BY: Duration = Duration::from_secs(30);
/// How often it asks, and how often the status line is written anew. Well within [`EXTEND_BY`].
const REPEAT_EVERY: Duration = Duration::from_secs(5);

/// Remembers what was said last.
#[derive(Debug, Default)]
pub(super) struct Notifier {
    ready: bool,
    said: Option<Instant>,
    status: String,
}

impl Notifier {
    /// Says what has changed: READY=1 once there is a table, more time while there is none.
    pub(super) fn update(&mut self, published: &Published, report: &Report) {
        let first = published.has_table() && !self.ready;
        if !first && self.said.is_some_and(|said| said.elapsed() < REPEAT_EVERY) {
            return;
        }
        self.said = Some(Instant::now());
        let status = status_line(published, report);
        match (first, published.has_table()) {
            (true, _) => notify(&[NotifyState::Ready, NotifyState::Status(&status)]),
            (false, false) => {
                notify(&[NotifyState::ExtendTimeoutUsec(micros(EXTEND_BY)), NotifyState::Status(&status)])
            }
            (false, true) if status != self.status => notify(&[NotifyState::Status(&status)]),
            (false, true) => {}
        }
        self.ready |= first;
        self.status = status;
    }

    /// A reload begins. Before READY=1 there is nothing to reload in systemd's eyes.
    pub(super) fn reloading(&self) {
        let Ok(now) = NotifyState::monotonic_usec_now() else { return };
        if self.ready {
            notify(&[NotifyState::Reloading, now]);
        }
    }

    /// The reload is over.
    pub(super) fn reloaded(&self, status: &str) {
        if self.ready {
            notify(&[NotifyState::Ready, NotifyState::Status(status)]);
        }
    }
}

/// Another process is the main one from now on: the end of this one is none of the service.
pub(super) fn replaced(pid: u32) {
    notify(&[NotifyState::MainPid(pid)]);
}

/// The process ends.
pub(super) fn stopping(why: &str) {
    notify(&[NotifyState::Stopping, NotifyState::Status(why)]);
}

fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "systemd could not be told");
    }
}

fn micros(duration: Duration) -> u32 {
    u32::try_from(duration.as_micros()).unwrap_or(u32::MAX)
}

fn status_line(published: &Published, report: &Report) -> String {
    let gate = report.gate_reason.as_deref().map(|reason| format!("; {reason}")).unwrap_or_default();
    if !published.has_table() {
        return format!("waiting for a first table{gate}");
    }
    let from = &published.provenance;
    let (apps, source) = (published.table.len(), from.source.as_str());
    let held = match report.held.total {
        0 => String::new(),
        total => format!("; {total} deletes held"),
    };
    format!("serving {apps} apps ({source}, {} s old){held}{gate}", clock::age_seconds(from.received_at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_line_says_what_a_cold_start_waits_for() {
        let report =
            Report { gate_reason: Some("the orchestrator has not been heard of yet".into()), ..Report::default() };
        let line = status_line(&Published::default(), &report);
        assert_eq!(line, "waiting for a first table; the orchestrator has not been heard of yet");
    }
}
