//! What is refused, and what ends an answer.

use bytes::BytesMut;
use http::{Method, StatusCode};

use super::super::{
    fault::{Fault, Flaw},
    head::MAX_FIELDS,
    reading::{MAX_HEAD_BYTES, Reading},
};
use crate::message::{ResponseHead, body::Item};

fn blank() -> ResponseHead {
    ResponseHead::new(StatusCode::OK)
}

/// What comes of an answer that is read in one piece, after which the connection ends.
fn read(answer: &str) -> Result<String, Flaw> {
    let (mut reading, mut read) = (Reading::new(), BytesMut::from(answer));
    reading.head(&mut read, &Method::GET, &mut blank())?.expect("the head is complete");
    let mut body = Vec::new();
    loop {
        match reading.next(&mut read)? {
            Item::Data(data) => body.extend_from_slice(&data),
            Item::Trailers(trailers) => body.extend_from_slice(format!("{trailers:?}").as_bytes()),
            Item::End => return Ok(String::from_utf8(body).unwrap()),
            Item::More => match reading.end(&read) {
                Ok(()) => {}
                Err(Fault::Ended) => return Ok(format!("{} cut", String::from_utf8(body).unwrap())),
                Err(other) => panic!("{other:?}"),
            },
        }
    }
}

fn chunked(body: &str) -> Result<String, Flaw> {
    read(&format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{body}"))
}

fn with(fields: &str) -> Result<String, Flaw> {
    read(&format!("HTTP/1.1 200 OK\r\n{fields}\r\nok"))
}

#[test]
fn what_frames_an_answer_must_be_one_thing() {
    let fine = [
        "Content-Length: 2\r\n",
        "Content-Length : 2\r\n",
        "Content-Length: 2, 2\r\nContent-Length:2\r\n",
        "Content-Length: 000000000000000000000000000002\r\n",
        "",
        "Transfer-Encoding: gzip\r\n",
    ];
    for fields in fine {
        assert_eq!(with(fields).as_deref(), Ok("ok"), "{fields}");
    }
    let lengths = [
        "Content-Length: 2\r\nContent-Length: 3\r\n",
        "Content-Length: 2, 3\r\n",
        "Content-Length: +2\r\n",
        "Content-Length: 0x2\r\n",
        "Content-Length: 2 2\r\n",
        "Content-Length:\r\n",
        "Content-Length: 2,\r\n",
        "Content-Length: \u{b2}\r\n",
        "Content-Length: 9223372036854775808\r\n",
        "Content-Length: 99999999999999999999\r\n",
    ];
    for fields in lengths {
        assert_eq!(with(fields), Err(Flaw::Length), "{fields}");
    }
    assert_eq!(with("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"), Err(Flaw::Coding));
    assert_eq!(read("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), Err(Flaw::Coding));
}

#[test]
fn a_head_that_could_be_read_in_two_ways_is_refused() {
    for fields in
        ["A: 1\r\n b\r\n", "A: 1\0\r\n", "A: 1\r2\r\n", "A\r\n", ": 1\r\n", "A B: 1\r\n", " A: 1\r\n", "A\0: 1\r\n"]
    {
        assert!(matches!(with(fields), Err(Flaw::Head(_))), "{fields:?}: {:?}", with(fields));
    }
    for line in
        ["HTTP/1.1 20 OK", "HTTP/1.1 2000 OK", "HTTP/2.0 200 OK", "http/1.1 200 OK", "HTTP/1.1  200 OK", "ICY 200 OK"]
    {
        assert!(read(&format!("{line}\r\n\r\n")).is_err(), "{line}");
    }
    assert_eq!(read("HTTP/1.1 099 OK\r\n\r\n"), Err(Flaw::Value));
}

#[test]
fn chunks_are_taken_for_what_they_are_or_not_at_all() {
    let fine = [
        "2\r\nok\r\n0\r\n\r\n",
        "1;a=\"b;c\"\r\no\r\n01 \t\r\nk\r\n0;x\r\n\r\n",
        "0000000000000002\r\nok\r\n00\r\n\r\n",
        "2\r\nok\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
    ];
    for body in fine {
        assert_eq!(chunked(body).as_deref(), Ok("ok"), "{body:?}");
    }
    let wrong = [
        "2\nok\r\n0\r\n\r\n",
        "2\n\nok\r\n0\r\n\r\n",
        "2\r\nokk\r\n0\r\n\r\n",
        "2\r\nok\n0\r\n\r\n",
        "2\r\nok\r\r\n0\r\n\r\n",
        "+2\r\nok\r\n0\r\n\r\n",
        "0x2\r\nok\r\n0\r\n\r\n",
        " 2\r\nok\r\n0\r\n\r\n",
        "2 2\r\nok\r\n0\r\n\r\n",
        "\r\nok\r\n0\r\n\r\n",
        "2;a\nb\r\nok\r\n0\r\n\r\n",
        "2;a\0\r\nok\r\n0\r\n\r\n",
        "2;a\rb\r\nok\r\n0\r\n\r\n",
        "00000000000000002\r\nok\r\n0\r\n\r\n",
        "fffffffffffffffff\r\nok\r\n0\r\n\r\n",
    ];
    for body in wrong {
        assert_eq!(chunked(body), Err(Flaw::Chunk), "{body:?}");
    }
    assert_eq!(chunked(&format!("2;{}\r\nok\r\n0\r\n\r\n", "a".repeat(16 << 10))), Err(Flaw::Chunk));
    assert_eq!(chunked(&format!("2{}\r\nok\r\n0\r\n\r\n", " ".repeat(16 << 10))), Err(Flaw::Chunk));
    for body in ["2\r\no", "2\r\nok", "2\r\nok\r\n", "2\r\nok\r\n0\r\n", "2\r\nok\r\n0\r\nA: 1\r\n"] {
        assert!(chunked(body).unwrap().ends_with(" cut"), "{body:?}");
    }
}

#[test]
fn trailers_are_fields_and_bounded() {
    assert_eq!(chunked("2\r\nok\r\n0\r\nX-Sum: 1\r\n\r\n").as_deref(), Ok("ok{\"x-sum\": \"1\"}"));
    let large = format!("0\r\nA: {}\r\n\r\n", "a".repeat(16 << 10));
    for body in [
        "0\r\nA: 1\nB: 2\r\n\r\n",
        "0\r\nA: 1\n\r\n\r\n",
        "0\r\n A: 1\r\n\r\n",
        "0\r\nA : 1\r\n\r\n",
        "0\r\nA\r\n\r\n",
        "0\r\nA: \0\r\n\r\n",
        large.as_str(),
    ] {
        assert_eq!(chunked(body), Err(Flaw::Trailers), "{}", body.get(..20).unwrap_or(body));
    }
}

#[test]
fn a_head_has_a_bound_though_it_never_ends() {
    let (mut reading, mut read) = (Reading::new(), BytesMut::from("HTTP/1.1 200 OK\r\nA: "));
    let mut outcome = Ok(None);
    while outcome.as_ref().is_ok_and(Option::is_none) {
        assert!(read.len() < MAX_HEAD_BYTES + 1000, "it has none");
        read.extend_from_slice(&[b'a'; 1000]);
        outcome = reading.head(&mut read, &Method::GET, &mut blank());
    }
    assert!(matches!(outcome, Err(Flaw::HeadTooLarge)), "{outcome:?}");
}

#[test]
fn what_is_no_answer_is_known_before_it_ends() {
    let (mut reading, mut read) = (Reading::new(), BytesMut::from("SSH-2.0-OpenSSH_9.2\r\n"));
    let outcome = reading.head(&mut read, &Method::GET, &mut blank());
    assert!(matches!(outcome, Err(Flaw::Head(httparse::Error::Version))), "{outcome:?}");
}

/// The head that this one is, in pieces of so many bytes.
fn head_of(answer: &str, piece: usize) -> Result<ResponseHead, Flaw> {
    let (mut reading, mut read, mut head) = (Reading::new(), BytesMut::new(), blank());
    for piece in answer.as_bytes().chunks(piece) {
        read.extend_from_slice(piece);
        if reading.head(&mut read, &Method::GET, &mut head)?.is_some() {
            return Ok(head);
        }
    }
    panic!("it is not complete");
}

fn lines(head: &ResponseHead) -> String {
    let lines = head.fields.iter().map(|(name, value)| format!("{name}: {}\r\n", value.escape_ascii()));
    lines.collect()
}

#[test]
fn fields_are_in_the_order_they_came_in_and_values_as_they_were() {
    let answer =
        "HTTP/1.1 200 OK\r\nB: 1\r\nSet-Cookie : a\r\nA:\t2 3 \t\r\nset-cookie: b\r\nEmpty:\r\nBlank: \r\nb:4\r\n\r\nX";
    let expected = "b: 1\r\nset-cookie: a\r\na: 2 3\r\nset-cookie: b\r\nempty: \r\nblank: \r\nb: 4\r\n";
    for piece in [1, 7, answer.len()] {
        assert_eq!(lines(&head_of(answer, piece).unwrap()), expected, "in pieces of {piece}");
    }
}

#[test]
fn of_many_fields_all_are_read_and_of_too_many_none() {
    let with = |count: usize, piece| {
        let expected: String = (0..count).map(|i| format!("x-{i}: {i}\r\n")).collect();
        head_of(&format!("HTTP/1.1 200 OK\r\n{expected}\r\n"), piece).map(|head| (lines(&head), expected))
    };
    for count in [0, 99, 100, 101, 999, MAX_FIELDS] {
        for piece in [1000, usize::MAX] {
            let (read, expected) = with(count, piece).unwrap();
            assert_eq!(read, expected, "{count} fields");
        }
    }
    assert_eq!(MAX_FIELDS, 1000);
    for piece in [1000, usize::MAX] {
        let refused = with(MAX_FIELDS + 1, piece);
        assert!(matches!(refused, Err(Flaw::Head(httparse::Error::TooManyHeaders))), "{refused:?}");
    }
}

#[test]
fn a_reason_is_told_where_it_is_not_the_usual_one() {
    let reason = |line| head_of(&format!("HTTP/1.1 {line}\r\n\r\n"), 5).unwrap().reason.map(Vec::from);
    assert_eq!(reason("200 OK"), None);
    assert_eq!(reason("404 Away"), Some(b"Away".to_vec()));
    // One with bytes beyond ASCII is not passed on, and what is none is not made one.
    for line in ["200 \u{e4}", "200 ", "200", "999"] {
        assert_eq!(reason(line), Some(Vec::new()), "{line}");
    }
}
