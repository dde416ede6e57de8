//! Chance that can be repeated: the seed is printed, and `HOLDGATE_SEED` sets it.

use std::{
    hash::{BuildHasher, RandomState},
    time::Duration,
};

/// A source of numbers (SplitMix64).
#[derive(Debug)]
pub struct Random(u64);

impl Random {
    /// Another one in each run, or that of `HOLDGATE_SEED`.
    #[must_use]
    pub fn new() -> Self {
        let given = std::env::var("HOLDGATE_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = given.unwrap_or_else(|| RandomState::new().hash_one(0));
        println!("HOLDGATE_SEED={seed}");
        Self(seed)
    }

    /// Another source, which follows from this one.
    #[must_use]
    pub fn another(&mut self) -> Self {
        Self(self.number())
    }

    /// Any number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let x = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        x ^ (x >> 31)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.number() % end.max(1)
    }

    /// A time below `end`.
    pub fn within(&mut self, end: Duration) -> Duration {
        Duration::from_micros(self.below(u64::try_from(end.as_micros()).unwrap_or(u64::MAX)))
    }
}

impl Default for Random {
    fn default() -> Self {
        Self::new()
    }
}
