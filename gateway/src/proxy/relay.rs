//! The upstream's answer on its way to the client.

use std::time::Duration;

use http::{StatusCode, Version};
use http_body::Body;
use routing_cache::model::HeaderOps;

use super::{
    attempt::{Answer, Held},
    body::ResponseBody,
    failure::{Cause, Failure, Stage},
    forwarded,
    hop::{self, Hop, UnknownCoding},
    outgoing,
    service::Reply,
};
use crate::message::{ResponseHead, names};

/// The answer by which the connection leaves HTTP, and what the tunnel is to hold.
pub(crate) fn switching(answer: Answer, ops: &HeaderOps) -> (Reply, Held) {
    let Answer { mut head, held, .. } = answer;
    let upgrade = head.fields.get(names::UPGRADE).map(Box::from);
    // ignored: it has no content that could be in a coding.
    let _ = translate(&mut head, ops);
    hop::announce(&mut head.fields, &Hop { upgrade, trailers: false });
    ((head, ResponseBody::empty()).into(), held)
}

/// The answer as the client gets it: hop-by-hop fields gone, `Via` appended, the route's operations done, the body
/// streamed. Always HTTP/1.1 (RFC 9110, 2.5): a client that speaks 1.0 is stepped down to where it is written.
///
/// # Errors
/// Where the body is in a transfer coding that nobody has asked for.
pub(crate) fn relay(answer: Answer, ops: &HeaderOps, idle: Duration) -> Result<Reply, Failure> {
    let Answer { mut head, body, held, .. } = answer;
    if translate(&mut head, ops).is_err() && !body.is_end_stream() {
        let failure = Failure::after_sending(Stage::Forward, Cause::BadResponse);
        return Err(failure.because("the app's answer is in a transfer coding that was not asked for"));
    }
    Ok((head, ResponseBody::upstream(body, held, idle)).into())
}

fn translate(head: &mut ResponseHead, ops: &HeaderOps) -> Result<(), UnknownCoding> {
    let coding = hop::strip_response(&mut head.fields);
    forwarded::append_via(&mut head.fields, head.version);
    outgoing::apply(&mut head.fields, ops);
    head.version = Version::HTTP_11;
    coding
}

/// An informational answer as the client gets it.
pub(crate) fn informational(head: &ResponseHead) -> ResponseHead {
    let mut head = head.clone();
    // ignored: it has no content that could be in a coding.
    let _ = hop::strip_response(&mut head.fields);
    head.fields.remove(names::CONTENT_LENGTH);
    forwarded::append_via(&mut head.fields, head.version);
    head
}

/// True for an answer after which the connection is no longer HTTP.
pub(crate) fn switches(answer: &Answer) -> bool {
    answer.head.status == StatusCode::SWITCHING_PROTOCOLS
}
