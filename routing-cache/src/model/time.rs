//! Time as an argument: this library never asks for it.

use std::time::Duration;

/// Milliseconds since the Unix epoch; for what is shown to people and kept on disk. It may jump.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WallTime(pub u64);

/// One moment on both clocks, taken once by the caller for each decision.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Time since an arbitrary start; it never goes back. All waiting is measured by it.
    pub monotonic: Duration,
    /// The time of day.
    pub wall: WallTime,
}
