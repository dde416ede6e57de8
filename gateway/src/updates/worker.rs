//! What runs on the updater's thread: jobs, one after the other, and what is done every second.

use std::{
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use arc_swap::ArcSwap;
use routing_cache::{
    model::Now,
    updater::{Outcome, Updater},
};
use tokio::{
    sync::mpsc,
    time::{MissedTickBehavior, interval, sleep},
};

use super::{
    Job, Shared, Standing,
    compactor::{Compactor, Finished},
    handover::Halt,
    pages::HugePages,
    record::Record,
    usage::Usage,
};
use crate::clock;

/// How often the report is made anew with no job to do: the gate can shut by time alone.
pub(super) const TICK: Duration = Duration::from_secs(1);
/// How often a save that failed is tried again.
const RETRY_SAVE_EVERY: Duration = Duration::from_secs(5);
/// How often the sizes are measured at most: it looks at every app.
const MEASURE_EVERY: Duration = Duration::from_secs(10);
/// While a report's lists are long, one is made for offers no more often than this: making it copies up to two thousand
/// names, and there may be a thousand offers a second.
const LISTS_EVERY: Duration = Duration::from_millis(100);
/// A list with more names than this is long.
const LONG_LIST: usize = 32;

/// What runs on the thread.
pub(super) struct Worker {
    pub(super) updater: Updater,
    pub(super) shared: Arc<Shared>,
    pub(super) record: Record,
    pub(super) usage: Usage,
    /// It stands still from the next round on.
    pub(super) halt: Option<Halt>,
    compactor: Compactor,
    pages: HugePages,
    /// When a save is tried again next, if one is needed.
    pub(super) retry_at: Duration,
    /// When the sizes were measured last.
    measured_at: Duration,
    /// When the report was made last.
    shared_at: Duration,
    /// The report is older than what it reports on.
    stale: bool,
}

impl Worker {
    pub(super) fn new(mut updater: Updater, usage: Usage, now: Now) -> Self {
        let (report, sizes) = (ArcSwap::from_pointee(updater.report(now)), ArcSwap::from_pointee(updater.sizes()));
        let mut worker = Self {
            updater,
            usage,
            shared: Arc::new(Shared { report, sizes, handed_over: AtomicBool::new(false) }),
            record: Record::new(),
            halt: None,
            compactor: Compactor::default(),
            pages: HugePages::default(),
            retry_at: now.monotonic + RETRY_SAVE_EVERY,
            measured_at: now.monotonic,
            shared_at: now.monotonic,
            stale: false,
        };
        worker.usage.watch(&worker.shared.sizes.load());
        worker
    }

    pub(super) async fn run(mut self, mut inbox: mpsc::Receiver<Job>) {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            if let Some(halt) = self.halt.take()
                && self.stand_still(halt).await.is_break()
            {
                return self.refuse(&mut inbox).await;
            }
            tokio::select! {
                job = inbox.recv() => match job {
                    Some(job) => job(&mut self),
                    None => return,
                },
                finished = self.compactor.finished() => self.compacted(finished, clock::now()),
                _ = ticks.tick() => self.tick(clock::now()),
                () = sleep(LISTS_EVERY), if self.stale => self.share(clock::now()),
            }
            self.updater.drop_retired();
            self.compact(clock::now());
        }
    }

    pub(super) fn tick(&mut self, now: Now) {
        self.updater.tick(now);
        self.pages.see_to(self.updater.base());
        self.record.second();
        if now.monotonic >= self.retry_at {
            self.updater.retry_save(now);
            self.retry_at = clock::now().monotonic.max(now.monotonic) + RETRY_SAVE_EVERY;
        }
        let first = self.shared.sizes.load().documents_bytes == 0 && self.updater.has_table();
        if first || now.monotonic >= self.measured_at + MEASURE_EVERY {
            self.measure();
            self.measured_at = clock::now().monotonic.max(now.monotonic);
        }
        self.share(now);
    }

    fn measure(&mut self) {
        let sizes = self.updater.sizes();
        self.usage.watch(&sizes);
        self.shared.sizes.store(Arc::new(sizes));
    }

    /// Starts a compaction where one is due and none is under way.
    fn compact(&mut self, now: Now) {
        if self.compactor.is_free(now)
            && let Some(compaction) = self.updater.compaction()
        {
            self.compactor.start(compaction, now);
        }
    }

    fn compacted(&mut self, finished: Finished, now: Now) {
        self.record.compacted(&finished);
        match finished.compacted {
            Some(compacted) => self.updater.compacted(compacted, now),
            None => self.updater.compaction_broke(),
        }
        self.share(now);
    }

    pub(super) fn offer(&mut self, now: Now, deed: impl FnOnce(&mut Updater) -> Outcome) -> Outcome {
        let outcome = deed(&mut self.updater);
        let took = clock::now().monotonic.saturating_sub(now.monotonic);
        self.record.judged(&outcome, took);
        self.share_soon(clock::now());
        outcome
    }

    pub(super) fn standing(&self, now: Now) -> Standing {
        let (wants_answers, position) = (self.updater.wants_answers(now), self.updater.position());
        Standing { wants_answers, has_table: self.updater.has_table(), position }
    }

    /// Shares the report, now or a moment later.
    fn share_soon(&mut self, now: Now) {
        let last = self.shared.report.load();
        let long = last.held.deletes.len().max(last.invalid.len()) > LONG_LIST;
        drop(last);
        self.stale = long && now.monotonic < self.shared_at + LISTS_EVERY;
        if !self.stale {
            self.share(now);
        }
    }

    pub(super) fn share(&mut self, now: Now) {
        (self.shared_at, self.stale) = (now.monotonic, false);
        let report = self.updater.report(now);
        self.record.changed(&self.shared.report.load(), &report);
        self.shared.report.store(Arc::new(report));
    }
}
