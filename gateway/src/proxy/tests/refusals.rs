//! Requests that are refused, each with its status and its reason, and never forwarded.

use super::harness::{Gateway, Upstream, eventually, settings, short};

fn refused(request: &str, status: u16, why: &str) {
    let upstream = Upstream::ok();
    let gateway = Gateway::one(&short(&upstream));
    let mut client = gateway.connect();
    client.send(request);
    let reply = client.reply();
    assert_eq!(reply.status(), status, "{request:?}: {reply:?}");
    let proxy_status = reply.header("proxy-status").unwrap_or_else(|| panic!("{request:?}: {reply:?}"));
    assert!(proxy_status.contains(&format!("details=\"{why}")), "{request:?}: {proxy_status}");
    assert!(upstream.saw_nothing(), "{request:?}");
}

const HOST: &str = "Host: app.test\r\n";

#[test]
fn ambiguous_framing_is_400_and_ends_the_connection() {
    let cases = [
        ("GET / HTTP/1.1\nHost: app.test\n\n", "bare-line-feed"),
        ("GET / HTTP/1.1\r\nHost: app.test\r\nHost: app.test\r\n\r\n", "repeated-host"),
        ("GET / HTTP/1.1\r\n\r\n", "missing-host"),
        ("GET / HTTP/1.1\r\nHost : app.test\r\n\r\n", "header-name"),
        ("GET  / HTTP/1.1\r\nHost: app.test\r\n\r\n", "request-line"),
        (
            "POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx",
            "repeated-content-length",
        ),
        ("POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length: +1\r\n\r\nx", "content-length"),
        (
            "POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "content-length-and-transfer-encoding",
        ),
        ("POST / HTTP/1.1\r\nHost: app.test\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", "transfer-encoding"),
        ("GET / HTTP/1.1\r\nHost: app.test\r\nX: a\r\n b\r\n\r\n", "folded-header"),
    ];
    for (request, why) in cases {
        refused(request, 400, why);
    }
    refused("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "http-version");
}

#[test]
fn a_refused_client_is_read_on_so_that_no_reset_overtakes_the_answer() {
    let upstream = Upstream::ok();
    let gateway = Gateway::one(&short(&upstream));
    let mut client = gateway.connect();
    client.send(format!("GET / HTTP/1.1\n{}", "x".repeat(100_000)));
    let reply = client.reply();
    assert_eq!(reply.status(), 400);
    assert_eq!(reply.header("connection"), Some("close"));
    assert_eq!(reply.text(), "400 Bad Request: bare-line-feed\n");
    assert!(client.is_read_on(|| assert_eq!(gateway.get("/").status(), 200)));
}

#[test]
fn bad_chunks_are_400_and_not_passed_on_as_a_whole_body() {
    let upstream = Upstream::scripted(|_, wire, seen| {
        if let Some(request) = wire.message("") {
            seen.send(request).unwrap();
        }
    });
    let gateway = Gateway::one(&short(&upstream));
    let mut client = gateway.connect();
    client.send(format!("POST / HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"));
    eventually("the upstream is connected to", || upstream.connections() == 1);
    client.send("zz\r\n\r\n");
    let reply = client.reply();
    assert_eq!(reply.status(), 400, "{reply:?}");
    assert!(client.is_closed(), "one answer, not two");
    assert!(upstream.saw_nothing());
}

#[test]
fn a_second_request_that_is_bad_does_not_spoil_the_first_answer() {
    let upstream = Upstream::ok();
    let gateway = Gateway::one(&short(&upstream));
    let mut client = gateway.connect();
    client.send(format!("GET / HTTP/1.1\r\n{HOST}\r\nGET / HTTP/1.1\r\nHost : x\r\n\r\n"));
    assert_eq!(client.reply().text(), "ok");
    assert_eq!(client.reply().status(), 400);
    assert!(client.is_closed());
}

#[test]
fn what_a_proxy_cannot_route_is_400() {
    for (line, why) in [
        ("GET /../etc HTTP/1.1\r\nHost: app.test\r\n\r\n", "the path climbs above the root"),
        ("GET /a/%2e%2e/%2E./b HTTP/1.1\r\nHost: app.test\r\n\r\n", "the path climbs above the root"),
        ("GET /%00 HTTP/1.1\r\nHost: app.test\r\n\r\n", "the path holds a control character"),
        ("GET / HTTP/1.1\r\nHost: user@app.test\r\n\r\n", "the host is not one"),
        ("GET / HTTP/1.1\r\nHost: app.test/x\r\n\r\n", "the host is not one"),
        ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", "the host is not one"),
        ("GET http://user@app.test/ HTTP/1.1\r\nHost: app.test\r\n\r\n", "the target names a user"),
        ("GET ftp://app.test/ HTTP/1.1\r\nHost: app.test\r\n\r\n", "the target's scheme is not http"),
        ("GET * HTTP/1.1\r\nHost: app.test\r\n\r\n", "the target is not a path"),
    ] {
        refused(line, 400, why);
    }
}

#[test]
fn methods_that_are_not_proxied_are_405() {
    for request in
        ["CONNECT app.test:443 HTTP/1.1\r\nHost: app.test:443\r\n\r\n", "TRACE / HTTP/1.1\r\nHost: app.test\r\n\r\n"]
    {
        refused(request, 405, "the method is not proxied");
    }
    let upstream = Upstream::ok();
    let reply = Gateway::one(&short(&upstream)).ask("TRACE / HTTP/1.1\r\nHost: app.test\r\n\r\n");
    assert_eq!(reply.header("allow"), Some("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"));
}

#[test]
fn what_is_over_a_limit_has_its_status() {
    let long = "x".repeat(70_000);
    refused(&format!("GET / HTTP/1.1\r\n{HOST}X: {long}\r\n\r\n"), 431, "head-too-large");
    let many = "X: y\r\n".repeat(2_000);
    refused(&format!("GET / HTTP/1.1\r\n{HOST}{many}\r\n"), 431, "too-many-header-fields");
}

#[test]
fn a_head_up_to_the_limit_passes() {
    let upstream = Upstream::ok();
    let gateway = Gateway::one(&short(&upstream));
    let long = "x".repeat(60_000);
    assert_eq!(gateway.ask(&format!("GET / HTTP/1.1\r\n{HOST}X-Long: {long}\r\n\r\n")).status(), 200);
    assert_eq!(upstream.request().header("x-long"), Some(long.as_str()));
    let many: String = (0..95).map(|i| format!("X-{i}: y\r\n")).collect();
    assert_eq!(gateway.ask(&format!("GET / HTTP/1.1\r\n{HOST}{many}\r\n")).status(), 200);
}

#[test]
fn a_head_that_takes_too_long_is_408_and_an_idle_connection_ends_in_silence() {
    let upstream = Upstream::ok();
    let mut settings = settings();
    settings.limits.header_timeout = std::time::Duration::from_millis(100);
    let gateway = Gateway::with(&[("app", &short(&upstream))], settings);
    let mut slow = gateway.connect();
    slow.send("GET / HTTP/1.1\r\nHost: app");
    let reply = slow.reply();
    assert_eq!(reply.status(), 408);
    assert!(reply.header("proxy-status").unwrap().contains("error=http_request_error"));
    assert!(slow.is_closed());
    let mut new = gateway.connect();
    assert!(new.is_closed());
    let mut idle = gateway.connect();
    idle.send(format!("GET / HTTP/1.1\r\n{HOST}\r\n"));
    assert_eq!(idle.reply().status(), 200);
    assert!(idle.is_closed());
}
