//! Draining: told once, seen everywhere. It is never taken back.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use tokio_util::sync::CancellationToken;

/// Starts the drain. Held by the signal handler and the admin API.
#[derive(Clone, Debug, Default)]
pub struct Drain(Draining);

/// Sees the drain. Held by whatever must stop.
#[derive(Clone, Debug, Default)]
pub struct Draining {
    /// Beside the token, which has a lock: the watchdog looks, and waits for nobody.
    started: Arc<AtomicBool>,
    token: CancellationToken,
}

impl Drain {
    /// Starts it; a second call does nothing.
    pub fn start(&self) {
        self.0.started.store(true, Ordering::Release);
        self.0.token.cancel();
    }

    /// A view of it.
    #[must_use]
    pub fn watch(&self) -> Draining {
        self.0.clone()
    }
}

impl Draining {
    /// True once it has started.
    #[must_use]
    pub fn has_started(&self) -> bool {
        self.started.load(Ordering::Acquire)
    }

    /// Returns once it has started.
    ///
    /// # Cancel safety
    /// Safe: nothing is lost when the future is dropped.
    pub async fn started(&self) {
        self.token.cancelled().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drain_is_seen_by_every_watcher_and_never_taken_back() {
        let drain = Drain::default();
        let before = drain.watch();
        assert!(!before.has_started());
        drain.start();
        drain.start();
        assert!(before.has_started() && drain.watch().has_started());
    }
}
