//! A hash set in small parts that are shared until they change.
//!
//! Two levels of 64: a clone is one reference count, and changing one entry of a clone copies 64 pointers, 64 pointers
//! and one leaf (about 250 entries of a million). It owns no hash function: the caller hashes, once, and says what
//! equals what.

use std::{array, sync::Arc};

use hashbrown::{HashTable, hash_table::Entry};

/// Children of a level. Measured at a million routes: publishing one change took 9 us with 64 x 64, 39 ms with one flat
/// map (design of the table, November 2026).
const FAN: usize = 64;
/// `FAN` as a number of hash bits.
const FAN_BITS: u32 = FAN.trailing_zeros();
/// Where the bits that choose the leaf start. hashbrown takes the lowest for the bucket and the seven highest for the
/// tag, so these are from the middle.
const FIRST_BIT: u32 = 32;

type Leaf<T> = HashTable<T>;
type Branch<T> = [Arc<Leaf<T>>; FAN];

/// The set. Entries are found by hash and a comparison.
#[derive(Clone)]
pub(super) struct Shards<T> {
    root: Arc<[Arc<Branch<T>>; FAN]>,
    len: usize,
}

impl<T> Default for Shards<T> {
    fn default() -> Self {
        let leaf = Arc::new(Leaf::new());
        let branch = Arc::new(array::from_fn(|_| Arc::clone(&leaf)));
        Self { root: Arc::new(array::from_fn(|_| Arc::clone(&branch))), len: 0 }
    }
}

impl<T> Shards<T> {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    #[inline]
    pub(super) fn find(&self, hash: u64, equals: impl FnMut(&T) -> bool) -> Option<&T> {
        if self.len == 0 {
            return None;
        }
        let (branch, leaf) = place(hash);
        self.root.get(branch)?.get(leaf)?.find(hash, equals)
    }

    /// All entries of the leaves from this one on, each with the number of its leaf. The order stays while nothing
    /// changes.
    pub(super) fn iter_from(&self, leaf: usize) -> impl Iterator<Item = (usize, &T)> {
        let leaves = if self.len == 0 { 0 } else { FAN * FAN };
        let found = |number: usize| Some((number, self.root.get(number / FAN)?.get(number % FAN)?));
        (leaf..leaves).filter_map(found).flat_map(|(number, leaf)| leaf.iter().map(move |entry| (number, entry)))
    }
}

impl<T: Clone> Shards<T> {
    /// Puts `entry` in the place of the one that equals it, or adds it. `rehash` is the hash of an entry, for when the
    /// leaf grows.
    pub(super) fn replace(&mut self, hash: u64, entry: T, equals: impl FnMut(&T) -> bool, rehash: impl Fn(&T) -> u64) {
        let Some(leaf) = self.leaf_mut(hash) else { return };
        match leaf.entry(hash, equals, rehash) {
            Entry::Occupied(mut there) => *there.get_mut() = entry,
            Entry::Vacant(place) => {
                place.insert(entry);
                self.len += 1;
            }
        }
    }

    /// Takes out the entry, if it is there. Nothing is copied when it is not.
    pub(super) fn remove(&mut self, hash: u64, equals: impl Fn(&T) -> bool) -> Option<T> {
        self.find(hash, &equals)?;
        let (entry, _) = self.leaf_mut(hash)?.find_entry(hash, equals).ok()?.remove();
        self.len -= 1;
        Some(entry)
    }

    fn leaf_mut(&mut self, hash: u64) -> Option<&mut Leaf<T>> {
        let (branch, leaf) = place(hash);
        let branch = Arc::make_mut(&mut self.root).get_mut(branch)?;
        Some(Arc::make_mut(Arc::make_mut(branch).get_mut(leaf)?))
    }
}

/// Which branch and which of its leaves. Both are below `FAN`, so looking them up never fails.
fn place(hash: u64) -> (usize, usize) {
    let mask = FAN as u64 - 1;
    let bits = hash >> FIRST_BIT;
    ((bits & mask) as usize, ((bits >> FAN_BITS) & mask) as usize)
}

#[cfg(test)]
impl<T> Shards<T> {
    /// How many leaves are the same memory in both.
    pub(super) fn shared_leaves(&self, other: &Self) -> usize {
        let leaves =
            |shards: &Self| shards.root.iter().flat_map(|branch| branch.iter()).map(Arc::as_ptr).collect::<Vec<_>>();
        leaves(self).iter().zip(leaves(other)).filter(|(a, b)| **a == *b).count()
    }

    pub(super) fn largest_leaf(&self) -> usize {
        self.root.iter().flat_map(|branch| branch.iter()).map(|leaf| leaf.len()).max().unwrap_or_default()
    }
}
