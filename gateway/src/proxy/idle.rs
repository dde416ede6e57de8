//! The patience with a body that is silent.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep};

/// Runs out when nothing has come for a while. It costs nothing while something is always there to be read.
#[derive(Debug)]
pub(crate) struct Idle {
    limit: Duration,
    timer: Option<Pin<Box<Sleep>>>,
    waiting: bool,
}

impl Idle {
    /// A patience of `limit`.
    pub(crate) fn new(limit: Duration) -> Self {
        Self { limit, timer: None, waiting: false }
    }

    /// Something came: the wait, if there was one, is over.
    pub(crate) fn progress(&mut self) {
        self.waiting = false;
    }

    /// Nothing is there: ready once that has been so for the limit.
    pub(crate) fn poll_wait(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let limit = self.limit;
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(limit)));
        if !self.waiting {
            timer.as_mut().reset(Instant::now() + limit);
            self.waiting = true;
        }
        ready!(timer.as_mut().poll(cx));
        Poll::Ready(())
    }
}
