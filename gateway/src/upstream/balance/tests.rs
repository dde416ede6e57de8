use std::{collections::BTreeMap, time::Duration};

use proptest::prelude::*;
use routing_cache::model::Protocol;

use super::*;

const RULES: UpstreamConfig = UpstreamConfig {
    connect_timeout: Duration::from_secs(1),
    request_timeout: Duration::from_secs(60),
    idle_connections_per_endpoint: 256,
    eject_after: 1,
    eject_for: Duration::from_secs(10),
    max_ejected_percent: 100,
    panic_percent: 0,
};

fn address(number: usize) -> Address {
    format!("127.0.0.1:{}", number + 1).parse().unwrap()
}

fn upstream(balance: Balance, weights: &[u16]) -> Upstream {
    let endpoint = |(number, &weight)| Endpoint { address: address(number), weight, instance: None };
    Upstream {
        name: Arc::from("web"),
        endpoints: weights.iter().enumerate().map(endpoint).collect(),
        protocol: Protocol::Http1,
        balance,
        sticky_cookie: None,
        health: None,
        max_connections: None,
        max_pending: None,
        tls: None,
    }
}

struct Scene {
    endpoints: Arc<Endpoints>,
    balancer: Balancer,
    upstream: Upstream,
    rules: UpstreamConfig,
    excluded: Vec<Address>,
    now: Instant,
}

impl Scene {
    fn new(balance: Balance, weights: &[u16]) -> Self {
        let endpoints = Arc::new(Endpoints::new());
        let balancer = Balancer::new(Arc::clone(&endpoints), 7);
        let now = Instant::now() + Duration::from_secs(1);
        Self { endpoints, balancer, upstream: upstream(balance, weights), rules: RULES, excluded: Vec::new(), now }
    }

    fn pick(&mut self) -> Option<Picked> {
        let choice = Choice { excluded: &self.excluded, rules: &self.rules, now: self.now };
        self.balancer.pick(&self.upstream, choice)
    }

    /// How often each endpoint is picked in `times`.
    fn shares(&mut self, times: usize) -> Vec<usize> {
        let mut shares = BTreeMap::new();
        for _ in 0..times {
            *shares.entry(self.pick().unwrap().address).or_insert(0) += 1;
        }
        (0..self.upstream.endpoints.len()).map(|number| shares.get(&address(number)).copied().unwrap_or(0)).collect()
    }

    fn eject(&self, number: usize) {
        let state = self.endpoints.state(&address(number));
        assert!(self.endpoints.failed(&self.upstream, &state, &self.rules, self.now), "{number}");
    }
}

/// Each share lies within a tenth of the whole of what its weight says.
fn check_shares(balance: Balance, weights: &[u16]) {
    let mut scene = Scene::new(balance.clone(), weights);
    let total: u32 = weights.iter().copied().map(u32::from).sum();
    for (share, &weight) in scene.shares(10_000).into_iter().zip(weights) {
        let expected = 10_000 * u32::from(weight) / total;
        let off = expected.abs_diff(u32::try_from(share).unwrap());
        assert!(off <= expected / 10, "{balance:?} {weights:?}: {share} instead of {expected}");
    }
}

#[test]
fn idle_endpoints_get_requests_by_their_weight() {
    for balance in [Balance::Random, Balance::LeastRequest, Balance::RoundRobin] {
        check_shares(balance.clone(), &[1]);
        check_shares(balance.clone(), &[1, 1, 1, 1]);
        check_shares(balance.clone(), &[1, 0, 3, 6]);
        check_shares(balance, &[100, 100, 200]);
    }
}

#[test]
fn the_less_loaded_of_two_is_preferred() {
    let mut scene = Scene::new(Balance::LeastRequest, &[1, 1, 1]);
    let busy = scene.endpoints.state(&address(1));
    let _in_flight = [busy.begin(), busy.begin()];
    assert_eq!(scene.shares(1000)[1], 0, "one of the two choices is always another one");
}

#[test]
fn load_counts_for_the_weight_of_an_endpoint() {
    let mut scene = Scene::new(Balance::LeastRequest, &[1, 10]);
    let (small, great) = (scene.endpoints.state(&address(0)), scene.endpoints.state(&address(1)));
    let _in_flight: Vec<_> = (0..5).map(|_| great.begin()).chain([small.begin()]).collect();
    assert_eq!(scene.shares(1000), [0, 1000], "5 of 10 is less than 1 of 1");
}

#[test]
fn requests_that_stay_are_spread_evenly() {
    let mut scene = Scene::new(Balance::LeastRequest, &[1; 10]);
    let held: Vec<_> = (0..1000).map(|_| scene.pick().unwrap().state.begin()).collect();
    let loads: Vec<_> = (0..10).map(|number| scene.endpoints.state(&address(number)).in_flight()).collect();
    assert!(loads.iter().all(|load| (90..=110).contains(load)), "{loads:?}");
    drop(held);
}

#[test]
fn turns_are_exact_and_shared_between_workers() {
    let mut scene = Scene::new(Balance::RoundRobin, &[1, 1, 1]);
    let mut other = Balancer::new(Arc::clone(&scene.endpoints), 8);
    let mut ports = Vec::new();
    for _ in 0..3 {
        let choice = Choice { excluded: &[], rules: &RULES, now: scene.now };
        ports.push(other.pick(&scene.upstream, choice).unwrap().address);
        ports.push(scene.pick().unwrap().address);
    }
    let expected: Vec<_> = (0..6).map(|turn| address(turn % 3)).collect();
    assert_eq!(ports, expected);
}

#[test]
fn weighted_turns_are_exact_in_each_round_and_do_not_come_in_a_row() {
    let mut scene = Scene::new(Balance::RoundRobin, &[5, 1, 2]);
    assert_eq!(scene.shares(8), [5, 1, 2]);
    assert_eq!(scene.shares(80), [50, 10, 20]);
    let round: Vec<_> = (0..8).map(|_| scene.pick().unwrap().address).collect();
    assert!(round.windows(4).all(|four| four.iter().any(|a| *a != address(0))), "{round:?}");
}

#[test]
fn an_ejected_endpoint_gets_nothing_until_it_returns() {
    for balance in [Balance::Random, Balance::LeastRequest, Balance::RoundRobin] {
        let mut scene = Scene::new(balance, &[1, 1, 1]);
        assert!(scene.shares(300)[1] > 50);
        scene.eject(1);
        assert_eq!(scene.shares(300)[1], 0);
        scene.now += Duration::from_secs(10);
        assert!(scene.shares(300)[1] > 50);
    }
}

#[test]
fn an_endpoint_ejected_by_another_worker_is_avoided_even_if_it_was_never_used_here() {
    let mut scene = Scene::new(Balance::Random, &[1, 1]);
    scene.eject(0);
    assert_eq!(scene.shares(100), [0, 100]);
}

#[test]
fn where_too_few_are_healthy_all_are_used() {
    let mut scene = Scene::new(Balance::Random, &[1, 1, 1, 1]);
    scene.eject(0);
    scene.eject(1);
    scene.rules.panic_percent = 50;
    assert_eq!(scene.shares(300)[..2], [0, 0], "half is not below half");
    scene.rules.panic_percent = 51;
    assert!(scene.shares(300).iter().all(|share| *share > 30));
}

#[test]
fn where_none_is_healthy_all_are_used() {
    let mut scene = Scene::new(Balance::LeastRequest, &[1, 1, 1]);
    scene.eject(0);
    scene.eject(1);
    scene.upstream.endpoints.truncate(2);
    assert!(scene.shares(300).iter().all(|share| *share > 100));
}

#[test]
fn an_excluded_endpoint_is_never_picked() {
    for balance in [Balance::Random, Balance::LeastRequest, Balance::RoundRobin] {
        let mut scene = Scene::new(balance, &[1, 1, 1]);
        scene.excluded = vec![address(0), address(2)];
        assert_eq!(scene.shares(100), [0, 100, 0]);
        scene.excluded.push(address(1));
        assert!(scene.pick().is_none());
    }
}

#[test]
fn an_upstream_without_endpoints_of_weight_has_none_to_pick() {
    assert!(Scene::new(Balance::LeastRequest, &[]).pick().is_none());
    assert!(Scene::new(Balance::RoundRobin, &[0, 0]).pick().is_none());
}

#[test]
fn a_forgotten_endpoint_is_asked_for_anew() {
    let mut scene = Scene::new(Balance::Random, &[1]);
    let before = scene.pick().unwrap().state;
    scene.endpoints.sweep(scene.now);
    scene.endpoints.sweep(scene.now + crate::upstream::registry::FORGET_AFTER);
    let after = scene.pick().unwrap().state;
    assert!(!Arc::ptr_eq(&before, &after));
    assert!(Arc::ptr_eq(&after, &scene.endpoints.state(&address(0))));
}

#[test]
fn weighted_upstreams_of_a_route_get_their_share() {
    let mut balancer = Balancer::new(Arc::default(), 7);
    let to: Vec<_> =
        [90, 0, 10].iter().enumerate().map(|(upstream, &weight)| WeightedUpstream { upstream, weight }).collect();
    let mut shares = [0; 3];
    for _ in 0..10_000 {
        shares[balancer.pick_route(&to).unwrap().upstream] += 1;
    }
    assert!(shares[1] == 0 && (800..1200).contains(&shares[2]), "{shares:?}");
    assert_eq!(balancer.pick_route(&to[1..2]), None);
    assert_eq!(balancer.pick_route(&to[..1]), Some(&to[0]));
}

proptest! {
    #[test]
    fn whatever_is_ejected_or_excluded_a_usable_endpoint_is_picked(
        weights in prop::collection::vec(0_u16..4, 0..6),
        ejected in prop::collection::vec(0_usize..6, 0..6),
        excluded in prop::collection::vec(0_usize..6, 0..3),
        balance in prop::sample::select(vec![Balance::Random, Balance::LeastRequest, Balance::RoundRobin]),
        panic_percent in 0_u32..=100,
    ) {
        let mut scene = Scene::new(balance, &weights);
        scene.rules.panic_percent = panic_percent;
        scene.excluded = excluded.iter().map(|&number| address(number)).collect();
        for &number in &ejected {
            let state = scene.endpoints.state(&address(number));
            scene.endpoints.failed(&scene.upstream, &state, &scene.rules, scene.now);
        }
        for _ in 0..8 {
            let Some(picked) = scene.pick() else { continue };
            let endpoint = scene.upstream.endpoints.iter().find(|e| e.address == picked.address).unwrap();
            prop_assert!(endpoint.weight > 0 && !scene.excluded.contains(&picked.address));
        }
        let open = scene.upstream.endpoints.iter().any(|e| e.weight > 0 && !scene.endpoints.state(&e.address).is_ejected(scene.now) && !scene.excluded.contains(&e.address));
        prop_assert!(!open || scene.pick().is_some());
    }
}
