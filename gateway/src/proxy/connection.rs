//! One client connection: hyper over the guarded socket, the end it comes to, and the answers hyper cannot give.

use std::{cell::Cell, net::IpAddr, rc::Rc, time::Duration};

use http::StatusCode;
use hyper::{server::conn::http1::Builder, service::service_fn};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

use super::{
    answer,
    connections::Permit,
    context::{Listener, Phase, Worker},
    downstream::Downstream,
    failure::{Cause, Failure, Stage},
    forwarded::Peer,
    framing::{FramingLimits, Violation},
    guarded_io::{FramingVerdict, GuardedIo},
    metrics, service,
    settings::{IDLE_TIMEOUT, Settings},
};
use crate::net::{stream::Stream, timer::CoarseTimer};

/// Room in hyper's read buffer beyond the head's own limit, so that the framing guard finds a head too large before
/// hyper does, which would answer in its own words.
const BUFFER_SLACK: usize = 16 << 10;
/// How long a connection that was answered before it was read to its end is read on (RFC 9112, 9.6): closing it at once
/// would reset it, and the reset may overtake the answer.
const LINGER: Duration = Duration::from_secs(2);
/// How much is read on; a client that sends more has had its chance to look up.
const LINGER_BYTES: usize = 1 << 20;

/// What the requests of one connection share.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) peer: Peer,
    permit: Permit,
    verdict: FramingVerdict,
    /// A request is being answered: nothing else may be written.
    answering: Cell<bool>,
    unread: Cell<bool>,
}

impl Connection {
    /// The worker that has it.
    pub(crate) fn worker(&self) -> &Rc<Worker> {
        self.permit.worker()
    }

    /// The listener it came by.
    pub(crate) fn listener(&self) -> &Rc<Listener> {
        self.permit.listener()
    }

    /// Notes that it was answered before its request was read to the end.
    pub(crate) fn leaves_unread(&self) {
        self.unread.set(true);
    }

    /// Notes that a request is being answered, or that its answer is complete.
    pub(crate) fn answers(&self, answering: bool) {
        self.answering.set(answering);
    }

    /// What follows on it is not HTTP.
    pub(crate) fn pass_through(&self) {
        self.verdict.pass_through();
    }

    /// Says what hyper could not, and lets the client read it.
    async fn finish(&self, ended: hyper::Result<()>, io: Downstream) {
        let failure = self.last_words(&ended, &io);
        let mut stream = io.into_stream();
        if let Some(failure) = &failure {
            self.count(failure);
            // ignored: a client that does not take the answer is gone, or will be cut.
            let _ = timeout(LINGER, stream.write_all(&answer::raw(failure))).await;
        }
        if failure.is_some() || self.unread.get() || ended.is_err_and(|error| error.is_parse()) {
            linger(stream).await;
        }
    }

    /// The answer still owed to the client when hyper gave up before a request was one.
    fn last_words(&self, ended: &hyper::Result<()>, io: &Downstream) -> Option<Failure> {
        // A violation in a body is answered by the request that has the body, once.
        if self.answering.get() || self.unread.get() {
            return None;
        }
        if let Some(violation) = self.verdict.violation() {
            metrics::refused(violation.as_str());
            return Some(refusal(violation));
        }
        let error = ended.as_ref().err()?;
        if error.is_timeout() && !io.is_between_messages() {
            metrics::refused("head_timeout");
            return Some(Failure::new(Stage::Read, Cause::HeadTimeout));
        }
        if error.is_parse() {
            // The guard let pass what hyper does not take: hyper has answered it in its own words.
            metrics::refused("unparsable");
        }
        None
    }

    fn count(&self, failure: &Failure) {
        let row = failure.cause.row();
        metrics::own_answer(row.error);
        self.listener().metrics.request(row.status.as_u16());
        tracing::debug!(client = ?self.peer.address, status = row.status.as_u16(), why = failure.words(), "refused");
    }
}

fn refusal(violation: Violation) -> Failure {
    let cause = match violation.status() {
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => Cause::HeadTooLarge,
        StatusCode::URI_TOO_LONG => Cause::TargetTooLong,
        StatusCode::HTTP_VERSION_NOT_SUPPORTED => Cause::VersionRefused,
        _ => Cause::BadRequest,
    };
    Failure::new(Stage::Read, cause).because(violation.to_string())
}

/// Ends our side, and reads on for a while before the socket is closed.
async fn linger(mut stream: Stream) {
    let read_on = async {
        stream.shutdown().await?;
        let mut buffer = [0; 4096];
        let mut total = 0;
        while total < LINGER_BYTES {
            match stream.read(&mut buffer).await? {
                0 => break,
                read => total += read,
            }
        }
        std::io::Result::Ok(())
    };
    // ignored: whichever way it ends, the socket is closed now.
    let _ = timeout(LINGER, read_on).await;
}

/// Serves a connection until it ends.
pub(crate) async fn serve(permit: Permit, stream: Stream, address: Option<IpAddr>) {
    let settings = permit.worker().settings();
    let trusted = settings.trusts(&permit.listener().name, address);
    let (io, verdict) = GuardedIo::new(stream, FramingLimits { header_bytes: settings.limits.header_bytes });
    let peer = Peer::new(address, trusted);
    let connection =
        Rc::new(Connection { peer, permit, verdict, answering: Cell::new(false), unread: Cell::new(false) });
    let own = Rc::clone(&connection);
    let service = service_fn(move |request| service::serve(Rc::clone(&own), request));
    let io = Downstream::new(io, IDLE_TIMEOUT);
    let mut hyper = builder(&settings).serve_connection(io, service).with_upgrades();
    drop(settings);
    let ended = tokio::select! {
        biased;
        ended = &mut hyper => ended,
        () = closing(connection.worker()) => {
            std::pin::Pin::new(&mut hyper).graceful_shutdown();
            (&mut hyper).await
        }
    };
    // A connection that was upgraded has left hyper, and its tunnel has it.
    if let Some(parts) = hyper.into_parts() {
        connection.finish(ended, parts.io).await;
    }
}

/// Returns once idle connections are to be closed.
async fn closing(worker: &Worker) {
    // ignored: an error means that the worker is gone, and this task with it.
    let _ = worker.phase.subscribe().wait_for(|phase| *phase >= Phase::Closing).await;
}

/// hyper's settings.
///
/// Half-closed clients are not served on: their FIN looks like that of a client that has gone, and noticing that one
/// frees the upstream. Flushes are not put off for pipelined requests: hyper would then hold an answer back until the
/// next request is complete, and buffer it without bound.
fn builder(settings: &Settings) -> Builder {
    let mut builder = Builder::new();
    builder
        .keep_alive(true)
        .half_close(false)
        .pipeline_flush(false)
        .timer(CoarseTimer)
        .header_read_timeout(settings.limits.header_timeout)
        .max_buf_size(settings.limits.header_bytes.max(BUFFER_SLACK) + BUFFER_SLACK);
    builder
}
