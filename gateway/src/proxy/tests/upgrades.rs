//! Connections that stop being HTTP.

use super::harness::{Gateway, Upstream, eventually, long, short};

const WEBSOCKET: &str = "GET /chat HTTP/1.1\r\nHost: app.test\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\
                         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                      Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// Switches, says hello with the head, then echoes.
fn echo() -> Upstream {
    Upstream::scripted(|_, wire, seen| {
        seen.send(wire.message("").unwrap()).unwrap();
        wire.send(format!("{SWITCH}hello"));
        while wire.more() {
            let bytes = std::mem::take(&mut wire.buffer);
            wire.send(bytes);
        }
        seen.send(super::harness::Reply::default()).unwrap();
    })
}

#[test]
fn a_websocket_is_tunnelled_both_ways() {
    let upstream = echo();
    let gateway = Gateway::one(&short(&upstream));
    let mut client = gateway.connect();
    client.send(WEBSOCKET);
    let head = client.head().unwrap();
    assert_eq!(head.status(), 101);
    assert_eq!(head.all("connection"), ["upgrade"]);
    assert_eq!(head.header("upgrade"), Some("websocket"));
    assert_eq!(head.header("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    let request = upstream.request();
    assert_eq!(request.all("connection"), ["upgrade"]);
    assert_eq!(request.header("upgrade"), Some("websocket"));
    assert_eq!(client.take(5), b"hello");
    for frame in [&b"\x81\x85\0\0\0\0hello"[..], b"not\nHTTP\0at all", &[0xff; 50_000]] {
        client.send(frame);
        assert!(client.take(frame.len()) == frame);
    }
    assert_eq!(gateway.stats.connections(), 1);
    drop(client);
    upstream.request();
    eventually("the tunnel is gone", || gateway.stats.connections() == 0);
}

/// However what a client sends is cut, what follows the request for the tunnel is the tunnel's, once and in order.
#[test]
fn bytes_behind_an_upgrade_reach_the_tunnel_however_they_are_cut() {
    let upstream = Upstream::scripted(|_, wire, _| {
        while let Some(request) = wire.message("") {
            if request.header("upgrade").is_none() {
                wire.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
                continue;
            }
            // They may come before the switch, and be seen before it.
            std::thread::yield_now();
            wire.send(format!("HTTP/1.1 103 Early Hints\r\n\r\n{SWITCH}"));
            let all = wire.rest();
            return wire.send(all);
        }
    });
    let gateway = Gateway::one(&short(&upstream));
    let get = "GET / HTTP/1.1\r\nHost: app.test\r\n\r\n";
    let behind = format!("{get}\r\n\r\n\0behind").repeat(3);
    let all = format!("{get}{WEBSOCKET}{behind}");
    for cut in (1..all.len()).step_by(5) {
        let mut client = gateway.connect();
        let (first, second) = all.split_at(cut);
        client.send(first);
        if cut % 2 == 0 {
            std::thread::yield_now();
        }
        client.send(second);
        assert_eq!(client.reply().text(), "ok", "cut at {cut}");
        assert_eq!(client.head().unwrap().status(), 103, "cut at {cut}");
        assert_eq!(client.head().unwrap().status(), 101, "cut at {cut}");
        client.stream.shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(String::from_utf8(client.rest()).unwrap(), behind, "cut at {cut}");
    }
    eventually("the tunnels are gone", || gateway.stats.connections() == 0);
}

/// A client that has ended its side before the switch has a tunnel in one direction.
#[test]
fn a_client_that_half_closes_before_the_switch_has_a_tunnel_all_the_same() {
    let upstream = Upstream::scripted(|_, wire, seen| {
        let head = wire.head().unwrap();
        let early = wire.buffer.len();
        seen.send(head).unwrap();
        assert_eq!(early, 0, "nothing is sent on before the switch");
        std::thread::sleep(std::time::Duration::from_millis(100));
        wire.send(SWITCH);
        let all = wire.rest();
        wire.send(all);
    });
    let gateway = Gateway::one(&short(&upstream));
    let mut client = gateway.connect();
    client.send(format!("{WEBSOCKET}last words"));
    client.stream.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(client.head().unwrap().status(), 101);
    assert_eq!(client.rest(), b"last words");
    eventually("the tunnel is gone", || gateway.stats.connections() == 0);
}

#[test]
fn an_upstream_that_ends_the_tunnel_ends_it_for_the_client() {
    let upstream = Upstream::scripted(|_, wire, _| {
        wire.message("").unwrap();
        wire.send(format!("{SWITCH}bye"));
    });
    let gateway = Gateway::one(&short(&upstream));
    let mut client = gateway.connect();
    client.send(WEBSOCKET);
    assert_eq!(client.head().unwrap().status(), 101);
    assert_eq!(client.take(3), b"bye");
    assert!(client.is_closed());
}

#[test]
fn a_tunnel_in_which_nobody_speaks_is_cut() {
    let upstream = echo();
    let gateway = Gateway::one(&long(r#","timeouts":{"idle":"100ms"}"#, &[&upstream.address]));
    let mut client = gateway.connect();
    client.send(WEBSOCKET);
    assert_eq!(client.head().unwrap().status(), 101);
    assert_eq!(client.take(5), b"hello");
    assert!(client.is_closed());
}

#[test]
fn an_upgrade_that_is_declined_is_an_answer_like_another() {
    let upstream = Upstream::answering("HTTP/1.1 426 No\r\nContent-Length: 2\r\n\r\nno");
    let gateway = Gateway::one(&short(&upstream));
    let mut client = gateway.connect();
    for _ in 0..2 {
        client.send(WEBSOCKET);
        let reply = client.reply();
        assert_eq!((reply.status(), reply.text()), (426, "no"));
        assert_eq!(reply.header("upgrade"), None);
    }
    assert_eq!(upstream.connections(), 1);
}

#[test]
fn an_upstream_that_switches_unasked_is_502() {
    let upstream = Upstream::answering(SWITCH);
    let gateway = Gateway::one(&short(&upstream));
    let reply = gateway.get("/");
    assert_eq!(reply.status(), 502);
    assert!(reply.header("proxy-status").unwrap().contains("error=http_upgrade_failed"));
}

#[test]
fn an_upgrade_to_http_2_is_not_passed_on() {
    let upstream = Upstream::ok();
    let gateway = Gateway::one(&short(&upstream));
    let reply = gateway.ask(
        "GET / HTTP/1.1\r\nHost: app.test\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n",
    );
    assert_eq!(reply.text(), "ok");
    let request = upstream.request();
    for name in ["upgrade", "connection", "http2-settings"] {
        assert_eq!(request.header(name), None);
    }
}
