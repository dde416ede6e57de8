//! How often the orchestrator is asked: back-off after failures, and a ceiling on requests. Pure: the time and the
//! dice are arguments.

use std::{collections::VecDeque, time::Duration};

/// Requests a second, all calls together. Source: spec/orchestrator-api.md, rule 10.
pub(super) const REQUESTS_PER_SECOND: usize = 5;
const SECOND: Duration = Duration::from_secs(1);
/// The ceiling of the first pause. Source of this and the next two: spec/orchestrator-api.md, rule 10.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// The ceiling of the longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// The same while there is no table: then clients are waiting.
const LONGEST_PAUSE_WITHOUT_TABLE: Duration = Duration::from_secs(2);
/// `Retry-After` is stretched by up to this share, so that those who were sent away together do not return together.
const RETRY_AFTER_JITTER: f64 = 0.25;
/// A period is stretched or shortened by up to this share.
const PERIOD_JITTER: f64 = 0.1;

/// Growing pauses with full jitter: each is drawn evenly from nothing up to a ceiling that doubles.
#[derive(Clone, Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The pause after one more failure. `dice` is in 0..1.
    pub(super) fn pause(&mut self, has_table: bool, dice: f64) -> Duration {
        let longest = if has_table { LONGEST_PAUSE } else { LONGEST_PAUSE_WITHOUT_TABLE };
        // 2^5 times half a second is over the longest pause.
        let ceiling = FIRST_PAUSE.saturating_mul(1 << self.failures.min(5)).min(longest);
        self.failures = self.failures.saturating_add(1);
        ceiling.mul_f64(dice)
    }

    /// The next failure is a first one again.
    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }
}

/// A `Retry-After` of `delay`: never less, and a bit more by chance.
#[must_use]
pub(super) fn retry_after(delay: Duration, dice: f64) -> Duration {
    delay.mul_f64(1.0 + RETRY_AFTER_JITTER * dice)
}

/// A period of about `every`.
#[must_use]
pub(super) fn jittered(every: Duration, dice: f64) -> Duration {
    every.mul_f64(1.0 + PERIOD_JITTER * (2.0 * dice - 1.0))
}

/// Holds requests to [`REQUESTS_PER_SECOND`] in every second, not only on average.
#[derive(Clone, Debug, Default)]
pub(super) struct RequestRate {
    /// When the last ones were let through or will be, oldest first.
    slots: VecDeque<Duration>,
}

impl RequestRate {
    /// Takes the next free slot and returns how long it is until then.
    pub(super) fn take(&mut self, now: Duration) -> Duration {
        let mut at = now;
        if self.slots.len() >= REQUESTS_PER_SECOND {
            let oldest = self.slots.pop_front().unwrap_or_default();
            at = at.max(oldest + SECOND);
        }
        self.slots.push_back(at);
        at.saturating_sub(now)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn pauses_double_up_to_ten_seconds_and_start_anew_after_a_success() {
        let mut backoff = Backoff::default();
        let pauses: Vec<_> = (0..7).map(|_| backoff.pause(true, 1.0).as_millis()).collect();
        assert_eq!(pauses, [500, 1000, 2000, 4000, 8000, 10_000, 10_000]);
        backoff.reset();
        assert_eq!(backoff.pause(true, 1.0).as_millis(), 500);
    }

    #[test]
    fn without_a_table_no_pause_is_over_two_seconds() {
        let mut backoff = Backoff::default();
        let pauses: Vec<_> = (0..5).map(|_| backoff.pause(false, 1.0).as_millis()).collect();
        assert_eq!(pauses, [500, 1000, 2000, 2000, 2000]);
    }

    #[test]
    fn pauses_are_drawn_from_nothing_up() {
        assert_eq!(Backoff::default().pause(true, 0.0), Duration::ZERO);
        assert_eq!(Backoff::default().pause(true, 0.5).as_millis(), 250);
    }

    #[test]
    fn retry_after_is_never_cut_short() {
        let ten = Duration::from_secs(10);
        assert_eq!(retry_after(ten, 0.0), ten);
        assert_eq!(retry_after(ten, 1.0).as_millis(), 12_500);
    }

    #[test]
    fn periods_vary_by_a_tenth_both_ways() {
        let two = Duration::from_secs(2);
        assert_eq!((jittered(two, 0.0).as_millis(), jittered(two, 1.0).as_millis()), (1800, 2200));
    }

    proptest! {
        #[test]
        fn no_second_sees_more_than_five_requests(gaps in prop::collection::vec(0_u64..400, 1..60)) {
            let (mut rate, mut now, mut sent) = (RequestRate::default(), Duration::ZERO, Vec::new());
            for gap in gaps {
                now += Duration::from_millis(gap);
                sent.push(now + rate.take(now));
            }
            for window in sent.windows(REQUESTS_PER_SECOND + 1) {
                prop_assert!(window[REQUESTS_PER_SECOND] - window[0] >= SECOND);
            }
        }
    }
}
