//! Sends small GETs at a fixed rate over kept connections, and tells how long they took: `pace ADDRESS HOST PATH RATE
//! CONNECTIONS SECONDS [INTERVAL]`, one line of JSON for each INTERVAL (default: one for all).
//!
//! The rate is kept whatever the answers do: a request that is due while its connection still waits counts from when it was
//! due, so that a stall is seen in full. One that was due while this program slept counts from when it was sent.
//! A connection that an answer closes is made anew for the next request, whose time includes that.
//! `{N}` in HOST is one of 0..N for each request, drawn evenly: requests of many apps.
//!
//! Built with `rustc -O`, without dependencies; a thread for each connection.

use std::{
    env,
    error::Error,
    io::{ErrorKind, Read, Write},
    mem,
    net::TcpStream,
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

/// Microseconds of each request since they were last told.
type Times = Arc<Mutex<Vec<u32>>>;

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = env::args().skip(1).collect();
    let [address, host, path, rate, connections, seconds, interval @ ..] = args.as_slice() else {
        return Err("usage: pace ADDRESS HOST PATH RATE CONNECTIONS SECONDS [INTERVAL]".into());
    };
    let (rate, connections, seconds): (f64, u32, f64) = (rate.parse()?, connections.parse()?, seconds.parse()?);
    let interval: f64 = interval.first().map_or(Ok(seconds), |i| i.parse())?;
    let requests = Requests::of(host, path)?;
    let start = Instant::now() + Duration::from_millis(50);
    let end = start + Duration::from_secs_f64(seconds);
    let step = Duration::from_secs_f64(f64::from(connections) / rate);

    let mut all: Vec<Times> = Vec::new();
    for n in 0..connections {
        let (times, requests) = (Times::default(), requests.begun_at(n));
        let (stream, address) = (connect(address)?, address.clone());
        all.push(times.clone());
        let first = start + step * n / connections;
        thread::spawn(move || {
            if let Err(error) = send(&address, stream, requests, first, step, end, &times) {
                eprintln!("pace: connection {n}: {error}");
                std::process::exit(1);
            }
        });
    }
    let mut told = 1;
    loop {
        let next = start + Duration::from_secs_f64(interval * f64::from(told)).min(end - start);
        thread::sleep(next.saturating_duration_since(Instant::now()));
        tell(&all);
        if next >= end {
            return Ok(());
        }
        told += 1;
    }
}

/// What is sent, without end.
#[derive(Clone)]
struct Requests {
    before: String,
    after: String,
    apps: Option<u64>,
    seed: u64,
}

impl Requests {
    fn of(host: &str, path: &str) -> Result<Self, Box<dyn Error>> {
        let text = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        let Some((before, (apps, after))) = text.split_once('{').and_then(|(b, rest)| Some((b, rest.split_once('}')?)))
        else {
            return Ok(Self { before: text, after: String::new(), apps: None, seed: 0 });
        };
        Ok(Self { before: before.into(), after: after.into(), apps: Some(apps.parse()?), seed: 0 })
    }

    fn begun_at(&self, n: u32) -> Self {
        Self { seed: u64::from(n) + 1, ..self.clone() }
    }

    fn write_to(&mut self, request: &mut String) {
        request.clear();
        request.push_str(&self.before);
        if let Some(apps) = self.apps {
            // Xorshift: no more is asked of it than that it does not repeat soon.
            self.seed ^= self.seed << 13;
            self.seed ^= self.seed >> 7;
            self.seed ^= self.seed << 17;
            request.push_str(&(self.seed % apps).to_string());
        }
        request.push_str(&self.after);
    }
}

fn send(
    address: &str,
    mut stream: TcpStream,
    mut requests: Requests,
    first: Instant,
    step: Duration,
    end: Instant,
    times: &Mutex<Vec<u32>>,
) -> Result<(), Box<dyn Error>> {
    let mut due = first;
    let (mut buffer, mut request) = (vec![0; 64 << 10], String::new());
    let mut to_connect = false;
    while due < end {
        let early = due.saturating_duration_since(Instant::now());
        let from = if early.is_zero() {
            due
        } else {
            thread::sleep(early);
            Instant::now()
        };
        requests.write_to(&mut request);
        if to_connect {
            stream = connect(address)?;
        }
        stream.write_all(request.as_bytes())?;
        let closed = answer(&mut stream, &mut buffer)?;
        times.lock().expect("no holder panics").push(u32::try_from(from.elapsed().as_micros())?);
        due += step;
        to_connect = closed;
    }
    Ok(())
}

fn connect(address: &str) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    Ok(stream)
}

/// Reads one answer with a Content-Length; true when it is the connection's last. Anything but 200 is an error.
fn answer(stream: &mut TcpStream, buffer: &mut [u8]) -> Result<bool, Box<dyn Error>> {
    let mut have = 0;
    loop {
        let free = buffer.get_mut(have..).filter(|b| !b.is_empty()).ok_or("the head is too long")?;
        have += match stream.read(free) {
            Ok(0) => return Err("closed".into()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Err("no answer in 10 s".into()),
            read => read?,
        };
        let text = &buffer[..have];
        let Some(head) = text.windows(4).position(|w| w == b"\r\n\r\n") else { continue };
        let told = str::from_utf8(&text[..head])?.to_ascii_lowercase();
        if !told.starts_with("http/1.1 200") {
            return Err(told.into());
        }
        let length = told.split("content-length:").nth(1).and_then(|t| t.split("\r\n").next()).ok_or("no length")?;
        let mut left = (head + 4 + length.trim().parse::<usize>()?).saturating_sub(have);
        while left > 0 {
            let most = left.min(buffer.len());
            match stream.read(&mut buffer[..most])? {
                0 => return Err("cut short".into()),
                read => left -= read,
            }
        }
        return Ok(told.contains("\r\nconnection: close"));
    }
}

fn tell(all: &[Times]) {
    let mut times: Vec<u32> = all.iter().flat_map(|t| mem::take(&mut *t.lock().expect("no holder panics"))).collect();
    times.sort_unstable();
    let at = |share: f64| {
        let index = (times.len() as f64 * share) as usize;
        times.get(index.min(times.len().saturating_sub(1))).map_or(0.0, |us| f64::from(*us) / 1e3)
    };
    println!(
        r#"{{"requests":{},"p50":{},"p99":{},"p999":{},"most":{}}}"#,
        times.len(),
        at(0.5),
        at(0.99),
        at(0.999),
        at(1.0)
    );
}
