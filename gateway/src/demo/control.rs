//! `POST /demo/restart-gateway` and `POST /demo/restore-apps`: what the things to try need beside curl and rm.

use std::{convert::Infallible, io, net::SocketAddr, time::Duration};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use tokio::{
    net::TcpListener,
    sync::{mpsc, oneshot},
    time::{sleep, timeout},
};

use hyper_util::rt::{TokioIo, TokioTimer};

/// For a request's head.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// For a whole connection; longer than a restart may take.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(60);
/// After a failure to accept.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What the demo can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// Kill the gateway and start it again.
    RestartGateway,
    /// Write the apps' documents anew.
    RestoreApps,
}

/// Where the outcome goes.
pub(super) type Reply = oneshot::Sender<anyhow::Result<String>>;

/// Serves until the runtime ends, one connection after the other: a person with curl is the only client.
pub(super) async fn start(address: SocketAddr, orders: mpsc::Sender<(Order, Reply)>) -> io::Result<()> {
    let listener = TcpListener::bind(address).await?;
    tokio::spawn(serve(listener, orders));
    Ok(())
}

async fn serve(listener: TcpListener, orders: mpsc::Sender<(Order, Reply)>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let service = service_fn(|request| respond(orders.clone(), request));
        let mut server = http1::Builder::new();
        server.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT).keep_alive(false);
        // ignored: a connection that breaks or takes too long is the client's business
        let _ = timeout(CONNECTION_TIMEOUT, server.serve_connection(TokioIo::new(stream), service)).await;
    }
}

async fn respond(
    orders: mpsc::Sender<(Order, Reply)>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let order = match (request.method(), request.uri().path()) {
        (&Method::POST, "/demo/restart-gateway") => Order::RestartGateway,
        (&Method::POST, "/demo/restore-apps") => Order::RestoreApps,
        _ => return Ok(answer(StatusCode::NOT_FOUND, "POST /demo/restart-gateway or /demo/restore-apps\n".to_owned())),
    };
    let (reply, outcome) = oneshot::channel();
    if orders.send((order, reply)).await.is_err() {
        return Ok(answer(StatusCode::SERVICE_UNAVAILABLE, "the demo ends\n".to_owned()));
    }
    Ok(match outcome.await {
        Ok(Ok(text)) => answer(StatusCode::OK, text),
        Ok(Err(error)) => answer(StatusCode::INTERNAL_SERVER_ERROR, format!("{error:#}\n")),
        Err(_) => answer(StatusCode::SERVICE_UNAVAILABLE, "the demo ends\n".to_owned()),
    })
}

fn answer(status: StatusCode, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(text.into()));
    *response.status_mut() = status;
    response
}
