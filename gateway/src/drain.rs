//! Draining: told once, seen everywhere. It is never taken back.

use tokio_util::sync::CancellationToken;

/// Starts the drain. Held by the signal handler and the admin API.
#[derive(Clone, Debug, Default)]
pub struct Drain(CancellationToken);

/// Sees the drain. Held by whatever must stop.
#[derive(Clone, Debug)]
pub struct Draining(CancellationToken);

impl Drain {
    /// Starts it; a second call does nothing.
    pub fn start(&self) {
        self.0.cancel();
    }

    /// A view of it.
    #[must_use]
    pub fn watch(&self) -> Draining {
        Draining(self.0.clone())
    }
}

impl Draining {
    /// True once it has started.
    #[must_use]
    pub fn has_started(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Returns once it has started.
    ///
    /// # Cancel safety
    /// Safe: nothing is lost when the future is dropped.
    pub async fn started(&self) {
        self.0.cancelled().await;
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
