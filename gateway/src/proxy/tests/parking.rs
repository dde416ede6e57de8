//! Parked connections: what may be parked, and that nobody notices.
//!
//! With `warm_connections` at 0 a connection parks after every answer, at the very moment when it could: each request
//! that follows comes to a parked connection, or to one that is just being parked.

use std::{
    io::Write,
    net::Shutdown,
    time::{Duration, Instant},
};

use super::harness::{Client, DEADLINE, Gateway, Upstream, eventually, published, settings, short, tcp};
use crate::{config::ListenAddress, proxy::Settings, telemetry::access::AccessLog};

const GET: &str = "GET / HTTP/1.1\r\nHost: app.test\r\n\r\n";

/// Settings with which a connection parks whenever it can.
fn eager() -> Settings {
    Settings { warm_connections: 0, ..settings() }
}

fn gateway(upstream: &Upstream, settings: Settings) -> Gateway {
    Gateway::with(&[("app", &short(upstream))], settings)
}

/// An upstream that answers with the request's path and body.
fn echo() -> Upstream {
    Upstream::scripted(|_, wire, _| {
        while let Some(request) = wire.message("") {
            let path = request.start.split(' ').nth(1).unwrap().as_bytes();
            let body = [path, &request.body].concat();
            wire.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()));
            wire.send(body);
        }
    })
}

fn parked(gateway: &Gateway, count: usize) {
    eventually("connections are parked", || gateway.stats.parked() == count);
}

/// Returns when the worker has had the time to park what can be parked: a connection of that kind has been.
fn two_ticks(gateway: &Gateway) -> Client {
    let before = gateway.stats.parked();
    let mut other = gateway.connect();
    other.send(GET);
    assert_eq!(other.reply().status(), 200);
    parked(gateway, before + 1);
    other
}

#[test]
fn an_idle_connection_is_parked_and_serves_on() {
    let upstream = Upstream::ok();
    let gateway = gateway(&upstream, settings());
    let mut clients: Vec<_> = (0..3).map(|_| gateway.connect()).collect();
    for _ in 0..2 {
        for client in &mut clients {
            client.send(GET);
            assert_eq!(client.reply().text(), "ok");
        }
        parked(&gateway, 3);
        assert_eq!(gateway.stats.connections(), 3);
    }
    drop(clients);
    eventually("they are gone", || gateway.stats.connections() == 0 && gateway.stats.parked() == 0);
}

#[test]
fn a_connection_that_says_nothing_holds_no_buffers_either() {
    let upstream = Upstream::ok();
    let gateway = gateway(&upstream, settings());
    let mut silent = gateway.connect();
    parked(&gateway, 1);
    silent.send(GET);
    assert_eq!(silent.reply().text(), "ok");
}

#[test]
fn a_connection_parks_after_every_kind_of_answer() {
    let upstream = Upstream::scripted(|_, wire, _| {
        while let Some(request) = wire.message("") {
            wire.send(match request.start.split(' ').nth(1).unwrap() {
                "/empty" => "HTTP/1.1 204 No Content\r\n\r\n",
                "/chunked" => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
                "/head" => "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n",
                _ => "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
            });
        }
    });
    let gateway = gateway(&upstream, eager());
    let mut client = gateway.connect();
    let head = "HTTP/1.1\r\nHost: app.test\r\n";
    let requests = [
        ("GET", format!("GET /empty {head}\r\n")),
        ("GET", format!("GET /chunked {head}\r\n")),
        ("HEAD", format!("HEAD /head {head}\r\n")),
        ("GET", "GET / HTTP/1.1\r\nHost: nobody.test\r\n\r\n".to_owned()),
        ("GET", "GET / HTTP/1.0\r\nHost: app.test\r\nConnection: keep-alive\r\n\r\n".to_owned()),
        ("POST", format!("POST / {head}Content-Length: 4\r\n\r\nbody")),
        ("POST", format!("POST / {head}Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n")),
    ];
    for (method, request) in requests.iter().chain(&requests) {
        client.send(request);
        let status = client.reply_to(method).status();
        assert!(matches!(status, 200 | 204 | 404), "{status} to {request}");
        parked(&gateway, 1);
    }
    client.send(format!("GET / {head}Connection: close\r\n\r\n"));
    assert_eq!(client.reply().text(), "ok");
    assert!(client.is_closed());
}

#[test]
fn a_request_that_is_cut_anywhere_reaches_a_parking_connection_whole() {
    let upstream = echo();
    let gateway = gateway(&upstream, eager());
    let request = "POST /a HTTP/1.1\r\nHost: app.test\r\nContent-Length: 4\r\n\r\nbody";
    let mut client = gateway.connect();
    for cut in 0..request.len() {
        let (first, second) = request.split_at(cut);
        client.send(first);
        client.send(second);
        assert_eq!(client.reply().text(), "/abody", "cut at {cut}");
    }
    // The next request's beginning comes with the one before.
    client.send(&request[..1]);
    for cut in (1..request.len()).step_by(7) {
        client.send(format!("{}{}", &request[1..], &request[..1]));
        assert_eq!(client.reply().text(), "/abody", "cut at {cut}");
    }
}

#[test]
fn pipelined_requests_are_all_answered_before_a_connection_parks() {
    let upstream = echo();
    let gateway = gateway(&upstream, eager());
    let mut client = gateway.connect();
    for round in 0..5 {
        let paths: Vec<String> = (0..40).map(|i| format!("/{round}/{i}")).collect();
        let all: String = paths.iter().map(|path| format!("GET {path} HTTP/1.1\r\nHost: app.test\r\n\r\n")).collect();
        client.send(all);
        for path in &paths {
            assert_eq!(client.reply().text(), path);
        }
        parked(&gateway, 1);
    }
}

#[test]
fn requests_that_race_with_parking_are_each_answered_once() {
    let upstream = echo();
    for settings in [eager(), Settings { warm_connections: 3, ..settings() }] {
        let gateway = gateway(&upstream, settings);
        std::thread::scope(|scope| {
            for thread in 0..8 {
                let mut client = gateway.connect();
                scope.spawn(move || {
                    for i in 0..300 {
                        let path = format!("/{thread}/{i}");
                        client.send(format!("GET {path} HTTP/1.1\r\nHost: app.test\r\n\r\n"));
                        assert_eq!(client.reply().text(), path);
                    }
                });
            }
        });
    }
}

#[test]
fn a_request_under_way_is_not_parked_however_long_it_takes() {
    let (go, gone) = std::sync::mpsc::sync_channel::<()>(1);
    let gone = std::sync::Mutex::new(gone);
    let upstream = Upstream::scripted(move |_, wire, seen| {
        while let Some(request) = wire.message("") {
            let slow = request.start.contains("/slow");
            seen.send(request).unwrap();
            if slow {
                gone.lock().unwrap().recv_timeout(DEADLINE).unwrap();
            }
            wire.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        }
    });
    let gateway = gateway(&upstream, settings());
    let mut slow = gateway.connect();
    slow.send("GET /slow HTTP/1.1\r\nHost: app.test\r\n\r\n");
    upstream.request();
    let mut half = gateway.connect();
    half.send("GET / HT");
    eventually("both have come", || gateway.stats.connections() == 2 && gateway.stats.parked() == 0);
    let _other = two_ticks(&gateway);
    assert_eq!(gateway.stats.parked(), 1);
    go.send(()).unwrap();
    assert_eq!(slow.reply().text(), "ok");
    half.send("TP/1.1\r\nHost: app.test\r\n\r\n");
    assert_eq!(half.reply().text(), "ok");
}

#[test]
fn an_answer_that_the_client_has_not_taken_yet_is_not_lost() {
    const BODY: usize = 16 << 20;
    let upstream = Upstream::scripted(|_, wire, _| {
        while wire.message("").is_some() {
            wire.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {BODY}\r\n\r\n"));
            wire.send(vec![b'x'; BODY]);
        }
    });
    let gateway = gateway(&upstream, eager());
    let mut client = gateway.connect();
    client.send(GET);
    let mut silent = gateway.connect();
    parked(&gateway, 1);
    assert_eq!(client.reply().body.len(), BODY);
    parked(&gateway, 2);
    silent.send(GET);
    assert_eq!(silent.reply().body.len(), BODY);
}

#[test]
fn a_client_that_ends_its_side_while_parked_is_let_go() {
    let upstream = Upstream::ok();
    let gateway = gateway(&upstream, settings());
    let mut client = two_ticks(&gateway);
    client.stream.shutdown(Shutdown::Write).unwrap();
    assert!(client.is_closed());
    eventually("it is gone", || gateway.stats.connections() == 0);
}

#[test]
fn a_parked_connection_ends_in_silence_after_the_head_s_time_and_a_slow_head_in_408() {
    let upstream = Upstream::ok();
    let mut settings = eager();
    settings.limits.header_timeout = Duration::from_millis(500);
    let gateway = gateway(&upstream, settings);
    let mut idle = gateway.connect();
    idle.send(GET);
    assert_eq!(idle.reply().status(), 200);
    let mut slow = gateway.connect();
    slow.send(GET);
    assert_eq!(slow.reply().status(), 200);
    parked(&gateway, 2);
    let start = Instant::now();
    slow.send("GET / HTTP/1.1\r\n");
    assert_eq!(slow.reply().status(), 408);
    assert!(start.elapsed() >= Duration::from_millis(500), "the head has its time from its first byte");
    assert!(slow.is_closed() && idle.is_closed());
    eventually("they are gone", || gateway.stats.connections() == 0 && gateway.stats.parked() == 0);
}

#[test]
fn what_is_refused_is_refused_on_a_parked_connection_too() {
    let upstream = Upstream::ok();
    let gateway = gateway(&upstream, eager());
    for bad in ["\nGET / HTTP/1.1\r\n\r\n", "GET / HTTP/1.1\nHost: app.test\r\n\r\n"] {
        let mut client = gateway.connect();
        client.send(GET);
        assert_eq!(client.reply().status(), 200);
        client.send(bad);
        let reply = client.message("GET").unwrap_or_else(|| panic!("no answer to {bad:?}"));
        assert_eq!(reply.status(), 400, "{bad:?}");
        assert!(client.is_closed());
    }
}

#[test]
fn an_empty_line_does_not_keep_a_connection_from_parking() {
    let upstream = Upstream::ok();
    let gateway = gateway(&upstream, settings());
    let mut client = gateway.connect();
    client.send(format!("{GET}\r\n"));
    assert_eq!(client.reply().status(), 200);
    parked(&gateway, 1);
    client.send(format!("\r\n{GET}"));
    assert_eq!(client.reply().status(), 200);
}

#[test]
fn a_parked_connection_counts_against_the_limit() {
    let upstream = Upstream::ok();
    let mut settings = settings();
    settings.limits.max_connections = 2;
    let gateway = gateway(&upstream, settings);
    let clients = [two_ticks(&gateway), two_ticks(&gateway)];
    let mut third = gateway.connect();
    third.send(GET);
    assert_eq!(third.reply().text(), "ok");
    assert_eq!(gateway.stats.connections(), 2);
    drop(clients);
}

#[test]
fn a_client_of_a_unix_socket_is_parked_too() {
    let upstream = Upstream::ok();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("web.sock");
    let first = published(&[("app", &short(&upstream))]);
    let gateway = Gateway::start(first, eager(), AccessLog::off(), ListenAddress::Unix(path.clone()));
    let stream = std::os::unix::net::UnixStream::connect(path).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let mut client = super::harness::Wire { stream, buffer: Vec::new() };
    for _ in 0..3 {
        parked(&gateway, 1);
        client.send(GET);
        assert_eq!(client.reply().text(), "ok");
    }
    client.stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(client.rest(), b"");
}

#[test]
fn a_tunnel_is_never_parked() {
    let upstream = Upstream::scripted(|_, wire, _| {
        let request = wire.message("").unwrap();
        if request.header("upgrade").is_none() {
            return wire.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        }
        wire.send("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n");
        while let said @ [_, ..] = wire.take(4).as_slice() {
            wire.send(said);
        }
    });
    let gateway = gateway(&upstream, eager());
    let mut client = gateway.connect();
    client.send("GET / HTTP/1.1\r\nHost: app.test\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n");
    assert_eq!(client.head().unwrap().status(), 101);
    client.send("ping");
    assert_eq!(client.take(4), b"ping");
    let _other = two_ticks(&gateway);
    assert_eq!((gateway.stats.connections(), gateway.stats.parked()), (2, 1));
    client.send("pong");
    assert_eq!(client.take(4), b"pong");
}

#[test]
fn in_a_drain_a_parked_connection_serves_once_more_within_the_grace_and_closes_after_it() {
    let upstream = Upstream::ok();
    let mut settings = settings();
    settings.drain.idle_grace = Duration::from_secs(2);
    settings.drain.timeout = 10 * DEADLINE;
    settings.limits.header_timeout = 10 * DEADLINE;
    let mut gateway = gateway(&upstream, settings);
    let (mut first, mut second) = (two_ticks(&gateway), two_ticks(&gateway));
    gateway.drain.start();
    let ListenAddress::Tcp(address) = gateway.address else { panic!("not on TCP") };
    eventually("nobody listens", || std::net::TcpStream::connect(address).is_err());
    first.send(GET);
    let reply = first.reply();
    assert_eq!((reply.text(), reply.header("connection")), ("ok", Some("close")));
    assert!(first.is_closed() && second.is_closed());
    gateway.join();
    assert_eq!((gateway.stats.connections(), gateway.stats.parked()), (0, 0));
}

#[test]
fn connections_that_are_cut_at_the_end_of_a_drain_are_counted_out() {
    let upstream = Upstream::ok();
    let mut settings = settings();
    (settings.drain.idle_grace, settings.drain.timeout) = (DEADLINE, Duration::from_millis(50));
    let mut gateway = Gateway::start(published(&[("app", &short(&upstream))]), settings, AccessLog::off(), tcp());
    let mut parked = two_ticks(&gateway);
    let mut half = gateway.connect();
    half.stream.write_all(b"GET ").unwrap();
    eventually("both are there", || gateway.stats.connections() == 2 && gateway.stats.parked() == 1);
    gateway.join();
    assert_eq!((gateway.stats.connections(), gateway.stats.parked()), (0, 0));
    assert!(parked.is_closed() && half.is_closed());
}
