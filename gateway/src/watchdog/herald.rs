//! What the log says of the watchdog's verdict. Another thread's work: the log has a queue, and what hangs may hold it.

use super::{
    Watched,
    judge::{Fault, Subject},
};
use crate::clock;

/// Tells each change of the verdict once.
#[derive(Debug)]
pub struct Herald {
    watched: Watched,
    told: Vec<Subject>,
    admin: bool,
}

impl Herald {
    /// Nothing was told yet.
    #[must_use]
    pub fn new(watched: Watched) -> Self {
        Self { watched, told: Vec::new(), admin: false }
    }

    /// Writes what has changed since the last call.
    pub fn tell(&mut self) {
        let (verdict, now) = (self.watched.0.verdict.load(), clock::now().monotonic);
        let is_new = |fault: &&Fault| !self.told.contains(&fault.subject);
        for fault in verdict.faults.iter().filter(is_new) {
            tracing::error!("hanging: {}", self.watched.named(fault, now));
        }
        if verdict.is_good() && !self.told.is_empty() {
            tracing::info!("nothing hangs any more");
        }
        if verdict.admin.is_some() != self.admin {
            match verdict.admin {
                Some(_) => {
                    tracing::error!("the admin thread makes no progress: requests are served, nobody is answered there")
                }
                None => tracing::info!("the admin thread makes progress again"),
            }
        }
        self.told = verdict.faults.iter().map(|fault| fault.subject).collect();
        self.admin = verdict.admin.is_some();
    }
}
