use proptest::prelude::*;

use super::*;

const LIMITS: FramingLimits = FramingLimits { header_bytes: 1024 };

/// A message as it came out.
#[derive(Clone, Debug, PartialEq)]
struct Message {
    method: String,
    target: String,
    version: Version,
    fields: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
    trailers: Vec<(String, Vec<u8>)>,
    complete: bool,
}

impl Message {
    fn of(head: &RequestHead) -> Self {
        Self {
            method: head.method.to_string(),
            target: head.target.clone(),
            version: head.version,
            fields: head.fields.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
            body: Vec::new(),
            trailers: Vec::new(),
            complete: false,
        }
    }
}

/// A connection, and all that came out of it. The memory of one head is used for all.
struct Client {
    reading: Reading,
    read: BytesMut,
    head: RequestHead,
    messages: Vec<Message>,
}

impl Client {
    fn new() -> Self {
        Self::within(LIMITS.header_bytes)
    }

    fn within(header_bytes: usize) -> Self {
        let reading = Reading::new(FramingLimits { header_bytes });
        Self { reading, read: BytesMut::new(), head: RequestHead::default(), messages: Vec::new() }
    }

    /// Takes all that can be taken after `piece` has come.
    fn feed(&mut self, piece: &[u8]) -> Result<(), Violation> {
        self.read.extend_from_slice(piece);
        while self.step()? {
            let open = self.messages.last_mut().unwrap();
            open.complete = self.reading.between_messages();
            assert_ne!(open.complete, self.reading.mid_message());
        }
        Ok(())
    }

    fn step(&mut self) -> Result<bool, Violation> {
        match self.messages.last_mut().filter(|message| !message.complete) {
            None => {
                let came = self.reading.head(&mut self.read, &mut self.head)?;
                came.then(|| self.messages.push(Message::of(&self.head)));
                Ok(came)
            }
            Some(message) => {
                match self.reading.next(&mut self.read)? {
                    Item::More => return Ok(false),
                    Item::End => assert!(self.reading.between_messages()),
                    Item::Data(data) => {
                        assert!(!data.is_empty());
                        message.body.extend_from_slice(&data);
                    }
                    Item::Trailers(trailers) => {
                        assert!(self.reading.between_messages());
                        let pairs =
                            trailers.iter().map(|(name, value)| (name.to_string(), value.as_bytes().to_owned()));
                        message.trailers = pairs.collect();
                    }
                }
                Ok(true)
            }
        }
    }
}

/// What comes out after all pieces, and what was refused.
fn outcome<'a>(header_bytes: usize, pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Message>, Option<Violation>) {
    let mut client = Client::within(header_bytes);
    let refused = pieces.into_iter().try_for_each(|piece| client.feed(piece)).err();
    assert_eq!(client.reading.violation(), refused);
    (client.messages, refused)
}

/// How many bytes come before the refused one, and why it is.
fn refusal(header_bytes: usize, bytes: &[u8]) -> (usize, Option<Violation>) {
    let mut client = Client::within(header_bytes);
    for (at, byte) in bytes.iter().enumerate() {
        if let Err(violation) = client.feed(&[*byte]) {
            return (at, Some(violation));
        }
    }
    (bytes.len(), None)
}

/// Checks that the same comes out whole, byte by byte and for every split into two. Says what is refused.
fn verdict(bytes: &[u8]) -> (usize, Option<Violation>) {
    let whole = outcome(LIMITS.header_bytes, [bytes]);
    assert_eq!(outcome(LIMITS.header_bytes, bytes.chunks(1)), whole, "byte by byte: {}", bytes.escape_ascii());
    for at in 0..=bytes.len() {
        let (before, after) = bytes.split_at(at);
        let split = outcome(LIMITS.header_bytes, [before, after]);
        assert_eq!(split, whole, "split at {at}: {}", bytes.escape_ascii());
    }
    let (sound, violation) = refusal(LIMITS.header_bytes, bytes);
    assert_eq!(whole.1, violation);
    (sound, violation)
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
    let mut client = Client::new();
    client.feed(bytes.as_bytes()).unwrap();
    assert!(client.reading.at_rest() && client.read.is_empty(), "incomplete: {}", bytes.escape_debug());
    assert!(client.messages.iter().all(|message| message.complete));
    for at in 1..bytes.len() {
        let mut client = Client::new();
        client.feed(&bytes.as_bytes()[..at]).unwrap();
        assert_ne!(client.reading.between_messages(), client.reading.mid_message());
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
    let bytes = format!("GET /{} HTTP/1.1\r\n", "t".repeat(70_000));
    assert_eq!(refusal(1 << 20, bytes.as_bytes()), (4 + 65_534, Some(Violation::TargetTooLong)));
    assert_eq!(outcome(1 << 20, [bytes.as_bytes()]).1, Some(Violation::TargetTooLong));
    let longest = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "t".repeat(65_533));
    assert_eq!(outcome(1 << 20, [longest.as_bytes()]).0[0].target.len(), 65_534);
}

#[test]
fn more_header_fields_than_the_limit_are_refused() {
    let head = |fields: usize| format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "A:\r\n".repeat(fields));
    let (messages, violation) = outcome(1 << 16, [head(999).as_bytes()]);
    assert_eq!((messages[0].fields.len(), violation), (1000, None));
    let sound = head(999).len() - 2;
    assert_eq!(refusal(1 << 16, head(1000).as_bytes()), (sound, Some(Violation::TooManyFields)));
    assert_eq!(outcome(1 << 16, [head(1000).as_bytes()]), (vec![], Some(Violation::TooManyFields)));
}

#[test]
fn trailers_and_chunk_extensions_have_limits() {
    let start = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    let trailers = format!("{start}0\r\nA: {}\r\n\r\n", "v".repeat(LIMITS.header_bytes));
    let sound = start.len() + 3 + LIMITS.header_bytes;
    assert_eq!(verdict(trailers.as_bytes()), (sound, Some(Violation::HeadTooLarge)));
    let trailers = format!("{start}0\r\nA: {}\r\n\r\n", "v".repeat(20_000));
    let sound = start.len() + 3 + (16 << 10);
    assert_eq!(refusal(1 << 16, trailers.as_bytes()), (sound, Some(Violation::HeadTooLarge)));
    let extensions = format!("{start}{}", format!("1;{}\r\nx\r\n", "e".repeat(3000)).repeat(3));
    let each = 3000 + 7;
    let sound = start.len() + 2 * each + 2 + (8192 - 6000);
    assert_eq!(refusal(LIMITS.header_bytes, extensions.as_bytes()), (sound, Some(Violation::ChunkExtension)));
    let whole = outcome(LIMITS.header_bytes, [extensions.as_bytes()]);
    assert_eq!((&whole.0[0].body[..], whole.1), (&b"xx"[..], Some(Violation::ChunkExtension)));
    assert_eq!(outcome(LIMITS.header_bytes, extensions.as_bytes().chunks(7)), whole);
}

#[test]
fn what_came_in_comes_out() {
    let mut client = Client::new();
    let bytes = b"\r\npatch /a?b=%20 HTTP/1.0\r\nX-Empty:\r\nX-Tab:\ta\tb \t\r\nX-OBS: \xe9\r\nContent-Length: 2\r\n\r\nok\
        POST * HTTP/1.1\r\nhOsT:a:80\r\nTransfer-Encoding: Chunked\r\n\r\n2;x\r\nab\r\n1\r\nc\r\n0\r\nX-Sum:  1 \r\nY:\r\n\r\n";
    client.feed(bytes).unwrap();
    let fields = |pairs: &[(&str, &[u8])]| {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), value.to_vec())).collect::<Vec<_>>()
    };
    let first = Message {
        method: "patch".to_owned(),
        target: "/a?b=%20".to_owned(),
        version: Version::HTTP_10,
        fields: fields(&[("x-empty", b""), ("x-tab", b"a\tb"), ("x-obs", b"\xe9"), ("content-length", b"2")]),
        body: b"ok".to_vec(),
        trailers: Vec::new(),
        complete: true,
    };
    let second = Message {
        method: "POST".to_owned(),
        target: "*".to_owned(),
        version: Version::HTTP_11,
        fields: fields(&[("host", b"a:80"), ("transfer-encoding", b"Chunked")]),
        body: b"abc".to_vec(),
        trailers: fields(&[("x-sum", b"1"), ("y", b"")]),
        complete: true,
    };
    assert_eq!(client.messages, [first, second]);
}

#[test]
fn an_empty_line_means_nothing_but_a_part_of_one_is_kept() {
    let mut client = Client::new();
    let states = |client: &Client| {
        let reading = &client.reading;
        (reading.between_messages(), reading.at_rest(), reading.mid_message())
    };
    assert_eq!(states(&client), (true, true, false));
    for (byte, expected) in [(b"\r", (true, false, false)), (b"\n", (true, true, false)), (b"G", (false, false, true))]
    {
        client.feed(byte).unwrap();
        assert_eq!(states(&client), expected, "after {}", byte.escape_ascii());
    }
    client.feed(b"\0").unwrap_err();
    assert_eq!(states(&client), (false, false, false));
}

#[test]
fn a_body_ends_with_its_last_byte() {
    let mut client = Client::new();
    let (reading, read) = (&mut client.reading, &mut client.read);
    read.extend_from_slice(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhel");
    assert_eq!(reading.head(read, &mut client.head), Ok(true));
    assert_eq!((reading.size_hint().exact(), reading.awaited()), (Some(5), Some(5)));
    assert!(matches!(reading.next(read), Ok(Item::Data(data)) if data == "hel"));
    assert!(matches!(reading.next(read), Ok(Item::More)));
    assert_eq!((reading.size_hint().exact(), reading.awaited()), (Some(2), Some(2)));
    read.extend_from_slice(b"loGET");
    assert!(matches!(reading.next(read), Ok(Item::Data(data)) if data == "lo"));
    assert!(reading.between_messages());
    assert_eq!((reading.size_hint().exact(), reading.awaited(), &read[..]), (Some(0), None, &b"GET"[..]));
    assert!(matches!(reading.next(read), Ok(Item::End)));
}

#[test]
fn the_plain_end_of_a_chunked_body_comes_with_its_last_data() {
    for (end, ended) in
        [("0\r\n\r\nGET", true), ("0;x\r\n\r\nGET", true), ("0\r\nA: b\r\n\r\nGET", false), ("0\r\n", false)]
    {
        let mut client = Client::new();
        let (reading, read) = (&mut client.reading, &mut client.read);
        let start = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nab";
        read.extend_from_slice(start.as_bytes());
        assert_eq!(reading.head(read, &mut client.head), Ok(true));
        assert_eq!((reading.size_hint().exact(), reading.awaited()), (None, None));
        assert!(matches!(reading.next(read), Ok(Item::Data(data)) if data == "ab"));
        assert_eq!((reading.size_hint().exact(), reading.awaited()), (None, Some(1)));
        read.extend_from_slice(format!("c\r\n{end}").as_bytes());
        assert!(matches!(reading.next(read), Ok(Item::Data(data)) if data == "c"), "{end:?}");
        assert_eq!((reading.between_messages(), reading.mid_message()), (ended, !ended), "{end:?}");
        assert_eq!(&read[..] == b"GET", ended, "{end:?}");
    }
}

#[test]
fn the_next_head_is_not_looked_for_before_the_body_has_ended() {
    let mut client = Client::new();
    let (reading, read) = (&mut client.reading, &mut client.read);
    let next = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    for encoding in ["Content-Length: 40", "Transfer-Encoding: chunked"] {
        read.clear();
        read.extend_from_slice(format!("POST / HTTP/1.1\r\nHost: a\r\n{encoding}\r\n\r\n{next}").as_bytes());
        *reading = Reading::new(LIMITS);
        assert_eq!(reading.head(read, &mut client.head), Ok(true));
        assert_eq!(reading.head(read, &mut client.head), Ok(false));
        assert_eq!(read, next);
        assert_eq!(client.head.method, Method::POST);
    }
}

#[test]
fn nothing_comes_out_after_a_violation() {
    let mut client = Client::new();
    assert_eq!(client.feed(b"GET\n"), Err(Violation::BareLineFeed));
    client.read.clear();
    assert_eq!(client.feed(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"), Err(Violation::BareLineFeed));
    assert!(matches!(client.reading.next(&mut client.read), Err(Violation::BareLineFeed)));
    assert!(client.messages.is_empty());
    assert_eq!(client.reading.size_hint().exact(), Some(0));
}

/// What was looked at is overwritten with what would be refused.
#[test]
fn no_byte_of_a_head_is_looked_at_twice() {
    let (target, name, value) = ("q".repeat(9_000), "x".repeat(5_000), "v".repeat(40_000));
    let bytes = format!("GET /{target} HTTP/1.1\r\nHost: a\r\n{name}: {value}\r\n\r\n");
    let mut client = Client::within(1 << 16);
    for (at, byte) in bytes.bytes().enumerate() {
        assert_eq!(client.reading.line.length() + client.reading.fields.length(), at);
        client.feed(&[byte]).unwrap();
        if matches!(byte, b'q' | b'x' | b'v') {
            *client.read.last_mut().unwrap() = 0x7f;
        }
    }
    assert_eq!(client.messages[0].fields[1], ("\x7f".repeat(5_000), vec![0x7f; 40_000]));
}

#[test]
fn the_memory_of_an_unusual_head_is_not_kept() {
    let mut client = Client::within(1 << 16);
    let head = |fields: usize| format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "A:\r\n".repeat(fields));
    for (fields, kept) in [(900, 900..2000), (100, 0..200), (900, 900..2000), (1, 0..200)] {
        client.feed(head(fields).as_bytes()).unwrap();
        assert!(kept.contains(&client.reading.fields.lines_capacity()));
    }
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

/// `bytes` cut at some places.
fn pieces<'a>(bytes: &'a [u8], cuts: &[prop::sample::Index]) -> Vec<&'a [u8]> {
    let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    cuts.sort_unstable();
    let mut pieces = Vec::new();
    let mut from = 0;
    for cut in cuts.into_iter().chain([bytes.len()]) {
        pieces.push(&bytes[from..cut]);
        from = cut;
    }
    pieces
}

/// Blanks, a value without blanks around it, and blanks.
fn value() -> impl Strategy<Value = (String, Vec<u8>, String)> {
    let text = prop_oneof![4 => 0x21..0x7f_u8, 1 => Just(b' '), 1 => Just(b'\t'), 1 => 0x80..=0xff_u8];
    let value = prop::collection::vec(text, 0..40).prop_map(|value| value.trim_ascii().to_vec());
    ("[ \t]{0,3}", value, "[ \t]{0,3}")
}

const TOKEN: &str = "[!#$%&'*+.^_`|~0-9A-Za-z-]{1,20}";

/// Checks each head that comes out against what another parser makes of the same bytes.
fn check_against_httparse(bytes: &[u8]) {
    let mut client = Client::new();
    client.read.extend_from_slice(bytes);
    loop {
        let before = client.read.clone();
        if client.reading.head(&mut client.read, &mut client.head) != Ok(true) {
            return;
        }
        let taken = before.len() - client.read.len();
        let mut fields = [httparse::EMPTY_HEADER; 100];
        let mut request = httparse::Request::new(&mut fields);
        assert_eq!(request.parse(&before[..taken]), Ok(httparse::Status::Complete(taken)));
        assert_eq!(request.method, Some(client.head.method.as_str()));
        assert_eq!(request.path, Some(client.head.target.as_str()));
        assert_eq!(request.version == Some(1), client.head.version == Version::HTTP_11);
        let theirs = request.headers.iter().map(|field| (field.name.to_ascii_lowercase(), field.value));
        assert!(theirs.eq(client.head.fields.iter().map(|(name, value)| (name.to_owned(), value))));
        while client.reading.mid_message() {
            if let Ok(Item::More) | Err(_) = client.reading.next(&mut client.read) {
                return;
            }
        }
    }
}

proptest! {
    #[test]
    fn how_bytes_are_split_never_changes_what_comes_out(
        parts in prop::collection::vec(part(), 0..24),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let bytes = parts.concat();
        let whole = outcome(LIMITS.header_bytes, [&bytes[..]]);
        prop_assert_eq!(&outcome(LIMITS.header_bytes, pieces(&bytes, &cuts)), &whole);
        prop_assert_eq!(&outcome(LIMITS.header_bytes, bytes.chunks(1)), &whole);
    }

    #[test]
    fn a_head_comes_out_as_it_went_in(
        method in TOKEN,
        target in "[!-~]{1,80}",
        fields in prop::collection::vec((TOKEN.prop_map(|name| format!("x{name}")), value()), 0..12),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let mut bytes = format!("{method} {target} HTTP/1.1\r\nHost: a\r\n").into_bytes();
        for (name, (before, value, after)) in &fields {
            bytes.extend_from_slice(format!("{name}:{before}").as_bytes());
            bytes.extend_from_slice(value);
            bytes.extend_from_slice(format!("{after}\r\n").as_bytes());
        }
        bytes.extend_from_slice(b"\r\n");
        let (messages, violation) = outcome(1 << 16, pieces(&bytes, &cuts));
        prop_assert_eq!((messages.len(), violation), (1, None));
        let lines = fields.into_iter().map(|(name, (_, value, _))| (name.to_ascii_lowercase(), value));
        let expected: Vec<_> = [("host".to_owned(), b"a".to_vec())].into_iter().chain(lines).collect();
        prop_assert_eq!(&messages[0].fields, &expected);
        prop_assert_eq!((&messages[0].method, &messages[0].target), (&method, &target));
        check_against_httparse(&bytes);
    }

    #[test]
    fn a_body_in_chunks_comes_out_whole(
        chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..8),
        trailer in prop::option::of("[!-~]{0,8}"),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let mut bytes = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        for chunk in &chunks {
            bytes.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
            bytes.extend_from_slice(chunk);
            bytes.extend_from_slice(b"\r\n");
        }
        let line = trailer.as_ref().map(|value| format!("X-T: {value}\r\n")).unwrap_or_default();
        bytes.extend_from_slice(format!("0\r\n{line}\r\n").as_bytes());
        let (messages, violation) = outcome(LIMITS.header_bytes, pieces(&bytes, &cuts));
        prop_assert_eq!((messages.len(), violation), (1, None));
        prop_assert_eq!(&messages[0].body, &chunks.concat());
        let trailers: Vec<_> = trailer.into_iter().map(|value| ("x-t".to_owned(), value.into_bytes())).collect();
        prop_assert_eq!((&messages[0].trailers, messages[0].complete), (&trailers, true));
    }

    #[test]
    fn another_parser_reads_the_same_in_what_is_accepted(parts in prop::collection::vec(part(), 0..24)) {
        check_against_httparse(&parts.concat());
    }

    #[test]
    fn any_bytes_are_judged_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        outcome(LIMITS.header_bytes, [&bytes[..]]);
    }
}
