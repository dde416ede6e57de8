//! What is known of the states that are kept, so that a history need not be read from the folder.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{
    model::{Digest, Provenance},
    state::{Meta, State},
};

/// States remembered at most: more than the four journals kept have changes, unless those are tiny.
const MAX_KNOWN: usize = 32 << 10;

/// Shared between the store and its archives.
#[derive(Clone, Debug, Default)]
pub(super) struct Known(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
pub(super) struct Inner {
    /// By their numbers.
    pub(super) states: BTreeMap<u64, Entry>,
    /// All from this number on are there.
    pub(super) from: Option<u64>,
}

/// One state.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    pub(super) provenance: Provenance,
    /// Apps and digest; `None` where only the change is known.
    pub(super) table: Option<(u64, Digest)>,
}

impl Entry {
    pub(super) fn of(state: &State) -> Self {
        let table = Some((state.table.len() as u64, state.table.digest()));
        Self { provenance: state.meta.provenance.clone(), table }
    }
}

impl Known {
    pub(super) fn get(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A state was found or made.
    pub(super) fn note(&self, number: u64, state: &State) {
        self.get().put(number, Entry::of(state));
    }

    /// A whole state was written.
    pub(super) fn whole(&self, number: u64, state: &State) {
        self.note(number, state);
    }

    /// A change was appended.
    pub(super) fn append(&self, number: u64, meta: &Meta) {
        self.get().put(number, Entry { provenance: meta.provenance.clone(), table: None });
    }

    /// What is older is not kept any more.
    pub(super) fn forget_before(&self, number: u64) {
        let mut known = self.get();
        known.states = known.states.split_off(&number);
    }

    /// What is newer was set aside.
    pub(super) fn forget_after(&self, number: u64) {
        self.get().states.split_off(&number.saturating_add(1));
    }
}

impl Inner {
    pub(super) fn put(&mut self, number: u64, entry: Entry) {
        self.from.get_or_insert(number);
        self.states.insert(number, entry);
        while self.states.len() > MAX_KNOWN {
            self.states.pop_first();
            self.from = self.states.first_key_value().map(|(first, _)| *first);
        }
    }
}
