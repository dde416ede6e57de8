//! Descriptors kept back for the day when there are none left, so that what must go on then does.
//!
//! A spare is a descriptor, and an open file of its own, so that giving it up helps at both limits: the process's (EMFILE) and
//! the system's (ENFILE). Between giving one up and making another, any thread may be faster; whoever lends tries again with
//! the next spare. Nobody waits for the lock: who holds it may be a thread that hangs.

use std::{
    io,
    os::fd::OwnedFd,
    sync::{
        Mutex, MutexGuard, TryLockError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use rustix::{
    event::{EventfdFlags, eventfd},
    io::Errno,
};

/// How often a thread that is faster is let finish; it makes or closes a few descriptors.
const TRIES: usize = 100;

/// A few spare descriptors.
#[derive(Debug)]
pub struct Reserve {
    spares: Mutex<Vec<OwnedFd>>,
    /// How many there are: whether it is whole costs this load.
    held: AtomicUsize,
    size: usize,
}

impl Reserve {
    /// A reserve of `size`, filled as far as there are descriptors.
    #[must_use]
    pub fn new(size: usize) -> Self {
        let reserve = Self { spares: Mutex::new(Vec::with_capacity(size)), held: AtomicUsize::new(0), size };
        // ignored: whoever uses it fills it again
        let _ = reserve.refill();
        reserve
    }

    /// Makes it whole again, unless another thread does just now.
    ///
    /// # Errors
    /// When there are not descriptors enough; it keeps those it could have.
    pub fn refill(&self) -> io::Result<()> {
        if self.held.load(Ordering::Relaxed) >= self.size {
            return Ok(());
        }
        let Some(mut spares) = self.spares() else { return Ok(()) };
        while spares.len() < self.size {
            spares.push(eventfd(0, EventfdFlags::CLOEXEC)?);
            self.held.store(spares.len(), Ordering::Relaxed);
        }
        Ok(())
    }

    /// What `make` makes, with a spare given up for it where it finds no descriptor.
    ///
    /// # Errors
    /// Those of `make`; that there is no descriptor only once no spare is left.
    pub fn lend<T>(&self, mut make: impl FnMut() -> io::Result<T>) -> io::Result<T> {
        loop {
            match make() {
                Err(error) if is_shortage(&error) && self.give_up_one() => {}
                made => return made,
            }
        }
    }

    fn give_up_one(&self) -> bool {
        let Some(mut spares) = self.spares() else { return false };
        let spare = spares.pop();
        self.held.store(spares.len(), Ordering::Relaxed);
        spare.is_some()
    }

    /// `None` where another thread does not let go of them.
    fn spares(&self) -> Option<MutexGuard<'_, Vec<OwnedFd>>> {
        for _ in 0..TRIES {
            match self.spares.try_lock() {
                Ok(spares) => return Some(spares),
                Err(TryLockError::Poisoned(poisoned)) => return Some(poisoned.into_inner()),
                Err(TryLockError::WouldBlock) => thread::yield_now(),
            }
        }
        None
    }
}

/// True when a call has failed for want of a descriptor.
fn is_shortage(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails as long as fewer than `needed` spares were given up.
    fn make(reserve: &Reserve, needed: usize) -> io::Result<usize> {
        reserve.lend(|| {
            let given = 2 - reserve.spares().unwrap().len();
            if given < needed { Err(Errno::MFILE.into()) } else { Ok(given) }
        })
    }

    #[test]
    fn spares_are_given_up_one_by_one_until_it_works_and_no_more() {
        let reserve = Reserve::new(2);
        assert_eq!(make(&reserve, 0).unwrap(), 0);
        assert_eq!(make(&reserve, 1).unwrap(), 1);
        assert_eq!(make(&reserve, 2).unwrap(), 2);
        assert!(make(&reserve, 3).is_err(), "there is no third");
        reserve.refill().unwrap();
        assert_eq!(reserve.spares().unwrap().len(), 2);
    }

    #[test]
    fn another_failure_costs_no_spare() {
        let reserve = Reserve::new(1);
        assert!(reserve.lend(|| io::Result::<()>::Err(Errno::NOMEM.into())).is_err());
        assert_eq!(reserve.spares().unwrap().len(), 1);
    }

    #[test]
    fn who_holds_it_and_hangs_stops_nobody() {
        let reserve = Reserve::new(1);
        assert!(reserve.give_up_one());
        let _held = reserve.spares().unwrap();
        reserve.refill().unwrap();
        assert!(reserve.lend(|| io::Result::<()>::Err(Errno::MFILE.into())).is_err());
    }
}
