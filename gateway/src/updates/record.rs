//! What the updater does, counted and logged: each verdict once, and each change of its standing once.
//!
//! Gauges follow from the report and are set when they are asked for; only what happens is counted here.

use std::time::Duration;

use metrics::{Counter, Histogram, counter, histogram};
use routing_cache::{
    model::{Epoch, Generation},
    state::Pin,
    updater::{ApproveError, Audit, EpochError, Held, Outcome, Report, Saves, SteerError, Summary},
    wire::StateAnswer,
};
use tracing::{error, info, warn};

use super::compactor::Finished;
use crate::telemetry::names::{
    AUDIT_OUTCOMES, KIND, OK_OR_FAILED, OUTCOME, SAVE_KINDS, TABLE_AUDITS, TABLE_COMPACTION_DURATION,
    TABLE_COMPACTIONS, TABLE_RESURRECTIONS_REFUSED, TABLE_SAVES, TABLE_STALE_UPSERTS, TABLE_UPDATE_DURATION,
    TABLE_UPDATES, UPDATE_OUTCOMES,
};

/// Invalid apps named at most in the log for one change; all stand in the ack and in the report.
const MAX_NAMED: usize = 10;

/// The handles, made once.
pub(super) struct Record {
    updates: Labelled,
    duration: Histogram,
    stale: Counter,
    resurrections: Counter,
    /// In the order of [`SAVE_KINDS`]: those that were good, and those that were not.
    saves: [(Counter, Counter); 3],
    audits: Labelled,
    compactions: Labelled,
    compaction: Histogram,
    lines: Lines,
}

/// Updates of one second that are logged one by one; the rest is summed up. There may be a thousand.
const LINES_PER_SECOND: u32 = 10;

/// What was logged this second, and what was not.
#[derive(Debug, Default)]
struct Lines {
    logged: u32,
    skipped: u64,
    sum: Summary,
}

/// A counter for each value of its one label.
struct Labelled(Vec<(&'static str, Counter)>);

impl Labelled {
    fn new(name: &'static str, outcomes: &[&'static str]) -> Self {
        Self(outcomes.iter().map(|&outcome| (outcome, counter!(name, OUTCOME => outcome))).collect())
    }

    fn count(&self, outcome: &str) {
        self.0.iter().filter(|(name, _)| *name == outcome).for_each(|(_, counter)| counter.increment(1));
    }
}

impl Record {
    pub(super) fn new() -> Self {
        Self {
            updates: Labelled::new(TABLE_UPDATES, &UPDATE_OUTCOMES),
            duration: histogram!(TABLE_UPDATE_DURATION),
            stale: counter!(TABLE_STALE_UPSERTS),
            resurrections: counter!(TABLE_RESURRECTIONS_REFUSED),
            saves: SAVE_KINDS.map(|kind| {
                let count = |outcome: &'static str| counter!(TABLE_SAVES, KIND => kind, OUTCOME => outcome);
                (count("ok"), count("failed"))
            }),
            audits: Labelled::new(TABLE_AUDITS, &AUDIT_OUTCOMES),
            compactions: Labelled::new(TABLE_COMPACTIONS, &OK_OR_FAILED),
            compaction: histogram!(TABLE_COMPACTION_DURATION),
            lines: Lines::default(),
        }
    }

    /// An offer was judged.
    pub(super) fn judged(&mut self, outcome: &Outcome, took: Duration) {
        self.updates.count(outcome.label());
        self.duration.record(took);
        self.stale.increment(outcome.summary().map_or(0, |summary| summary.stale as u64));
        if self.lines.admits(outcome) {
            log_outcome(outcome);
        }
    }

    /// A second is over.
    pub(super) fn second(&mut self) {
        self.lines.second();
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

    /// What was received was compared with what the orchestrator has.
    pub(super) fn audited(&self, audit: Audit, answer: &StateAnswer) {
        self.audits.count(match audit {
            Audit::Same => "same",
            Audit::Drifted => "drifted",
            Audit::NotComparable => "not_comparable",
        });
        if audit == Audit::Drifted {
            let (epoch, generation) = (&answer.epoch, answer.generation);
            warn!(%epoch, %generation, "what was received is not what the orchestrator has: a snapshot mends it");
        }
    }

    /// A compaction has ended.
    pub(super) fn compacted(&self, finished: &Finished) {
        let saved = finished.compacted.as_ref().map(|compacted| &compacted.result);
        self.compactions.count(if matches!(saved, Some(Ok(_))) { "ok" } else { "failed" });
        self.compaction.record(finished.took);
        match saved {
            Some(Ok(info)) => {
                info!(bytes = info.bytes, file = info.file, took = ?finished.took, "the journal was folded into a snapshot")
            }
            Some(Err(why)) => error!("the journal could not be folded into a snapshot: {why}"),
            None => error!("a compaction broke; the journal goes on, and it is tried again later"),
        }
    }

    /// What changed from one report to the next, with the report's own words.
    pub(super) fn changed(&self, before: &Report, now: &Report) {
        self.resurrections.absolute(now.resurrections);
        let Saves { appended, whole, retried } = now.saves;
        for ((ok, failed), attempts) in self.saves.iter().zip([appended, whole, retried]) {
            ok.absolute(attempts.ok);
            failed.absolute(attempts.failed);
        }
        log_gate(before, now);
        log_saving(before, now);
        if now.pin != before.pin {
            log_pin(now.pin.as_ref());
        }
        if now.held.total != before.held.total {
            log_held(&now.held);
        }
        if (now.invalid_total, &now.invalid) != (before.invalid_total, &before.invalid) {
            log_invalid(now);
        }
    }
}

impl Lines {
    /// True for what is to be logged by itself. A refusal always is: after one the next request waits.
    fn admits(&mut self, outcome: &Outcome) -> bool {
        let (Outcome::Published(counts) | Outcome::Held(counts)) = outcome else { return true };
        self.logged += 1;
        if self.logged <= LINES_PER_SECOND {
            return true;
        }
        self.skipped += 1;
        self.sum.added += counts.added;
        self.sum.updated += counts.updated;
        self.sum.removed += counts.removed;
        self.sum.refused += counts.refused;
        false
    }

    fn second(&mut self) {
        let Self { skipped, sum, .. } = std::mem::take(self);
        if skipped > 0 {
            let Summary { added, updated, removed, refused, .. } = sum;
            info!(updates = skipped, added, updated, removed, refused, "more table updates");
        }
    }
}

/// An operator has taken an epoch back, or tried to.
pub(super) fn approved_epoch(epoch: &Epoch, result: &Result<(), EpochError>) {
    match result {
        Ok(()) => info!(%epoch, "an operator has taken a retired epoch back"),
        Err(why) => warn!(%epoch, "no epoch was approved: {why}"),
    }
}

/// An operator has put another table in place, or tried to.
pub(super) fn steered(deed: &'static str, result: &Result<Outcome, SteerError>) {
    match result {
        Ok(outcome) => {
            let summary = outcome.summary().cloned().unwrap_or_default();
            warn!(deed, "an operator has put another table in place");
            log_counts(outcome.label(), &summary);
        }
        Err(why) => warn!(deed, "the table was not changed: {why}"),
    }
}

/// An operator lets the orchestrator be followed again, or tried to.
pub(super) fn unpinned(result: &Result<(), SteerError>) {
    if let Err(why) = result {
        warn!("nothing was unpinned: {why}");
    }
}

fn log_pin(pin: Option<&Pin>) {
    match pin {
        Some(pin) => warn!(by = ?pin.by, "the table is pinned: the orchestrator is not followed"),
        None => info!("the table is no longer pinned: the orchestrator is followed again"),
    }
}

fn log_outcome(outcome: &Outcome) {
    let outcome_label = outcome.label();
    match outcome {
        Outcome::Published(counts) | Outcome::Held(counts) => log_counts(outcome_label, counts),
        Outcome::Unchanged(counts) if counts.stale + counts.invalid + counts.refused > 0 => {
            log_counts(outcome_label, counts)
        }
        Outcome::Unchanged(_) => {}
        Outcome::Rejected(why) => warn!(outcome = outcome_label, "table update refused: {why}"),
        Outcome::NeedSnapshot(why) => warn!(outcome = outcome_label, "table update not usable: {why}"),
    }
}

fn log_counts(outcome: &'static str, counts: &Summary) {
    let Summary { added, updated, removed, held, invalid, stale, refused, saved } = counts;
    info!(outcome, added, updated, removed, held, invalid, stale, refused, saved, "table update");
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
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(before: &Report, now: &Report) -> String {
        let lines = Written::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
        tracing::subscriber::with_default(subscriber, || Record::new().changed(before, now));
        let bytes = lines.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn of_many_updates_in_a_second_the_first_are_logged_and_the_rest_summed_up() {
        let published = Outcome::Published(Summary { added: 2, ..Summary::default() });
        let mut lines = Lines::default();
        let admitted = (0..50).filter(|_| lines.admits(&published)).count();
        assert_eq!((admitted, lines.skipped, lines.sum.added), (10, 40, 80));
        assert!(lines.admits(&Outcome::NeedSnapshot("digest".into())));
        lines.second();
        assert!(lines.admits(&published));
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
