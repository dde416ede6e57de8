use std::{sync::Arc, time::Duration};

use http::{HeaderName, HeaderValue, Method, StatusCode};
use proptest::prelude::*;

use super::*;
use crate::model::{
    Action, PathMatch, PathRewrite, Redirect, RedirectStatus, Retries, RetryOn, Route, Timeouts, WeightedUpstream,
};

const LONG_FORM: &str = r#"{
  "hosts": ["shop.example.com", "*.shop.example.com"],
  "routes": [
    {"name":"api","match":{"path":{"prefix":"/api"},"methods":["GET","POST"],"headers":{"x-env":"beta"}},
     "to":[{"upstream":"api","weight":90},{"upstream":"api-next","weight":10}],
     "rewrite":{"prefix":"/"},
     "request_headers":{"set":{"x-tenant":"shop"},"add":{},"remove":["cookie2"]},
     "response_headers":{"set":{"strict-transport-security":"max-age=31536000"}},
     "timeouts":{"request":"30s","connect":"1s","idle":"60s"},
     "retries":{"attempts":2,"on":["connect-failure","reset-before-response","503"]}},
    {"match":{"path":{"exact":"/old"}},"redirect":{"status":308,"path":"/new"}},
    {"match":{"path":{"prefix":"/"}},"to":"web"}
  ],
  "upstreams": {
    "web": {"endpoints":[{"address":"10.0.0.5:8080","weight":1,"instance":"web-7f"},"10.0.0.6:8080"],
            "protocol":"http1","balance":"least-request",
            "health":{"path":"/healthz","interval":"5s","timeout":"1s","unhealthy_after":3,"healthy_after":2},
            "max_connections":1024,"max_pending":1024},
    "api": {"endpoints":["10.0.0.7:9000"]},
    "api-next": {"endpoints":[]}
  },
  "error_pages": {"503":"<html>soon</html>"}
}"#;

fn parse(document: &str) -> Result<AppSpec, String> {
    parse_document(document.as_bytes()).map_err(|error| error.to_string())
}

/// A long form with these routes, and upstreams `a` and `b`.
fn with_routes(routes: &str) -> Result<AppSpec, String> {
    let upstreams = r#"{"b":{"endpoints":["10.0.0.2:80"]},"a":{"endpoints":["10.0.0.1:80"]}}"#;
    parse(&format!(r#"{{"hosts":["x.example"],"routes":{routes},"upstreams":{upstreams}}}"#))
}

/// The one route of a document that has it.
fn route(route: &str) -> Result<Route, String> {
    with_routes(&format!("[{route}]")).map(|mut spec| spec.routes.remove(0))
}

/// The one upstream `a` with these fields besides its endpoints.
fn upstream(fields: &str) -> Result<Upstream, String> {
    let upstreams = format!(r#"{{"a":{{"endpoints":["10.0.0.1:80"]{fields}}}}}"#);
    parse(&format!(r#"{{"hosts":["x.example"],"routes":[{{"to":"a"}}],"upstreams":{upstreams}}}"#))
        .map(|mut spec| spec.upstreams.remove(0))
}

fn header(name: &str, value: &str) -> (HeaderName, HeaderValue) {
    (name.parse().unwrap(), value.parse().unwrap())
}

fn whole_path(route: &Route) -> String {
    match &route.matches.path {
        PathMatch::Exact(path) => format!("={path}"),
        PathMatch::Prefix(path) => path.to_string(),
    }
}

#[test]
fn the_short_form_is_one_route_to_one_upstream_named_default() {
    let spec = parse(
        r#"{"hosts":["shop.example.com","*.shop.example.com"],"endpoints":["10.0.0.5:8080","unix:/run/shop.sock"]}"#,
    )
    .unwrap();
    assert_eq!(spec.hosts, ["shop.example.com".parse().unwrap(), "*.shop.example.com".parse().unwrap()]);
    assert_eq!(&*spec.upstreams[0].name, "default");
    let addresses: Vec<String> = spec.upstreams[0].endpoints.iter().map(|e| e.address.to_string()).collect();
    assert_eq!(addresses, ["10.0.0.5:8080", "unix:/run/shop.sock"]);
    assert!(spec.upstreams[0].endpoints.iter().all(|endpoint| endpoint.weight == 1));
    let [route] = &spec.routes[..] else { panic!("{:?}", spec.routes) };
    assert_eq!(route.matches.path, PathMatch::Prefix(Arc::from("/")));
    assert_eq!(route.action, Action::Forward { to: vec![WeightedUpstream { upstream: 0, weight: 1 }], rewrite: None });
    assert_eq!(route.retries, Retries { attempts: 1, on: vec![RetryOn::ConnectFailure, RetryOn::ResetBeforeResponse] });
    assert_eq!(spec.endpoint_count(), 2);
}

#[test]
fn no_endpoints_and_error_pages_are_fine_in_the_short_form() {
    let spec = parse(r#"{"hosts":["x.example"],"endpoints":[],"error_pages":{"404":"gone","599":""}}"#).unwrap();
    assert_eq!(spec.endpoint_count(), 0);
    assert_eq!(spec.error_pages.len(), 2);
}

#[test]
fn every_field_of_the_long_form_is_read() {
    let spec = parse(LONG_FORM).unwrap();
    assert_eq!(spec.error_pages[&503], Arc::from("<html>soon</html>"));
    let paths: Vec<String> = spec.routes.iter().map(whole_path).collect();
    assert_eq!(paths, ["=/old", "/api", "/"]);

    let api = &spec.routes[1];
    let name = |index: usize| &*spec.upstreams[index].name;
    let Action::Forward { to, rewrite } = &api.action else { panic!("{api:?}") };
    assert_eq!(
        [(name(to[0].upstream), to[0].weight), (name(to[1].upstream), to[1].weight)],
        [("api", 90), ("api-next", 10)]
    );
    assert_eq!(*rewrite, Some(PathRewrite::Prefix(Arc::from("/"))));
    assert_eq!(api.name.as_deref(), Some("api"));
    assert_eq!(api.matches.methods, [Method::GET, Method::POST]);
    assert_eq!(api.matches.headers, [header("x-env", "beta")]);
    assert_eq!(api.request_headers.set, [header("x-tenant", "shop")]);
    assert_eq!(api.request_headers.add, []);
    assert_eq!(api.request_headers.remove, ["cookie2".parse::<HeaderName>().unwrap()]);
    assert_eq!(api.response_headers.set, [header("strict-transport-security", "max-age=31536000")]);
    let seconds = |s| Some(Duration::from_secs(s));
    let timeouts = Timeouts { request: seconds(30), connect: seconds(1), idle: seconds(60), per_try: None };
    assert_eq!(api.timeouts, timeouts);
    let unavailable = RetryOn::Status(StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(api.retries.attempts, 2);
    assert_eq!(api.retries.on, [RetryOn::ConnectFailure, RetryOn::ResetBeforeResponse, unavailable]);

    let web = spec.upstreams.iter().find(|upstream| &*upstream.name == "web").unwrap();
    assert_eq!(web.endpoints[0].instance.as_deref(), Some("web-7f"));
    assert_eq!((web.max_connections, web.max_pending), (Some(1024), Some(1024)));
    let health = web.health.as_ref().unwrap();
    assert_eq!(
        (&*health.path, health.interval, health.timeout),
        ("/healthz", Duration::from_secs(5), Duration::from_secs(1))
    );
    assert_eq!((health.unhealthy_after, health.healthy_after), (3, 2));
}

#[test]
fn a_route_with_only_to_takes_everything() {
    let route = route(r#"{"to":"b"}"#).unwrap();
    assert_eq!(whole_path(&route), "/");
    let Action::Forward { to, .. } = route.action else { panic!("no forward") };
    assert_eq!(to, [WeightedUpstream { upstream: 1, weight: 1 }]);
}

#[test]
fn routes_are_tried_in_the_order_of_gateway_api() {
    let spec = with_routes(
        r#"[
        {"name":"last","to":"a"},
        {"name":"prefix","match":{"path":{"prefix":"/a"}},"to":"a"},
        {"name":"one header","match":{"path":{"prefix":"/a"},"headers":{"x":"1"}},"to":"a"},
        {"name":"two headers","match":{"path":{"prefix":"/a"},"headers":{"x":"1","y":"1"}},"to":"a"},
        {"name":"method","match":{"path":{"prefix":"/a"},"methods":["GET"]},"to":"a"},
        {"name":"written later","match":{"path":{"prefix":"/a/"},"methods":["PUT"]},"to":"a"},
        {"name":"longer","match":{"path":{"prefix":"/a/b"}},"to":"a"},
        {"name":"longest but not exact","match":{"path":{"prefix":"/a/b/c/d"}},"to":"a"},
        {"name":"exact","match":{"path":{"exact":"/a"}},"to":"a"},
        {"name":"exact and method","match":{"path":{"exact":"/abcdef"},"methods":["GET"]},"to":"a"}]"#,
    )
    .unwrap();
    let names: Vec<_> = spec.routes.iter().filter_map(|route| route.name.as_deref()).collect();
    let expected = [
        "exact and method",
        "exact",
        "longest but not exact",
        "longer",
        "method",
        "written later",
        "two headers",
        "one header",
        "prefix",
        "last",
    ];
    assert_eq!(names, expected);
}

#[test]
fn paths_are_kept_in_their_normal_form() {
    let path =
        |path: &str| route(&format!(r#"{{"match":{{"path":{path}}},"to":"a"}}"#)).map(|route| whole_path(&route));
    assert_eq!(path(r#"{"prefix":"/a%70i/"}"#).unwrap(), "/api");
    assert_eq!(path(r#"{"prefix":"/"}"#).unwrap(), "/");
    assert_eq!(path(r#"{"prefix":"/x/../é"}"#).unwrap(), "/%C3%A9");
    assert_eq!(path(r#"{"exact":"/old/"}"#).unwrap(), "=/old/");
    assert_eq!(path(r#"{"exact":"/a%2fb"}"#).unwrap(), "=/a%2Fb");
    let error = |text: &str| path(text).unwrap_err();
    assert_eq!(error(r#"{"prefix":"api"}"#), "routes[0].match.path.prefix: the path does not start with a slash");
    assert_eq!(error(r#"{"prefix":"/../x"}"#), "routes[0].match.path.prefix: the path climbs above the root");
    assert_eq!(error(r#"{"exact":"/%00"}"#), "routes[0].match.path.exact: the path holds a control character");
    assert!(error(r#"{"exact":"/a?b"}"#).starts_with("routes[0].match.path.exact: holds '?'"));
    assert!(error(r#"{"exact":"/a b"}"#).contains("percent-encode it"));
    assert!(error(r#"{"prefix":"/a//"}"#).contains("empty path element"));
    assert!(error(r#"{"prefix":"//"}"#).contains("empty path element"));
    assert!(error(r#"{"prefix":"/a","exact":"/a"}"#).starts_with("routes[0].match.path.exact: cannot stand beside"));
    assert_eq!(error("{}"), "routes[0].match.path.prefix: is missing");
}

#[test]
fn a_redirect_is_read_with_all_its_parts() {
    let redirect = |fields: &str| match route(&format!(r#"{{"redirect":{{{fields}}}}}"#)).map(|route| route.action) {
        Ok(Action::Redirect(redirect)) => Ok(redirect),
        Ok(other) => panic!("{other:?}"),
        Err(error) => Err(error),
    };
    let full = r#""status":301,"scheme":"https","host":"www.x.example","port":8443,"prefix":"/v2/","query":"drop""#;
    let expected = Redirect {
        status: RedirectStatus::new(301).unwrap(),
        scheme: Some(Arc::from("https")),
        host: Some(Arc::from("www.x.example")),
        port: Some(8443),
        path: Some(PathRewrite::Prefix(Arc::from("/v2"))),
        keep_query: false,
    };
    assert_eq!(redirect(full).unwrap(), expected);
    let kept = redirect(r#""status":308,"path":"/new""#).unwrap();
    assert!(kept.keep_query && kept.path == Some(PathRewrite::Full(Arc::from("/new"))));
    let cases = [
        (r#""path":"/new""#, "redirect.status: is missing"),
        (r#""status":304,"path":"/new""#, "redirect.status: must be 301, 302, 303, 307 or 308, is 304"),
        (r#""status":"308","path":"/new""#, "redirect.status: must be a whole number from 0 to 65535, is a string"),
        (r#""status":308"#, "redirect: leads to itself: give scheme, host, port, path or prefix"),
        (r#""status":308,"path":"/a","prefix":"/b""#, "redirect.prefix: cannot stand beside another path"),
        (r#""status":308,"scheme":"ftp""#, "redirect.scheme: is \"ftp\"; must be one of http, https"),
        (r#""status":308,"host":"*.x.example""#, "redirect.host: must be one name, not a wildcard"),
        (r#""status":308,"port":0"#, "redirect.port: must be a whole number from 1 to 65535, is 0"),
        (r#""status":308,"port":80,"query":true"#, "redirect.query: must be a string, is true or false"),
    ];
    for (fields, expected) in cases {
        assert_eq!(redirect(fields).unwrap_err(), format!("routes[0].{expected}"));
    }
}

#[test]
fn a_route_has_one_target_and_nothing_without_effect() {
    let redirect = r#""redirect":{"status":308,"path":"/new"}"#;
    let cases = [
        ("{}".to_owned(), "routes[0]: has neither `to` nor `redirect`"),
        (format!(r#"{{"to":"a",{redirect}}}"#), "routes[0]: has both `to` and `redirect`"),
        (format!(r#"{{{redirect},"rewrite":{{"prefix":"/"}}}}"#), "routes[0].rewrite: has no effect on a redirect"),
        (format!(r#"{{{redirect},"request_headers":{{}}}}"#), "routes[0].request_headers: has no effect on a redirect"),
        (format!(r#"{{{redirect},"timeouts":{{}}}}"#), "routes[0].timeouts: has no effect on a redirect"),
        (format!(r#"{{{redirect},"retries":{{}}}}"#), "routes[0].retries: has no effect on a redirect"),
        (
            r#"{"match":{"path":{"exact":"/a"}},"to":"a","rewrite":{"prefix":"/"}}"#.to_owned(),
            "routes[0].rewrite.prefix: needs a match by prefix; with an exact path give `path`",
        ),
        (
            r#"{"match":{"path":{"exact":"/a"}},"redirect":{"status":308,"prefix":"/b"}}"#.to_owned(),
            "routes[0].redirect.prefix: needs a match by prefix; with an exact path give `path`",
        ),
        (r#"{"to":"a","rewrite":{}}"#.to_owned(), "routes[0].rewrite.prefix: is missing"),
        (
            r#"{"to":"a","rewrite":{"regex":"/"}}"#.to_owned(),
            "routes[0].rewrite.regex: is not a known field; known are prefix, path",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(route(&text).unwrap_err(), expected);
    }
    assert!(route(&format!(r#"{{{redirect},"response_headers":{{"set":{{"x":"1"}}}}}}"#)).is_ok());
}

#[test]
fn to_names_upstreams_that_exist_with_weights_that_add_up() {
    let error = |to: &str| route(&format!(r#"{{"to":{to}}}"#)).unwrap_err();
    assert_eq!(error(r#""c""#), "routes[0].to: \"c\" is not one of `upstreams`");
    assert_eq!(
        error(r#"[{"upstream":"a"},{"upstream":"c"}]"#),
        "routes[0].to[1].upstream: \"c\" is not one of `upstreams`"
    );
    assert_eq!(error(r#"[{"upstream":"a"},{"upstream":"a"}]"#), "routes[0].to[1].upstream: is there twice");
    assert_eq!(error(r#"[{"weight":1}]"#), "routes[0].to[0].upstream: is missing");
    let all_zero = "routes[0].to: must have an upstream with a weight above 0";
    assert_eq!(error(r#"[{"upstream":"a","weight":0}]"#), all_zero);
    assert_eq!(error("[]"), all_zero);
    let range = "routes[0].to[0].weight: must be a whole number from 0 to 1000000";
    assert_eq!(error(r#"[{"upstream":"a","weight":-1}]"#), format!("{range}, is -1"));
    assert_eq!(error(r#"[{"upstream":"a","weight":1000001}]"#), format!("{range}, is 1000001"));
    assert_eq!(error(r#"[{"upstream":"a","weight":1.5}]"#), format!("{range}, is 1.5"));
}

#[test]
fn the_document_as_a_whole_has_one_form_and_each_field_once() {
    let cases = [
        ("[]", "must be an object, is a list"),
        ("null", "must be an object, is null"),
        ("{}", "hosts: is missing"),
        (r#"{"hosts":["x.example"]}"#, "endpoints: is missing"),
        (r#"{"hosts":["x.example"],"upstreams":{}}"#, "routes: is missing"),
        (r#"{"hosts":["x.example"],"routes":[]}"#, "routes: is empty"),
        (r#"{"hosts":[],"endpoints":[]}"#, "hosts: is empty"),
        (r#"{"hosts":"x.example","endpoints":[]}"#, "hosts: must be a list, is a string"),
        (r#"{"hosts":["x.example",7],"endpoints":[]}"#, "hosts[1]: must be a string, is a number"),
        (r#"{"hosts":["a.b","c.d","a.b"],"endpoints":[]}"#, "hosts[2]: is there twice"),
        (r#"{"hosts":["a.b"],"hosts":["c.d"],"endpoints":[]}"#, "hosts: is there twice"),
        (r#"{"hosts":["a.b"],"\u0068osts":["c.d"],"endpoints":[]}"#, "hosts: is there twice"),
        (r#"{"hosts":["a.b"],"endpoints":null}"#, "endpoints: must be a list, is null"),
        (
            r#"{"hosts":["a.b"],"endpoints":[],"colour":1}"#,
            "colour: is not a known field; known are hosts, endpoints, routes, upstreams, error_pages",
        ),
    ];
    for (document, expected) in cases {
        assert_eq!(parse(document).unwrap_err(), expected);
    }
    let mixed = parse(r#"{"hosts":["a.b"],"endpoints":[],"routes":[]}"#).unwrap_err();
    assert!(mixed.starts_with("endpoints: is the short form"), "{mixed}");
}

#[test]
fn a_document_of_redirects_needs_no_upstreams() {
    let spec = parse(r#"{"hosts":["a.b"],"routes":[{"redirect":{"status":301,"host":"c.d"}}]}"#).unwrap();
    assert!(spec.upstreams.is_empty());
}

#[test]
fn a_field_that_is_not_known_is_named_wherever_it_is() {
    let spots = [
        (r#"{"to":"a","x":1}"#, "routes[0].x"),
        (r#"{"to":"a","match":{"x":1}}"#, "routes[0].match.x"),
        (r#"{"to":"a","match":{"path":{"x":1}}}"#, "routes[0].match.path.x"),
        (r#"{"to":[{"upstream":"a","x":1}]}"#, "routes[0].to[0].x"),
        (r#"{"to":"a","request_headers":{"x":1}}"#, "routes[0].request_headers.x"),
        (r#"{"to":"a","timeouts":{"x":1}}"#, "routes[0].timeouts.x"),
        (r#"{"to":"a","retries":{"x":1}}"#, "routes[0].retries.x"),
        (r#"{"redirect":{"x":1}}"#, "routes[0].redirect.x"),
    ];
    for (text, field) in spots {
        let error = route(text).unwrap_err();
        assert!(error.starts_with(&format!("{field}: is not a known field")), "{error}");
    }
    for (text, field) in [
        (r#","x":1"#, "upstreams.a.x"),
        (r#","health":{"x":1}"#, "upstreams.a.health.x"),
        (r#","tls":{"x":1}"#, "upstreams.a.tls.x"),
        (r#","balance":{"x":1}"#, "upstreams.a.balance.x"),
        (r#","balance":{"hash":{"x":1}}"#, "upstreams.a.balance.hash.x"),
        (r#","sticky":{"x":1}"#, "upstreams.a.sticky.x"),
    ] {
        let error = upstream(text).unwrap_err();
        assert!(error.starts_with(&format!("{field}: is not a known field")), "{error}");
    }
    let error = parse(r#"{"hosts":["a.b"],"endpoints":[{"address":"10.0.0.1:80","x":1}]}"#).unwrap_err();
    assert!(error.starts_with("endpoints[0].x: is not a known field"), "{error}");
}

#[test]
fn headers_are_names_and_values_that_http_has() {
    let of = |headers: &str| route(&format!(r#"{{"to":"a","match":{{"headers":{headers}}}}}"#));
    assert_eq!(of(r#"{"X-Env":"Grün"}"#).unwrap().matches.headers, [header("x-env", "Grün")]);
    let error = |headers: &str| of(headers).unwrap_err();
    let at = "routes[0].match.headers";
    assert_eq!(error(r#"{"x y":"1"}"#), format!("{at}[\"x y\"]: is not the name of a header"));
    assert_eq!(error(r#"{"x":"a\r\nb"}"#), format!("{at}.x: holds a character that a header's value cannot have"));
    assert_eq!(error(r#"{"x":" a"}"#), format!("{at}.x: starts or ends with a space"));
    assert_eq!(error(r#"{"x":1}"#), format!("{at}.x: must be a string, is a number"));
    assert_eq!(error(r#"{"x":"1","x":"2"}"#), format!("{at}.x: is there twice"));
    assert_eq!(error(r#"{"x":"1","X":"2"}"#), format!("{at}.x: is there twice"));
}

#[test]
fn header_changes_keep_apart_what_is_set_added_and_removed() {
    let ops = r#"{"remove":["X-C"],"add":{"x-b":"2"},"set":{"x-a":"1"}}"#;
    for side in ["request_headers", "response_headers"] {
        let route = route(&format!(r#"{{"to":"a","{side}":{ops}}}"#)).unwrap();
        let (given, other) = match side {
            "request_headers" => (route.request_headers, route.response_headers),
            _ => (route.response_headers, route.request_headers),
        };
        assert_eq!((given.set, given.add), (vec![header("x-a", "1")], vec![header("x-b", "2")]));
        assert_eq!(given.remove, ["x-c".parse::<HeaderName>().unwrap()]);
        assert!(other.is_empty());
    }
}

#[test]
fn headers_of_the_connection_and_of_framing_cannot_be_changed() {
    let names = [
        "connection",
        "Content-Length",
        "expect",
        "host",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "Upgrade",
    ];
    for name in names {
        for side in ["request_headers", "response_headers"] {
            for (ops, place) in [
                (format!(r#"{{"set":{{"{name}":"1"}}}}"#), format!("set.{}", name.to_lowercase())),
                (format!(r#"{{"add":{{"{name}":"1"}}}}"#), format!("add.{}", name.to_lowercase())),
                (format!(r#"{{"remove":["x","{name}"]}}"#), "remove[1]".to_owned()),
            ] {
                let error = route(&format!(r#"{{"to":"a","{side}":{ops}}}"#)).unwrap_err();
                let expected = format!("routes[0].{side}.{place}: belongs to the connection");
                assert!(error.starts_with(&expected), "{error}");
            }
        }
    }
}

#[test]
fn methods_are_tokens_in_upper_case() {
    let of = |methods: &str| route(&format!(r#"{{"to":"a","match":{{"methods":{methods}}}}}"#));
    assert_eq!(of(r#"["PROPFIND"]"#).unwrap().matches.methods[0].as_str(), "PROPFIND");
    assert!(of("[]").unwrap().matches.methods.is_empty());
    for (methods, place) in [(r#"["get"]"#, 0), (r#"["GET","A B"]"#, 1), (r#"[""]"#, 0)] {
        let expected = format!("routes[0].match.methods[{place}]: is not a method; methods are in upper case");
        assert_eq!(of(methods).unwrap_err(), expected);
    }
}

#[test]
fn a_duration_has_a_unit_and_a_bound() {
    let of = |text: &str| {
        route(&format!(r#"{{"to":"a","timeouts":{{"request":{text}}}}}"#)).map(|route| route.timeouts.request.unwrap())
    };
    let cases = [("1ms", 1), ("250ms", 250), ("5s", 5_000), ("1m", 60_000), ("24h", 86_400_000), ("0060s", 60_000)];
    for (text, milliseconds) in cases {
        assert_eq!(of(&format!("\"{text}\"")).unwrap(), Duration::from_millis(milliseconds));
    }
    for text in ["", "5", "s", "1.5s", "-5s", "5 s", "5S", "5d", "5sec", "٥s"] {
        let error = of(&format!("\"{text}\"")).unwrap_err();
        assert!(error.starts_with("routes[0].timeouts.request: must be a whole number with a unit"), "{error}");
    }
    for text in ["0s", "25h", "86401s", "99999999999999999999999h", "18446744073709551615ms"] {
        let error = of(&format!("\"{text}\"")).unwrap_err();
        assert!(error.starts_with("routes[0].timeouts.request: must be from 1ms to 24h"), "{error}");
    }
    assert_eq!(of("5").unwrap_err(), "routes[0].timeouts.request: must be a string, is a number");
}

#[test]
fn retries_are_few_and_for_known_causes() {
    let of = |text: &str| route(&format!(r#"{{"to":"a",{text}}}"#)).map(|route| route.retries);
    assert_eq!(of(r#""retries":{}"#).unwrap(), Retries::default());
    assert_eq!(of(r#""retries":{"attempts":0}"#).unwrap().attempts, 0);
    assert_eq!(of(r#""retries":{"attempts":10,"on":[]}"#).unwrap(), Retries { attempts: 10, on: Vec::new() });
    let timeout = of(r#""retries":{"on":["timeout","502","504"]},"timeouts":{"per_try":"1s"}"#).unwrap();
    let status = RetryOn::Status;
    assert_eq!(timeout.on, [RetryOn::Timeout, status(StatusCode::BAD_GATEWAY), status(StatusCode::GATEWAY_TIMEOUT)]);
    let cases = [
        (r#""retries":{"attempts":11}"#, "retries.attempts: must be a whole number from 0 to 10, is 11"),
        (
            r#""retries":{"on":["500"]}"#,
            "retries.on[0]: is \"500\"; must be one of connect-failure, reset-before-response, timeout, 502, 503, 504",
        ),
        (r#""retries":{"on":["502","503","502"]}"#, "retries.on[2]: is there twice"),
        (r#""retries":{"on":["timeout"]}"#, "retries.on: \"timeout\" needs timeouts.per_try"),
    ];
    for (text, expected) in cases {
        assert_eq!(of(text).unwrap_err(), format!("routes[0].{expected}"));
    }
}

#[test]
fn error_pages_are_for_errors_and_bounded_in_all() {
    let of = |pages: &str| parse(&format!(r#"{{"hosts":["a.b"],"endpoints":[],"error_pages":{pages}}}"#));
    let page = |bytes: usize| "x".repeat(bytes);
    assert!(of(&format!(r#"{{"400":"{}","503":"{}"}}"#, page(8192), page(8192))).is_ok());
    let over = of(&format!(r#"{{"400":"{}","503":"{}"}}"#, page(8192), page(8193))).unwrap_err();
    assert_eq!(over, "error_pages: are 16385 bytes in all, the limit is 16384");
    for status in ["399", "600", "5xx", "+503", "0503", ""] {
        let error = of(&format!(r#"{{"{status}":""}}"#)).unwrap_err();
        assert!(error.ends_with(": is not a status from 400 to 599"), "{error}");
    }
    assert_eq!(of(r#"{"503":"a","503":"b"}"#).unwrap_err(), "error_pages.503: is there twice");
}

#[test]
fn endpoints_are_addresses_none_twice() {
    let error = |endpoints: &str| parse(&format!(r#"{{"hosts":["a.b"],"endpoints":{endpoints}}}"#)).unwrap_err();
    assert!(error(r#"["shop:80"]"#).starts_with("endpoints[0]: \"shop:80\" is not an address"));
    assert_eq!(error(r#"["10.0.0.1:80",{"address":"10.0.0.1:80"}]"#), "endpoints[1]: is there twice");
    assert_eq!(error(r#"[{"weight":1}]"#), "endpoints[0].address: is missing");
    assert_eq!(error("[7]"), "endpoints[0]: must be an object, is a number");
    let weight = error(r#"[{"address":"10.0.0.1:80","weight":65536}]"#);
    assert_eq!(weight, "endpoints[0].weight: must be a whole number from 0 to 65535, is 65536");
    assert_eq!(error(r#"[{"address":"10.0.0.1:80","instance":""}]"#), "endpoints[0].instance: is empty");
}

#[test]
fn an_upstream_has_a_name_endpoints_and_values_in_range() {
    let upstreams = |upstreams: &str| {
        parse(&format!(r#"{{"hosts":["x.example"],"routes":[{{"to":"a"}}],"upstreams":{upstreams}}}"#)).unwrap_err()
    };
    assert_eq!(upstreams(r#"{"a":{}}"#), "upstreams.a.endpoints: is missing");
    assert_eq!(upstreams(r#"{"":{"endpoints":[]}}"#), "upstreams[\"\"]: is empty");
    assert_eq!(upstreams(r#"{"a":{"endpoints":[]},"a":{"endpoints":[]}}"#), "upstreams.a: is there twice");
    let long = upstreams(&format!(r#"{{"{}":{{}}}}"#, "n".repeat(129)));
    assert!(long.ends_with("is 129 bytes long, a name has at most 128"), "{long}");
    let cases = [
        (r#","protocol":"http3""#, "protocol: is \"http3\"; must be one of http1, h2c, h2, https"),
        (r#","balance":"fair""#, "balance: is \"fair\"; must be one of least-request, round-robin, random"),
        (r#","max_connections":0"#, "max_connections: must be a whole number from 1 to 1000000, is 0"),
        (r#","max_pending":1000001"#, "max_pending: must be a whole number from 0 to 1000000, is 1000001"),
        (r#","health":{}"#, "health.path: is missing"),
        (r#","health":{"path":"x"}"#, "health.path: must start with a slash"),
        (
            r#","health":{"path":"/","healthy_after":0}"#,
            "health.healthy_after: must be a whole number from 1 to 100, is 0",
        ),
    ];
    for (fields, expected) in cases {
        assert_eq!(upstream(fields).unwrap_err(), format!("upstreams.a.{expected}"));
    }
    assert_eq!(upstream(r#","health":{"path":"/up?full=1"}"#).unwrap().health.unwrap().unhealthy_after, 3);
    for balance in ["least-request", "round-robin", "random"] {
        assert_eq!(upstream(&format!(r#","balance":"{balance}""#)).unwrap().balance.as_str(), balance);
    }
}

#[test]
fn what_this_version_cannot_do_is_said_after_it_was_checked() {
    let cases = [
        (r#","protocol":"h2c""#, "protocol: \"h2c\" is not supported by this version"),
        (r#","protocol":"h2""#, "protocol: \"h2\" is not supported by this version"),
        (r#","protocol":"https""#, "protocol: \"https\" is not supported by this version"),
        (r#","balance":{"hash":{"cookie":"sid"}}"#, "balance: \"hash\" is not supported by this version"),
        (r#","balance":{"hash":{"header":"x-user"}}"#, "balance: \"hash\" is not supported by this version"),
        (r#","balance":{"hash":"client-address"}"#, "balance: \"hash\" is not supported by this version"),
        (
            r#","sticky":{"cookie":"h"}"#,
            "sticky: a cookie that keeps clients in place is not supported by this version",
        ),
        (
            r#","balance":{"sticky":{"cookie":"h"}}"#,
            "sticky: a cookie that keeps clients in place is not supported by this version",
        ),
        (r#","tls":{"server_name":"x.example","ca":"ca"}"#, "tls: TLS to an upstream is not supported by this version"),
        (r#","balance":{"hash":{"cookie":"a b"}}"#, "balance.hash.cookie: \"a b\" is not the name of a cookie"),
        (r#","balance":{"hash":{"cookie":"a","header":"b"}}"#, "balance.hash.header: is one key too many"),
        (r#","balance":{"hash":"server"}"#, "balance.hash: is \"server\"; must be one of client-address"),
        (r#","sticky":{}"#, "sticky.cookie: is missing"),
        (r#","tls":{"ca":"../key"}"#, "tls.ca: must be the name of a file, without a folder"),
        (r#","tls":{"server_name":"*.x"}"#, "tls.server_name: must be one name, not a wildcard"),
        (r#","protocol":"h2c","max_pending":-1"#, "max_pending: must be a whole number from 0 to 1000000, is -1"),
    ];
    for (fields, expected) in cases {
        assert_eq!(upstream(fields).unwrap_err(), format!("upstreams.a.{expected}"));
    }
}

#[test]
fn a_document_of_many_names_is_read_in_reasonable_time() {
    // Quadratic work on 60,000 names would be seen: billions of comparisons, not thousands.
    let headers: Vec<String> = (0..60_000).map(|n| format!("\"x-{n}\":\"1\"")).collect();
    let document = format!(r#"{{"to":"a","match":{{"headers":{{{}}}}}}}"#, headers.join(","));
    assert_eq!(route(&document).unwrap().matches.headers.len(), 60_000);
    let unknown: Vec<String> = (0..60_000).map(|n| format!("\"x-{n}\":1")).collect();
    assert!(parse(&format!("{{{}}}", unknown.join(","))).is_err());
}

/// Words that documents are made of, so that random ones get past the first brace.
const WORDS: [&str; 13] = [
    "hosts",
    "endpoints",
    "routes",
    "upstreams",
    "match",
    "path",
    "prefix",
    "to",
    "a.b",
    "10.0.0.1:80",
    "/",
    "5s",
    "weight",
];

fn word() -> impl Strategy<Value = String> {
    prop::sample::select(&WORDS[..]).prop_map(|word| format!("{word:?}"))
}

fn piece() -> impl Strategy<Value = String> {
    let number = any::<f32>().prop_filter("JSON has no NaN", |number| number.is_finite());
    let leaf = prop_oneof![
        Just("null".to_owned()),
        any::<i64>().prop_map(|number| number.to_string()),
        number.prop_map(|number| number.to_string()),
        word(),
    ];
    leaf.prop_recursive(6, 64, 6, |inner| {
        let member = (word(), inner.clone()).prop_map(|(name, value)| format!("{name}:{value}"));
        prop_oneof![
            prop::collection::vec(inner, 0..6).prop_map(|items| format!("[{}]", items.join(","))),
            prop::collection::vec(member, 0..6).prop_map(|members| format!("{{{}}}", members.join(","))),
        ]
    })
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse_document(&bytes);
    }

    #[test]
    fn random_documents_never_panic(document in piece()) {
        let _ = parse_document(document.as_bytes());
    }

    #[test]
    fn a_document_with_a_byte_changed_never_panics(at in 0..LONG_FORM.len(), byte in any::<u8>()) {
        let mut document = LONG_FORM.as_bytes().to_vec();
        document[at] = byte;
        if let Ok(spec) = parse_document(&document) {
            prop_assert!(!spec.hosts.is_empty() && !spec.routes.is_empty());
        }
    }

    #[test]
    fn a_document_that_was_cut_is_never_valid(end in 0..LONG_FORM.len()) {
        prop_assert!(parse_document(&LONG_FORM.as_bytes()[..end]).is_err());
    }
}
