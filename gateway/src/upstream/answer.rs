//! Whether more of an answer is to come: a guess, for acknowledging early only.
//!
//! An app with Nagle's algorithm on that writes head and body apart holds the body back until the head is acknowledged,
//! and our kernel delays that by 40 ms (outage D). To acknowledge every read at once would cost a packet for each answer,
//! so this looks whether the answer is complete. A wrong guess costs 40 ms or a packet; hyper alone decides what the
//! answer is.

use memchr::memchr_iter;

/// The end of a chunked body without trailers.
const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// How far the answer to the last request has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum AnswerProgress {
    /// Nothing is to come, as far as can be told.
    #[default]
    Done,
    /// No whole head so far.
    Head,
    /// So many bytes of the body are missing.
    Length(u64),
    /// Until the last chunk.
    Chunked,
}

impl AnswerProgress {
    /// A request was written.
    pub(super) fn asked(&mut self) {
        if *self == Self::Done {
            *self = Self::Head;
        }
    }

    /// `bytes` were read. True when more is to come.
    pub(super) fn came(&mut self, bytes: &[u8]) -> bool {
        *self = match *self {
            Self::Done => Self::Done,
            Self::Head => Self::after_head(bytes),
            body => body.after(bytes),
        };
        *self != Self::Done
    }

    /// A head that came in pieces is not put together: the rest of that answer counts as done.
    fn after_head(bytes: &[u8]) -> Self {
        let mut body_is = Self::Done;
        for end in memchr_iter(b'\n', bytes) {
            let rest = bytes.get(end + 1..).unwrap_or_default();
            if let Some(body) = rest.strip_prefix(b"\r\n") {
                return body_is.after(body);
            }
            if body_is == Self::Done {
                body_is = Self::said_by(rest);
            }
        }
        if bytes.starts_with(b"HTTP/") { Self::Head } else { Self::Done }
    }

    /// What the line that `rest` begins with says of the body; done where it says nothing.
    fn said_by(rest: &[u8]) -> Self {
        match rest.first().map(u8::to_ascii_lowercase) {
            Some(b'c') => value_of(rest, b"content-length:").map_or(Self::Done, |value| Self::Length(number(value))),
            Some(b't') if value_of(rest, b"transfer-encoding:").is_some() => Self::Chunked,
            _ => Self::Done,
        }
    }

    /// After so much of the body.
    fn after(self, body: &[u8]) -> Self {
        match self {
            Self::Length(left) => Self::after_body(left, body.len()),
            Self::Chunked if body.ends_with(LAST_CHUNK) => Self::Done,
            other => other,
        }
    }

    fn after_body(left: u64, came: usize) -> Self {
        match left.saturating_sub(came as u64) {
            0 => Self::Done,
            left => Self::Length(left),
        }
    }
}

fn value_of<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let (start, value) = line.split_at_checked(name.len())?;
    start.eq_ignore_ascii_case(name).then_some(value)
}

/// The digits in `value` as a number; 0 for none.
fn number(value: &[u8]) -> u64 {
    let digits = value.trim_ascii().iter().take_while(|byte| byte.is_ascii_digit());
    digits.fold(0, |sum, digit| sum.saturating_mul(10).saturating_add(u64::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether more is to come after each of `reads`.
    fn check(reads: &[&str], expected: &[bool]) {
        let mut progress = AnswerProgress::default();
        progress.asked();
        let seen: Vec<_> = reads.iter().map(|read| progress.came(read.as_bytes())).collect();
        assert_eq!(seen, expected, "{reads:?}");
    }

    #[test]
    fn an_answer_that_is_cut_anywhere_has_more_to_come() {
        check(&["HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"], &[false]);
        check(&["HTTP/1.1 200 OK\r\ncontent-length:5\r\n\r\n", "hel", "lo"], &[true, true, false]);
        check(&["HTTP/1.1 200 OK\r\nContent-Len"], &[true]);
        check(&["HTTP/1.1 204 No Content\r\n\r\n"], &[false]);
        check(&["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n", "0\r\n\r\n"], &[true, false]);
        check(&["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n"], &[false]);
    }

    #[test]
    fn what_comes_unasked_is_not_waited_for() {
        assert!(!AnswerProgress::default().came(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 5\r\n\r\n"));
    }
}
