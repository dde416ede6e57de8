//! The updater's own thread, and the handle by which the subscription and the admin API reach it.
//!
//! The updater writes to disk, so it never runs on a thread that serves requests. Its queue is bounded, and its report
//! is a copy that can be read while it works. Whatever it decides is counted and logged here, once.
//!
//! The thread ends with the last handle. When it ends before (it panicked), every call says so and the table stays as
//! it is. A compaction runs on a thread of its own, one at a time; one that breaks costs nothing but its time.

mod compactor;
mod handover;
mod pages;
mod record;
#[cfg(test)]
mod tests;
mod usage;
mod worker;

use std::{
    io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use arc_swap::ArcSwap;
use routing_cache::{
    gate::Observation,
    live::Reader,
    model::{Epoch, Generation, Now},
    state::State,
    store::Archive,
    updater::{ApproveError, Audit, EpochError, Outcome, Position, Report, Sizes, SteerError, Updater, UpdaterConfig},
    wire::{Changes, SnapshotCandidate, StateAnswer},
};
use tokio::sync::{mpsc, oneshot};

use crate::{
    clock,
    priority::{self, stand_back},
};
use handover::Halt;
use usage::Usage;
use worker::Worker;

pub use handover::{ImageError, NoLonger, Received, Suspended};

/// Jobs that wait at most; whoever brings one more waits. There are three callers (state poll, table request, admin),
/// each with one job at a time.
const QUEUE: usize = 16;

/// Reaches the updater's thread. Clones reach the same.
#[derive(Clone, Debug)]
pub struct Updates {
    jobs: mpsc::Sender<Job>,
    shared: Arc<Shared>,
    archive: Archive,
}

/// What can be read without the thread.
#[derive(Debug)]
struct Shared {
    report: ArcSwap<Report>,
    sizes: ArcSwap<Sizes>,
    /// The table is another process's.
    handed_over: AtomicBool,
}

/// The updater's thread has ended (it panicked), or another process has the table now: here it stays as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the updater has ended")]
pub struct UpdaterGone;

/// What the gate and the position say now, for the subscription to decide what to ask for.
#[derive(Clone, Debug)]
pub struct Standing {
    /// Whether an answer may change the table now.
    pub wants_answers: bool,
    /// Whether there is a table.
    pub has_table: bool,
    /// What the next changes call asks for; `None`: only a snapshot will do.
    pub position: Option<Position>,
}

type Job = Box<dyn FnOnce(&mut Worker) + Send>;

/// Every call waits as long as the updater works on what came before; who cannot puts a deadline around it.
///
/// # Cancel safety
/// A call that is dropped was either carried out, will be, or never reached the thread; nothing is half done.
impl Updates {
    /// Starts the thread; it ends when the last handle is dropped. Retries failed saves by itself.
    ///
    /// # Errors
    /// When the system gives no thread or no timer.
    pub fn start(updater: Updater, reader: Reader, state_dir: &Path) -> io::Result<(Self, thread::JoinHandle<()>)> {
        Self::start_with(updater, reader, state_dir, None)
    }

    fn start_with(
        updater: Updater,
        reader: Reader,
        state_dir: &Path,
        halt: Option<Halt>,
    ) -> io::Result<(Self, thread::JoinHandle<()>)> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        let (jobs, inbox) = mpsc::channel(QUEUE);
        let archive = updater.archive();
        let usage = Usage::new(updater.config().limits, reader, state_dir.to_owned());
        let mut worker = Worker::new(updater, usage, clock::now());
        worker.halt = halt;
        let updates = Self { jobs, shared: Arc::clone(&worker.shared), archive };
        let run = move || {
            stand_back(priority::CONTROL);
            runtime.block_on(worker.run(inbox));
        };
        Ok((updates, thread::Builder::new().name("updater".into()).spawn(run)?))
    }

    /// Feeds the gate.
    ///
    /// # Errors
    /// When the thread has ended.
    pub async fn observe(&self, seen: Observation) -> Result<Standing, UpdaterGone> {
        self.ask(move |worker, now| {
            worker.updater.observe(seen, now);
            worker.standing(now)
        })
        .await
    }

    /// Asks what is wanted.
    ///
    /// # Errors
    /// When the thread has ended.
    pub async fn standing(&self) -> Result<Standing, UpdaterGone> {
        self.send(|worker, now| worker.standing(now)).await
    }

    /// Offers a snapshot.
    ///
    /// # Errors
    /// When the thread has ended.
    pub async fn offer_snapshot(&self, candidate: SnapshotCandidate) -> Result<Outcome, UpdaterGone> {
        self.send(move |worker, now| worker.offer(now, |updater| updater.offer_snapshot(candidate, now))).await
    }

    /// Offers a delta.
    ///
    /// # Errors
    /// When the thread has ended.
    pub async fn offer_changes(&self, changes: Changes) -> Result<Outcome, UpdaterGone> {
        self.send(move |worker, now| worker.offer(now, |updater| updater.offer_changes(changes, now))).await
    }

    /// Releases what is held at this generation.
    ///
    /// # Errors
    /// When the thread has ended; within, when there is nothing to approve.
    pub async fn approve(&self, generation: Generation) -> Result<Result<Outcome, ApproveError>, UpdaterGone> {
        self.ask(move |worker, now| {
            let result = worker.updater.approve(generation, now);
            worker.record.approved(generation, &result);
            result
        })
        .await
    }

    /// Takes a retired epoch back: the next snapshot of it is judged like any other.
    ///
    /// # Errors
    /// When the thread has ended; within, when it is not a retired one.
    pub async fn approve_epoch(&self, epoch: Epoch) -> Result<Result<(), EpochError>, UpdaterGone> {
        self.ask(move |worker, now| {
            let result = worker.updater.approve_epoch(&epoch, now);
            record::approved_epoch(&epoch, &result);
            result
        })
        .await
    }

    /// Goes back to a state of the [`Archive`], and stays there.
    ///
    /// # Errors
    /// When the thread has ended; within, when it cannot be done.
    pub async fn rollback(&self, state: State) -> Result<Result<Outcome, SteerError>, UpdaterGone> {
        self.ask(move |worker, now| {
            let result = worker.updater.rollback(state, now);
            record::steered("rollback", &result);
            result
        })
        .await
    }

    /// Serves an operator's table, and stays there.
    ///
    /// # Errors
    /// When the thread has ended; within, when it cannot be done.
    pub async fn import(&self, candidate: SnapshotCandidate) -> Result<Result<Outcome, SteerError>, UpdaterGone> {
        self.ask(move |worker, now| {
            let result = worker.updater.import(candidate, now);
            record::steered("import", &result);
            result
        })
        .await
    }

    /// Follows the orchestrator again.
    ///
    /// # Errors
    /// When the thread has ended; within, when no table is pinned.
    pub async fn unpin(&self) -> Result<Result<(), SteerError>, UpdaterGone> {
        self.ask(|worker, now| {
            let result = worker.updater.unpin(now);
            record::unpinned(&result);
            result
        })
        .await
    }

    /// Compares what was received with what the orchestrator says of itself.
    ///
    /// # Errors
    /// When the thread has ended.
    pub async fn audit(&self, answer: StateAnswer) -> Result<Audit, UpdaterGone> {
        self.ask(move |worker, now| {
            let audit = worker.updater.audit(&answer, now);
            worker.record.audited(audit, &answer);
            audit
        })
        .await
    }

    /// An orderly end has begun: what ends now is no crash.
    ///
    /// # Errors
    /// When the thread has ended.
    pub async fn stopping(&self) -> Result<(), UpdaterGone> {
        self.ask(|worker, _| worker.updater.stopping()).await
    }

    /// Goes by new settings.
    ///
    /// # Errors
    /// When the thread has ended.
    pub async fn reconfigure(&self, config: UpdaterConfig) -> Result<(), UpdaterGone> {
        self.ask(move |worker, _| {
            worker.usage.limits(config.limits);
            worker.updater.reconfigure(config);
        })
        .await
    }

    /// The last report, at most a second old unless the updater is at work; never waits for it. After an offer a list
    /// of many names may be a moment behind.
    #[must_use]
    pub fn report(&self) -> Arc<Report> {
        self.shared.report.load_full()
    }

    /// The sizes as they were measured last, some ten seconds ago at most; never waits for the updater.
    #[must_use]
    pub fn sizes(&self) -> Arc<Sizes> {
        self.shared.sizes.load_full()
    }

    /// Whether another process has the table now: nothing is changed here any more.
    #[must_use]
    pub fn handed_over(&self) -> bool {
        self.shared.handed_over.load(Ordering::Relaxed)
    }

    /// The generations on disk, read without the updater's thread. Reading one may take a while.
    #[must_use]
    pub fn archive(&self) -> &Archive {
        &self.archive
    }

    /// The report as it is now: it waits for the updater's thread.
    ///
    /// # Errors
    /// When the thread has ended.
    pub async fn current_report(&self) -> Result<Arc<Report>, UpdaterGone> {
        self.ask(|_, _| ()).await?;
        Ok(self.report())
    }

    /// Has a deed done; the report that follows from it is there when this returns.
    async fn ask<T: Send + 'static>(
        &self,
        deed: impl FnOnce(&mut Worker, Now) -> T + Send + 'static,
    ) -> Result<T, UpdaterGone> {
        let deed = move |worker: &mut Worker, now| {
            let result = deed(worker, now);
            worker.share(clock::now());
            result
        };
        self.send(deed).await
    }

    async fn send<T: Send + 'static>(
        &self,
        deed: impl FnOnce(&mut Worker, Now) -> T + Send + 'static,
    ) -> Result<T, UpdaterGone> {
        let (reply, answer) = oneshot::channel();
        let job: Job = Box::new(move |worker| {
            // ignored: who asked has gone, and the deed is done all the same
            let _ = reply.send(deed(worker, clock::now()));
        });
        self.jobs.send(job).await.map_err(|_| UpdaterGone)?;
        answer.await.map_err(|_| UpdaterGone)
    }
}
