use std::{future::poll_fn, sync::Arc, task::Wake};

use super::*;

const LIMIT: Duration = Duration::from_secs(4);

/// Counts how often it was woken.
#[derive(Default)]
struct Woken(AtomicU64);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Relaxed);
    }
}

/// A wheel that is ticked by hand, as the thread's own.
fn driven() -> (Arc<Woken>, Waker) {
    WHEEL.with_borrow_mut(|wheel| wheel.now = Some(Instant::now()));
    let woken = Arc::new(Woken::default());
    (Arc::clone(&woken), Waker::from(woken))
}

fn tick(times: u64) {
    for _ in 0..times {
        let due = WHEEL.with_borrow_mut(|wheel| wheel.tick(Instant::now()));
        due.into_iter().for_each(Waker::wake);
    }
}

fn places() -> (usize, usize) {
    WHEEL.with_borrow(|wheel| (wheel.entries.len(), wheel.free.len()))
}

#[test]
fn an_alarm_goes_off_after_a_whole_number_of_ticks_that_is_never_short() {
    let (woken, waker) = driven();
    let mut cx = Context::from_waker(&waker);
    tick(3);
    let mut alarm = Alarm::after(LIMIT + Duration::from_millis(1));
    assert!(alarm.poll(&mut cx).is_pending());
    // 16 ticks are 4 s; the first may come at once, and the millisecond needs a further one.
    tick(17);
    assert_eq!(woken.0.load(Relaxed), 0);
    assert!(alarm.poll(&mut cx).is_pending());
    tick(1);
    assert_eq!(woken.0.load(Relaxed), 1);
    assert!(alarm.poll(&mut cx).is_ready());
}

#[test]
fn an_alarm_that_is_reset_begins_anew() {
    let (woken, waker) = driven();
    let mut cx = Context::from_waker(&waker);
    let mut alarm = Alarm::after(LIMIT);
    assert!(alarm.poll(&mut cx).is_pending());
    tick(16);
    alarm.reset(LIMIT);
    tick(16);
    assert_eq!(woken.0.load(Relaxed), 0);
    tick(1);
    assert_eq!(woken.0.load(Relaxed), 1);
    // It may be set again after it has gone off, with the same place.
    alarm.reset(LIMIT);
    assert!(alarm.poll(&mut cx).is_pending());
    tick(17);
    assert_eq!(woken.0.load(Relaxed), 2);
    assert_eq!(places(), (1, 0));
}

#[test]
fn a_place_is_used_again_and_only_its_owner_gives_it_back() {
    let (woken, waker) = driven();
    let mut cx = Context::from_waker(&waker);
    for _ in 0..3 {
        let mut alarm = Alarm::after(LIMIT);
        assert!(alarm.poll(&mut cx).is_pending());
    }
    assert_eq!(places(), (1, 1));
    let mut first = Alarm::after(LIMIT);
    assert!(first.poll(&mut cx).is_pending());
    std::thread::spawn(move || drop(first)).join().unwrap();
    assert_eq!(places(), (1, 0), "an alarm that ends elsewhere is let go of by its tick alone");
    tick(17);
    assert_eq!(woken.0.load(Relaxed), 1);
}

#[test]
fn ticks_that_come_too_soon_are_none() {
    let driver = Driver::begin();
    let ticks = || WHEEL.with_borrow(|wheel| wheel.ticks);
    let before = ticks();
    driver.tick();
    assert_eq!(ticks(), before);
    drop(driver);
    assert_eq!(now(), None);
}

#[tokio::test(start_paused = true)]
async fn where_nobody_ticks_an_alarm_is_precise() {
    let start = tokio::time::Instant::now();
    let mut alarm = Alarm::after(LIMIT);
    poll_fn(|cx| alarm.poll(cx)).await;
    assert_eq!(start.elapsed(), LIMIT);
    alarm.reset(LIMIT / 2);
    poll_fn(|cx| alarm.poll(cx)).await;
    assert_eq!(start.elapsed(), LIMIT + LIMIT / 2);
    assert_eq!(within(LIMIT, std::future::pending::<()>()).await, Err(Elapsed));
    assert_eq!(start.elapsed(), 2 * LIMIT + LIMIT / 2);
}

#[tokio::test(start_paused = true)]
async fn a_short_wait_is_precise_where_others_are_coarse() {
    let _driver = Driver::begin();
    let start = tokio::time::Instant::now();
    let short = Duration::from_millis(700);
    assert_eq!(within(short, std::future::pending::<()>()).await, Err(Elapsed));
    assert_eq!(start.elapsed(), short);
    let mut alarm = Alarm::after(LIMIT);
    alarm.reset(short);
    poll_fn(|cx| alarm.poll(cx)).await;
    assert_eq!(start.elapsed(), 2 * short);
    assert_eq!(within(LIMIT, async { 1 }).await, Ok(1));
}
