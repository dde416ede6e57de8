//! The end: what is under way finishes, what is idle goes, nothing is cut before its time.

use std::{
    net::TcpStream,
    sync::mpsc::sync_channel,
    time::{Duration, Instant},
};

use super::harness::{DEADLINE, Gateway, Upstream, eventually, held, settings, short};
use crate::config::ListenAddress;

const GET: &str = "GET / HTTP/1.1\r\nHost: app.test\r\n\r\n";

fn refuses(gateway: &Gateway) -> bool {
    let ListenAddress::Tcp(address) = gateway.address else { panic!("not on TCP") };
    TcpStream::connect(address).is_err()
}

#[test]
fn a_request_under_way_finishes_and_its_connection_ends_with_it() {
    let (upstream, go) = held();
    let mut gateway = Gateway::one(&short(&upstream));
    let mut busy = gateway.connect();
    busy.send(GET);
    upstream.request();
    gateway.drain.start();
    eventually("nobody listens", || refuses(&gateway));
    go.send(()).unwrap();
    let reply = busy.reply();
    assert_eq!(reply.text(), "ok");
    assert_eq!(reply.header("connection"), Some("close"));
    assert!(busy.is_closed());
    gateway.join();
}

#[test]
fn an_idle_connection_is_closed_after_its_grace_and_serves_until_then() {
    let upstream = Upstream::ok();
    let mut settings = settings();
    settings.drain.idle_grace = Duration::from_secs(2);
    settings.drain.timeout = 10 * DEADLINE;
    settings.limits.header_timeout = 10 * DEADLINE;
    let gateway = Gateway::with(&[("app", &short(&upstream))], settings);
    let (mut first, mut second) = (gateway.connect(), gateway.connect());
    for client in [&mut first, &mut second] {
        client.send(GET);
        assert_eq!(client.reply().header("connection"), None);
    }
    gateway.drain.start();
    eventually("nobody listens", || refuses(&gateway));
    first.send(GET);
    let reply = first.reply();
    assert_eq!((reply.text(), reply.header("connection")), ("ok", Some("close")));
    assert!(first.is_closed());
    assert!(second.is_closed());
}

#[test]
fn what_does_not_finish_is_cut_when_the_time_is_over() {
    let (upstream, _go) = held();
    let mut settings = settings();
    settings.drain.timeout = Duration::from_millis(200);
    let mut gateway = Gateway::with(&[("app", &short(&upstream))], settings);
    let mut client = gateway.connect();
    client.send(GET);
    upstream.request();
    gateway.join();
    assert!(client.is_closed());
}

#[test]
fn a_drain_without_connections_is_over_at_once() {
    let upstream = Upstream::ok();
    let mut settings = settings();
    settings.drain.timeout = 10 * DEADLINE;
    let mut gateway = Gateway::with(&[("app", &short(&upstream))], settings);
    let (done, is_done) = sync_channel(1);
    std::thread::spawn(move || {
        gateway.join();
        done.send(()).unwrap();
    });
    is_done.recv_timeout(DEADLINE).unwrap();
}

#[test]
fn a_worker_s_heart_beats_and_one_that_has_drained_is_not_slow() {
    let upstream = Upstream::ok();
    let mut gateway = Gateway::one(&short(&upstream));
    let heartbeats = gateway.heartbeats.clone();
    let start = Instant::now();
    eventually("a beat", || start.elapsed() > Duration::from_millis(300) && heartbeats.stalest() < start.elapsed());
    gateway.join();
    assert_eq!(heartbeats.stalest(), Duration::ZERO);
}
