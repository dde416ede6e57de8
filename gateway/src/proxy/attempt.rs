//! One attempt: wait for a place, take a connection, send, await the head of the answer; and what it says of the endpoint.

use std::{cell::Cell, io, pin::pin, time::Duration};

use bytes::Bytes;
use http::StatusCode;
use tokio::time::Instant;

use super::{
    failure::{Cause, Failure, Fault, Stage},
    forward::Job,
    outgoing::Outgoing,
    relay,
    upload::RequestBody,
};
use crate::{
    message::ResponseHead,
    net::{
        stream::{ConnectError, Stream},
        wheel::within,
    },
    upstream::{
        balance::Picked,
        http1::{AnswerBody, Ask},
        limit::{LimitError, Permit},
        pool::{Broken, BrokenCause, Lease, SendError},
        registry::InFlight,
    },
};

/// What a request holds at the upstream until the answer's last byte.
#[derive(Debug)]
pub(crate) struct Held {
    lease: Lease<RequestBody>,
    place: Place,
}

/// What a request counts as at the upstream.
#[derive(Debug)]
pub(crate) struct Place {
    _in_flight: InFlight,
    _permit: Permit,
}

/// An answer's body as it comes from the upstream.
pub(crate) type Incoming = AnswerBody<RequestBody>;

impl Held {
    /// Gives everything back; the connection, if it can carry another request, to the pool. Dropped instead, the
    /// connection is closed.
    pub(crate) fn release(self) {
        self.lease.release();
    }

    /// The socket of a connection that has left HTTP, with what was already read of it.
    pub(crate) fn into_stream(self) -> Option<((Stream, Bytes), Place)> {
        Some((self.lease.into_stream()?, self.place))
    }
}

/// An attempt that was answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) head: ResponseHead,
    pub(crate) body: Incoming,
    pub(crate) held: Held,
    /// To the head of the answer.
    pub(crate) took: Duration,
}

/// An attempt that was not.
#[derive(Debug)]
pub(crate) struct Lost {
    pub(crate) failure: Failure,
    /// It went over a kept connection, which the upstream may have closed before it saw the request.
    pub(crate) stale: bool,
}

impl From<Failure> for Lost {
    fn from(failure: Failure) -> Self {
        Self { failure, stale: false }
    }
}

/// One attempt of a job.
pub(crate) struct Attempt<'a> {
    pub(crate) job: &'a Job<'a>,
    pub(crate) picked: &'a Picked,
    /// Only a new connection will do.
    pub(crate) fresh: bool,
    /// When it began.
    pub(crate) begun: Instant,
}

impl Attempt<'_> {
    /// Makes the attempt, and tells the endpoint's state what came of it.
    pub(crate) async fn make(&self, outgoing: &Outgoing<'_>, body: RequestBody) -> Result<Answer, Lost> {
        let outcome = self.bounded(outgoing, body).await;
        self.judge(&outcome);
        outcome
    }

    /// The attempt within its time: the route's `per_try`, and what is left of the request's.
    async fn bounded(&self, outgoing: &Outgoing<'_>, body: RequestBody) -> Result<Answer, Lost> {
        let per_try = self.job.route.timeouts.per_try.map(|limit| self.begun + limit);
        let end = per_try.map_or(self.job.deadline, |end| end.min(self.job.deadline));
        let permit = self.permit(end.saturating_duration_since(self.begun)).await?;
        // Only where there is a limit can there have been a wait.
        let now = if self.job.upstream.max_connections.is_some() { Instant::now() } else { self.begun };
        let in_flight = self.picked.state.begin();
        let stage = Cell::new(Stage::Connect);
        // Pinned here, so that it is not copied into what bounds it.
        let exchange = pin!(self.exchange(outgoing, body, &stage));
        match within(end.saturating_duration_since(now), exchange).await {
            Ok(Ok((head, body, lease))) => {
                let held = Held { lease, place: Place { _in_flight: in_flight, _permit: permit } };
                Ok(Answer { head, body, held, took: self.begun.elapsed() })
            }
            Ok(Err(lost)) => Err(lost),
            Err(_) => Err(self.overdue(end, stage.get()).into()),
        }
    }

    async fn permit(&self, wait: Duration) -> Result<Permit, Failure> {
        let limits = &self.job.worker.limits;
        limits.acquire(&self.job.app.id, self.job.upstream, wait).await.map_err(|error| match error {
            LimitError::Full | LimitError::TimedOut => Failure::new(Stage::Pick, Cause::ConnectionLimit),
        })
    }

    /// Takes a connection and sends. A kept connection that turns out to be closed already is replaced on the spot.
    async fn exchange(
        &self,
        outgoing: &Outgoing<'_>,
        mut body: RequestBody,
        stage: &Cell<Stage>,
    ) -> Result<(ResponseHead, Incoming, Lease<RequestBody>), Lost> {
        let informed = |head: &ResponseHead| self.informed(head);
        let Outgoing { method, target, fields } = outgoing;
        let ask = Ask { method, target, fields, informed: &informed };
        let mut fresh = self.fresh;
        loop {
            let mut lease = self.connect(fresh).await?;
            stage.set(Stage::Forward);
            match lease.send(&ask, body).await {
                Ok((head, body)) => return Ok((head, body, lease)),
                Err(SendError::NotSent(back)) if !fresh => {
                    body = back;
                    fresh = true;
                    stage.set(Stage::Connect);
                }
                Err(SendError::NotSent(_)) => return Err(Failure::new(Stage::Forward, Cause::Reset).into()),
                Err(SendError::Broken(broken)) => return Err(self.broken(&broken, lease.reused())),
            }
        }
    }

    /// Something came before the answer. A 100 is for whoever holds the body back; whether the client gets one is for its own
    /// connection to say.
    fn informed(&self, head: &ResponseHead) {
        self.job.upload.hears(head.status);
        let mut wire = self.job.wire.borrow_mut();
        if head.status == StatusCode::CONTINUE {
            wire.pay_continue();
        } else {
            wire.inform(&relay::informational(head));
        }
    }

    async fn connect(&self, fresh: bool) -> Result<Lease<RequestBody>, Failure> {
        let limit = self.job.route.timeouts.connect.unwrap_or(self.job.settings.upstream.connect_timeout);
        let connected = self.job.worker.pool.checkout(&self.picked.address, limit, fresh).await;
        let lease = connected.map_err(|error| {
            tracing::debug!(endpoint = %self.picked.address, %error, "no connection");
            Failure::new(Stage::Connect, connect_cause(&error))
        })?;
        if !lease.reused() {
            lease.made_for(&self.job.app.id);
        }
        Ok(lease)
    }

    fn broken(&self, broken: &Broken, reused: bool) -> Lost {
        tracing::debug!(endpoint = %self.picked.address, error = %broken, "no answer");
        let cause = match broken.cause {
            // The client's side of the body is where the error came from: its own cause says more.
            BrokenCause::RequestBody => self.job.upload.fault().unwrap_or(Cause::BodyBroken),
            BrokenCause::Closed => self.job.upload.fault().unwrap_or(Cause::Reset),
            BrokenCause::BadAnswer => Cause::BadResponse,
        };
        let failure = if broken.wrote {
            Failure::after_sending(Stage::Forward, cause)
        } else {
            Failure::new(Stage::Forward, cause)
        };
        Lost { failure, stale: reused && cause == Cause::Reset && !broken.answered }
    }

    /// The time is over. It is the client's fault where its body is what was waited for.
    fn overdue(&self, end: Instant, stage: Stage) -> Failure {
        let cause = match () {
            () if self.job.upload.is_awaited() => Cause::BodyTimeout,
            () if end < self.job.deadline => Cause::TryTimeout,
            () => Cause::Timeout,
        };
        if stage == Stage::Forward { Failure::after_sending(stage, cause) } else { Failure::new(stage, cause) }
    }

    /// Tells the endpoint's state. A kept connection that had gone stale says nothing about its endpoint.
    fn judge(&self, outcome: &Result<Answer, Lost>) {
        match outcome {
            Ok(answer) if !is_gateway_class(answer.head.status) => return self.picked.state.succeeded(),
            Err(lost) if lost.stale || !blames_endpoint(lost.failure.cause) => return,
            _ => {}
        }
        let (endpoints, rules) = (&self.job.worker.endpoints, &self.job.settings.upstream);
        if endpoints.failed(self.job.upstream, &self.picked.state, rules, std::time::Instant::now()) {
            tracing::warn!(app = %self.job.app.id, endpoint = %self.picked.address, "ejected after failures in a row");
        }
    }
}

fn connect_cause(error: &ConnectError) -> Cause {
    match error {
        ConnectError::TimedOut { .. } => Cause::ConnectTimeout,
        ConnectError::Local(_) => Cause::Exhausted,
        // A Unix socket whose file is gone is as much a refusal as a closed port.
        ConnectError::Refused(error) => match error.kind() {
            io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => Cause::ConnectRefused,
            _ => Cause::ConnectFailed,
        },
    }
}

/// 502, 503, 504: the answers by which a gateway says that what it stands for does not work.
fn is_gateway_class(status: StatusCode) -> bool {
    matches!(status, StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT)
}

fn blames_endpoint(cause: Cause) -> bool {
    cause.row().fault == Fault::Upstream && cause != Cause::ConnectionLimit
}
