//! What the updater does, counted and logged: each verdict once, and each change of its standing once.
//!
//! Gauges follow from the report and are set when they are asked for; only what happens is counted here.

use std::time::Duration;

use metrics::{Counter, Histogram, counter, histogram};
use routing_cache::{
    model::Generation,
    updater::{ApproveError, Held, Outcome, Report, Summary},
};
use tracing::{error, info, warn};

use crate::telemetry::names::{OUTCOME, TABLE_STALE_UPSERTS, TABLE_UPDATE_DURATION, TABLE_UPDATES, UPDATE_OUTCOMES};

/// Invalid apps named at most in the log for one change; all stand in the ack and in the report.
const MAX_NAMED: usize = 10;

/// The handles, made once.
pub(super) struct Record {
    updates: Vec<(&'static str, Counter)>,
    duration: Histogram,
    stale: Counter,
}

impl Record {
    pub(super) fn new() -> Self {
        let count = |outcome| (outcome, counter!(TABLE_UPDATES, OUTCOME => outcome));
        Self {
            updates: UPDATE_OUTCOMES.into_iter().map(count).collect(),
            duration: histogram!(TABLE_UPDATE_DURATION),
            stale: counter!(TABLE_STALE_UPSERTS),
        }
    }

    /// An offer was judged.
    pub(super) fn judged(&self, outcome: &Outcome, took: Duration) {
        let label = outcome.label();
        self.updates.iter().filter(|(name, _)| *name == label).for_each(|(_, counter)| counter.increment(1));
        self.duration.record(took);
        self.stale.increment(outcome.summary().map_or(0, |summary| summary.stale as u64));
        log_outcome(outcome);
    }

    /// An operator has approved, or tried to.
    pub(super) fn approved(&self, generation: Generation, result: &Result<Outcome, ApproveError>) {
        match result {
            Ok(outcome) => {
                let removed = outcome.summary().map_or(0, |summary| summary.removed);
                info!(%generation, removed, "an operator has released what was held");
            }
            Err(why) => warn!(%generation, "nothing was approved: {why}"),
        }
    }

    /// What changed from one report to the next, with the report's own words.
    pub(super) fn changed(&self, before: &Report, now: &Report) {
        log_gate(before, now);
        log_saving(before, now);
        if now.held.total != before.held.total {
            log_held(&now.held);
        }
        if (now.invalid_total, &now.invalid) != (before.invalid_total, &before.invalid) {
            log_invalid(now);
        }
    }
}

fn log_outcome(outcome: &Outcome) {
    let outcome_label = outcome.label();
    match outcome {
        Outcome::Published(counts) | Outcome::Held(counts) => log_counts(outcome_label, counts),
        Outcome::Unchanged(counts) if counts.stale + counts.invalid > 0 => log_counts(outcome_label, counts),
        Outcome::Unchanged(_) => {}
        Outcome::Rejected(why) => warn!(outcome = outcome_label, "table update refused: {why}"),
        Outcome::NeedSnapshot(why) => warn!(outcome = outcome_label, "table update not usable: {why}"),
    }
}

fn log_counts(outcome: &'static str, counts: &Summary) {
    let Summary { added, updated, removed, held, invalid, stale, saved } = counts;
    info!(outcome, added, updated, removed, held, invalid, stale, saved, "table update");
}

fn log_gate(before: &Report, now: &Report) {
    match (before.gate_open, now.gate_open) {
        (false, true) => info!("the gate is open: the orchestrator may change the table"),
        (true, false) => {
            warn!("the gate is shut, the table stays as it is: {}", now.gate_reason.as_deref().unwrap_or_default());
        }
        _ => {}
    }
}

fn log_saving(before: &Report, now: &Report) {
    match (&before.saved.error, &now.saved.error) {
        (Some(_), None) => info!("the table is on disk again"),
        (old, Some(why)) if old.as_ref() != Some(why) => error!("the table could not be saved: {why}"),
        _ => {}
    }
}

fn log_held(held: &Held) {
    match held.reason {
        Some(reason) => {
            warn!(held = held.total, reason, generation = held.generation.0, "what is held has changed");
        }
        None => info!("nothing is held any more"),
    }
}

fn log_invalid(now: &Report) {
    info!(invalid = now.invalid_total, "apps that are not served as received");
    for (app, why) in now.invalid.iter().take(MAX_NAMED) {
        warn!(%app, "{why}");
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        sync::{Arc, Mutex},
    };

    use routing_cache::{model::AppId, wire::DocumentError};

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(before: &Report, now: &Report) -> String {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
        tracing::subscriber::with_default(subscriber, || Record::new().changed(before, now));
        let bytes = lines.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_hold_is_a_warning_and_its_end_is_not() {
        let held = Held { reason: Some("shrink-guard"), generation: Generation(7), total: 3, ..Held::default() };
        let (nothing, held) = (Report::default(), Report { held, ..Report::default() });
        let start = logged(&nothing, &held);
        assert!(start.contains("WARN") && start.contains("held=3 reason=\"shrink-guard\" generation=7"), "{start}");
        let end = logged(&held, &nothing);
        assert!(end.contains("INFO") && end.contains("nothing is held any more"), "{end}");
        assert!(!end.contains("WARN"), "{end}");
    }

    #[test]
    fn another_reason_for_as_many_invalid_apps_is_logged_too() {
        let invalid = |why: &str| {
            let error = DocumentError { field: String::new(), message: why.to_owned() };
            Report { invalid: vec![(AppId::new("two").unwrap(), error)], invalid_total: 1, ..Report::default() }
        };
        let text = logged(&invalid("it is cut short"), &invalid("it has no hosts"));
        assert!(text.contains("it has no hosts"), "{text}");
        assert_eq!(logged(&invalid("it has no hosts"), &invalid("it has no hosts")), "");
    }
}
