//! What a call answers, before it is bytes on the wire.

use bytes::Bytes;
use http::{
    HeaderValue, Response, StatusCode,
    header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS},
};
use http_body_util::{Either, Full};
use serde::Serialize;

use super::export::Export;

/// The body of an answer: made before it is sent, or while it is.
pub(super) type Body = Either<Full<Bytes>, Box<Export>>;

/// An answer.
#[derive(Debug)]
pub(super) struct Answer {
    /// Its status.
    pub(super) status: StatusCode,
    content_type: &'static str,
    body: Body,
    allow: Option<&'static str>,
}

#[derive(Serialize)]
struct ErrorBody<'a> {
    error: &'a str,
}

impl Answer {
    /// 200 with `value` as JSON.
    pub(super) fn json(value: &impl Serialize) -> Self {
        Self::json_with(StatusCode::OK, value)
    }

    /// `value` as JSON, on a line of its own: people ask by curl.
    pub(super) fn json_with(status: StatusCode, value: &impl Serialize) -> Self {
        match serde_json::to_vec(value) {
            Ok(mut body) => {
                body.push(b'\n');
                Self { status, content_type: "application/json", body: whole(body), allow: None }
            }
            Err(error) => Self::text(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
        }
    }

    /// `{"error":"..."}`.
    pub(super) fn error(status: StatusCode, error: &str) -> Self {
        Self::json_with(status, &ErrorBody { error })
    }

    /// 405, naming the method that the call takes.
    pub(super) fn wrong_method(allow: &'static str) -> Self {
        let refused = Self::error(StatusCode::METHOD_NOT_ALLOWED, &format!("this call takes {allow}"));
        Self { allow: Some(allow), ..refused }
    }

    /// Plain text.
    pub(super) fn text(status: StatusCode, body: String) -> Self {
        Self { status, content_type: "text/plain; charset=utf-8", body: whole(body), allow: None }
    }

    /// 200 with a table, as a snapshot's body (spec/orchestrator-api.md).
    pub(super) fn table(table: Export) -> Self {
        Self {
            status: StatusCode::OK,
            content_type: "application/x-ndjson",
            body: Either::Right(Box::new(table)),
            allow: None,
        }
    }

    /// Prometheus' text format, version 0.0.4.
    pub(super) fn metrics(body: String) -> Self {
        Self { content_type: "text/plain; version=0.0.4; charset=utf-8", ..Self::text(StatusCode::OK, body) }
    }

    /// As hyper sends it.
    pub(super) fn into_response(self) -> Response<Body> {
        let mut response = Response::new(self.body);
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(self.content_type));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(allow) = self.allow {
            headers.insert(ALLOW, HeaderValue::from_static(allow));
        }
        response
    }
}

fn whole(body: impl Into<Bytes>) -> Body {
    Either::Left(Full::new(body.into()))
}
