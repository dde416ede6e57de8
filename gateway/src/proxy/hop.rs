//! Headers that end at this hop (RFC 9110, 7.6.1), and the framing headers nobody may set for us.

use std::ops::ControlFlow;

use http::{HeaderMap, HeaderName, HeaderValue, Method, Version, header};

/// The headers that belong to one connection, whether `Connection` names them or not. Static, and touched only for a name
/// of the length of one of them: most messages have none but `Connection`.
static OF_ONE_HOP: [HeaderName; 9] = [
    header::CONNECTION,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::TE,
    header::PROXY_AUTHORIZATION,
    header::PROXY_AUTHENTICATE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    HeaderName::from_static("http2-settings"),
];
/// The lengths of those names, a bit for each.
const LENGTHS: u64 = 1 << 2 | 1 << 7 | 1 << 10 | 1 << 14 | 1 << 16 | 1 << 17 | 1 << 18 | 1 << 19;
/// What came where `Connection` is all: it is the first of them.
const ONLY_CONNECTION: u16 = 1;
const TRAILERS: HeaderValue = HeaderValue::from_static("trailers");
const UPGRADE: HeaderValue = HeaderValue::from_static("upgrade");
const TE: HeaderValue = HeaderValue::from_static("te");

/// What of a request's hop-by-hop headers matters to the next hop.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Hop {
    /// The protocols it asks to switch to.
    pub(crate) upgrade: Option<HeaderValue>,
    /// Whether it takes trailers.
    pub(crate) trailers: bool,
}

/// True for a header that belongs to one connection.
fn ends_here(name: &HeaderName) -> bool {
    OF_ONE_HOP.contains(name)
}

/// The headers that came of those that belong to one connection: a bit for each, by its place in the list.
fn of_one_hop(headers: &HeaderMap) -> u16 {
    let may_be = |name: &&HeaderName| name.as_str().len() < 64 && LENGTHS >> name.as_str().len() & 1 == 1;
    let places = headers.keys().filter(may_be).filter_map(|name| OF_ONE_HOP.iter().position(|one| one == name));
    places.fold(0, |bits, place| bits | 1 << place)
}

/// True for a header that says where a message goes or ends: `Connection` cannot name it away, and no route sets it.
pub(crate) fn is_framing(name: &HeaderName) -> bool {
    ends_here(name) || *name == header::CONTENT_LENGTH || *name == header::TRAILER
}

/// Takes the hop-by-hop headers out of a request, and says what they asked for.
pub(crate) fn strip_request(headers: &mut HeaderMap, version: Version) -> Hop {
    let came = of_one_hop(headers);
    if came == 0 || takes_plain_connection(headers, came) {
        return Hop::default();
    }
    let trailers = has_token(headers, &header::TE, b"trailers");
    let hop = Hop { upgrade: requested_upgrade(headers, version), trailers };
    strip(headers, came);
    hop
}

/// An answer is in a transfer coding that was not asked for, and would be passed on as if it were not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct UnknownCoding;

/// Takes the hop-by-hop headers out of an answer. Where it had both a transfer coding and a length the coding was
/// believed (RFC 9112, 6.3), so the length goes as well: whoever believes it would read another message.
///
/// # Errors
/// Where its content is in another transfer coding than chunks alone.
pub(crate) fn strip_response(headers: &mut HeaderMap) -> Result<(), UnknownCoding> {
    single_length(headers);
    let came = of_one_hop(headers);
    if came == 0 || takes_plain_connection(headers, came) {
        return Ok(());
    }
    let understood =
        headers.get_all(header::TRANSFER_ENCODING).iter().all(|v| v.as_bytes().eq_ignore_ascii_case(b"chunked"));
    if headers.contains_key(header::TRANSFER_ENCODING) {
        headers.remove(header::CONTENT_LENGTH);
    }
    strip(headers, came);
    if understood { Ok(()) } else { Err(UnknownCoding) }
}

/// Makes one number of a `Content-Length` that is repeated (RFC 9110, 8.6), and nothing of one that contradicts itself:
/// hyper takes an answer to HEAD with whatever length.
fn single_length(headers: &mut HeaderMap) {
    let mut values = headers.get_all(header::CONTENT_LENGTH).iter();
    let Some(first) = values.next() else { return };
    if values.next().is_none() && is_number(first.as_bytes()) {
        return;
    }
    let number = tokens(first).next().filter(|number| is_number(number)).and_then(|n| HeaderValue::from_bytes(n).ok());
    let same = |number: &HeaderValue| {
        headers.get_all(header::CONTENT_LENGTH).iter().flat_map(tokens).all(|token| token == number.as_bytes())
    };
    match number.filter(same) {
        Some(number) => drop(headers.insert(header::CONTENT_LENGTH, number)),
        None => drop(headers.remove(header::CONTENT_LENGTH)),
    }
}

fn is_number(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(u8::is_ascii_digit)
}

/// Counts a request's `Max-Forwards` down. `Break`: it has come as far as it may, and is to be answered here. Only
/// OPTIONS is counted (RFC 9110, 7.6.2); TRACE, the other method that could be, goes nowhere.
pub(crate) fn count_down(method: &Method, headers: &mut HeaderMap) -> ControlFlow<()> {
    if *method != Method::OPTIONS {
        return ControlFlow::Continue(());
    }
    let left = headers.get(header::MAX_FORWARDS).and_then(|left| left.to_str().ok()?.parse::<u64>().ok());
    match left {
        Some(0) => return ControlFlow::Break(()),
        Some(left) => drop(headers.insert(header::MAX_FORWARDS, HeaderValue::from(left - 1))),
        None => {}
    }
    ControlFlow::Continue(())
}

/// Says to the next hop what it must know of this connection: trailers, and the upgrade that is wanted.
pub(crate) fn announce(headers: &mut HeaderMap, hop: &Hop) {
    if hop.trailers {
        headers.insert(header::TE, TRAILERS);
        headers.append(header::CONNECTION, TE);
    }
    if let Some(protocol) = &hop.upgrade {
        headers.insert(header::UPGRADE, protocol.clone());
        headers.append(header::CONNECTION, UPGRADE);
    }
}

/// The `Upgrade` of a request that may have one: HTTP/1.1, named in `Connection`, and not to HTTP/2, which would carry
/// requests past every rule of this gateway.
fn requested_upgrade(headers: &HeaderMap, version: Version) -> Option<HeaderValue> {
    let protocol = headers.get(header::UPGRADE)?;
    let http2 = tokens(protocol).any(|t| t.eq_ignore_ascii_case(b"h2c") || t.eq_ignore_ascii_case(b"h2"));
    let asked = version == Version::HTTP_11 && has_token(headers, &header::CONNECTION, b"upgrade");
    (asked && !http2).then(|| protocol.clone())
}

/// Takes out a `Connection` that is all that `came` and names no header: what most servers and many clients send. False
/// where there is more to it; nothing is changed then.
fn takes_plain_connection(headers: &mut HeaderMap, came: u16) -> bool {
    let plain = |value: &HeaderValue| is_option(value.as_bytes());
    if came != ONLY_CONNECTION || !headers.get_all(header::CONNECTION).iter().all(plain) {
        return false;
    }
    headers.remove(header::CONNECTION);
    true
}

/// Takes out the headers that `Connection` names, and those that `came`.
fn strip(headers: &mut HeaderMap, came: u16) {
    for name in named_in_connection(headers) {
        headers.remove(name);
    }
    for (_, name) in OF_ONE_HOP.iter().enumerate().filter(|(place, _)| came >> place & 1 == 1) {
        headers.remove(name);
    }
}

/// True for what stands in `Connection` and is no header's name.
fn is_option(token: &[u8]) -> bool {
    token.eq_ignore_ascii_case(b"keep-alive") || token.eq_ignore_ascii_case(b"close")
}

/// The headers `Connection` names, but for those that the message cannot do without.
fn named_in_connection(headers: &HeaderMap) -> Vec<HeaderName> {
    let named = headers.get_all(header::CONNECTION).iter().flat_map(tokens);
    let names = named.filter(|token| !is_option(token)).filter_map(|token| HeaderName::from_bytes(token).ok());
    names.filter(|name| !is_framing(name) && *name != header::HOST).collect()
}

fn has_token(headers: &HeaderMap, name: &HeaderName, wanted: &[u8]) -> bool {
    headers.get_all(name).iter().flat_map(tokens).any(|token| token.eq_ignore_ascii_case(wanted))
}

/// The elements of a comma-separated list, without parameters.
fn tokens(value: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    value
        .as_bytes()
        .split(|&b| b == b',')
        .map(|element| element.split(|&b| b == b';').next().unwrap_or_default().trim_ascii())
}

/// True for a method whose effect is the same however often it is done (RFC 9110, 9.2.2).
pub(crate) fn is_idempotent(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::PUT | Method::DELETE | Method::TRACE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        headers
    }

    fn names_left(lines: &[(&'static str, &'static str)]) -> Vec<String> {
        let mut headers = map(lines);
        strip_request(&mut headers, Version::HTTP_11);
        headers.keys().map(ToString::to_string).collect()
    }

    #[test]
    fn every_header_of_one_connection_has_its_length_noted() {
        assert_eq!(OF_ONE_HOP.iter().fold(0, |bits, name| bits | 1 << name.as_str().len()), LENGTHS);
        assert_eq!(OF_ONE_HOP.iter().position(|name| *name == header::CONNECTION), Some(0));
    }

    #[test]
    fn a_connection_that_is_kept_leaves_nothing_behind() {
        assert_eq!(names_left(&[("host", "a"), ("connection", "Keep-Alive"), ("x-local", "1")]), ["host", "x-local"]);
        assert_eq!(names_left(&[("connection", "close"), ("connection", "x-local"), ("x-local", "1")]), [""; 0]);
    }

    #[test]
    fn headers_of_one_connection_go_and_the_rest_stays() {
        let lines = [
            ("host", "a"),
            ("connection", "close, X-Local"),
            ("x-local", "1"),
            ("keep-alive", "timeout=5"),
            ("proxy-connection", "keep-alive"),
            ("proxy-authorization", "Basic x"),
            ("te", "gzip"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("http2-settings", "AAMAAABk"),
            ("accept", "*/*"),
            ("trailer", "x-sum"),
        ];
        assert_eq!(names_left(&lines), ["host", "accept", "trailer"]);
    }

    #[test]
    fn connection_cannot_name_away_what_frames_or_routes_a_message() {
        let lines = [("host", "a"), ("content-length", "3"), ("connection", "host, content-length")];
        assert_eq!(names_left(&lines), ["host", "content-length"]);
    }

    #[test]
    fn a_length_is_one_number_or_none() {
        let left = |lengths: &[&'static str]| {
            let mut headers = map(&lengths.iter().map(|length| ("content-length", *length)).collect::<Vec<_>>());
            assert_eq!(strip_response(&mut headers), Ok(()));
            headers.get_all(header::CONTENT_LENGTH).iter().map(|v| v.to_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(left(&["5"]), ["5"]);
        assert_eq!(left(&["5", "5, 5"]), ["5"]);
        for lengths in [&["5", "6"][..], &["5, 6"], &["+5"], &[""], &["5,"]] {
            assert_eq!(left(lengths), [""; 0], "{lengths:?}");
        }
    }

    #[test]
    fn an_answer_s_coding_is_chunks_or_nothing_that_is_understood() {
        let strip = |coding| strip_response(&mut map(&[("transfer-encoding", coding)]));
        assert_eq!(strip("Chunked"), Ok(()));
        for coding in ["gzip", "gzip, chunked", "chunked, chunked", "identity", ""] {
            assert_eq!(strip(coding), Err(UnknownCoding), "{coding}");
        }
    }

    #[test]
    fn forwards_are_counted_for_options_alone() {
        let after = |method, left| {
            let mut headers = map(&[("max-forwards", left)]);
            let flow = count_down(&method, &mut headers);
            (flow.is_continue(), headers.get("max-forwards").unwrap().to_str().unwrap().to_owned())
        };
        assert_eq!(after(Method::OPTIONS, "10"), (true, "9".to_owned()));
        assert_eq!(after(Method::OPTIONS, "0"), (false, "0".to_owned()));
        assert_eq!(after(Method::OPTIONS, "-1"), (true, "-1".to_owned()));
        assert_eq!(after(Method::GET, "0"), (true, "0".to_owned()));
    }

    #[test]
    fn an_upgrade_counts_only_where_connection_names_it() {
        let asked = |lines: &[(&'static str, &'static str)], version| strip_request(&mut map(lines), version).upgrade;
        let websocket = [("connection", "keep-alive, Upgrade"), ("upgrade", "websocket")];
        assert_eq!(asked(&websocket, Version::HTTP_11).unwrap(), "websocket");
        assert_eq!(asked(&websocket, Version::HTTP_10), None);
        assert_eq!(asked(&[("upgrade", "websocket")], Version::HTTP_11), None);
        assert_eq!(asked(&[("connection", "upgrade"), ("upgrade", "h2c")], Version::HTTP_11), None);
    }

    #[test]
    fn te_passes_as_trailers_only() {
        let mut headers = map(&[("te", "deflate, Trailers;q=0.5"), ("connection", "te")]);
        let hop = strip_request(&mut headers, Version::HTTP_11);
        announce(&mut headers, &hop);
        assert_eq!(headers, map(&[("te", "trailers"), ("connection", "te")]));
    }
}
