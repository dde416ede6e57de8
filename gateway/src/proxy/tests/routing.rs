//! Where requests go, and the gateway's own answers where they go nowhere.

use std::{sync::Arc, time::Instant};

use routing_cache::{
    live::Published,
    model::{AppRecord, HostRef, RecordParts, Rev},
};

use super::harness::{DEADLINE, Gateway, Reply, Upstream, closed_port, long, published, settings, short, tcp};
use crate::telemetry::access::AccessLog;

fn explains(reply: &Reply, status: u16, error: &str) {
    assert_eq!(reply.status(), status, "{reply:?}");
    let proxy_status = reply.header("proxy-status").unwrap();
    assert!(proxy_status.starts_with(&format!("holdgate; error={error}; details=\"")), "{proxy_status}");
    assert_eq!(reply.header("cache-control"), Some("no-store"));
}

#[test]
fn without_a_table_every_request_gets_503_and_a_time_to_come_back() {
    let gateway = Gateway::start(Published::default(), settings(), AccessLog::off(), tcp());
    let reply = gateway.get("/");
    explains(&reply, 503, "destination_unavailable");
    assert_eq!(reply.header("retry-after"), Some("2"));
    assert_eq!(reply.text(), "503 Service Unavailable: the gateway has no routes yet\n");
}

#[test]
fn a_request_that_nobody_takes_gets_404() {
    let document = r#"{"hosts":["app.test"],"routes":[{"match":{"path":{"prefix":"/api"}},"to":"u"}],"upstreams":{"u":{"endpoints":[]}}}"#;
    let gateway = Gateway::one(document);
    explains(&gateway.ask("GET / HTTP/1.1\r\nHost: other.test\r\n\r\n"), 404, "destination_not_found");
    explains(&gateway.ask("GET / HTTP/1.0\r\n\r\n"), 404, "destination_not_found");
    explains(&gateway.get("/apix"), 404, "destination_not_found");
    explains(&gateway.get("/api/x"), 503, "destination_unavailable");
}

#[test]
fn the_body_of_an_own_answer_is_in_the_form_the_client_accepts() {
    let gateway = Gateway::one(r#"{"hosts":["app.test"],"endpoints":[]}"#);
    let ask = |accept: &str| gateway.ask(&format!("GET / HTTP/1.1\r\nHost: app.test\r\nAccept: {accept}\r\n\r\n"));
    let json = ask("application/json");
    assert_eq!(json.header("content-type"), Some("application/json"));
    let value: serde_json::Value = serde_json::from_slice(&json.body).unwrap();
    assert_eq!(value["status"], 503);
    assert_eq!(value["error"], "destination_unavailable");
    let html = ask("text/html");
    assert_eq!(html.header("content-type"), Some("text/html; charset=utf-8"));
    assert!(html.text().starts_with("<!doctype html><title>503 Service Unavailable</title>"));
}

#[test]
fn the_form_is_the_client_s_choice_though_its_route_takes_accept_out() {
    let gateway = Gateway::one(&long(r#","request_headers":{"remove":["accept"]}"#, &[&closed_port()]));
    let reply = gateway.ask("GET / HTTP/1.1\r\nHost: app.test\r\nAccept: application/json\r\n\r\n");
    explains(&reply, 502, "connection_refused");
    assert_eq!(reply.header("content-type"), Some("application/json"));
}

#[test]
fn an_own_answer_to_head_has_its_length_and_no_body() {
    let gateway = Gateway::one(r#"{"hosts":["app.test"],"endpoints":[]}"#);
    let mut client = gateway.connect();
    let expected = gateway.get("/").body.len().to_string();
    for _ in 0..2 {
        client.send("HEAD / HTTP/1.1\r\nHost: app.test\r\n\r\n");
        let reply = client.reply_to("HEAD");
        assert_eq!(reply.status(), 503);
        assert_eq!(reply.header("content-length"), Some(expected.as_str()));
    }
}

#[test]
fn an_app_s_own_page_stands_in_for_ours() {
    let page = "<h1>back soon</h1>";
    let document =
        format!(r#"{{"hosts":["app.test"],"endpoints":["{}"],"error_pages":{{"502":"{page}"}}}}"#, closed_port());
    let gateway = Gateway::one(&document);
    let reply = gateway.get("/");
    explains(&reply, 502, "connection_refused");
    assert_eq!(reply.header("content-type"), Some("text/html; charset=utf-8"));
    assert_eq!(reply.text(), page);
}

#[test]
fn a_prefix_is_rewritten_and_the_query_kept() {
    let cases = [
        ("/api", "/", "/api/x//y?q=1", "/x//y?q=1"),
        ("/api", "/", "/api", "/"),
        ("/api", "/", "/api?", "/?"),
        ("/api", "/v2", "/api/x", "/v2/x"),
        ("/api", "/v2/", "/api/x", "/v2/x"),
        ("/api", "/v2", "/api", "/v2"),
        ("/", "/all", "/x", "/all/x"),
        ("/api", "/", "/a%70i/x%2Fy", "/x%2Fy"),
    ];
    for (prefix, rewrite, asked, forwarded) in cases {
        let upstream = Upstream::ok();
        let document = format!(
            r#"{{"hosts":["app.test"],"routes":[{{"match":{{"path":{{"prefix":"{prefix}"}}}},"to":"u","rewrite":{{"prefix":"{rewrite}"}}}}],
                "upstreams":{{"u":{{"endpoints":["{}"]}}}}}}"#,
            upstream.address
        );
        let gateway = Gateway::one(&document);
        assert_eq!(gateway.get(asked).status(), 200);
        assert_eq!(upstream.request().start, format!("GET {forwarded} HTTP/1.1"), "{prefix} -> {rewrite}: {asked}");
    }
}

#[test]
fn a_redirect_changes_what_it_names_and_keeps_the_rest() {
    let cases = [
        (r#"{"status":308,"path":"/new"}"#, "/old?q=1", 308, "/new?q=1"),
        (r#"{"status":301,"path":"/new","query":"drop"}"#, "/old?q=1", 301, "/new"),
        (r#"{"status":302,"scheme":"https"}"#, "/old/a%20b?q", 302, "https://app.test/old/a%20b?q"),
        (r#"{"status":307,"host":"new.test"}"#, "/old", 307, "http://new.test:8080/old"),
        (r#"{"status":303,"scheme":"https","port":8443}"#, "/old", 303, "https://app.test:8443/old"),
        (r#"{"status":301,"prefix":"/new"}"#, "/old/x", 301, "/new/x"),
        (r#"{"status":301,"prefix":"/"}"#, "/old//evil.test/x", 301, "/evil.test/x"),
    ];
    for (redirect, asked, status, location) in cases {
        let document = format!(
            r#"{{"hosts":["app.test"],"routes":[{{"match":{{"path":{{"prefix":"/old"}}}},"redirect":{redirect},
                "response_headers":{{"set":{{"x-set":"1"}}}}}}]}}"#
        );
        let gateway = Gateway::one(&document);
        let reply = gateway.ask(&format!("GET {asked} HTTP/1.1\r\nHost: app.test:8080\r\n\r\n"));
        assert_eq!(reply.status(), status, "{redirect}");
        assert_eq!(reply.header("location"), Some(location), "{redirect}");
        assert_eq!(reply.header("x-set"), Some("1"));
    }
}

#[test]
fn requests_are_shared_by_weight() {
    let [first, second] = [Upstream::ok(), Upstream::ok()];
    let document = format!(
        r#"{{"hosts":["app.test"],"routes":[{{"match":{{"path":{{"prefix":"/"}}}},
            "to":[{{"upstream":"a","weight":1}},{{"upstream":"b","weight":0}}]}}],
            "upstreams":{{"a":{{"endpoints":["{}"]}},"b":{{"endpoints":["{}"]}}}}}}"#,
        first.address, second.address
    );
    let gateway = Gateway::one(&document);
    let mut client = gateway.connect();
    for _ in 0..50 {
        client.send("GET / HTTP/1.1\r\nHost: app.test\r\n\r\n");
        assert_eq!(client.reply().status(), 200);
    }
    assert_eq!(first.requests.try_iter().count(), 50);
    assert!(second.saw_nothing());
}

#[test]
fn a_unix_socket_is_an_upstream_like_another() {
    let folder = tempfile::tempdir().unwrap();
    let upstream = Upstream::on_unix(&folder.path().join("app.sock"), |_, wire, seen| {
        while let Some(request) = wire.message("") {
            seen.send(request).unwrap();
            wire.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        }
    });
    let gateway = Gateway::one(&short(&upstream));
    let mut client = gateway.connect();
    for _ in 0..3 {
        client.send("POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length: 4\r\n\r\nbody");
        assert_eq!(client.reply().text(), "ok");
        assert_eq!(upstream.request().text(), "body");
    }
    assert_eq!(upstream.connections(), 1);
}

#[test]
fn an_upstream_that_says_503_is_passed_on_as_it_is() {
    let upstream = Upstream::answering("HTTP/1.1 503 No\r\nContent-Length: 4\r\nRetry-After: 7\r\n\r\nbusy");
    let gateway = Gateway::one(&long("", &[&upstream.address]));
    let reply = gateway.get("/");
    assert_eq!((reply.status(), reply.text(), reply.header("retry-after")), (503, "busy", Some("7")));
    assert_eq!(reply.header("proxy-status"), None);
}

/// A record that another version has made: valid there, not here.
#[test]
fn an_app_whose_document_is_not_understood_gets_503_and_the_others_are_served() {
    let upstream = Upstream::answering("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
    let mut first = published(&[("app", &short(&upstream))]);
    let hosts = [HostRef { name: "new.test", wildcard: false }];
    let parts = RecordParts { id: "new", rev: Rev(1), document: b"{\"hots\":[]}", endpoints: 0, hosts: &hosts };
    first.table.upsert(AppRecord::new(&parts).unwrap()).unwrap();
    let gateway = Gateway::start(first, settings(), AccessLog::off(), tcp());
    for _ in 0..2 {
        let reply = gateway.ask("GET / HTTP/1.1\r\nHost: new.test\r\n\r\n");
        explains(&reply, 503, "proxy_configuration_error");
    }
    assert_eq!(gateway.get("/").status(), 200);
}

#[test]
fn a_worker_that_has_nothing_to_do_lets_go_of_an_old_table() {
    let mut gateway = Gateway::one(r#"{"hosts":["app.test"],"endpoints":[]}"#);
    assert_eq!(gateway.get("/").status(), 503);
    let old = gateway.writer.publish(Arc::new(Published::default()));
    let until = Instant::now() + DEADLINE;
    while Arc::strong_count(&old) > 1 {
        assert!(Instant::now() < until, "the old table is kept alive");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}
