//! The patience with a client that is slow: it is judged by what it passes while it is waited for.
//!
//! Of each window of waiting it must have passed a least number of bytes, which silence never does. Time in which nobody
//! waits for it does not count, so neither an app that is slow nor a pause of our own is ever laid at its door. Nothing is
//! done for a byte, and nothing at all where nobody waits.

use std::{
    task::{Context, Poll},
    time::{Duration, Instant},
};

use super::settings::IDLE_TIMEOUT;
use crate::net::wheel::{self, Alarm};

/// A shorter window is measured by the clock itself: it is not many ticks of the worker's long.
const PRECISE_BELOW: Duration = Duration::from_secs(2);

/// What is asked of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rate {
    window: Duration,
    /// In each window; 0: something, whatever it is, begins a new one.
    bytes: u64,
}

impl Rate {
    /// So many bytes a second on average of `window`; 0: it must not be silent for as long as a body may.
    pub(crate) fn new(bytes_per_second: u64, window: Duration) -> Self {
        if bytes_per_second == 0 {
            return Self::silence(IDLE_TIMEOUT);
        }
        let bytes = u128::from(bytes_per_second) * window.as_millis() / 1000;
        Self { window, bytes: u64::try_from(bytes).unwrap_or(u64::MAX).max(1) }
    }

    /// It must not be silent for so long.
    pub(crate) const fn silence(window: Duration) -> Self {
        Self { window, bytes: 0 }
    }

    fn now(self) -> Instant {
        let coarse = if self.window < PRECISE_BELOW { None } else { wheel::now() };
        coarse.unwrap_or_else(|| tokio::time::Instant::now().into_std())
    }
}

/// Runs out when the client is too slow.
#[derive(Debug)]
pub(crate) struct Pace {
    rate: Rate,
    alarm: Option<Alarm>,
    /// Since when it is being waited for.
    since: Option<Instant>,
    /// What it has been waited for in this window, before that.
    waited: Duration,
    /// Bytes in this window.
    passed: u64,
}

impl Pace {
    /// Nothing was waited for yet.
    pub(crate) fn new(rate: Rate) -> Self {
        Self { rate, alarm: None, since: None, waited: Duration::ZERO, passed: 0 }
    }

    /// True when nothing was there at the last look.
    pub(crate) fn is_waiting(&self) -> bool {
        self.since.is_some()
    }

    /// So many bytes have passed: the wait, if there was one, is over.
    pub(crate) fn passed(&mut self, bytes: usize) {
        self.passed = self.passed.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
        let Some(since) = self.since.take() else { return };
        self.waited += self.rate.now().saturating_duration_since(since);
        if self.rate.bytes == 0 {
            self.begin();
        }
    }

    /// Nothing is there: ready once the client is too slow.
    pub(crate) fn poll_wait(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.since.is_none() {
            self.wait();
        }
        loop {
            let Some(alarm) = &mut self.alarm else { return Poll::Ready(()) };
            if alarm.poll(cx).is_pending() {
                return Poll::Pending;
            }
            if self.rate.bytes == 0 || self.passed < self.rate.bytes {
                return Poll::Ready(());
            }
            self.begin();
            self.wait();
        }
    }

    /// A new window.
    fn begin(&mut self) {
        (self.waited, self.passed) = (Duration::ZERO, 0);
    }

    fn wait(&mut self) {
        self.since = Some(self.rate.now());
        if self.waited >= self.rate.window && self.passed >= self.rate.bytes {
            self.begin();
        }
        let left = self.rate.window.saturating_sub(self.waited);
        match &mut self.alarm {
            Some(alarm) => alarm.reset(left),
            None => self.alarm = Some(Alarm::after(left)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::time::{Instant, timeout};

    use super::*;

    const WINDOW: Duration = Duration::from_secs(60);

    async fn waits(pace: &mut Pace, limit: Duration) -> bool {
        timeout(limit, poll_fn(|cx| pace.poll_wait(cx))).await.is_err()
    }

    /// A client that sends `bytes`, `every` so often; how long it is borne, to an hour.
    async fn borne(rate: Rate, bytes: usize, every: Duration) -> Duration {
        let (mut pace, start) = (Pace::new(rate), Instant::now());
        while start.elapsed() < Duration::from_hours(1) {
            if !waits(&mut pace, every).await {
                break;
            }
            pace.passed(bytes);
        }
        start.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_is_given_up_that_passes_less_than_its_rate_in_a_window() {
        let rate = Rate::new(240, WINDOW);
        let seconds = Duration::from_secs;
        assert_eq!(borne(rate, 0, seconds(7200)).await, WINDOW);
        assert_eq!(borne(rate, 2390, seconds(10)).await, WINDOW);
        assert_eq!(borne(rate, 1, seconds(1)).await, WINDOW);
        for (bytes, every) in [(2400, 8), (300, 1), (14_400, 59)] {
            assert_eq!(borne(rate, bytes, seconds(every)).await.as_secs() / 60, 60, "{bytes} every {every} s");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_passed_in_a_window_is_no_merit_in_the_next() {
        let (mut pace, start) = (Pace::new(Rate::new(240, WINDOW)), Instant::now());
        pace.passed(1 << 30);
        poll_fn(|cx| pace.poll_wait(cx)).await;
        assert_eq!(start.elapsed(), 2 * WINDOW);
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_rate_only_silence_counts() {
        assert_eq!(borne(Rate::new(0, WINDOW), 1, IDLE_TIMEOUT - Duration::from_secs(1)).await.as_secs() / 60, 60);
        assert_eq!(borne(Rate::silence(WINDOW / 2), 1, WINDOW).await, WINDOW / 2);
    }

    #[tokio::test(start_paused = true)]
    async fn time_in_which_nobody_waits_is_not_counted() {
        let mut pace = Pace::new(Rate::new(240, WINDOW));
        assert!(waits(&mut pace, WINDOW / 4).await);
        for _ in 0..100 {
            pace.passed(1);
            tokio::time::advance(WINDOW).await;
        }
        assert!(!pace.is_waiting() && waits(&mut pace, WINDOW / 2).await);
    }
}
