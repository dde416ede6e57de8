//! Whether a failed attempt is followed by another: pure, so that every case can be listed in a test.

use http::{Method, StatusCode};
use routing_cache::model::{Retries, RetryOn};

use super::{failure::Failure, hop::is_idempotent};

/// What of a request decides about its repetition.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Repeat<'a> {
    pub(crate) method: &'a Method,
    /// Whether all of its body could be sent again.
    pub(crate) body: bool,
}

/// What to do after an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Another attempt.
    Again,
    /// The cause is one to retry, but the request may not be repeated.
    Forbidden,
    /// It stays as it is.
    Final,
}

/// The attempts a route has left.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget<'a> {
    retries: &'a Retries,
    left: u32,
}

impl<'a> Budget<'a> {
    /// All of them.
    pub(crate) fn new(retries: &'a Retries) -> Self {
        Self { retries, left: retries.attempts }
    }

    /// After an attempt that failed.
    pub(crate) fn after_failure(&mut self, failure: &Failure, repeat: Repeat<'_>) -> Verdict {
        let wanted = failure.cause.retry_on().is_some_and(|on| self.retries.on.contains(&on));
        self.verdict(wanted, may_follow(failure, repeat))
    }

    /// After a kept connection turned out to be closed. The route's budget is for what endpoints do; a connection that
    /// this gateway kept for too long is its own affair, so it costs nothing.
    pub(crate) fn after_stale(failure: &Failure, repeat: Repeat<'_>) -> Verdict {
        if may_follow(failure, repeat) { Verdict::Again } else { Verdict::Forbidden }
    }

    /// After an attempt that was answered with `status`.
    pub(crate) fn after_answer(&mut self, status: StatusCode, repeat: Repeat<'_>) -> Verdict {
        let wanted = self.retries.on.contains(&RetryOn::Status(status));
        self.verdict(wanted, repeat.body && is_idempotent(repeat.method))
    }

    fn verdict(&mut self, wanted: bool, allowed: bool) -> Verdict {
        match (wanted && self.left > 0, allowed) {
            (true, true) => {
                self.left -= 1;
                Verdict::Again
            }
            (true, false) => Verdict::Forbidden,
            (false, _) => Verdict::Final,
        }
    }
}

/// True when a second attempt changes nothing that the first may have changed.
fn may_follow(failure: &Failure, repeat: Repeat<'_>) -> bool {
    repeat.body && (!failure.sent || is_idempotent(repeat.method))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::failure::{Cause, Stage};

    fn verdict(cause: Cause, sent: bool, method: &Method, body: bool) -> Verdict {
        let retries = Retries::default();
        let failure =
            if sent { Failure::after_sending(Stage::Forward, cause) } else { Failure::new(Stage::Connect, cause) };
        Budget::new(&retries).after_failure(&failure, Repeat { method, body })
    }

    #[test]
    fn only_what_reached_nobody_or_changes_nothing_is_repeated() {
        use Verdict::{Again, Final, Forbidden};
        let cases = [
            (Cause::ConnectRefused, false, Method::POST, true, Again),
            (Cause::ConnectRefused, false, Method::GET, false, Forbidden),
            (Cause::Reset, true, Method::GET, true, Again),
            (Cause::Reset, true, Method::PUT, true, Again),
            (Cause::Reset, true, Method::PUT, false, Forbidden),
            (Cause::Reset, true, Method::POST, true, Forbidden),
            (Cause::Reset, true, Method::PATCH, true, Forbidden),
            (Cause::Reset, false, Method::POST, true, Again),
            (Cause::TryTimeout, true, Method::GET, true, Final),
            (Cause::Timeout, true, Method::GET, true, Final),
            (Cause::BadResponse, true, Method::GET, true, Final),
            (Cause::NoEndpoint, false, Method::GET, true, Final),
        ];
        for (cause, sent, method, body, expected) in cases {
            assert_eq!(verdict(cause, sent, &method, body), expected, "{cause:?} sent={sent} {method} body={body}");
        }
    }

    #[test]
    fn a_status_is_retried_only_where_the_route_says_so() {
        let on = vec![RetryOn::Status(StatusCode::SERVICE_UNAVAILABLE)];
        let retries = Retries { attempts: 1, on };
        let repeat = Repeat { method: &Method::GET, body: true };
        let mut budget = Budget::new(&retries);
        assert_eq!(budget.after_answer(StatusCode::BAD_GATEWAY, repeat), Verdict::Final);
        assert_eq!(budget.after_answer(StatusCode::SERVICE_UNAVAILABLE, repeat), Verdict::Again);
        assert_eq!(budget.after_answer(StatusCode::SERVICE_UNAVAILABLE, repeat), Verdict::Final);
        let post = Repeat { method: &Method::POST, body: true };
        assert_eq!(Budget::new(&retries).after_answer(StatusCode::SERVICE_UNAVAILABLE, post), Verdict::Forbidden);
    }

    #[test]
    fn the_budget_is_spent() {
        let retries = Retries { attempts: 2, ..Retries::default() };
        let mut budget = Budget::new(&retries);
        let failure = Failure::new(Stage::Connect, Cause::ConnectRefused);
        let repeat = Repeat { method: &Method::GET, body: true };
        let verdicts = [(); 3].map(|()| budget.after_failure(&failure, repeat));
        assert_eq!(verdicts, [Verdict::Again, Verdict::Again, Verdict::Final]);
    }
}
