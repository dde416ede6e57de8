//! Exchanges over a real socket, whose other end is written and read by hand.

use std::{
    cell::RefCell,
    future::Future,
    io::{self, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    os::unix::net::UnixStream,
    rc::Rc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use http_body::{Body as _, Frame};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use routing_cache::model::Address;
use socket2::SockRef;
use tokio::sync::mpsc;

use super::super::{AnswerBody, Ask, Fault, Flaw, Shared, Spare, Wire, exchange};
use crate::{
    message::{Fields, ResponseHead},
    net::stream::{self, Stream},
};

type Body = UnsyncBoxBody<Bytes, io::Error>;
type Answer = (ResponseHead, AnswerBody<Body>);

const SOON: Duration = Duration::from_secs(10);
const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n";
const BODY: &[u8] = b"ok";
const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// On one worker's runtime, within a deadline.
fn run(test: impl Future<Output = ()>) {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().build_local(tokio::runtime::LocalOptions::default()).unwrap();
    runtime.block_on(async { tokio::time::timeout(SOON, test).await.expect("within the deadline") });
}

/// Lets other tasks, and the kernel, do their part until `condition` holds.
async fn until(mut condition: impl FnMut() -> bool) {
    while !condition() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// A connection over a Unix socket, and its other end.
fn pair() -> (Shared<Body>, UnixStream) {
    let (own, peer) = UnixStream::pair().unwrap();
    own.set_nonblocking(true).unwrap();
    let own = tokio::net::UnixStream::from_std(own).unwrap();
    (wire(Stream::Unix(own)), peer)
}

fn wire(stream: Stream) -> Shared<Body> {
    Rc::new(RefCell::new(Wire::new(stream, Rc::new(Spare::default()))))
}

fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// A body of what is sent into the channel; its end is the channel's.
fn streamed() -> (mpsc::Sender<Result<Frame<Bytes>, io::Error>>, Body) {
    let (sender, mut frames) = mpsc::channel(8);
    (sender, StreamBody::new(futures_util::stream::poll_fn(move |cx| frames.poll_recv(cx))).boxed_unsync())
}

fn data(bytes: impl Into<Bytes>) -> Result<Frame<Bytes>, io::Error> {
    Ok(Frame::data(bytes.into()))
}

/// Asks with these fields; what informational answers come is noted in `heard`.
async fn ask(
    wire: &Shared<Body>,
    (method, fields): (Method, &[(&'static str, &'static str)]),
    body: Body,
    heard: &RefCell<Vec<ResponseHead>>,
) -> Result<Answer, Fault> {
    let fields: Fields = fields.iter().copied().collect();
    let informed = |head: &ResponseHead| heard.borrow_mut().push(head.clone());
    let ask = Ask { method: &method, target: "/x?y=z", fields: &fields, informed: &informed };
    exchange(wire, &ask, body).await.unwrap_or_else(|_| panic!("the connection takes no request"))
}

async fn get(wire: &Shared<Body>) -> Result<Answer, Fault> {
    ask(wire, (Method::GET, &[]), full(""), &RefCell::default()).await
}

async fn text((_, body): Answer) -> String {
    String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

/// What a request with this body becomes.
async fn sent(fields: &[(&'static str, &'static str)], body: Body) -> String {
    let (wire, mut peer) = pair();
    peer.write_all(b"").unwrap();
    let reading = std::thread::spawn(move || {
        peer.set_read_timeout(Some(SOON)).unwrap();
        let (mut seen, mut chunk) = (Vec::new(), vec![0; 1 << 16]);
        while !seen.ends_with(b"END\r\n0\r\n\r\n") && !seen.ends_with(b"END") && !seen.ends_with(b"x-sum: END\r\n\r\n")
        {
            let read = peer.read(&mut chunk).unwrap();
            assert!(read > 0, "{}", seen.escape_ascii());
            seen.extend_from_slice(&chunk[..read]);
        }
        peer.write_all(OK).unwrap();
        (String::from_utf8(seen).unwrap(), peer)
    });
    let answer = ask(&wire, (Method::POST, fields), body, &RefCell::default()).await.unwrap();
    assert_eq!(text(answer).await, "ok");
    assert!(wire.borrow().is_reusable());
    reading.join().unwrap().0
}

#[test]
fn a_request_is_framed_as_its_head_says_or_its_body_knows() {
    run(async {
        let post = "POST /x?y=z HTTP/1.1\r\n";
        assert_eq!(sent(&[], full("END")).await, format!("{post}content-length: 3\r\n\r\nEND"));
        let (sender, body) = streamed();
        sender.send(data("123END, and what is beyond its length")).await.unwrap();
        drop(sender);
        assert_eq!(sent(&[("content-length", "6")], body).await, format!("{post}content-length: 6\r\n\r\n123END"));
        let chunked = format!("{post}transfer-encoding: chunked\r\n\r\n");
        assert_eq!(
            sent(&[("transfer-encoding", "chunked"), ("content-length", "9")], full("END")).await,
            format!("{chunked}3\r\nEND\r\n0\r\n\r\n")
        );
        let (sender, body) = streamed();
        for piece in ["a", "", "bc", "END"] {
            sender.send(data(piece)).await.unwrap();
        }
        drop(sender);
        assert_eq!(sent(&[], body).await, format!("{chunked}1\r\na\r\n2\r\nbc\r\n3\r\nEND\r\n0\r\n\r\n"));
        // Frames that are not copied, the last one with the end of its body.
        let large = "x".repeat(300_000) + "END";
        assert_eq!(sent(&[], full(large.clone())).await, format!("{post}content-length: 300003\r\n\r\n{large}"));
        let expected = format!("{chunked}493E3\r\n{large}\r\n0\r\n\r\n");
        assert_eq!(sent(&[("transfer-encoding", "chunked")], full(large.clone())).await, expected);
        let (sender, body) = streamed();
        sender.send(data(large.clone())).await.unwrap();
        drop(sender);
        assert_eq!(sent(&[], body).await, expected);
    });
}

#[test]
fn of_a_request_s_trailers_those_are_sent_that_its_head_names_and_may_trail() {
    run(async {
        let (sender, body) = streamed();
        let mut trailers = HeaderMap::new();
        for (name, value) in [("host", "evil"), ("x-other", "1"), ("x-sum", "END")] {
            trailers.insert(name, value.parse().unwrap());
        }
        sender.send(data("a")).await.unwrap();
        sender.send(Ok(Frame::trailers(trailers))).await.unwrap();
        let seen = sent(&[("trailer", "X-Sum, host")], body).await;
        assert!(seen.ends_with("\r\n\r\n1\r\na\r\n0\r\nx-sum: END\r\n\r\n"), "{seen}");
    });
}

#[test]
fn a_body_that_is_shorter_than_its_length_breaks_the_exchange() {
    run(async {
        let (wire, _peer) = pair();
        let (sender, body) = streamed();
        sender.send(data("ab")).await.unwrap();
        drop(sender);
        let answer = ask(&wire, (Method::POST, &[("content-length", "3")]), body, &RefCell::default()).await;
        assert!(matches!(answer, Err(Fault::RequestBodyShort)), "{answer:?}");
        assert!(!wire.borrow().is_reusable());
    });
}

#[test]
fn informational_answers_are_told_and_the_last_one_counts() {
    run(async {
        let (wire, mut peer) = pair();
        let (sender, body) = streamed();
        let heard = RefCell::default();
        let asking = async {
            let answer = ask(&wire, (Method::POST, &[]), body, &heard).await.unwrap();
            assert_eq!((answer.0.status, answer.0.fields.len()), (StatusCode::OK, 1));
            assert_eq!(text(answer).await, "ok");
        };
        let answering = async {
            peer.write_all(
                b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nLink: </b>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\nHTT",
            )
            .unwrap();
            until(|| heard.borrow().len() == 2).await;
            drop(sender);
            peer.write_all(OK.strip_prefix(b"HTT").unwrap()).unwrap();
        };
        tokio::join!(asking, answering);
        let told: Vec<_> = heard.take().into_iter().map(|head| (head.status, head.fields)).collect();
        let links = [("link", "</a>"), ("link", "</b>")].into_iter().collect();
        assert_eq!(told, [(StatusCode::EARLY_HINTS, links), (StatusCode::CONTINUE, Fields::new())]);
        assert!(wire.borrow().is_reusable());
    });
}

/// Whoever reads the answer may be slow, and the upstream may want the whole request before it answers on.
#[test]
fn a_request_is_sent_to_its_end_though_its_answer_came_before_and_is_not_read() {
    run(async {
        let (wire, mut peer) = pair();
        let (sender, body) = streamed();
        peer.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n").unwrap();
        let answer = ask(&wire, (Method::POST, &[]), body, &RefCell::default()).await.unwrap();
        sender.send(data("END")).await.unwrap();
        drop(sender);
        peer.set_nonblocking(true).unwrap();
        let mut seen = Vec::new();
        until(|| {
            let mut chunk = [0; 1024];
            let read = peer.read(&mut chunk).unwrap_or(0);
            seen.extend_from_slice(&chunk[..read]);
            seen.ends_with(b"3\r\nEND\r\n0\r\n\r\n")
        })
        .await;
        peer.write_all(b"ok").unwrap();
        assert_eq!(text(answer).await, "ok");
        assert!(wire.borrow().is_reusable());
    });
}

#[test]
fn a_request_that_fails_behind_its_answer_fails_the_answer() {
    run(async {
        let (wire, mut peer) = pair();
        let (sender, body) = streamed();
        peer.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n").unwrap();
        let answer = ask(&wire, (Method::POST, &[]), body, &RefCell::default()).await.unwrap();
        let failing = async {
            tokio::task::yield_now().await;
            sender.send(Err(io::Error::other("the client left"))).await.unwrap();
        };
        let (read, ()) = tokio::join!(answer.1.collect(), failing);
        assert!(matches!(read, Err(Fault::RequestBody(_))), "{read:?}");
        assert!(!wire.borrow().is_reusable());
    });
}

#[test]
fn a_connection_of_which_the_answer_is_dropped_ends_its_request_too() {
    run(async {
        let (wire, mut peer) = pair();
        let (sender, body) = streamed();
        peer.write_all(HEAD).unwrap();
        let answer = ask(&wire, (Method::POST, &[]), body, &RefCell::default()).await.unwrap();
        let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
        assert_eq!(tasks(), 1, "one sends the rest");
        sender.send(data("a")).await.unwrap();
        until(|| sender.capacity() == sender.max_capacity()).await;
        drop((answer, wire));
        sender.closed().await;
        until(|| tasks() == 0).await;
        assert_eq!(
            peer.read_to_end(&mut Vec::new()).unwrap(),
            "POST /x?y=z HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n".len()
        );
    });
}

#[test]
fn a_switch_of_protocols_before_the_request_s_end_is_none() {
    run(async {
        let (wire, mut peer) = pair();
        let (_sender, body) = streamed();
        peer.write_all(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n").unwrap();
        let answer = ask(&wire, (Method::POST, &[]), body, &RefCell::default()).await;
        assert!(matches!(answer, Err(Fault::Malformed(Flaw::EarlySwitch))), "{answer:?}");
    });
}

/// Whether a connection may be used again after this answer.
async fn keeps(method: Method, answer: &[u8]) -> bool {
    let (wire, mut peer) = pair();
    peer.write_all(answer).unwrap();
    let answer = ask(&wire, (method, &[]), full(""), &RefCell::default()).await.unwrap();
    answer.1.collect().await.unwrap();
    wire.borrow().is_reusable()
}

#[test]
fn a_connection_is_used_again_only_after_an_answer_that_leaves_nothing_open() {
    run(async {
        let kept: [(Method, &[u8]); 8] = [
            (Method::GET, OK),
            (Method::GET, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"),
            (Method::GET, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nA: 1\r\n\r\n"),
            (Method::GET, b"HTTP/1.1 204 No Content\r\n\r\n"),
            (Method::GET, b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n"),
            (Method::HEAD, HEAD),
            (Method::HEAD, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
            (Method::GET, b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok"),
        ];
        for (method, answer) in kept {
            assert!(keeps(method, answer).await, "{}", answer.escape_ascii());
        }
        let spent: [(Method, &[u8]); 11] = [
            (Method::GET, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokx"),
            (Method::GET, b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"),
            (
                Method::GET,
                b"HTTP/1.1 200 OK\r\nConnection: close\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok",
            ),
            (Method::GET, b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok"),
            (Method::GET, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok"),
            (Method::GET, b"HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nok"),
            (
                Method::GET,
                b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
            ),
            (Method::HEAD, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
            (Method::GET, b"HTTP/1.1 304 Not Modified\r\nContent-Length: two\r\n\r\n"),
            (Method::CONNECT, b"HTTP/1.1 200 OK\r\n\r\n"),
            (Method::GET, b"HTTP/1.1 101 Switching Protocols\r\n\r\n"),
        ];
        for (method, answer) in spent {
            assert!(!keeps(method, answer).await, "{}", answer.escape_ascii());
        }
    });
}

#[test]
fn a_connection_in_the_middle_of_an_answer_is_not_used_again() {
    run(async {
        let (wire, mut peer) = pair();
        peer.write_all(HEAD).unwrap();
        drop(get(&wire).await.unwrap());
        assert!(!wire.borrow().is_reusable());
    });
}

#[test]
fn an_answer_that_fills_a_read_exactly_leaves_a_connection_that_is_used_again() {
    run(async {
        let (wire, mut peer) = pair();
        let body = (8 << 10) - "HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n".len();
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {body}\r\n\r\n{}", "x".repeat(body));
        assert_eq!(answer.len(), 8 << 10);
        for _ in 0..3 {
            peer.write_all(answer.as_bytes()).unwrap();
            assert_eq!(text(get(&wire).await.unwrap()).await.len(), body);
            assert!(wire.borrow().is_reusable() && wire.borrow().is_quiet());
            wire.borrow_mut().rest();
        }
    });
}

#[test]
fn an_idle_connection_that_speaks_or_ends_is_known_without_a_read() {
    run(async {
        for unasked in [Some(OK), None] {
            let (wire, mut peer) = pair();
            peer.write_all(OK).unwrap();
            assert_eq!(text(get(&wire).await.unwrap()).await, "ok");
            assert!(wire.borrow().is_quiet());
            match unasked {
                Some(bytes) => peer.write_all(bytes).unwrap(),
                None => drop(peer),
            }
            until(|| !wire.borrow().is_quiet()).await;
        }
    });
}

#[test]
fn a_large_body_comes_whole_and_says_how_much_of_it_is_to_come() {
    run(async {
        let (wire, peer) = pair();
        let mut writer = peer.try_clone().unwrap();
        let writing = std::thread::spawn(move || {
            writer.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 8388608\r\n\r\n").unwrap();
            writer.write_all(&vec![b'x'; 8 << 20]).unwrap();
        });
        let mut body = get(&wire).await.unwrap().1;
        let mut read = 0;
        while let Some(frame) = body.frame().await {
            read += frame.unwrap().into_data().unwrap().len();
            assert_eq!(body.size_hint().exact(), Some((8 << 20) - read as u64));
        }
        assert_eq!(read, 8 << 20);
        writing.join().unwrap();
        assert!(wire.borrow().is_reusable());
    });
}

/// Asks, and reads as much of the answer as the peer then writes.
async fn halves(wire: &Shared<Body>, peer: &mut TcpStream, answer: &[u8]) -> AnswerBody<Body> {
    let written = async {
        let begun = Instant::now();
        peer.set_nonblocking(true).unwrap();
        let mut request = Vec::new();
        until(|| {
            assert!(begun.elapsed() < SOON);
            let mut chunk = [0; 256];
            let read = peer.read(&mut chunk).unwrap_or(0);
            request.extend_from_slice(&chunk[..read]);
            request.ends_with(b"\r\n\r\n")
        })
        .await;
        peer.write_all(answer).unwrap();
    };
    let (answer, ()) = tokio::join!(get(wire), written);
    let mut body = answer.unwrap().1;
    // Either the body is there, or it is waited for.
    let _ = futures_util::poll!(body.frame());
    body
}

/// Whether the kernel acknowledges what comes at once, or waits for something to send with it.
fn acknowledges_at_once(peer: &Stream) -> bool {
    let Stream::Tcp(stream) = peer else { panic!("not TCP") };
    SockRef::from(stream).tcp_quickack().unwrap()
}

/// The state is looked at, not the 40 ms that an app with Nagle's algorithm on would wait for its second write.
#[test]
fn an_answer_in_two_writes_is_acknowledged_at_once_and_a_whole_one_is_not() {
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = Address::Tcp(listener.local_addr().unwrap());
        let wire = wire(stream::connect(&address, SOON).await.unwrap());
        let mut peer = listener.accept().unwrap().0;
        let whole = [HEAD, BODY].concat();
        // After some questions and answers the kernel counts on there being something to send after each read.
        let begun = Instant::now();
        loop {
            assert!(halves(&wire, &mut peer, &whole).await.is_end_stream());
            if !acknowledges_at_once(wire.borrow().stream()) {
                break;
            }
            assert!(begun.elapsed() < SOON, "the kernel goes on to acknowledge at once");
        }
        let body = halves(&wire, &mut peer, HEAD).await;
        assert!(acknowledges_at_once(wire.borrow().stream()), "the body is to come");
        drop(body);
    });
}
