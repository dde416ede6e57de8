//! What is kept of bodies while one side is slow, and what is left of requests whose client goes.

use std::{
    io::{ErrorKind, Read, Write},
    os::unix::net::UnixStream,
    path::PathBuf,
    sync::Arc,
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
    time::Duration,
};

use routing_cache::model::Address;

use super::super::harness::{
    Client, DEADLINE, Gateway, Upstream, Wire, eventually, held, long, published, settings, short,
};
use crate::{config::ListenAddress, telemetry::access::AccessLog};

const BODY: usize = 64 << 20;
/// What the gateway and the kernel's two sockets may hold of a body that is not taken. A Unix socket has 208 KiB at most
/// (net.core.wmem_default) and does not grow by itself as TCP does, so nearly all the rest is the gateway's.
const AHEAD: usize = 2 << 20;
/// A writer that has found no room for so long has filled what there is to fill. On a slow machine it gives up sooner,
/// with less.
const FULL: Duration = Duration::from_millis(500);

/// Writes as much of a body as finds room.
fn fill(stream: &mut UnixStream) -> usize {
    stream.set_write_timeout(Some(FULL)).unwrap();
    let mut written = 0;
    while written < BODY {
        match stream.write(&[b'x'; 1 << 16][..(BODY - written).min(1 << 16)]) {
            Ok(more) => written += more,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => panic!("{error}"),
        }
    }
    written
}

struct Sockets {
    folder: tempfile::TempDir,
}

impl Sockets {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn gateway(&self, upstream: &Upstream) -> Gateway {
        let listen = ListenAddress::Unix(self.path("web"));
        Gateway::start(published(&[("app", &short(upstream))]), settings(), AccessLog::off(), listen)
    }

    fn connect(&self) -> Wire<UnixStream> {
        let stream = UnixStream::connect(self.path("web")).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        Wire { stream, buffer: Vec::new() }
    }
}

/// An upstream on a Unix socket, which hands out its one connection.
fn raw(sockets: &Sockets) -> (Upstream, std::os::unix::net::UnixListener) {
    let listener = std::os::unix::net::UnixListener::bind(sockets.path("app")).unwrap();
    let upstream = Upstream::at(format!("unix:{}", sockets.path("app").display()));
    (upstream, listener)
}

#[test]
fn a_client_that_reads_slowly_costs_a_bounded_part_of_its_answer() {
    let sockets = Sockets::new();
    let (upstream, listener) = raw(&sockets);
    let _gateway = sockets.gateway(&upstream);
    let mut client = sockets.connect();
    client.send("GET / HTTP/1.1\r\nHost: app.test\r\n\r\n");
    let mut app = Wire { stream: listener.accept().unwrap().0, buffer: Vec::new() };
    app.head().unwrap();
    app.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {BODY}\r\n\r\n"));
    let ahead = fill(&mut app.stream);
    assert!(ahead <= AHEAD, "{ahead} bytes were taken for a client that has read none");
    app.stream.set_write_timeout(None).unwrap();
    let writing = std::thread::spawn(move || app.send(vec![b'x'; BODY - ahead]));
    assert_eq!(client.reply().body.len(), BODY);
    writing.join().unwrap();
}

#[test]
fn an_upstream_that_reads_slowly_costs_a_bounded_part_of_the_upload() {
    let sockets = Sockets::new();
    let (upstream, listener) = raw(&sockets);
    let _gateway = sockets.gateway(&upstream);
    let mut client = sockets.connect();
    client.send(format!("POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length: {BODY}\r\n\r\n"));
    let mut app = Wire { stream: listener.accept().unwrap().0, buffer: Vec::new() };
    app.stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let ahead = fill(&mut client.stream);
    assert!(ahead <= AHEAD, "{ahead} bytes were taken for an upstream that has read none");
    client.stream.set_write_timeout(None).unwrap();
    let mut writer = client.stream.try_clone().unwrap();
    let writing = std::thread::spawn(move || writer.write_all(&vec![b'x'; BODY - ahead]).unwrap());
    assert_eq!(app.message("").unwrap().body.len(), BODY);
    app.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(client.reply().status(), 200);
    writing.join().unwrap();
}

/// Requests are not read on while the answers to those before are not taken.
#[test]
fn a_client_that_reads_no_answer_has_a_bounded_part_of_its_requests_read() {
    for host in ["app", "nobody"] {
        let sockets = Sockets::new();
        let upstream = Upstream::ok();
        let gateway = sockets.gateway(&upstream);
        let mut client = sockets.connect();
        let requests = format!("GET / HTTP/1.1\r\nHost: {host}.test\r\n\r\n").repeat(1000);
        client.stream.set_write_timeout(Some(FULL)).unwrap();
        let (mut written, mut at) = (0, 0);
        let blocked = loop {
            match client.stream.write(&requests.as_bytes()[at..]) {
                Ok(more) => (written, at) = (written + more, (at + more) % requests.len()),
                Err(error) => break error.kind(),
            }
            assert!(written <= AHEAD, "{written} bytes were taken of a client that reads nothing");
        };
        assert_eq!(blocked, ErrorKind::WouldBlock);
        // Others are served meanwhile.
        let mut other = sockets.connect();
        other.send(GET);
        assert_eq!(other.reply().text(), "ok");
        client.stream.shutdown(std::net::Shutdown::Write).unwrap();
        let whole = written / (requests.len() / 1000);
        let status = if host == "app" { 200 } else { 404 };
        for _ in 0..whole {
            assert_eq!(client.reply().status(), status);
        }
        assert!(!client.more(), "the connection ends");
        eventually("no connection is left", || gateway.stats.connections() == 1);
    }
}

/// The end of a half-closed client's side is not taken for the end of its answer while that is still to be written.
#[test]
fn a_half_closed_client_that_reads_slowly_gets_its_answer_whole() {
    for length in (1..=8).map(|eighths| eighths << 17) {
        let sockets = Sockets::new();
        let (upstream, listener) = raw(&sockets);
        let gateway = sockets.gateway(&upstream);
        let mut client = sockets.connect();
        client.send(GET);
        client.stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut app = Wire { stream: listener.accept().unwrap().0, buffer: Vec::new() };
        app.head().unwrap();
        app.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n"));
        let writing = std::thread::spawn(move || app.send(vec![b'x'; length]));
        // The one worker goes round meanwhile, so the answer is where it can get to.
        for _ in 0..20 {
            let mut other = sockets.connect();
            other.send("GET / HTTP/1.1\r\nHost: no.test\r\n\r\n");
            assert_eq!(other.reply().status(), 404);
        }
        assert_eq!(client.reply().body.len(), length);
        assert!(!client.more(), "the connection ends");
        writing.join().unwrap();
        eventually("no connection is left", || gateway.stats.connections() == 0);
    }
}

/// Ends a client's connection with a reset.
fn reset(client: Client) {
    socket2::SockRef::from(&client.stream).set_linger(Some(Duration::ZERO)).unwrap();
}

fn address(upstream: &Upstream) -> Address {
    Address::Tcp(upstream.address.parse().unwrap())
}

const GET: &str = "GET / HTTP/1.1\r\nHost: app.test\r\n\r\n";
const POST: &str = "POST / HTTP/1.1\r\nHost: app.test\r\n";

/// How far a request has come when its client goes.
#[derive(Clone, Copy, Debug)]
enum Until {
    /// The upstream has its head.
    Asked,
    /// The client has the head of the answer.
    Answered,
}

/// One client after the other goes in the middle of `request`; nothing of it is left.
fn leaves_nothing(request: &str, answer: &'static str, until: Until) {
    let met = Arc::new(AtomicUsize::new(0));
    let (meet, rounds) = (Arc::clone(&met), 5);
    let upstream = Upstream::scripted(move |_, wire, _| {
        while wire.head().is_some() {
            meet.fetch_add(1, SeqCst);
            wire.send(answer);
            // Whatever comes of the body, until the gateway lets go.
            while matches!(wire.stream.read(&mut [0; 4096]), Ok(read) if read > 0) {}
        }
    });
    let gateway = Gateway::one(&long(r#","retries":{"attempts":0}"#, &[&upstream.address]));
    for round in 1..=rounds {
        let mut client = gateway.connect();
        client.send(request);
        eventually("the upstream is asked", || met.load(SeqCst) == round);
        if let Until::Answered = until {
            client.head().unwrap();
        }
        reset(client);
        eventually("nothing is open or in flight", || {
            let state = gateway.endpoints.known(&address(&upstream));
            gateway.stats.connections() == 0 && state.is_some_and(|state| state.in_flight() == 0)
        });
    }
}

#[test]
fn a_client_that_resets_leaves_nothing_in_flight_at_any_stage() {
    leaves_nothing(GET, "", Until::Asked);
    leaves_nothing(GET, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", Until::Answered);
    leaves_nothing(GET, "HTTP/1.1 200 OK\r\n\r\n", Until::Answered);
    leaves_nothing(&format!("{POST}Content-Length: 9\r\n\r\nhalf"), "", Until::Asked);
    leaves_nothing(&format!("{POST}Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"), "", Until::Asked);
    leaves_nothing(&format!("{POST}Expect: 100-continue\r\nContent-Length: 9\r\n\r\n"), "", Until::Asked);
    let early = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf";
    leaves_nothing(&format!("{POST}Content-Length: 9\r\n\r\nhalf"), early, Until::Answered);
    let switch = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n";
    let upgrade = "GET / HTTP/1.1\r\nHost: app.test\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n";
    leaves_nothing(upgrade, switch, Until::Answered);
}

#[test]
fn a_client_that_resets_while_it_waits_for_a_place_leaves_it_to_others() {
    let (upstream, go) = held();
    let document = format!(
        r#"{{"hosts":["app.test"],"routes":[{{"match":{{"path":{{"prefix":"/"}}}},"to":"up"}}],
            "upstreams":{{"up":{{"endpoints":["{}"],"max_connections":1}}}}}}"#,
        upstream.address
    );
    let gateway = Gateway::one(&document);
    let mut first = gateway.connect();
    first.send(GET);
    upstream.request();
    for _ in 0..5 {
        let mut waiting = gateway.connect();
        waiting.send(GET);
        eventually("it is served", || gateway.stats.connections() == 2);
        reset(waiting);
        eventually("it is gone", || gateway.stats.connections() == 1);
    }
    let mut last = gateway.connect();
    last.send(GET);
    for client in [&mut first, &mut last] {
        go.send(()).unwrap();
        assert_eq!(client.reply().text(), "ok");
    }
    upstream.request();
    assert!(upstream.saw_nothing());
    let state = gateway.endpoints.known(&address(&upstream)).unwrap();
    eventually("nothing is in flight", || state.in_flight() == 0);
}

/// Its request's end is read by what sends it on, while the answer waits for the upstream.
#[test]
fn a_client_that_resets_after_the_end_of_an_upload_that_was_answered_early_leaves_nothing() {
    let upstream = Upstream::scripted(|_, wire, seen| {
        let head = wire.head().unwrap();
        wire.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nearly\r\n");
        assert_eq!(wire.take(8), b"halfrest");
        seen.send(head).unwrap();
        while matches!(wire.stream.read(&mut [0; 4096]), Ok(read) if read > 0) {}
    });
    let gateway = Gateway::one(&short(&upstream));
    let mut client = gateway.connect();
    client.send(format!("{POST}Content-Length: 8\r\n\r\nhalf"));
    assert_eq!(client.head().unwrap().status(), 200);
    assert_eq!(client.take(10), b"5\r\nearly\r\n");
    // Some ticks: the second has every connection look at its client, once.
    std::thread::sleep(Duration::from_secs(1));
    client.send("rest");
    upstream.request();
    reset(client);
    eventually("nothing is open or in flight", || {
        let state = gateway.endpoints.known(&address(&upstream));
        gateway.stats.connections() == 0 && state.is_some_and(|state| state.in_flight() == 0)
    });
}
