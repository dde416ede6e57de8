//! Client connections: pipelining, reuse, limits, and what the access log says of a request.

use std::sync::Arc;

use super::harness::{DEADLINE, Gateway, Reply, Upstream, eventually, published, settings, short, tcp};
use crate::{
    config::{AccessLogTarget, ListenAddress, LogFormat},
    telemetry::access::AccessLog,
};

const GET: &str = "GET / HTTP/1.1\r\nHost: app.test\r\n\r\n";

#[test]
fn pipelined_requests_are_answered_in_order() {
    let upstream = Upstream::scripted(|_, wire, _| {
        while let Some(request) = wire.message("") {
            let path = request.start.split(' ').nth(1).unwrap().to_owned();
            wire.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{path}", path.len()));
        }
    });
    let gateway = Gateway::one(&short(&upstream));
    let mut client = gateway.connect();
    let all: String = (0..20).map(|i| format!("GET /{i} HTTP/1.1\r\nHost: app.test\r\n\r\n")).collect();
    client.send(all);
    for i in 0..20 {
        assert_eq!(client.reply().text(), format!("/{i}"));
    }
}

#[test]
fn an_answer_is_not_held_back_by_half_of_the_next_request() {
    let upstream = Upstream::ok();
    let gateway = Gateway::one(&short(&upstream));
    let mut client = gateway.connect();
    client.send(format!("{GET}GET / HT"));
    assert_eq!(client.reply().text(), "ok");
    client.send("TP/1.1\r\nHost: app.test\r\n\r\n");
    assert_eq!(client.reply().text(), "ok");
}

#[test]
fn one_upstream_connection_serves_many_clients_in_turn() {
    let upstream = Upstream::ok();
    let gateway = Gateway::one(&short(&upstream));
    for _ in 0..10 {
        assert_eq!(gateway.get("/").text(), "ok");
    }
    assert_eq!(upstream.connections(), 1);
}

/// Long before it would have idled for too long.
#[test]
fn an_endpoint_that_left_the_table_loses_its_idle_connection() {
    let upstream = Upstream::scripted(|_, wire, seen| {
        while let Some(request) = wire.message("") {
            seen.send(request).unwrap();
            wire.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        }
        seen.send(Reply::default()).unwrap();
    });
    let other = Upstream::ok();
    let mut gateway = Gateway::one(&short(&upstream));
    assert_eq!(gateway.get("/").text(), "ok");
    upstream.request();
    gateway.writer.publish(Arc::new(published(&[("app", &short(&other))])));
    assert_eq!(upstream.request().start, "", "the connection has ended");
}

#[test]
fn a_unix_listener_serves() {
    let upstream = Upstream::ok();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("web.sock");
    let first = published(&[("app", &short(&upstream))]);
    let gateway = Gateway::start(first, settings(), AccessLog::off(), ListenAddress::Unix(path.clone()));
    let stream = std::os::unix::net::UnixStream::connect(path).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let mut client = super::harness::Wire { stream, buffer: Vec::new() };
    client.send("GET / HTTP/1.1\r\nHost: app.test\r\nX-Forwarded-For: 9.9.9.9\r\n\r\n");
    assert_eq!(client.reply().text(), "ok");
    assert_eq!(upstream.request().header("x-forwarded-for"), Some("9.9.9.9"));
    assert_eq!(gateway.stats.name(), "web");
}

#[test]
fn a_request_that_is_cut_at_the_end_of_a_drain_says_so() {
    let upstream = Upstream::scripted(|_, wire, seen| {
        seen.send(wire.message("").unwrap()).unwrap();
        wire.rest();
    });
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("access.log");
    let access = AccessLog::start(&AccessLogTarget::File(file.clone()), LogFormat::Json).unwrap();
    let mut settings = settings();
    settings.drain.timeout = std::time::Duration::from_millis(50);
    let mut gateway = Gateway::start(published(&[("shop", &short(&upstream))]), settings, access.clone(), tcp());
    let mut client = gateway.connect();
    client.send(GET);
    upstream.request();
    gateway.join();
    access.flush();
    let line: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    assert_eq!(line["error"], "drain_timeout");
}

/// The lines of the access log once there are so many.
fn logged(gateway: impl FnOnce(&Gateway), lines: usize, upstream: &Upstream) -> Vec<serde_json::Value> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("access.log");
    let access = AccessLog::start(&AccessLogTarget::File(file.clone()), LogFormat::Json).unwrap();
    let running = Gateway::start(published(&[("shop", &short(upstream))]), settings(), access.clone(), tcp());
    gateway(&running);
    let read = || {
        access.flush();
        std::fs::read_to_string(&file).unwrap_or_default()
    };
    eventually("the lines are there", || read().lines().count() >= lines);
    read().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_request_is_recorded_once_with_what_became_of_it() {
    let upstream = Upstream::ok();
    let requests = |gateway: &Gateway| {
        gateway.ask("POST /a?b HTTP/1.1\r\nHost: app.test\r\nContent-Length: 4\r\n\r\nbody");
        gateway.ask("GET / HTTP/1.1\r\nHost: other.test\r\n\r\n");
    };
    let lines = logged(requests, 2, &upstream);
    assert_eq!(lines.len(), 2);
    let (answered, refused) = (&lines[0], &lines[1]);
    assert_eq!(answered["method"], "POST");
    assert_eq!(answered["path"], "/a?b");
    assert_eq!(answered["status"], 200);
    assert_eq!(answered["app"], "shop");
    assert_eq!(answered["endpoint"], upstream.address);
    assert_eq!(answered["bytes_in"], 4);
    assert_eq!(answered["bytes_out"], 2);
    assert_eq!(answered["attempts"], 1);
    assert_eq!(answered["client"], "127.0.0.1");
    assert_eq!(answered.get("error"), None);
    assert_eq!(refused["status"], 404);
    assert_eq!(refused["error"], "destination_not_found");
    assert_eq!(refused["attempts"], 0);
}

#[test]
fn a_request_whose_client_went_away_is_recorded_too() {
    let upstream = Upstream::scripted(|_, wire, seen| {
        seen.send(wire.message("").unwrap()).unwrap();
        wire.rest();
    });
    let request = |gateway: &Gateway| {
        let mut client = gateway.connect();
        client.send(GET);
        upstream.request();
    };
    let lines = logged(request, 1, &upstream);
    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0]["status"], 499);
    assert_eq!(lines[0]["error"], "client_closed");
}

/// Whenever a client resets its connection: each request that came has one line, and one only.
#[test]
fn every_request_has_one_line_wherever_its_connection_is_reset() {
    let upstream = Upstream::scripted(|_, wire, seen| {
        while let Some(head) = wire.head() {
            let path = head.start.split(' ').nth(1).unwrap().to_owned();
            wire.send(match path.as_str() {
                "/hints" => "HTTP/1.1 103 Early Hints\r\n\r\n",
                "/half" => "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf",
                "/chunks" => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
                "/whole" => "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nhalf",
                "/switch" => "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nhalf",
                _ => "",
            });
            seen.send(head).unwrap();
            if path != "/whole" {
                while matches!(wire.stream.read(&mut [0; 4096]), Ok(read) if read > 0) {}
                return;
            }
        }
    });
    let get =
        |path: &str| format!("GET {path} HTTP/1.1\r\nHost: app.test\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n");
    let post = |path: &str| format!("POST {path} HTTP/1.1\r\nHost: app.test\r\nContent-Length: 9\r\n");
    // What is sent, the requests that come, and what the client waits to read.
    let ways = [
        (get("/half")[..20].to_owned(), 0, ""),
        (format!("{}GET /h", get("/whole")), 1, "half"),
        (get("/think"), 1, ""),
        (get("/hints"), 1, "103"),
        (get("/half"), 1, "half"),
        (get("/chunks"), 1, "half"),
        (get("/switch"), 1, "half"),
        (format!("{}{}", get("/whole"), get("/think")), 2, "half"),
        (format!("{}\r\nbody", post("/think")), 1, ""),
        (format!("{}\r\nbody", post("/half")), 1, "half"),
        (format!("{}Expect: 100-continue\r\n\r\n", post("/half")), 1, "half"),
    ];
    let expected = ways.iter().map(|way| way.1).sum::<usize>();
    let go = |gateway: &Gateway| {
        for (bytes, requests, awaited) in &ways {
            let mut client = gateway.connect();
            client.send(bytes);
            (0..*requests).for_each(|_| drop(upstream.request()));
            while !String::from_utf8_lossy(&client.buffer).contains(awaited) {
                assert!(client.more(), "{bytes}");
            }
            socket2::SockRef::from(&client.stream).set_linger(Some(std::time::Duration::ZERO)).unwrap();
            drop(client);
            eventually("it is gone", || gateway.stats.connections() == 0);
        }
    };
    let lines = logged(go, expected, &upstream);
    assert_eq!(lines.len(), expected);
    let complete = lines.iter().filter(|line| line.get("error").is_none()).count();
    assert_eq!(complete, lines.iter().filter(|line| line["path"] == "/whole").count());
}
