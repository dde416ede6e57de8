//! One client connection: what comes over it in turn, and the end it comes to.

use std::{
    cell::Cell,
    future::{Future as _, poll_fn},
    net::IpAddr,
    pin::pin,
    rc::Rc,
    task::{Poll, Waker},
    time::{Duration, Instant},
};

use http::{Method, StatusCode, Version};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

use super::{
    answer,
    connections::Permit,
    context::{Listener, Worker},
    failure::{Cause, Failure, Stage},
    forwarded::Peer,
    framing::{FramingLimits, Violation},
    hop,
    http1::{Came, Sent, Shared, Terms, Wire},
    metrics,
    pace::Rate,
    parking::{self, Place},
    roster::Seat,
    service::{self, Reply},
    tunnel::Tunnel,
};
use crate::{
    message::{RequestHead, names},
    net::{stream::Stream, wheel::Alarm},
};

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
    pub(crate) seat: Rc<Seat>,
    /// Its client takes too little of an answer, and it is given up for that.
    slow: Cell<bool>,
}

/// What a connection has come to.
#[derive(Debug)]
enum End {
    /// Nothing is under way on it, and its buffers are wanted back.
    Idle,
    /// The client has ended it, or it is to be closed without a word.
    Closed,
    /// Answered for the last time, and the client may still be sending.
    Unread,
    /// This is still to be answered, by the gateway alone.
    Refused(Failure),
    /// What the kernel has of an answer goes as well.
    Reset,
    /// It has left HTTP.
    Switched(Box<Tunnel>),
}

impl Connection {
    fn new(permit: Permit, address: Option<IpAddr>, waker: Waker) -> Rc<Self> {
        let trusted = permit.worker().settings().trusts(&permit.listener().name, address);
        Rc::new(Self {
            peer: Peer::new(address, trusted),
            seat: permit.worker().roster.enter(waker, Instant::now()),
            permit,
            slow: Cell::new(false),
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

    /// Notes that a request is being answered, or that its answer is complete.
    pub(crate) fn answers(&self, answering: bool) {
        self.seat.answers(answering);
    }

    /// True once it was given up because its client takes too little of an answer.
    pub(crate) fn is_slow(&self) -> bool {
        self.slow.get()
    }

    /// Answers what was no request.
    fn refuse(&self, failure: &Failure) -> Vec<u8> {
        let row = failure.cause.row();
        metrics::own_answer(row.error);
        self.listener().metrics.request(row.status.as_u16());
        tracing::debug!(client = ?self.peer.address, status = row.status.as_u16(), why = failure.words(), "refused");
        answer::raw(failure)
    }
}

fn refusal(violation: Violation) -> Failure {
    metrics::refused(violation.as_str());
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
    let rate = Rate::new(settings.limits.min_response_bytes_per_second, settings.limits.min_rate_window);
    drop(settings);
    let wire = Wire::over(stream, limits, rate, Rc::clone(connection.worker().pool.spare()));
    let mut head = RequestHead::default();
    let end = loop {
        if let Some(end) = next_request(connection, &wire, &mut head).await {
            break end;
        }
        if let Some(end) = answer_request(connection, &wire, &mut head).await {
            break end;
        }
    };
    let taken = wire.borrow_mut().take_stream();
    drop(wire);
    let (mut stream, read) = taken?;
    match end {
        End::Idle => {
            // An empty line may be there: it means nothing.
            debug_assert!(read.is_empty(), "a request is held back");
            return Some(stream);
        }
        End::Closed => parking::close(stream).await,
        // In a box: seldom, and larger than all the rest.
        End::Unread => Box::pin(linger(stream)).await,
        End::Refused(failure) => {
            tell(&mut stream, &connection.refuse(&failure)).await;
            Box::pin(linger(stream)).await;
        }
        End::Reset => stream.reset(),
        End::Switched(tunnel) => tunnel.start(connection, (stream, read)),
    }
    None
}

/// Waits for the head of the next request; what the connection has come to where there is none.
async fn next_request(connection: &Connection, wire: &Shared, head: &mut RequestHead) -> Option<End> {
    let mut patience = None;
    let came = poll_fn(|cx| {
        let mut wire = wire.borrow_mut();
        if let Poll::Ready(came) = wire.poll_head(cx, head) {
            return Poll::Ready(Ok(came));
        }
        if !wire.is_at_rest() {
            let limit = || Alarm::after(connection.worker().settings().limits.header_timeout);
            return patience.get_or_insert_with(limit).poll(cx).map(|()| Err(late(&wire)));
        }
        let parks = connection.worker().roster.wants_parked(&connection.seat);
        if parks { Poll::Ready(Err(End::Idle)) } else { Poll::Pending }
    });
    match came.await {
        Ok(Came::Request) => None,
        Ok(Came::End | Came::Cut) => Some(End::Closed),
        Ok(Came::Refused(violation)) => Some(End::Refused(refusal(violation))),
        Err(end) => Some(end),
    }
}

/// The end of a connection of which nothing, or too little, has come for too long.
fn late(wire: &Wire) -> End {
    if wire.is_between_requests() {
        return End::Closed;
    }
    metrics::refused("head_timeout");
    metrics::slow_client("request_head");
    End::Refused(Failure::new(Stage::Read, Cause::HeadTimeout))
}

/// Answers the request of which `head` was read; what the connection has come to where no other may follow.
async fn answer_request(connection: &Rc<Connection>, wire: &Shared, head: &mut RequestHead) -> Option<End> {
    connection.answers(true);
    let terms = terms(head);
    let served = {
        let mut service = pin!(service::serve(connection, wire, head));
        poll_fn(|cx| {
            if let Poll::Ready(reply) = service.as_mut().poll(cx) {
                return Poll::Ready(Some(reply));
            }
            let mut wire = wire.borrow_mut();
            wire.poll_early(cx);
            wire.poll_gone(cx).map(|()| None)
        })
        .await
    };
    match served {
        Some(reply) => send(connection, wire, reply, terms).await,
        None => Some(End::Closed),
    }
}

/// Sends an answer; what the connection has come to where no request may follow.
async fn send(connection: &Connection, wire: &Shared, reply: Reply, mut terms: Terms) -> Option<End> {
    let Reply { mut head, body, last, tunnel } = reply;
    let unread = {
        let mut wire = wire.borrow_mut();
        let unread = !wire.has_whole_request();
        terms.last |= last || unread || connection.worker().ends_connections();
        wire.begin_answer(&mut head, body, terms);
        unread
    };
    let sent = poll_fn(|cx| {
        let mut wire = wire.borrow_mut();
        let sent = wire.poll_answer(cx);
        if sent.is_pending() { wire.poll_gone(cx).map(|()| Sent::Gone) } else { sent }
    });
    let sent = sent.await;
    let wire = wire.borrow();
    match (sent, tunnel) {
        (Sent::Whole, Some(tunnel)) => Some(End::Switched(tunnel)),
        (Sent::Whole, None) if unread || (wire.is_last() && !wire.is_between_requests()) => Some(End::Unread),
        (Sent::Whole, None) => wire.is_last().then_some(End::Closed),
        // An orderly end would say that it is complete (RFC 9112, 8), also to a client that only seems to have gone.
        (Sent::Broke | Sent::Gone, _) if wire.delimits() => Some(End::Reset),
        (Sent::Broke | Sent::Gone, _) => Some(End::Closed),
        (Sent::Slow, _) => {
            connection.slow.set(true);
            metrics::slow_client("response");
            Some(End::Reset)
        }
    }
}

/// What of a request decides on the framing of its answer, and on what follows it.
fn terms(head: &RequestHead) -> Terms {
    let http10 = head.version == Version::HTTP_10;
    let connection = |option: &[u8]| hop::has_token(&head.fields, names::CONNECTION, option);
    Terms {
        http10,
        bodiless: head.method == Method::HEAD,
        trailers: hop::has_token(&head.fields, names::TE, b"trailers"),
        // RFC 9112, 9.3.
        last: connection(b"close") || (http10 && !connection(b"keep-alive")),
    }
}

/// Has the client read the last thing that is said to it.
async fn tell(stream: &mut Stream, words: &[u8]) {
    // ignored: a client that does not take the answer is gone, or will be cut.
    let _ = timeout(LINGER, stream.write_all(words)).await;
}
