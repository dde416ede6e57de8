//! The same random answers, cut into the same random reads, to hyper's client and to this one: what hyper takes for a
//! whole answer is the same here, but for what is refused on purpose, and nothing more is taken than hyper takes.

use std::{
    collections::VecDeque,
    future::Future as _,
    io,
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Version};
use http_body_util::{BodyExt, Empty};
use hyper::{
    client::conn::http1,
    ext::ReasonPhrase,
    rt::{Read, ReadBufCursor, Write},
};
use proptest::prelude::*;

use super::super::{
    fault::{Fault, Flaw},
    head::is_informational,
    reading::Reading,
};
use crate::message::{ResponseHead, body::Item};

/// How often everything is looked at before nothing more is expected of hyper: it has no timers here.
const ROUNDS: usize = 400;

/// What came of an answer.
#[derive(Debug, Default, PartialEq)]
struct Outcome {
    head: Option<Seen>,
    body: Vec<u8>,
    trailers: Option<HeaderMap>,
    end: End,
    /// The connection could carry another request.
    reusable: bool,
}

#[derive(Clone, Debug, Default, PartialEq)]
enum End {
    /// All of it came.
    Whole,
    /// It is none, or was cut.
    Broken(Option<Flaw>),
    /// More is waited for.
    #[default]
    Waits,
}

#[derive(Debug, PartialEq)]
struct Seen {
    status: u16,
    version: Version,
    reason: Option<Vec<u8>>,
    headers: Vec<(String, Vec<u8>)>,
}

fn seen(status: u16, version: Version, reason: Option<&[u8]>, headers: &HeaderMap) -> Seen {
    let headers = headers.iter().map(|(name, value)| (name.to_string(), value.as_bytes().to_vec())).collect();
    Seen { status, version, reason: reason.map(<[u8]>::to_vec), headers }
}

/// A map has fields of one name together, so that is how they are compared.
fn seen_here(head: &ResponseHead) -> Seen {
    let mut headers = HeaderMap::new();
    for (name, value) in head.fields.iter() {
        headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_bytes(value).unwrap());
    }
    assert_eq!(headers.len(), head.fields.len());
    seen(head.status.as_u16(), head.version, head.reason.as_deref(), &headers)
}

/// A socket from which these reads come once something was written.
struct Script {
    reads: VecDeque<Vec<u8>>,
    ends: bool,
    asked: bool,
    reader: Option<Waker>,
}

impl Read for Script {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, mut buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        if !self.asked || (self.reads.is_empty() && !self.ends) {
            self.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let Some(mut read) = self.reads.pop_front() else { return Poll::Ready(Ok(())) };
        let taken = read.len().min(buf.remaining());
        let rest = read.split_off(taken);
        buf.put_slice(&read);
        if !rest.is_empty() {
            self.reads.push_front(rest);
        }
        Poll::Ready(Ok(()))
    }
}

impl Write for Script {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.asked = true;
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// What hyper makes of it. Everything is polled in turn, whoever was woken.
fn by_hyper(reads: &[Vec<u8>], ends: bool, method: &Method) -> Outcome {
    let script = Script { reads: reads.iter().cloned().collect(), ends, asked: false, reader: None };
    let mut cx = Context::from_waker(Waker::noop());
    let mut builder = http1::Builder::new();
    builder.allow_spaces_after_header_name_in_responses(true);
    let Poll::Ready(shaken) = pin!(builder.handshake::<_, Empty<Bytes>>(script)).poll(&mut cx) else {
        panic!("nothing is waited for")
    };
    let (mut sender, mut driver) = shaken.unwrap();
    let mut outcome = Outcome::default();
    {
        let request = Request::builder().method(method).uri("/").header("host", "a").body(Empty::new()).unwrap();
        let mut exchange = pin!(async {
            let Ok(response) = sender.send_request(request).await else { return outcome.end = End::Broken(None) };
            let reason = response.extensions().get::<ReasonPhrase>().map(ReasonPhrase::as_bytes);
            outcome.head = Some(seen(response.status().as_u16(), response.version(), reason, response.headers()));
            let mut body = response.into_body();
            while let Some(frame) = body.frame().await {
                match frame.map(http_body::Frame::into_data) {
                    Ok(Ok(data)) => outcome.body.extend_from_slice(&data),
                    Ok(Err(trailers)) => outcome.trailers = trailers.into_trailers().ok(),
                    Err(_) => return outcome.end = End::Broken(None),
                }
            }
            outcome.end = End::Whole;
        });
        let (mut done, mut driven) = (false, false);
        for _ in 0..ROUNDS {
            driven = driven || Pin::new(&mut driver).poll(&mut cx).is_ready();
            done = done || exchange.as_mut().poll(&mut cx).is_ready();
        }
    }
    outcome.reusable = outcome.end == End::Whole && sender.is_ready();
    outcome
}

/// What this client makes of it.
fn here(reads: &[Vec<u8>], ends: bool, method: &Method) -> Outcome {
    let mut outcome = Outcome::default();
    let mut reads = reads.iter();
    match read_here(&mut reads, ends, method, &mut outcome) {
        Ok(()) => {}
        Err(Fault::Malformed(flaw)) => outcome.end = End::Broken(Some(flaw)),
        Err(_) => outcome.end = End::Broken(None),
    }
    // What comes later, the end too, is seen by the socket's readiness.
    outcome.reusable &= outcome.end == End::Whole && reads.len() == 0 && !ends;
    outcome
}

fn read_here(
    reads: &mut std::slice::Iter<'_, Vec<u8>>,
    ends: bool,
    method: &Method,
    outcome: &mut Outcome,
) -> Result<(), Fault> {
    let (mut reading, mut read, mut head) = (Reading::new(), BytesMut::new(), ResponseHead::new(StatusCode::OK));
    loop {
        if outcome.head.is_none() {
            while let Some(facts) = reading.head(&mut read, method, &mut head)? {
                if !is_informational(head.status) {
                    outcome.reusable = facts.keeps(&head, method);
                    outcome.head = Some(seen_here(&head));
                    break;
                }
            }
        }
        while outcome.head.is_some() {
            match reading.next(&mut read)? {
                Item::Data(data) => outcome.body.extend_from_slice(&data),
                Item::Trailers(trailers) => outcome.trailers = Some(trailers),
                Item::End => {
                    outcome.reusable &= read.is_empty();
                    outcome.end = End::Whole;
                    return Ok(());
                }
                Item::More => break,
            }
        }
        match reads.next() {
            Some(more) => read.extend_from_slice(more),
            None if ends => reading.end(&read)?,
            None => return Ok(()),
        }
    }
}

/// What is refused here and not by hyper; see the constants and comments where it is refused.
fn is_refused_on_purpose(flaw: Flaw, answer: &[u8]) -> bool {
    let text = String::from_utf8_lossy(answer).to_ascii_lowercase();
    let has_long_number =
        |least: usize, radix: u32| text.split(|c: char| !c.is_digit(radix)).any(|digits| digits.len() >= least);
    match flaw {
        Flaw::Coding => text.matches("transfer-encoding").count() > 1,
        Flaw::Chunk => has_long_number(17, 16) || text.chars().any(|c| c.is_ascii_control() && !"\r\n\t".contains(c)),
        Flaw::Length => has_long_number(19, 10),
        Flaw::Trailers => text.replace("\r\n", "").contains('\n'),
        _ => false,
    }
}

fn compare(answer: &[u8], cuts: &[usize], ends: bool, method: &Method) -> Result<(), TestCaseError> {
    let mut reads = Vec::new();
    let mut from = 0;
    for cut in cuts.iter().copied().chain([answer.len()]) {
        reads.push(answer.get(from..cut).unwrap().to_vec());
        from = cut;
    }
    reads.retain(|read| !read.is_empty());
    let (theirs, ours) = (by_hyper(&reads, ends, method), here(&reads, ends, method));
    let what = || format!("{} at {cuts:?}, ends {ends}\nhyper {theirs:?}\nhere {ours:?}", answer.escape_ascii());
    match (&theirs.end, &ours.end) {
        (End::Whole | End::Waits, End::Broken(Some(flaw))) if is_refused_on_purpose(*flaw, answer) => {}
        (End::Broken(_), End::Broken(_)) => {
            prop_assert!(ours.head.is_none() || theirs.head == ours.head, "{}", what());
            prop_assert!(theirs.body.starts_with(&ours.body) || ours.body.starts_with(&theirs.body), "{}", what());
        }
        // hyper looks only now and then too.
        (End::Waits, End::Broken(Some(Flaw::Head(_)))) => prop_assert!(theirs.head.is_none(), "{}", what()),
        // A head is looked at for what is wrong with it only now and then before it is complete.
        (End::Broken(_), End::Waits) => prop_assert!(ours.head.is_none() && !ours.reusable, "{}", what()),
        (a, b) => {
            prop_assert!(a == b, "{}", what());
            prop_assert!(theirs.head == ours.head && theirs.body == ours.body, "{}", what());
            prop_assert!(theirs.trailers == ours.trailers, "{}", what());
        }
    }
    prop_assert!(theirs.reusable || !ours.reusable, "it would be used again\n{}", what());
    let whole = here(&[answer.to_vec()], ends, method);
    if ours.end != End::Waits && whole.end != End::Waits && !reads.is_empty() {
        let same = whole.head == ours.head && whole.body == ours.body && whole.trailers == ours.trailers;
        let ended = matches!((&whole.end, &ours.end), (End::Broken(_), End::Broken(_))) || whole.end == ours.end;
        prop_assert!(ended && (same || ours.end != End::Whole), "in one piece {whole:?}\n{}", what());
    }
    Ok(())
}

fn one_of(texts: &'static [&'static str]) -> impl Strategy<Value = String> {
    prop::sample::select(texts).prop_map(str::to_owned)
}

/// The second of two, seldom.
fn mostly<T: std::fmt::Debug>(
    usual: impl Strategy<Value = T>,
    seldom: impl Strategy<Value = T>,
) -> impl Strategy<Value = T> {
    prop_oneof![12 => usual, 1 => seldom]
}

fn line_end() -> impl Strategy<Value = String> {
    mostly(Just("\r\n".to_owned()), one_of(&["\n", "\r", "\r\r\n", "\n\r\n"]))
}

fn status_line() -> impl Strategy<Value = String> {
    mostly(
        one_of(&[
            "HTTP/1.1 200 OK",
            "HTTP/1.1 204 No Content",
            "HTTP/1.1 304 Not Modified",
            "HTTP/1.0 200 OK",
            "HTTP/1.1 404 Away",
        ]),
        one_of(&[
            "HTTP/1.1 200",
            "HTTP/1.1 200 ",
            "HTTP/1.1 100 Continue",
            "HTTP/1.1 103 Early Hints",
            "HTTP/1.1 101 Switching Protocols",
            "HTTP/1.1 099 Odd",
            "HTTP/1.1 999 \u{e4}",
            "HTTP/1.1 20 OK",
            "HTTP/2 200",
            "",
            "HTTP/1.1  200 OK",
        ]),
    )
}

fn field() -> impl Strategy<Value = String> {
    mostly(
        one_of(&[
            "Content-Length: 5",
            "Content-Length: 0",
            "Transfer-Encoding: chunked",
            "Connection: keep-alive",
            "Connection: close",
            "Server: x",
            "X-Empty:",
        ]),
        one_of(&[
            "Content-Length: 5, 5",
            "Content-Length: 6",
            "Content-Length: +5",
            "Content-Length: 5 ",
            "Content-Length : 5",
            "Content-Length: 18446744073709551617",
            "Content-Length: 9223372036854775808",
            "content-length: \u{e9}",
            "Transfer-Encoding: gzip, chunked",
            "Transfer-Encoding: chunked, gzip",
            "transfer-encoding: CHUNKED ",
            "Transfer-Encoding: ",
            "Transfer-Encoding:\tchunked",
            "Connection: upgrade, Close",
            "Connection: x\u{e9}, close",
            " folded",
            "X-Nul: \0",
            "X-Space : 1",
            "X Space: 1",
            "X\u{e9}: 1",
            ": 1",
            "no colon",
        ]),
    )
}

fn chunk() -> impl Strategy<Value = String> {
    mostly(
        one_of(&["5\r\nhello\r\n", "1\r\n!\r\n", "A\r\n0123456789\r\n", "2;ext=1\r\nab\r\n"]),
        one_of(&[
            "05 \t\r\nhello\r\n",
            "00000000000000005\r\nhello\r\n",
            "ffffffffffffffff\r\nx",
            "5\nhello\r\n",
            "5\r\nhello\n",
            "5\r\nhelloo\r\n",
            "+5\r\nhello\r\n",
            "5;a\0b\r\nhello\r\n",
            "5;a\nb\r\nhello\r\n",
            "\r\n",
            "g\r\n",
        ]),
    )
}

fn last() -> impl Strategy<Value = String> {
    mostly(
        one_of(&["0\r\n\r\n", "0\r\nX-Sum: 1\r\n\r\n", "00;x\r\n\r\n"]),
        one_of(&[
            "",
            "0\r\n",
            "0\r\nX-Sum: 1\r\n",
            "0\r\nA: 1\nB: 2\r\n\r\n",
            "0\r\nA: 1\n\r\n\r\n",
            "0\r\nA : 1\r\n\r\n",
            "0\n\r\n",
            "0\r\n\n",
        ]),
    )
}

fn body() -> impl Strategy<Value = String> {
    let chunks = (prop::collection::vec(chunk(), 0..4), last()).prop_map(|(chunks, last)| chunks.concat() + &last);
    let plain = mostly(one_of(&["hello", "", "hello"]), one_of(&["hell", "hello!", "HTTP/1.1 200 OK\r\n\r\n"]));
    prop_oneof![plain, chunks]
}

fn answer() -> impl Strategy<Value = Vec<u8>> {
    let lines = prop::collection::vec((field(), line_end()), 0..5);
    let head = (status_line(), line_end(), lines, line_end());
    let head = head.prop_map(|(status, end, fields, last)| {
        let fields: String = fields.into_iter().map(|(field, end)| field + &end).collect();
        status + &end + &fields + &last
    });
    let informed = mostly(
        Just(String::new()),
        one_of(&["HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 103 X\r\nA: 1\r\n\r\n", "\r\n"]),
    );
    let left_over = mostly(Just(String::new()), one_of(&["\r\n", "x", "HTTP/1.1 200 OK\r\n\r\n"]));
    let whole = (informed, head, body(), left_over).prop_map(|(a, b, c, d)| {
        // One character, one byte, so that bytes beyond ASCII are met too.
        (a + &b + &c + &d).chars().map(|c| u8::try_from(c).unwrap_or(b'?')).collect::<Vec<_>>()
    });
    (whole, mostly(Just(None), any::<(prop::sample::Index, u8)>().prop_map(Some))).prop_map(|(mut bytes, change)| {
        if let Some((at, byte)) = change
            && !bytes.is_empty()
        {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn an_answer_is_what_hyper_takes_it_for_and_never_more(
        answer in answer(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
        ends in any::<bool>(),
        method in prop::sample::select(&[Method::GET, Method::GET, Method::GET, Method::HEAD][..]),
    ) {
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(answer.len() + 1)).collect();
        cuts.sort_unstable();
        compare(&answer, &cuts, ends, &method)?;
    }
}

/// Every answer of a few kinds, in single bytes.
#[test]
fn an_answer_in_single_bytes_is_the_same() {
    let answers: [&[u8]; 6] = [
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 200 Fine\r\nTransfer-Encoding: chunked\r\n\r\n5;a\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.0 200 OK\nConnection: keep-alive\nContent-Length: 2\n\nok",
        b"HTTP/1.1 200 OK\r\n\r\nto the end",
        b"\r\n\r\nHTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n",
    ];
    for answer in answers {
        let cuts: Vec<_> = (1..answer.len()).collect();
        for ends in [true, false] {
            compare(answer, &cuts, ends, &Method::GET).unwrap();
        }
    }
}
