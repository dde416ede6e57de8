//! The updater stands still while another process takes the table over.
//!
//! In the old process ([`Suspended`]): no job is done, nothing is saved and no compaction begun, until the handle is dropped
//! or its time is over; then the updater takes back its folder, if it had given it away, and goes on as if nothing had been.
//! In the new one ([`Received`]): no job is done before the folder is claimed and the handle dropped. Jobs wait in their queue
//! meanwhile; report and table can be read as ever.

use std::{
    future::pending,
    io::{self, Write},
    ops::ControlFlow,
    path::Path,
    sync::atomic::Ordering,
    thread,
    time::Duration,
};

use routing_cache::{
    live::Reader,
    model::Now,
    store::{Image, Regained},
    updater::{BootError, Claimed, TableMark, Updater},
};
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, interval, sleep_until},
};
use tracing::{error, info, warn};

use super::{
    Job, UpdaterGone, Updates,
    worker::{TICK, Worker},
};
use crate::{
    clock,
    priority::{CONTROL, stand_back},
};

/// Deeds that wait at most: the one handle asks for one after the other.
const DEEDS: usize = 1;

/// What the thread goes by while it stands still.
#[derive(Debug)]
pub(super) struct Halt {
    deeds: mpsc::Receiver<Job>,
    until: Option<Instant>,
}

/// Asks a thread that stands still.
#[derive(Debug)]
struct Still(mpsc::Sender<Job>);

/// The updater does not stand still any more: its time was over, or its thread has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the updater does not stand still any more")]
pub struct NoLonger;

/// Why there is no image.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// Nobody is there to make one of.
    #[error("the updater has ended, or does not stand still any more")]
    Gone,
    /// It could not be written.
    #[error("the image cannot be written")]
    Write(#[source] io::Error),
    /// The system gives no thread.
    #[error("the image's thread cannot be started")]
    Thread(#[source] io::Error),
    /// What made it has broken.
    #[error("the image's thread broke")]
    Broke,
}

/// The updater of a process that another one may take the table over from. It stands still until this is dropped or its time
/// is over.
#[derive(Debug)]
pub struct Suspended(Still);

/// The updater of a process that has received its table. It stands still until this is dropped: after a claim it begins its
/// work then, and without one it never does.
#[derive(Debug)]
pub struct Received(Still);

impl Updates {
    /// Has the updater stand still, for `at_most` so long.
    ///
    /// # Errors
    /// When the thread has ended.
    pub async fn suspend(&self, at_most: Duration) -> Result<Suspended, UpdaterGone> {
        self.send(move |worker, _| {
            let (still, halt) = halted(Some(Instant::now() + at_most));
            worker.halt = Some(halt);
            Suspended(still)
        })
        .await
    }

    /// Starts the thread of an updater that was received, standing still.
    ///
    /// # Errors
    /// When the system gives no thread or no timer.
    pub fn start_received(
        updater: Updater,
        reader: Reader,
        state_dir: &Path,
    ) -> io::Result<(Self, Received, thread::JoinHandle<()>)> {
        let (still, halt) = halted(None);
        let (updates, thread) = Self::start_with(updater, reader, state_dir, Some(halt))?;
        Ok((updates, Received(still), thread))
    }

    /// Writes an image of all there is now, on a thread of its own, while the updater goes on. Returns what it was written
    /// into, and the bytes.
    ///
    /// # Errors
    /// When it cannot be written.
    ///
    /// # Cancel safety
    /// Safe: what was begun is written to its end and dropped.
    pub async fn image<W: Write + Send + 'static>(&self, into: W) -> Result<(W, u64), ImageError> {
        let image = self.send(|worker, _| worker.updater.image()).await;
        write(image.map_err(|_| ImageError::Gone)?, into).await
    }
}

impl Suspended {
    /// What is served, for the other process to be held against.
    ///
    /// # Errors
    /// When it does not stand still any more.
    pub async fn mark(&self) -> Result<TableMark, NoLonger> {
        self.0.ask(|worker, _| worker.updater.mark()).await
    }

    /// As [`Updates::image`]; it is of what is served until the handle is dropped.
    ///
    /// # Errors
    /// When it cannot be written.
    ///
    /// # Cancel safety
    /// Safe: what was begun is written to its end and dropped.
    pub async fn image<W: Write + Send + 'static>(&self, into: W) -> Result<(W, u64), ImageError> {
        let image = self.0.ask(|worker, _| worker.updater.image()).await;
        write(image.map_err(|NoLonger| ImageError::Gone)?, into).await
    }

    /// Gives the state folder away. It is taken back by [`Suspended::regain`], or when the handle is dropped or its time is
    /// over.
    ///
    /// # Errors
    /// When it does not stand still any more.
    pub async fn release(&self) -> Result<(), NoLonger> {
        self.0.ask(|worker, _| worker.updater.release()).await
    }

    /// Takes the state folder back. Where that fails the table is served unsaved, and it is tried again every few seconds once
    /// the updater goes on.
    ///
    /// # Errors
    /// When it does not stand still any more: then it was taken back, too.
    pub async fn regain(&self) -> Result<Regained, NoLonger> {
        self.0.ask(|worker, now| worker.regain(now)).await
    }

    /// The other process has the table: nothing is changed here any more. From now on every call of [`Updates`] that needs
    /// the thread is answered with [`UpdaterGone`]; what waits in the queue, too.
    ///
    /// # Errors
    /// When it did not stand still any more, and so has gone on: the take-over has failed.
    pub async fn hand_over(self) -> Result<(), NoLonger> {
        self.0.ask(|worker, _| worker.shared.handed_over.store(true, Ordering::Relaxed)).await
    }
}

impl Received {
    /// What was received.
    ///
    /// # Errors
    /// When the thread has ended.
    pub async fn mark(&self) -> Result<TableMark, UpdaterGone> {
        self.0.ask(|worker, _| worker.updater.mark()).await.map_err(|NoLonger| UpdaterGone)
    }

    /// Takes up the state folder.
    ///
    /// # Errors
    /// When the thread has ended; within, while another process has the folder: it can be tried again.
    pub async fn claim(&self) -> Result<Result<Claimed, BootError>, UpdaterGone> {
        let claimed = self.0.ask(|worker, now| {
            let claimed = worker.updater.claim(now);
            worker.retry_at = now.monotonic;
            worker.share(clock::now());
            claimed
        });
        claimed.await.map_err(|NoLonger| UpdaterGone)
    }
}

impl Still {
    async fn ask<T: Send + 'static>(
        &self,
        deed: impl FnOnce(&mut Worker, Now) -> T + Send + 'static,
    ) -> Result<T, NoLonger> {
        let (reply, answer) = oneshot::channel();
        let deed: Job = Box::new(move |worker| {
            // ignored: who asked has gone, and so has the handle
            let _ = reply.send(deed(worker, clock::now()));
        });
        self.0.send(deed).await.map_err(|_| NoLonger)?;
        answer.await.map_err(|_| NoLonger)
    }
}

impl Worker {
    /// Does what the handle asks for and nothing else. Breaks where the updater is not to go on.
    pub(super) async fn stand_still(&mut self, mut halt: Halt) -> ControlFlow<()> {
        let mut ticks = interval(TICK);
        while !self.shared.handed_over.load(Ordering::Relaxed) {
            tokio::select! {
                deed = halt.deeds.recv() => match deed {
                    Some(deed) => deed(self),
                    None => return self.go_on(clock::now()),
                },
                () = time_is_over(halt.until) => {
                    warn!("the time for a take-over is over: the updater goes on");
                    return self.go_on(clock::now());
                }
                _ = ticks.tick() => self.share(clock::now()),
            }
        }
        info!("another process has the table: nothing is changed here any more");
        ControlFlow::Break(())
    }

    /// Every job is answered with [`UpdaterGone`], until nobody can bring one.
    pub(super) async fn refuse(&self, inbox: &mut mpsc::Receiver<Job>) {
        while let Some(job) = inbox.recv().await {
            drop(job);
        }
    }

    fn go_on(&mut self, now: Now) -> ControlFlow<()> {
        if self.updater.is_away() {
            self.regain(now);
        }
        if self.updater.is_away() {
            self.shared.handed_over.store(true, Ordering::Relaxed);
            error!("the state folder was never claimed: nothing changes the table");
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }

    fn regain(&mut self, now: Now) -> Regained {
        let regained = self.updater.regain();
        match &regained {
            Regained::Untouched => info!("the state folder was taken back, as it was left"),
            Regained::Touched => warn!("the state folder was taken back, and was written meanwhile: all is saved anew"),
            Regained::Locked { pid } => error!(pid, "the state folder could not be taken back: another process has it"),
            Regained::Unusable(why) => error!(why, "the state folder could not be taken back"),
        }
        self.retry_at = now.monotonic;
        self.share(clock::now());
        regained
    }
}

fn halted(until: Option<Instant>) -> (Still, Halt) {
    let (deeds, inbox) = mpsc::channel(DEEDS);
    (Still(deeds), Halt { deeds: inbox, until })
}

async fn time_is_over(until: Option<Instant>) {
    match until {
        Some(until) => sleep_until(until).await,
        None => pending().await,
    }
}

async fn write<W: Write + Send + 'static>(image: Image, mut into: W) -> Result<(W, u64), ImageError> {
    let (done, result) = oneshot::channel();
    let run = move || {
        stand_back(CONTROL);
        let written = image.write(&mut into).and_then(|bytes| into.flush().map(|()| bytes));
        // ignored: who asked has gone
        let _ = done.send(written.map(|bytes| (into, bytes)));
    };
    thread::Builder::new().name("image".into()).spawn(run).map_err(ImageError::Thread)?;
    result.await.map_err(|_| ImageError::Broke)?.map_err(ImageError::Write)
}
