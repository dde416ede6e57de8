//! The gateway's own answers: one line in the form the client accepts, with the cause in Proxy-Status.

use bytes::Bytes;
use http::StatusCode;
use routing_cache::model::ErrorPages;

use super::{
    body::ResponseBody,
    failure::{Cause, Failure},
    http1,
    service::Reply,
};
use crate::{
    message::{Fields, ResponseHead, names},
    probe,
};

/// The methods that are proxied, for the 405 of those that are not and for OPTIONS (RFC 9110, 10.2.1).
const ALLOW: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";
/// A 404 may be stored by default (RFC 9110, 15.1); the next table may hold what this one does not.
const NO_STORE: &str = "no-store";

/// The form of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// One line of text.
    Text,
    /// One JSON object.
    Json,
    /// A page.
    Html,
}

impl Form {
    /// The form that `accept` likes best, the first of several; text where it says nothing.
    pub(crate) fn accepted(accept: Option<&[u8]>) -> Self {
        let mut best = (0, Self::Text);
        for range in accept.and_then(|value| str::from_utf8(value).ok()).unwrap_or_default().split(',') {
            if let Some(form) = Self::of(range)
                && quality(range) > best.0
            {
                best = (quality(range), form);
            }
        }
        best.1
    }

    fn of(range: &str) -> Option<Self> {
        let name = range.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match name.as_str() {
            "text/html" | "application/xhtml+xml" => Some(Self::Html),
            "application/*" => Some(Self::Json),
            "text/plain" | "text/*" | "*/*" => Some(Self::Text),
            name => (name == "application/json" || name.ends_with("+json")).then_some(Self::Json),
        }
    }

    fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; charset=utf-8",
            Self::Json => "application/json",
            Self::Html => "text/html; charset=utf-8",
        }
    }

    fn body(self, failure: &Failure) -> String {
        let row = failure.cause.row();
        let words = failure.words();
        match self {
            Self::Text => format!("{}: {words}\n", row.status),
            Self::Json => {
                let line = serde_json::json!({"status": row.status.as_u16(), "error": row.error, "detail": words});
                format!("{line}\n")
            }
            Self::Html => {
                let (status, words) = (row.status, escape(words));
                format!("<!doctype html><title>{status}</title><h1>{status}</h1><p>{words}</p>\n")
            }
        }
    }
}

/// The `q` of a media range in thousandths (RFC 9110, 12.4.2).
fn quality(range: &str) -> u32 {
    let q = range.split(';').skip(1).find_map(|parameter| parameter.trim().strip_prefix("q="));
    let Some(q) = q else { return 1000 };
    // Clamped to 0..=1 before, so the cast keeps it.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to 0..=1000")]
    q.parse::<f32>().map_or(0, |q| (q.clamp(0.0, 1.0) * 1000.0) as u32)
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// The answer to a failed request: the app's own page where it has one, else one line.
pub(crate) fn to_failure(failure: &Failure, form: Form, pages: Option<&ErrorPages>) -> Reply {
    let row = failure.cause.row();
    let page = pages.and_then(|pages| pages.get(&row.status.as_u16()));
    let (form, body) = match page {
        Some(page) => (Form::Html, page.to_string()),
        None => (form, form.body(failure)),
    };
    let mut head = ResponseHead::new(row.status);
    head.fields.push(names::CONTENT_TYPE, form.content_type());
    head.fields.push(names::CONTENT_LENGTH, body.len().to_string());
    head.fields.push(names::CACHE_CONTROL, NO_STORE);
    explain(&mut head.fields, failure);
    (head, ResponseBody::full(Bytes::from(body))).into()
}

fn explain(fields: &mut Fields, failure: &Failure) {
    fields.push(names::PROXY_STATUS, proxy_status(failure));
    if let Some(seconds) = failure.cause.row().retry_after {
        fields.push(names::RETRY_AFTER, seconds.to_string());
    }
    if failure.cause == Cause::MethodRefused {
        fields.push(names::ALLOW, ALLOW);
    }
}

/// `Proxy-Status` as a structured field: `details` is a string of printable ASCII, quotes escaped (RFC 9651, 3.3.3).
fn proxy_status(failure: &Failure) -> String {
    let printable = failure.words().chars().filter(|c| matches!(c, ' '..='~'));
    let details = printable.collect::<String>().replace('\\', "\\\\").replace('"', "\\\"");
    format!("holdgate; error={}; details=\"{details}\"", failure.cause.row().error)
}

/// An answer that is one field and no body.
fn bodiless(status: StatusCode, name: &str, value: &str) -> Reply {
    let mut head = ResponseHead::new(status);
    head.fields.push(name, value);
    (head, ResponseBody::empty()).into()
}

/// A redirect.
pub(crate) fn redirect(status: StatusCode, location: &str) -> Reply {
    bodiless(status, names::LOCATION, location)
}

/// The answer to an OPTIONS that may go no further than this gateway.
pub(crate) fn options() -> Reply {
    bodiless(StatusCode::NO_CONTENT, names::ALLOW, ALLOW)
}

/// The answer to a probe, by which this process is known.
pub(crate) fn probed(instance: &str) -> Reply {
    bodiless(StatusCode::NO_CONTENT, probe::INSTANCE, instance)
}

/// The whole answer in bytes, for what was no request, or no connection yet. The connection ends after it.
pub(crate) fn raw(failure: &Failure) -> Vec<u8> {
    let row = failure.cause.row();
    let body = Form::Text.body(failure);
    let status = proxy_status(failure);
    let date = http1::date::now();
    let date = str::from_utf8(&date).unwrap_or_default();
    let retry = row.retry_after.map(|seconds| format!("retry-after: {seconds}\r\n")).unwrap_or_default();
    format!(
        "HTTP/1.1 {}\r\ndate: {date}\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: {}\r\n\
         cache-control: no-store\r\n{retry}proxy-status: {status}\r\nconnection: close\r\n\r\n{body}",
        row.status,
        body.len()
    )
    .into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::failure::Stage;

    fn form(accept: &str) -> Form {
        Form::accepted(Some(accept.as_bytes()))
    }

    #[test]
    fn the_form_is_the_one_accept_likes_best() {
        assert_eq!(Form::accepted(None), Form::Text);
        assert_eq!(form("*/*"), Form::Text);
        assert_eq!(form("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"), Form::Html);
        assert_eq!(form("application/json, text/plain, */*"), Form::Json);
        assert_eq!(form("text/html;q=0.2, application/problem+json;q=0.9"), Form::Json);
        assert_eq!(form("text/html;q=0, image/png"), Form::Text);
    }

    #[test]
    fn details_are_a_structured_string_whatever_they_hold() {
        let failure = Failure::new(Stage::Admit, Cause::BadRequest).because("a \"quoted\" \\ bäd\r\nline");
        let expected = r#"holdgate; error=http_request_error; details="a \"quoted\" \\ bdline""#;
        assert_eq!(proxy_status(&failure), expected);
    }

    #[test]
    fn what_is_said_cannot_become_markup() {
        let failure = Failure::new(Stage::Admit, Cause::BadRequest).because("<b>&");
        assert!(Form::Html.body(&failure).contains("<p>&lt;b&gt;&amp;</p>"));
    }
}
