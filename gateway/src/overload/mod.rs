//! How much of what this process may have is in use, and what is given up for the rest to be served.
//!
//! It owns the reading of memory, descriptors and connections, the judgement of them (`levels`, a pure state machine),
//! and one atomic that says what came of it. Whoever serves reads that atomic, once for each connection and request, and
//! does what its [`Standing`] says; nothing here closes, refuses or frees anything. The reading is done by a thread of its
//! own, which opens its files once and needs neither a descriptor nor memory after that: it has to work when there is none.
//!
//! Two levels above none: *soft* gives up what nobody would miss for long (idle connections, caches), *hard* refuses what
//! is new, so that what is under way is finished.

mod budget;
mod cgroup;
mod levels;
mod meter;
mod parse;
mod sampler;

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

pub use budget::{BASE as CONNECTION_BASE_BYTES, Budget, connection_bytes};
pub use levels::{Level, Levels, Readings, Reason, Share, Standing, Thresholds};
pub use meter::memory_limit_bytes;
pub use sampler::{Sampler, Sources};

use crate::clock;

/// A connection that was turned away for want of a place means so long that this process sheds. Source: longer than a
/// client that was told to come back waits (`Retry-After`), so that a load balancer's next check sees it.
const TURNED_AWAY_FOR: Duration = Duration::from_secs(3);

/// What the process's parts know of its load. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Overload(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    standing: AtomicU8,
    /// See [`Overload::places`]; 0: no bound.
    places: AtomicUsize,
    /// When a connection was last turned away because `limits.max_connections` was reached, in milliseconds of the
    /// monotonic clock; 0: never.
    turned_away: AtomicU64,
    readings: Mutex<Readings>,
}

impl Overload {
    /// How it stands now: one relaxed load.
    #[must_use]
    pub fn standing(&self) -> Standing {
        Standing::from_bits(self.0.standing.load(Relaxed))
    }

    /// Changes it. The sampler's alone, but for tests, to which it is an input.
    pub fn set(&self, standing: Standing) {
        self.0.standing.store(standing.bits(), Relaxed);
    }

    /// How many connections of clients there may be until the next reading. While memory is short, as many more than there
    /// are as fit below level hard whatever they do: the next reading may be late where cores are short, too.
    #[must_use]
    pub fn places(&self) -> usize {
        match self.0.places.load(Relaxed) {
            0 => usize::MAX,
            places => places,
        }
    }

    /// Changes it; `None`: no bound. For whom [`Overload::set`] is.
    pub fn bound(&self, places: Option<usize>) {
        self.0.places.store(places.map_or(0, |places| places.max(1)), Relaxed);
    }

    /// The last readings.
    #[must_use]
    pub fn readings(&self) -> Readings {
        *self.0.readings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, readings: Readings) {
        *self.0.readings.lock().unwrap_or_else(PoisonError::into_inner) = readings;
    }

    /// Notes that a connection found no place within `limits.max_connections`.
    pub fn turned_away(&self) {
        self.0.turned_away.store(millis().max(1), Relaxed);
    }

    /// Why this process refuses work now, or did a moment ago; `None` while it does not.
    #[must_use]
    pub fn sheds(&self) -> Option<String> {
        let Standing { level, reason } = self.standing();
        if level == Level::Hard {
            return Some(format!("short of {}", reason.as_str()));
        }
        let last = self.0.turned_away.load(Relaxed);
        let recent = last > 0 && millis().saturating_sub(last) < TURNED_AWAY_FOR.as_millis() as u64;
        recent.then(|| "limits.max_connections is reached, and no connection is idle".to_owned())
    }
}

fn millis() -> u64 {
    u64::try_from(clock::now().monotonic.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_sheds_at_hard_and_for_a_while_after_a_connection_was_turned_away() {
        let overload = Overload::default();
        assert_eq!((overload.standing(), overload.sheds()), (Standing::default(), None));
        overload.set(Standing { level: Level::Soft, reason: Reason::Memory });
        assert_eq!(overload.sheds(), None);
        overload.set(Standing { level: Level::Hard, reason: Reason::Descriptors });
        assert_eq!(overload.sheds().as_deref(), Some("short of descriptors"));
        overload.set(Standing::default());
        overload.turned_away();
        assert!(overload.sheds().is_some_and(|why| why.contains("max_connections")));
    }
}
