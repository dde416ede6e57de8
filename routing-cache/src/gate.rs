//! Is the orchestrator to be believed now? A state machine over `now` (spec/orchestrator-api.md, rule 2).
//!
//! It owns what was seen of the orchestrator's readiness and decides whether an answer may change the table. It never
//! looks at an answer's content, and never asks the time.
//!
//! - It opens at an answer, never by waiting: once ready answers without a break span `stable_for` (and, with a
//!   readiness URL, that URL's good answers span the same period).
//! - Before it is open anything but a good answer is a break, a single time-out included: the period starts again.
//! - Once it is open it shuts at the first answer that is not ready, at the first check of the readiness URL that
//!   fails, and when nothing was answered for `lost_after`. One time-out between two ready answers is none of these.
//! - Whatever shuts it makes the whole period start again.

use std::time::Duration;

use crate::model::Now;

/// When the gate opens and shuts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GateConfig {
    /// How long the orchestrator must have said that it is ready, without a break.
    pub stable_for: Duration,
    /// After so long without any answer it is not believed any more.
    pub lost_after: Duration,
    /// Whether a readiness URL must have answered well throughout, too.
    pub readiness_url: bool,
}

/// What was seen of the orchestrator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Observation {
    /// GET /v1/state said `ready:true`.
    Ready,
    /// An answer that is not ready: says why.
    NotReady(String),
    /// Nothing was answered, or nothing that can be understood (refused, time-out, 500, garbage): says what.
    Unanswered(String),
    /// The readiness URL answered 2xx.
    UrlOk,
    /// It did not: says what it did.
    UrlFailed(String),
}

/// Why the gate is shut.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShutReason {
    /// No answer has come since the start.
    #[error("the orchestrator has not been heard of yet")]
    NeverHeard,
    /// Its last answer said so.
    #[error("the orchestrator is not ready: {0}")]
    NotReady(String),
    /// It is ready, but not for long enough.
    #[error("the orchestrator has been ready for {for_s} s of {needed_s} s")]
    Settling {
        /// What its answers span so far, in seconds.
        for_s: u64,
        /// What they must span, in seconds, rounded up.
        needed_s: u64,
    },
    /// Silence, in seconds.
    #[error("nothing was answered for {0} s")]
    Lost(u64),
    /// The readiness URL says no, or nothing.
    #[error("readiness URL: {0}")]
    Url(String),
}

/// Good answers without a break.
#[derive(Clone, Copy, Debug)]
struct Streak {
    first: Duration,
    last: Duration,
}

impl Streak {
    fn extend(streak: Option<Self>, at: Duration) -> Self {
        Self { first: streak.map_or(at, |s| s.first), last: at }
    }
}

/// The readiness gate. Shut at the start.
#[derive(Clone, Debug)]
pub struct Gate {
    config: GateConfig,
    open: bool,
    ready: Option<Streak>,
    url: Option<Streak>,
    /// When the orchestrator last answered anything at all.
    answered: Option<Duration>,
    /// What its last answer about its readiness was: `Some(why)` when not ready.
    denial: Option<String>,
    said_ready: bool,
    url_failure: Option<String>,
}

impl Gate {
    /// A gate that has seen nothing.
    #[must_use]
    pub fn new(config: GateConfig) -> Self {
        Self {
            config,
            open: false,
            ready: None,
            url: None,
            answered: None,
            denial: None,
            said_ready: false,
            url_failure: None,
        }
    }

    /// New settings. A readiness URL that was not asked for before must first prove itself: the gate shuts until then.
    pub fn reconfigure(&mut self, config: GateConfig) {
        if config.readiness_url && !self.config.readiness_url {
            self.restart();
        }
        self.config = config;
    }

    /// Takes in what was seen.
    pub fn observe(&mut self, seen: Observation, now: Now) {
        self.expire(now);
        match seen {
            Observation::Ready => self.saw_ready(now),
            Observation::NotReady(why) => self.saw_not_ready(why, now),
            Observation::Unanswered(_) if self.open => {}
            Observation::Unanswered(_) => self.restart(),
            Observation::UrlOk => self.saw_url_ok(now),
            Observation::UrlFailed(why) => self.saw_url_failed(why),
        }
        self.try_open();
    }

    /// The orchestrator answered a table request: it is not lost. Opens nothing and counts for no period.
    pub fn heard(&mut self, now: Now) {
        self.expire(now);
        self.answered = Some(now.monotonic);
    }

    /// Whether an answer may change the table now.
    #[must_use]
    pub fn is_open(&self, now: Now) -> bool {
        self.open && !self.is_broken(now)
    }

    /// Whether the orchestrator's last word about itself was `ready:true`, and not too long ago. It is all that a
    /// gateway without a table asks for.
    #[must_use]
    pub fn says_ready(&self, now: Now) -> bool {
        self.said_ready && !self.is_lost(now)
    }

    /// Why the orchestrator's last word was that it is not ready, if it was.
    #[must_use]
    pub fn denial(&self) -> Option<&str> {
        self.denial.as_deref()
    }

    /// Why it is shut; `None` when it is open.
    #[must_use]
    pub fn shut_reason(&self, now: Now) -> Option<ShutReason> {
        if self.is_open(now) {
            return None;
        }
        let Some(answered) = self.answered else { return Some(ShutReason::NeverHeard) };
        Some(if self.is_lost(now) {
            ShutReason::Lost(now.monotonic.saturating_sub(answered).as_secs())
        } else if let Some(why) = &self.denial {
            ShutReason::NotReady(why.clone())
        } else {
            self.url_reason(now).unwrap_or_else(|| self.settling())
        })
    }

    fn url_reason(&self, now: Now) -> Option<ShutReason> {
        if !self.config.readiness_url {
            return None;
        }
        if let Some(why) = &self.url_failure {
            return Some(ShutReason::Url(why.clone()));
        }
        match self.url {
            None => Some(ShutReason::Url("has not answered yet".into())),
            Some(url) if self.is_silent(url.last, now) => {
                let silence = now.monotonic.saturating_sub(url.last).as_secs();
                Some(ShutReason::Url(format!("has not answered for {silence} s")))
            }
            Some(_) => None,
        }
    }

    fn settling(&self) -> ShutReason {
        let for_s = self.stable_span().unwrap_or_default().as_secs();
        let needed = self.config.stable_for;
        ShutReason::Settling { for_s, needed_s: needed.as_secs() + u64::from(needed.subsec_nanos() > 0) }
    }

    fn saw_ready(&mut self, now: Now) {
        self.answered = Some(now.monotonic);
        self.denial = None;
        self.said_ready = true;
        self.ready = Some(Streak::extend(self.ready, now.monotonic));
    }

    fn saw_not_ready(&mut self, why: String, now: Now) {
        self.answered = Some(now.monotonic);
        self.denial = Some(why);
        self.said_ready = false;
        self.restart();
    }

    fn saw_url_ok(&mut self, now: Now) {
        self.url_failure = None;
        self.url = Some(Streak::extend(self.url, now.monotonic));
    }

    fn saw_url_failed(&mut self, why: String) {
        self.url_failure = Some(why);
        if self.config.readiness_url {
            self.restart();
        }
    }

    /// Silence is a break also when nobody asked the gate while it lasted.
    fn expire(&mut self, now: Now) {
        if self.is_broken(now) {
            self.restart();
        }
    }

    fn restart(&mut self) {
        self.open = false;
        self.ready = None;
        self.url = None;
    }

    fn try_open(&mut self) {
        self.open = self.open || self.stable_span().is_some_and(|span| span >= self.config.stable_for);
    }

    /// The period throughout which everything that is asked for was seen; `None` when there is none.
    fn stable_span(&self) -> Option<Duration> {
        let ready = self.ready?;
        if !self.config.readiness_url {
            return ready.last.checked_sub(ready.first);
        }
        let url = self.url?;
        ready.last.min(url.last).checked_sub(ready.first.max(url.first))
    }

    fn is_broken(&self, now: Now) -> bool {
        let url_silent = || self.url.is_some_and(|url| self.is_silent(url.last, now));
        self.is_lost(now) || (self.config.readiness_url && url_silent())
    }

    fn is_lost(&self, now: Now) -> bool {
        self.answered.is_some_and(|at| self.is_silent(at, now))
    }

    fn is_silent(&self, last: Duration, now: Now) -> bool {
        now.monotonic.saturating_sub(last) >= self.config.lost_after
    }
}

#[cfg(test)]
mod tests;
