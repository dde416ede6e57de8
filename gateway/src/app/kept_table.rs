//! A table that the disk does not have is kept by the service manager: an image of it in sealed memory, in the descriptor store
//! (systemd.service(5), `FileDescriptorStoreMax=`). So it outlives this process, and the next one starts from it.
//!
//! It is there while what is served cannot be saved, and no longer: it takes as much memory as the table. It is replaced when
//! something has changed, but not often, and where there is room; the new one is stored before the old one is given up. Whoever
//! is to be replaced by a successor leaves it: that one looks after it from then on. It is never taken out for an end, since
//! another process may follow: where none does, systemd gives up what it keeps.
//!
//! The note in the runtime folder ([`KeptNote`]) says to a start's preflight that there is one.

use std::{fs::File, io, time::Duration};

use anyhow::bail;
use routing_cache::{
    disk::Opened,
    live::{Published, Reader},
    model::{Digest, Epoch, Generation, WallTime},
    snapshot,
    state::Pin,
    updater::Report,
};
use tokio::{
    sync::oneshot,
    task::JoinHandle,
    time::{Instant, MissedTickBehavior, interval, timeout},
};

use super::{descriptor_store, notify_socket};
use crate::{
    cli::preflight::kept_note::KeptNote,
    overload::{Overload, Share},
    sealed,
    updates::{ImageError, Updates},
};

/// What such tables are called in the store. There are two, for one to be stored before the other is given up.
const NAMES: [&str; 2] = ["table", "table-2"];
/// How often it is looked whether the disk has the table.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// From one image to the next at least. So much of what came last may be lost with a process that is killed.
const REPLACE_EVERY: Duration = Duration::from_secs(10);
/// How much longer than an image took nothing is done: a tenth of one core goes into images at most.
const REST: u32 = 9;
/// For the image of a process that ends. One of a million apps takes a few seconds.
const LAST_WITHIN: Duration = Duration::from_secs(10);
/// Memory that may be in use once an image is made, of what there is. Source: the default of `overload.hard_percent`.
const MOST_PERCENT: u64 = 90;
/// An image, and the flat table that it is written from where what is served does not lie in one piece.
const COPIES: u64 = 2;

/// What the service manager keeps of the table, and what this process knows of it.
#[derive(Debug)]
pub(super) struct KeptTable {
    /// Under which names there may be one. `None`: by the note.
    there: Option<Vec<&'static str>>,
    /// What is in the newest, where that is known.
    holds: Option<Mark>,
    /// The next image.
    not_before: Instant,
    note: KeptNote,
    overload: Overload,
    /// That it cannot be kept is said once.
    complained: bool,
}

/// What is served.
pub(super) struct Served {
    pub(super) updates: Updates,
    pub(super) reader: Reader,
}

/// Looks after it.
pub(super) struct Keeping {
    stop: oneshot::Sender<()>,
    task: Option<JoinHandle<()>>,
}

/// Which state it is. When it was confirmed last is no part of that.
#[derive(Clone, Debug, PartialEq)]
struct Mark {
    served: (Option<Epoch>, Generation, Digest),
    received: (Option<(Epoch, Generation)>, Digest),
    held: (Generation, usize),
    invalid: usize,
    tombstones: usize,
    pin: Option<Pin>,
    retired: Vec<Epoch>,
}

/// What is to be done.
#[derive(Debug, PartialEq)]
enum Next {
    Nothing,
    /// Store this state.
    Store(Mark),
    /// The disk has it.
    TakeOut,
}

#[derive(Debug, thiserror::Error)]
enum KeepError {
    #[error("too little memory is left for a copy of it")]
    NoRoom,
    #[error(transparent)]
    Image(#[from] ImageError),
    #[error(transparent)]
    System(#[from] io::Error),
}

/// What was passed, each with its name.
pub(super) type Tables = [(&'static str, File)];

/// The name of a table in the store, if it is one.
pub(super) fn known(name: &str) -> Option<&'static str> {
    NAMES.into_iter().find(|known| *known == name)
}

/// The newest of the tables that were passed: where a process was killed while it replaced one, there are two.
pub(super) fn newest(tables: &Tables) -> Option<Opened> {
    let open = |file: &File| file.try_clone().and_then(Opened::new).ok();
    let opened = tables.iter().filter_map(|(_, file)| Some((age(open(file)?), open(file)?)));
    opened.max_by_key(|(age, _)| *age).map(|(_, newest)| newest)
}

/// By the number of its last change. `None`, and the oldest: it cannot be read.
fn age(mut table: Opened) -> Option<(u64, WallTime)> {
    let head = snapshot::read_head(&mut table).ok()?;
    Some((head.sequence, head.meta.provenance.received_at))
}

/// Removes a note that has let this start through the preflight for nothing.
///
/// # Errors
/// When there is nothing to start with then: the preflight is to judge anew.
pub(super) fn heed_note(note: &KeptNote, tables: &Tables, has_restored: bool) -> anyhow::Result<()> {
    if !note.is_there() || (has_restored && !tables.is_empty()) {
        return Ok(());
    }
    match note.remove() {
        Ok(()) if !has_restored => {
            bail!("no table is on disk, and none that can be used was kept by the service manager, as was noted")
        }
        Ok(()) => tracing::warn!("the service manager was noted to keep a table, and has passed none"),
        Err(error) => tracing::warn!(%error, "the note that the service manager keeps a table is wrong, and stays"),
    }
    Ok(())
}

impl KeptTable {
    /// For a start that was passed `tables`, and serves `restored` from one of them, if it does.
    pub(super) fn of_start(tables: &Tables, restored: Option<(&Report, &Published)>, overload: Overload) -> Self {
        let there = tables.iter().map(|(name, _)| *name).collect();
        let holds = restored.map(|(report, published)| Mark::of(report, published));
        Self { there: Some(there), holds, ..Self::of_successor(overload) }
    }

    /// For a successor: what there is the process before has stored.
    pub(super) fn of_successor(overload: Overload) -> Self {
        let (not_before, note) = (Instant::now(), KeptNote::of_environment());
        Self { there: None, holds: None, not_before, note, overload, complained: false }
    }

    /// Looks after it from now on, where there is a service manager.
    pub(super) fn start(self, served: Served) -> Keeping {
        let (stop, stopped) = oneshot::channel();
        let task = notify_socket::is_there().then(|| tokio::spawn(self.keep(served, stopped)));
        Keeping { stop, task }
    }

    async fn keep(mut self, served: Served, mut stopped: oneshot::Receiver<()>) {
        let mut looks = interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = looks.tick() => self.look(&served).await,
                _ = &mut stopped => break,
            }
        }
        self.not_before = Instant::now();
        self.look(&served).await;
    }

    async fn look(&mut self, served: &Served) {
        let next = self.next(&served.updates.report(), &served.reader.load(), Instant::now());
        match next {
            Next::Nothing => {}
            Next::TakeOut => self.take_out(),
            Next::Store(mark) => {
                let began = Instant::now();
                match self.store(&served.updates).await {
                    Ok(bytes) => self.stored(mark, bytes),
                    Err(error) => self.complain(error),
                }
                self.not_before = Instant::now() + REPLACE_EVERY.max(began.elapsed() * REST);
            }
        }
    }

    /// The first is stored at once.
    fn next(&mut self, report: &Report, published: &Published, now: Instant) -> Next {
        let saved = &report.saved;
        if !saved.unsaved {
            return if self.there().is_empty() { Next::Nothing } else { Next::TakeOut };
        }
        // Without an error it is about to be saved.
        if saved.error.is_none() || !published.has_table() || now < self.not_before {
            return Next::Nothing;
        }
        let mark = Mark::of(report, published);
        if self.holds.as_ref() == Some(&mark) { Next::Nothing } else { Next::Store(mark) }
    }

    /// Where it is not known every name is taken for one: what is not there is taken out without harm.
    fn there(&mut self) -> &mut Vec<&'static str> {
        self.there.get_or_insert_with(|| match self.note.names() {
            Some(noted) => noted.iter().filter_map(|name| known(name)).collect(),
            None => NAMES.to_vec(),
        })
    }

    async fn store(&mut self, updates: &Updates) -> Result<u64, KeepError> {
        if !fits(self.overload.readings().memory, updates.sizes().documents_bytes) {
            return Err(KeepError::NoRoom);
        }
        let (image, bytes) = updates.image(sealed::memory("holdgate-table")?).await?;
        let image = sealed::seal(image)?;
        let [first, _] = NAMES;
        let name = NAMES.into_iter().find(|name| !self.there().contains(name)).unwrap_or(first);
        let others: Vec<_> = self.there().iter().copied().filter(|other| *other != name).collect();
        let all: Vec<_> = others.iter().copied().chain([name]).collect();
        self.note_down(&all);
        self.there = Some(all);
        descriptor_store::keep(name, &[image])?;
        descriptor_store::forget(&others);
        self.note_down(&[name]);
        self.there = Some(vec![name]);
        Ok(bytes)
    }

    fn stored(&mut self, mark: Mark, bytes: u64) {
        if self.holds.is_none() {
            tracing::warn!(bytes, "the disk does not have the table: the service manager keeps it meanwhile");
        }
        (self.holds, self.complained) = (Some(mark), false);
    }

    fn complain(&mut self, error: KeepError) {
        if !self.complained {
            let why = format!("{:#}", anyhow::Error::from(error));
            tracing::error!(
                why,
                "the disk does not have the table, and it cannot be kept elsewhere: a restart may lose it"
            );
        }
        self.complained = true;
    }

    fn take_out(&mut self) {
        descriptor_store::forget(self.there().iter());
        self.there().clear();
        if self.holds.take().is_some() {
            tracing::info!("the disk has the table: the service manager does not keep it any more");
        }
        if let Err(error) = self.note.remove() {
            tracing::warn!(%error, "the note stays that the service manager keeps a table");
        }
    }

    fn note_down(&self, names: &[&str]) {
        if let Err(error) = self.note.write(names) {
            tracing::warn!(%error, "that the service manager keeps a table cannot be noted: a restart may be refused");
        }
    }
}

impl Keeping {
    /// This process ends, and another may follow: what is served now is to be there for it.
    pub(super) async fn leave(self) {
        let Some(task) = self.task else { return };
        // ignored: a task that broke has nothing to be told
        let _ = self.stop.send(());
        if timeout(LAST_WITHIN, task).await.is_err() {
            tracing::warn!("what was served last could not be kept for the next process in time");
        }
    }

    /// The next process looks after it, or none follows. There is nobody to [`Keeping::leave`] anything any more.
    pub(super) fn end(self) -> Option<Self> {
        if let Some(task) = self.task {
            task.abort();
        }
        None
    }
}

impl Mark {
    fn of(report: &Report, published: &Published) -> Self {
        let from = &published.provenance;
        Self {
            served: (from.epoch.clone(), from.generation, published.table.digest()),
            received: (report.received.clone(), report.received_digest),
            held: (report.held.generation, report.held.total),
            invalid: report.invalid_total,
            tombstones: report.tombstones,
            pin: report.pin.clone(),
            retired: report.retired.clone(),
        }
    }
}

/// Whether there is memory for an image of a table with `documents` bytes of documents.
fn fits(memory: Share, documents: u64) -> bool {
    let used = memory.used.saturating_add(documents.saturating_mul(COPIES));
    memory.of == 0 || used <= memory.of / 100 * MOST_PERCENT
}

#[cfg(test)]
mod tests;
