//! The thread on which a compaction runs: one at a time, behind everything else that wants a core.

use std::{
    future::pending,
    thread,
    time::{Duration, Instant},
};

use routing_cache::{
    model::Now,
    store::{Compacted, Compaction},
};
use tokio::sync::oneshot;

use crate::priority::{BACKGROUND, stand_back};

/// Before another one is tried after one that broke.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(60);

/// Has at most one compaction under way.
#[derive(Debug, Default)]
pub(super) struct Compactor {
    under_way: Option<(oneshot::Receiver<Compacted>, Instant)>,
    /// Not before this time.
    not_before: Duration,
}

/// A compaction that has ended.
#[derive(Debug)]
pub(super) struct Finished {
    /// What it made; `None` when its thread broke.
    pub(super) compacted: Option<Compacted>,
    /// How long it took.
    pub(super) took: Duration,
}

impl Compactor {
    /// True when one may be started.
    pub(super) fn is_free(&self, now: Now) -> bool {
        self.under_way.is_none() && now.monotonic >= self.not_before
    }

    /// Starts a thread for it. Where the system gives none, that is as a thread that broke.
    pub(super) fn start(&mut self, compaction: Compaction, now: Now) {
        self.run(move || compaction.run(), now);
    }

    fn run(&mut self, work: impl FnOnce() -> Compacted + Send + 'static, now: Now) {
        let (done, result) = oneshot::channel();
        let run = move || {
            stand_back(BACKGROUND);
            // ignored: the updater has ended, and what was made is found by the next start
            let _ = done.send(work());
        };
        // ignored: without a thread the sender is gone, and `finished` says so
        let _ = thread::Builder::new().name("compactor".into()).spawn(run);
        self.not_before = now.monotonic + PAUSE_AFTER_FAILURE;
        self.under_way = Some((result, Instant::now()));
    }

    /// Returns once the one that is under way has ended; never, while there is none.
    ///
    /// # Cancel safety
    /// Safe: it is reported by the next call.
    pub(super) async fn finished(&mut self) -> Finished {
        let Some((result, began)) = &mut self.under_way else { return pending().await };
        let (compacted, took) = (result.await.ok(), began.elapsed());
        self.under_way = None;
        if compacted.is_some() {
            self.not_before = Duration::ZERO;
        }
        Finished { compacted, took }
    }
}

#[cfg(test)]
mod tests {
    use routing_cache::model::WallTime;

    use super::*;

    fn at(seconds: u64) -> Now {
        Now { monotonic: Duration::from_secs(seconds), wall: WallTime(0) }
    }

    #[test]
    fn a_thread_that_breaks_is_noticed_and_another_one_is_started_later() {
        let mut compactor = Compactor::default();
        assert!(compactor.is_free(at(0)));
        compactor.run(|| panic!("on purpose"), at(0));
        assert!(!compactor.is_free(at(1000)), "one at a time");
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let finished = runtime.block_on(compactor.finished());
        assert!(finished.compacted.is_none());
        assert!(!compactor.is_free(at(59)) && compactor.is_free(at(60)));
    }
}
