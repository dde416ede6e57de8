//! The table against a model that is too simple to be wrong, and matching by tables of cases.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use proptest::prelude::*;

use crate::model::{
    Action, AppSpec, Endpoint, HeaderOps, PathMatch, Rev, Route, RouteMatch, Upstream, WeightedUpstream,
};

use super::*;

/// An app by hand: what is not said is as plain as can be.
fn app(id: &str, rev: u64, hosts: &[&str], endpoints: u16) -> Arc<App> {
    let endpoint =
        |port: u16| Endpoint { address: format!("10.0.0.1:{}", port + 1).parse().unwrap(), weight: 1, instance: None };
    let upstream = Upstream {
        name: Arc::from("default"),
        endpoints: (0..endpoints).map(endpoint).collect(),
        protocol: Default::default(),
        balance: Default::default(),
        sticky_cookie: None,
        health: None,
        max_connections: None,
        max_pending: None,
        tls: None,
    };
    let spec = AppSpec {
        hosts: hosts.iter().map(|host| host.parse().unwrap()).collect(),
        routes: vec![route("default", PathMatch::Prefix(Arc::from("/")))],
        upstreams: vec![upstream],
        error_pages: BTreeMap::new(),
    };
    let digest = Digest(u128::from(rev) << 64 | id.bytes().map(u128::from).sum::<u128>());
    Arc::new(App { id: AppId::new(id).unwrap(), rev: Rev(rev), digest, document: Bytes::new(), spec })
}

fn route(name: &str, path: PathMatch) -> Route {
    Route {
        name: Some(Arc::from(name)),
        matches: RouteMatch { path, methods: Vec::new(), headers: Vec::new() },
        action: Action::Forward { to: vec![WeightedUpstream { upstream: 0, weight: 1 }], rewrite: None },
        request_headers: HeaderOps::default(),
        response_headers: HeaderOps::default(),
        timeouts: Default::default(),
        retries: Default::default(),
    }
}

fn table(apps: &[Arc<App>]) -> Table {
    let mut table = Table::default();
    for app in apps {
        table.upsert(Arc::clone(app)).unwrap();
    }
    table
}

fn found(table: &Table, host: &str) -> Option<(String, String)> {
    let found = table.find(host);
    assert_eq!(found.as_ref().map(|(app, _)| &app.id), table.find_app(host).map(|app| &app.id));
    found.map(|(app, pattern)| (app.id.to_string(), pattern.to_string()))
}

/// The same contract in the simplest way there is.
#[derive(Clone, Default)]
struct Naive(BTreeMap<AppId, Arc<App>>);

impl Naive {
    fn upsert(&mut self, app: &Arc<App>) -> Result<Option<Arc<App>>, HostTaken> {
        for host in &app.spec.hosts {
            let owner = self.0.values().find(|other| other.id != app.id && other.spec.hosts.contains(host));
            if let Some(owner) = owner {
                return Err(HostTaken { host: host.clone(), owner: owner.id.clone() });
            }
        }
        Ok(self.0.insert(app.id.clone(), Arc::clone(app)))
    }

    /// Every claim that takes the host, and of those the exact one, else the longest.
    fn find(&self, host: &str) -> Option<(String, String)> {
        let claims = self.0.values().flat_map(|app| app.spec.hosts.iter().map(move |pattern| (app, pattern)));
        let fits = |pattern: &HostPattern| match pattern {
            HostPattern::Exact(name) => (**name == *host).then_some(usize::MAX),
            HostPattern::Wildcard(name) => host.ends_with(&format!(".{name}")).then_some(name.len()),
        };
        let best =
            claims.filter_map(|(app, pattern)| Some((fits(pattern)?, app, pattern))).max_by_key(|(fit, ..)| *fit);
        best.map(|(_, app, pattern)| (app.id.to_string(), pattern.to_string()))
    }
}

#[derive(Clone, Debug)]
enum Deed {
    Upsert(Arc<App>),
    Remove(String),
    /// The table is published: what follows works on a clone.
    Publish,
}

fn hosts() -> impl Strategy<Value = String> {
    proptest::string::string_regex("(\\*\\.)?([ab]\\.){0,3}[xy]").unwrap()
}

fn deeds() -> impl Strategy<Value = Vec<Deed>> {
    let ids = || proptest::string::string_regex("[a-e]").unwrap();
    let upsert = (ids(), 1..1000u64, proptest::collection::btree_set(hosts(), 1..5), 0..4u16);
    let upsert = upsert.prop_map(|(id, rev, hosts, endpoints)| {
        let hosts: Vec<&str> = hosts.iter().map(String::as_str).collect();
        Deed::Upsert(app(&id, rev, &hosts, endpoints))
    });
    let deed = prop_oneof![6 => upsert, 2 => ids().prop_map(Deed::Remove), 1 => Just(Deed::Publish)];
    proptest::collection::vec(deed, 0..40)
}

fn check(table: &Table, naive: &Naive, hosts: &[String]) {
    let apps: Vec<_> = naive.0.values().cloned().collect();
    assert_eq!(table.len(), apps.len());
    assert_eq!(table.is_empty(), apps.is_empty());
    assert_eq!(table.hosts(), apps.iter().map(|app| app.spec.hosts.len()).sum::<usize>());
    assert_eq!(table.endpoints(), apps.iter().map(|app| app.spec.endpoint_count()).sum::<usize>());
    assert_eq!(table.digest(), apps.iter().fold(Digest(0), |sum, app| sum.plus(app.digest)));
    assert_eq!(table.page(None, usize::MAX), apps);
    assert_eq!(table.iter().count(), apps.len());
    for app in &apps {
        assert!(Arc::ptr_eq(table.app(app.id.as_str()).unwrap(), app));
    }
    for host in hosts {
        assert_eq!(found(table, host), naive.find(host), "{host}");
    }
}

proptest! {
    #[test]
    fn a_table_does_what_the_naive_one_does(
        deeds in deeds(),
        asked in proptest::collection::vec("([abc]\\.){0,4}[xyz]", 20),
    ) {
        let (mut table, mut naive) = (Table::default(), Naive::default());
        let mut published = vec![(table.clone(), naive.clone())];
        for deed in deeds {
            match deed {
                Deed::Upsert(app) => prop_assert_eq!(table.upsert(Arc::clone(&app)), naive.upsert(&app)),
                Deed::Remove(id) => prop_assert_eq!(table.remove(&id), naive.0.remove(id.as_str())),
                Deed::Publish => published.push((table.clone(), naive.clone())),
            }
            check(&table, &naive, &asked);
        }
        for (table, naive) in &published {
            check(table, naive, &asked);
        }
    }

    #[test]
    fn pages_follow_one_another_until_all_apps_were_seen(ids in proptest::collection::btree_set("[a-z]{1,3}", 0..60), limit in 1..20usize) {
        let apps: Vec<_> = ids.iter().map(|id| app(id, 1, &[&format!("{id}.x")], 1)).collect();
        let table = table(&apps);
        let mut seen: Vec<Arc<App>> = Vec::new();
        loop {
            let page = table.page(seen.last().map(|app| app.id.as_str()), limit);
            prop_assert!(page.len() <= limit);
            if page.is_empty() {
                break;
            }
            seen.extend(page);
            prop_assert!(seen.len() <= apps.len(), "an app was seen twice");
        }
        prop_assert_eq!(seen, apps);
    }

    #[test]
    fn a_normal_host_is_its_own_normal_form(host in "[A-Za-z0-9_.:\\[\\]-]{0,20}|[a-zA-Z]{1,5}(\\.[a-z0-9-]{1,5}){0,3}\\.?(:[0-9]{0,5})?") {
        if let Some(normal) = normal_host(&host) {
            prop_assert!(!normal.bytes().any(|b| b.is_ascii_uppercase()) || normal.starts_with('['));
            prop_assert_eq!(normal_host(&normal), Some(normal.clone()));
        }
    }
}

#[test]
fn a_page_of_none_has_none() {
    assert!(table(&[app("a", 1, &["a.x"], 1)]).page(None, 0).is_empty());
}

#[test]
fn a_host_that_another_app_has_stays_there_and_nothing_changes() {
    let mut table = table(&[app("a", 1, &["a.x", "*.a.x"], 1), app("b", 1, &["b.x"], 2)]);
    let (digest, old) = (table.digest(), Arc::clone(table.app("b").unwrap()));
    let error = table.upsert(app("b", 2, &["new.x", "*.a.x"], 9)).unwrap_err();
    assert_eq!(error.to_string(), "host *.a.x belongs to app a");
    assert!(Arc::ptr_eq(table.app("b").unwrap(), &old));
    assert_eq!((table.digest(), table.endpoints(), table.hosts()), (digest, 3, 3));
    assert_eq!(found(&table, "new.x"), None);
}

#[test]
fn a_host_that_is_no_longer_claimed_is_free() {
    let mut table = table(&[app("a", 1, &["a.x", "*.a.x", "keep.x"], 1)]);
    table.upsert(app("a", 2, &["keep.x"], 1)).unwrap();
    table.upsert(app("b", 1, &["a.x", "*.a.x"], 1)).unwrap();
    assert_eq!(found(&table, "a.x").unwrap().0, "b");
    assert_eq!(found(&table, "z.a.x").unwrap().0, "b");
    assert_eq!(found(&table, "keep.x").unwrap().0, "a");
}

#[test]
fn an_app_put_in_twice_keeps_its_hosts() {
    let one = app("a", 1, &["a.x"], 1);
    let mut table = table(&[Arc::clone(&one)]);
    assert!(table.upsert(Arc::clone(&one)).unwrap().is_some());
    assert_eq!(found(&table, "a.x").unwrap().0, "a");
    assert_eq!((table.len(), table.hosts(), table.endpoints(), table.digest()), (1, 1, 1, one.digest));
}

#[test]
fn an_exact_host_wins_over_a_wildcard_and_a_longer_wildcard_over_a_shorter() {
    let table = table(&[app("a", 1, &["*.x"], 1), app("b", 1, &["*.b.x"], 1), app("c", 1, &["c.b.x"], 1)]);
    let cases = [
        ("c.b.x", Some(("c", "c.b.x"))),
        ("d.b.x", Some(("b", "*.b.x"))),
        ("e.d.b.x", Some(("b", "*.b.x"))),
        ("d.c.b.x", Some(("b", "*.b.x"))),
        ("b.x", Some(("a", "*.x"))),
        ("z.y.x", Some(("a", "*.x"))),
        ("x", None),
        ("xx", None),
        ("ab.xx", None),
        ("", None),
    ];
    for (host, expected) in cases {
        assert_eq!(found(&table, host), expected.map(|(app, by)| (app.to_owned(), by.to_owned())), "{host}");
    }
}

#[test]
fn a_host_longer_than_any_name_is_not_walked() {
    let table = table(&[app("a", 1, &["*.x"], 1)]);
    assert!(table.find_app(&format!("{}x", "a.".repeat(126))).is_some());
    assert!(table.find_app(&format!("{}x", "a.".repeat(127))).is_none());
}

#[test]
fn a_clone_shares_what_does_not_change() {
    let apps: Vec<_> = (0..2000).map(|i| app(&format!("app-{i}"), 1, &[&format!("h{i}.x")], 1)).collect();
    let table = table(&apps);
    let mut changed = table.clone();
    changed.upsert(app("app-7", 2, &["h7.x"], 1)).unwrap();
    assert_eq!((table.app("app-7").unwrap().rev, changed.app("app-7").unwrap().rev), (Rev(1), Rev(2)));
    assert!(changed.apps.shared_leaves(&table.apps) >= 4095);
    assert!(changed.exact.shared_leaves(&table.exact) >= 4095);
}

#[test]
fn hosts_are_spread_over_the_leaves() {
    let apps: Vec<_> = (0..5000).map(|i| app(&format!("app-{i}"), 1, &[&format!("h{i}.x")], 1)).collect();
    let table = table(&apps);
    // 5,000 over 4,096 leaves: more than 14 in one has a probability below 1e-6 for a good spread.
    assert!(table.apps.largest_leaf() <= 14, "{}", table.apps.largest_leaf());
    assert!(table.exact.largest_leaf() <= 14, "{}", table.exact.largest_leaf());
}

#[test]
fn a_host_is_looked_up_without_port_dot_and_case() {
    let cases = [
        ("shop.example.com", Some("shop.example.com")),
        ("Shop.EXAMPLE.com", Some("shop.example.com")),
        ("shop.example.com:8080", Some("shop.example.com")),
        ("shop.example.com:", Some("shop.example.com")),
        ("shop.example.com.", Some("shop.example.com")),
        ("SHOP.example.com.:443", Some("shop.example.com")),
        ("10.0.0.5:80", Some("10.0.0.5")),
        ("a_b.x", Some("a_b.x")),
        ("[::1]", Some("[::1]")),
        ("[::1]:8080", Some("[::1]")),
        ("[2001:DB8::1]", Some("[2001:DB8::1]")),
        ("", None),
        (".", None),
        (":80", None),
        ("..", None),
        ("a..b", None),
        (".a", None),
        ("a..", None),
        ("a:b", None),
        ("a:80:80", None),
        ("a:65536", None),
        ("a:+80", None),
        ("::1", None),
        ("[::1", None),
        ("[::1]x", None),
        ("[::1]:x", None),
        ("[a]", None),
        ("[", None),
        ("[]", None),
        ("[é]", None),
        ("a b", None),
        ("a/b", None),
        ("a@b", None),
        ("*.x", None),
        ("bücher.example", None),
    ];
    for (host, expected) in cases {
        assert_eq!(normal_host(host).as_deref(), expected, "{host}");
    }
    assert!(normal_host(&"a".repeat(253)).is_some());
    assert!(normal_host(&"a".repeat(254)).is_none());
}

#[test]
fn a_host_that_is_normal_is_not_copied() {
    assert!(matches!(normal_host("a.x:80"), Some(std::borrow::Cow::Borrowed("a.x"))));
}

/// One route with what it asks for: path, methods, headers.
type Wanted<'a> = (&'a str, PathMatch, &'a [Method], &'a [(&'a str, &'a str)]);

/// A request, by method, path and headers, and the route that takes it.
type Asked<'a> = (Method, &'a str, &'a [(&'a str, &'a str)], Option<&'a str>);

fn app_with(routes: &[Wanted<'_>]) -> Arc<App> {
    let mut app = Arc::unwrap_or_clone(app("a", 1, &["a.x"], 1));
    app.spec.routes = routes
        .iter()
        .map(|(name, path, methods, headers)| {
            let mut route = route(name, path.clone());
            route.matches.methods = methods.to_vec();
            route.matches.headers = headers.iter().map(|(name, value)| header(name, value)).collect();
            route
        })
        .collect();
    Arc::new(app)
}

fn header(name: &str, value: &str) -> (HeaderName, HeaderValue) {
    (name.parse().unwrap(), value.parse().unwrap())
}

fn exact(path: &str) -> PathMatch {
    PathMatch::Exact(Arc::from(path))
}

fn prefix(path: &str) -> PathMatch {
    PathMatch::Prefix(Arc::from(path))
}

fn matched(app: &App, method: Method, path: &str, headers: &[(&str, &str)]) -> Option<String> {
    let headers: HeaderMap = headers.iter().map(|(name, value)| header(name, value)).collect();
    let path = NormalPath::new(path).unwrap();
    match_route(app, &path, &method, &headers).map(|route| route.name.as_deref().unwrap().to_owned())
}

/// Gateway API's order, as the parser leaves it: exact, longest prefix, method, number of headers, as written.
#[test]
fn the_most_specific_route_takes_the_request() {
    let app = app_with(&[
        ("exact", exact("/api/v1"), &[], &[]),
        ("post", prefix("/api/v1"), &[Method::POST, Method::PUT], &[]),
        ("two headers", prefix("/api/v1"), &[], &[("x-env", "beta"), ("x-user", "7")]),
        ("one header", prefix("/api/v1"), &[], &[("x-env", "beta")]),
        ("v1", prefix("/api/v1"), &[], &[]),
        ("api", prefix("/api"), &[], &[]),
        ("root", prefix("/"), &[Method::GET], &[]),
    ]);
    let (beta, other, user) = (("x-env", "beta"), ("x-env", "alpha"), ("x-user", "7"));
    let cases: &[Asked<'_>] = &[
        (Method::GET, "/api/v1", &[], Some("exact")),
        (Method::GET, "/api/v1/", &[], Some("v1")),
        (Method::GET, "/api/v1/x", &[], Some("v1")),
        (Method::GET, "/api/v1x", &[], Some("api")),
        (Method::POST, "/api/v1/x", &[beta], Some("post")),
        (Method::PUT, "/api/v1/x", &[], Some("post")),
        (Method::GET, "/api/v1/x", &[beta], Some("one header")),
        (Method::GET, "/api/v1/x", &[other, beta], Some("one header")),
        (Method::GET, "/api/v1/x", &[("x-env", "beta, alpha")], Some("v1")),
        (Method::GET, "/api/v1/x", &[("x-env", "Beta")], Some("v1")),
        (Method::GET, "/api/v1/x", &[user, beta], Some("two headers")),
        (Method::GET, "/api/v1/x", &[user], Some("v1")),
        (Method::GET, "/api", &[], Some("api")),
        (Method::GET, "/API", &[], Some("root")),
        (Method::GET, "/apix", &[], Some("root")),
        (Method::GET, "/%61pi/x", &[], Some("api")),
        (Method::GET, "/x/../api", &[], Some("api")),
        (Method::GET, "/api%2Fv1", &[], Some("root")),
        (Method::GET, "/", &[], Some("root")),
        (Method::HEAD, "/", &[], None),
        (Method::POST, "/apix", &[], None),
    ];
    for (method, path, headers, expected) in cases {
        assert_eq!(matched(&app, method.clone(), path, headers).as_deref(), *expected, "{method} {path} {headers:?}");
    }
}

#[test]
fn of_two_routes_alike_the_first_takes_the_request() {
    let app = app_with(&[("first", prefix("/a"), &[], &[]), ("second", prefix("/a"), &[], &[])]);
    assert_eq!(matched(&app, Method::GET, "/a/b", &[]).as_deref(), Some("first"));
}
