//! Connections over several workers: evenly, counted once, and none lost at the end.

use std::{
    net::{TcpListener, TcpStream},
    os::unix::net::UnixStream,
    sync::{Arc, Barrier, mpsc::sync_channel},
    time::Duration,
};

use arc_swap::ArcSwap;
use routing_cache::live;

use super::harness::{DEADLINE, Gateway, Upstream, Wire, eventually, held, published, settings, short, tcp};
use crate::{
    config::{ListenAddress, ListenerConfig},
    drain::Drain,
    net::{inherited::Inherited, listen, stream::Accepted},
    overload::Overload,
    probe::Probes,
    proxy::{
        connections::Connections,
        proving::Proving,
        spread::{self, Arrival, Loads, Place},
        worker,
        workers::{Heartbeats, WorkerStart},
    },
    telemetry::access::AccessLog,
    upstream::{limit::Limits, registry::Endpoints},
};

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
    let mut clients = Vec::new();
    for _ in 0..4 {
        let mut client = gateway.connect();
        client.send(GET);
        assert_eq!(client.reply().text(), "ok");
        clients.push(client);
    }
    assert_eq!(gateway.loads(), [1, 1, 1, 1]);
}

#[test]
fn the_limit_of_connections_holds_over_all_workers() {
    let (upstream, go) = held();
    let mut settings = settings();
    settings.limits.max_connections = 4;
    let first = published(&[("app", &short(&upstream))]);
    let gateway = Gateway::on_workers(2, (first, settings, AccessLog::off()), tcp());
    let mut clients: Vec<_> = (0..4).map(|_| gateway.connect()).collect();
    for client in &mut clients {
        client.send(GET);
        upstream.request();
    }
    for _ in 0..4 {
        let mut late = gateway.connect();
        late.send(GET);
        assert_eq!(late.reply().status(), 503);
    }
    assert_eq!(gateway.stats.connections(), 4);
    clients.iter().for_each(|_| go.send(()).unwrap());
    assert!(clients.iter_mut().all(|client| client.reply().text() == "ok"));
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

/// The first of two workers. The test is the second.
fn first_of_two(
    start: impl FnOnce(WorkerStart),
    drain: &Drain,
    loads: &Arc<Loads>,
) -> (Arc<Connections>, spread::Peers) {
    let config = ListenerConfig { name: "web".into(), address: tcp(), trusted_proxies: Vec::new() };
    let bound = listen::bind(&config, 1, &mut Inherited::default()).unwrap();
    let connections = Connections::new("web".into(), bound.address.clone(), Arc::clone(loads));
    let mut settings = settings();
    settings.drain.idle_grace = Duration::ZERO;
    settings.drain.timeout = DEADLINE;
    let mut peers = spread::peers(loads);
    let (second, _) = peers.pop().unwrap();
    let (peers, arrivals) = peers.pop().unwrap();
    start(WorkerStart {
        listeners: vec![(Arc::clone(&connections), bound.sockets.into_iter().map(Arc::new).collect())],
        settings: Arc::new(ArcSwap::from_pointee(settings)),
        reader: live::cell(published(&[])).1,
        draining: drain.watch(),
        access: AccessLog::off(),
        endpoints: Arc::new(Endpoints::new()),
        probes: Probes::default(),
        overload: Overload::default(),
        proving: Proving::default(),
        limits: Arc::new(Limits::default()),
        workers: 2,
        heartbeat: Heartbeats::new(2).of(0),
        peers,
        arrivals,
    });
    (connections, second)
}

/// The first worker has closed its own listener when the second, which is slower to notice the drain, hands it a connection.
#[test]
fn a_worker_that_drains_waits_for_those_that_may_still_hand_over() {
    let (drain, loads) = (Drain::default(), Loads::new(2, Heartbeats::new(2)));
    let (ready, is_ready) = sync_channel(1);
    let mut thread = None;
    let start = |start| thread = Some(std::thread::spawn(move || worker::run(start, &ready)));
    let (connections, second) = first_of_two(start, &drain, &loads);
    is_ready.recv_timeout(DEADLINE).unwrap().unwrap();
    let ListenAddress::Tcp(address) = *connections.address() else { panic!("not on TCP") };
    drain.start();
    eventually("the first has stopped accepting", || TcpStream::connect(address).is_err());

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let mut client = Wire { stream, buffer: Vec::new() };
    client.send(GET);
    let (accepted, _) = listener.accept().unwrap();
    accepted.set_nonblocking(true).unwrap();
    let place = Place::new(&connections, 0);
    second.hand_over(Arrival { socket: Accepted::Tcp(accepted), address: None, listener: 0, place }).unwrap();
    assert_eq!(client.reply().status(), 404, "it is served, by an empty table");
    assert!(!thread.as_ref().unwrap().is_finished(), "there may be more");
    drop((second, client));
    thread.unwrap().join().unwrap();
    assert_eq!(loads.total(), 0);
}
