//! What the orchestrator is told of an update. Advisory: no ack, failing or not, ever changes what is served.

use std::time::Duration;

use routing_cache::{
    live::Reader,
    model::{Epoch, Generation},
    updater::{Outcome, Rejection, Report},
};

use super::SubscriptionOptions;
use crate::{
    clock,
    orchestrator::{Ack, AckError, AckHeld, AckServing, AckStatus, Failure},
};

/// Held apps, and invalid ones, that an ack names.
const MAX_NAMED: usize = 100;
/// How long an orchestrator that has no ack is spared.
pub(super) const NO_ACKS_FOR: Duration = Duration::from_secs(600);

/// The ack of an update; `None` where there is nothing to tell.
pub(super) fn ack(
    update: &(Epoch, Generation),
    outcome: &Outcome,
    report: &Report,
    reader: &Reader,
    options: &SubscriptionOptions,
) -> Option<Ack> {
    let held = report.held.deletes.iter().take(MAX_NAMED);
    let why = report.held.reason.unwrap_or("shrink-guard");
    let errors = report.invalid.iter().take(MAX_NAMED);
    Some(Ack {
        gateway: options.gateway.clone(),
        version: env!("CARGO_PKG_VERSION"),
        epoch: update.0.as_str().to_owned(),
        generation: update.1.0,
        status: status(outcome, report)?,
        held: held.map(|app| AckHeld::new(app, why)).collect(),
        errors: errors.map(|(app, e)| AckError { app: app.as_str().to_owned(), message: e.to_string() }).collect(),
        serving: serving(reader),
    })
}

/// Whether a failed ack means that this orchestrator has none.
pub(super) fn has_none(failure: &Failure) -> bool {
    matches!(failure, Failure::Status(404 | 405 | 501))
}

fn status(outcome: &Outcome, report: &Report) -> Option<AckStatus> {
    match outcome {
        Outcome::Held(_) => Some(AckStatus::Held),
        Outcome::Published(_) | Outcome::Unchanged(_) if report.held.total > 0 => Some(AckStatus::Held),
        Outcome::Published(_) | Outcome::Unchanged(_) => Some(AckStatus::Applied),
        // The gate shut while the answer was under way: it was not judged.
        Outcome::Rejected(Rejection::GateShut(_)) | Outcome::NeedSnapshot(_) => None,
        Outcome::Rejected(_) => Some(AckStatus::Rejected),
    }
}

fn serving(reader: &Reader) -> AckServing {
    let served = reader.load();
    let provenance = &served.provenance;
    AckServing {
        source: provenance.source.as_str(),
        age_s: if served.has_table() { clock::age_seconds(provenance.received_at) } else { 0 },
        ..AckServing::new(provenance.epoch.as_ref(), provenance.generation)
    }
}

#[cfg(test)]
mod tests {
    use routing_cache::{gate::ShutReason, updater::Summary};

    use super::*;

    #[test]
    fn an_ack_says_held_as_long_as_something_is() {
        let mut report = Report::default();
        let published = Outcome::Published(Summary::default());
        assert_eq!(status(&published, &report), Some(AckStatus::Applied));
        report.held.total = 1;
        assert_eq!(status(&published, &report), Some(AckStatus::Held));
        assert_eq!(status(&Outcome::Unchanged(Summary::default()), &report), Some(AckStatus::Held));
    }

    #[test]
    fn what_was_not_judged_is_not_acknowledged() {
        let report = Report::default();
        assert_eq!(status(&Outcome::Rejected(Rejection::GateShut(ShutReason::NeverHeard)), &report), None);
        assert_eq!(status(&Outcome::NeedSnapshot("digest".into()), &report), None);
        let invalid = Rejection::TooManyInvalid { invalid: 9, apps: 10 };
        assert_eq!(status(&Outcome::Rejected(invalid), &report), Some(AckStatus::Rejected));
    }

    #[test]
    fn an_orchestrator_without_acks_is_told_by_its_status() {
        assert!([404, 405, 501].into_iter().all(|status| has_none(&Failure::Status(status))));
        assert!(!has_none(&Failure::Status(500)) && !has_none(&Failure::Timeout("x")));
    }
}
