//! A process's own requests through its listeners.

use std::{
    io::{Read, Write},
    net::TcpListener,
    time::Duration,
};

use routing_cache::live::Published;

use super::harness::{DEADLINE, Gateway, Upstream, published, settings, short, tcp};
use crate::{
    config::ListenAddress,
    probe::{ProbeError, Probes},
    telemetry::access::AccessLog,
};

fn listening() -> (TcpListener, ListenAddress) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = ListenAddress::Tcp(listener.local_addr().unwrap());
    (listener, address)
}

#[test]
fn a_probe_comes_back_from_the_routing_layer_by_tcp_and_by_unix_sockets_with_a_table_and_without() {
    let folder = tempfile::tempdir().unwrap();
    let unix = || ListenAddress::Unix(folder.path().join("web.sock"));
    for has_table in [true, false] {
        for listen in [tcp(), unix(), ListenAddress::Tcp(([0, 0, 0, 0], 0).into())] {
            let table = if has_table { published(&[]) } else { Published::default() };
            let gateway = Gateway::start(table, settings(), AccessLog::off(), listen);
            gateway.probes.ask(&gateway.address, DEADLINE).unwrap();
        }
    }
}

#[test]
fn a_probe_takes_nobodys_place() {
    let upstream = Upstream::ok();
    let mut settings = settings();
    settings.limits.max_connections = 1;
    let gateway = Gateway::with(&[("app", &short(&upstream))], settings);
    for _ in 0..3 {
        gateway.probes.ask(&gateway.address, DEADLINE).unwrap();
        assert_eq!(gateway.stats.connections(), 0);
    }
    assert_eq!(gateway.get("/").text(), "ok");
}

#[test]
fn no_client_can_pass_for_a_probe() {
    let gateway = Gateway::serving(&[]);
    let reply = gateway.ask("GET / HTTP/1.1\r\nHost: probe.invalid\r\nConnection: close\r\n\r\n");
    assert_eq!(reply.status(), 404);
    let other = Probes::default();
    assert!(matches!(other.ask(&gateway.address, DEADLINE), Err(ProbeError::Elsewhere)));
}

#[test]
fn what_became_of_a_probe_is_said() {
    let probes = Probes::default();
    let (silent, address) = listening();
    let soon = Duration::from_millis(50);
    assert!(matches!(probes.ask(&address, soon), Err(ProbeError::TimedOut(_))));
    drop(silent);
    assert!(matches!(probes.ask(&address, DEADLINE), Err(ProbeError::Connect(_))));
    let (closing, address) = listening();
    let closer = std::thread::spawn(move || {
        let (mut stream, _) = closing.accept().unwrap();
        stream.write_all(b"HTTP/1.1 204 No").unwrap();
        // ignored: it only has to be read before the end, so that the end is no reset.
        let _ = stream.read(&mut [0; 1024]);
    });
    assert!(matches!(probes.ask(&address, DEADLINE), Err(ProbeError::Broken(_))));
    closer.join().unwrap();
}

#[test]
fn probes_at_once_have_a_bound() {
    let (silent, address) = listening();
    let probes = Probes::default();
    std::thread::scope(|scope| {
        let asked: Vec<_> = (0..8).map(|_| scope.spawn(|| probes.ask(&address, DEADLINE))).collect();
        let held: Vec<_> = (0..8).map(|_| silent.accept().unwrap()).collect();
        assert!(matches!(probes.ask(&address, DEADLINE), Err(ProbeError::Busy)));
        drop(held);
        for asked in asked {
            assert!(matches!(asked.join().unwrap(), Err(ProbeError::Broken(_))));
        }
    });
    assert!(
        matches!(probes.ask(&address, Duration::from_millis(50)), Err(ProbeError::TimedOut(_))),
        "there is room again"
    );
}
