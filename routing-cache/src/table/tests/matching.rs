//! Which route takes a request, by tables of cases.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method};

use crate::model::{
    Action, App, AppId, AppSpec, HeaderOps, NormalPath, PathMatch, Rev, Route, RouteMatch, WeightedUpstream,
};

use super::match_route;

/// One route with what it asks for: path, methods, headers.
type Wanted<'a> = (&'a str, PathMatch, &'a [Method], &'a [(&'a str, &'a str)]);

/// A request, by method, path and headers, and the route that takes it.
type Asked<'a> = (Method, &'a str, &'a [(&'a str, &'a str)], Option<&'a str>);

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

fn app_with(routes: &[Wanted<'_>]) -> App {
    let routes = routes
        .iter()
        .map(|(name, path, methods, headers)| {
            let mut route = route(name, path.clone());
            route.matches.methods = methods.to_vec();
            route.matches.headers = headers.iter().map(|(name, value)| header(name, value)).collect();
            route
        })
        .collect();
    let spec = AppSpec { hosts: Vec::new(), routes, upstreams: Vec::new(), error_pages: BTreeMap::new() };
    App { id: AppId::new("a").unwrap(), rev: Rev(1), document: Bytes::new(), spec }
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
    let headers: Vec<_> = headers.iter().map(|(name, value)| header(name, value)).collect();
    let has =
        |name: &HeaderName, value: &HeaderValue| headers.iter().any(|header| (&header.0, &header.1) == (name, value));
    let path = NormalPath::new(path).unwrap();
    match_route(app, &path, &method, has).map(|route| route.name.as_deref().unwrap().to_owned())
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
