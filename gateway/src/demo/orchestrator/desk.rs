//! What the keeper and the calls share: the table, whether it is ready, and what gateways have acknowledged.
//!
//! One lock, never held across an await, and for no longer than a table takes to be compared with a folder.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use routing_cache::{
    model::{AppId, Generation},
    wire::{ShrinkOk, StateAnswer, encode},
};
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::sync::watch;

use super::book::Book;

/// Gateways whose last ack is kept.
const MAX_GATEWAYS: usize = 1000;

/// Shared by reference between the threads.
#[derive(Debug)]
pub(super) struct Desk {
    inner: Mutex<Inner>,
    /// The generation, for long polls to wait for.
    changed: watch::Sender<Generation>,
}

/// What is under the lock.
#[derive(Debug)]
pub(super) struct Inner {
    pub(super) book: Book,
    /// Why the folder is not, or not any more, what the table says; `None` once it is.
    trouble: Option<String>,
    /// Whether the folder was read whole once.
    loaded: bool,
    /// Why an operator said that it is not ready.
    forced: Option<String>,
    acks: BTreeMap<String, Box<RawValue>>,
    snapshot: Option<Snapshot>,
}

/// The body of GET /v1/acks: each ack's own bytes.
#[derive(Serialize)]
struct Acks<'a> {
    acks: Vec<&'a RawValue>,
}

/// A snapshot's bytes, made once for all gateways that ask for it.
#[derive(Clone, Debug)]
pub(super) struct Snapshot {
    pub(super) generation: Generation,
    pub(super) ready: bool,
    pub(super) plain: Bytes,
    pub(super) gzip: Arc<tokio::sync::OnceCell<Bytes>>,
}

impl Desk {
    /// Not ready until the folder was read.
    pub(super) fn new(book: Book) -> Self {
        let changed = watch::Sender::new(book.generation());
        let inner = Inner {
            book,
            trouble: Some("the folder of apps has not been read yet".to_owned()),
            loaded: false,
            forced: None,
            acks: BTreeMap::new(),
            snapshot: None,
        };
        Self { inner: Mutex::new(inner), changed }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sees every later change of the table.
    pub(super) fn subscribe(&self) -> watch::Receiver<Generation> {
        self.changed.subscribe()
    }

    /// The folder was read, and these are its apps. True when the table changed.
    pub(super) fn publish(&self, wanted: BTreeMap<AppId, Bytes>, now: Duration) -> bool {
        let mut inner = self.lock();
        let changed = inner.book.apply(wanted, now);
        inner.loaded = true;
        inner.trouble = None;
        self.tell(inner);
        changed
    }

    /// The folder cannot be believed now.
    pub(super) fn trouble(&self, why: String) {
        self.lock().trouble = Some(why);
    }

    /// An operator says that it is, or is not, ready.
    pub(super) fn force(&self, not_ready: Option<String>) {
        self.lock().forced = not_ready;
    }

    /// An operator says that a shrink is meant.
    pub(super) fn announce(&self, ok: ShrinkOk) {
        let mut inner = self.lock();
        inner.book.announce(ok);
        self.tell(inner);
    }

    fn tell(&self, mut inner: MutexGuard<'_, Inner>) {
        let generation = inner.book.generation();
        if inner.snapshot.as_ref().is_some_and(|s| s.generation != generation) {
            inner.snapshot = None;
        }
        drop(inner);
        self.changed.send_if_modified(|last| std::mem::replace(last, generation) != generation);
    }
}

impl Inner {
    /// Whether there is anything to tell.
    pub(super) fn is_loaded(&self) -> bool {
        self.loaded
    }

    /// Why it is not ready, if it is not.
    pub(super) fn reason(&self) -> Option<&str> {
        self.forced.as_deref().or(self.trouble.as_deref())
    }

    pub(super) fn is_ready(&self) -> bool {
        self.reason().is_none()
    }

    /// The body of GET /v1/state.
    pub(super) fn state(&self) -> Vec<u8> {
        encode::state(&StateAnswer {
            epoch: self.book.epoch().clone(),
            generation: self.book.generation(),
            ready: self.is_ready(),
            reason: self.reason().map(str::to_owned),
            apps: self.book.len(),
            digest: self.book.digest(),
            bytes: self.book.bytes(),
        })
    }

    /// The snapshot, made now or before.
    pub(super) fn snapshot(&mut self) -> Snapshot {
        let (generation, ready) = (self.book.generation(), self.is_ready());
        if let Some(made) = self.snapshot.as_ref().filter(|s| s.generation == generation && s.ready == ready) {
            return made.clone();
        }
        let made = Snapshot { generation, ready, plain: self.encode(), gzip: Arc::default() };
        self.snapshot = Some(made.clone());
        made
    }

    fn encode(&self) -> Bytes {
        let book = &self.book;
        let (epoch, generation) = (book.epoch(), book.generation());
        let mut out = encode::snapshot_begin_shrunk(epoch, generation, self.is_ready(), book.len(), book.shrink_ok());
        for (id, rev, document) in book.apps() {
            encode::snapshot_app(&mut out, id.as_str(), rev, document);
        }
        out.extend(encode::snapshot_end(book.len(), book.digest()));
        Bytes::from(out)
    }

    /// Keeps a gateway's last ack. Beyond the bound no new gateway is taken in.
    pub(super) fn acknowledge(&mut self, gateway: String, ack: Box<RawValue>) {
        if self.acks.len() < MAX_GATEWAYS || self.acks.contains_key(&gateway) {
            self.acks.insert(gateway, ack);
        }
    }

    /// The body of GET /v1/acks.
    pub(super) fn acks(&self) -> Vec<u8> {
        let acks = Acks { acks: self.acks.values().map(AsRef::as_ref).collect() };
        serde_json::to_vec(&acks).expect("invariant: memory takes every byte, and the acks are JSON")
    }
}
