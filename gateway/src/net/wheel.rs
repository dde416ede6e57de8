//! Coarse timers: one set for each worker, looked at by its tick.
//!
//! A request sets several time-outs of many seconds, and hardly one ever runs out. tokio's timers are precise to a
//! millisecond, and putting one in and taking it out again costs more than the wait is worth; here it is a place in a
//! list. A tick looks at all of the list, which costs a nanosecond for each connection four times a second.
//!
//! An alarm never goes off early, and up to two ticks late. Where the time is short, or nobody ticks in this thread, it
//! is one of tokio's and precise.

use std::{
    cell::RefCell,
    future::Future,
    pin::Pin,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use tokio::time::Sleep;

/// From one tick to the next, at least.
pub const TICK: Duration = Duration::from_millis(250);
/// A shorter wait is precise: at this length a tick is an eighth of it.
const PRECISE_BELOW: Duration = Duration::from_secs(2);

thread_local! {
    static WHEEL: RefCell<Wheel> = RefCell::new(Wheel::new());
}

/// One thread's alarms.
#[derive(Debug)]
struct Wheel {
    /// The time of the last tick; `None` where nobody ticks.
    now: Option<Instant>,
    ticks: u64,
    entries: Vec<Entry>,
    free: Vec<usize>,
    next_serial: u64,
}

#[derive(Debug)]
struct Entry {
    /// Whose it is; 0: nobody's.
    serial: u64,
    /// It goes off at this tick.
    due: u64,
    waker: Option<Waker>,
}

/// A place in a wheel.
#[derive(Clone, Copy, Debug)]
struct Place {
    index: usize,
    /// Of its own over all threads, so that an alarm that ends in another thread than it began in frees nobody's place.
    serial: u64,
}

impl Wheel {
    fn new() -> Self {
        static WHEELS: AtomicU64 = AtomicU64::new(0);
        let first = WHEELS.fetch_add(1, Relaxed) << 48;
        Self { now: None, ticks: 0, entries: Vec::new(), free: Vec::new(), next_serial: first + 1 }
    }

    /// The tick by which `limit` is over for certain: the next one may come at once, and each after it comes a whole
    /// [`TICK`] later or more.
    fn due(&self, limit: Duration) -> u64 {
        let ticks = limit.as_nanos().div_ceil(TICK.as_nanos());
        self.ticks.saturating_add(u64::try_from(ticks).unwrap_or(u64::MAX)).saturating_add(1)
    }

    fn take(&mut self, due: u64, waker: &Waker) -> Place {
        let serial = self.next_serial;
        self.next_serial += 1;
        let entry = Entry { serial, due, waker: Some(waker.clone()) };
        let index = match self.free.pop() {
            Some(index) => {
                if let Some(place) = self.entries.get_mut(index) {
                    *place = entry;
                }
                index
            }
            None => {
                self.entries.push(entry);
                self.entries.len() - 1
            }
        };
        Place { index, serial }
    }

    fn entry(&mut self, place: Place) -> Option<&mut Entry> {
        self.entries.get_mut(place.index).filter(|entry| entry.serial == place.serial)
    }

    fn give_back(&mut self, place: Place) -> Option<Waker> {
        let entry = self.entry(place)?;
        entry.serial = 0;
        entry.due = u64::MAX;
        let waker = entry.waker.take();
        self.free.push(place.index);
        waker
    }

    /// Those who are to be woken.
    fn tick(&mut self, now: Instant) -> Vec<Waker> {
        self.now = Some(now);
        self.ticks += 1;
        let ticks = self.ticks;
        self.entries.iter_mut().filter(|entry| entry.due <= ticks).filter_map(|entry| entry.waker.take()).collect()
    }
}

/// Makes this thread's alarms coarse for as long as it lives; whoever has it ticks.
#[derive(Debug)]
pub struct Driver(());

impl Driver {
    /// Begins with a first tick.
    #[must_use]
    pub fn begin() -> Self {
        let driver = Self(());
        driver.tick();
        driver
    }

    /// Wakes whose time is over. Does nothing when the last tick was less than [`TICK`] ago.
    pub fn tick(&self) {
        let now = Instant::now();
        let due = WHEEL.with_borrow_mut(|wheel| {
            let early = wheel.now.is_some_and(|last| now.saturating_duration_since(last) < TICK);
            if early { Vec::new() } else { wheel.tick(now) }
        });
        // Outside the borrow: a waker may be anything.
        due.into_iter().for_each(Waker::wake);
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // ignored: the thread is at its end, and its wheel is gone.
        let _ = WHEEL.try_with(|wheel| wheel.borrow_mut().now = None);
    }
}

/// The time of this thread's last tick, for time-outs that are set and measured by it; `None` where nobody ticks.
#[must_use]
pub fn now() -> Option<Instant> {
    WHEEL.with_borrow(|wheel| wheel.now)
}

/// A wait for a while. It joins a wheel, or tokio's, only when it is polled.
#[derive(Debug)]
pub struct Alarm(Kind);

#[derive(Debug)]
enum Kind {
    Coarse { due: u64, place: Option<Place> },
    Precise(Pin<Box<Sleep>>),
}

impl Alarm {
    /// One that goes off after `limit`.
    #[must_use]
    pub fn after(limit: Duration) -> Self {
        let coarse = if limit < PRECISE_BELOW { None } else { due(limit) };
        Self(match coarse {
            Some(due) => Kind::Coarse { due, place: None },
            None => Kind::Precise(Box::pin(tokio::time::sleep(limit))),
        })
    }

    /// Begins anew: it goes off `limit` from now.
    pub fn reset(&mut self, limit: Duration) {
        match &mut self.0 {
            Kind::Coarse { due, place } if limit >= PRECISE_BELOW => {
                *due = WHEEL.with_borrow_mut(|wheel| {
                    let due = wheel.due(limit);
                    if let Some(entry) = place.and_then(|place| wheel.entry(place)) {
                        entry.due = due;
                    }
                    due
                });
            }
            Kind::Precise(sleep) => sleep.as_mut().reset(tokio::time::Instant::now() + limit),
            Kind::Coarse { .. } => *self = Self::after(limit),
        }
    }

    /// Ready once its time is over.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.0 {
            Kind::Precise(sleep) => sleep.as_mut().poll(cx),
            Kind::Coarse { due, place } => WHEEL.with_borrow_mut(|wheel| poll_coarse(wheel, *due, place, cx.waker())),
        }
    }
}

fn due(limit: Duration) -> Option<u64> {
    WHEEL.with_borrow(|wheel| wheel.now.map(|_| wheel.due(limit)))
}

fn poll_coarse(wheel: &mut Wheel, due: u64, place: &mut Option<Place>, waker: &Waker) -> Poll<()> {
    if wheel.ticks >= due {
        return Poll::Ready(());
    }
    match place.and_then(|place| wheel.entry(place)) {
        None => *place = Some(wheel.take(due, waker)),
        Some(entry) if entry.waker.as_ref().is_some_and(|held| held.will_wake(waker)) => {}
        Some(entry) => entry.waker = Some(waker.clone()),
    }
    Poll::Pending
}

impl Drop for Alarm {
    fn drop(&mut self) {
        if let Kind::Coarse { place: Some(place), .. } = self.0 {
            // ignored: the thread is at its end, and its wheel is gone.
            let waker = WHEEL.try_with(|wheel| wheel.borrow_mut().give_back(place));
            drop(waker);
        }
    }
}

/// The time was over before the future.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the time is over")]
pub struct Elapsed;

pin_project_lite::pin_project! {
    /// See [`within`].
    #[derive(Debug)]
    pub struct Within<F> {
        alarm: Alarm,
        #[pin]
        future: F,
    }
}

/// Waits for `future`, and `limit` at most.
///
/// # Cancel safety
/// That of `future`.
pub fn within<F: Future>(limit: Duration, future: F) -> Within<F> {
    Within { alarm: Alarm::after(limit), future }
}

impl<F: Future> Future for Within<F> {
    type Output = Result<F::Output, Elapsed>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        match this.future.poll(cx) {
            Poll::Ready(output) => Poll::Ready(Ok(output)),
            Poll::Pending => this.alarm.poll(cx).map(|()| Err(Elapsed)),
        }
    }
}

#[cfg(test)]
mod tests;
