//! Which requests are tried again, and which never.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use super::harness::{Gateway, Upstream, closed_port, long, settings, short};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const GET: &str = "GET / HTTP/1.1\r\nHost: app.test\r\n\r\n";
const POST: &str = "POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length: 4\r\n\r\nbody";
const PUT: &str = "PUT / HTTP/1.1\r\nHost: app.test\r\nContent-Length: 4\r\n\r\nbody";

const NO_RETRIES: &str = r#","retries":{"attempts":0,"on":["connect-failure","reset-before-response"]}"#;

/// One that closes each connection after it has read a request.
fn dying() -> Upstream {
    Upstream::scripted(|_, wire, seen| {
        if let Some(request) = wire.message("") {
            seen.send(request).unwrap();
        }
    })
}

#[test]
fn a_refused_connection_is_tried_at_another_endpoint() {
    let upstream = Upstream::ok();
    let gateway = Gateway::one(&long("", &[&closed_port(), &upstream.address]));
    for request in [GET, POST, GET, POST] {
        assert_eq!(gateway.ask(request).text(), "ok");
    }
}

#[test]
fn every_endpoint_refusing_is_502() {
    let gateway = Gateway::one(&long("", &[&closed_port(), &closed_port()]));
    let reply = gateway.get("/");
    assert_eq!(reply.status(), 502);
    assert!(reply.header("proxy-status").unwrap().contains("error=connection_refused"));
}

#[test]
fn a_connection_reset_before_the_answer_is_tried_again_only_where_that_is_safe() {
    for (request, attempts) in [(GET, 2), (PUT, 2), (POST, 1)] {
        let upstream = dying();
        let gateway = Gateway::one(&long("", &[&upstream.address]));
        let reply = gateway.ask(request);
        assert_eq!(reply.status(), 502, "{request}");
        assert!(reply.header("proxy-status").unwrap().contains("error=connection_terminated"));
        assert_eq!(upstream.requests.try_iter().count(), attempts, "{request}");
    }
}

#[test]
fn a_whole_body_is_sent_again_unharmed() {
    let (bad, good) = (dying(), Upstream::ok());
    let gateway = Gateway::one(&long("", &[&bad.address, &good.address]));
    for _ in 0..4 {
        assert_eq!(gateway.ask(PUT).text(), "ok");
        assert_eq!(good.request().text(), "body");
    }
    assert!(bad.requests.try_iter().count() > 0);
}

#[test]
fn an_answer_with_a_retried_status_is_tried_elsewhere() {
    let busy = Upstream::answering("HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy");
    let good = Upstream::ok();
    let fields = r#","retries":{"attempts":1,"on":["503"]}"#;
    let gateway = Gateway::one(&long(fields, &[&busy.address, &good.address]));
    for _ in 0..4 {
        assert_eq!(gateway.ask(GET).text(), "ok");
    }
    let only = Gateway::one(&long(fields, &[&busy.address]));
    let reply = only.ask(GET);
    assert_eq!((reply.status(), reply.text()), (503, "busy"));
}

#[test]
fn an_attempt_that_takes_too_long_is_tried_elsewhere() {
    let silent = Upstream::scripted(|_, wire, _| drop(wire.rest()));
    let good = Upstream::ok();
    let fields = r#","timeouts":{"per_try":"100ms"},"retries":{"attempts":1,"on":["timeout"]}"#;
    let gateway = Gateway::one(&long(fields, &[&silent.address, &good.address]));
    for _ in 0..4 {
        assert_eq!(gateway.ask(GET).text(), "ok");
    }
}

#[test]
fn no_retry_means_no_retry() {
    let upstream = dying();
    let gateway = Gateway::one(&long(NO_RETRIES, &[&upstream.address]));
    assert_eq!(gateway.ask(GET).status(), 502);
    assert_eq!(upstream.requests.try_iter().count(), 1);
}

#[test]
fn what_is_not_http_is_502_and_not_tried_again() {
    let upstream = Upstream::answering("SSH-2.0-OpenSSH_9.2\r\n\r\n");
    let gateway = Gateway::one(&short(&upstream));
    let reply = gateway.get("/");
    assert_eq!(reply.status(), 502);
    assert!(reply.header("proxy-status").unwrap().contains("error=http_protocol_error"));
    assert_eq!(upstream.requests.try_iter().count(), 1);
}

/// The upstream answers one request on each connection. Half of them it closes without a word, the others when the next
/// request comes, while the gateway believes that they can be used again.
#[test]
fn an_upstream_that_closes_kept_connections_costs_no_request() {
    let upstream = Upstream::scripted(|number, wire, _| {
        if wire.message("").is_some() {
            wire.send(OK);
        }
        if number % 2 == 0 {
            wire.more();
        }
    });
    let gateway = Gateway::one(&short(&upstream));
    let failed = Arc::new(AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut client = gateway.connect();
                for _ in 0..100 {
                    client.send(GET);
                    if client.reply().text() != "ok" {
                        failed.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    assert_eq!(failed.load(Ordering::Relaxed), 0);
}

#[test]
fn a_kept_connection_that_died_does_not_use_up_the_route_s_budget() {
    let upstream = Upstream::scripted(|_, wire, _| {
        if wire.message("").is_some() {
            wire.send(OK);
        }
        // The second request is read, and the connection ends without an answer.
        wire.message("");
    });
    let gateway = Gateway::one(&long(NO_RETRIES, &[&upstream.address]));
    let mut client = gateway.connect();
    for _ in 0..3 {
        client.send(GET);
        assert_eq!(client.reply().text(), "ok");
    }
}

#[test]
fn an_endpoint_that_fails_in_a_row_is_left_out() {
    let (bad, good) = (dying(), Upstream::ok());
    let mut settings = settings();
    settings.upstream.eject_after = 2;
    settings.upstream.eject_for = std::time::Duration::from_secs(60);
    let document = long("", &[&bad.address, &good.address]);
    let gateway = Gateway::with(&[("app", &document)], settings);
    for _ in 0..50 {
        assert_eq!(gateway.ask(GET).text(), "ok");
    }
    assert_eq!(bad.requests.try_iter().count(), 2);
}

/// The upstream has read the request and closed: only one that changes nothing goes over a new connection.
#[test]
fn a_kept_connection_that_dies_with_a_request_has_it_repeated_only_where_that_is_safe() {
    for (request, status, delivered) in [(GET, 200, 2), (PUT, 200, 2), (POST, 502, 1)] {
        let upstream = Upstream::scripted(|number, wire, seen| {
            if number == 0 {
                wire.message("").unwrap();
                wire.send(OK);
                seen.send(wire.message("").unwrap()).unwrap();
                return;
            }
            while let Some(request) = wire.message("") {
                seen.send(request).unwrap();
                wire.send(OK);
            }
        });
        let gateway = Gateway::one(&long(NO_RETRIES, &[&upstream.address]));
        let mut client = gateway.connect();
        client.send(GET);
        assert_eq!(client.reply().text(), "ok");
        client.send(request);
        assert_eq!(client.reply().status(), status, "{request}");
        assert_eq!(upstream.requests.try_iter().count(), delivered, "{request}");
    }
}
