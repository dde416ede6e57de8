//! The one place that asks the time for decisions of `routing-cache`, which takes it as an argument.

use std::{
    sync::OnceLock,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use routing_cache::model::{Now, WallTime};

/// This moment on both clocks.
#[must_use]
pub fn now() -> Now {
    static START: OnceLock<Instant> = OnceLock::new();
    Now { monotonic: START.get_or_init(Instant::now).elapsed(), wall: wall() }
}

/// The time of day. A clock before 1970 counts as 1970.
#[must_use]
pub fn wall() -> WallTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    WallTime(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// `time` in RFC 3339, as status and logs show it.
#[must_use]
pub fn rfc3339(time: WallTime) -> String {
    let millis = i64::try_from(time.0).unwrap_or(i64::MAX);
    jiff::Timestamp::from_millisecond(millis).map_or_else(|_| time.0.to_string(), |t| t.to_string())
}

/// Whole seconds from `then` to now; 0 when `then` lies ahead.
#[must_use]
pub fn age_seconds(then: WallTime) -> u64 {
    wall().0.saturating_sub(then.0) / 1000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_shown_in_utc_and_one_beyond_the_calendar_as_a_number() {
        assert_eq!(rfc3339(WallTime(0)), "1970-01-01T00:00:00Z");
        assert_eq!(rfc3339(WallTime(1_700_000_000_123)), "2023-11-14T22:13:20.123Z");
        assert_eq!(rfc3339(WallTime(u64::MAX)), u64::MAX.to_string());
    }

    #[test]
    fn the_monotonic_clock_never_goes_back_and_the_future_has_no_age() {
        let (first, second) = (now(), now());
        assert!(first.monotonic <= second.monotonic);
        assert_eq!(age_seconds(WallTime(u64::MAX)), 0);
        assert!(age_seconds(WallTime(0)) > 1_700_000_000);
    }
}
