//! A request's head in bytes, and how its body is framed.

use std::io::Write as _;

use http::Method;
use http_body::Body;

use crate::{
    message::{Fields, ResponseHead, body::named_trailers, names},
    net::outbox::Framing,
};

/// A request without its body: what is sent of it, and who hears of informational answers.
#[derive(Clone, Copy)]
pub struct Ask<'a> {
    /// The method.
    pub method: &'a Method,
    /// What stands in the request line.
    pub target: &'a str,
    /// The fields. `Transfer-Encoding` only says that the body is chunked.
    pub fields: &'a Fields,
    /// Hears of each informational answer but a 101.
    pub informed: &'a dyn Fn(&ResponseHead),
}

impl std::fmt::Debug for Ask<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ask").field("method", self.method).field("target", &self.target).finish_non_exhaustive()
    }
}

/// As the head says it, else as the body knows of itself; a body that is not there has no length.
fn framing<B: Body>(ask: &Ask<'_>, body: &B) -> Framing {
    if body.is_end_stream() {
        return Framing::Length(0);
    }
    let chunked = || Framing::Chunked(named_trailers(ask.fields));
    if ask.fields.contains(names::TRANSFER_ENCODING) {
        return chunked();
    }
    ask.fields.content_length().or_else(|| body.size_hint().exact()).map_or_else(chunked, Framing::Length)
}

/// Writes the head to `out`, and says how the body is to follow it.
pub(super) fn head<B: Body>(ask: &Ask<'_>, body: &B, out: &mut Vec<u8>) -> Framing {
    let framing = framing(ask, body);
    for piece in [ask.method.as_str(), " ", ask.target, " HTTP/1.1\r\n"] {
        out.extend_from_slice(piece.as_bytes());
    }
    match framing {
        Framing::Chunked(_) => {
            ask.fields.write_but(&[names::TRANSFER_ENCODING, names::CONTENT_LENGTH], out);
            out.extend_from_slice(b"transfer-encoding: chunked\r\n");
        }
        Framing::Length(length) => {
            ask.fields.write_but(&[names::TRANSFER_ENCODING], out);
            if length > 0 && !ask.fields.contains(names::CONTENT_LENGTH) {
                // ignored: a Vec takes whatever is written.
                let _ = write!(out, "content-length: {length}\r\n");
            }
        }
        Framing::Close => ask.fields.write_but(&[names::TRANSFER_ENCODING], out),
    }
    out.extend_from_slice(b"\r\n");
    framing
}
