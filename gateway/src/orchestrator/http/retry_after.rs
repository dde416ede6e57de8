//! `Retry-After` (RFC 9110, 10.2.3): seconds, or a date.

use std::time::Duration;

use reqwest::header::{HeaderMap, RETRY_AFTER};

use crate::clock;

/// Longer is not believed: a typing error in a load balancer's page must not send a fleet away for a day.
const MAX_DELAY: Duration = Duration::from_secs(600);

/// How long to stay away; `None` where nothing usable is said.
pub(super) fn of(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    delay(text, clock::wall().0).map(|d| d.min(MAX_DELAY))
}

fn delay(text: &str, now_millis: u64) -> Option<Duration> {
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
    let millis = u64::try_from(date.as_millisecond()).ok()?;
    Some(Duration::from_millis(millis.saturating_sub(now_millis)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_and_dates_are_understood_and_nonsense_is_not() {
        let check = |text, want: Option<u64>| assert_eq!(delay(text, 784_111_777_000), want.map(Duration::from_secs));
        check("7", Some(7));
        check("Sun, 06 Nov 1994 08:49:47 GMT", Some(10));
        check("Sun, 06 Nov 1994 08:00:00 GMT", Some(0));
        check("soon", None);
        check("-1", None);
    }

    #[test]
    fn a_day_is_not_believed() {
        let headers = HeaderMap::from_iter([(RETRY_AFTER, "86400".parse().unwrap())]);
        assert_eq!(of(&headers), Some(MAX_DELAY));
    }
}
