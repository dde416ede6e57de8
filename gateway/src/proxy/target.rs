//! What a request asks for: its host and path, from the target's four forms (RFC 9112, 3.2) and `Host`.
//!
//! Only the path that is matched is normalised. What is forwarded is the target as it came. The host of an absolute target
//! stands in `Host` as soon as it is read, so that nothing behind this knows of two hosts.

use std::{borrow::Cow, ops::Range};

use http::{Method, Version};
use routing_cache::table::{NormalPath, normal_host};

use super::{
    failure::{Cause, Failure, Stage},
    framing::MAX_TARGET_BYTES,
};
use crate::message::{Fields, names};

/// A request's target, checked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target<'a> {
    /// Path and query as they came: they start with a slash, or are `*`.
    text: &'a str,
    /// Where the path ends.
    path_end: usize,
}

/// Checks what of a request's head decides where it goes. An absolute target leaves its path and query in `target`, and
/// its authority in place of `Host` (RFC 9112, 3.2.2).
///
/// # Errors
/// When a rule of RFC 9110 or 9112 is broken, or the method is not proxied.
pub(crate) fn read<'a>(
    method: &Method,
    version: Version,
    target: &'a mut String,
    fields: &mut Fields,
) -> Result<Target<'a>, Failure> {
    if *method == Method::CONNECT || *method == Method::TRACE {
        return Err(Failure::new(Stage::Admit, Cause::MethodRefused));
    }
    check_host(fields, version)?;
    if !target.starts_with('/') && target != "*" {
        split_authority(target, method, fields)?;
    }
    if target == "*" && *method != Method::OPTIONS {
        return Err(bad("the target is not a path"));
    }
    Target::of(target).ok_or_else(|| bad("the target holds a character that it cannot"))
}

impl<'a> Target<'a> {
    /// `*`, or a path with or without a query that can stand in a request line; `None` for what is neither.
    pub(crate) fn of(text: &'a str) -> Option<Self> {
        if text == "*" {
            return Some(Self { text, path_end: text.len() });
        }
        let path_end = text.bytes().position(|byte| !in_path(byte)).unwrap_or(text.len());
        let mut rest = text.bytes().skip(path_end);
        let fits = text.len() <= MAX_TARGET_BYTES && text.starts_with('/');
        (fits && matches!(rest.next(), None | Some(b'?')) && rest.all(in_query)).then_some(Self { text, path_end })
    }

    /// Path and query as they came.
    pub(crate) fn as_str(self) -> &'a str {
        self.text
    }

    /// The path as it came.
    pub(crate) fn raw_path(self) -> &'a str {
        self.text.get(..self.path_end).unwrap_or(self.text)
    }

    /// What follows the question mark, where there is one.
    pub(crate) fn query(self) -> Option<&'a str> {
        self.text.get(self.path_end + 1..)
    }

    /// The path as it is matched. `*` is matched as the root.
    ///
    /// # Errors
    /// When it climbs above the root, or holds what a path cannot.
    pub(crate) fn path(self) -> Result<NormalPath<'a>, Failure> {
        let raw = if self.is_asterisk() { "/" } else { self.raw_path() };
        NormalPath::new(raw).map_err(|error| bad(error.to_string()))
    }

    /// True for `*`, which asks about the server and not about one of its resources.
    pub(crate) fn is_asterisk(self) -> bool {
        self.text == "*"
    }
}

/// The host as it is looked up; `None` where the request names none, which HTTP/1.0 may.
///
/// # Errors
/// When what it names is not a host.
pub(crate) fn host(fields: &Fields) -> Result<Option<Cow<'_, str>>, Failure> {
    let Some(authority) = fields.get(names::HOST) else { return Ok(None) };
    let host = str::from_utf8(authority).ok().and_then(normal_host);
    host.map(Some).ok_or_else(|| bad("the host is not one"))
}

/// Where in `authority` the port stands that the client used, if it names one.
pub(crate) fn port(authority: &[u8]) -> Option<Range<usize>> {
    let start = authority.iter().rposition(|&byte| byte == b':')? + 1;
    let port = authority.get(start..)?;
    (!port.is_empty() && port.iter().all(u8::is_ascii_digit)).then_some(start..authority.len())
}

/// The path and query in a target that was not read yet, for the log.
pub(crate) fn path_and_query(target: &str) -> &str {
    match target.split_once("://") {
        Some((scheme, rest)) if !scheme.starts_with('/') => {
            rest.find(['/', '?']).and_then(|at| rest.get(at..)).unwrap_or("/")
        }
        _ => target,
    }
}

fn bad(why: impl Into<Cow<'static, str>>) -> Failure {
    Failure::new(Stage::Admit, Cause::BadRequest).because(why)
}

/// RFC 9112, 3.2: none or several `Host` is 400; HTTP/1.0 may do without.
fn check_host(fields: &Fields, version: Version) -> Result<(), Failure> {
    let mut hosts = fields.all(names::HOST);
    match (hosts.next(), hosts.next()) {
        (Some(_), None) => Ok(()),
        (None, _) if version < Version::HTTP_11 => Ok(()),
        (None, _) => Err(bad("the request names no host")),
        (Some(_), Some(_)) => Err(bad("the request names two hosts")),
    }
}

/// Leaves path and query of an absolute target in it, and puts its authority in place of `Host`.
fn split_authority(target: &mut String, method: &Method, fields: &mut Fields) -> Result<(), Failure> {
    let Some((scheme, rest)) = target.split_once("://") else { return Err(bad("the target is not a path")) };
    if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
        return Err(bad("the target's scheme is not http"));
    }
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.contains('@') {
        return Err(bad("the target names a user"));
    }
    fields.set(names::HOST, authority);
    let from = target.len() - rest.len() + authority.len();
    match target.as_bytes().get(from) {
        Some(b'/') => target.replace_range(..from, ""),
        // RFC 9112, 3.2.4: it asks about the server.
        None if *method == Method::OPTIONS => "*".clone_into(target),
        _ => target.replace_range(..from, "/"),
    }
    Ok(())
}

/// What stands in a path: visible ASCII but for what ends it, and what RFC 3986 gives no place and nobody sends as it is.
/// A fragment is the client's own affair (RFC 9110, 4.2.5), and programs differ in what they make of one.
fn in_path(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'#' | b'<' | b'>' | b'?' | b'`')
}

/// The same of a query.
fn in_query(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'"' | b'#' | b'<' | b'>')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is forwarded, and to which host; else what the client is told.
    fn asked(method: &Method, target: &str, host: Option<&str>) -> Result<(String, Option<String>), String> {
        let mut fields: Fields = [("accept", "*/*")].into_iter().collect();
        fields.extend(host.map(|host| ("host", host)));
        let mut text = target.to_owned();
        let version = if host.is_some() { Version::HTTP_11 } else { Version::HTTP_10 };
        let words = |failure: Failure| failure.words().to_owned();
        let target = read(method, version, &mut text, &mut fields).map_err(words)?;
        target.path().map_err(words)?;
        let host = super::host(&fields).map_err(words)?.map(Cow::into_owned);
        Ok((target.as_str().to_owned(), host))
    }

    fn passes(method: &Method, target: &str, expected: &str, host: &str) {
        let expected = (expected.to_owned(), Some(host.to_owned()));
        assert_eq!(asked(method, target, Some("h.test:81")), Ok(expected), "{method} {target}");
    }

    fn fails(method: &Method, target: &str, why: &str) {
        let told = asked(method, target, Some("h.test")).unwrap_err();
        assert!(told.contains(why), "{method} {target}: {told}");
    }

    #[test]
    fn each_of_the_four_forms_is_known() {
        let (get, options) = (&Method::GET, &Method::OPTIONS);
        passes(get, "/", "/", "h.test");
        passes(get, "//a?b?c=http://x", "//a?b?c=http://x", "h.test");
        passes(get, "/a://b", "/a://b", "h.test");
        passes(options, "*", "*", "h.test");
        passes(get, "http://A.test:8080/b?c", "/b?c", "a.test");
        passes(get, "HTTPS://a.test", "/", "a.test");
        passes(get, "http://a.test?b", "/?b", "a.test");
        passes(get, "http://[::1]:81/", "/", "[::1]");
        passes(options, "http://a.test", "*", "a.test");
        passes(options, "http://a.test/", "/", "a.test");
        passes(options, "http://a.test?b", "/?b", "a.test");
        fails(&Method::CONNECT, "a.test:443", "the method is not proxied");
        fails(&Method::TRACE, "/", "the method is not proxied");
        for target in ["*", "a", "a.test:80", "?a", "#a", "a/b", "http:/a", "http:a", "**"] {
            fails(get, target, "the target is not a path");
        }
        fails(get, "ftp://a.test/", "the target's scheme is not http");
        fails(get, "x?y=http://a.test/", "the target's scheme is not http");
        fails(options, "http://u@a.test", "the target names a user");
        fails(get, "http://u:p@a.test/", "the target names a user");
        for target in ["http://", "http:///a", "http://a b/", "http://a.test\\x/", "http://a.test:x/", "http://::1/"] {
            fails(get, target, "the host is not one");
        }
    }

    /// As `http::Uri` has it, but for the fragment, which that drops.
    #[test]
    fn a_character_that_a_target_cannot_hold_is_refused() {
        let taken = |target: String| {
            let known = http::Uri::try_from(target.replace('#', "<")).is_ok();
            assert_eq!(Target::of(&target).is_some(), known, "{target}");
            known
        };
        for byte in 0..=127_u8 {
            let byte = char::from(byte);
            let (path, query) = (taken(format!("/a{byte}b")), taken(format!("/a?b{byte}c")));
            let expected = byte.is_ascii_graphic() && !"#<>".contains(byte);
            assert_eq!((path, query), (expected && byte != '`', expected && byte != '"'), "{byte:?}");
        }
        for target in ["/a#b", "/#", "/a?b#c", "http://a.test#b", "http://a.test/a#b", "/a<", "/a?\""] {
            fails(&Method::GET, target, "the target holds a character");
        }
        assert!(Target::of("").is_none() && Target::of("a").is_none() && Target::of("?").is_none());
        assert!(Target::of(&"/".repeat(MAX_TARGET_BYTES)).is_some());
        assert!(Target::of(&"/".repeat(MAX_TARGET_BYTES + 1)).is_none());
    }

    #[test]
    fn path_and_query_are_told_apart() {
        let parts = |text| Target::of(text).map(|target| (target.raw_path(), target.query())).unwrap();
        assert_eq!(parts("/a"), ("/a", None));
        assert_eq!(parts("/a?"), ("/a", Some("")));
        assert_eq!(parts("/a?b?c"), ("/a", Some("b?c")));
        assert_eq!(parts("*"), ("*", None));
    }

    #[test]
    fn there_is_one_host() {
        let host = |target: &str, hosts: &[&str], version| {
            let mut fields: Fields = hosts.iter().map(|host| ("host", *host)).collect();
            let read = read(&Method::GET, version, &mut target.to_owned(), &mut fields).is_ok();
            let all: Vec<_> = fields.all("host").map(|host| String::from_utf8_lossy(host).into_owned()).collect();
            (read, all.join(", "))
        };
        assert_eq!(host("http://b/", &["a"], Version::HTTP_11), (true, "b".to_owned()));
        assert_eq!(host("http://b/", &[], Version::HTTP_10), (true, "b".to_owned()));
        assert_eq!(host("http://b/", &[], Version::HTTP_11), (false, String::new()));
        assert_eq!(host("http://b/", &["a", "a"], Version::HTTP_10), (false, "a, a".to_owned()));
        assert_eq!(asked(&Method::GET, "/", None), Ok(("/".to_owned(), None)));
        for bad in ["", "a b", "u@a", "caf\u{e9}", "a:x", "a/b"] {
            assert_eq!(asked(&Method::GET, "/", Some(bad)), Err("the host is not one".to_owned()), "{bad}");
        }
    }

    #[test]
    fn a_port_is_where_the_host_says_it() {
        let digits = |authority: &str| port(authority.as_bytes()).map(|range| authority[range].to_owned());
        assert_eq!(digits("a.test:8080").as_deref(), Some("8080"));
        assert_eq!(digits("[::1]:81").as_deref(), Some("81"));
        for none in ["a.test", "a.test:", "a.test:x", "[::1]", ""] {
            assert_eq!(digits(none), None, "{none}");
        }
    }

    #[test]
    fn the_log_says_path_and_query_of_every_form() {
        for (target, said) in [
            ("/a?b=http://c/d", "/a?b=http://c/d"),
            ("*", "*"),
            ("http://a.test/b?c", "/b?c"),
            ("http://a.test", "/"),
            ("a.test:443", "a.test:443"),
        ] {
            assert_eq!(path_and_query(target), said);
        }
    }
}
