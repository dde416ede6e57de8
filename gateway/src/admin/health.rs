//! The three probes: does it make progress, may it be sent traffic.

use http::StatusCode;
use routing_cache::{live::Source, updater::Report};

use super::{Context, answer::Answer};
use crate::{clock, readiness::Check};

/// `GET /livez`
pub(super) fn livez(context: &Context, verbose: bool) -> Answer {
    answer("livez", &(context.alive.checks)(), verbose)
}

/// `GET /readyz`
pub(super) fn readyz(context: &Context, verbose: bool) -> Answer {
    answer("readyz", &checks(context), verbose)
}

/// `GET /healthz`: both.
pub(super) fn healthz(context: &Context, verbose: bool) -> Answer {
    let mut both = (context.alive.checks)();
    both.extend(checks(context));
    answer("healthz", &both, verbose)
}

/// Every condition and every warning of `/readyz`.
#[must_use]
pub fn checks(context: &Context) -> Vec<Check> {
    let report = context.updates.report();
    let mut checks = context.readiness.checks();
    checks.push(Check::condition("table", no_table(context, &report)));
    checks.push(Check::condition("drain", draining(context)));
    checks.push(Check::condition("load", context.overload.sheds()));
    checks.push(Check::notice("saved", unsaved(&report)));
    checks.push(Check::notice("held", held(&report)));
    checks.push(Check::notice("pinned", pinned(&report)));
    checks.push(Check::notice("poisoned", poisoned(&report)));
    checks.push(Check::notice("documents", invalid(&report)));
    checks.push(Check::notice("orchestrator", gate(&report)));
    checks
}

fn no_table(context: &Context, report: &Report) -> Option<String> {
    let none = context.reader.load().provenance.source == Source::None;
    let why = || report.gate_reason.clone().unwrap_or_else(|| "waiting for the first snapshot".to_owned());
    none.then(|| format!("no table: {}", why()))
}

fn draining(context: &Context) -> Option<String> {
    context.drain.watch().has_started().then(|| "draining".to_owned())
}

fn unsaved(report: &Report) -> Option<String> {
    let saved = &report.saved;
    let why = || saved.error.as_deref().unwrap_or("a save is due");
    (saved.unsaved || saved.error.is_some()).then(|| format!("the served table is not on disk: {}", why()))
}

fn held(report: &Report) -> Option<String> {
    let held = &report.held;
    let reason = held.reason.unwrap_or("held");
    (held.total > 0).then(|| format!("{} deletes of generation {} ({reason})", held.total, held.generation))
}

fn pinned(report: &Report) -> Option<String> {
    let pin = report.pin.as_ref()?;
    Some(format!("an operator has the table stay as it is since {}: holdgate table unpin", clock::rfc3339(pin.since)))
}

fn poisoned(report: &Report) -> Option<String> {
    let kept_out = report.poisoned.as_ref()?;
    let (generation, crashes) = (kept_out.generation, kept_out.crashes);
    Some(format!("the table of generation {generation} is kept out: this program crashed with it {crashes} times"))
}

fn invalid(report: &Report) -> Option<String> {
    let (app, error) = report.invalid.first()?;
    Some(format!("{} apps are not served as received, the first is {app}: {error}", report.invalid_total))
}

fn gate(report: &Report) -> Option<String> {
    (!report.gate_open).then(|| report.gate_reason.clone().unwrap_or_else(|| "its gate is shut".to_owned()))
}

/// One word when all is well and nobody asked; else each check on a line, and the verdict on the last, as Kubernetes
/// has it.
fn answer(name: &str, checks: &[Check], verbose: bool) -> Answer {
    let well = checks.iter().all(Check::holds);
    let status = if well { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    if well && !verbose {
        return Answer::text(status, "ok\n".to_owned());
    }
    let lines: String = checks.iter().map(|check| format!("{check}\n")).collect();
    let verdict = if well { "passed" } else { "failed" };
    Answer::text(status, format!("{lines}{name} check {verdict}\n"))
}

#[cfg(test)]
mod tests {
    use routing_cache::{model::AppId, wire::DocumentError};

    use super::*;

    #[test]
    fn an_invalid_app_need_not_have_an_earlier_version() {
        let error = DocumentError { field: "hosts".into(), message: "must be given".into() };
        let report =
            Report { invalid: vec![(AppId::new("shop").unwrap(), error)], invalid_total: 2, ..Report::default() };
        let expected = "2 apps are not served as received, the first is shop: hosts: must be given";
        assert_eq!(invalid(&report).as_deref(), Some(expected));
        assert_eq!(invalid(&Report::default()), None);
    }
}
