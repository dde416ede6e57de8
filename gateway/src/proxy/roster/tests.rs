use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::Wake,
};

use proptest::prelude::*;

use super::*;

const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug, Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn waker() -> (Arc<Woken>, Waker) {
    let woken = Arc::new(Woken::default());
    (Arc::clone(&woken), woken.into())
}

fn warm(roster: &Roster, now: Instant) -> Rc<Seat> {
    let seat = roster.enter(Waker::noop().clone(), now);
    roster.warm(&seat);
    seat
}

#[test]
fn one_that_was_quiet_for_a_whole_tick_is_woken_to_park_once() {
    let (roster, now) = (Roster::new(10), Instant::now());
    let (woken, waker) = waker();
    let quiet = roster.enter(waker, now);
    roster.warm(&quiet);
    let busy = warm(&roster, now);
    for _ in 0..4 {
        roster.tick(now, PATIENCE);
        busy.stirs();
    }
    assert_eq!((quiet.told(), woken.0.load(Ordering::Relaxed)), (Told::Park, 1));
    assert_eq!(busy.told(), Told::Nothing);
    quiet.stirs();
    assert!(!roster.wants_parked(&quiet), "a request came between");
}

#[test]
fn one_more_than_may_hold_buffers_is_to_park_at_once() {
    let (roster, now) = (Roster::new(2), Instant::now());
    let seats: Vec<_> = (0..2).map(|_| warm(&roster, now)).collect();
    assert!(!roster.wants_parked(&seats[0]));
    let third = warm(&roster, now);
    assert!(roster.wants_parked(&third));
    roster.park(&third, now);
    assert!(!roster.wants_parked(&seats[0]));
}

#[test]
fn one_that_is_parked_for_too_long_is_woken_to_close() {
    let (roster, now) = (Roster::new(10), Instant::now());
    let (woken, waker) = waker();
    let (first, later) = (roster.enter(waker, now), roster.enter(Waker::noop().clone(), now + PATIENCE / 2));
    roster.tick(now + PATIENCE - Duration::from_millis(1), PATIENCE);
    assert_eq!(first.told(), Told::Nothing);
    roster.tick(now + PATIENCE, PATIENCE);
    assert_eq!((first.told(), later.told()), (Told::Close, Told::Nothing));
    assert_eq!(woken.0.load(Ordering::Relaxed), 1);
}

#[test]
fn one_that_has_come_back_is_not_closed_for_having_been_parked() {
    let (roster, now) = (Roster::new(10), Instant::now());
    let seat = roster.enter(Waker::noop().clone(), now);
    roster.tick(now + PATIENCE, PATIENCE);
    roster.warm(&seat);
    assert_eq!(seat.told(), Told::Nothing);
    roster.park(&seat, now + PATIENCE);
    roster.tick(now + PATIENCE + PATIENCE / 2, PATIENCE);
    assert_eq!(seat.told(), Told::Nothing);
}

#[test]
fn at_the_end_all_are_to_close_and_so_is_whoever_parks_later() {
    let (roster, now) = (Roster::new(10), Instant::now());
    let (parked, idle, busy) = (roster.enter(Waker::noop().clone(), now), warm(&roster, now), warm(&roster, now));
    roster.close();
    busy.stirs();
    assert_eq!([parked.told(), idle.told(), busy.told()], [Told::Close; 3]);
    // It had something to read, and is answered before it closes.
    roster.warm(&parked);
    assert_eq!(parked.told(), Told::Nothing);
    roster.park(&parked, now);
    assert_eq!(parked.told(), Told::Close);
}

proptest! {
    #[test]
    fn however_they_come_and_go_each_has_one_place(steps in prop::collection::vec((0..4_u8, 0..8_usize), 0..200)) {
        let (roster, now) = (Roster::new(3), Instant::now());
        let mut seats: Vec<Rc<Seat>> = Vec::new();
        for (step, which) in steps {
            let which = which % seats.len().max(1);
            match (step, seats.get(which)) {
                (1, Some(seat)) => roster.warm(seat),
                (2, Some(seat)) => roster.park(seat, now),
                (3, Some(seat)) => {
                    roster.leave(seat);
                    seats.remove(which);
                }
                _ => seats.push(roster.enter(Waker::noop().clone(), now)),
            }
            let (warm, parked) = (roster.warm.borrow(), roster.parked.borrow());
            prop_assert_eq!(warm.len() + parked.len(), seats.len());
            for seat in &seats {
                let there = if seat.is_parked() { &parked[seat.place.get()].seat } else { &warm[seat.place.get()] };
                prop_assert!(Rc::ptr_eq(there, seat));
            }
        }
    }
}
