//! A reverse proxy on Pingora with one route: `pingora-peer LISTEN UPSTREAM THREADS ACCESS_LOG|off`.

use std::{
    env,
    fs::File,
    io::{LineWriter, Write},
    sync::{Mutex, PoisonError},
};

use async_trait::async_trait;
use pingora::{
    Error, Result,
    http::RequestHeader,
    prelude::http_proxy_service,
    proxy::{ProxyHttp, Session},
    server::{Server, configuration::ServerConf},
    upstreams::peer::HttpPeer,
};

struct Peer {
    upstream: String,
    access: Option<Mutex<LineWriter<File>>>,
}

#[async_trait]
impl ProxyHttp for Peer {
    type CTX = ();

    fn new_ctx(&self) {}

    async fn upstream_peer(&self, _: &mut Session, _: &mut ()) -> Result<Box<HttpPeer>> {
        Ok(Box::new(HttpPeer::new(&self.upstream, false, String::new())))
    }

    async fn upstream_request_filter(&self, session: &mut Session, head: &mut RequestHeader, _: &mut ()) -> Result<()> {
        let client = session.client_addr().and_then(|a| a.as_inet()).map(|a| a.ip().to_string());
        head.append_header("X-Forwarded-For", client.unwrap_or_default())?;
        Ok(())
    }

    async fn logging(&self, session: &mut Session, error: Option<&Error>, _: &mut ()) {
        let Some(access) = &self.access else { return };
        let status = session.response_written().map_or(0, |head| head.status.as_u16());
        let (summary, bytes) = (session.request_summary(), session.body_bytes_sent());
        let mut log = access.lock().unwrap_or_else(PoisonError::into_inner);
        // ignored: a line that cannot be written is no reason to fail a request.
        let _ = writeln!(log, "{:?} {summary} {status} {bytes} {error:?}", session.client_addr());
    }
}

fn main() -> std::io::Result<()> {
    let usage = "usage: pingora-peer LISTEN UPSTREAM THREADS ACCESS_LOG|off";
    let [_, listen, upstream, threads, access]: [String; 5] =
        env::args().collect::<Vec<_>>().try_into().unwrap_or_else(|_| panic!("{usage}"));
    let access = if access == "off" { None } else { Some(Mutex::new(LineWriter::new(File::create(access)?))) };
    let conf = ServerConf {
        threads: threads.parse().expect(usage),
        upstream_keepalive_pool_size: 256,
        // Asked to end, it does; by default it waits five minutes.
        grace_period_seconds: Some(0),
        graceful_shutdown_timeout_seconds: Some(0),
        ..ServerConf::default()
    };
    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();
    let mut service = http_proxy_service(&server.configuration, Peer { upstream, access });
    service.add_tcp(&listen);
    server.add_service(service);
    server.run_forever();
}
