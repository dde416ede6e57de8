//! The hash of ids and hosts: seeded, so that nobody can choose hosts that collide.

use std::{
    collections::hash_map::RandomState,
    fmt,
    hash::{BuildHasher, Hasher},
};

use foldhash::{SharedSeed, quality::FoldHasher};

/// What [`TableHash::check`] hashes: texts of either side of 16 bytes, where foldhash changes its way.
const CHECKED: [&[u8]; 3] =
    [b"x", b"shop.example.com", b"a host that is longer than the blocks foldhash reads at once"];

/// See the module. The same seed hashes alike in every process of the same version.
#[derive(Clone)]
pub(super) struct TableHash {
    seed: u64,
    shared: SharedSeed,
}

impl TableHash {
    pub(super) fn new(seed: u64) -> Self {
        Self { seed, shared: SharedSeed::from_u64(seed) }
    }

    /// Of a seed nobody knows: the standard library takes its keys from the operating system.
    pub(super) fn random() -> Self {
        Self::new(RandomState::new().build_hasher().finish())
    }

    pub(super) fn seed(&self) -> u64 {
        self.seed
    }

    pub(super) fn of(&self, text: &[u8]) -> u64 {
        let mut hasher = FoldHasher::with_seed(self.seed, &self.shared);
        hasher.write(text);
        hasher.finish()
    }

    /// What it makes of fixed texts. Another version's hash may differ; then this number does.
    pub(super) fn check(&self) -> u64 {
        CHECKED.iter().fold(0, |sum: u64, text| sum.rotate_left(1) ^ self.of(text))
    }
}

impl fmt::Debug for TableHash {
    /// Not the seed: whoever knows it can choose hosts that collide.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TableHash")
    }
}
