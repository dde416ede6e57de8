//! A request's head in bytes, and how its body is framed.

use std::io::Write as _;

use http::{HeaderMap, HeaderName, Method, StatusCode, Uri, header};
use http_body::Body;

use crate::net::outbox::Framing;

/// A request without its body: what is sent of it, and who hears of informational answers.
#[derive(Clone, Copy)]
pub struct Ask<'a> {
    /// The method.
    pub method: &'a Method,
    /// What stands in the request line; of an absolute one its path and query.
    pub target: &'a Uri,
    /// The fields. `Transfer-Encoding` only says that the body is chunked.
    pub headers: &'a HeaderMap,
    /// Hears of each informational answer but a 101.
    pub informed: &'a dyn Fn(StatusCode),
}

impl std::fmt::Debug for Ask<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ask").field("method", self.method).field("target", self.target).finish_non_exhaustive()
    }
}

/// As the head says it, else as the body knows of itself; a body that is not there has no length.
fn framing<B: Body>(ask: &Ask<'_>, body: &B) -> Framing {
    if body.is_end_stream() {
        return Framing::Length(0);
    }
    let chunked = || Framing::Chunked(named_trailers(ask.headers));
    if ask.headers.contains_key(header::TRANSFER_ENCODING) {
        return chunked();
    }
    length(ask.headers).or_else(|| body.size_hint().exact()).map_or_else(chunked, Framing::Length)
}

/// Writes the head to `out`, and says how the body is to follow it.
pub(super) fn head<B: Body>(ask: &Ask<'_>, body: &B, out: &mut Vec<u8>) -> Framing {
    let framing = framing(ask, body);
    out.extend_from_slice(ask.method.as_str().as_bytes());
    out.push(b' ');
    target(ask.target, out);
    out.extend_from_slice(b" HTTP/1.1\r\n");
    let chunked = matches!(framing, Framing::Chunked(_));
    let mut has_length = false;
    for (name, value) in ask.headers {
        if *name == header::TRANSFER_ENCODING || (chunked && *name == header::CONTENT_LENGTH) {
            continue;
        }
        has_length |= *name == header::CONTENT_LENGTH;
        field(name, value.as_bytes(), out);
    }
    match framing {
        Framing::Chunked(_) => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
        Framing::Length(length) if length > 0 && !has_length => {
            // ignored: a Vec takes whatever is written.
            let _ = write!(out, "content-length: {length}\r\n");
        }
        Framing::Length(_) | Framing::Close => {}
    }
    out.extend_from_slice(b"\r\n");
    framing
}

fn target(uri: &Uri, out: &mut Vec<u8>) {
    match uri.path_and_query().map(|target| target.as_str()) {
        Some(target) if target.starts_with('/') || target == "*" => out.extend_from_slice(target.as_bytes()),
        // A query alone: its path is the root.
        Some(target) => {
            out.push(b'/');
            out.extend_from_slice(target.as_bytes());
        }
        None => out.push(b'/'),
    }
}

/// Writes one line of a head or of trailers.
pub(super) fn field(name: &HeaderName, value: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(name.as_str().as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

fn length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// The fields that `Trailer` names.
fn named_trailers(headers: &HeaderMap) -> Vec<HeaderName> {
    let values = headers.get_all(header::TRAILER).iter().filter_map(|value| value.to_str().ok());
    let names = values.flat_map(|value| value.split(','));
    names.filter_map(|name| HeaderName::from_bytes(name.trim().as_bytes()).ok()).collect()
}
