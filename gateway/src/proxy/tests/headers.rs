//! What becomes of headers on the way there and back.

use super::harness::{Gateway, Upstream, long, settings, short};

const HEAD_TO_UPSTREAM: &[&str] = &[
    "host: App.Test:8080",
    "accept: */*",
    "x-forwarded-for: 127.0.0.1",
    "x-forwarded-proto: http",
    "x-forwarded-host: App.Test:8080",
    "x-forwarded-port: 8080",
    "via: 1.1 holdgate",
];

fn lines(headers: &[(String, String)]) -> Vec<String> {
    headers.iter().map(|(name, value)| format!("{name}: {value}")).collect()
}

#[test]
fn the_upstream_sees_the_request_without_what_was_meant_for_this_hop() {
    let upstream = Upstream::ok();
    let gateway = Gateway::one(&short(&upstream));
    let reply = gateway.ask(
        "GET /a%2Fb?q=1&r HTTP/1.1\r\nHost: App.Test:8080\r\nAccept: */*\r\nConnection: keep-alive, X-Mine\r\n\
         X-Mine: 1\r\nKeep-Alive: timeout=5\r\nProxy-Authorization: secret\r\nTE: gzip\r\nForwarded: for=6.6.6.6\r\n\
         X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Proto: https\r\n\r\n",
    );
    assert_eq!(reply.status(), 200);
    let request = upstream.request();
    assert_eq!(request.start, "GET /a%2Fb?q=1&r HTTP/1.1");
    let mut seen = lines(&request.headers);
    let mut expected = HEAD_TO_UPSTREAM.to_vec();
    seen.sort();
    expected.sort_unstable();
    assert_eq!(seen, expected);
}

#[test]
fn the_client_sees_the_answer_without_what_was_meant_for_this_hop() {
    let upstream = Upstream::answering(
        "HTTP/1.1 200 Fine\r\nContent-Length: 2\r\nConnection: X-Mine\r\nX-Mine: 1\r\nKeep-Alive: timeout=5\r\n\
         Proxy-Authenticate: Basic\r\nVia: 1.1 inner\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nDate: x\r\n\r\nok",
    );
    let gateway = Gateway::one(&short(&upstream));
    let reply = gateway.get("/");
    assert_eq!(reply.start, "HTTP/1.1 200 Fine");
    let mut seen = lines(&reply.headers);
    seen.sort();
    let expected =
        ["content-length: 2", "date: x", "set-cookie: a=1", "set-cookie: b=2", "via: 1.1 holdgate", "via: 1.1 inner"];
    assert_eq!(seen, expected);
}

#[test]
fn a_length_beside_chunks_never_reaches_the_client() {
    let upstream = Upstream::answering(
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n0\r\n\r\n",
    );
    let gateway = Gateway::one(&short(&upstream));
    let reply = gateway.get("/");
    assert_eq!(reply.header("content-length"), None);
    assert_eq!(reply.text(), "abcd");
}

#[test]
fn a_trusted_proxy_is_believed() {
    let upstream = Upstream::ok();
    let mut settings = settings();
    settings.trusted = vec![("web".into(), vec!["127.0.0.0/8".parse().unwrap()])];
    let gateway = Gateway::with(&[("app", &short(&upstream))], settings);
    gateway.ask(
        "GET / HTTP/1.1\r\nHost: app.test\r\nX-Forwarded-For: 9.9.9.9\r\nX-Forwarded-Proto: https\r\n\
         X-Forwarded-Host: shop.example\r\nX-Forwarded-Port: 443\r\n\r\n",
    );
    let request = upstream.request();
    assert_eq!(request.header("x-forwarded-for"), Some("9.9.9.9, 127.0.0.1"));
    assert_eq!(request.header("x-forwarded-proto"), Some("https"));
    assert_eq!(request.header("x-forwarded-host"), Some("shop.example"));
    assert_eq!(request.header("x-forwarded-port"), Some("443"));
}

#[test]
fn a_route_changes_headers_both_ways() {
    let upstream = Upstream::answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nServer: secret\r\nX-Kind: app\r\n\r\n");
    let fields = r#","request_headers":{"set":{"x-tenant":"shop"},"add":{"x-list":"2"},"remove":["cookie"]},
                   "response_headers":{"set":{"x-kind":"edge"},"add":{"x-more":"1"},"remove":["server"]}"#;
    let gateway = Gateway::one(&long(fields, &[&upstream.address]));
    let reply = gateway.ask("GET / HTTP/1.1\r\nHost: app.test\r\nCookie: a\r\nX-Tenant: forged\r\nX-List: 1\r\n\r\n");
    let request = upstream.request();
    assert_eq!(request.all("host"), ["app.test"]);
    assert_eq!(request.all("x-tenant"), ["shop"]);
    assert_eq!(request.all("x-list"), ["1", "2"]);
    assert_eq!(request.all("cookie"), Vec::<&str>::new());
    assert_eq!(reply.all("x-kind"), ["edge"]);
    assert_eq!(reply.all("x-more"), ["1"]);
    assert_eq!(reply.all("server"), Vec::<&str>::new());
}

#[test]
fn an_absolute_target_decides_over_host() {
    let upstream = Upstream::ok();
    let gateway = Gateway::one(&short(&upstream));
    let reply = gateway.ask("GET http://APP.test:81/x?y HTTP/1.1\r\nHost: other.test\r\n\r\n");
    assert_eq!(reply.status(), 200);
    let request = upstream.request();
    assert_eq!(request.start, "GET /x?y HTTP/1.1");
    assert_eq!(request.all("host"), ["APP.test:81"]);
    assert_eq!(request.header("x-forwarded-port"), Some("81"));
}

#[test]
fn options_asterisk_passes_as_such() {
    let upstream = Upstream::ok();
    let gateway = Gateway::one(&short(&upstream));
    assert_eq!(gateway.ask("OPTIONS * HTTP/1.1\r\nHost: app.test\r\n\r\n").status(), 200);
    assert_eq!(upstream.request().start, "OPTIONS * HTTP/1.1");
}

#[test]
fn a_client_of_http_1_0_is_answered_in_its_version_and_may_stay() {
    let upstream = Upstream::ok();
    let gateway = Gateway::one(&short(&upstream));
    let mut client = gateway.connect();
    for _ in 0..2 {
        client.send("GET / HTTP/1.0\r\nHost: app.test\r\nConnection: keep-alive\r\n\r\n");
        let reply = client.reply();
        assert_eq!(reply.start, "HTTP/1.0 200 OK");
        assert_eq!(reply.header("connection"), Some("keep-alive"));
        let request = upstream.request();
        assert_eq!(request.start, "GET / HTTP/1.1");
        assert_eq!(request.header("via"), Some("1.0 holdgate"));
    }
    client.send("GET / HTTP/1.0\r\nHost: app.test\r\n\r\n");
    assert_eq!(client.reply().text(), "ok");
    assert!(client.is_closed());
}

#[test]
fn an_upstream_of_http_1_0_does_not_lower_the_client_s_version() {
    let upstream = Upstream::scripted(|_, wire, _| {
        wire.message("").unwrap();
        wire.send("HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nto the end");
    });
    let gateway = Gateway::one(&short(&upstream));
    let mut client = gateway.connect();
    for _ in 0..2 {
        client.send("GET / HTTP/1.1\r\nHost: app.test\r\n\r\n");
        let reply = client.reply();
        assert_eq!(reply.start, "HTTP/1.1 200 OK");
        assert_eq!(reply.header("transfer-encoding"), Some("chunked"));
        assert_eq!(reply.all("via"), ["1.0 holdgate"]);
        assert_eq!(reply.text(), "to the end");
    }
}
