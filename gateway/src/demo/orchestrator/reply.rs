//! Answers: their headers, and their compression.

use std::{io::Write, sync::Arc};

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use http::{
    HeaderMap, HeaderValue, Response, StatusCode,
    header::{ACCEPT_ENCODING, ALLOW, CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER, VARY},
};
use http_body_util::Full;
use tokio::sync::OnceCell;

/// Bodies below this are not worth compressing: they fit into one packet.
const COMPRESS_FROM: usize = 1400;
/// How soon an orchestrator that still loads may be asked again, in seconds.
const RETRY_AFTER_SECONDS: u32 = 1;
pub(super) const JSON: &str = "application/json";
pub(super) const NDJSON: &str = "application/x-ndjson";

pub(super) type Reply = Response<Full<Bytes>>;

/// An answer with a body.
pub(super) fn body(status: StatusCode, content_type: &'static str, body: Bytes) -> Reply {
    let mut reply = Response::new(Full::new(body));
    *reply.status_mut() = status;
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    reply
}

/// An answer of one line of JSON that says what is wrong.
pub(super) fn error(status: StatusCode, message: &str) -> Reply {
    let text = format!("{}\n", serde_json::json!({ "error": message }));
    body(status, JSON, Bytes::from(text))
}

/// 405, with what is allowed.
pub(super) fn not_allowed(allow: &'static str) -> Reply {
    let mut reply = error(StatusCode::METHOD_NOT_ALLOWED, "this method is not served here");
    reply.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
    reply
}

/// 503 with the state, while nothing is loaded.
pub(super) fn not_loaded(state: Vec<u8>) -> Reply {
    let mut reply = body(StatusCode::SERVICE_UNAVAILABLE, JSON, Bytes::from(state));
    reply.headers_mut().insert(RETRY_AFTER, HeaderValue::from(RETRY_AFTER_SECONDS));
    reply
}

/// 200 with `plain`, compressed where the client takes it; what was compressed once is kept in `made`.
pub(super) async fn compressed(
    request: &HeaderMap,
    content_type: &'static str,
    plain: Bytes,
    made: &Arc<OnceCell<Bytes>>,
) -> Reply {
    if plain.len() < COMPRESS_FROM || !takes_gzip(request) {
        return body(StatusCode::OK, content_type, plain);
    }
    let original = plain.clone();
    let gzip = made.get_or_try_init(|| async move {
        // On another thread: 30 MB take a third of a second, and long polls wait behind this.
        tokio::task::spawn_blocking(move || gzip(&original)).await.unwrap_or_else(|e| Err(std::io::Error::other(e)))
    });
    let Ok(gzip) = gzip.await else { return body(StatusCode::OK, content_type, plain) };
    let mut reply = body(StatusCode::OK, content_type, gzip.clone());
    reply.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    reply.headers_mut().insert(VARY, HeaderValue::from_static("accept-encoding"));
    reply
}

fn gzip(plain: &[u8]) -> std::io::Result<Bytes> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(plain.len() / 4), Compression::fast());
    encoder.write_all(plain)?;
    encoder.finish().map(Bytes::from)
}

/// Whether `Accept-Encoding` has gzip or everything, and not with the weight 0.
fn takes_gzip(request: &HeaderMap) -> bool {
    let values = request.get_all(ACCEPT_ENCODING).iter().filter_map(|v| v.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|coding| {
        let (name, parameters) = coding.split_once(';').unwrap_or((coding, ""));
        let refused = parameters.trim().strip_prefix("q=").is_some_and(|q| q.trim_matches(['0', '.']).is_empty());
        matches!(name.trim(), "gzip" | "*") && !refused
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gzip_is_sent_to_those_who_take_it() {
        let check = |value: &'static str, want| {
            let headers = HeaderMap::from_iter([(ACCEPT_ENCODING, HeaderValue::from_static(value))]);
            assert_eq!(takes_gzip(&headers), want, "{value}");
        };
        check("gzip", true);
        check("zstd, gzip;q=0.5", true);
        check("*", true);
        check("br", false);
        check("gzip;q=0", false);
        check("gzip; q=0.000", false);
        assert!(!takes_gzip(&HeaderMap::new()));
    }
}
