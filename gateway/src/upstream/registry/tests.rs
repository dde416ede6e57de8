use std::sync::Arc as StdArc;

use routing_cache::model::{Balance, Endpoint, Protocol};

use super::*;

const RULES: UpstreamConfig = UpstreamConfig {
    connect_timeout: Duration::from_secs(1),
    request_timeout: Duration::from_secs(60),
    idle_connections_per_endpoint: 256,
    eject_after: 3,
    eject_for: Duration::from_secs(10),
    max_ejected_percent: 100,
    panic_percent: 0,
};

fn address(port: u16) -> Address {
    format!("127.0.0.1:{port}").parse().unwrap()
}

fn upstream(ports: std::ops::RangeInclusive<u16>) -> Upstream {
    let endpoint = |port| Endpoint { address: address(port), weight: 1, instance: None };
    Upstream {
        name: StdArc::from("web"),
        endpoints: ports.map(endpoint).collect(),
        protocol: Protocol::Http1,
        balance: Balance::LeastRequest,
        sticky_cookie: None,
        health: None,
        max_connections: None,
        max_pending: None,
        tls: None,
    }
}

struct Scene {
    endpoints: Endpoints,
    upstream: Upstream,
    rules: UpstreamConfig,
    now: Instant,
}

impl Scene {
    fn new(ports: std::ops::RangeInclusive<u16>) -> Self {
        let endpoints = Endpoints::new();
        let now = endpoints.begun + Duration::from_secs(1);
        Self { endpoints, upstream: upstream(ports), rules: RULES, now }
    }

    /// Fails `port` once.
    fn fail(&self, port: u16) -> bool {
        self.endpoints.failed(&self.upstream, &self.endpoints.state(&address(port)), &self.rules, self.now)
    }

    fn fail_until_ejected(&self, port: u16) {
        assert_eq!([self.fail(port), self.fail(port), self.fail(port)], [false, false, true], "{port}");
    }

    fn out_for(&self, port: u16) -> Option<u64> {
        self.endpoints.state(&address(port)).ejected_for(self.now).map(|left| left.as_secs())
    }
}

#[test]
fn failures_in_a_row_eject_an_endpoint_for_a_while() {
    let mut scene = Scene::new(1..=3);
    assert!(!scene.endpoints.any_ejected(scene.now));
    scene.fail_until_ejected(1);
    assert_eq!((scene.out_for(1), scene.out_for(2)), (Some(10), None));
    assert!(scene.endpoints.any_ejected(scene.now));
    scene.now += Duration::from_secs(10);
    let state = scene.endpoints.state(&address(1));
    assert_eq!(state.ejected_ago(scene.now), Some(Duration::from_secs(10)));
    assert_eq!(scene.endpoints.state(&address(2)).ejected_ago(scene.now), None);
    assert_eq!(scene.out_for(1), None);
    assert!(!scene.endpoints.any_ejected(scene.now));
}

#[test]
fn a_success_in_between_starts_the_count_anew() {
    let scene = Scene::new(1..=3);
    for _ in 0..5 {
        assert_eq!([scene.fail(1), scene.fail(1)], [false, false]);
        scene.endpoints.state(&address(1)).succeeded();
    }
    scene.fail_until_ejected(1);
}

#[test]
fn each_return_that_fails_again_is_followed_by_twice_the_time_up_to_five_minutes() {
    let mut scene = Scene::new(1..=3);
    scene.fail_until_ejected(1);
    for expected in [20, 40, 80, 160, 300, 300] {
        scene.now += Duration::from_secs(scene.out_for(1).unwrap());
        assert!(scene.fail(1), "no success since, so one more failure is enough");
        assert_eq!(scene.out_for(1), Some(expected));
    }
    scene.now += Duration::from_secs(300) + MAX_EJECTION + Duration::from_secs(1);
    assert!(scene.fail(1));
    assert_eq!(scene.out_for(1), Some(10), "after a quiet time it starts anew");
}

#[test]
fn the_last_healthy_endpoint_is_never_ejected() {
    let scene = Scene::new(1..=3);
    scene.fail_until_ejected(1);
    scene.fail_until_ejected(2);
    assert!((0..20).all(|_| !scene.fail(3)));
    let alone = Scene::new(1..=1);
    assert!((0..20).all(|_| !alone.fail(1)));
}

#[test]
fn no_more_than_the_configured_share_is_ejected() {
    let mut scene = Scene::new(1..=4);
    scene.rules.max_ejected_percent = 50;
    scene.fail_until_ejected(1);
    scene.fail_until_ejected(2);
    assert!((0..20).all(|_| !scene.fail(3)));
    scene.now += Duration::from_secs(10);
    assert!(scene.fail(3), "others have returned");
}

#[test]
fn requests_in_flight_are_counted_on_every_path() {
    let endpoints = Endpoints::new();
    let state = endpoints.state(&address(1));
    let first = state.begin();
    let second = endpoints.state(&address(1)).begin();
    assert_eq!(state.in_flight(), 2);
    drop(first);
    let moved = std::thread::spawn(move || drop(second));
    moved.join().unwrap();
    assert_eq!(state.in_flight(), 0);
}

#[test]
fn an_endpoint_is_forgotten_once_nobody_has_used_it_for_a_while() {
    let scene = Scene::new(1..=3);
    let state = scene.endpoints.state(&address(1));
    let minute = Duration::from_secs(60);
    let sweep = |minutes: u32| scene.endpoints.sweep(scene.now + minute * minutes);
    (0..10).for_each(sweep);
    assert!(scene.endpoints.known(&address(1)).is_some(), "ten minutes are not over");
    drop(state.begin());
    (10..20).for_each(sweep);
    assert!(scene.endpoints.known(&address(1)).is_some(), "it was used since");
    sweep(20);
    assert_eq!((scene.endpoints.known(&address(1)).is_none(), scene.endpoints.version()), (true, 1));
}

#[test]
fn an_endpoint_that_a_request_is_at_or_that_is_ejected_is_not_forgotten() {
    let scene = Scene::new(1..=3);
    let request = scene.endpoints.state(&address(1)).begin();
    scene.fail_until_ejected(2);
    let later = scene.now + FORGET_AFTER * 2;
    scene.endpoints.sweep(scene.now);
    assert_eq!(scene.endpoints.ejected(scene.now), [address(2)]);
    assert_eq!(scene.endpoints.counts(3), Counts { healthy: 2, ejected: 1, ..Counts::default() });
    scene.endpoints.sweep(later);
    scene.endpoints.sweep(later + FORGET_AFTER - Duration::from_secs(1));
    assert_eq!(scene.endpoints.state(&address(1)).in_flight(), 1);
    assert_eq!(scene.endpoints.ejected(later), []);
    drop(request);
    scene.endpoints.sweep(later + FORGET_AFTER);
    assert!(scene.endpoints.known(&address(2)).is_none(), "it has been back and unused since `later`");
    scene.endpoints.sweep(later + FORGET_AFTER * 2);
    assert!(scene.endpoints.known(&address(1)).is_none());
}
