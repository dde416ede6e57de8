//! The connections of one worker: which of them hold buffers, which are parked, and what each is told.
//!
//! A parked connection has no timer, and a busy one does nothing for this list at all: the worker's tick walks it. Who
//! was quiet for a whole tick is told to park; who was parked for too long, or finds the worker at its end, is told to
//! close.

use std::{
    cell::{Cell, RefCell},
    collections::BinaryHeap,
    rc::Rc,
    task::Waker,
    time::{Duration, Instant},
};

/// What a connection was told last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Told {
    /// Nothing.
    #[default]
    Nothing,
    /// To give its buffers back as soon as it is between requests.
    Park,
    /// To close as soon as it is between requests.
    Close,
}

/// One connection's place in the roster.
#[derive(Debug)]
pub(crate) struct Seat {
    waker: Waker,
    place: Cell<usize>,
    parked: Cell<bool>,
    quiet: Cell<bool>,
    /// A request is being answered.
    busy: Cell<bool>,
    told: Cell<Told>,
}

impl Seat {
    /// Notes that a request is being answered, or that its answer is complete.
    pub(crate) fn answers(&self, busy: bool) {
        self.busy.set(busy);
        self.stirs();
    }

    /// Notes that it is not idle.
    pub(crate) fn stirs(&self) {
        self.quiet.set(false);
        if self.told.get() == Told::Park {
            self.told.set(Told::Nothing);
        }
    }

    /// What it was told.
    pub(crate) fn told(&self) -> Told {
        self.told.get()
    }

    /// True while it holds no buffers.
    pub(crate) fn is_parked(&self) -> bool {
        self.parked.get()
    }

    /// False when it was told the same before.
    fn tell(&self, told: Told) -> bool {
        self.waker.wake_by_ref();
        self.told.replace(told) != told
    }
}

/// Every connection of a worker.
#[derive(Debug)]
pub(crate) struct Roster {
    warm: RefCell<Vec<Rc<Seat>>>,
    parked: RefCell<Vec<Parked>>,
    most_warm: usize,
    closing: Cell<bool>,
}

/// A parked connection. What the walk reads of it stands side by side.
#[derive(Debug)]
struct Parked {
    since: Instant,
    seat: Rc<Seat>,
}

impl Roster {
    /// None yet. Beyond `most_warm` connections that hold buffers, one parks as soon as it is between requests.
    pub(crate) fn new(most_warm: usize) -> Self {
        Self { warm: RefCell::default(), parked: RefCell::default(), most_warm, closing: Cell::new(false) }
    }

    /// A new connection, parked until its first byte. Its task is woken by `waker`.
    pub(crate) fn enter(&self, waker: Waker, now: Instant) -> Rc<Seat> {
        let (told, quiet) = (Cell::default(), Cell::new(false));
        let (parked, busy) = (Cell::new(false), Cell::new(false));
        let seat = Rc::new(Seat { waker, place: Cell::new(0), parked, quiet, busy, told });
        self.insert_parked(&seat, now);
        seat
    }

    /// It has something to read.
    pub(crate) fn warm(&self, seat: &Rc<Seat>) {
        self.leave(seat);
        seat.told.set(Told::Nothing);
        seat.quiet.set(false);
        let mut warm = self.warm.borrow_mut();
        seat.place.set(warm.len());
        warm.push(Rc::clone(seat));
    }

    /// It holds no buffers.
    pub(crate) fn park(&self, seat: &Rc<Seat>, now: Instant) {
        self.leave(seat);
        self.insert_parked(seat, now);
    }

    /// It is no more.
    pub(crate) fn leave(&self, seat: &Rc<Seat>) {
        let place = seat.place.get();
        if seat.parked.replace(false) {
            take_out(&mut self.parked.borrow_mut(), place, |parked| &parked.seat);
        } else {
            take_out(&mut self.warm.borrow_mut(), place, |seat| seat);
        }
    }

    /// True when `seat`, which is between requests, is to give its buffers back.
    pub(crate) fn wants_parked(&self, seat: &Seat) -> bool {
        seat.told() != Told::Nothing || self.warm.borrow().len() > self.most_warm
    }

    /// One more tick: those without a request since the last one are to park, those parked for `patience` to close. Says how
    /// many of these were not told before.
    pub(crate) fn tick(&self, now: Instant, patience: Duration) -> usize {
        for seat in self.warm.borrow().iter().filter(|seat| seat.quiet.replace(true)) {
            if seat.told() == Told::Nothing {
                seat.tell(Told::Park);
            }
        }
        let Some(before) = now.checked_sub(patience) else { return 0 };
        let parked = self.parked.borrow();
        let over = parked.iter().filter(|parked| parked.since <= before);
        over.map(|parked| usize::from(parked.seat.tell(Told::Close))).sum()
    }

    /// Tells up to `most` that are idle to close: those parked longest, and where none is parked those between two requests.
    /// Says how many were told.
    pub(crate) fn close_oldest(&self, most: usize) -> usize {
        let parked = self.parked.borrow();
        let oldest = oldest(&parked, most);
        let told =
            oldest.iter().filter_map(|&(_, place)| parked.get(place)).map(|parked| parked.seat.tell(Told::Close));
        let told = told.filter(|told| *told).count();
        if told > 0 {
            return told;
        }
        let warm = self.warm.borrow();
        let idle = warm.iter().filter(|seat| !seat.busy.get() && seat.told() != Told::Close).take(most);
        idle.filter(|seat| seat.tell(Told::Close)).count()
    }

    /// From here on every connection closes once it is between requests.
    pub(crate) fn close(&self) {
        self.closing.set(true);
        for seat in self.warm.borrow().iter().chain(self.parked.borrow().iter().map(|parked| &parked.seat)) {
            seat.tell(Told::Close);
        }
    }

    fn insert_parked(&self, seat: &Rc<Seat>, since: Instant) {
        let mut parked = self.parked.borrow_mut();
        if self.closing.get() {
            seat.told.set(Told::Close);
        }
        seat.stirs();
        seat.parked.set(true);
        seat.place.set(parked.len());
        parked.push(Parked { since, seat: Rc::clone(seat) });
    }
}

/// Since when, and where, those are parked that were longest and not told to close yet: one walk, and memory for `most`.
fn oldest(parked: &[Parked], most: usize) -> BinaryHeap<(Instant, usize)> {
    let mut oldest = BinaryHeap::with_capacity(most + 1);
    let candidates = parked.iter().enumerate().filter(|(_, parked)| parked.seat.told() != Told::Close);
    for (place, Parked { since, .. }) in candidates {
        if oldest.len() < most || oldest.peek().is_some_and(|(latest, _)| since < latest) {
            oldest.push((*since, place));
            if oldest.len() > most {
                oldest.pop();
            }
        }
    }
    oldest
}

/// Takes out the one at `place`; the last one gets its place.
fn take_out<T>(all: &mut Vec<T>, place: usize, seat: impl Fn(&T) -> &Rc<Seat>) {
    if place < all.len() {
        drop(all.swap_remove(place));
    }
    if let Some(moved) = all.get(place) {
        seat(moved).place.set(place);
    }
}

#[cfg(test)]
mod tests;
