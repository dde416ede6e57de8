//! What is known against endpoints, as one process passes it on to the next: an endpoint that is out stays out.

use std::{
    sync::{PoisonError, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use routing_cache::model::Address;

use super::{EndpointState, Endpoints, millis};

/// What is known against one endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History {
    /// Which.
    pub address: Address,
    /// Failures since its last success.
    pub failures: u32,
    /// How often it was ejected in a row.
    pub ejections: u32,
    /// For how much longer it is out; zero when it is not.
    pub ejected_for: Duration,
}

impl Endpoints {
    /// What is known against endpoints, `most` of them at most: those that are out first. It looks at every state, so it is
    /// not for a worker's thread.
    #[must_use]
    pub fn histories(&self, most: usize, now: Instant) -> Vec<History> {
        let ejected = self.ejected(now);
        let known = |address: &Address| self.known(address).and_then(|state| state.history(address, now));
        let mut histories: Vec<_> = ejected.iter().take(most).filter_map(known).collect();
        for shard in &self.shards {
            let states = shard.read().unwrap_or_else(PoisonError::into_inner);
            let others = states.iter().filter(|(_, state)| !state.is_ejected(now));
            let room = most.saturating_sub(histories.len());
            histories.extend(others.filter_map(|(address, state)| state.history(address, now)).take(room));
        }
        histories
    }

    /// Goes by what the process before knew.
    pub fn adopt(&self, history: &History, now: Instant) {
        let state = self.state(&history.address);
        state.failures.store(history.failures, Relaxed);
        state.ejections.store(history.ejections, Relaxed);
        if history.ejected_for.is_zero() {
            return;
        }
        let (since, left) = (millis(self.begun, now), u64::try_from(history.ejected_for.as_millis()));
        let until = since.saturating_add(left.unwrap_or(u64::MAX / 2)).max(1);
        state.ejected_since.store(since, Relaxed);
        state.ejected_until.store(until, Relaxed);
        self.ejected_states().insert(history.address.clone(), state);
        self.none_ejected_after.fetch_max(until, Relaxed);
    }
}

impl EndpointState {
    fn history(&self, address: &Address, now: Instant) -> Option<History> {
        let (failures, ejections) = (self.failures(), self.ejections.load(Relaxed));
        let ejected_for = self.ejected_for(now).unwrap_or_default();
        let any = failures > 0 || ejections > 0 || !ejected_for.is_zero();
        any.then(|| History { address: address.clone(), failures, ejections, ejected_for })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(n: u16) -> Address {
        Address::Tcp(([127, 0, 0, 1], n).into())
    }

    #[test]
    fn what_is_out_stays_out_in_the_next_process_for_the_time_that_is_left() {
        let (one, other) = (Endpoints::new(), Endpoints::new());
        let now = Instant::now();
        let out = History { address: address(1), failures: 5, ejections: 2, ejected_for: Duration::from_secs(7) };
        let failing = History { address: address(2), failures: 3, ejections: 0, ejected_for: Duration::ZERO };
        one.adopt(&out, now);
        one.adopt(&failing, now);
        drop(one.state(&address(3)));
        let known = one.histories(10, now);
        assert_eq!(known, [out.clone(), failing]);
        assert_eq!(one.histories(1, now), [out]);
        known.iter().for_each(|history| other.adopt(history, now));
        assert_eq!(other.ejected(now), [address(1)]);
        assert!(other.any_ejected(now + Duration::from_millis(6900)));
        assert!(!other.state(&address(1)).is_ejected(now + Duration::from_secs(8)));
        assert_eq!(other.state(&address(2)).failures(), 3);
    }
}
