//! Outage E of docs/OUTAGES.md: take-overs in a row, under every kind of traffic. Not one request fails, and what the last
//! process costs is what the first did.

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use holdgate_tests::{
    gateway::Gateway, http::Connection, load::Load, orchestrator::Orchestrator, server::Server, wait,
};

use crate::{steady, three};

/// So many take-overs; `HOLDGATE_TAKEOVERS` makes it more.
const TAKEOVERS: u64 = 20;
/// Bytes of one upload, which takes a few dozen writes.
const UPLOAD: usize = 2 << 20;
/// Parts of a slow download, and from one to the next: longer than a take-over takes.
const PARTS: usize = 40;
/// From one part to the next.
const PART_EVERY: Duration = Duration::from_millis(20);
/// What may be more in the last process than in the first whatever its size: pages that the allocator has not given back yet.
/// 5 % of a process that has next to no table is less than one of its arenas.
const SLACK_KIB: u64 = 6 << 10;
/// Connections to the orchestrator that its client keeps for a while, and those of whoever has just asked the admin API.
const SLACK_DESCRIPTORS: u64 = 4;

/// A file of this many bytes for `/slow`, slowly; the length of what was sent for anything else; an echo after an upgrade.
fn app(name: &str) -> Server {
    let name = name.to_owned();
    Server::start(SocketAddr::from(([127, 0, 0, 1], 0)), move |request, stream| {
        if request.header("upgrade").is_some() {
            stream
                .write_all(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")?;
            let mut buffer = [0; 64];
            loop {
                match stream.read(&mut buffer)? {
                    0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
                    length => stream.write_all(&buffer[..length])?,
                }
            }
        }
        if request.target == "/slow" {
            stream.write_all(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", PARTS * 1000).as_bytes())?;
            for _ in 0..PARTS {
                stream.write_all(&[b'x'; 1000])?;
                thread::sleep(PART_EVERY);
            }
            return Ok(());
        }
        let body = format!("{name} {}", request.body.len());
        stream.write_all(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).as_bytes())
    })
}

/// One client that does the same again and again, until it is stopped.
struct Client {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicU64>,
    failure: Arc<Mutex<Option<String>>>,
    thread: Option<JoinHandle<()>>,
}

impl Client {
    fn start(deed: impl Fn() -> Result<(), String> + Send + 'static) -> Self {
        let mut client = Self { stop: Arc::default(), done: Arc::default(), failure: Arc::default(), thread: None };
        let (stop, done, failure) = (Arc::clone(&client.stop), Arc::clone(&client.done), Arc::clone(&client.failure));
        let run = move || {
            while !stop.load(Ordering::Acquire) {
                if let Err(why) = deed() {
                    failure.lock().expect("no holder panics").get_or_insert(why);
                }
                done.fetch_add(1, Ordering::AcqRel);
            }
        };
        client.thread = Some(thread::spawn(run));
        client
    }

    fn stop_without_failure(mut self) -> u64 {
        self.stop.store(true, Ordering::Release);
        self.thread.take().expect("it runs").join().expect("a client does not panic");
        let failure = self.failure.lock().expect("no holder panics").take();
        assert_eq!(failure, None);
        self.done.load(Ordering::Acquire)
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
    }
}

fn upload(web: SocketAddr, host: &str) -> Result<(), String> {
    let failed = |what: &'static str| move |error: std::io::Error| format!("upload, {what}: {error}");
    let mut connection = Connection::open(web).map_err(failed("connect"))?;
    let head = format!("POST /up HTTP/1.1\r\nHost: {host}\r\nContent-Length: {UPLOAD}\r\n\r\n");
    connection.write(head.as_bytes()).map_err(failed("head"))?;
    let part = vec![b'x'; UPLOAD / 32];
    for _ in 0..32 {
        connection.write(&part).map_err(failed("body"))?;
        thread::sleep(Duration::from_millis(2));
    }
    let answer = connection.answer(false).map_err(failed("answer"))?;
    let all = answer.status == 200 && answer.text().ends_with(&format!(" {UPLOAD}"));
    if all { Ok(()) } else { Err(format!("upload: {} {}", answer.status, answer.text())) }
}

fn download(web: SocketAddr, host: &str) -> Result<(), String> {
    let mut connection = Connection::open(web).map_err(|error| format!("download, connect: {error}"))?;
    let answer = connection.get(host, "/slow").map_err(|error| format!("download: {error}"))?;
    let all = answer.status == 200 && answer.body.len() == PARTS * 1000;
    if all { Ok(()) } else { Err(format!("download: {} {}", answer.status, answer.body.len())) }
}

/// An upgraded connection that is open from one take-over to the next.
struct WebSocket(TcpStream);

impl WebSocket {
    fn open(web: SocketAddr, host: &str) -> Self {
        let mut stream = TcpStream::connect(web).expect("a connection");
        stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a time-out");
        let request = format!("GET /ws HTTP/1.1\r\nHost: {host}\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("written");
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            stream.read_exact(&mut byte).expect("an answer");
            head.push(byte[0]);
        }
        assert!(head.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&head));
        Self(stream)
    }

    fn echoes(&mut self) -> bool {
        let mut back = [0; 4];
        self.0.write_all(b"ping").is_ok() && self.0.read_exact(&mut back).is_ok() && back == *b"ping"
    }
}

/// What a process costs.
#[derive(Debug)]
struct Cost {
    rss_kib: u64,
    descriptors: u64,
    threads: u64,
}

impl Cost {
    fn of(pid: u32) -> Self {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
        let value = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("every process has it");
            line.split_whitespace().next().and_then(|value| value.parse().ok()).expect("a number")
        };
        let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).expect("it runs").count() as u64;
        Self { rss_kib: value("VmRSS:"), descriptors, threads: value("Threads:") }
    }
}

/// The same requests for each, then none: so that what two processes cost can be compared.
fn settled(gateway: &Gateway, hosts: &[String]) -> Cost {
    let load = Load::start(gateway.web, hosts);
    load.go_on(300);
    load.stop_without_failure();
    gateway.until_status("all connections to be gone", |s| s["listeners"][0]["connections"] == 0);
    gateway.until_status("those before to be gone", |s| s["draining_predecessors"] == 0);
    // How many connections to apps are kept is a matter of which worker was asked.
    let kept = gateway.metric("holdgate_upstream_idle_connections").expect("a metric") as u64;
    // The lowest of some looks: threads, descriptors and pages of a moment come and go.
    let pid = gateway.pid().expect("it runs");
    let looks = (0..30).map(|_| {
        thread::sleep(Duration::from_millis(100));
        let cost = Cost::of(pid);
        Cost { descriptors: cost.descriptors - kept, ..cost }
    });
    looks
        .reduce(|a, b| Cost {
            rss_kib: a.rss_kib.min(b.rss_kib),
            descriptors: a.descriptors.min(b.descriptors),
            threads: a.threads.min(b.threads),
        })
        .expect("there were some")
}

#[test]
fn a_thousand_graceful_reloads() {
    let takeovers = std::env::var("HOLDGATE_TAKEOVERS").ok().and_then(|n| n.parse().ok()).unwrap_or(TAKEOVERS);
    let server = app("busy");
    let (backends, _, hosts) = three();
    let documents = hosts.iter().enumerate().map(|(n, host)| {
        (format!("app-{n}"), format!(r#"{{"hosts":["{host}"],"endpoints":["{}"]}}"#, backends[n].address()))
    });
    let busy = format!(r#"{{"hosts":["busy.test"],"endpoints":["{}"]}}"#, server.address());
    let orchestrator = Orchestrator::start(documents.chain([("busy".to_owned(), busy)]));
    let mut gateway = steady(&orchestrator, "[gateway]\nworkers = 2\n");
    drop(gateway.take_over().expect("the first"));
    let first = settled(&gateway, &hosts);

    let load = Load::start(gateway.web, &hosts);
    let web = gateway.web;
    let uploads = Client::start(move || upload(web, "busy.test"));
    let downloads = Client::start(move || download(web, "busy.test"));
    let began = Instant::now();
    let mut slowest = Duration::ZERO;
    for round in 0..takeovers {
        let mut socket = WebSocket::open(web, "busy.test");
        let start = Instant::now();
        let mut old = gateway.take_over().unwrap_or_else(|refused| panic!("{round}: {}", refused.said));
        slowest = slowest.max(start.elapsed());
        assert!(socket.echoes(), "round {round}: it is not cut before drain.timeout");
        drop(socket);
        assert_eq!(old.end().code(), Some(0), "round {round}");
        let generation = orchestrator
            .put("more", &format!(r#"{{"hosts":["more.test"],"endpoints":["127.0.0.1:{}"]}}"#, round % 99 + 1));
        gateway.until_status("the next change", |s| s["table"]["generation"] == generation);
    }
    let requests = load.stop_without_failure();
    let (uploads, downloads) = (uploads.stop_without_failure(), downloads.stop_without_failure());
    eprintln!(
        "{takeovers} take-overs in {:?}, the slowest in {slowest:?}: {requests} requests, {uploads} uploads, {downloads} downloads",
        began.elapsed()
    );
    // One more, which has served nothing yet: as the first had.
    drop(gateway.take_over().expect("the last"));
    let last = settled(&gateway, &hosts);
    eprintln!("the first: {first:?}; the last: {last:?}");
    assert_eq!(first.threads, last.threads, "{first:?} {last:?}");
    assert!(last.descriptors <= first.descriptors + SLACK_DESCRIPTORS, "{first:?} {last:?}");
    assert!(last.rss_kib <= first.rss_kib * 105 / 100 + SLACK_KIB, "{first:?} {last:?}");
}

/// A WebSocket that stays open is cut when the time of the drain is over, and not before.
#[test]
fn a_websocket_lives_to_the_end_of_the_drain_of_the_one_before() {
    let server = app("busy");
    let busy = format!(r#"{{"hosts":["busy.test"],"endpoints":["{}"]}}"#, server.address());
    let orchestrator = Orchestrator::start([("busy".to_owned(), busy)]);
    let mut gateway = steady(&orchestrator, "");
    gateway.reconfigure("timeout = \"5s\"", "timeout = \"2s\"");
    drop(gateway.take_over().expect("one with a shorter drain"));
    let mut socket = WebSocket::open(gateway.web, "busy.test");
    let mut old = gateway.take_over().expect("a take-over");
    let began = Instant::now();
    let cut = wait::until("it to be cut", || (!socket.echoes()).then(|| began.elapsed()));
    assert!(cut >= Duration::from_millis(1900), "it was cut after {cut:?}");
    assert_eq!(old.end().code(), Some(0));
}
