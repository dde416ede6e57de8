//! Apps of one reader that are ready for requests: a bounded cache above the table's documents.
//!
//! It never serves another version than the one it is asked for: an app is taken from here only if it was made of the
//! same record (the same place of the same base, or the same memory above it), or of one with the same id, rev and bytes.
//! So what is here outlives a new base with the same apps.

use std::{
    fmt,
    hash::BuildHasher,
    sync::{Arc, Weak},
};

use foldhash::fast::RandomState;

use crate::{
    model::{App, AppRecord, Record},
    table::{Base, Place},
    wire::{self, DocumentError},
};

/// Apps a set holds: one line of the cache looks at two.
const WAYS: usize = 4;
/// Sets, a power of two: 16,384 apps in all. An app is about 1 KiB when it is compiled, so a worker holds 16 MiB of simple
/// apps at most; by Zipf's law these get four of five requests to a million apps.
const SETS: usize = 4096;
/// Bytes of the documents of all these apps: 2 KiB each, about 30 times a simple document. It bounds what large ones take.
pub(super) const DOCUMENT_BYTES: usize = 32 << 20;

/// See the module.
pub(super) struct Compiled {
    /// None before the first app is asked for.
    sets: Vec<[Option<Slot>; WAYS]>,
    hash: RandomState,
    /// The base whose places are known. Weak: that an old table goes is not to be waited for here.
    base: Weak<Base>,
    /// How many bases there were.
    base_number: u32,
    document_bytes: usize,
    /// Where the search for bytes to be freed goes on.
    hand: usize,
}

struct Slot {
    hash: u64,
    origin: Origin,
    /// Asked for since somebody last looked for a slot to be freed.
    used: bool,
    app: Arc<App>,
}

/// What an app was last seen to be made of.
enum Origin {
    /// The record at a place of a base.
    Base { number: u32, place: u32 },
    /// A record above it. While it is held here, no other stands where it does.
    Own(AppRecord),
}

impl Default for Compiled {
    fn default() -> Self {
        let (hash, base) = (RandomState::default(), Weak::new());
        Self { sets: Vec::new(), hash, base, base_number: 0, document_bytes: 0, hand: 0 }
    }
}

impl Clone for Compiled {
    /// An empty one: what is here is one thread's.
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl Compiled {
    /// The app of `record`, which stands at `place` of a table above `base`.
    pub(super) fn app(
        &mut self,
        base: &Arc<Base>,
        place: Place<'_>,
        record: Record<'_>,
    ) -> Result<Arc<App>, DocumentError> {
        if !std::ptr::eq(self.base.as_ptr(), Arc::as_ptr(base)) {
            (self.base, self.base_number) = (Arc::downgrade(base), self.base_number.wrapping_add(1));
        }
        let (hash, number) = (self.hash.hash_one(record.id_bytes()), self.base_number);
        let slots = self.sets.get_mut(set_of(hash)).into_iter().flatten().flatten();
        for slot in slots.filter(|slot| slot.hash == hash) {
            let same = slot.origin.is(number, place);
            if same || slot.is(record) {
                if !same {
                    slot.origin = Origin::of(number, place);
                }
                slot.used = true;
                return Ok(Arc::clone(&slot.app));
            }
        }
        self.compile(hash, place, record)
    }

    #[cold]
    fn compile(&mut self, hash: u64, place: Place<'_>, record: Record<'_>) -> Result<Arc<App>, DocumentError> {
        // What fails is not kept: it is rare (another version took the document in), and soon replaced.
        let app = Arc::new(wire::compile(record)?);
        if app.document.len() <= DOCUMENT_BYTES {
            let origin = Origin::of(self.base_number, place);
            self.keep(Slot { hash, origin, used: true, app: Arc::clone(&app) });
        }
        Ok(app)
    }

    fn keep(&mut self, slot: Slot) {
        if self.sets.is_empty() {
            self.sets.resize_with(SETS, Default::default);
        }
        self.document_bytes += slot.app.document.len();
        let Some(set) = self.sets.get_mut(set_of(slot.hash)) else { return };
        let number = victim(set, &slot);
        if let Some(there) = set.get_mut(number) {
            let freed = there.replace(slot);
            self.document_bytes -= freed.map_or(0, |freed| freed.app.document.len());
        }
        self.free_bytes();
    }

    /// Frees slots that were not used of late until the documents are within their bound. Twice around is enough: the
    /// second time nothing counts as used.
    fn free_bytes(&mut self) {
        for _ in 0..2 * SETS * WAYS {
            if self.document_bytes <= DOCUMENT_BYTES {
                return;
            }
            let at = self.hand;
            self.hand = (at + 1) % (SETS * WAYS);
            let Some(there) = self.sets.get_mut(at / WAYS).and_then(|set| set.get_mut(at % WAYS)) else { return };
            if let Some(freed) = there.take_if(|slot| !std::mem::take(&mut slot.used)) {
                self.document_bytes -= freed.app.document.len();
            }
        }
    }
}

/// Which slot of a set is to go for `slot`: that of an older version, one that is free, one that was not used of late.
fn victim(set: &mut [Option<Slot>; WAYS], slot: &Slot) -> usize {
    let older = |there: &Slot| there.hash == slot.hash && there.app.id == slot.app.id;
    if let Some(older) = set.iter().position(|there| there.as_ref().is_some_and(older)) {
        return older;
    }
    let unused = set.iter().position(|there| there.as_ref().is_none_or(|there| !there.used));
    unused.unwrap_or_else(|| {
        set.iter_mut().flatten().for_each(|there| there.used = false);
        (slot.hash >> 32) as usize % WAYS
    })
}

fn set_of(hash: u64) -> usize {
    hash as usize % SETS
}

impl Slot {
    /// Whether the app was made of the very same version, if not of the same record.
    fn is(&self, record: Record<'_>) -> bool {
        let app = &self.app;
        app.rev == record.rev() && app.id.as_str().as_bytes() == record.id_bytes() && app.document == record.document()
    }
}

impl Origin {
    fn of(number: u32, place: Place<'_>) -> Self {
        match place {
            Place::Base(place) => Self::Base { number, place },
            Place::Own(record) => Self::Own(record.clone()),
        }
    }

    fn is(&self, number: u32, place: Place<'_>) -> bool {
        match (self, place) {
            (Self::Base { number: there, place }, Place::Base(asked)) => (*there, *place) == (number, asked),
            (Self::Own(there), Place::Own(asked)) => there.is(asked),
            _ => false,
        }
    }
}

impl fmt::Debug for Compiled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Compiled").field("document_bytes", &self.document_bytes).finish_non_exhaustive()
    }
}

/// Apps that are kept at most.
#[cfg(test)]
pub(super) const APPS: usize = SETS * WAYS;

#[cfg(test)]
impl Compiled {
    /// How many apps are kept, and the bytes of their documents.
    pub(super) fn kept(&self) -> (usize, usize) {
        let all = || self.sets.iter().flatten().flatten();
        let bytes = all().map(|slot| slot.app.document.len()).sum();
        assert_eq!(bytes, self.document_bytes);
        (all().count(), bytes)
    }
}
