//! A gateway, its clients and its upstreams.

use std::{
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    os::{fd::OwnedFd, unix::net::UnixListener},
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use routing_cache::{
    limits::Limits,
    live::{self, Provenance, Published, Source, Writer},
    model::{AppId, Epoch, Generation, Rev, WallTime},
    table::Table,
    wire::Incoming,
};

use crate::{
    config::{DrainConfig, LimitsConfig, ListenAddress, ListenerConfig, UpstreamConfig},
    drain::Drain,
    net::{
        inherited::Inherited,
        listen::{self, BoundListener},
    },
    overload::Overload,
    probe::Probes,
    proxy::{Heartbeats, ListenerStats, Proving, Returns, Settings, Workers, WorkersStart},
    telemetry::access::AccessLog,
    upstream::registry::Endpoints,
};

/// The longest any test waits for one thing.
pub(super) const DEADLINE: Duration = Duration::from_secs(10);

/// Settings that tests change.
pub(super) fn settings() -> Settings {
    Settings {
        limits: LimitsConfig {
            max_connections: 1000,
            header_bytes: 65_536,
            header_timeout: DEADLINE,
            request_body_bytes: 0,
            min_request_bytes_per_second: 0,
            min_response_bytes_per_second: 0,
            min_rate_window: DEADLINE,
            app_bytes: 65_536,
            changes_bytes: 1 << 20,
            snapshot_bytes: 1 << 20,
            snapshot_apps: 100,
        },
        upstream: UpstreamConfig {
            connect_timeout: Duration::from_secs(2),
            request_timeout: DEADLINE,
            idle_connections_per_endpoint: 16,
            eject_after: 1000,
            eject_for: Duration::from_secs(1),
            max_ejected_percent: 100,
            panic_percent: 0,
        },
        drain: DrainConfig { timeout: Duration::from_secs(5), idle_grace: Duration::from_millis(10) },
        trusted: Vec::new(),
        warm_connections: 1000,
    }
}

/// A running gateway; it drains when it is dropped.
pub(super) struct Gateway {
    pub(super) address: ListenAddress,
    pub(super) drain: Drain,
    pub(super) stats: ListenerStats,
    pub(super) heartbeats: Heartbeats,
    pub(super) endpoints: Arc<Endpoints>,
    pub(super) probes: Probes,
    pub(super) overload: Overload,
    workers: Option<Workers>,
    pub(super) writer: Writer,
}

impl Gateway {
    /// One that serves these apps: `(id, document)`.
    pub(super) fn serving(apps: &[(&str, &str)]) -> Self {
        Self::with(apps, settings())
    }

    pub(super) fn with(apps: &[(&str, &str)], settings: Settings) -> Self {
        Self::start(published(apps), settings, AccessLog::off(), tcp())
    }

    /// One that serves whatever is asked of it by this document's one app.
    pub(super) fn one(document: &str) -> Self {
        Self::serving(&[("app", document)])
    }

    pub(super) fn start(first: Published, settings: Settings, access: AccessLog, listen: ListenAddress) -> Self {
        Self::on_workers(1, (first, settings, access), listen)
    }

    pub(super) fn on_workers(workers: usize, parts: (Published, Settings, AccessLog), listen: ListenAddress) -> Self {
        let config = ListenerConfig { name: "web".into(), address: listen, trusted_proxies: Vec::new() };
        let listener = listen::bind(&config, workers, &mut Inherited::default()).unwrap();
        Self::on_listener(workers, parts, listener, Proving::default())
    }

    /// One with an empty table that accepts from the same sockets, and hands back what it accepts through `way`.
    pub(super) fn heir(&self, way: OwnedFd) -> (Self, Proving) {
        let mut inherited = Inherited::in_use();
        for socket in self.workers.as_ref().unwrap().sockets() {
            inherited.add(socket.upgrade().unwrap().duplicate().unwrap().into_descriptor()).unwrap();
        }
        let config = ListenerConfig { name: "web".into(), address: self.address.clone(), trusted_proxies: Vec::new() };
        let listener = listen::bind(&config, 2, &mut inherited).unwrap();
        let proving = Proving::new(way, vec![self.address.clone()]);
        let parts = (published(&[]), settings(), AccessLog::off());
        (Self::on_listener(2, parts, listener, proving.clone()), proving)
    }

    /// What takes connections back.
    pub(super) fn returns(&self) -> Returns {
        self.workers.as_ref().unwrap().returns()
    }

    fn on_listener(
        workers: usize,
        (first, settings, access): (Published, Settings, AccessLog),
        listener: BoundListener,
        proving: Proving,
    ) -> Self {
        let (writer, reader) = live::cell(first);
        let address = listener.address.clone();
        let drain = Drain::default();
        let (endpoints, probes) = (Arc::new(Endpoints::new()), Probes::default());
        let overload = Overload::default();
        let workers = Workers::start(WorkersStart {
            workers,
            settings: Arc::new(ArcSwap::from_pointee(settings)),
            listeners: vec![listener],
            reader,
            draining: drain.watch(),
            access,
            endpoints: Arc::clone(&endpoints),
            probes: probes.clone(),
            overload: overload.clone(),
            proving,
        })
        .unwrap();
        let stats = workers.listeners().remove(0);
        let heartbeats = workers.heartbeats();
        Self { address, drain, stats, heartbeats, endpoints, probes, overload, workers: Some(workers), writer }
    }

    pub(super) fn connect(&self) -> Client {
        let ListenAddress::Tcp(address) = self.address else { panic!("not on TCP") };
        Client::new(TcpStream::connect(address).unwrap())
    }

    /// Sends one request on a connection of its own and returns the answer.
    pub(super) fn ask(&self, request: &str) -> Reply {
        let mut client = self.connect();
        client.send(request);
        client.reply_to(request.split(' ').next().unwrap())
    }

    pub(super) fn get(&self, path: &str) -> Reply {
        self.ask(&format!("GET {path} HTTP/1.1\r\nHost: app.test\r\n\r\n"))
    }

    /// The connections of each worker.
    pub(super) fn loads(&self) -> Vec<usize> {
        self.workers.as_ref().map_or_else(Vec::new, Workers::loads)
    }

    /// Drains and waits for the end.
    pub(super) fn join(&mut self) {
        self.drain.start();
        if let Some(workers) = self.workers.take() {
            workers.join();
        }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.join();
        }
    }
}

pub(super) fn tcp() -> ListenAddress {
    ListenAddress::Tcp(([127, 0, 0, 1], 0).into())
}

/// A table of these apps.
pub(super) fn published(apps: &[(&str, &str)]) -> Published {
    let mut table = Table::default();
    for (id, document) in apps {
        let app = Incoming::read(AppId::new(id).unwrap(), Rev(1), document.as_bytes(), &Limits::default()).app;
        table.upsert(app.unwrap_or_else(|error| panic!("{document}: {error}"))).unwrap();
    }
    let epoch = Some(Epoch::new("test").unwrap());
    let provenance = Provenance { source: Source::Live, epoch, generation: Generation(1), received_at: WallTime(0) };
    Published { table, provenance }
}

/// The document of an app with this one upstream.
pub(super) fn short(upstream: &Upstream) -> String {
    format!(r#"{{"hosts":["app.test"],"endpoints":["{}"]}}"#, upstream.address)
}

/// The document of an app with one route, with these further fields, to these endpoints.
pub(super) fn long(fields: &str, endpoints: &[&str]) -> String {
    let endpoints = serde_json::to_string(endpoints).unwrap();
    format!(
        r#"{{"hosts":["app.test"],
            "routes":[{{"match":{{"path":{{"prefix":"/"}}}},"to":"up"{fields}}}],
            "upstreams":{{"up":{{"endpoints":{endpoints},"balance":"round-robin"}}}}}}"#
    )
}

/// A message as it was on the wire.
#[derive(Clone, Debug, Default)]
pub(super) struct Reply {
    pub(super) start: String,
    pub(super) headers: Vec<(String, String)>,
    /// Chunked bodies are put together.
    pub(super) body: Vec<u8>,
    pub(super) trailers: Vec<(String, String)>,
}

impl Reply {
    pub(super) fn status(&self) -> u16 {
        self.start.split(' ').nth(1).unwrap().parse().unwrap()
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }

    pub(super) fn all(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str()).collect()
    }

    pub(super) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

/// One end of a connection, read and written by hand.
pub(super) struct Wire<S> {
    pub(super) stream: S,
    pub(super) buffer: Vec<u8>,
}

pub(super) type Client = Wire<TcpStream>;

impl Client {
    fn new(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, buffer: Vec::new() }
    }

    /// True when the other side ends the connection within the deadline, without another byte.
    pub(super) fn is_closed(&mut self) -> bool {
        assert_eq!(String::from_utf8_lossy(&self.buffer), "");
        match self.stream.read(&mut [0; 1]) {
            Ok(read) => read == 0,
            Err(error) => error.kind() == ErrorKind::ConnectionReset,
        }
    }
}

impl Client {
    /// True while the other side still takes what is sent. A closed socket answers the first write with a reset, which
    /// the second one tells; `between` gives it the time.
    pub(super) fn is_read_on(&mut self, between: impl FnOnce()) -> bool {
        let first = self.stream.write_all(b"more");
        between();
        first.and_then(|()| self.stream.write_all(b"and more")).is_ok()
    }
}

impl<S: Read + Write> Wire<S> {
    pub(super) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).unwrap();
    }

    /// Reads more; false at the end.
    pub(super) fn more(&mut self) -> bool {
        let mut chunk = [0; 16 << 10];
        match self.stream.read(&mut chunk) {
            Ok(0) => false,
            Ok(read) => {
                self.buffer.extend_from_slice(&chunk[..read]);
                true
            }
            Err(error) if error.kind() == ErrorKind::ConnectionReset => false,
            Err(error) => panic!("nothing to read: {error}; so far {:?}", String::from_utf8_lossy(&self.buffer)),
        }
    }

    fn until(&mut self, end: &[u8]) -> Option<Vec<u8>> {
        loop {
            if let Some(at) = self.buffer.windows(end.len()).position(|w| w == end) {
                return Some(self.buffer.drain(..at + end.len()).collect());
            }
            if !self.more() {
                return None;
            }
        }
    }

    /// Exactly so many bytes, or fewer if the connection ends.
    pub(super) fn take(&mut self, length: usize) -> Vec<u8> {
        while self.buffer.len() < length && self.more() {}
        self.buffer.drain(..length.min(self.buffer.len())).collect()
    }

    pub(super) fn rest(&mut self) -> Vec<u8> {
        while self.more() {}
        std::mem::take(&mut self.buffer)
    }

    /// The head of a message; `None` when the connection ends.
    pub(super) fn head(&mut self) -> Option<Reply> {
        let head = String::from_utf8(self.until(b"\r\n\r\n")?).unwrap();
        let mut lines = head.trim_end().split("\r\n");
        let start = lines.next().unwrap().to_owned();
        Some(Reply { start, headers: lines.map(field).collect(), ..Reply::default() })
    }

    /// A whole message as HTTP frames it; a body without a length goes to the end of the connection, if it is an answer.
    pub(super) fn message(&mut self, method: &str) -> Option<Reply> {
        let head = self.head()?;
        self.content(head, method)
    }

    /// The whole message of which this is the head.
    pub(super) fn content(&mut self, mut message: Reply, method: &str) -> Option<Reply> {
        let is_answer = message.start.starts_with("HTTP/");
        let bodiless = is_answer && (method == "HEAD" || matches!(message.status(), 100..=199 | 204 | 304));
        if bodiless {
            return Some(message);
        }
        if message.header("transfer-encoding").is_some() {
            self.chunks(&mut message)?;
        } else if let Some(length) = message.header("content-length").map(|l| l.parse::<usize>().unwrap()) {
            message.body = self.take(length);
        } else if is_answer {
            message.body = self.rest();
        }
        Some(message)
    }

    fn chunks(&mut self, message: &mut Reply) -> Option<()> {
        loop {
            let line = String::from_utf8(self.until(b"\r\n")?).unwrap();
            let size = usize::from_str_radix(line.trim(), 16).unwrap();
            if size == 0 {
                break;
            }
            message.body.extend(self.take(size));
            self.until(b"\r\n")?;
        }
        loop {
            let line = String::from_utf8(self.until(b"\r\n")?).unwrap();
            if line == "\r\n" {
                return Some(());
            }
            message.trailers.push(field(line.trim_end()));
        }
    }

    /// The answer to a request of this method.
    pub(super) fn reply_to(&mut self, method: &str) -> Reply {
        self.message(method).expect("an answer")
    }

    pub(super) fn reply(&mut self) -> Reply {
        self.reply_to("GET")
    }
}

fn field(line: &str) -> (String, String) {
    let (name, value) = line.split_once(':').unwrap();
    (name.to_ascii_lowercase(), value.trim().to_owned())
}

/// A scripted upstream on a thread for each connection.
pub(super) struct Upstream {
    /// As a document writes it.
    pub(super) address: String,
    /// Requests that came, in order.
    pub(super) requests: Receiver<Reply>,
    connections: Arc<AtomicUsize>,
}

/// Both kinds of stream.
pub(super) trait Duplex: Read + Write + Send {}
impl<T: Read + Write + Send> Duplex for T {}
/// An upstream's end of a connection.
pub(super) type Served = Wire<Box<dyn Duplex>>;

impl Upstream {
    /// One that is given each connection with its number.
    pub(super) fn scripted(script: impl Fn(usize, &mut Served, &SyncSender<Reply>) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let accept = move || {
            let (stream, _) = listener.accept()?;
            stream.set_read_timeout(Some(DEADLINE))?;
            stream.set_nodelay(true)?;
            Ok(Box::new(stream) as Box<dyn Duplex>)
        };
        Self::run(address, accept, script)
    }

    /// One whose connections the test takes by itself.
    pub(super) fn at(address: String) -> Self {
        let (_, requests) = sync_channel(0);
        Self { address, requests, connections: Arc::default() }
    }

    /// The same on a Unix socket.
    pub(super) fn on_unix(
        path: &Path,
        script: impl Fn(usize, &mut Served, &SyncSender<Reply>) + Send + Sync + 'static,
    ) -> Self {
        let listener = UnixListener::bind(path).unwrap();
        let accept = move || {
            let (stream, _) = listener.accept()?;
            stream.set_read_timeout(Some(DEADLINE))?;
            Ok(Box::new(stream) as Box<dyn Duplex>)
        };
        Self::run(format!("unix:{}", path.display()), accept, script)
    }

    fn run(
        address: String,
        accept: impl Fn() -> std::io::Result<Box<dyn Duplex>> + Send + 'static,
        script: impl Fn(usize, &mut Served, &SyncSender<Reply>) + Send + Sync + 'static,
    ) -> Self {
        let (seen, requests) = sync_channel(1 << 16);
        let connections = Arc::new(AtomicUsize::new(0));
        let (count, script) = (Arc::clone(&connections), Arc::new(script));
        std::thread::spawn(move || {
            while let Ok(stream) = accept() {
                let number = count.fetch_add(1, Ordering::SeqCst);
                let (script, seen) = (Arc::clone(&script), seen.clone());
                std::thread::spawn(move || script(number, &mut Served { stream, buffer: Vec::new() }, &seen));
            }
        });
        Self { address, requests, connections }
    }

    /// One that gives this answer to every request, and keeps its connections.
    pub(super) fn answering(answer: &str) -> Self {
        let answer = answer.to_owned();
        Self::scripted(move |_, wire, seen| {
            while let Some(request) = wire.message("") {
                seen.send(request).unwrap();
                wire.send(&answer);
            }
        })
    }

    /// One that answers 200 with `ok`.
    pub(super) fn ok() -> Self {
        Self::answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    }

    /// The next request that came.
    pub(super) fn request(&self) -> Reply {
        self.requests.recv_timeout(DEADLINE).unwrap()
    }

    /// True when no request has come that was not taken.
    pub(super) fn saw_nothing(&self) -> bool {
        self.requests.try_recv().is_err()
    }

    pub(super) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

/// An address where nobody listens.
pub(super) fn closed_port() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address: SocketAddr = listener.local_addr().unwrap();
    address.to_string()
}

/// Waits for `condition`.
pub(super) fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + DEADLINE;
    while !condition() {
        assert!(Instant::now() < end, "in vain: {what}");
        std::thread::yield_now();
    }
}

/// An upstream that answers when it is told to.
pub(super) fn held() -> (Upstream, SyncSender<()>) {
    let (go, gone) = sync_channel::<()>(16);
    let gone = Mutex::new(gone);
    let upstream = Upstream::scripted(move |_, wire, seen| {
        while let Some(request) = wire.message("") {
            seen.send(request).unwrap();
            gone.lock().unwrap().recv_timeout(DEADLINE).unwrap();
            wire.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        }
    });
    (upstream, go)
}
