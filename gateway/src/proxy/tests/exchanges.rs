//! Random requests in random pieces over one connection, to an upstream that says what it saw: the answers come in order
//! and are what they have to be.

use std::{
    fmt::Write as _,
    io::Write as _,
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

use fastrand::Rng;
use routing_cache::model::Address;

use super::harness::{Gateway, Reply, Served, Upstream, eventually, published, settings, short, tcp};
use crate::{
    config::{AccessLogTarget, LogFormat},
    proxy::Settings,
    telemetry::access::AccessLog,
};

/// Connections that are tried. More of them, or one again: `HOLDGATE_FUZZ_RUNS`, `HOLDGATE_SEED`.
const RUNS: u64 = 30;
const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
/// How an answer can end.
const ENDINGS: [&str; 3] = ["length", "chunked", "close"];

/// A request, and what is known of its answer.
#[derive(Debug)]
struct Asked {
    bytes: Vec<u8>,
    method: &'static str,
    http10: bool,
    /// The connection ends with its answer.
    last: bool,
    /// Nobody has its host: the gateway answers by itself.
    local: bool,
    status: u16,
    ending: &'static str,
    hints: usize,
    expects: bool,
    body: Vec<u8>,
    trailer: Option<String>,
}

impl Asked {
    fn random(random: &mut Rng, number: usize, last: bool) -> Self {
        let (http10, local) = (random.u8(..4) == 0, random.u8(..6) == 0);
        let mut asked = Self {
            bytes: Vec::new(),
            method: METHODS[random.usize(..METHODS.len())],
            http10,
            last,
            local,
            status: if local { 404 } else { [200, 200, 200, 204, 304, 205, 299, 404, 503][random.usize(..9)] },
            ending: ENDINGS[random.usize(..ENDINGS.len())],
            hints: if random.bool() { 0 } else { random.usize(..4) },
            expects: false,
            body: Vec::new(),
            trailer: None,
        };
        asked.last |= http10 && !local && !asked.is_bodiless() && asked.ending != "length";
        let head = asked.head(random, number);
        asked.bytes = head.into_bytes();
        // A body that nobody takes ends the connection.
        match random.u8(..4) {
            0 | 1 => asked.bytes.extend(b"\r\n"),
            2 if !local => asked.with_length(random),
            3 if !local && !http10 => asked.with_chunks(random),
            _ => asked.bytes.extend(b"Content-Length: 0\r\n\r\n"),
        }
        asked
    }

    fn is_bodiless(&self) -> bool {
        self.method == "HEAD" || matches!(self.status, 204 | 304)
    }

    fn head(&self, random: &mut Rng, number: usize) -> String {
        let (method, minor) = (self.method, u8::from(!self.http10));
        let empty_line = if random.u8(..8) == 0 { "\r\n" } else { "" };
        let host = if self.local { "nobody" } else { "app" };
        let mut head = format!("{empty_line}{method} /{number} HTTP/1.{minor}\r\nhOST: \t{host}.test \r\n");
        // A client of HTTP/1.0 whose answer has no length does not know that the connection will end with it.
        let told = self.last && (self.ending == "length" || !self.http10 || self.local || self.is_bodiless());
        match (self.http10, told) {
            (true, false) => head += "Connection: x-own, Keep-Alive\r\n",
            (false, true) => head += "Connection: x-own , cLose\r\n",
            _ => {}
        }
        let length = if random.u8(..4) == 0 { random.usize(..70_000) } else { random.usize(..50) };
        write!(
            head,
            "X-Own: 1\r\nX-Status: {}\r\nX-Ending: {}\r\nX-Hints: {}\r\nX-Length: {length}\r\n",
            self.status, self.ending, self.hints
        )
        .unwrap();
        head
    }

    fn random_body(random: &mut Rng) -> Vec<u8> {
        let most = [1, 10, 5000, 200_000][random.usize(..4)];
        let length = random.usize(1..=most);
        std::iter::repeat_with(|| random.u8(..)).take(length).collect()
    }

    fn expect(&mut self, random: &mut Rng) {
        self.expects = !self.http10 && random.u8(..4) == 0;
        if self.expects {
            self.bytes.extend(b"Expect: 100-continue\r\n");
        }
    }

    fn with_length(&mut self, random: &mut Rng) {
        self.expect(random);
        self.body = Self::random_body(random);
        self.bytes.extend(format!("Content-Length: {}\r\n\r\n", self.body.len()).into_bytes());
        self.bytes.extend(&self.body);
    }

    fn with_chunks(&mut self, random: &mut Rng) {
        self.expect(random);
        self.body = if random.u8(..4) == 0 { Vec::new() } else { Self::random_body(random) };
        self.trailer = random.bool().then(|| random.u32(..).to_string());
        self.bytes.extend(b"Trailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n");
        let mut left = &self.body[..];
        while !left.is_empty() {
            let (chunk, rest) = left.split_at(random.usize(1..=left.len()));
            let extension = if random.u8(..4) == 0 { ";a=\"b\"" } else { "" };
            self.bytes.extend(format!("{:x}{extension}\r\n", chunk.len()).into_bytes());
            self.bytes.extend(chunk);
            self.bytes.extend(b"\r\n");
            left = rest;
        }
        self.bytes.extend(b"0\r\n");
        if let Some(trailer) = &self.trailer {
            self.bytes.extend(format!("X-Sum: {trailer}\r\n").into_bytes());
        }
        self.bytes.extend(b"\r\n");
    }

    /// Holds an answer against the request, and what the upstream saw of it.
    fn check(&self, number: usize, hints: &[Reply], reply: &Reply, saw: Option<&Reply>) {
        let version = if self.http10 { "HTTP/1.0" } else { "HTTP/1.1" };
        assert!(reply.start.starts_with(&format!("{version} {} ", self.status)), "{}", reply.start);
        let connection = match (self.last, self.http10) {
            (true, _) => vec!["close"],
            (false, true) => vec!["keep-alive"],
            (false, false) => vec![],
        };
        assert_eq!(reply.all("connection"), connection);
        assert_eq!(reply.all("date").len(), 1);
        assert_eq!((reply.header("x-own"), reply.header("keep-alive")), (None, None));
        let chunked = reply.header("transfer-encoding").is_some();
        assert!(!(chunked && (self.http10 || reply.header("content-length").is_some())), "{reply:?}");
        let Some(saw) = saw else { return };
        assert!(saw.start.starts_with(&format!("{} /{number} ", self.method)), "{}", saw.start);
        assert!(saw.body == self.body, "{} bytes, and the upstream saw {}", self.body.len(), saw.body.len());
        let trailers: Vec<_> = self.trailer.iter().map(|sum| ("x-sum".to_owned(), sum.clone())).collect();
        assert_eq!(saw.trailers, trailers);
        let content = if self.is_bodiless() { Vec::new() } else { content(saw) };
        assert!(reply.body == content, "{} bytes in place of {}", reply.body.len(), content.len());
        if self.http10 {
            assert!(hints.is_empty());
            return;
        }
        let told: Vec<_> = hints.iter().filter(|hint| hint.status() == 103).map(|hint| hint.header("x-hint")).collect();
        let wanted: Vec<_> = (0..self.hints).map(|hint| hint.to_string()).collect();
        assert_eq!(told, wanted.iter().map(|hint| Some(hint.as_str())).collect::<Vec<_>>());
        assert!(hints.len() - told.len() <= usize::from(self.expects), "100 is said once, to whom waits for it");
    }
}

/// Zero where nobody has asked for anything: what was spoilt may have lost it.
fn number(message: &Reply, name: &str) -> usize {
    message.header(name).and_then(|number| number.parse().ok()).unwrap_or_default()
}

/// What is answered to a request.
fn content(request: &Reply) -> Vec<u8> {
    let line = request.start.as_bytes();
    line.iter().copied().cycle().take(number(request, "x-length")).collect()
}

/// Says hints, and 100 where it is waited for, takes the request and answers it as it asks for. False when the connection is
/// to end with that.
fn answer(wire: &mut Served, head: Reply) -> Option<(Reply, bool)> {
    for hint in 0..number(&head, "x-hints") {
        wire.send(format!("HTTP/1.1 103 Early Hints\r\nX-Hint: {hint}\r\nConnection: x-own\r\nX-Own: 1\r\n\r\n"));
    }
    if head.header("expect").is_some() {
        wire.send("HTTP/1.1 100 Continue\r\n\r\n");
    }
    let request = wire.content(head, "")?;
    let (status, mut body) = (number(&request, "x-status").clamp(200, 599), content(&request));
    let bodiless = request.start.starts_with("HEAD ") || matches!(status, 204 | 304);
    let own = "Connection: keep-alive, x-own\r\nX-Own: 1\r\nKeep-Alive: timeout=5\r\n";
    let ending = ENDINGS.into_iter().find(|ending| request.header("x-ending") == Some(ending)).unwrap_or("close");
    let framing = match ending {
        "length" if status != 204 => format!("Content-Length: {}\r\n", body.len()),
        "chunked" if !bodiless => "Transfer-Encoding: chunked\r\n".to_owned(),
        _ => String::new(),
    };
    if bodiless {
        body.clear();
    } else if ending == "chunked" {
        let end = if body.is_empty() { "0\r\n\r\n" } else { "\r\n0\r\n\r\n" };
        let size = if body.is_empty() { String::new() } else { format!("{:X}\r\n", body.len()) };
        body = [size.as_bytes(), &body, end.as_bytes()].concat();
    }
    let head = format!("HTTP/1.1 {status} Own Words\r\n{own}{framing}\r\n");
    wire.send([head.as_bytes(), &body].concat());
    let goes_on = bodiless || ending != "close";
    Some((request, goes_on))
}

fn echo() -> Upstream {
    Upstream::scripted(|_, wire, seen| {
        while let Some(head) = wire.head() {
            let Some((request, goes_on)) = answer(wire, head) else { return };
            seen.send(request).unwrap();
            if !goes_on {
                return;
            }
        }
    })
}

/// Sends `bytes` in random pieces.
fn send_in_pieces(mut stream: std::net::TcpStream, bytes: &[u8], random: &mut Rng) {
    let mut left = bytes;
    // Of a few bytes, where there are not so many that it takes for ever.
    let most = [3, 100, 10_000, 1 << 20][random.usize(..4)].max(bytes.len() / 1000);
    while !left.is_empty() {
        let (piece, rest) = left.split_at(random.usize(1..=most).min(left.len()));
        if stream.write_all(piece).is_err() {
            // What is behind the last request is not read for ever.
            return;
        }
        left = rest;
        match random.u8(..40) {
            0 => std::thread::sleep(Duration::from_millis(1)),
            1..10 => std::thread::yield_now(),
            _ => {}
        }
    }
}

/// One connection to its end; says how many requests were answered on it.
fn play(random: &mut Rng, gateway: &Gateway, upstream: &Upstream) -> usize {
    let count = random.usize(1..12);
    let mut all = Vec::new();
    for number in 0..count {
        let last = number + 1 == count && random.bool();
        all.push(Asked::random(random, number, last));
        if all.last().is_some_and(|asked| asked.last) {
            break;
        }
    }
    let ends = all.last().is_some_and(|asked| asked.last);
    let mut bytes = all.iter().flat_map(|asked| asked.bytes.iter().copied()).collect::<Vec<_>>();
    if ends && random.bool() {
        bytes.extend(b"GET /behind HTTP/1.1\r\nHost: app.test\r\n\r\n");
    }
    let mut client = gateway.connect();
    let writer = client.stream.try_clone().unwrap();
    let mut pieces = random.fork();
    std::thread::scope(|scope| {
        scope.spawn(move || send_in_pieces(writer, &bytes, &mut pieces));
        for (number, asked) in all.iter().enumerate() {
            let mut hints = Vec::new();
            let mut head = client.head().expect("an answer");
            while head.status() < 200 {
                hints.push(std::mem::replace(&mut head, client.head().expect("an answer")));
            }
            let reply = client.content(head, asked.method).expect("an answer");
            let saw = (!asked.local).then(|| upstream.request());
            asked.check(number, &hints, &reply, saw.as_ref());
        }
    });
    if !ends {
        client.stream.shutdown(std::net::Shutdown::Write).unwrap();
    }
    assert!(client.is_closed());
    assert!(upstream.saw_nothing(), "what is behind the last request is none");
    all.len()
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn seeds() -> Vec<u64> {
    let runs = variable("HOLDGATE_FUZZ_RUNS").unwrap_or(RUNS);
    variable("HOLDGATE_SEED").map_or_else(|| (0..runs).collect(), |seed| vec![seed])
}

/// Sends `bytes` and goes: in order, or with a reset wherever the answers are. What the upstream makes of it is its own.
fn spoil(random: &mut Rng, gateway: &Gateway, mut bytes: Vec<u8>) {
    for _ in 0..random.usize(1..4) {
        let at = random.usize(..bytes.len());
        match random.u8(..3) {
            0 => bytes[at] = random.u8(..128),
            1 => drop(bytes.remove(at)),
            _ => bytes.insert(at, b"\r\n :,;0\0"[random.usize(..8)]),
        }
    }
    let mut client = gateway.connect();
    let writer = client.stream.try_clone().unwrap();
    let mut pieces = random.fork();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            send_in_pieces(writer.try_clone().unwrap(), &bytes, &mut pieces);
            // ignored: the gateway may have ended it.
            let _ = writer.shutdown(std::net::Shutdown::Write);
        });
        if random.u8(..3) > 0 {
            client.rest();
        } else {
            client.more();
            socket2::SockRef::from(&client.stream).set_linger(Some(Duration::ZERO)).unwrap();
            // ignored: it may have been reset before.
            let _ = client.stream.shutdown(std::net::Shutdown::Both);
        }
    });
}

/// What is spoilt is refused or is something else; it breaks nothing, and nothing of it is left.
#[test]
fn whatever_is_spoilt_in_requests_nothing_is_left_of_them() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("access.log");
    let access = AccessLog::start(&AccessLogTarget::File(file.clone()), LogFormat::Json).unwrap();
    let upstream = echo();
    let mut gateway = Gateway::start(published(&[("app", &short(&upstream))]), settings(), access.clone(), tcp());
    let address = Address::Tcp(upstream.address.parse().unwrap());
    for seed in seeds() {
        let mut random = Rng::with_seed(seed);
        let mut bytes = Vec::new();
        for number in 0..random.usize(1..6) {
            bytes.extend(Asked::random(&mut random, number, false).bytes);
        }
        let spoilt = catch_unwind(AssertUnwindSafe(|| spoil(&mut random, &gateway, bytes)));
        assert!(spoilt.is_ok(), "HOLDGATE_SEED={seed}");
        eventually(&format!("nothing is left of HOLDGATE_SEED={seed}"), || {
            let state = gateway.endpoints.known(&address);
            gateway.stats.connections() == 0 && state.is_none_or(|state| state.in_flight() == 0)
        });
    }
    gateway.join();
    access.flush();
    let lines = std::fs::read_to_string(file).unwrap();
    assert!(!lines.contains("\"status\":500"), "a panic: {lines}");
}

#[test]
fn whatever_valid_requests_come_in_whatever_pieces_each_has_its_answer_and_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("access.log");
    let access = AccessLog::start(&AccessLogTarget::File(file.clone()), LogFormat::Json).unwrap();
    let upstream = echo();
    let settings = Settings { warm_connections: 0, ..settings() };
    let mut gateway = Gateway::start(published(&[("app", &short(&upstream))]), settings, access.clone(), tcp());
    let mut answered = 0;
    for seed in seeds() {
        let played = catch_unwind(AssertUnwindSafe(|| play(&mut Rng::with_seed(seed), &gateway, &upstream)));
        answered += played.unwrap_or_else(|_| panic!("HOLDGATE_SEED={seed}"));
    }
    eventually("no connection is left", || gateway.stats.connections() == 0);
    gateway.join();
    access.flush();
    assert_eq!(std::fs::read_to_string(file).unwrap().lines().count(), answered);
}
