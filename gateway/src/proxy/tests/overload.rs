//! What is given up and what is refused when something is short. The level is an input here.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::harness::{Client, DEADLINE, Gateway, Reply, Upstream, eventually, held, published, settings, short, tcp};
use crate::{
    config::{AccessLogTarget, LogFormat},
    overload::{Level, Reason, Standing},
    proxy::Settings,
    telemetry::access::AccessLog,
};

const GET: &str = "GET / HTTP/1.1\r\nHost: app.test\r\n\r\n";

fn soft(reason: Reason) -> Standing {
    Standing { level: Level::Soft, reason }
}

fn hard(reason: Reason) -> Standing {
    Standing { level: Level::Hard, reason }
}

fn gateway(upstream: &Upstream, settings: Settings) -> Gateway {
    Gateway::with(&[("app", &short(upstream))], settings)
}

/// With so many places for connections.
fn places(max_connections: usize) -> Settings {
    let mut settings = settings();
    settings.limits.max_connections = max_connections;
    settings
}

/// A connection that has asked once and is parked.
fn idle(gateway: &Gateway) -> Client {
    let before = gateway.stats.parked();
    let mut client = gateway.connect();
    client.send(GET);
    assert_eq!(client.reply().text(), "ok");
    eventually("it is parked", || gateway.stats.parked() > before);
    client
}

fn is_shed(reply: &Reply) {
    assert_eq!(reply.status(), 503);
    assert_eq!(reply.header("retry-after"), Some("2"));
    assert_eq!(
        reply.header("proxy-status"),
        Some(r#"holdgate; error=proxy_internal_error; details="the gateway is overloaded""#)
    );
    assert_eq!(reply.header("connection"), Some("close"));
    assert_eq!(reply.text(), "503 Service Unavailable: the gateway is overloaded\n");
}

#[test]
fn short_of_memory_what_is_under_way_finishes_and_what_is_new_is_refused() {
    let (upstream, go) = held();
    let gateway = gateway(&upstream, settings());
    let mut under_way = gateway.connect();
    under_way.send(GET);
    upstream.request();
    let mut waiting = gateway.connect();
    eventually("it is accepted", || gateway.stats.connections() == 2);
    gateway.overload.set(hard(Reason::Memory));
    waiting.send(GET);
    is_shed(&waiting.reply());
    assert!(waiting.is_closed());
    let mut new = gateway.connect();
    new.send(GET);
    is_shed(&new.reply());
    assert!(new.is_closed());
    gateway.probes.ask(&gateway.address, DEADLINE).unwrap();
    assert!(upstream.saw_nothing());
    go.send(()).unwrap();
    let last = under_way.reply();
    assert_eq!((last.text(), last.header("connection")), ("ok", Some("close")));
    gateway.overload.set(Standing::default());
    go.send(()).unwrap();
    assert_eq!(gateway.get("/").text(), "ok");
}

#[test]
fn a_refused_request_s_body_is_read_on_for_so_long_that_its_client_can_read_the_answer() {
    let upstream = Upstream::ok();
    let gateway = gateway(&upstream, settings());
    let mut client = gateway.connect();
    eventually("it is accepted", || gateway.stats.connections() == 1);
    gateway.overload.set(hard(Reason::Memory));
    client.send("POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length: 300000\r\n\r\n");
    client.send(vec![b'x'; 300_000]);
    is_shed(&client.reply());
    let mut head = gateway.connect();
    head.send("HEAD / HTTP/1.1\r\nHost: app.test\r\nConnection: close\r\n\r\n");
    assert_eq!(head.reply_to("HEAD").status(), 503);
    assert!(upstream.saw_nothing());
}

#[test]
fn short_of_descriptors_only_new_connections_are_refused() {
    let upstream = Upstream::ok();
    let gateway = gateway(&upstream, settings());
    let mut old = idle(&gateway);
    gateway.overload.set(hard(Reason::Descriptors));
    let mut new = gateway.connect();
    new.send(GET);
    is_shed(&new.reply());
    gateway.probes.ask(&gateway.address, DEADLINE).unwrap();
    old.send(GET);
    assert_eq!(old.reply().text(), "ok");
}

#[test]
fn a_client_that_is_turned_away_is_told_once_it_has_asked() {
    let upstream = Upstream::ok();
    let mut gateway = gateway(&upstream, settings());
    gateway.overload.set(hard(Reason::Memory));
    let mut early = gateway.connect();
    let mut silent = gateway.connect();
    // The worker has accepted them before the probe.
    gateway.probes.ask(&gateway.address, DEADLINE).unwrap();
    early.stream.set_nonblocking(true).unwrap();
    let said = std::io::Read::read(&mut early.stream, &mut [0; 1]);
    assert!(said.is_err(), "{said:?} is said before it asks");
    early.stream.set_nonblocking(false).unwrap();
    early.send(GET);
    is_shed(&early.reply());
    is_shed(&silent.reply());
    assert_eq!(gateway.stats.connections(), 0, "they take no places");
    gateway.join();
}

#[test]
fn answers_end_their_connections_while_memory_or_descriptors_are_short() {
    let upstream = Upstream::ok();
    let gateway = gateway(&upstream, settings());
    for (standing, header) in [
        (Standing::default(), None),
        (soft(Reason::Connections), None),
        (soft(Reason::Memory), Some("close")),
        (soft(Reason::Stalls), Some("close")),
        (soft(Reason::Descriptors), Some("close")),
    ] {
        gateway.overload.set(standing);
        assert_eq!(gateway.get("/").header("connection"), header, "{standing:?}");
    }
}

#[test]
fn at_soft_idle_connections_of_clients_and_to_endpoints_are_closed() {
    let upstream = Upstream::scripted(|_, wire, seen| {
        while let Some(_request) = wire.message("") {
            wire.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        }
        seen.send(Reply::default()).unwrap();
    });
    let mut settings = settings();
    settings.limits.header_timeout = 100 * DEADLINE;
    let gateway = gateway(&upstream, settings);
    let mut clients: Vec<_> = (0..3).map(|_| idle(&gateway)).collect();
    let mut silent = gateway.connect();
    gateway.overload.set(soft(Reason::Memory));
    for client in clients.iter_mut().chain([&mut silent]) {
        assert!(client.is_closed());
    }
    upstream.request();
}

#[test]
fn for_a_connection_over_the_limit_the_one_idle_longest_is_closed() {
    let upstream = Upstream::ok();
    let gateway = gateway(&upstream, places(3));
    let mut clients = [idle(&gateway), idle(&gateway), idle(&gateway)];
    // The first is the last to have been idle now.
    clients[0].send(GET);
    assert_eq!(clients[0].reply().text(), "ok");
    eventually("it is parked again", || gateway.stats.parked() == 3);
    let mut fourth = gateway.connect();
    fourth.send(GET);
    assert_eq!(fourth.reply().text(), "ok");
    assert!(clients[1].is_closed());
    for client in [&mut clients[0], &mut fourth] {
        client.send(GET);
        assert_eq!(client.reply().text(), "ok");
    }
    assert_eq!(gateway.stats.connections(), 3);
    assert_eq!(gateway.overload.sheds(), None);
}

#[test]
fn a_connection_between_two_requests_makes_room_before_it_is_parked() {
    let upstream = Upstream::ok();
    let gateway = gateway(&upstream, places(1));
    for _ in 0..50 {
        let mut client = gateway.connect();
        client.send(GET);
        assert_eq!(client.reply().text(), "ok");
        let mut next = gateway.connect();
        next.send(GET);
        assert_eq!(next.reply().text(), "ok");
    }
}

#[test]
fn short_of_memory_there_are_no_more_connections_than_fit() {
    let (upstream, go) = held();
    let gateway = gateway(&upstream, places(10));
    gateway.overload.set(soft(Reason::Memory));
    gateway.overload.bound(Some(1));
    let mut busy = gateway.connect();
    busy.send(GET);
    upstream.request();
    is_shed(&gateway.ask(GET));
    assert_eq!(gateway.overload.sheds(), None, "what is there is served, and the next reading may find room");
    gateway.overload.bound(None);
    let mut next = gateway.connect();
    next.send(GET);
    upstream.request();
    for client in [&mut busy, &mut next] {
        go.send(()).unwrap();
        assert_eq!(client.reply().status(), 200);
    }
}

#[test]
fn where_none_is_idle_a_connection_over_the_limit_is_told_so_and_the_probe_is_not() {
    let (upstream, go) = held();
    let gateway = gateway(&upstream, places(2));
    let mut busy = [gateway.connect(), gateway.connect()];
    for client in &mut busy {
        client.send(GET);
        upstream.request();
    }
    for _ in 0..3 {
        let mut more = gateway.connect();
        more.send(GET);
        is_shed(&more.reply());
        gateway.probes.ask(&gateway.address, DEADLINE).unwrap();
    }
    assert!(gateway.overload.sheds().is_some());
    assert_eq!(gateway.stats.connections(), 2);
    for client in &mut busy {
        go.send(()).unwrap();
        assert_eq!(client.reply().text(), "ok");
    }
    go.send(()).unwrap();
    assert_eq!(gateway.get("/").text(), "ok");
}

/// As [`Gateway::with`], with an access log.
fn logging(upstream: &Upstream, settings: Settings, file: &std::path::Path) -> (Gateway, AccessLog) {
    let access = AccessLog::start(&AccessLogTarget::File(file.to_owned()), LogFormat::Json).unwrap();
    let gateway = Gateway::start(published(&[("app", &short(upstream))]), settings, access.clone(), tcp());
    (gateway, access)
}

/// A client has to pass so much a second in each fifth of one.
fn rates(up: u64, down: u64) -> Settings {
    let mut settings = settings();
    settings.limits.min_request_bytes_per_second = up;
    settings.limits.min_response_bytes_per_second = down;
    settings.limits.min_rate_window = Duration::from_millis(200);
    settings
}

/// Sends `piece` again and again, a moment apart, until an answer begins or `end` is over.
fn trickle(client: &mut Client, piece: &[u8], end: Duration) {
    let moment = Some(Duration::from_millis(10));
    let begun = Instant::now();
    client.stream.set_read_timeout(moment).unwrap();
    while begun.elapsed() < end && client.stream.peek(&mut [0; 1]).is_err() {
        client.send(piece);
    }
    client.stream.set_read_timeout(Some(DEADLINE)).unwrap();
}

#[test]
fn a_body_that_comes_too_slowly_is_answered_with_408() {
    let upstream = Upstream::ok();
    let gateway = gateway(&upstream, rates(1 << 20, 0));
    let mut client = gateway.connect();
    client.send("POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length: 1000000\r\n\r\n");
    trickle(&mut client, b"x", DEADLINE);
    let reply = client.reply();
    assert_eq!((reply.status(), reply.header("connection")), (408, Some("close")));
    assert!(reply.header("proxy-status").unwrap().contains("error=http_request_error"));
}

#[test]
fn a_body_that_comes_slowly_and_fast_enough_is_taken() {
    let upstream = Upstream::ok();
    let gateway = gateway(&upstream, rates(1000, 0));
    let mut client = gateway.connect();
    client.send("POST / HTTP/1.1\r\nHost: app.test\r\nTransfer-Encoding: chunked\r\n\r\n");
    // Several windows long.
    trickle(
        &mut client,
        b"400\r\n".iter().chain([b'x'; 1024].iter()).chain(b"\r\n").copied().collect::<Vec<_>>().as_slice(),
        Duration::from_secs(1),
    );
    client.send("0\r\n\r\n");
    assert_eq!(client.reply().text(), "ok");
}

/// Answers with a body without end, and says when it is not taken any more.
fn endless() -> Upstream {
    Upstream::scripted(|_, wire, seen| {
        wire.message("").unwrap();
        wire.send("HTTP/1.1 200 OK\r\nContent-Length: 100000000000\r\n\r\n");
        while std::io::Write::write_all(&mut wire.stream, &[b'x'; 16 << 10]).is_ok() {}
        seen.send(Reply::default()).unwrap();
    })
}

#[test]
fn a_client_that_does_not_read_is_cut_off_and_its_upstream_let_go() {
    let upstream = endless();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("access.log");
    let (gateway, access) = logging(&upstream, rates(0, 1000), &file);
    let mut client = gateway.connect();
    client.send(GET);
    upstream.request();
    eventually("the connection is gone", || gateway.stats.connections() == 0);
    let mut line = String::new();
    eventually("its line is written", || {
        access.flush();
        line = std::fs::read_to_string(&file).unwrap();
        !line.is_empty()
    });
    assert!(line.contains(r#""error":"client_slow""#), "{line}");
    // A reset: what the kernel had of the answer is gone as well.
    let error = std::io::copy(&mut client.stream, &mut std::io::sink()).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

#[test]
fn a_client_that_reads_slowly_and_fast_enough_gets_all_of_it() {
    const LENGTH: usize = 20 << 20;
    let upstream = Upstream::scripted(|_, wire, _| {
        wire.message("").unwrap();
        wire.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {LENGTH}\r\n\r\n"));
        wire.send(vec![b'x'; LENGTH]);
    });
    let gateway = gateway(&upstream, rates(0, 1000));
    let mut client = gateway.connect();
    client.send(GET);
    let mut head = client.head().unwrap();
    // The client's own pause between two reads: several windows in all.
    let (_pacer, pace) = std::sync::mpsc::sync_channel::<()>(0);
    while head.body.len() < LENGTH {
        let piece = client.take((512 << 10).min(LENGTH - head.body.len()));
        assert!(!piece.is_empty(), "cut at {}", head.body.len());
        head.body.extend(piece);
        // ignored: it ends by its time.
        let _ = pace.recv_timeout(Duration::from_millis(20));
    }
    assert_eq!(head.body.len(), LENGTH);
}

#[test]
fn an_app_that_is_slow_is_not_laid_at_its_client_s_door() {
    let upstream = Upstream::scripted(|_, wire, _| {
        wire.message("").unwrap();
        wire.send("HTTP/1.1 200 OK\r\nContent-Length: 30\r\n\r\n");
        let (_pacer, pace) = std::sync::mpsc::sync_channel::<()>(0);
        for _ in 0..30 {
            wire.send("x");
            // ignored: it ends by its time.
            let _ = pace.recv_timeout(Duration::from_millis(20));
        }
    });
    let gateway = gateway(&upstream, rates(1 << 20, 1 << 20));
    assert_eq!(gateway.get("/").body.len(), 30);
}

#[test]
fn a_tunnel_has_no_rate() {
    let upstream = Upstream::scripted(|_, wire, _| {
        wire.message("").unwrap();
        wire.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n");
        while wire.more() {
            let bytes = std::mem::take(&mut wire.buffer);
            wire.send(bytes);
        }
    });
    let gateway = gateway(&upstream, rates(1 << 20, 1 << 20));
    let mut client = gateway.connect();
    client.send("GET / HTTP/1.1\r\nHost: app.test\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n");
    assert_eq!(client.head().unwrap().status(), 101);
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(1) {
        client.send("x");
        assert_eq!(client.take(1), b"x");
        gateway.overload.set(hard(Reason::Memory));
    }
}

#[test]
fn a_shed_gateway_s_new_table_is_served_when_it_is_over() {
    let upstream = Upstream::ok();
    let mut gateway = gateway(&upstream, settings());
    assert_eq!(gateway.get("/").text(), "ok");
    gateway.overload.set(hard(Reason::Memory));
    let other = Upstream::answering("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nnew");
    gateway.writer.publish(Arc::new(published(&[("app", &short(&other))])));
    assert_eq!(gateway.get("/").status(), 503);
    gateway.overload.set(Standing::default());
    assert_eq!(gateway.get("/").text(), "new");
}
