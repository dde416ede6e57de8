//! More load than memory: a gateway in a control group whose limit a load would pass.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use holdgate_tests::{cgroup::MemoryGroup, gateway::Gateway, http, orchestrator::Orchestrator, server::Server, wait};

use crate::host;

/// What the gateway may use. It has some 20 MB without a connection.
const LIMIT: u64 = 80 << 20;
/// Connections that are opened in all, each for an answer that it does not read: 300 kB of buffers each.
const CONNECTIONS: usize = 1500;
/// An answer's body: more than all buffers on its way.
const BODY: usize = 16 << 20;
/// How long a client waits to see whether it is refused.
const LOOK: Duration = Duration::from_millis(500);

/// An app whose answers are large but for `/small`.
fn app() -> Server {
    let body = vec![b'x'; BODY];
    Server::start(SocketAddr::from(([127, 0, 0, 1], 0)), move |request, stream| {
        let body = if request.target == "/small" { &b"ok"[..] } else { &body };
        stream.write_all(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).as_bytes())?;
        stream.write_all(body)
    })
}

/// Clients that ask for large answers and do not read them.
#[derive(Default)]
struct Load {
    open: Vec<TcpStream>,
    refused: usize,
    broken: usize,
}

impl Load {
    /// One more client. It reads no more than the first line of its answer.
    fn add(&mut self, web: SocketAddr) {
        match ask(web) {
            Ok((stream, line)) if line.starts_with(b"HTTP/1.1 200") => self.open.push(stream),
            Ok((_, line)) if line.starts_with(b"HTTP/1.1 503") => self.refused += 1,
            _ => self.broken += 1,
        }
    }
}

fn ask(web: SocketAddr) -> io::Result<(TcpStream, [u8; 12])> {
    let mut stream = TcpStream::connect_timeout(&web, LOOK)?;
    stream.set_read_timeout(Some(LOOK))?;
    stream.write_all(format!("GET /large HTTP/1.1\r\nHost: {}\r\n\r\n", host(0)).as_bytes())?;
    let mut line = [0; 12];
    stream.read_exact(&mut line)?;
    Ok((stream, line))
}

/// A gateway in a group of its own; `None` where there can be none, which is said.
fn limited(name: &str, url: &str, more: &str) -> Option<(MemoryGroup, Gateway)> {
    let group = match MemoryGroup::new(name, LIMIT) {
        Ok(group) => group,
        Err(why) => {
            eprintln!("skipped: no memory limit can be set here: {why}");
            return None;
        }
    };
    let mut gateway = Gateway::configured(url, &format!("[gateway]\nworkers = 2\n{more}"));
    gateway.wrapper = group.wrapper();
    gateway.start_ready();
    Some((group, gateway))
}

fn small(gateway: &Gateway) -> Option<u16> {
    http::get(gateway.web, &host(0), "/small").ok().map(|answer| answer.status)
}

#[test]
fn a_load_that_would_pass_the_memory_limit_is_shed_and_served_again_after_it() {
    let app = app();
    let document = format!(r#"{{"hosts":["{}"],"endpoints":["{}"]}}"#, host(0), app.address());
    let orchestrator = Orchestrator::start([("app".to_owned(), document)]);
    let Some((group, gateway)) = limited("shed", &orchestrator.url(), "") else { return };
    let status = gateway.status();
    assert_eq!(status["memory"]["limit_bytes"], LIMIT, "{status:#}");
    assert_eq!((small(&gateway), status["memory"]["pressure"].as_str()), (Some(200), Some("none")));

    let mut load = Load::default();
    for _ in 0..CONNECTIONS {
        load.add(gateway.web);
    }
    let during = gateway.status();
    assert_eq!(gateway.ask("/livez").expect("the admin API answers").status, 200);
    eprintln!(
        "{} served, {} refused, {} broken; peak {} of {} MiB, at the limit {} times; {}",
        load.open.len(),
        load.refused,
        load.broken,
        group.peak() >> 20,
        LIMIT >> 20,
        group.met(),
        during["memory"]
    );
    assert!(load.refused > 0, "{during:#}");
    assert_eq!((load.broken, group.kills()), (0, 0));

    drop(load);
    let ended = Instant::now();
    wait::until("requests to be served again", || (small(&gateway) == Some(200)).then_some(()));
    wait::until("readiness", || (gateway.ask("/readyz").ok()?.status == 200).then_some(()));
    let after = ended.elapsed();
    eprintln!("served again after {} ms", after.as_millis());
    assert!(after < Duration::from_secs(5), "{after:?}");
    gateway.until_status("no pressure", |status| status["memory"]["pressure"] == "none");
    assert_eq!(group.kills(), 0);
}

/// That the load of the other test is one that kills.
#[test]
fn the_same_load_passes_the_limit_where_nothing_is_shed() {
    let app = app();
    let document = format!(r#"{{"hosts":["{}"],"endpoints":["{}"]}}"#, host(0), app.address());
    let orchestrator = Orchestrator::start([("app".to_owned(), document)]);
    let Some((group, gateway)) = limited("unshed", &orchestrator.url(), "[overload]\nenabled = false\n") else {
        return;
    };
    let mut load = Load::default();
    for _ in 0..CONNECTIONS {
        load.add(gateway.web);
        if group.kills() > 0 {
            break;
        }
    }
    let (kills, met) = (group.kills(), group.met());
    eprintln!("{} served, {} broken; killed {kills} times, at the limit {met} times", load.open.len(), load.broken);
    assert!(kills > 0 || met > 0, "the limit was never met");
    assert_eq!(load.refused, 0);
}
