//! hyper's timers: over tokio's, and over a worker's coarse one.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use hyper::rt::{Sleep, Timer};

use super::wheel::{self, Alarm};

/// hyper's time-outs on tokio's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct TokioTimer;

pin_project_lite::pin_project! {
    /// One wait of hyper's. It joins tokio's timer wheel only when it is first polled.
    struct TokioSleep {
        #[pin]
        inner: tokio::time::Sleep,
    }
}

impl Future for TokioSleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.project().inner.poll(cx)
    }
}

impl Sleep for TokioSleep {}

impl Timer for TokioTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        Box::pin(TokioSleep { inner: tokio::time::sleep(duration) })
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        Box::pin(TokioSleep { inner: tokio::time::sleep_until(deadline.into()) })
    }

    fn now(&self) -> Instant {
        tokio::time::Instant::now().into()
    }

    fn reset(&self, sleep: &mut Pin<Box<dyn Sleep>>, new_deadline: Instant) {
        match sleep.as_mut().downcast_mut_pin::<TokioSleep>() {
            Some(sleep) => sleep.project().inner.reset(new_deadline.into()),
            None => *sleep = self.sleep_until(new_deadline),
        }
    }
}

/// hyper's time-outs by a worker's tick; see [`wheel`] for when they are precise.
#[derive(Clone, Copy, Debug, Default)]
pub struct CoarseTimer;

/// One wait of hyper's.
struct CoarseSleep(Alarm);

impl Future for CoarseSleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.get_mut().0.poll(cx)
    }
}

impl Sleep for CoarseSleep {}

impl Timer for CoarseTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        Box::pin(CoarseSleep(Alarm::after(duration)))
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        self.sleep(deadline.saturating_duration_since(self.now()))
    }

    /// The last tick's time where there are ticks: hyper asks only in order to say when a sleep is to end, which is
    /// understood by the same clock, so what that clock is behind cancels out.
    fn now(&self) -> Instant {
        wheel::now().unwrap_or_else(|| tokio::time::Instant::now().into())
    }

    fn reset(&self, sleep: &mut Pin<Box<dyn Sleep>>, new_deadline: Instant) {
        let limit = new_deadline.saturating_duration_since(self.now());
        match sleep.as_mut().downcast_mut_pin::<CoarseSleep>() {
            Some(sleep) => sleep.get_mut().0.reset(limit),
            None => *sleep = self.sleep(limit),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn resets(timer: impl Timer) {
        let start = timer.now();
        let mut sleep = timer.sleep(Duration::from_secs(3));
        timer.reset(&mut sleep, start + Duration::from_secs(7));
        sleep.await;
        assert_eq!(timer.now() - start, Duration::from_secs(7));
    }

    #[tokio::test(start_paused = true)]
    async fn a_sleep_that_is_reset_ends_at_its_new_deadline() {
        resets(TokioTimer).await;
        resets(CoarseTimer).await;
    }
}
