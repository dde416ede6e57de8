//! Whether this gateway may be sent traffic: named conditions, each a latch held by whoever knows.
//!
//! A condition that fails makes the gateway unready; a warning is shown beside it and changes nothing. The orchestrator
//! is never a condition, on purpose: see invariant 3 of docs/ARCHITECTURE.md.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// How a condition stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It holds.
    Ok,
    /// It holds, but somebody should look: why.
    Warned(String),
    /// It does not hold: why.
    Failed(String),
}

/// One line of `/readyz?verbose`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// Its name, stable.
    pub name: &'static str,
    /// How it stands.
    pub standing: Standing,
}

impl Check {
    /// A condition that fails with `failure`, or holds where there is none.
    #[must_use]
    pub fn condition(name: &'static str, failure: Option<String>) -> Self {
        Self { name, standing: failure.map_or(Standing::Ok, Standing::Failed) }
    }

    /// A condition that always holds, with a warning where there is one.
    #[must_use]
    pub fn notice(name: &'static str, warning: Option<String>) -> Self {
        Self { name, standing: warning.map_or(Standing::Ok, Standing::Warned) }
    }

    /// False when it keeps traffic away.
    #[must_use]
    pub fn holds(&self) -> bool {
        !matches!(self.standing, Standing::Failed(_))
    }
}

/// `[+]name ok`, `[-]name failed: why` as Kubernetes has it, and `[!]name warning: why`.
impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.standing {
            Standing::Ok => write!(f, "[+]{} ok", self.name),
            Standing::Warned(why) => write!(f, "[!]{} warning: {why}", self.name),
            Standing::Failed(why) => write!(f, "[-]{} failed: {why}", self.name),
        }
    }
}

/// The named conditions of one process. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<Mutex<Vec<Check>>>);

/// Sets one condition.
#[derive(Clone, Debug)]
pub struct Latch {
    name: &'static str,
    all: Readiness,
}

impl Readiness {
    /// Adds a condition, failing with `why` until its latch says otherwise.
    #[must_use]
    pub fn latch(&self, name: &'static str, why: &str) -> Latch {
        self.add(name, Standing::Failed(why.to_owned()))
    }

    /// Adds a condition that holds until its latch says otherwise.
    #[must_use]
    pub fn notice(&self, name: &'static str) -> Latch {
        self.add(name, Standing::Ok)
    }

    /// All conditions, in the order they were added.
    #[must_use]
    pub fn checks(&self) -> Vec<Check> {
        self.checks_mut().clone()
    }

    fn add(&self, name: &'static str, standing: Standing) -> Latch {
        self.checks_mut().push(Check { name, standing });
        Latch { name, all: self.clone() }
    }

    fn checks_mut(&self) -> MutexGuard<'_, Vec<Check>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Latch {
    /// The condition holds.
    pub fn ok(&self) {
        self.set(Standing::Ok);
    }

    /// The condition does not hold.
    pub fn fail(&self, why: &str) {
        self.set(Standing::Failed(why.to_owned()));
    }

    /// The condition holds, but somebody should look.
    pub fn warn(&self, why: &str) {
        self.set(Standing::Warned(why.to_owned()));
    }

    fn set(&self, standing: Standing) {
        if let Some(check) = self.all.checks_mut().iter_mut().find(|c| c.name == self.name) {
            check.standing = standing;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(readiness: &Readiness) -> Vec<String> {
        readiness.checks().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_condition_fails_until_its_latch_says_otherwise() {
        let readiness = Readiness::default();
        let latch = readiness.latch("listeners", "not bound yet");
        assert_eq!(lines(&readiness), ["[-]listeners failed: not bound yet"]);
        latch.ok();
        assert_eq!(lines(&readiness), ["[+]listeners ok"]);
        latch.fail("gone");
        assert_eq!(lines(&readiness), ["[-]listeners failed: gone"]);
    }

    #[test]
    fn a_warning_does_not_keep_traffic_away() {
        let readiness = Readiness::default();
        let latch = readiness.notice("updater");
        assert_eq!(lines(&readiness), ["[+]updater ok"]);
        latch.warn("its thread has ended");
        assert_eq!(lines(&readiness), ["[!]updater warning: its thread has ended"]);
        assert!(readiness.checks().iter().all(Check::holds));
    }

    #[test]
    fn a_failed_condition_keeps_traffic_away() {
        assert!(!Check::condition("table", Some("none".into())).holds());
        assert!(Check::condition("table", None).holds());
    }
}
