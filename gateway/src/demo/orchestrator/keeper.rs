//! Keeps the table what the folder says, and the state file what the table says.
//!
//! It has a thread of its own, so that reading 100,000 files does not make the calls wait. Invariants: a document that
//! is invalid or half-written keeps the app's last version; nothing is published from a folder that cannot be read;
//! and no generation is told that the state file does not reserve.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use routing_cache::{
    limits::Limits,
    model::{AppId, Epoch, Generation},
    wire::parse_document,
};
use tokio::time::sleep;

use super::{
    book::Book,
    desk::{Desk, Inner},
    state_file::{Saved, StateFile},
};
use crate::{
    clock,
    orchestrator::{
        Source,
        folder::{Document, Reading},
    },
};

/// Generations that are reserved with every save. A restart skips what is left of them; 2^64 allow 10^13 restarts.
const RESERVE: u64 = 1_000_000;
/// A folder that could not be read, or a table that could not be saved, is tried again after this.
const RETRY_AFTER: Duration = Duration::from_secs(2);
/// Problems that are logged of one reading.
const MAX_LOGGED: usize = 20;

/// The keeper of one folder.
#[derive(Debug)]
pub(super) struct Keeper {
    desk: Arc<Desk>,
    source: Source,
    limits: Limits,
    file: StateFile,
    /// Up to where generations may be told. `None`: nothing is saved, and the next start has another epoch.
    reserved: Option<Generation>,
    started: Instant,
    told: Vec<String>,
}

/// What a reading makes of the table.
#[derive(Debug, Default)]
struct Wanted {
    apps: BTreeMap<AppId, Bytes>,
    problems: Vec<String>,
    /// Apps that are known to exist, and whose document is not known: nothing can be told while there are any.
    unknown: Vec<String>,
}

impl Keeper {
    /// Loads the state file and makes the desk. A state file that cannot be used costs the epoch, and is told.
    pub(super) fn new(apps: PathBuf, state_file: Option<PathBuf>, limits: Limits) -> Self {
        let file = StateFile::new(state_file, &apps);
        let (book, reserved) = open(&file);
        Self {
            desk: Arc::new(Desk::new(book)),
            source: Source::new(apps, limits),
            limits,
            file,
            reserved,
            started: Instant::now(),
            told: Vec::new(),
        }
    }

    /// What it shares.
    pub(super) fn desk(&self) -> Arc<Desk> {
        Arc::clone(&self.desk)
    }

    /// Follows the folder for ever.
    ///
    /// # Cancel safety
    /// Safe: what was not published is read again by the next keeper.
    pub(super) async fn run(mut self) {
        loop {
            if self.round().await {
                self.source.changed().await;
            } else {
                sleep(RETRY_AFTER).await;
            }
        }
    }

    /// Reads and publishes once. False when it has to be tried again.
    pub(super) async fn round(&mut self) -> bool {
        let reading = match self.source.read().await {
            Ok(reading) => reading,
            Err(error) => return self.refuse(format!("the folder of apps cannot be read: {error}")),
        };
        let wanted = wanted(&reading, &self.desk.lock(), &self.limits);
        if let Some(first) = wanted.unknown.first() {
            let why = format!("{first} and no version of before is known ({} in all)", wanted.unknown.len());
            return self.refuse(why);
        }
        self.tell(wanted.problems);
        self.publish(wanted.apps)
    }

    fn publish(&mut self, wanted: BTreeMap<AppId, Bytes>) -> bool {
        let (generation, cost) = {
            let inner = self.desk.lock();
            (inner.book.generation(), inner.book.cost(&wanted))
        };
        // Told after a crash under another meaning, a generation would be worse than a late change.
        if self.reserved.is_some_and(|reserved| generation.0.saturating_add(cost) >= reserved.0) && !self.save(cost) {
            return self.refuse(format!("{} cannot be written, and its generations are used up", self.name()));
        }
        if self.desk.publish(wanted, self.started.elapsed()) {
            let inner = self.desk.lock();
            tracing::info!(generation = inner.book.generation().0, apps = inner.book.len(), "table changed");
            drop(inner);
            self.save(0);
        }
        true
    }

    /// Saves the table and reserves what follows. True when that worked, or nothing is saved at all.
    fn save(&mut self, cost: u64) -> bool {
        if self.reserved.is_none() {
            return true;
        }
        let saved = {
            let inner = self.desk.lock();
            inner.book.saved(reserve(inner.book.generation(), cost))
        };
        match self.file.save(&saved) {
            Ok(()) => {
                self.reserved = Some(saved.reserved);
                true
            }
            Err(error) => {
                tracing::warn!(file = %self.name(), %error, "the state cannot be saved");
                false
            }
        }
    }

    fn refuse(&mut self, why: String) -> bool {
        self.tell(vec![why.clone()]);
        self.desk.trouble(why);
        false
    }

    /// Logs what was not logged the last time.
    fn tell(&mut self, problems: Vec<String>) {
        for problem in problems.iter().filter(|p| !self.told.contains(p)).take(MAX_LOGGED) {
            tracing::warn!(problem, "app documents");
        }
        self.told = problems;
    }

    fn name(&self) -> String {
        self.file.path().display().to_string()
    }
}

/// The table to start from, and how far its generations may go.
fn open(file: &StateFile) -> (Book, Option<Generation>) {
    let book = match file.load() {
        Ok(saved) => restored(saved),
        Err(error) => {
            tracing::warn!(file = %file.path().display(), %error, "the state file cannot be used: a new epoch begins");
            Book::new(fresh_epoch())
        }
    };
    let saved = book.saved(reserve(book.generation(), 0));
    match file.save(&saved) {
        Ok(()) => (book, Some(saved.reserved)),
        Err(error) => {
            let file = file.path().display();
            tracing::warn!(%file, %error, "the state cannot be saved: every start begins a new epoch");
            (Book::new(fresh_epoch()), None)
        }
    }
}

fn restored(saved: Option<Saved>) -> Book {
    let epoch = saved.as_ref().and_then(|saved| Epoch::new(&saved.epoch).ok());
    match (saved, epoch) {
        (Some(saved), Some(epoch)) => Book::restore(epoch, &saved),
        _ => Book::new(fresh_epoch()),
    }
}

fn reserve(generation: Generation, cost: u64) -> Generation {
    Generation(generation.0.saturating_add(cost).saturating_add(RESERVE))
}

/// An epoch that no other start has had: the time, and chance for starts in one millisecond.
fn fresh_epoch() -> Epoch {
    let text = format!("{:x}-{:08x}", clock::wall().0, fastrand::u32(..));
    Epoch::new(&text).expect("invariant: hex digits and a hyphen are a valid epoch")
}

fn wanted(reading: &Reading, inner: &Inner, limits: &Limits) -> Wanted {
    let mut wanted = Wanted { problems: reading.problems.clone(), ..Wanted::default() };
    for (id, found) in &reading.apps {
        wanted.take(id, found, &inner.book, limits);
    }
    if let Some(why) = reading.partial() {
        wanted.keep_the_rest(&why, inner);
    }
    wanted
}

impl Wanted {
    fn take(&mut self, id: &AppId, found: &Document, book: &Book, limits: &Limits) {
        let known = book.app(id);
        match (judge(found, known.and_then(|app| app.document.as_ref()), limits), known) {
            (Ok(document), _) => {
                self.apps.insert(id.clone(), document);
            }
            (Err(why), None) => self.problems.push(format!("app {id}: {why}; it is left out")),
            (Err(why), Some(app)) => match &app.document {
                Some(document) => {
                    self.apps.insert(id.clone(), document.clone());
                    self.problems.push(format!("app {id}: {why}; its last version is kept"));
                }
                None => self.unknown.push(format!("app {id}: {why}")),
            },
        }
    }

    /// A file that is not whole may hold any app that was not found elsewhere.
    fn keep_the_rest(&mut self, why: &str, inner: &Inner) {
        if !inner.is_loaded() {
            self.unknown.push(why.to_owned());
        }
        for (id, _, document) in inner.book.apps() {
            self.apps.entry(id.clone()).or_insert_with(|| document.clone());
        }
        self.problems.push(format!("{why}; what it held is kept"));
    }
}

/// The document, when it is valid. What is served already is.
fn judge(found: &Document, known: Option<&Bytes>, limits: &Limits) -> Result<Bytes, String> {
    let document = match found {
        Document::Whole(document) => document,
        Document::Torn(_, why) => return Err(why.clone()),
    };
    if known == Some(document) {
        return Ok(document.clone());
    }
    if document.len() as u64 > limits.app_bytes {
        return Err(format!("is {} bytes long, the limit is {}", document.len(), limits.app_bytes));
    }
    parse_document(document).map_err(|error| error.to_string())?;
    Ok(document.clone())
}
