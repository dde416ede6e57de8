//! Headers that end at this hop (RFC 9110, 7.6.1), and the framing headers nobody may set for us.

use std::ops::ControlFlow;

use http::{Method, Version};

use crate::message::{Fields, names};

/// The fields that belong to one connection, whether `Connection` names them or not.
const OF_ONE_HOP: [&str; 9] = [
    names::CONNECTION,
    names::TRANSFER_ENCODING,
    names::UPGRADE,
    names::TE,
    names::PROXY_AUTHORIZATION,
    names::PROXY_AUTHENTICATE,
    names::KEEP_ALIVE,
    names::PROXY_CONNECTION,
    names::HTTP2_SETTINGS,
];
/// The lengths of those names, a bit for each: most fields have another one, and are not compared.
const LENGTHS: u64 = 1 << 2 | 1 << 7 | 1 << 10 | 1 << 14 | 1 << 16 | 1 << 17 | 1 << 18 | 1 << 19;
/// What came where `Connection` is all: it is the first of them.
const ONLY_CONNECTION: u16 = 1;

/// What of a request's hop-by-hop fields matters to the next hop.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Hop {
    /// The protocols it asks to switch to.
    pub(crate) upgrade: Option<Box<[u8]>>,
    /// Whether it takes trailers.
    pub(crate) trailers: bool,
}

/// The place in the list of a field that belongs to one connection.
fn place(name: &[u8]) -> Option<usize> {
    let may_be = name.len() < 64 && LENGTHS >> name.len() & 1 == 1;
    if may_be { OF_ONE_HOP.iter().position(|one| one.as_bytes() == name) } else { None }
}

/// The fields that came of those that belong to one connection: a bit for each, by its place in the list.
fn of_one_hop(fields: &Fields) -> u16 {
    fields.raw_names().filter_map(place).fold(0, |bits, place| bits | 1 << place)
}

/// True for a field that says where a message goes or ends: `Connection` cannot name it away, and no route sets it.
pub(crate) fn is_framing(name: &str) -> bool {
    place(name.as_bytes()).is_some() || name == names::CONTENT_LENGTH || name == names::TRAILER
}

/// Takes the hop-by-hop fields out of a request, and says what they asked for.
pub(crate) fn strip_request(fields: &mut Fields, version: Version) -> Hop {
    let came = of_one_hop(fields);
    if came == 0 || takes_plain_connection(fields, came) {
        return Hop::default();
    }
    let trailers = has_token(fields, names::TE, b"trailers");
    let hop = Hop { upgrade: requested_upgrade(fields, version), trailers };
    strip(fields);
    hop
}

/// An answer is in a transfer coding that was not asked for, and would be passed on as if it were not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct UnknownCoding;

/// Takes the hop-by-hop fields out of an answer. Where it had both a transfer coding and a length the coding was
/// believed (RFC 9112, 6.3), so the length goes as well: whoever believes it would read another message.
///
/// # Errors
/// Where its content is in another transfer coding than chunks alone.
pub(crate) fn strip_response(fields: &mut Fields) -> Result<(), UnknownCoding> {
    single_length(fields);
    let came = of_one_hop(fields);
    if came == 0 || takes_plain_connection(fields, came) {
        return Ok(());
    }
    let understood = fields.all(names::TRANSFER_ENCODING).all(|coding| coding.eq_ignore_ascii_case(b"chunked"));
    if fields.contains(names::TRANSFER_ENCODING) {
        fields.remove(names::CONTENT_LENGTH);
    }
    strip(fields);
    if understood { Ok(()) } else { Err(UnknownCoding) }
}

/// Makes one number of a `Content-Length` that is repeated (RFC 9110, 8.6), and nothing of one that contradicts itself:
/// an answer to HEAD comes with whatever length.
fn single_length(fields: &mut Fields) {
    if has_plain_length(fields) {
        return;
    }
    match agreed_length(fields) {
        Some(number) => fields.set(names::CONTENT_LENGTH, number),
        None => drop(fields.remove(names::CONTENT_LENGTH)),
    }
}

/// True where there is one `Content-Length`, a number, or none.
fn has_plain_length(fields: &Fields) -> bool {
    let mut values = fields.all(names::CONTENT_LENGTH);
    values.next().is_none_or(is_number) && values.next().is_none()
}

/// The number that all `Content-Length` say.
fn agreed_length(fields: &Fields) -> Option<Vec<u8>> {
    let mut all = fields.all(names::CONTENT_LENGTH).flat_map(tokens);
    let number = all.next().filter(|number| is_number(number))?;
    all.all(|other| other == number).then(|| number.to_vec())
}

fn is_number(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(u8::is_ascii_digit)
}

/// Counts a request's `Max-Forwards` down. `Break`: it has come as far as it may, and is to be answered here. Only
/// OPTIONS is counted (RFC 9110, 7.6.2); TRACE, the other method that could be, goes nowhere.
pub(crate) fn count_down(method: &Method, fields: &mut Fields) -> ControlFlow<()> {
    if *method != Method::OPTIONS {
        return ControlFlow::Continue(());
    }
    match fields.get_str(names::MAX_FORWARDS).and_then(|left| left.parse::<u64>().ok()) {
        Some(0) => return ControlFlow::Break(()),
        Some(left) => fields.set(names::MAX_FORWARDS, (left - 1).to_string()),
        None => {}
    }
    ControlFlow::Continue(())
}

/// Says to the next hop what it must know of this connection: trailers, and the upgrade that is wanted.
pub(crate) fn announce(fields: &mut Fields, hop: &Hop) {
    if hop.trailers {
        fields.set(names::TE, "trailers");
        fields.push(names::CONNECTION, "te");
    }
    if let Some(protocol) = &hop.upgrade {
        fields.set(names::UPGRADE, protocol);
        fields.push(names::CONNECTION, "upgrade");
    }
}

/// The `Upgrade` of a request that may have one: HTTP/1.1, named in `Connection`, and not to HTTP/2, which would carry
/// requests past every rule of this gateway.
fn requested_upgrade(fields: &Fields, version: Version) -> Option<Box<[u8]>> {
    let protocol = fields.get(names::UPGRADE)?;
    let http2 = tokens(protocol).any(|t| t.eq_ignore_ascii_case(b"h2c") || t.eq_ignore_ascii_case(b"h2"));
    let asked = version == Version::HTTP_11 && has_token(fields, names::CONNECTION, b"upgrade");
    (asked && !http2).then(|| protocol.into())
}

/// Takes out a `Connection` that is all that `came` and names no field: what most servers and many clients send. False
/// where there is more to it; nothing is changed then.
fn takes_plain_connection(fields: &mut Fields, came: u16) -> bool {
    came == ONLY_CONNECTION && fields.all(names::CONNECTION).all(is_option) && fields.remove(names::CONNECTION)
}

/// Takes out the fields that `Connection` names, and those that belong to one connection anyway.
fn strip(fields: &mut Fields) {
    let named = named_in_connection(fields);
    fields.retain(|name, _| place(name.as_bytes()).is_none() && !named.iter().any(|one| one == name.as_bytes()));
}

/// True for what stands in `Connection` and is no field's name.
fn is_option(token: &[u8]) -> bool {
    token.eq_ignore_ascii_case(b"keep-alive") || token.eq_ignore_ascii_case(b"close")
}

/// The fields `Connection` names, but for those that the message cannot do without.
fn named_in_connection(fields: &Fields) -> Vec<Vec<u8>> {
    let named = fields.all(names::CONNECTION).flat_map(tokens);
    let names = named.filter(|token| !is_option(token)).map(<[u8]>::to_ascii_lowercase);
    names.filter(|name| str::from_utf8(name).is_ok_and(|name| !is_framing(name) && name != names::HOST)).collect()
}

/// True where a list field has this element.
pub(crate) fn has_token(fields: &Fields, name: &str, wanted: &[u8]) -> bool {
    fields.all(name).flat_map(tokens).any(|token| token.eq_ignore_ascii_case(wanted))
}

/// The elements of a comma-separated list, without parameters.
fn tokens(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&b| b == b',').map(|element| element.split(|&b| b == b';').next().unwrap_or_default().trim_ascii())
}

/// True for a method whose effect is the same however often it is done (RFC 9110, 9.2.2).
pub(crate) fn is_idempotent(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::PUT | Method::DELETE | Method::TRACE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(lines: &[(&str, &str)]) -> Fields {
        lines.iter().copied().collect()
    }

    fn names_left(lines: &[(&str, &str)]) -> Vec<String> {
        let mut fields = fields(lines);
        strip_request(&mut fields, Version::HTTP_11);
        fields.iter().map(|(name, _)| name.to_owned()).collect()
    }

    #[test]
    fn every_header_of_one_connection_has_its_length_noted() {
        assert_eq!(OF_ONE_HOP.iter().fold(0, |bits, name| bits | 1 << name.len()), LENGTHS);
        assert_eq!(OF_ONE_HOP.iter().position(|name| *name == names::CONNECTION), Some(0));
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
        let left = |lengths: &[&str]| {
            let mut fields: Fields = lengths.iter().map(|length| ("content-length", *length)).collect();
            assert_eq!(strip_response(&mut fields), Ok(()));
            fields.all("content-length").map(|v| String::from_utf8(v.to_vec()).unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(left(&["5"]), ["5"]);
        assert_eq!(left(&["5", "5, 5"]), ["5"]);
        for lengths in [&["5", "6"][..], &["5, 6"], &["+5"], &[""], &["5,"]] {
            assert_eq!(left(lengths), [""; 0], "{lengths:?}");
        }
    }

    #[test]
    fn an_answer_s_coding_is_chunks_or_nothing_that_is_understood() {
        let strip = |coding| strip_response(&mut fields(&[("transfer-encoding", coding)]));
        assert_eq!(strip("Chunked"), Ok(()));
        for coding in ["gzip", "gzip, chunked", "chunked, chunked", "identity", ""] {
            assert_eq!(strip(coding), Err(UnknownCoding), "{coding}");
        }
    }

    #[test]
    fn forwards_are_counted_for_options_alone() {
        let after = |method, left| {
            let mut fields = fields(&[("max-forwards", left)]);
            let flow = count_down(&method, &mut fields);
            (flow.is_continue(), fields.get_str("max-forwards").unwrap().to_owned())
        };
        assert_eq!(after(Method::OPTIONS, "10"), (true, "9".to_owned()));
        assert_eq!(after(Method::OPTIONS, "0"), (false, "0".to_owned()));
        assert_eq!(after(Method::OPTIONS, "-1"), (true, "-1".to_owned()));
        assert_eq!(after(Method::GET, "0"), (true, "0".to_owned()));
    }

    #[test]
    fn an_upgrade_counts_only_where_connection_names_it() {
        let asked = |lines: &[(&str, &str)], version| strip_request(&mut fields(lines), version).upgrade;
        let websocket = [("connection", "keep-alive, Upgrade"), ("upgrade", "websocket")];
        assert_eq!(asked(&websocket, Version::HTTP_11).as_deref(), Some(&b"websocket"[..]));
        assert_eq!(asked(&websocket, Version::HTTP_10), None);
        assert_eq!(asked(&[("upgrade", "websocket")], Version::HTTP_11), None);
        assert_eq!(asked(&[("connection", "upgrade"), ("upgrade", "h2c")], Version::HTTP_11), None);
    }

    #[test]
    fn te_passes_as_trailers_only() {
        let mut left = fields(&[("te", "deflate, Trailers;q=0.5"), ("connection", "te")]);
        let hop = strip_request(&mut left, Version::HTTP_11);
        announce(&mut left, &hop);
        assert_eq!(left, fields(&[("te", "trailers"), ("connection", "te")]));
    }
}
