//! The head of an answer: where it ends, what it says, and how its body is framed.

use std::{mem::MaybeUninit, ops::Range};

use http::{Method, StatusCode, Version};
use httparse::{Error, Header, ParserConfig, Status};
use memchr::memchr;

use super::fault::Flaw;
use crate::message::{Fields, ResponseHead, body::MAX_LENGTH, names, text::decimal};

/// Header fields at most. Source: some apps set a cookie or a link for each thing they name; with as many fields as this a
/// head is near the bound for its bytes.
pub(super) const MAX_FIELDS: usize = 1000;
/// As many as nearly every head has: there is room on the stack for them.
const USUAL_FIELDS: usize = 100;

/// What in a head decides on the framing and on the connection.
#[derive(Debug, Default)]
pub(super) struct Facts {
    length: Option<Length>,
    /// Fields called `Transfer-Encoding`.
    codings: u32,
    /// The last coding is chunks.
    chunked: bool,
    close: bool,
    keep_alive: bool,
}

/// What all `Content-Length` of a head say together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Length {
    /// One number, once.
    Once(u64),
    /// One number, more than once (RFC 9110, 8.6).
    Repeated(u64),
    /// No number, or several.
    Wrong,
}

/// How an answer ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// With its head; informational ones too.
    Head,
    /// After so many bytes.
    Length(u64),
    /// After the last chunk.
    Chunked,
    /// With the connection.
    Close,
}

/// Looks for the end of a head, byte by byte once, however it is cut.
#[derive(Debug, Default)]
pub(super) struct Finder {
    /// So many bytes were looked at.
    looked: usize,
    /// Where the line begins that they end in.
    line: usize,
    /// A line that is not empty was seen. Empty ones before are skipped (RFC 9112, 2.2).
    begun: bool,
}

impl Finder {
    /// The length of the head that `bytes` begin with, once it is all there. They may only have grown since the last look.
    pub(super) fn find(&mut self, bytes: &[u8]) -> Option<usize> {
        while let Some(at) = memchr(b'\n', bytes.get(self.looked..)?) {
            let end = self.looked + at;
            let is_empty = matches!(bytes.get(self.line..end)?, [] | [b'\r']);
            (self.looked, self.line) = (end + 1, end + 1);
            if is_empty && self.begun {
                return Some(end + 1);
            }
            self.begun |= !is_empty;
        }
        self.looked = bytes.len();
        None
    }
}

/// Reads the head that `bytes` begin with into `head`, and says how long it is. `None`: it is not all there, and nothing is
/// wrong with what is.
pub(super) fn parse(bytes: &[u8], head: &mut ResponseHead) -> Result<Option<(usize, Facts)>, Flaw> {
    let mut usual = [const { MaybeUninit::uninit() }; USUAL_FIELDS];
    match parse_into(bytes, head, &mut usual) {
        Err(Flaw::Head(Error::TooManyHeaders)) => parse_into(bytes, head, &mut Box::new_uninit_slice(MAX_FIELDS)),
        parsed => parsed,
    }
}

fn parse_into<'a>(
    bytes: &'a [u8],
    head: &mut ResponseHead,
    fields: &mut [MaybeUninit<Header<'a>>],
) -> Result<Option<(usize, Facts)>, Flaw> {
    let mut answer = httparse::Response::new(&mut []);
    let parsed = config().parse_response_with_uninit_headers(&mut answer, bytes, fields);
    let Status::Complete(length) = parsed.map_err(Flaw::Head)? else { return Ok(None) };
    let status = answer.code.and_then(|code| StatusCode::from_u16(code).ok()).ok_or(Flaw::Value)?;
    head.status = status;
    head.version = if answer.version == Some(1) { Version::HTTP_11 } else { Version::HTTP_10 };
    let unusual = answer.reason.filter(|reason| Some(*reason) != status.canonical_reason());
    head.reason = unusual.map(|reason| reason.as_bytes().into());
    lay(bytes.get(..length).unwrap_or_default(), answer.headers, &mut head.fields);
    Ok(Some((length, Facts::of(&head.fields))))
}

fn config() -> ParserConfig {
    let mut config = ParserConfig::default();
    // RFC 9112, 5.1: a proxy takes white space before a colon out of an answer.
    config.allow_spaces_after_header_name_in_responses(true);
    config
}

/// Makes `fields` those that were `read` in `head`.
fn lay(head: &[u8], read: &[Header<'_>], fields: &mut Fields) {
    fields.lay(head);
    for field in read {
        fields.place(place(head, field.name.as_bytes()), place(head, field.value));
    }
}

/// Where in `head` a piece of it stands.
fn place(head: &[u8], piece: &[u8]) -> Range<usize> {
    let start = piece.as_ptr().addr().wrapping_sub(head.as_ptr().addr());
    start..start.saturating_add(piece.len())
}

/// True for an answer that another follows.
pub(super) fn is_informational(status: StatusCode) -> bool {
    status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS
}

impl Facts {
    /// How the answer to a request with this method ends (RFC 9112, 6.3).
    pub(super) fn ending(&self, head: &ResponseHead, method: &Method) -> Result<Ending, Flaw> {
        let bodiless = matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
            || head.status.is_informational()
            || *method == Method::HEAD
            || (*method == Method::CONNECT && head.status.is_success());
        match (self.codings, self.length) {
            _ if bodiless => Ok(Ending::Head),
            (1, _) if head.version == Version::HTTP_11 => {
                Ok(if self.chunked { Ending::Chunked } else { Ending::Close })
            }
            (0, None) => Ok(Ending::Close),
            (0, Some(Length::Once(length) | Length::Repeated(length))) if length <= MAX_LENGTH => {
                Ok(Ending::Length(length))
            }
            (0, Some(_)) => Err(Flaw::Length),
            _ => Err(Flaw::Coding),
        }
    }

    /// True where the connection may carry another request after this answer, as far as the head says. Not after one that
    /// somebody else could read in another way.
    pub(super) fn keeps(&self, head: &ResponseHead, method: &Method) -> bool {
        let persists = head.version == Version::HTTP_11 || self.keep_alive;
        let plain = match self.length {
            None => true,
            Some(Length::Once(_)) => self.codings == 0,
            Some(Length::Repeated(_) | Length::Wrong) => false,
        };
        let leaves = head.status == StatusCode::SWITCHING_PROTOCOLS || *method == Method::CONNECT;
        persists && plain && !self.close && !leaves
    }

    fn of(fields: &Fields) -> Self {
        let mut facts = Self::default();
        for value in fields.all(names::CONTENT_LENGTH) {
            facts.length(value);
        }
        for value in fields.all(names::TRANSFER_ENCODING) {
            facts.codings += 1;
            facts.chunked = tokens(value).last().is_some_and(|coding| coding.eq_ignore_ascii_case(b"chunked"));
        }
        for option in fields.all(names::CONNECTION).flat_map(tokens) {
            facts.close |= option.eq_ignore_ascii_case(b"close");
            facts.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
        }
        facts
    }

    fn length(&mut self, value: &[u8]) {
        for token in tokens(value) {
            self.length = Some(match (self.length, decimal(token)) {
                (None, Some(length)) => Length::Once(length),
                (Some(Length::Once(known) | Length::Repeated(known)), Some(length)) if known == length => {
                    Length::Repeated(length)
                }
                _ => Length::Wrong,
            });
        }
    }
}

/// The elements of a comma-separated list; an empty one of a value that is not ASCII.
fn tokens(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let value = if value.is_ascii() { value } else { &[] };
    value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii)
}
