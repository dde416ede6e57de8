//! Connections: accepted, bounded in number and time, cut at the end.

use std::{convert::Infallible, net::TcpListener as StdListener, sync::Arc, time::Duration};

use hyper::{server::conn::http1, service::service_fn};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{calls::Calls, desk::Desk};
use hyper_util::rt::{TokioIo, TokioTimer};

/// Connections at once: a gateway has three. The next ones wait in the kernel's queue.
const MAX_CONNECTIONS: usize = 1000;
/// For a request's head, and for which an idle connection is kept.
const HEADER_TIMEOUT: Duration = Duration::from_secs(60);
/// For a whole connection: one that a dead peer holds is given back.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(3600);
/// After a failure to accept, so that a full descriptor table does not make the thread spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Answers calls until `stop`.
pub(super) async fn run(listener: StdListener, desk: Arc<Desk>, control: bool, stop: CancellationToken) {
    let listener = match TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "the small orchestrator cannot listen"),
    };
    let calls = Arc::new(Calls { desk, control });
    let (permits, connections) = (Arc::new(Semaphore::new(MAX_CONNECTIONS)), TaskTracker::new());
    while let Some((stream, permit)) = stop.run_until_cancelled(accept(&listener, &permits)).await {
        let (calls, stop) = (Arc::clone(&calls), stop.clone());
        connections.spawn(async move {
            stop.run_until_cancelled(timeout(CONNECTION_TIMEOUT, connection(stream, calls))).await;
            drop(permit);
        });
    }
    drop(listener);
    connections.close();
    connections.wait().await;
}

async fn accept(listener: &TcpListener, permits: &Arc<Semaphore>) -> (TcpStream, OwnedSemaphorePermit) {
    loop {
        let Ok(permit) = Arc::clone(permits).acquire_owned().await else { return std::future::pending().await };
        match listener.accept().await {
            Ok((stream, _)) => return (stream, permit),
            Err(error) => {
                tracing::warn!(%error, "the small orchestrator cannot accept");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, calls: Arc<Calls>) {
    // ignored: a peer that is gone already is found out by the first read
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| {
        let calls = Arc::clone(&calls);
        async move { Ok::<_, Infallible>(calls.answer(request).await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "a connection of the small orchestrator broke");
    }
}
