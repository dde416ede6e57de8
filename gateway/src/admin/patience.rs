//! How long a connection may last: a minute, or as long as a table moves over it, but not for ever.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::time::{Instant, sleep_until};

/// For a whole connection, and anew with each part of a table: so a client that does not read its answer gives its
/// place back.
const TIMEOUT: Duration = Duration::from_secs(60);
/// For a connection that a table moves over. The largest snapshot by default, 1 GiB, passes at 1.2 MiB a second.
pub(super) const LONGEST: Duration = Duration::from_secs(15 * 60);

/// The deadline of one connection. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct Patience {
    began: Instant,
    /// In milliseconds since `began`.
    until: Arc<AtomicU64>,
}

impl Patience {
    /// It begins now.
    pub(super) fn new() -> Self {
        let patience = Self { began: Instant::now(), until: Arc::default() };
        patience.extend();
        patience
    }

    /// Something has moved.
    pub(super) fn extend(&self) {
        let until = (self.began.elapsed() + TIMEOUT).min(LONGEST);
        self.until.store(u64::try_from(until.as_millis()).unwrap_or(u64::MAX), Relaxed);
    }

    /// Returns once it is over.
    pub(super) async fn over(&self) {
        loop {
            let until = self.began + Duration::from_millis(self.until.load(Relaxed));
            if until <= Instant::now() {
                return;
            }
            sleep_until(until).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waited(extensions: u32) -> Duration {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let patience = Patience::new();
            for _ in 0..extensions {
                tokio::time::advance(TIMEOUT / 2).await;
                patience.extend();
            }
            patience.over().await;
            patience.began.elapsed()
        })
    }

    #[test]
    fn a_connection_that_nothing_moves_over_ends_after_a_minute_and_a_busy_one_after_a_quarter_of_an_hour() {
        let close = |waited: Duration, expected: Duration| waited >= expected && waited < expected + TIMEOUT / 10;
        assert!(close(waited(0), TIMEOUT));
        assert!(close(waited(3), TIMEOUT * 5 / 2));
        assert!(close(waited(60), LONGEST.max(TIMEOUT * 30)));
    }
}
