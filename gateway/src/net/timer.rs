//! hyper's timer over tokio's.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use hyper::rt::{Sleep, Timer};

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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_sleep_that_is_reset_ends_at_its_new_deadline() {
        let start = TokioTimer.now();
        let mut sleep = TokioTimer.sleep(Duration::from_secs(3));
        TokioTimer.reset(&mut sleep, start + Duration::from_secs(7));
        sleep.await;
        assert_eq!(TokioTimer.now() - start, Duration::from_secs(7));
    }
}
