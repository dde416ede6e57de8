//! Forwarding: attempts until one is answered, the budget is spent, or the time is over.

use routing_cache::model::{Address, App, Route, Upstream};
use tokio::time::Instant;

use super::{
    attempt::{Answer, Attempt, Lost},
    context::Worker,
    failure::{Cause, Failure, Stage},
    http1::Shared,
    metrics::RetryOutcome,
    outgoing::Outgoing,
    record::Record,
    retry::{Budget, Repeat, Verdict},
    settings::Settings,
    upload::Upload,
};
use crate::upstream::balance::{Choice, Picked};

/// What is forwarded, and by which rules.
pub(crate) struct Job<'a> {
    pub(crate) worker: &'a Worker,
    pub(crate) settings: &'a Settings,
    pub(crate) app: &'a App,
    pub(crate) route: &'a Route,
    pub(crate) upstream: &'a Upstream,
    pub(crate) upload: &'a Upload,
    /// The client's connection, for what is said before the answer.
    pub(crate) wire: &'a Shared,
    /// For the head of the answer, further attempts included.
    pub(crate) deadline: Instant,
}

/// How far a job has come.
struct Progress<'a> {
    budget: Budget<'a>,
    /// Endpoints that have failed it.
    failed: Vec<Address>,
    /// Whether an attempt was made before: its further ones take new connections only.
    again: bool,
    /// When the attempt began; the first one with the request, which saves a look at the clock.
    begun: Instant,
}

impl Job<'_> {
    /// Forwards `outgoing` until it is answered.
    ///
    /// # Errors
    /// That of the last attempt.
    pub(crate) async fn run(&self, outgoing: &Outgoing<'_>, record: &mut Record) -> Result<Answer, Failure> {
        let (budget, begun) = (Budget::new(&self.route.retries), Instant::from_std(record.started()));
        let mut progress = Progress { budget, failed: Vec::new(), again: false, begun };
        loop {
            let picked = self.pick(&mut progress)?;
            record.tried(&self.upstream.name, &picked.address);
            let outcome = self.attempt(&picked, outgoing, &progress).await;
            if progress.again {
                self.worker.metrics.retry(outcome_of(&outcome));
            }
            if self.settles(&outcome, &mut progress, outgoing) {
                return outcome.map_err(|lost| lost.failure);
            }
            progress.again = true;
            progress.begun = Instant::now();
            if !matches!(&outcome, Err(lost) if lost.stale) {
                progress.failed.push(picked.address);
            }
        }
    }

    /// An endpoint that has not failed this request; where all have, any.
    fn pick(&self, progress: &mut Progress<'_>) -> Result<Picked, Failure> {
        let mut balancer = self.worker.balancer.borrow_mut();
        let (rules, now) = (&self.settings.upstream, progress.begun.into_std());
        let first = balancer.pick(self.upstream, Choice { excluded: &progress.failed, rules, now });
        let picked = first.or_else(|| {
            progress.failed.clear();
            balancer.pick(self.upstream, Choice { excluded: &[], rules, now })
        });
        picked.ok_or_else(|| Failure::new(Stage::Pick, Cause::NoEndpoint))
    }

    async fn attempt(&self, picked: &Picked, outgoing: &Outgoing<'_>, progress: &Progress<'_>) -> Result<Answer, Lost> {
        let gone = || Failure::after_sending(Stage::Forward, self.upload.fault().unwrap_or(Cause::BodyBroken));
        let body = self.upload.attempt().ok_or_else(gone)?;
        Attempt { job: self, picked, fresh: progress.again, begun: progress.begun }.make(outgoing, body).await
    }

    /// True when `outcome` is what the client gets; else it takes another attempt from the budget.
    fn settles(&self, outcome: &Result<Answer, Lost>, progress: &mut Progress<'_>, outgoing: &Outgoing<'_>) -> bool {
        let repeat = Repeat { method: outgoing.method, body: self.upload.may_repeat() };
        let verdict = match outcome {
            Ok(answer) => progress.budget.after_answer(answer.head.status, repeat),
            Err(lost) if lost.stale && !progress.again => Budget::after_stale(&lost.failure, repeat),
            Err(lost) => progress.budget.after_failure(&lost.failure, repeat),
        };
        if verdict == Verdict::Forbidden {
            self.worker.metrics.retry(RetryOutcome::NotAllowed);
        }
        verdict != Verdict::Again || Instant::now() >= self.deadline
    }
}

fn outcome_of(outcome: &Result<Answer, Lost>) -> RetryOutcome {
    if outcome.is_ok() { RetryOutcome::Answered } else { RetryOutcome::Failed }
}
