//! An index: from a hash to the places of records, in buckets of a cache line each.
//!
//! It knows hashes and places only; whether a place is the one that is wanted, the caller says. What it holds is never
//! trusted: a damaged bucket leads to places that the caller refuses, and no search is longer than the index.
//!
//! A bucket, little-endian:
//!
//! | bytes | |
//! |---|---|
//! | 12 | tags: the lowest byte of the hash of each entry |
//! | 4 * 12 | places |
//! | 1 | entries in it |
//! | 1 | reach: how many buckets further on its entries may stand, 255 for any number |
//! | 2 | filter: a bit of the hash of each entry that stands further on |
//!
//! An entry that finds its bucket full goes into the next that is not. With the filter a miss reads a second line only
//! for about one look-up in 35 (simulated at the load below).

use std::{collections::TryReserveError, io};

use crate::memory;

/// A cache line of an index.
pub type Bucket = [u8; BUCKET];

/// Bytes of a bucket: a cache line.
pub(super) const BUCKET: usize = 64;
/// Entries of a bucket.
const SLOTS: usize = 12;
/// Where the number of entries stands.
const COUNT: usize = 60;
/// Where the reach stands.
const REACH: usize = 61;
/// Where the filter stands.
const FILTER: usize = 62;
/// A reach that has no end but the index's.
const UNBOUNDED: u8 = u8::MAX;

/// Tenths of an entry for each bucket: 0.8 of its room. A higher load saves little memory and makes searches longer.
const LOAD_TENTHS: u64 = 96;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Index {
    /// The buckets, from `start` on. Reserved once and never moved, so that they stay on lines of the cache.
    bytes: Vec<u8>,
    start: usize,
    buckets: usize,
}

/// Buckets for so many entries.
pub(super) fn buckets_for(entries: u64) -> u64 {
    entries.saturating_mul(10).div_ceil(LOAD_TENTHS)
}

impl Index {
    /// Room for so many buckets, which are to be appended.
    pub(super) fn reserve(buckets: usize) -> Result<Self, TryReserveError> {
        let mut bytes: Vec<u8> = Vec::new();
        if buckets > 0 {
            bytes.try_reserve_exact(buckets.saturating_add(1).saturating_mul(BUCKET))?;
            // ignored: it then comes page by page.
            let _ = memory::provide(&mut bytes);
        }
        let start = bytes.as_ptr().align_offset(BUCKET).min(bytes.capacity());
        bytes.resize(start, 0);
        Ok(Self { bytes, start, buckets })
    }

    /// Of so many empty buckets.
    pub(super) fn empty(buckets: usize) -> Self {
        // Zeroed by the allocator, which for so much is no work.
        let bytes = vec![0; if buckets > 0 { (buckets + 1) * BUCKET } else { 0 }];
        let start = bytes.as_ptr().align_offset(BUCKET).min(bytes.len());
        Self { bytes, start, buckets }
    }

    /// Appends whole buckets. False where they are more than there is room for, or not whole.
    pub(super) fn append(&mut self, bytes: &[u8]) -> bool {
        let room = self.start + self.buckets * BUCKET - self.bytes.len();
        let fits = bytes.len() <= room && bytes.len().is_multiple_of(BUCKET);
        if fits {
            self.bytes.extend_from_slice(bytes);
        }
        fits
    }

    /// Whether every bucket has come.
    pub(super) fn is_whole(&self) -> bool {
        self.buckets().len() == self.buckets
    }

    pub(super) fn buckets(&self) -> &[Bucket] {
        let (buckets, _) = self.bytes.get(self.start..).unwrap_or_default().as_chunks();
        buckets.get(..self.buckets).unwrap_or(buckets)
    }

    /// Bytes of memory it takes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes.capacity()
    }

    /// See [`memory::lay_on_huge_pages`].
    pub(super) fn lay_on_huge_pages(&self) -> io::Result<()> {
        memory::lay_on_huge_pages(&self.bytes)
    }

    /// What `wanted` makes of the first place of this hash for which it makes something.
    #[inline]
    pub(super) fn find<T>(&self, hash: u64, mut wanted: impl FnMut(u32) -> Option<T>) -> Option<T> {
        let home = self.home(hash);
        let bucket = self.bucket(home)?;
        if let Some(found) = search(bucket, hash, &mut wanted) {
            return Some(found);
        }
        let reach = byte(bucket, REACH);
        if reach == 0 || filter(bucket) & filter_bit(hash) == 0 {
            return None;
        }
        let reach = if reach == UNBOUNDED { self.buckets } else { reach.into() };
        (1..=reach.min(self.buckets)).find_map(|step| search(self.bucket(self.after(home, step))?, hash, &mut wanted))
    }

    /// Reads the bucket of a hash, so that it is at hand soon.
    pub(super) fn touch(&self, hash: u64) -> u8 {
        self.bucket(self.home(hash)).map_or(0, |bucket| byte(bucket, COUNT))
    }

    /// Adds an entry. False when every bucket is full.
    pub(super) fn insert(&mut self, hash: u64, place: u32) -> bool {
        let home = self.home(hash);
        let Some(step) = (0..self.buckets).find(|step| self.put(self.after(home, *step), hash, place)) else {
            return false;
        };
        if let Some(bucket) = self.bucket_mut(home).filter(|_| step > 0) {
            let filter = filter(bucket) | filter_bit(hash);
            let reach = u8::try_from(step).unwrap_or(UNBOUNDED).max(byte(bucket, REACH));
            if let Some([there, low, high]) = bucket.last_chunk_mut() {
                *there = reach;
                [*low, *high] = filter.to_le_bytes();
            }
        }
        true
    }

    fn put(&mut self, number: usize, hash: u64, place: u32) -> bool {
        let Some(bucket) = self.bucket_mut(number) else { return false };
        let slot = usize::from(byte(bucket, COUNT));
        if slot >= SLOTS {
            return false;
        }
        let at = SLOTS + 4 * slot;
        if let Some(tag) = bucket.get_mut(slot) {
            *tag = tag_of(hash);
        }
        if let Some(there) = bucket.get_mut(at..at + 4) {
            there.copy_from_slice(&place.to_le_bytes());
        }
        if let Some(count) = bucket.get_mut(COUNT) {
            *count += 1;
        }
        true
    }

    /// The highest bits choose the bucket, by multiplication: the number of buckets is no power of two.
    fn home(&self, hash: u64) -> usize {
        ((u128::from(hash) * self.buckets as u128) >> 64) as usize
    }

    fn after(&self, home: usize, step: usize) -> usize {
        let number = home + step;
        if number >= self.buckets { number - self.buckets } else { number }
    }

    #[inline]
    fn bucket(&self, number: usize) -> Option<&Bucket> {
        self.bytes.get(self.start + number * BUCKET..)?.first_chunk()
    }

    fn bucket_mut(&mut self, number: usize) -> Option<&mut Bucket> {
        self.bytes.get_mut(self.start + number * BUCKET..)?.first_chunk_mut()
    }
}

#[inline]
fn search<T>(bucket: &Bucket, hash: u64, wanted: &mut impl FnMut(u32) -> Option<T>) -> Option<T> {
    let mut hits = matches(bucket, tag_of(hash));
    while hits != 0 {
        let slot = hits.trailing_zeros() as usize / 8;
        let place =
            bucket.get(SLOTS + 4 * slot..).and_then(<[u8]>::first_chunk).map(|place| u32::from_le_bytes(*place))?;
        if let Some(found) = wanted(place) {
            return Some(found);
        }
        hits &= hits - 1;
    }
    None
}

/// The highest bit of each byte of the tags that is this one; sometimes of one behind it too, which costs a look more.
#[inline]
fn matches(bucket: &Bucket, tag: u8) -> u128 {
    const LOWEST: u128 = u128::MAX / 0xff;
    const HIGHEST: u128 = LOWEST << 7;
    let Some(tags) = bucket.first_chunk() else { return 0 };
    let differ = u128::from_le_bytes(*tags) ^ (LOWEST * u128::from(tag));
    let used = (1 << (8 * usize::from(byte(bucket, COUNT)).min(SLOTS))) - 1;
    differ.wrapping_sub(LOWEST) & !differ & HIGHEST & used
}

fn tag_of(hash: u64) -> u8 {
    hash.to_le_bytes()[0]
}

fn filter(bucket: &Bucket) -> u16 {
    u16::from_le_bytes([byte(bucket, FILTER), byte(bucket, FILTER + 1)])
}

/// The four bits above the tag.
fn filter_bit(hash: u64) -> u16 {
    1 << ((hash >> 8) & 15)
}

#[inline]
fn byte(bucket: &Bucket, at: usize) -> u8 {
    bucket.get(at).copied().unwrap_or_default()
}
