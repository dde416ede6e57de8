//! The upstream's answer on its way to the client.

use std::time::Duration;

use http::{Response, StatusCode, Version, header, response::Parts};
use http_body::Body;
use routing_cache::model::HeaderOps;

use super::{
    attempt::{Answer, Held},
    body::ResponseBody,
    failure::{Cause, Failure, Stage},
    forwarded,
    hop::{self, Hop, UnknownCoding},
    outgoing,
};

/// The answer by which the connection leaves HTTP, and what the tunnel is to hold.
pub(crate) fn switching(answer: Answer, ops: &HeaderOps) -> (Response<ResponseBody>, Held) {
    let (mut head, _incoming) = answer.response.into_parts();
    let protocol = head.headers.get(header::UPGRADE).cloned();
    // ignored: it has no content that could be in a coding.
    let _ = translate(&mut head, ops);
    hop::announce(&mut head.headers, &Hop { upgrade: protocol, trailers: false });
    (Response::from_parts(head, ResponseBody::empty()), answer.held)
}

/// The answer as the client gets it: hop-by-hop headers gone, `Via` appended, the route's operations done, the body
/// streamed. Always HTTP/1.1 (RFC 9110, 2.5): hyper steps down for a client that speaks 1.0.
///
/// # Errors
/// Where the body is in a transfer coding that nobody has asked for.
pub(crate) fn relay(answer: Answer, ops: &HeaderOps, idle: Duration) -> Result<Response<ResponseBody>, Failure> {
    let (mut head, incoming) = answer.response.into_parts();
    if translate(&mut head, ops).is_err() && !incoming.is_end_stream() {
        let failure = Failure::after_sending(Stage::Forward, Cause::BadResponse);
        return Err(failure.because("the app's answer is in a transfer coding that was not asked for"));
    }
    Ok(Response::from_parts(head, ResponseBody::upstream(incoming, answer.held, idle)))
}

fn translate(head: &mut Parts, ops: &HeaderOps) -> Result<(), UnknownCoding> {
    let coding = hop::strip_response(&mut head.headers);
    forwarded::append_via(&mut head.headers, head.version);
    outgoing::apply(&mut head.headers, ops);
    head.version = Version::HTTP_11;
    coding
}

/// True for an answer after which the connection is no longer HTTP.
pub(crate) fn switches(answer: &Answer) -> bool {
    answer.response.status() == StatusCode::SWITCHING_PROTOCOLS
}
