use bytes::BytesMut;
use proptest::prelude::*;

use super::*;
use crate::{
    message::RequestHead,
    proxy::framing::reading::{Item, Reading},
};

const LIMITS: FramingLimits = FramingLimits { header_bytes: 1024 };

/// The verdict after all pieces: bytes delivered in all, and the violation.
fn judge<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (usize, Option<Violation>) {
    let mut framing = Framing::new(LIMITS);
    let mut delivered = 0;
    for piece in pieces {
        let seen = framing.inspect(piece);
        delivered += seen.deliver;
        assert_eq!(seen.violation, framing.violation());
        assert_eq!(seen.deliver == piece.len(), seen.violation.is_none(), "all or a violation");
        if seen.violation.is_some() {
            break;
        }
    }
    (delivered, framing.violation())
}

/// The verdict, which is the same whole, byte by byte and for every split into two.
fn verdict(bytes: &[u8]) -> (usize, Option<Violation>) {
    let whole = judge([bytes]);
    assert_eq!(judge(bytes.chunks(1)), whole, "byte by byte: {}", bytes.escape_ascii());
    for at in 0..=bytes.len() {
        let (before, after) = bytes.split_at(at);
        assert_eq!(judge([before, after]), whole, "split at {at}: {}", bytes.escape_ascii());
    }
    whole
}

/// `refused` ends in the refused byte; what follows it must not matter.
fn check_refused(refused: &str, violation: Violation) {
    for rest in ["", "\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\n\r\n"] {
        let bytes = format!("{refused}{rest}");
        let sound = refused.len() - 1;
        assert_eq!(verdict(bytes.as_bytes()), (sound, Some(violation)), "{}", bytes.escape_debug());
    }
}

fn check_accepted(bytes: &str) {
    assert_eq!(verdict(bytes.as_bytes()), (bytes.len(), None), "{}", bytes.escape_debug());
    let mut framing = Framing::new(LIMITS);
    framing.inspect(bytes.as_bytes());
    assert!(framing.between_messages(), "incomplete: {}", bytes.escape_debug());
    for at in 1..bytes.len() {
        let mut framing = Framing::new(LIMITS);
        framing.inspect(&bytes.as_bytes()[..at]);
        assert_ne!(framing.between_messages(), framing.mid_message());
    }
}

#[test]
fn sound_requests_pass_and_end_where_they_end() {
    for request in [
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.0\r\n\r\n",
        "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /a?b=c%20d HTTP/1.1\r\nhOsT:a:80\r\nAccept: */*\r\nX-Empty:\r\nX-Tab:\ta\tb\t\r\nX-Obs: \u{e9}\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: \t 5 \t\r\n\r\nhello",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0000000000000000005\r\n\r\nhello",
        "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n\n\n",
        "POST / HTTP/1.0\r\nContent-Length: 1\r\n\r\n\0",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:CHUNKED \r\n\r\n5\r\nhello\r\n00000000000000Aa\r\n\
         0123456789012345678901234567890123456789012345678901234567890123456789\
         0123456789012345678901234567890123456789012345678901234567890123456789\
         012345678901234567890123456789\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1;a=\"b\"\r\n\n\r\n000\r\nX-Sum: 1\r\nY:\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx\r\nPOST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\
         \r\n\r\n2\r\nab\r\n0\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET http://a/ HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
    ] {
        check_accepted(request);
    }
}

#[test]
fn a_request_line_in_another_form_is_refused() {
    use Violation::*;
    for (refused, violation) in [
        ("\n", BareLineFeed),
        ("\rG", BareCarriageReturn),
        ("\r\n\r", EmptyLines),
        ("\r\n\n", BareLineFeed),
        ("\0", ControlCharacter),
        (" ", RequestLine),
        ("\t", RequestLine),
        ("G\u{7f}", ControlCharacter),
        ("G(", RequestLine),
        ("GET\t", RequestLine),
        ("GET\r", RequestLine),
        ("GET\n", BareLineFeed),
        ("GET  ", RequestLine),
        ("GET /\r", RequestLine),
        ("GET /\n", BareLineFeed),
        ("GET /\t", RequestLine),
        ("GET /\0", ControlCharacter),
        ("GET /  ", RequestLine),
        ("GET / /", RequestLine),
        ("GET / http", RequestLine).shortened(3),
        ("GET / HTTP/\r", RequestLine),
        ("GET / HTTP/2", Version),
        ("GET / HTTP/0", Version),
        ("GET / HTTP/1,", RequestLine),
        ("GET / HTTP/1.2", Version),
        ("GET / HTTP/1.x", RequestLine),
        ("GET / HTTP/1.1 ", RequestLine),
        ("GET / HTTP/1.11", RequestLine),
        ("GET / HTTP/1.1\n", BareLineFeed),
        ("GET / HTTP/1.1\rH", BareCarriageReturn),
        ("PRI * HTTP/2", Version),
        ("\u{16}", ControlCharacter),
    ] {
        check_refused(refused, violation);
    }
    assert_eq!(verdict("GET /\u{e9} HTTP/1.1\r\nHost: a\r\n\r\n".as_bytes()), (5, Some(RequestLine)));
}

/// Drops what comes after the refused byte from a table's entry.
trait Shortened {
    fn shortened(self, by: usize) -> Self;
}

impl Shortened for (&str, Violation) {
    fn shortened(self, by: usize) -> Self {
        (&self.0[..self.0.len() - by], self.1)
    }
}

#[test]
fn header_lines_in_another_form_are_refused() {
    use Violation::*;
    let folded = "A: b\r\n ";
    for (lines, violation) in [
        ("A: b\n", BareLineFeed),
        ("A: b\rc", BareCarriageReturn),
        ("A: b\r\r", BareCarriageReturn),
        ("A\n", BareLineFeed),
        ("A\r", HeaderName),
        ("A :", HeaderName).shortened(1),
        ("A\t:", HeaderName).shortened(1),
        ("A b", HeaderName).shortened(1),
        ("A\u{b}", ControlCharacter),
        ("A(", HeaderName),
        (":", EmptyHeaderName),
        (" ", FoldedHeader),
        (folded, FoldedHeader),
        ("A: b\r\n\t", FoldedHeader),
        ("A: b\0", ControlCharacter),
        ("A: b\u{7f}", ControlCharacter),
        ("A: \u{1b}", ControlCharacter),
        ("\n", BareLineFeed),
        ("\rX", BareCarriageReturn),
        ("A: b\r\n\n", BareLineFeed),
        ("A: b\r\n\rX", BareCarriageReturn),
        ("\u{1}", ControlCharacter),
        ("\"", HeaderName),
    ] {
        check_refused(&format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}"), violation);
    }
}

#[test]
fn a_framing_that_could_be_read_in_two_ways_is_refused() {
    use Violation::*;
    for (lines, violation) in [
        ("\r\n", MissingHost),
        ("Hosts: a\r\n\r\n", MissingHost),
        ("Host: a\r\nHost:", RepeatedHost),
        ("Host: a\r\nhost:", RepeatedHost),
        ("Content-Length: 5\r\nContent-Length:", RepeatedContentLength),
        ("Content-Length: 5\r\nA: b\r\ncontent-length:", RepeatedContentLength),
        ("Content-Length: 5, 5\r\n", ContentLength),
        ("Content-Length: +5\r\n", ContentLength),
        ("Content-Length: -5\r\n", ContentLength),
        ("Content-Length: 0x5\r\n", ContentLength),
        ("Content-Length: 5 5\r\n", ContentLength),
        ("Content-Length:\r\n", ContentLength),
        ("Content-Length:  \t\r\n", ContentLength),
        ("Content-Length: 9223372036854775808\r\n", ContentLength),
        ("Content-Length: 99999999999999999999999999\r\n", ContentLength),
        ("Content-Length: 5;\r\n", ContentLength),
        ("Content-Length: 5\u{e9}\r\n", ContentLength),
        ("Transfer-Encoding: gzip\r\n", TransferEncoding),
        ("Transfer-Encoding: gzip, chunked\r\n", TransferEncoding),
        ("Transfer-Encoding: chunked, chunked\r\n", TransferEncoding),
        ("Transfer-Encoding: chunked;a=b\r\n", TransferEncoding),
        ("Transfer-Encoding: identity\r\n", TransferEncoding),
        ("Transfer-Encoding: xchunked\r\n", TransferEncoding),
        ("Transfer-Encoding: chunke\r\n", TransferEncoding),
        ("Transfer-Encoding: \"chunked\"\r\n", TransferEncoding),
        ("Transfer-Encoding:\r\n", TransferEncoding),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding:", TransferEncoding),
        ("Host: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n", LengthAndEncoding),
        ("Host: a\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n", LengthAndEncoding),
    ] {
        check_refused(&format!("POST / HTTP/1.1\r\n{lines}"), violation);
    }
    check_refused("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", EncodingInHttp10);
    check_refused("GET / HTTP/1.0\r\nHost: a\r\nHost:", RepeatedHost);
}

#[test]
fn chunks_in_another_form_are_refused() {
    use Violation::*;
    for (body, violation) in [
        ("\r", ChunkSize),
        ("\n", BareLineFeed),
        (" ", ChunkSize),
        ("+", ChunkSize),
        ("-", ChunkSize),
        ("0x", ChunkSize),
        ("5 ", ChunkSize),
        ("5\t", ChunkSize),
        ("g", ChunkSize),
        (";", ChunkSize),
        ("5\n", BareLineFeed),
        ("5\rh", BareCarriageReturn),
        ("00000000000000005", ChunkSize),
        ("5;a=b\n", BareLineFeed),
        ("5;a\0", ControlCharacter),
        ("5;a\rb", BareCarriageReturn),
        ("5\r\nhelloX", ChunkEnd),
        ("5\r\nhello\n", ChunkEnd),
        ("5\r\nhello\rX", ChunkEnd),
        ("5\r\nhello\r\nX", ChunkSize),
        ("0\n", BareLineFeed),
        ("0\r\n\n", BareLineFeed),
        ("0\r\n\rX", BareCarriageReturn),
        ("0\r\nA b", HeaderName).shortened(1),
        ("0\r\n A", FoldedHeader).shortened(1),
        ("0\r\nA: b\n", BareLineFeed),
        ("0\r\nContent-Length:", Trailer),
        ("0\r\ntransfer-encoding:", Trailer),
        ("0\r\nHost:", Trailer),
    ] {
        check_refused(&format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{body}"), violation);
    }
}

#[test]
fn a_pipelined_request_is_judged_like_the_first() {
    let first = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello";
    check_refused(&format!("{first}\n"), Violation::BareLineFeed);
    check_refused(&format!("{first}GET / HTTP/1.1\r\n\r\n"), Violation::MissingHost);
    check_refused(&format!("{first}("), Violation::RequestLine);
}

#[test]
fn the_limits_refuse_the_first_byte_too_many() {
    let head = |target: usize, value: usize| {
        format!("GET /{} HTTP/1.1\r\nHost: a\r\nA: {}\r\n\r\n", "t".repeat(target), "v".repeat(value))
    };
    let room = LIMITS.header_bytes - head(0, 0).len();
    check_accepted(&head(room, 0));
    check_accepted(&head(0, room));
    assert_eq!(verdict(head(room + 1, 0).as_bytes()), (LIMITS.header_bytes, Some(Violation::HeadTooLarge)));
    assert_eq!(verdict(head(2000, 0).as_bytes()), (LIMITS.header_bytes, Some(Violation::TargetTooLong)));
    assert_eq!(verdict(head(0, room + 1).as_bytes()), (LIMITS.header_bytes, Some(Violation::HeadTooLarge)));
    let two = head(room, 0) + &head(room, 0);
    check_accepted(&two);
}

#[test]
fn a_target_longer_than_an_uri_can_be_is_refused_whatever_the_limit() {
    let mut framing = Framing::new(FramingLimits { header_bytes: 1 << 20 });
    let bytes = format!("GET /{} HTTP/1.1\r\n", "t".repeat(70_000));
    let seen = framing.inspect(bytes.as_bytes());
    assert_eq!(seen, Inspected { deliver: 4 + 65_534, violation: Some(Violation::TargetTooLong), at_start: false });
}

#[test]
fn more_header_fields_than_hyper_parses_without_allocating_are_refused() {
    let head = |fields: usize| format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "A:\r\n".repeat(fields));
    check_accepted(&head(99));
    let sound = head(99).len() - 2;
    assert_eq!(verdict(head(100).as_bytes()), (sound, Some(Violation::TooManyFields)));
}

#[test]
fn trailers_and_chunk_extensions_have_limits() {
    let start = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    let trailers = format!("{start}0\r\nA: {}\r\n\r\n", "v".repeat(LIMITS.header_bytes));
    let sound = start.len() + 3 + LIMITS.header_bytes;
    assert_eq!(verdict(trailers.as_bytes()), (sound, Some(Violation::HeadTooLarge)));
    let extensions = format!("{start}{}", format!("1;{}\r\nx\r\n", "e".repeat(3000)).repeat(3));
    let each = 3000 + 7;
    let sound = start.len() + 2 * each + 2 + (8192 - 6000);
    assert_eq!(judge([extensions.as_bytes()]), (sound, Some(Violation::ChunkExtension)));
    assert_eq!(judge(extensions.as_bytes().chunks(7)), (sound, Some(Violation::ChunkExtension)));
}

#[test]
fn only_a_violation_in_the_first_byte_of_a_message_is_at_its_start() {
    let at_start = |bytes: &str| Framing::new(LIMITS).inspect(bytes.as_bytes()).at_start;
    assert!(at_start("\0"));
    assert!(at_start("GET / HTTP/1.1\r\nHost: a\r\n\r\n\0"));
    assert!(!at_start("G\0"));
    assert!(!at_start("\r\n\0"));
    assert!(!at_start("\r\0"));
}

#[test]
fn after_an_upgrade_nothing_is_looked_at() {
    let mut framing = Framing::new(LIMITS);
    framing.inspect(b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: x\r\n\r\n");
    framing.pass_through();
    assert_eq!(framing.inspect(b"\0\n\r\r"), Inspected { deliver: 4, violation: None, at_start: false });
    assert!(!framing.mid_message() && !framing.between_messages());
}

#[test]
fn nothing_is_delivered_after_a_violation() {
    let mut framing = Framing::new(LIMITS);
    framing.inspect(b"GET\n");
    let seen = framing.inspect(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(seen, Inspected { deliver: 0, violation: Some(Violation::BareLineFeed), at_start: false });
}

/// Parts from which sound and unsound requests are put together.
fn part() -> impl Strategy<Value = Vec<u8>> {
    let fixed = prop::sample::select(vec![
        "GET / HTTP/1.1\r\n",
        "POST / HTTP/1.1\r\n",
        "GET / HTTP/1.0\r\n",
        "Host: a\r\n",
        "Content-Length: 3\r\n",
        "Content-Length: 3",
        "Transfer-Encoding: chunked\r\n",
        "\r\n",
        "\r\n\r\n",
        "\n",
        "\r",
        " ",
        ":",
        "3\r\nabc\r\n",
        "0\r\n\r\n",
        "0\r\n",
        "abc",
        "X-A: b\r\n",
        "; ext",
    ]);
    prop_oneof![9 => fixed.prop_map(|part| part.as_bytes().to_vec()), 1 => prop::collection::vec(any::<u8>(), 0..4)]
}

proptest! {
    #[test]
    fn how_bytes_are_split_never_changes_the_verdict(
        parts in prop::collection::vec(part(), 0..24),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let bytes = parts.concat();
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        cuts.sort_unstable();
        let mut pieces = Vec::new();
        let mut from = 0;
        for cut in cuts.into_iter().chain([bytes.len()]) {
            pieces.push(&bytes[from..cut]);
            from = cut;
        }
        prop_assert_eq!(judge(pieces), judge([&bytes[..]]));
        prop_assert_eq!(judge(bytes.chunks(1)), judge([&bytes[..]]));
    }

    /// What a reading refuses, and before which byte.
    #[test]
    fn a_reading_refuses_the_same(parts in prop::collection::vec(part(), 0..24)) {
        let bytes = parts.concat();
        let mut reading = Reading::new(LIMITS);
        let (mut read, mut head) = (BytesMut::new(), RequestHead::default());
        let mut sound = 0;
        for byte in &bytes {
            read.extend_from_slice(&[*byte]);
            while reading.next(&mut read).is_ok_and(|item| matches!(item, Item::Data(_) | Item::Trailers(_))) {}
            // ignored: the violation is asked for below
            let _ = reading.head(&mut read, &mut head);
            if reading.violation().is_some() {
                break;
            }
            sound += 1;
        }
        prop_assert_eq!((sound, reading.violation()), judge([&bytes[..]]));
    }

    #[test]
    fn any_bytes_are_judged_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let (delivered, violation) = judge([&bytes[..]]);
        prop_assert_eq!(delivered == bytes.len(), violation.is_none());
    }
}
