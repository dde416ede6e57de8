//! The server: one thread, one runtime, few connections, and a deadline on everything a client could hold.

use std::{
    convert::Infallible,
    future::pending,
    io,
    os::{
        fd::OwnedFd,
        unix::{fs::PermissionsExt, net::UnixListener as StdUnixListener},
    },
    path::Path,
    pin::pin,
    sync::Arc,
    thread::JoinHandle,
    time::{Duration, Instant},
};

use futures_util::FutureExt as _;
use http::{Request, Response, StatusCode};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, UnixListener},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{MissedTickBehavior, interval, sleep, timeout},
};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{
    Context, Pulse, access, actions,
    answer::{Answer, Body},
    archive,
    calls::Call,
    export::Export,
    gauges, health, import, lookup,
    patience::{self, Patience},
    query::Query,
    status, table, upstreams,
};
use crate::{
    config::ListenAddress,
    net::{listen::ListenSocket, reserve::Reserve},
    telemetry::metrics::Exposition,
};

/// Connections at once. Probes, a scraper and a few people need a handful; the next ones wait in the kernel's queue.
pub(super) const MAX_CONNECTIONS: usize = 64;
/// For a request's head, and for which an idle connection is kept.
const HEADER_TIMEOUT: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 10 });
/// For all that is read of a connection before it is a request; no call has a long head.
const HEADER_BYTES: usize = 16 << 10;
/// For one answer to be made: a body read, and the updater's save of a large table awaited.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// For the thread to stop accepting: it never does anything for long.
const WITHDRAW_TIMEOUT: Duration = Duration::from_secs(1);
/// From one look whether it has to the next.
const WITHDRAW_LOOK: Duration = Duration::from_millis(1);
/// After a failure to accept, so that a full descriptor table does not make the thread spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Histograms keep every sample until then. Source: 20 M samples without upkeep cost 318 MiB, measured.
const UPKEEP_EVERY: Duration = Duration::from_secs(5);
/// How often it shows that it makes progress: a fraction of what the watchdog waits for.
const BEAT_EVERY: Duration = Duration::from_secs(1);
/// Descriptors kept back for connections when there are none: of a probe, a scraper, a person, and for a file that is read.
const SPARES: usize = 4;

/// A bound admin socket.
#[derive(Debug)]
pub enum Socket {
    /// TCP.
    Tcp(std::net::TcpListener),
    /// A Unix socket, for its owner only.
    Unix(StdUnixListener),
}

/// The admin thread. It ends when this is dropped.
#[derive(Debug)]
pub struct Running {
    thread: JoinHandle<()>,
    accepting: Accepting,
    _stop: DropGuard,
}

impl Socket {
    /// Binds `address`. A Unix socket that nobody listens on any more is replaced.
    ///
    /// # Errors
    /// When it cannot be bound; another process that listens there is such a case.
    pub fn bind(address: &ListenAddress) -> io::Result<Self> {
        let socket = match address {
            ListenAddress::Tcp(address) => Self::Tcp(std::net::TcpListener::bind(address)?),
            ListenAddress::Unix(path) => Self::Unix(bind_unix(path)?),
        };
        match &socket {
            Self::Tcp(listener) => listener.set_nonblocking(true)?,
            Self::Unix(listener) => listener.set_nonblocking(true)?,
        }
        Ok(socket)
    }

    /// One that is bound and listens already.
    #[must_use]
    pub fn inherited(socket: ListenSocket) -> Self {
        match socket {
            ListenSocket::Tcp(listener) => Self::Tcp(listener),
            ListenSocket::Unix(listener) => Self::Unix(listener),
        }
    }

    /// Another descriptor of the same socket.
    ///
    /// # Errors
    /// When there is no descriptor left.
    pub fn duplicate(&self) -> io::Result<OwnedFd> {
        match self {
            Self::Tcp(listener) => listener.try_clone().map(Into::into),
            Self::Unix(listener) => listener.try_clone().map(Into::into),
        }
    }

    /// Where it is bound, with the real port where 0 was asked for.
    ///
    /// # Errors
    /// When the kernel does not say.
    pub fn address(&self) -> io::Result<String> {
        match self {
            Self::Tcp(listener) => listener.local_addr().map(|a| a.to_string()),
            Self::Unix(listener) => {
                let address = listener.local_addr()?;
                Ok(format!("unix:{}", address.as_pathname().unwrap_or(Path::new("")).display()))
            }
        }
    }
}

fn bind_unix(path: &Path) -> io::Result<StdUnixListener> {
    let stale = |error: &io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
    if std::os::unix::net::UnixStream::connect(path).as_ref().is_err_and(stale) {
        std::fs::remove_file(path)?;
    }
    let listener = StdUnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// The admin API's accepting, for another process to do instead.
#[derive(Clone, Debug, Default)]
pub struct Accepting {
    withdrawn: CancellationToken,
    closed: CancellationToken,
}

impl Accepting {
    /// Ends it: connections end with what is under way on them. Returns once that is so, or its thread did not come to it.
    pub fn withdraw(&self) {
        self.withdrawn.cancel();
        let deadline = Instant::now() + WITHDRAW_TIMEOUT;
        while !self.closed.is_cancelled() && Instant::now() < deadline {
            std::thread::sleep(WITHDRAW_LOOK);
        }
    }
}

impl Running {
    /// What ends its accepting.
    #[must_use]
    pub fn accepting(&self) -> Accepting {
        self.accepting.clone()
    }

    /// True once the thread is no more, which no caller has asked for.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.thread.is_finished()
    }
}

/// Serves the admin API on a thread of its own.
///
/// # Errors
/// When the thread or its runtime cannot be started.
pub fn start(socket: Socket, context: Context) -> io::Result<Running> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    let accepting = Accepting::default();
    let withdrawn = accepting.clone();
    let run = move || {
        runtime.block_on(async {
            tokio::select! {
                served = serve(socket, Arc::new(context), withdrawn) => log_end(&served),
                () = stopped.cancelled() => {}
            }
        });
    };
    let thread = std::thread::Builder::new().name("admin".into()).spawn(run)?;
    Ok(Running { thread, accepting, _stop: stop.drop_guard() })
}

fn log_end(served: &io::Result<Infallible>) {
    if let Err(error) = served {
        tracing::error!(%error, "the admin API cannot be served");
    }
}

async fn serve(socket: Socket, context: Arc<Context>, accepting: Accepting) -> io::Result<Infallible> {
    // Both end with the runtime, as every connection does.
    tokio::spawn(upkeep(context.metrics.clone()));
    tokio::spawn(beat(context.alive.pulse.clone()));
    match socket {
        Socket::Tcp(listener) => {
            let listener = TcpListener::from_std(listener)?;
            accept(async || Ok(listener.accept().await?.0), &context, &accepting.withdrawn).await?;
        }
        Socket::Unix(listener) => {
            let listener = UnixListener::from_std(listener)?;
            accept(async || Ok(listener.accept().await?.0), &context, &accepting.withdrawn).await?;
        }
    }
    accepting.closed.cancel();
    // The listening socket is closed; what is under way goes on until the process ends.
    pending().await
}

async fn upkeep(metrics: Exposition) {
    let mut ticks = interval(UPKEEP_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        metrics.run_upkeep();
    }
}

async fn beat(pulse: Pulse) {
    let mut ticks = interval(BEAT_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        pulse.beat();
    }
}

/// The next connection; for want of a descriptor, by one of the reserve.
async fn accept_or_lend<S>(next: impl AsyncFn() -> io::Result<S>, reserve: &Reserve) -> io::Result<S> {
    match next().await {
        // Or else it fails again, and is told.
        Err(_) => reserve.lend(|| next().now_or_never().unwrap_or(Err(io::ErrorKind::WouldBlock.into()))),
        accepted => accepted,
    }
}

async fn accept<S>(
    next: impl AsyncFn() -> io::Result<S>,
    context: &Arc<Context>,
    withdrawn: &CancellationToken,
) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let reserve = Arc::new(Reserve::new(SPARES));
    loop {
        // The wait is bounded: a connection gives its place back after CONNECTION_TIMEOUT at the latest.
        let next = async {
            let permit = Arc::clone(&permits).acquire_owned().await.map_err(io::Error::other);
            // ignored: it is tried again, and a connection may still be had.
            let _ = reserve.refill();
            (permit, accept_or_lend(&next, &reserve).await)
        };
        let Some((permit, next)) = withdrawn.run_until_cancelled(next).await else { return Ok(()) };
        let permit = permit?;
        match next {
            Ok(stream) => {
                let (context, reserve, withdrawn) = (Arc::clone(context), Arc::clone(&reserve), withdrawn.clone());
                tokio::spawn(async move {
                    connection(stream, context, permit, withdrawn).await;
                    // ignored: as above. Its descriptor is free now.
                    let _ = reserve.refill();
                });
            }
            // Without a descriptor accept(2) fails where nobody waits, too.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => {
                tracing::warn!(%error, "an admin connection could not be accepted");
                sleep(ACCEPT_PAUSE + Duration::from_millis(fastrand::u64(0..50))).await;
            }
        }
    }
}

async fn connection<S>(stream: S, context: Arc<Context>, _place: OwnedSemaphorePermit, withdrawn: CancellationToken)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let patience = Patience::new();
    let service = service_fn(|request| answer(Arc::clone(&context), request, patience.clone()));
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(HEADER_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    let mut served = pin!(served);
    let ended = async {
        tokio::select! {
            ended = served.as_mut() => return ended,
            () = withdrawn.cancelled() => served.as_mut().graceful_shutdown(),
        }
        served.await
    };
    tokio::select! {
        ended = ended => match ended {
            Ok(()) => {}
            Err(error) => tracing::debug!(%error, "an admin connection broke"),
        },
        () = patience.over() => tracing::debug!("an admin connection was open for too long"),
    }
}

async fn answer(
    context: Arc<Context>,
    request: Request<Incoming>,
    patience: Patience,
) -> Result<Response<Body>, Infallible> {
    // A table that comes as a body may take longer; each of its parts has a deadline.
    let long = Call::at(request.uri().path()).is_some_and(|call| call.receives_a_table());
    let limit = if long { patience::LONGEST } else { ANSWER_TIMEOUT };
    let made = timeout(limit, judged(&context, request, patience)).await;
    let late = |_| Answer::error(StatusCode::GATEWAY_TIMEOUT, "the answer took too long");
    Ok(made.unwrap_or_else(late).into_response())
}

async fn judged(context: &Context, request: Request<Incoming>, patience: Patience) -> Answer {
    let call = Call::at(request.uri().path());
    if let Err(refusal) = access::judge(&context.config.load().admin, call.as_ref(), &request) {
        return Answer::error(refusal.status(), &refusal.to_string());
    }
    let Some(call) = call else { return Answer::error(StatusCode::NOT_FOUND, "there is no such call") };
    if !call.takes(request.method()) {
        return Answer::wrong_method(call.allow());
    }
    match Query::parse(request.uri().query()) {
        Ok(_) if call == Call::Export => export(context, patience),
        Ok(_) if call == Call::Import => import::import(context, request.into_body(), &patience).await,
        Ok(query) => carry_out(context, call, &query, request).await,
        Err(error) => Answer::error(StatusCode::BAD_REQUEST, &format!("query: {error}")),
    }
}

fn export(context: &Context, patience: Patience) -> Answer {
    match Export::of(context.reader.load(), patience) {
        Some(table) => Answer::table(table),
        None => Answer::error(StatusCode::SERVICE_UNAVAILABLE, "there is no table yet"),
    }
}

async fn carry_out(context: &Context, call: Call, query: &Query, request: Request<Incoming>) -> Answer {
    let verbose = query.get("verbose").is_some();
    match call {
        Call::Livez => health::livez(context, verbose),
        Call::Readyz => health::readyz(context, verbose),
        Call::Healthz => health::healthz(context, verbose),
        Call::Metrics => gauges::metrics(context),
        Call::Status => Answer::json(&status::status(context)),
        Call::Table => table::page(context, query),
        Call::App(id) => table::app(context, &id),
        Call::Lookup => lookup::answer(context, query),
        Call::Held => Answer::json(&table::held(&context.updates.report())),
        Call::Upstreams => upstreams::page(context, query),
        Call::History => archive::history(context).await,
        Call::Diff => archive::diff(context, query).await,
        Call::Rollback => archive::rollback(context, request.into_body()).await,
        Call::Unpin => actions::unpin(context).await,
        Call::Export | Call::Import => Answer::error(StatusCode::NOT_FOUND, "there is no such call"),
        Call::Approve => actions::approve(context, request.into_body()).await,
        Call::Drain => actions::drain(context),
        Call::Log => actions::log(context, request.into_body()).await,
    }
}
