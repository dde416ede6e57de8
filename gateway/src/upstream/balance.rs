//! The choice among an upstream's endpoints, by one worker.
//!
//! The usual case, with nobody ejected and nobody excluded, asks for the state of two endpoints and nothing else. The
//! worker keeps the states it has asked for, so that the shared registry is locked only for new ones.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Instant,
};

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use routing_cache::model::{Address, Balance, Endpoint, Upstream, WeightedUpstream};

use super::registry::{EndpointState, Endpoints};
use crate::config::UpstreamConfig;

/// One worker's chooser.
#[derive(Debug)]
pub struct Balancer {
    shared: Arc<Endpoints>,
    states: HashMap<Address, Arc<EndpointState>, RandomState>,
    version: u64,
    rng: fastrand::Rng,
}

/// What a choice is made by.
#[derive(Clone, Copy, Debug)]
pub struct Choice<'a> {
    /// Never these: they have failed this request already.
    pub excluded: &'a [Address],
    /// When ejected endpoints are used all the same.
    pub rules: &'a UpstreamConfig,
    /// This moment.
    pub now: Instant,
}

/// The endpoint chosen.
#[derive(Clone, Debug)]
pub struct Picked {
    /// Where it listens.
    pub address: Address,
    /// What is known of it.
    pub state: Arc<EndpointState>,
}

impl Balancer {
    /// A chooser that rolls its dice from `seed`.
    #[must_use]
    pub fn new(endpoints: Arc<Endpoints>, seed: u64) -> Self {
        let version = endpoints.version();
        Self { shared: endpoints, states: HashMap::default(), version, rng: fastrand::Rng::with_seed(seed) }
    }

    /// One of `upstream`'s endpoints; `None` when it has none of weight, or all are excluded.
    pub fn pick(&mut self, upstream: &Upstream, choice: Choice<'_>) -> Option<Picked> {
        self.forget_with_the_registry();
        let avoid = self.shared.any_ejected(choice.now) && self.avoids_ejected(upstream, choice);
        let turn = (upstream.balance == Balance::RoundRobin).then(|| self.turn(upstream));
        let states = &self.states;
        let is_out = |address: &Address| avoid && states.get(address).is_some_and(|s| s.is_ejected(choice.now));
        let usable = |endpoint: &Endpoint| {
            endpoint.weight > 0 && !choice.excluded.contains(&endpoint.address) && !is_out(&endpoint.address)
        };
        let field = Field::new(&upstream.endpoints, usable)?;
        let (first, second) = match (turn, &upstream.balance) {
            (Some(turn), _) => (field.in_turn(turn)?, None),
            (None, Balance::LeastRequest) if field.len > 1 => field.two(&mut self.rng)?,
            // By weight. A consistent hash is refused when a document is read, by this version.
            (None, _) => (field.one(&mut self.rng)?, None),
        };
        Some(self.lighter(first, second))
    }

    /// One of a route's weighted upstreams; `None` when none has weight.
    pub fn pick_route<'r>(&mut self, to: &'r [WeightedUpstream]) -> Option<&'r WeightedUpstream> {
        if let [only] = to {
            return (only.weight > 0).then_some(only);
        }
        let total: u64 = to.iter().map(|upstream| u64::from(upstream.weight)).sum();
        let mut at = (total > 0).then(|| self.rng.u64(0..total))?;
        to.iter().find(|upstream| {
            let weight = u64::from(upstream.weight);
            let here = at < weight;
            at = at.saturating_sub(weight);
            here
        })
    }

    /// The one with fewer requests for its weight; the first, which was chosen by weight, when they are equal.
    fn lighter(&mut self, first: &Endpoint, second: Option<&Endpoint>) -> Picked {
        let picked = self.picked(first);
        let Some(second) = second else { return picked };
        let other = self.picked(second);
        let load = |picked: &Picked, by: &Endpoint| u64::from(picked.state.in_flight()) * u64::from(by.weight);
        if load(&other, first) < load(&picked, second) { other } else { picked }
    }

    fn picked(&mut self, endpoint: &Endpoint) -> Picked {
        Picked { address: endpoint.address.clone(), state: Arc::clone(self.state(&endpoint.address)) }
    }

    fn state(&mut self, address: &Address) -> &Arc<EndpointState> {
        let shared = &self.shared;
        self.states.entry_ref(address).or_insert_with(|| shared.state(address))
    }

    /// Turns are counted at the upstream's first endpoint, which all workers share: so they take turns together.
    fn turn(&mut self, upstream: &Upstream) -> u32 {
        upstream.endpoints.first().map_or(0, |first| self.state(&first.address).turn.fetch_add(1, Relaxed))
    }

    /// True unless so few endpoints are healthy that all are used.
    fn avoids_ejected(&mut self, upstream: &Upstream, choice: Choice<'_>) -> bool {
        let (mut all, mut healthy) = (0, 0);
        for endpoint in upstream.endpoints.iter().filter(|endpoint| endpoint.weight > 0) {
            all += 1;
            healthy += usize::from(!self.state(&endpoint.address).is_ejected(choice.now));
        }
        healthy > 0 && healthy * 100 >= all * choice.rules.panic_percent as usize
    }

    /// Forgets what the registry has forgotten. A choice does so by itself; a worker that has none to make calls this
    /// now and then.
    pub fn forget_with_the_registry(&mut self) {
        let version = self.shared.version();
        if version != self.version {
            self.version = version;
            self.states.clear();
        }
    }
}

/// The endpoints that may be chosen, each as often as its weight.
struct Field<'a, F> {
    endpoints: &'a [Endpoint],
    usable: F,
    len: usize,
    total: u64,
    /// All have the same weight.
    even: bool,
}

impl<'a, F: Fn(&Endpoint) -> bool> Field<'a, F> {
    /// `None` when no endpoint is usable.
    fn new(endpoints: &'a [Endpoint], usable: F) -> Option<Self> {
        let (mut len, mut total, mut even, mut weight) = (0, 0, true, None);
        for endpoint in endpoints.iter().filter(|endpoint| usable(endpoint)) {
            len += 1;
            total += u64::from(endpoint.weight);
            even &= *weight.get_or_insert(endpoint.weight) == endpoint.weight;
        }
        (len > 0).then_some(Self { endpoints, usable, len, total, even })
    }

    fn iter(&self) -> impl Iterator<Item = &'a Endpoint> {
        self.endpoints.iter().filter(|endpoint| (self.usable)(endpoint))
    }

    /// The endpoint that holds place `at` of `total`, leaving `without` aside.
    fn at(&self, mut at: u64, without: Option<&Endpoint>) -> Option<&'a Endpoint> {
        self.iter().filter(|endpoint| !without.is_some_and(|without| std::ptr::eq(*endpoint, without))).find(
            |endpoint| {
                let weight = u64::from(endpoint.weight);
                let here = at < weight;
                at = at.saturating_sub(weight);
                here
            },
        )
    }

    fn one(&self, rng: &mut fastrand::Rng) -> Option<&'a Endpoint> {
        if self.len == 1 { self.iter().next() } else { self.at(rng.u64(0..self.total), None) }
    }

    /// Two different ones, both by weight.
    fn two(&self, rng: &mut fastrand::Rng) -> Option<(&'a Endpoint, Option<&'a Endpoint>)> {
        let first = self.at(rng.u64(0..self.total), None)?;
        let rest = self.total - u64::from(first.weight);
        Some((first, self.at(rng.u64(0..rest), Some(first))))
    }

    fn in_turn(&self, turn: u32) -> Option<&'a Endpoint> {
        let turn = u64::from(turn);
        if self.even {
            return self.iter().nth(usize::try_from(turn % self.len as u64).unwrap_or(0));
        }
        // A step that shares no divisor with the total comes to every place once in each round, and not one after the
        // other: an endpoint of great weight does not get all of its share in one row.
        self.at(turn % self.total * step(self.total) % self.total, None)
    }
}

/// A step near the golden section of `total`, sharing no divisor with it.
fn step(total: u64) -> u64 {
    (total * 5 / 8..total).find(|step| gcd(*step, total) == 1).unwrap_or(1)
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests;
