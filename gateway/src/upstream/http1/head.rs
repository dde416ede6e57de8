//! The head of an answer: where it ends, what it says, and how its body is framed.

use std::mem::MaybeUninit;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version, header};
use httparse::{ParserConfig, Status};
use hyper::ext::ReasonPhrase;
use memchr::memchr;

use super::fault::Flaw;

/// Header fields at most. Source: as many as a request may have.
pub(super) const MAX_FIELDS: usize = 100;
/// The largest `Content-Length`. Source: a signed 64-bit count, which every server's arithmetic can hold.
const MAX_LENGTH: u64 = i64::MAX.unsigned_abs();

/// A head that was read.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) status: StatusCode,
    pub(super) version: Version,
    pub(super) headers: HeaderMap,
    /// Where it is not the usual one.
    pub(super) reason: Option<ReasonPhrase>,
    facts: Facts,
}

/// What in a head decides on the framing and on the connection.
#[derive(Debug, Default)]
struct Facts {
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

/// Says what is wrong with the beginning of a head, if it can be said already.
pub(super) fn check(beginning: &[u8]) -> Result<(), Flaw> {
    let mut fields = [const { MaybeUninit::uninit() }; MAX_FIELDS];
    let mut answer = httparse::Response::new(&mut []);
    config().parse_response_with_uninit_headers(&mut answer, beginning, &mut fields).map_err(Flaw::Head)?;
    Ok(())
}

fn config() -> ParserConfig {
    let mut config = ParserConfig::default();
    // RFC 9112, 5.1: a proxy takes white space before a colon out of an answer.
    config.allow_spaces_after_header_name_in_responses(true);
    config
}

/// Reads the head that `bytes` are; `headers`, which is empty, becomes its fields.
pub(super) fn parse(bytes: &Bytes, mut headers: HeaderMap) -> Result<Head, Flaw> {
    let mut fields = [const { MaybeUninit::uninit() }; MAX_FIELDS];
    let mut answer = httparse::Response::new(&mut []);
    let parsed = config().parse_response_with_uninit_headers(&mut answer, bytes, &mut fields);
    if parsed.map_err(Flaw::Head)? != Status::Complete(bytes.len()) {
        return Err(Flaw::Value);
    }
    let status = answer.code.and_then(|code| StatusCode::from_u16(code).ok()).ok_or(Flaw::Value)?;
    let version = if answer.version == Some(1) { Version::HTTP_11 } else { Version::HTTP_10 };
    let reason = answer.reason.filter(|reason| Some(*reason) != status.canonical_reason());
    let reason = reason.and_then(|reason| ReasonPhrase::try_from(reason.as_bytes()).ok());
    let mut facts = Facts::default();
    for field in answer.headers.iter() {
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| Flaw::Value)?;
        let value = HeaderValue::from_maybe_shared(bytes.slice_ref(field.value)).map_err(|_| Flaw::Value)?;
        facts.learn(&name, &value);
        headers.append(name, value);
    }
    Ok(Head { status, version, headers, reason, facts })
}

impl Head {
    /// True for an answer that another follows.
    pub(super) fn is_informational(&self) -> bool {
        self.status.is_informational() && self.status != StatusCode::SWITCHING_PROTOCOLS
    }

    /// How the answer to a request with this method ends (RFC 9112, 6.3).
    pub(super) fn ending(&self, method: &Method) -> Result<Ending, Flaw> {
        let bodiless = matches!(self.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
            || self.status.is_informational()
            || *method == Method::HEAD
            || (*method == Method::CONNECT && self.status.is_success());
        match (self.facts.codings, self.facts.length) {
            _ if bodiless => Ok(Ending::Head),
            (1, _) if self.version == Version::HTTP_11 => {
                Ok(if self.facts.chunked { Ending::Chunked } else { Ending::Close })
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
    pub(super) fn keeps(&self, method: &Method) -> bool {
        let persists = self.version == Version::HTTP_11 || self.facts.keep_alive;
        let plain = match self.facts.length {
            None => true,
            Some(Length::Once(_)) => self.facts.codings == 0,
            Some(Length::Repeated(_) | Length::Wrong) => false,
        };
        let leaves = self.status == StatusCode::SWITCHING_PROTOCOLS || *method == Method::CONNECT;
        persists && plain && !self.facts.close && !leaves
    }
}

impl Facts {
    fn learn(&mut self, name: &HeaderName, value: &HeaderValue) {
        match *name {
            header::CONTENT_LENGTH => self.length(value),
            header::TRANSFER_ENCODING => {
                self.codings += 1;
                self.chunked = tokens(value).last().is_some_and(|coding| coding.eq_ignore_ascii_case("chunked"));
            }
            header::CONNECTION => {
                self.close |= tokens(value).any(|option| option.eq_ignore_ascii_case("close"));
                self.keep_alive |= tokens(value).any(|option| option.eq_ignore_ascii_case("keep-alive"));
            }
            _ => {}
        }
    }

    fn length(&mut self, value: &HeaderValue) {
        let Ok(text) = value.to_str() else { return self.length = Some(Length::Wrong) };
        for token in text.split(',') {
            self.length = Some(match (self.length, decimal(token.trim().as_bytes())) {
                (None, Some(length)) => Length::Once(length),
                (Some(Length::Once(known) | Length::Repeated(known)), Some(length)) if known == length => {
                    Length::Repeated(length)
                }
                _ => Length::Wrong,
            });
        }
    }
}

/// The elements of a comma-separated list; none of a value that is not ASCII.
fn tokens(value: &HeaderValue) -> impl Iterator<Item = &str> {
    value.to_str().unwrap_or_default().split(',').map(str::trim)
}

/// The number that `digits` write, and nothing but digits.
fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |sum, digit| {
        let digit = digit.checked_sub(b'0').filter(|digit| *digit <= 9)?;
        sum.checked_mul(10)?.checked_add(u64::from(digit))
    })
}
