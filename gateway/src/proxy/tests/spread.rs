//! Connections over several workers: evenly, counted once, and none lost at the end.

use std::{net::TcpStream, os::unix::net::UnixStream, sync::Barrier};

use super::harness::{DEADLINE, Gateway, Upstream, Wire, eventually, published, settings, short, tcp};
use crate::{config::ListenAddress, telemetry::access::AccessLog};

const GET: &str = "GET / HTTP/1.1\r\nHost: app.test\r\n\r\n";

/// The most one of four workers may have of 400 connections: its share and a sixteenth of it; and some that were on their way
/// when one looked, on a machine that has more to do.
const MOST: usize = 100 + 6 + 4;

fn start(workers: usize, upstream: &Upstream, listen: ListenAddress) -> Gateway {
    let mut settings = settings();
    settings.limits.header_timeout = 10 * DEADLINE;
    Gateway::on_workers(workers, (published(&[("app", &short(upstream))]), settings, AccessLog::off()), listen)
}

/// Opens 400 connections one after the other, each of which is answered, and looks how they are spread.
fn check_even<S: std::io::Read + std::io::Write>(gateway: &Gateway, connect: impl Fn() -> S) {
    let mut clients = Vec::new();
    for _ in 0..400 {
        let mut client = Wire { stream: connect(), buffer: Vec::new() };
        client.send(GET);
        assert_eq!(client.reply().text(), "ok");
        clients.push(client);
    }
    let loads = gateway.loads();
    assert_eq!((loads.len(), loads.iter().sum::<usize>()), (4, 400), "{loads:?}");
    assert!(loads.iter().all(|load| *load <= MOST), "{loads:?}");
    assert_eq!(gateway.stats.connections(), 400);
    // Wherever a connection is served, it goes on to be.
    for client in &mut clients {
        client.send(GET);
        assert_eq!(client.reply().text(), "ok");
    }
    drop(clients);
    eventually("all are gone", || gateway.stats.connections() == 0 && gateway.loads().iter().all(|load| *load == 0));
}

#[test]
fn long_connections_are_spread_evenly() {
    let upstream = Upstream::ok();
    let gateway = start(4, &upstream, tcp());
    let ListenAddress::Tcp(address) = gateway.address else { panic!("not on TCP") };
    check_even(&gateway, || {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream
    });
}

#[test]
fn those_of_a_unix_listener_are_too() {
    let upstream = Upstream::ok();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("web.sock");
    let gateway = start(4, &upstream, ListenAddress::Unix(path.clone()));
    check_even(&gateway, || {
        let stream = UnixStream::connect(&path).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream
    });
}

#[test]
fn few_connections_have_a_worker_each() {
    let upstream = Upstream::ok();
    let gateway = start(4, &upstream, tcp());
    let mut clients: Vec<_> = (0..4).map(|_| gateway.connect()).collect();
    for client in &mut clients {
        client.send(GET);
        assert_eq!(client.reply().text(), "ok");
    }
    assert_eq!(gateway.loads(), [1, 1, 1, 1]);
}

#[test]
fn the_limit_of_connections_holds_over_all_workers() {
    let upstream = Upstream::ok();
    let mut settings = settings();
    settings.limits.max_connections = 4;
    let first = published(&[("app", &short(&upstream))]);
    let gateway = Gateway::on_workers(2, (first, settings, AccessLog::off()), tcp());
    let mut clients: Vec<_> = (0..4).map(|_| gateway.connect()).collect();
    for client in &mut clients {
        client.send(GET);
        assert_eq!(client.reply().text(), "ok");
    }
    let mut late: Vec<_> = (0..4).map(|_| gateway.connect()).collect();
    late.iter_mut().for_each(|client| client.send(GET));
    for _ in 0..20 {
        for client in &mut clients {
            client.send(GET);
            assert_eq!(client.reply().text(), "ok");
        }
    }
    // A worker looks before it waits for a connection, so each may have one more.
    assert!(gateway.stats.connections() <= 6, "{}", gateway.stats.connections());
    drop(clients);
    assert!(late.iter_mut().all(|client| client.reply().text() == "ok"));
}

/// Every connection that the kernel has let in is answered, whichever worker it was on its way to when the drain began.
#[test]
fn a_drain_loses_no_connection_that_was_handed_over() {
    for _ in 0..10 {
        let upstream = Upstream::ok();
        let mut gateway = start(4, &upstream, tcp());
        let ListenAddress::Tcp(address) = gateway.address else { panic!("not on TCP") };
        let begin = Barrier::new(2);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut clients = Vec::new();
                for number in 0..60 {
                    if number == 30 {
                        begin.wait();
                    }
                    let Ok(stream) = TcpStream::connect(address) else { break };
                    stream.set_read_timeout(Some(DEADLINE)).unwrap();
                    let mut client = Wire { stream, buffer: Vec::new() };
                    // A refused one may look connected until it writes.
                    client.send(GET);
                    clients.push(client);
                }
                assert!(clients.len() >= 30);
                for mut client in clients.drain(..30) {
                    assert_eq!(client.reply().text(), "ok");
                }
            });
            begin.wait();
            gateway.join();
        });
    }
}
