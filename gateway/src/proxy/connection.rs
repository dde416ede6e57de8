//! One client connection: hyper over the guarded socket while there is something to do, the end it comes to, and the
//! answers hyper cannot give.

use std::{
    cell::Cell,
    future::{Future as _, poll_fn},
    net::IpAddr,
    pin::Pin,
    rc::Rc,
    task::{Poll, Waker},
    time::{Duration, Instant},
};

use http::StatusCode;
use hyper::{server::conn::http1::Builder, service::service_fn};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

use super::{
    adapter, answer,
    connections::Permit,
    context::{Listener, Worker},
    downstream::{Answering, Downstream},
    failure::{Cause, Failure, Stage},
    forwarded::Peer,
    framing::{FramingLimits, Violation},
    guarded_io::{FramingVerdict, GuardedIo},
    metrics,
    pace::Rate,
    parking::{self, Place},
    roster::Seat,
    settings::Settings,
};
use crate::net::{buffers, stream::Stream, timer::CoarseTimer};

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
    pub(crate) seat: Rc<Seat>,
    /// A request is being answered: nothing else may be written.
    answering: Answering,
    unread: Cell<bool>,
    /// The end of the answer is the end of the connection.
    delimits: Cell<bool>,
}

impl Connection {
    fn new(permit: Permit, address: Option<IpAddr>, waker: Waker) -> Rc<Self> {
        let trusted = permit.worker().settings().trusts(&permit.listener().name, address);
        Rc::new(Self {
            peer: Peer::new(address, trusted),
            seat: permit.worker().roster.enter(waker, Instant::now()),
            permit,
            verdict: FramingVerdict::new(),
            answering: Answering::default(),
            unread: Cell::new(false),
            delimits: Cell::new(false),
        })
    }

    /// The worker that has it.
    pub(crate) fn worker(&self) -> &Rc<Worker> {
        self.permit.worker()
    }

    /// The listener it came by.
    pub(crate) fn listener(&self) -> &Rc<Listener> {
        self.permit.listener()
    }

    /// True for a probe of this process's own.
    pub(crate) fn is_probe(&self) -> bool {
        self.permit.is_probe()
    }

    /// Notes that it was answered before its request was read to the end.
    pub(crate) fn leaves_unread(&self) {
        self.unread.set(true);
    }

    /// Notes that its end will be the end of the answer, for which it is the only sign.
    pub(crate) fn ends_the_answer(&self) {
        self.delimits.set(true);
    }

    /// Notes that a request is being answered, or that its answer is complete.
    pub(crate) fn answers(&self, answering: bool) {
        self.answering.set(answering);
        self.verdict.stirs();
        self.seat.answers(answering);
    }

    /// True once it was given up because its client takes too little of an answer.
    pub(crate) fn is_slow(&self) -> bool {
        self.answering.is_slow()
    }

    /// True when nothing is under way and its buffers are wanted back.
    fn is_to_park(&self) -> bool {
        let rests = || self.verdict.at_rest() && !self.answering.get() && !self.unread.get();
        self.worker().roster.wants_parked(&self.seat) && rests()
    }

    /// What follows on it is not HTTP.
    pub(crate) fn pass_through(&self) {
        self.verdict.pass_through();
    }

    /// Says what hyper could not, and lets the client read it.
    async fn finish(&self, ended: hyper::Result<()>, io: Downstream) {
        let failure = self.last_words(&ended, &io);
        let mut stream = io.into_stream();
        if self.is_slow() {
            // What the kernel still has of the answer goes as well.
            metrics::slow_client("response");
            return stream.reset();
        }
        if self.delimits.get() && ended.as_ref().is_err_and(hyper::Error::is_user) {
            // The answer broke off, and an orderly end would say that it is complete (RFC 9112, 8).
            return stream.reset();
        }
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
            metrics::slow_client("request_head");
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

/// Serves a connection until it ends. It holds buffers only while something is under way, and a little after.
pub(crate) async fn serve(permit: Permit, mut stream: Stream, address: Option<IpAddr>) {
    let connection = Connection::new(permit, address, parking::own_waker().await);
    let place = Place::of(&connection);
    while place.rest(&stream).await {
        place.warm();
        // In a box, so that the task of a parked connection is small.
        match Box::pin(serve_awhile(&connection, stream)).await {
            Some(idle) => stream = idle,
            None => return,
        }
        place.park();
    }
    parking::close(stream).await;
}

/// Serves what comes until the connection is idle, and then gives its socket back; `None` when it has ended.
async fn serve_awhile(connection: &Rc<Connection>, stream: Stream) -> Option<Stream> {
    let settings = connection.worker().settings();
    let limits = FramingLimits { header_bytes: settings.limits.header_bytes };
    let io = GuardedIo::telling(stream, limits, connection.verdict.clone());
    let rate = Rate::new(settings.limits.min_response_bytes_per_second, settings.limits.min_rate_window);
    let io = Downstream::new(io, rate, connection.answering.clone());
    let own = Rc::clone(connection);
    let service = service_fn(move |request| {
        // hyper looks for the client's end before it polls what is returned here.
        own.answers(true);
        adapter::serve(Rc::clone(&own), request)
    });
    let mut hyper = builder(&settings).serve_connection(io, service).with_upgrades();
    drop(settings);
    let ended = poll_fn(|cx| match Pin::new(&mut hyper).poll(cx) {
        Poll::Ready(ended) => Poll::Ready(Some(ended)),
        Poll::Pending if connection.is_to_park() => Poll::Ready(None),
        Poll::Pending => Poll::Pending,
    });
    let ended = ended.await;
    // A connection that was upgraded has left hyper, and its tunnel has it.
    let parts = hyper.into_parts()?;
    let Some(ended) = ended else {
        // An empty line may be there: it means nothing.
        debug_assert!(parts.read_buf.iter().all(|byte| b"\r\n".contains(byte)), "hyper held a request back");
        return Some(parts.io.into_stream());
    };
    // In a box: seldom, and large.
    Box::pin(connection.finish(ended, parts.io)).await;
    None
}

/// hyper's settings.
///
/// The end of a client's side ends its connection at once; [`Downstream`] keeps that end from hyper while a client that
/// has only half closed may wait for its answer. Flushes are not put off for pipelined requests: hyper would then hold an
/// answer back until the next request is complete, and buffer it without bound.
fn builder(settings: &Settings) -> Builder {
    let mut builder = Builder::new();
    builder
        .keep_alive(true)
        .half_close(false)
        .pipeline_flush(false)
        .timer(CoarseTimer)
        .header_read_timeout(settings.limits.header_timeout)
        .max_buf_size(buffers::client(settings.limits.header_bytes));
    builder
}
