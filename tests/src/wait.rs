//! Waiting for a condition, never for a time.

use std::{
    thread,
    time::{Duration, Instant},
};

/// How long a condition may take on a loaded machine before the test has failed.
pub const DEADLINE: Duration = Duration::from_secs(20);
/// From one look to the next.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Waits until `condition` yields a value.
///
/// # Panics
/// When it does not within [`DEADLINE`]; `what` says what was waited for.
pub fn until<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < deadline, "waited {DEADLINE:?} for {what}");
        thread::sleep(LOOK_EVERY);
    }
}
