//! An answer's head in bytes, and how its body is framed (RFC 9112, 6).

use std::io::Write as _;

use http::StatusCode;
use http_body::Body;

use super::date;
use crate::{
    message::{Fields, ResponseHead, body::named_trailers, names},
    net::outbox::Framing,
};

/// What decides on an answer's framing besides its own head.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Terms {
    /// The client speaks HTTP/1.0: it knows no chunks, and a connection ends unless it is said to go on.
    pub(crate) http10: bool,
    /// The answer has no body, whatever its head says: it is one to HEAD.
    pub(crate) bodiless: bool,
    /// The client takes trailers.
    pub(crate) trailers: bool,
    /// The connection ends with it.
    pub(crate) last: bool,
}

/// Writes the head to `out`, and says how the body is to follow it.
pub(super) fn head<B: Body>(head: &mut ResponseHead, body: &B, terms: Terms, out: &mut Vec<u8>) -> Framing {
    let length = if may_have_length(head.status) {
        head.fields.content_length()
    } else {
        // RFC 9110, 8.6.
        head.fields.remove(names::CONTENT_LENGTH);
        None
    };
    let framing = framing(head, body, length, terms);
    status_line(head, terms.http10, out);
    head.fields.write_to(out);
    match &framing {
        Framing::Chunked(_) => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
        Framing::Length(0) if length.is_none() && says_nothing_is_there(head.status, terms) => {
            out.extend_from_slice(b"content-length: 0\r\n");
        }
        Framing::Length(bytes) if length.is_none() && *bytes > 0 => {
            // ignored: a Vec takes whatever is written.
            let _ = write!(out, "content-length: {bytes}\r\n");
        }
        Framing::Length(_) | Framing::Close => {}
    }
    let last = terms.last || matches!(framing, Framing::Close);
    if head.status != StatusCode::SWITCHING_PROTOCOLS && last {
        out.extend_from_slice(b"connection: close\r\n");
    } else if head.status != StatusCode::SWITCHING_PROTOCOLS && terms.http10 {
        out.extend_from_slice(b"connection: keep-alive\r\n");
    }
    date(&head.fields, out);
    out.extend_from_slice(b"\r\n");
    framing
}

/// Writes an informational answer's head.
pub(super) fn informational(head: &ResponseHead, out: &mut Vec<u8>) {
    status_line(head, false, out);
    head.fields.write_to(out);
    out.extend_from_slice(b"\r\n");
}

fn framing<B: Body>(head: &ResponseHead, body: &B, length: Option<u64>, terms: Terms) -> Framing {
    if terms.bodiless || body.is_end_stream() || !may_have_body(head.status) {
        return Framing::Length(0);
    }
    match length.or_else(|| body.size_hint().exact()) {
        Some(length) => Framing::Length(length),
        None if terms.http10 => Framing::Close,
        None => Framing::Chunked(if terms.trailers { named_trailers(&head.fields) } else { Vec::new() }),
    }
}

fn status_line(head: &ResponseHead, http10: bool, out: &mut Vec<u8>) {
    if head.status == StatusCode::OK && head.reason.is_none() && !http10 {
        return out.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
    }
    out.extend_from_slice(if http10 { b"HTTP/1.0 " } else { b"HTTP/1.1 " });
    out.extend_from_slice(head.status.as_str().as_bytes());
    out.push(b' ');
    match &head.reason {
        Some(reason) => out.extend_from_slice(reason),
        None => out.extend_from_slice(head.status.canonical_reason().unwrap_or_default().as_bytes()),
    }
    out.extend_from_slice(b"\r\n");
}

fn may_have_body(status: StatusCode) -> bool {
    !status.is_informational() && status != StatusCode::NO_CONTENT && status != StatusCode::NOT_MODIFIED
}

fn may_have_length(status: StatusCode) -> bool {
    !status.is_informational() && status != StatusCode::NO_CONTENT
}

/// True where an answer without content must say so, as its client would wait for some. An answer to HEAD and a 304 would say
/// it of what they stand for.
fn says_nothing_is_there(status: StatusCode, terms: Terms) -> bool {
    may_have_body(status) && !terms.bodiless
}

/// A `Date`, which every answer has (RFC 9110, 6.6.1), where the upstream has said none.
fn date(fields: &Fields, out: &mut Vec<u8>) {
    if fields.contains(names::DATE) {
        return;
    }
    out.extend_from_slice(b"date: ");
    out.extend_from_slice(&date::now());
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http_body_util::{Empty, Full};

    use super::*;

    fn laid_out<B: Body>(status: u16, fields: &[(&str, &str)], body: &B, terms: Terms) -> (String, Framing) {
        let mut answer = ResponseHead::new(StatusCode::from_u16(status).unwrap());
        answer.fields.extend(fields.iter().copied());
        answer.fields.push("date", "now");
        let mut out = Vec::new();
        let framing = head(&mut answer, body, terms, &mut out);
        (String::from_utf8(out).unwrap().replace("date: now\r\n", ""), framing)
    }

    fn full() -> Full<Bytes> {
        Full::new(Bytes::from_static(b"abc"))
    }

    #[test]
    fn a_body_has_the_length_that_its_head_says_or_that_it_knows_itself() {
        let (head, framing) = laid_out(200, &[("content-length", "3")], &full(), Terms::default());
        assert_eq!(head, "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n");
        assert!(matches!(framing, Framing::Length(3)));
        let (head, framing) = laid_out(404, &[], &full(), Terms::default());
        assert_eq!(head, "HTTP/1.1 404 Not Found\r\ncontent-length: 3\r\n\r\n");
        assert!(matches!(framing, Framing::Length(3)));
    }

    #[test]
    fn an_answer_without_content_says_so_unless_its_client_knows() {
        let none = Empty::<Bytes>::new();
        let says = |status, terms| laid_out(status, &[], &none, terms).0.contains("content-length: 0");
        assert!(says(200, Terms::default()) && says(404, Terms::default()));
        assert!(!says(204, Terms::default()) && !says(304, Terms::default()));
        assert!(!says(200, Terms { bodiless: true, ..Terms::default() }));
    }

    #[test]
    fn the_length_of_what_is_not_sent_stays_where_it_may_stand() {
        let length = [("content-length", "9")];
        let (head, framing) = laid_out(200, &length, &full(), Terms { bodiless: true, ..Terms::default() });
        assert!(head.contains("content-length: 9") && matches!(framing, Framing::Length(0)));
        let none = Empty::<Bytes>::new();
        assert!(laid_out(304, &length, &none, Terms::default()).0.contains("content-length: 9"));
        assert!(!laid_out(204, &length, &none, Terms::default()).0.contains("content-length"));
    }

    #[test]
    fn the_end_of_the_connection_is_said_to_those_who_would_not_expect_it() {
        let none = Empty::<Bytes>::new();
        let connection = |http10, last| {
            let (head, _) = laid_out(200, &[], &none, Terms { http10, last, ..Terms::default() });
            head.lines().find_map(|line| line.strip_prefix("connection: ").map(str::to_owned))
        };
        assert_eq!(connection(false, false), None);
        assert_eq!(connection(false, true).as_deref(), Some("close"));
        assert_eq!(connection(true, false).as_deref(), Some("keep-alive"));
        assert_eq!(connection(true, true).as_deref(), Some("close"));
        assert_eq!(
            laid_out(101, &[], &none, Terms { last: true, ..Terms::default() }).0,
            "HTTP/1.1 101 Switching Protocols\r\n\r\n"
        );
    }

    #[test]
    fn a_reason_of_the_upstream_s_own_is_passed_on() {
        let mut answer = ResponseHead::new(StatusCode::OK);
        answer.reason = Some(Box::from(&b"Fine"[..]));
        let mut out = Vec::new();
        informational(&answer, &mut out);
        assert_eq!(out, b"HTTP/1.1 200 Fine\r\n\r\n");
    }

    #[test]
    fn a_date_is_added_where_there_is_none() {
        let mut out = Vec::new();
        date(&Fields::new(), &mut out);
        assert!(out.starts_with(b"date: ") && out.ends_with(b" GMT\r\n"));
        out.clear();
        date(&[("date", "now")].into_iter().collect(), &mut out);
        assert!(out.is_empty());
    }
}
