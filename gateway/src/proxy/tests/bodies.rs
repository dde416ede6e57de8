//! Bodies both ways: framing, trailers, limits, time, and what happens when one breaks off.

use std::io::Write;

use super::harness::{DEADLINE, Gateway, Upstream, eventually, long, settings, short};

const POST: &str = "POST / HTTP/1.1\r\nHost: app.test\r\n";
const CHUNKED: &str = "Transfer-Encoding: chunked\r\n\r\n";

/// An upstream that says how many reads a request took, in place of its body.
fn counting_reads() -> Upstream {
    Upstream::scripted(|_, wire, seen| {
        let mut chunk = [0; 65_536];
        loop {
            let read = wire.stream.read(&mut chunk).unwrap_or(0);
            if read == 0 {
                return;
            }
            wire.buffer.extend_from_slice(&chunk[..read]);
            let whole = wire.message("").unwrap();
            seen.send(whole).unwrap();
            wire.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        }
    })
}

#[test]
fn head_and_small_body_leave_in_one_write() {
    let upstream = Upstream::scripted(|_, wire, _| {
        while wire.more() {
            let first_read = String::from_utf8_lossy(&wire.buffer).into_owned();
            let whole = first_read.ends_with("hello") || first_read.ends_with("0\r\n\r\n");
            wire.buffer.clear();
            wire.send(format!("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n{whole:<5}"));
        }
    });
    let gateway = Gateway::one(&short(&upstream));
    let mut client = gateway.connect();
    for _ in 0..20 {
        client.send(format!("{POST}Content-Length: 5\r\n\r\nhello"));
        assert_eq!(client.reply().text(), "true ");
        client.send(format!("{POST}{CHUNKED}5\r\nhello\r\n0\r\n\r\n"));
        assert_eq!(client.reply().text(), "true ");
    }
}

#[test]
fn a_body_that_has_not_come_is_not_waited_for() {
    let upstream = Upstream::scripted(|_, wire, seen| {
        let head = wire.head().unwrap();
        seen.send(head).unwrap();
        let body = wire.take(4);
        wire.send(format!("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n{}", String::from_utf8(body).unwrap()));
    });
    let gateway = Gateway::one(&short(&upstream));
    let mut client = gateway.connect();
    client.send(format!("{POST}Content-Length: 4\r\n\r\n"));
    upstream.request();
    client.send("late");
    assert_eq!(client.reply().text(), "late");
}

#[test]
fn chunks_and_trailers_pass_both_ways() {
    let upstream = Upstream::answering(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\nX-Sum: 5\r\n\r\n",
    );
    let gateway = Gateway::one(&short(&upstream));
    for method in ["POST", "GET"] {
        let reply = gateway.ask(&format!(
            "{method} / HTTP/1.1\r\nHost: app.test\r\nTE: trailers\r\nTrailer: X-Check\r\n{CHUNKED}\
             4\r\nwxyz\r\n1\r\n!\r\n0\r\nX-Check: ok\r\n\r\n"
        ));
        let request = upstream.request();
        assert_eq!(request.text(), "wxyz!", "{method}");
        assert_eq!(request.header("transfer-encoding"), Some("chunked"));
        assert_eq!(request.header("te"), Some("trailers"));
        assert_eq!(request.trailers, [("x-check".to_owned(), "ok".to_owned())]);
        assert_eq!(reply.text(), "abcde");
        assert_eq!(reply.trailers, [("x-sum".to_owned(), "5".to_owned())]);
    }
}

#[test]
fn trailers_alone_pass_too() {
    let upstream = counting_reads();
    let gateway = Gateway::one(&short(&upstream));
    let reply = gateway.ask(&format!("{POST}Trailer: X-Check\r\n{CHUNKED}0\r\nX-Check: ok\r\n\r\n"));
    assert_eq!(reply.status(), 200);
    let request = upstream.request();
    assert_eq!(request.text(), "");
    assert_eq!(request.trailers, [("x-check".to_owned(), "ok".to_owned())]);
}

#[test]
fn large_bodies_pass_unharmed_both_ways() {
    let upstream = Upstream::scripted(|_, wire, _| {
        let request = wire.message("").unwrap();
        wire.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", request.body.len()));
        wire.send(request.body);
    });
    let gateway = Gateway::one(&short(&upstream));
    let body: Vec<u8> = (0..4_000_000_u32).map(|i| (i % 251) as u8).collect();
    let mut client = gateway.connect();
    client.send(format!("{POST}Content-Length: {}\r\n\r\n", body.len()));
    let mut writer = client.stream.try_clone().unwrap();
    let sent = body.clone();
    let writing = std::thread::spawn(move || writer.write_all(&sent).unwrap());
    assert!(client.reply().body == body);
    writing.join().unwrap();
}

#[test]
fn answers_without_a_body_end_with_their_head() {
    let cases = [
        ("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", Some("1000")),
        ("HEAD", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", None),
        ("GET", "HTTP/1.1 204 No Content\r\n\r\n", None),
        ("GET", "HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n\r\n", None),
        ("GET", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", Some("0")),
    ];
    for (method, answer, length) in cases {
        let upstream = Upstream::answering(answer);
        let gateway = Gateway::one(&short(&upstream));
        let mut client = gateway.connect();
        for _ in 0..2 {
            client.send(format!("{method} / HTTP/1.1\r\nHost: app.test\r\n\r\n"));
            let reply = client.reply_to(method);
            assert_eq!(reply.header("content-length"), length, "{answer}");
            assert_eq!(reply.header("transfer-encoding"), None, "{answer}");
        }
        assert_eq!(upstream.connections(), 1, "{answer}");
    }
}

#[test]
fn a_client_is_told_to_continue_only_when_the_upstream_wants_the_body() {
    let upstream = Upstream::scripted(|_, wire, seen| {
        while let Some(head) = wire.head() {
            assert_eq!(head.header("expect"), Some("100-continue"));
            seen.send(head).unwrap();
            wire.send("HTTP/1.1 100 Continue\r\n\r\n");
            let body = String::from_utf8(wire.take(4)).unwrap();
            wire.send(format!("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n{body}"));
        }
    });
    let gateway = Gateway::one(&short(&upstream));
    let (done, is_done) = std::sync::mpsc::sync_channel(1);
    std::thread::spawn(move || {
        let mut client = gateway.connect();
        for _ in 0..12 {
            client.send(format!("{POST}Expect: 100-continue\r\nContent-Length: 4\r\n\r\n"));
            upstream.request();
            assert_eq!(client.head().unwrap().status(), 100);
            client.send("body");
            assert_eq!(client.reply().text(), "body");
        }
        done.send(()).unwrap();
    });
    // An upstream whose word is not heard is waited for a second each time.
    is_done.recv_timeout(DEADLINE).unwrap();
}

#[test]
fn an_upstream_that_never_says_100_gets_the_body_all_the_same() {
    let upstream = Upstream::ok();
    let gateway = Gateway::one(&short(&upstream));
    let mut client = gateway.connect();
    client.send(format!("{POST}Expect: 100-continue\r\nContent-Length: 4\r\n\r\n"));
    assert_eq!(client.head().unwrap().status(), 100);
    client.send("body");
    assert_eq!(client.reply().text(), "ok");
    assert_eq!(upstream.request().text(), "body");
}

#[test]
fn a_refusal_reaches_the_client_instead_of_100() {
    let upstream = Upstream::scripted(|_, wire, _| {
        wire.head().unwrap();
        wire.send("HTTP/1.1 417 No\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno");
    });
    let gateway = Gateway::one(&short(&upstream));
    let mut client = gateway.connect();
    client.send(format!("{POST}Expect: 100-continue\r\nContent-Length: 4\r\n\r\n"));
    let reply = client.reply();
    assert_eq!((reply.status(), reply.text()), (417, "no"));
    assert_eq!(reply.header("connection"), Some("close"));
    assert!(client.is_closed());
}

#[test]
fn an_answer_before_the_body_s_end_reaches_a_client_that_is_still_sending() {
    let upstream = Upstream::scripted(|_, wire, _| {
        wire.head().unwrap();
        wire.send("HTTP/1.1 413 No\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno");
        // Closed at once the socket would send a reset, which may overtake the answer.
        wire.rest();
    });
    let gateway = Gateway::one(&short(&upstream));
    let mut client = gateway.connect();
    client.send(format!("{POST}Content-Length: 300000\r\n\r\nbegin"));
    let reply = client.reply();
    assert_eq!((reply.status(), reply.text()), (413, "no"));
    assert!(client.is_read_on(|| assert_eq!(gateway.ask("GET / HTTP/1.1\r\nHost: no.test\r\n\r\n").status(), 404)));
}

#[test]
fn an_early_answer_ends_the_connection_though_upstream_and_client_would_go_on() {
    for expect in ["", "Expect: 100-continue\r\n"] {
        let upstream = Upstream::scripted(|_, wire, _| {
            wire.head().unwrap();
            wire.send("HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno");
            wire.rest();
        });
        let gateway = Gateway::one(&short(&upstream));
        let mut client = gateway.connect();
        client.send(format!("{POST}{expect}Content-Length: 300000\r\n\r\n"));
        let reply = client.reply();
        assert_eq!((reply.status(), reply.text()), (403, "no"));
        assert!(client.is_closed());
        eventually("the upstream's connection is let go", || gateway.stats.connections() == 0);
    }
}

/// It closes with the body unread, which resets the connection under the gateway's writes.
#[test]
fn an_upstream_that_answers_early_and_closes_at_once_is_heard() {
    for round in 0..20 {
        let upstream = Upstream::scripted(|_, wire, _| {
            wire.head().unwrap();
            wire.send("HTTP/1.1 413 Too Much\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno");
        });
        let gateway = Gateway::one(&short(&upstream));
        let mut client = gateway.connect();
        client.send(format!("{POST}Content-Length: 300000\r\n\r\n{}", "x".repeat(300_000)));
        let reply = client.reply();
        assert_eq!((reply.status(), reply.text()), (413, "no"), "round {round}");
    }
}

#[test]
fn a_body_over_the_limit_is_refused() {
    let upstream = Upstream::scripted(|_, wire, _| drop(wire.rest()));
    let mut settings = settings();
    settings.limits.request_body_bytes = 10;
    let gateway = Gateway::with(&[("app", &short(&upstream))], settings);
    let announced = gateway.ask(&format!("{POST}Content-Length: 11\r\n\r\n"));
    assert_eq!(announced.status(), 413);
    assert_eq!(announced.header("connection"), Some("close"));
    let early = gateway.ask(&format!("{POST}{CHUNKED}b\r\n12345678901\r\n0\r\n\r\n"));
    assert_eq!(early.status(), 413);
    assert_eq!(upstream.connections(), 0);
    let mut client = gateway.connect();
    client.send(format!("{POST}{CHUNKED}5\r\n12345\r\n"));
    eventually("the upstream is connected to", || upstream.connections() == 1);
    client.send("6\r\n123456\r\n0\r\n\r\n");
    let streamed = client.reply();
    assert_eq!(streamed.status(), 413);
    assert_eq!(
        streamed.header("proxy-status").unwrap(),
        r#"holdgate; error=http_request_error; details="the request's body is too large""#
    );
}

#[test]
fn an_upstream_that_dies_in_its_answer_is_seen_by_the_client_as_a_cut() {
    for framing in ["Content-Length: 11", "Transfer-Encoding: chunked"] {
        let upstream = Upstream::scripted(move |_, wire, _| {
            wire.message("").unwrap();
            wire.send(format!("HTTP/1.1 200 OK\r\n{framing}\r\n\r\n5\r\nabcde\r\n"));
        });
        let gateway = Gateway::one(&short(&upstream));
        let mut client = gateway.connect();
        client.send("GET / HTTP/1.1\r\nHost: app.test\r\n\r\n");
        let bytes = String::from_utf8(client.rest()).unwrap();
        if framing.starts_with('T') {
            assert!(!bytes.ends_with("0\r\n\r\n"), "{bytes}");
        } else {
            let body = bytes.split_once("\r\n\r\n").map_or("", |(_, body)| body);
            assert_ne!(body.len(), 11, "{bytes}");
        }
    }
}

#[test]
fn an_upstream_that_falls_silent_in_its_answer_is_cut_off() {
    let upstream = Upstream::scripted(|_, wire, _| {
        wire.message("").unwrap();
        wire.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabcde");
        wire.more();
    });
    let gateway = Gateway::one(&long(r#","timeouts":{"idle":"50ms"}"#, &[&upstream.address]));
    let mut client = gateway.connect();
    client.send("GET / HTTP/1.1\r\nHost: app.test\r\n\r\n");
    let reply = client.reply();
    assert_eq!((reply.status(), reply.text()), (200, "abcde"));
    assert!(client.is_closed());
}

#[test]
fn a_connection_goes_back_to_the_pool_after_a_body() {
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabcde",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n0\r\n\r\n",
    ] {
        let upstream = Upstream::answering(answer);
        let gateway = Gateway::one(&short(&upstream));
        for _ in 0..5 {
            assert_eq!(gateway.get("/").text(), "abcde");
        }
        assert_eq!(upstream.connections(), 1);
    }
}

#[test]
fn a_client_that_goes_away_frees_the_upstream() {
    let upstream = Upstream::scripted(|_, wire, seen| {
        let request = wire.message("").unwrap();
        seen.send(request.clone()).unwrap();
        wire.rest();
        seen.send(request).unwrap();
    });
    let gateway = Gateway::one(&short(&upstream));
    let mut client = gateway.connect();
    client.send("GET / HTTP/1.1\r\nHost: app.test\r\n\r\n");
    upstream.request();
    drop(client);
    upstream.request();
    eventually("no connection is left", || gateway.stats.connections() == 0);
}

#[test]
fn a_client_that_stops_sending_is_told_so_and_the_endpoint_is_not_blamed() {
    let upstreams = [Upstream::ok(), Upstream::ok()];
    let mut settings = settings();
    settings.upstream.eject_after = 1;
    settings.upstream.eject_for = 10 * DEADLINE;
    let addresses = upstreams.each_ref().map(|upstream| upstream.address.as_str());
    let document = long(r#","timeouts":{"request":"50ms"}"#, &addresses);
    let gateway = Gateway::with(&[("app", &document)], settings);
    let mut client = gateway.connect();
    client.send(format!("{POST}Content-Length: 10\r\n\r\nhalf"));
    let reply = client.reply();
    assert_eq!(reply.status(), 408);
    assert!(reply.header("proxy-status").unwrap().contains("error=http_request_error"));
    for _ in 0..4 {
        gateway.get("/");
    }
    for upstream in upstreams {
        assert_eq!(upstream.requests.try_iter().filter(|request| request.start.starts_with("GET")).count(), 2);
    }
}

#[test]
fn head_and_small_body_reach_the_client_in_one_write() {
    let upstream = Upstream::ok();
    let gateway = Gateway::one(&short(&upstream));
    let mut client = gateway.connect();
    for _ in 0..20 {
        client.send("GET / HTTP/1.1\r\nHost: app.test\r\n\r\n");
        assert!(client.more());
        assert!(client.buffer.ends_with(b"\r\n\r\nok"), "{:?}", String::from_utf8_lossy(&client.buffer));
        client.buffer.clear();
    }
}

#[test]
fn a_request_s_time_runs_out() {
    let upstream = Upstream::scripted(|_, wire, seen| {
        seen.send(wire.message("").unwrap()).unwrap();
        wire.rest();
    });
    let gateway = Gateway::one(&long(r#","timeouts":{"request":"50ms"}"#, &[&upstream.address]));
    let mut client = gateway.connect();
    for _ in 0..2 {
        client.send("GET / HTTP/1.1\r\nHost: app.test\r\n\r\n");
        let reply = client.reply();
        assert_eq!(reply.status(), 504);
        assert!(reply.header("proxy-status").unwrap().contains("error=http_response_timeout"));
        upstream.request();
    }
    assert!(upstream.saw_nothing());
}
