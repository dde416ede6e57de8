//! A failed request as a value: at which stage, for what cause, whose fault, whether it may be tried again.
//!
//! [`Cause::row`] is the one place where a cause becomes a status, an error type of Proxy-Status (RFC 9209, 2.3), a
//! fault and a Retry-After. Nothing else in the data plane chooses a status for a failure.

use std::borrow::Cow;

use http::StatusCode;
use routing_cache::model::RetryOn;

/// Seconds a client is told to wait where a table or an endpoint is missing. Twice the pace at which the orchestrator's
/// readiness is asked (spec/orchestrator-api.md, rule 2) would be wasteful, once is enough.
const RETRY_SOON: u32 = 2;
/// Seconds a client is told to wait where only a slot is missing.
const RETRY_AT_ONCE: u32 = 1;

/// Where on its way a request failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Before it was looked at: its head did not come, or is not one.
    Read,
    /// Its head was checked.
    Admit,
    /// Its route was looked for.
    Route,
    /// An endpoint was looked for.
    Pick,
    /// A connection was made.
    Connect,
    /// It was sent, and its answer's head awaited.
    Forward,
    /// A connection was being turned into a tunnel.
    Upgrade,
}

/// Whose fault it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The client's.
    Downstream,
    /// The app's.
    Upstream,
    /// Ours, or our orchestrator's.
    Gateway,
}

/// Why it failed: one for each thing that is counted, answered or retried in a way of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// The head breaks a rule of RFC 9110 or 9112, or the path one of ours.
    BadRequest,
    /// The head did not come in time.
    HeadTimeout,
    /// The head is over its limit.
    HeadTooLarge,
    /// The target is longer than can be forwarded.
    TargetTooLong,
    /// A version of HTTP that is not spoken here.
    VersionRefused,
    /// A method that is not proxied.
    MethodRefused,
    /// `Expect` names what is not known here.
    ExpectationFailed,
    /// The body is over its limit.
    BodyTooLarge,
    /// The body stopped coming.
    BodyTimeout,
    /// The body broke off, or its framing is wrong.
    BodyBroken,
    /// No table was ever received or restored.
    NoTable,
    /// The app's document was made by another version, and this one does not understand it.
    UnreadableApp,
    /// No app has that host.
    UnknownHost,
    /// No route of the app takes that request.
    NoRoute,
    /// The upstream has no endpoint, or none that may be used.
    NoEndpoint,
    /// The upstream's connections are all in use, and too many wait for one.
    ConnectionLimit,
    /// The endpoint refused the connection.
    ConnectRefused,
    /// The connection was not made in time.
    ConnectTimeout,
    /// The connection could not be made for another reason.
    ConnectFailed,
    /// The connection broke before the answer's head was complete.
    Reset,
    /// What came is not an HTTP/1 answer.
    BadResponse,
    /// The attempt's own time ran out.
    TryTimeout,
    /// The request's time ran out.
    Timeout,
    /// The upstream switched protocols though nobody had asked.
    BadUpgrade,
    /// This process has no descriptor, port or memory for a connection.
    Exhausted,
    /// This process is short of memory, and takes no more work before it has finished what it has.
    Overloaded,
    /// A rule of this program was broken.
    Internal,
}

/// What follows from a cause.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    /// The status of the answer.
    pub(crate) status: StatusCode,
    /// The error type in Proxy-Status, also the label of the metric and the access log.
    pub(crate) error: &'static str,
    /// Whose fault it is.
    pub(crate) fault: Fault,
    /// Seconds in Retry-After, where a retry helps.
    pub(crate) retry_after: Option<u32>,
    /// What the client is told.
    pub(crate) words: &'static str,
}

const fn row(status: StatusCode, error: &'static str, fault: Fault, words: &'static str) -> Row {
    Row { status, error, fault, retry_after: None, words }
}

const fn later(seconds: u32, row: Row) -> Row {
    Row { retry_after: Some(seconds), ..row }
}

impl Cause {
    /// What follows from it. Error types: RFC 9209, 2.3.
    pub(crate) const fn row(self) -> Row {
        use Fault::{Downstream, Gateway, Upstream};
        use StatusCode as S;
        match self {
            Self::BadRequest => row(S::BAD_REQUEST, REQUEST, Downstream, "the request is malformed"),
            Self::HeadTimeout => row(S::REQUEST_TIMEOUT, REQUEST, Downstream, "the request's head took too long"),
            Self::HeadTooLarge => {
                row(S::REQUEST_HEADER_FIELDS_TOO_LARGE, REQUEST, Downstream, "the request's head is too large")
            }
            Self::TargetTooLong => row(S::URI_TOO_LONG, REQUEST, Downstream, "the request's target is too long"),
            Self::VersionRefused => {
                row(S::HTTP_VERSION_NOT_SUPPORTED, REQUEST, Downstream, "only HTTP/1.0 and 1.1 are spoken here")
            }
            Self::MethodRefused => row(S::METHOD_NOT_ALLOWED, REQUEST, Downstream, "the method is not proxied"),
            Self::ExpectationFailed => {
                row(S::EXPECTATION_FAILED, REQUEST, Downstream, "the request expects what is not known here")
            }
            Self::BodyTooLarge => row(S::PAYLOAD_TOO_LARGE, REQUEST, Downstream, "the request's body is too large"),
            Self::BodyTimeout => row(S::REQUEST_TIMEOUT, REQUEST, Downstream, "the request's body came too slowly"),
            Self::BodyBroken => {
                row(S::BAD_REQUEST, REQUEST, Downstream, "the request's body is malformed or cut short")
            }
            Self::NoTable => {
                later(RETRY_SOON, row(S::SERVICE_UNAVAILABLE, UNAVAILABLE, Gateway, "the gateway has no routes yet"))
            }
            Self::UnreadableApp => row(
                S::SERVICE_UNAVAILABLE,
                CONFIGURATION,
                Gateway,
                "the gateway does not understand the app's document",
            ),
            Self::UnknownHost => row(S::NOT_FOUND, NOT_FOUND, Downstream, "no app has this host"),
            Self::NoRoute => row(S::NOT_FOUND, NOT_FOUND, Downstream, "the app has no route for this request"),
            Self::NoEndpoint => later(
                RETRY_SOON,
                row(S::SERVICE_UNAVAILABLE, UNAVAILABLE, Upstream, "no endpoint of the app is available"),
            ),
            Self::ConnectionLimit => later(
                RETRY_AT_ONCE,
                row(S::SERVICE_UNAVAILABLE, LIMIT, Upstream, "the app has too many requests under way"),
            ),
            Self::ConnectRefused => {
                row(S::BAD_GATEWAY, "connection_refused", Upstream, "the app refused the connection")
            }
            Self::ConnectTimeout => {
                row(S::GATEWAY_TIMEOUT, "connection_timeout", Upstream, "the app did not take the connection in time")
            }
            Self::ConnectFailed => {
                row(S::BAD_GATEWAY, "destination_ip_unroutable", Upstream, "the app could not be reached")
            }
            Self::Reset => row(S::BAD_GATEWAY, "connection_terminated", Upstream, "the app closed the connection"),
            Self::BadResponse => row(S::BAD_GATEWAY, "http_protocol_error", Upstream, "the app's answer is not HTTP"),
            Self::TryTimeout | Self::Timeout => {
                row(S::GATEWAY_TIMEOUT, "http_response_timeout", Upstream, "the app did not answer in time")
            }
            Self::BadUpgrade => {
                row(S::BAD_GATEWAY, "http_upgrade_failed", Upstream, "the app switched protocols without being asked")
            }
            Self::Exhausted => {
                later(RETRY_AT_ONCE, row(S::SERVICE_UNAVAILABLE, INTERNAL, Gateway, "the gateway is out of resources"))
            }
            Self::Overloaded => {
                later(RETRY_SOON, row(S::SERVICE_UNAVAILABLE, INTERNAL, Gateway, "the gateway is overloaded"))
            }
            Self::Internal => row(S::INTERNAL_SERVER_ERROR, INTERNAL, Gateway, "the gateway failed"),
        }
    }

    /// The entry of `retries.on` that covers it, if one does.
    pub(crate) const fn retry_on(self) -> Option<RetryOn> {
        match self {
            Self::ConnectRefused | Self::ConnectTimeout | Self::ConnectFailed => Some(RetryOn::ConnectFailure),
            Self::Reset => Some(RetryOn::ResetBeforeResponse),
            Self::TryTimeout => Some(RetryOn::Timeout),
            _ => None,
        }
    }
}

const REQUEST: &str = "http_request_error";
const UNAVAILABLE: &str = "destination_unavailable";
const NOT_FOUND: &str = "destination_not_found";
const CONFIGURATION: &str = "proxy_configuration_error";
const INTERNAL: &str = "proxy_internal_error";
const LIMIT: &str = "connection_limit_reached";

/// A failed request, or a failed attempt of one.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    /// Where it failed.
    pub(crate) stage: Stage,
    /// Why.
    pub(crate) cause: Cause,
    /// True when the upstream may have seen some of it.
    pub(crate) sent: bool,
    /// What the client is told in place of the cause's own words.
    detail: Option<Cow<'static, str>>,
}

impl Failure {
    /// One of which the upstream has seen nothing.
    pub(crate) const fn new(stage: Stage, cause: Cause) -> Self {
        Self { stage, cause, sent: false, detail: None }
    }

    /// One after which the upstream may have acted.
    pub(crate) const fn after_sending(stage: Stage, cause: Cause) -> Self {
        Self { stage, cause, sent: true, detail: None }
    }

    /// The same, with what the client is told. Never an address: that is for the log.
    pub(crate) fn because(self, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { detail: Some(detail.into()), ..self }
    }

    /// What the client is told.
    pub(crate) fn words(&self) -> &str {
        self.detail.as_deref().unwrap_or(self.cause.row().words)
    }
}
