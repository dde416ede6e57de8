//! The patience with a body that is silent.

use std::{
    task::{Context, Poll},
    time::Duration,
};

use crate::net::wheel::Alarm;

/// Runs out when nothing has come for a while. It costs nothing while something is always there to be read.
#[derive(Debug)]
pub(crate) struct Idle {
    limit: Duration,
    alarm: Option<Alarm>,
    waiting: bool,
}

impl Idle {
    /// A patience of `limit`.
    pub(crate) fn new(limit: Duration) -> Self {
        Self { limit, alarm: None, waiting: false }
    }

    /// Something came: the wait, if there was one, is over.
    pub(crate) fn progress(&mut self) {
        self.waiting = false;
    }

    /// Nothing is there: ready once that has been so for the limit.
    pub(crate) fn poll_wait(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let begins = !std::mem::replace(&mut self.waiting, true);
        match &mut self.alarm {
            Some(alarm) => {
                if begins {
                    alarm.reset(self.limit);
                }
                alarm.poll(cx)
            }
            None => self.alarm.insert(Alarm::after(self.limit)).poll(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(5);

    #[tokio::test(start_paused = true)]
    async fn it_runs_out_after_its_limit_and_every_progress_begins_it_anew() {
        let mut idle = Idle::new(LIMIT);
        let start = Instant::now();
        std::future::poll_fn(|cx| idle.poll_wait(cx)).await;
        assert_eq!(start.elapsed(), LIMIT);
        for _ in 0..3 {
            idle.progress();
            let waited = tokio::time::timeout(LIMIT / 2, std::future::poll_fn(|cx| idle.poll_wait(cx))).await;
            assert!(waited.is_err());
        }
        std::future::poll_fn(|cx| idle.poll_wait(cx)).await;
        assert_eq!(start.elapsed(), LIMIT + 3 * (LIMIT / 2) + LIMIT / 2);
    }
}
