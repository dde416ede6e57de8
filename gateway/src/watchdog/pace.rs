//! How often it is looked, how long is waited, and what of it makes a verdict.

use std::time::Duration;

/// The times of the watchdog.
///
/// With systemd they follow from WATCHDOG_USEC: it is fed at every half of it, from looks an eighth apart, so that three
/// looks may fail for a busy moment before the time is over; and a probe is waited for a quarter of it at most, so that
/// a single slow one leaves time for the next. What hangs from some moment on is not fed after it, but for the time a heartbeat
/// counts as fresh; so systemd acts within WATCHDOG_USEC and less than a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// From one look to the next.
    pub(super) every: Duration,
    /// How long a probe may take.
    pub(super) patience: Duration,
    /// A heartbeat that is older is not fed on. Three ticks of a worker (`net::wheel::TICK`).
    pub(super) fresh: Duration,
    /// What has shown no progress for so long hangs.
    pub(super) hung_after: Duration,
    /// How often somebody waits to be fed.
    pub(super) feed_every: Option<Duration>,
}

/// A second between two probes costs nothing that could be measured.
const EVERY: Duration = Duration::from_secs(1);
/// A probe that comes back takes less than a millisecond where there is a core for it; this is a machine in trouble.
const PATIENCE: Duration = Duration::from_secs(2);
const FRESH: Duration = Duration::from_millis(750);
/// Twenty ticks of a worker, or two to three probes in a row. No turn of a worker's loop waits for anything, so this is no
/// busy moment.
const HUNG_AFTER: Duration = Duration::from_secs(5);
/// What a WATCHDOG_USEC of next to nothing does not go below: a probe has to wait for a worker that pauses accepting.
const LEAST: Duration = Duration::from_millis(250);
/// Once a look has used the patience up, each further probe of it still has so long.
pub(super) const FURTHER: Duration = LEAST;

impl Pace {
    /// The pace where the service manager waits for `within`, or nobody does.
    #[must_use]
    pub fn of(within: Option<Duration>) -> Self {
        let Some(within) = within else {
            return Self { every: EVERY, patience: PATIENCE, fresh: FRESH, hung_after: HUNG_AFTER, feed_every: None };
        };
        Self {
            every: (within / 8).clamp(LEAST / 2, EVERY),
            patience: (within / 4).clamp(LEAST, PATIENCE),
            fresh: FRESH,
            hung_after: (within / 2).clamp(2 * FRESH, HUNG_AFTER),
            feed_every: Some(within / 2),
        }
    }

    /// The watchdog itself hangs when it has not looked for so long: no look takes half of it.
    pub(super) fn asleep_after(self, listeners: usize) -> Duration {
        2 * self.longest_look(listeners) + self.hung_after
    }

    /// From the end of one look to that of the next, where every probe is waited for in vain.
    pub(super) fn longest_look(self, listeners: usize) -> Duration {
        let listeners = u32::try_from(listeners).unwrap_or(u32::MAX);
        self.every + self.patience + FURTHER.saturating_mul(listeners)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hang_is_noticed_and_a_slow_probe_survived_within_what_the_service_manager_waits_for() {
        for seconds in [2, 5, 10, 30, 600] {
            let within = Duration::from_secs(seconds);
            let pace = Pace::of(Some(within));
            assert!(pace.hung_after <= within && pace.feed_every == Some(within / 2));
            // Fed at the half, one probe in vain, and the next one well.
            assert!(within / 2 + pace.every + pace.patience + pace.every <= within, "{seconds} s: {pace:?}");
            // Two probes are lost before a listener hangs.
            assert!(pace.patience < pace.hung_after, "{seconds} s: {pace:?}");
        }
    }
}
