//! The two apps: `hello` says which of its two instances answers, `echo` shows the request as it came.

use std::{
    convert::Infallible,
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, header};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use tokio::{net::TcpListener, sync::Semaphore, time::sleep};

use hyper_util::rt::{TokioIo, TokioTimer};

/// Connections of one app at once.
const MAX_CONNECTIONS: usize = 256;
/// For a request's head; longer than the gateway keeps a connection idle.
const HEADER_TIMEOUT: Duration = Duration::from_secs(120);
/// After a failure to accept.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

type Answer = dyn Fn(&Request<Incoming>) -> String + Send + Sync;

/// The addresses of the apps, which run until the runtime ends.
#[derive(Debug)]
pub(super) struct Apps {
    /// The instances of `hello`.
    pub(super) hello: [SocketAddr; 2],
    /// The one of `echo`.
    pub(super) echo: SocketAddr,
}

impl Apps {
    /// Starts all on ports picked free.
    pub(super) async fn start() -> io::Result<Self> {
        Ok(Self {
            hello: [start(hello("hello-1")).await?, start(hello("hello-2")).await?],
            echo: start(Arc::new(echo)).await?,
        })
    }
}

fn hello(instance: &'static str) -> Arc<Answer> {
    Arc::new(move |_| format!("hello from {instance}\n"))
}

fn echo(request: &Request<Incoming>) -> String {
    let mut text = format!("{} {} {:?}\n", request.method(), request.uri(), request.version());
    for (name, value) in request.headers() {
        text.push_str(&format!("{name}: {}\n", String::from_utf8_lossy(value.as_bytes())));
    }
    text
}

async fn start(answer: Arc<Answer>) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    tokio::spawn(serve(listener, answer)); // it ends with the runtime
    Ok(address)
}

async fn serve(listener: TcpListener, answer: Arc<Answer>) {
    let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    while let Ok(permit) = Arc::clone(&permits).acquire_owned().await {
        let Ok((stream, _)) = listener.accept().await else {
            sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let answer = Arc::clone(&answer);
        tokio::spawn(async move {
            let service = service_fn(|request| respond(Arc::clone(&answer), request));
            let mut server = http1::Builder::new();
            server.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
            // ignored: a connection that breaks is the client's business
            let _ = server.serve_connection(TokioIo::new(stream), service).await;
            drop(permit);
        });
    }
}

async fn respond(answer: Arc<Answer>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let mut response = Response::new(Full::new(answer(&request).into()));
    let text = header::HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, text);
    Ok(response)
}
