//! The data plane as it is in production, with a client and an upstream on threads of their own.

use std::{
    fmt::Write as _,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    sync::Arc,
    thread,
    time::Duration,
};

use arc_swap::ArcSwap;
use gateway::{
    config::{Config, ListenAddress},
    drain::Drain,
    net::{inherited::Inherited, listen},
    overload::Overload,
    probe::Probes,
    proxy::{Proving, Workers, WorkersStart},
    telemetry::{access::AccessLog, metrics},
    upstream::registry::Endpoints,
};
use routing_cache::{
    limits::Limits,
    live::{self, Provenance, Published, Source, Writer},
    model::{AppId, Epoch, Generation, Rev, WallTime},
    table::Table,
    wire::Incoming,
};

use super::counting::{self, Counts};

/// Longer than anything takes here.
const DEADLINE: Duration = Duration::from_secs(60);
/// Requests before the count begins: buffers grow to their size, the connection to the upstream is made.
const WARM_UP: u64 = 100;

/// A kind of request, and what it may cost.
pub(crate) struct Work {
    /// What it is called.
    pub(crate) name: &'static str,
    path: &'static str,
    request_bytes: usize,
    answer_bytes: usize,
    /// Allocations for each request at most: what was counted and a half, and room for five reads more where a body may
    /// come in pieces. To be lowered when the count falls, and raised for a reason only.
    pub(crate) limit: f64,
}

/// The kinds that are measured.
pub(crate) const WORKS: [Work; 3] = [
    Work { name: "small GET", path: "/2", request_bytes: 0, answer_bytes: 2, limit: 0.5 },
    Work { name: "16 KiB POST", path: "/2", request_bytes: 16 << 10, answer_bytes: 2, limit: 11.5 },
    Work { name: "64 KiB answer", path: "/65536", request_bytes: 0, answer_bytes: 64 << 10, limit: 8.5 },
];

/// A running data plane of one worker.
pub(crate) struct Gateway {
    address: SocketAddr,
    drain: Drain,
    workers: Option<Workers>,
    _writer: Writer,
}

impl Gateway {
    /// Starts it with the default settings, in front of an upstream.
    pub(crate) fn start() -> Self {
        counting::leave_out();
        metrics::install();
        let config = config();
        let listener =
            listen::bind(&config.listeners[0], 1, &mut Inherited::default()).expect("loopback has a free port");
        let ListenAddress::Tcp(address) = listener.address else { panic!("not on TCP") };
        let (writer, reader) = live::cell(published(upstream()));
        let drain = Drain::default();
        let workers = Workers::start(WorkersStart {
            workers: 1,
            settings: Arc::new(ArcSwap::from_pointee((&config).into())),
            listeners: vec![listener],
            reader,
            draining: drain.watch(),
            access: AccessLog::off(),
            endpoints: Arc::new(Endpoints::new()),
            probes: Probes::default(),
            overload: Overload::default(),
            proving: Proving::default(),
        });
        let workers = Some(workers.expect("a worker starts"));
        Self { address, drain, workers, _writer: writer }
    }

    /// What `requests` of this kind cost, on one kept connection.
    pub(crate) fn run(&self, work: &Work, requests: u64) -> Counts {
        let mut client = Client::connect(self.address, work);
        client.ask(WARM_UP);
        let before = counting::counts();
        client.ask(requests);
        counting::counts() - before
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.drain.start();
        if let Some(workers) = self.workers.take() {
            workers.join();
        }
    }
}

fn config() -> Config {
    let text = "state_dir = \"/nowhere\"\n[[listener]]\nname = \"web\"\naddress = \"127.0.0.1:0\"\n\
                [admin]\naddress = \"127.0.0.1:9901\"\n[orchestrator]\nkind = \"file\"\npath = \"/nowhere\"\n";
    match Config::parse(Path::new("bench"), text, std::iter::empty()) {
        Ok(loaded) => loaded.config,
        Err(errors) => panic!("{errors}"),
    }
}

fn published(upstream: SocketAddr) -> Published {
    let document = format!(r#"{{"hosts":["app.test"],"endpoints":["{upstream}"]}}"#);
    let id = AppId::new("app").expect("it is an id");
    let app = Incoming::read(id, Rev(1), document.as_bytes(), &Limits::default()).app;
    let mut table = Table::default();
    table.upsert(app.expect("the document is right")).expect("there is nobody to disagree with");
    let epoch = Epoch::new("bench").ok();
    let provenance = Provenance { source: Source::Live, epoch, generation: Generation(1), received_at: WallTime(0) };
    Published { table, provenance }
}

struct Client {
    stream: TcpStream,
    request: Vec<u8>,
    answer_bytes: usize,
    buffer: Vec<u8>,
}

impl Client {
    fn connect(address: SocketAddr, work: &Work) -> Self {
        let stream = TcpStream::connect(address).expect("the gateway listens");
        stream.set_nodelay(true).expect("it is a socket");
        stream.set_read_timeout(Some(DEADLINE)).expect("it is a socket");
        let method = if work.request_bytes > 0 { "POST" } else { "GET" };
        let mut head = format!("{method} {} HTTP/1.1\r\nHost: app.test\r\n", work.path);
        head.push_str("User-Agent: bench/1.0\r\nAccept: */*\r\nAccept-Encoding: gzip, br\r\n");
        if work.request_bytes > 0 {
            write!(head, "Content-Length: {}\r\n", work.request_bytes).expect("a text takes text");
        }
        head.push_str("\r\n");
        let mut request = head.into_bytes();
        request.resize(request.len() + work.request_bytes, b'x');
        Self { stream, request, answer_bytes: work.answer_bytes, buffer: Vec::new() }
    }

    fn ask(&mut self, times: u64) {
        for _ in 0..times {
            self.stream.write_all(&self.request).expect("the gateway reads");
            let head = read_head(&mut self.stream, &mut self.buffer).expect("the gateway answers");
            assert!(self.buffer.starts_with(b"HTTP/1.1 200 OK\r\n"), "{}", String::from_utf8_lossy(&self.buffer));
            read_body(&mut self.stream, &mut self.buffer, head + self.answer_bytes);
        }
    }
}

/// An upstream that answers as many bytes as the path says.
fn upstream() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let address = listener.local_addr().expect("it is bound");
    thread::spawn(move || {
        counting::leave_out();
        while let Ok((stream, _)) = listener.accept() {
            thread::spawn(move || answer(stream));
        }
    });
    address
}

fn answer(mut stream: TcpStream) {
    counting::leave_out();
    stream.set_nodelay(true).expect("it is a socket");
    let mut buffer = Vec::new();
    while let Some(head) = read_head(&mut stream, &mut buffer) {
        let text = String::from_utf8_lossy(&buffer[..head]).to_ascii_lowercase();
        let path = text.split([' ', '/']).nth(2).and_then(|path| path.parse::<usize>().ok());
        let length = text.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
        read_body(&mut stream, &mut buffer, head + length.unwrap_or(0));
        // As nginx answers.
        let bytes = path.expect("a length");
        let mut answer = format!(
            "HTTP/1.1 200 OK\r\nServer: nginx\r\nDate: Sat, 21 Nov 2026 15:00:00 GMT\r\n\
             Content-Type: application/octet-stream\r\nContent-Length: {bytes}\r\nConnection: keep-alive\r\n\r\n"
        )
        .into_bytes();
        answer.resize(answer.len() + bytes, b'x');
        if stream.write_all(&answer).is_err() {
            return;
        }
    }
}

/// The length of the next head, which the buffer then begins with; `None` at the end of the connection.
fn read_head(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<usize> {
    loop {
        if let Some(end) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
            return Some(end + 4);
        }
        if !more(stream, buffer) {
            return None;
        }
    }
}

/// Takes a message of so many bytes out of the buffer.
fn read_body(stream: &mut TcpStream, buffer: &mut Vec<u8>, length: usize) {
    while buffer.len() < length && more(stream, buffer) {}
    assert!(buffer.len() >= length, "the message is cut");
    buffer.drain(..length);
}

fn more(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> bool {
    let mut chunk = [0; 128 << 10];
    let read = stream.read(&mut chunk).unwrap_or(0);
    buffer.extend_from_slice(&chunk[..read]);
    read > 0
}
