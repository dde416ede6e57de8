use std::{
    cell::{Cell, RefCell},
    convert::Infallible,
    future::{Future, poll_fn},
    rc::Rc,
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, server::conn::http1::Builder, service::service_fn};
use proptest::prelude::*;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
    task::spawn_local,
};

use super::*;

const LIMITS: FramingLimits = FramingLimits { header_bytes: 4096 };
const SOON: Duration = Duration::from_secs(20);
const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// What a connection came to.
struct Outcome {
    /// Each request's body, or none if it ended in an error.
    bodies: Vec<Option<Bytes>>,
    /// All that was written to the client.
    written: Vec<u8>,
    violation: Option<Violation>,
}

impl Outcome {
    /// Answers that were written whole, by hyper or the service.
    fn answers(&self, status: &str) -> usize {
        String::from_utf8_lossy(&self.written).matches(status).count()
    }
}

fn run<T>(test: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().build_local(tokio::runtime::LocalOptions::default()).unwrap();
    runtime.block_on(async { tokio::time::timeout(SOON, test).await.expect("within the deadline") })
}

async fn until(condition: impl Fn() -> bool) {
    while !condition() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Serves one client that sends `pieces`, one after the other; each answer waits for `before_answer` and is `answer`.
async fn serve_slowly(pieces: Vec<Vec<u8>>, before_answer: Wait, answer: Bytes) -> Outcome {
    let (server, client) = UnixStream::pair().unwrap();
    let (io, verdict) = GuardedIo::new(Stream::Unix(server), LIMITS);
    let bodies = Rc::new(RefCell::new(Vec::new()));
    let all_sent = Rc::new(Cell::new(false));
    let (seen, sent) = (Rc::clone(&bodies), Rc::clone(&all_sent));
    let service = service_fn(move |request: Request<Incoming>| {
        let (seen, sent, answer) = (Rc::clone(&seen), Rc::clone(&sent), answer.clone());
        async move {
            let body = request.into_body().collect().await;
            seen.borrow_mut().push(body.ok().map(|body| body.to_bytes()));
            if before_answer == Wait::ForTheClient {
                until(|| sent.get()).await;
                // hyper has had its chance to read what the client sent.
                for _ in 0..20 {
                    tokio::task::yield_now().await;
                }
            }
            Ok::<_, Infallible>(Response::new(Full::new(answer)))
        }
    });
    let serving = spawn_local(async move { Builder::new().serve_connection(io, service).await });
    let (mut read, mut write) = client.into_split();
    spawn_local(async move {
        for piece in pieces {
            // ignored: the server may have closed after an earlier piece, which is what some tests are about.
            let _ = write.write_all(&piece).await;
            tokio::task::yield_now().await;
        }
        all_sent.set(true);
        if before_answer == Wait::ForTheClient {
            // Left open: the end of the client's bytes would be another reason to end.
            std::future::pending::<()>().await;
        }
        drop(write);
    });
    let mut written = Vec::new();
    // ignored: a reset ends the answer like a close.
    let _ = read.read_to_end(&mut written).await;
    // ignored: the verdict says what was wrong.
    let _ = serving.await.unwrap();
    Outcome { bodies: bodies.take(), written, violation: verdict.violation() }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Wait {
    No,
    ForTheClient,
}

fn serve(pieces: Vec<Vec<u8>>) -> Outcome {
    run(serve_slowly(pieces, Wait::No, Bytes::from_static(b"answer")))
}

#[test]
fn sound_requests_reach_the_service() {
    let post = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    let bytes = format!("{GET}{post}\r\n{GET}").into_bytes();
    for pieces in [
        vec![bytes.clone()],
        bytes.chunks(1).map(<[u8]>::to_vec).collect(),
        bytes.chunks(7).map(<[u8]>::to_vec).collect(),
    ] {
        let outcome = serve(pieces);
        assert_eq!(outcome.bodies, [Some(Bytes::new()), Some(Bytes::from_static(b"hello")), Some(Bytes::new())]);
        assert_eq!((outcome.answers("200 OK"), outcome.violation), (3, None));
    }
}

#[test]
fn a_refused_head_never_reaches_the_service_and_hyper_says_nothing() {
    for refused in [
        "GET / HTTP/1.1\nHost: a\n\n",
        "GET / HTTP/1.1\r\nHost: a\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nA: b\r\n c\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "\0",
        "\n",
        "\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    ] {
        for size in [1, 3, 4096] {
            let outcome = serve(refused.as_bytes().chunks(size).map(<[u8]>::to_vec).collect());
            assert_eq!(outcome.bodies, [], "{}", refused.escape_debug());
            assert_eq!(outcome.written, b"", "{}", refused.escape_debug());
            assert!(outcome.violation.is_some(), "{}", refused.escape_debug());
        }
    }
}

#[test]
fn a_violation_in_pipelined_bytes_never_cuts_the_answer_before_it() {
    let big = Bytes::from(vec![b'x'; 4 << 20]);
    for refused in ["\0", "\n", "GET / HTTP/1.1\n", "(", "GET / HTTP/1.1\r\n\r\n", "\r\n\r\n", "\rX"] {
        for pieces in [
            vec![format!("{GET}{refused}").into_bytes()],
            vec![GET.into(), refused.into()],
            [GET.into()].into_iter().chain(refused.bytes().map(|byte| vec![byte])).collect(),
        ] {
            for answer in [Bytes::from_static(b"answer"), big.clone()] {
                let outcome = run(serve_slowly(pieces.clone(), Wait::ForTheClient, answer.clone()));
                assert_eq!((outcome.bodies.len(), outcome.answers("200 OK")), (1, 1), "{}", refused.escape_debug());
                assert!(outcome.written.ends_with(&answer) && outcome.written.len() > answer.len());
                assert!(outcome.violation.is_some());
            }
        }
    }
}

#[test]
fn a_violation_in_a_body_ends_the_body_in_an_error_and_the_service_answers() {
    let refused =
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n+5\r\nhello\r\n0\r\n\r\n";
    for size in [1, 62, 4096] {
        let outcome = serve(refused.as_bytes().chunks(size).map(<[u8]>::to_vec).collect());
        assert_eq!(outcome.bodies, [None]);
        assert_eq!((outcome.answers("200 OK"), outcome.violation), (1, Some(Violation::ChunkSize)));
    }
}

#[test]
fn after_an_upgrade_anything_passes() {
    run(async {
        let (server, mut client) = UnixStream::pair().unwrap();
        let (io, verdict) = GuardedIo::new(Stream::Unix(server), LIMITS);
        let told = verdict.clone();
        let service = service_fn(move |mut request: Request<Incoming>| {
            let told = told.clone();
            async move {
                let upgrade = hyper::upgrade::on(&mut request);
                spawn_local(async move {
                    let parts = upgrade.await.unwrap().downcast::<GuardedIo>().unwrap();
                    assert!(!parts.io.between_messages() || parts.read_buf.is_empty());
                    let mut stream = parts.io.into_stream();
                    let mut bytes = [0; 4];
                    stream.read_exact(&mut bytes).await.unwrap();
                    stream.write_all(&bytes).await.unwrap();
                });
                told.pass_through();
                let switch = Response::builder().status(101).header("connection", "upgrade").header("upgrade", "x");
                Ok::<_, Infallible>(switch.body(Full::new(Bytes::new())).unwrap())
            }
        });
        let serving = spawn_local(async move { Builder::new().serve_connection(io, service).with_upgrades().await });
        client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n").await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            assert!(client.read_buf(&mut head).await.unwrap() > 0);
        }
        client.write_all(b"\0\n\r\x01").await.unwrap();
        let mut echo = [0; 4];
        client.read_exact(&mut echo).await.unwrap();
        assert_eq!((&echo, verdict.violation()), (b"\0\n\r\x01", None));
        serving.await.unwrap().unwrap();
    });
}

/// One read of `io`, as hyper does it.
fn read(io: &mut GuardedIo, cx: &mut Context<'_>) -> Poll<io::Result<Vec<u8>>> {
    let mut space = [0; 64];
    let mut buffer = hyper::rt::ReadBuf::new(&mut space);
    ready!(Pin::new(io).poll_read(cx, buffer.unfilled()))?;
    Poll::Ready(Ok(buffer.filled().to_vec()))
}

#[test]
fn what_hyper_itself_reads_after_an_upgrade_is_not_looked_at() {
    run(async {
        let (server, mut client) = UnixStream::pair().unwrap();
        let (mut io, verdict) = GuardedIo::new(Stream::Unix(server), LIMITS);
        client.write_all(GET.as_bytes()).await.unwrap();
        assert_eq!(poll_fn(|cx| read(&mut io, cx)).await.unwrap(), GET.as_bytes());
        assert!(io.between_messages());
        verdict.pass_through();
        client.write_all(b"\0\n").await.unwrap();
        assert_eq!(poll_fn(|cx| read(&mut io, cx)).await.unwrap(), b"\0\n");
        assert!(!io.between_messages());
    });
}

#[derive(Default)]
struct Woken(AtomicU8);

impl std::task::Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Relaxed);
    }
}

#[test]
fn the_error_waits_for_an_answer_that_finds_no_room_and_wakes_who_reads() {
    run(async {
        let (server, mut client) = UnixStream::pair().unwrap();
        let (mut io, _verdict) = GuardedIo::new(Stream::Unix(server), LIMITS);
        client.write_all(b"G\n").await.unwrap();
        assert_eq!(poll_fn(|cx| read(&mut io, cx)).await.unwrap(), b"G");
        let (answer, mut written) = (vec![b'x'; 1 << 16], 0);
        while let Poll::Ready(more) = poll_fn(|cx| Poll::Ready(Pin::new(&mut io).poll_write(cx, &answer))).await {
            written += more.unwrap();
        }
        assert!(poll_fn(|cx| Poll::Ready(read(&mut io, cx).is_pending())).await, "the answer comes first");
        client.read_exact(&mut vec![0; written]).await.unwrap();
        let woken = Arc::new(Woken::default());
        poll_fn(|cx| Pin::new(&mut io).poll_write(cx, b"x")).await.unwrap();
        let waker = Arc::clone(&woken).into();
        let mut cx = Context::from_waker(&waker);
        assert!(Pin::new(&mut io).poll_write(&mut cx, b"x").is_ready());
        assert_eq!(woken.0.load(Relaxed), 1);
        let Poll::Ready(Err(error)) = read(&mut io, &mut cx) else { panic!("no error") };
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    });
}

#[test]
fn what_passes_through_is_never_taken_back_but_a_violation_stays() {
    let verdict = FramingVerdict::new();
    assert_eq!((verdict.violation(), verdict.passes_through()), (None, false));
    verdict.refuse(Violation::BareLineFeed);
    verdict.pass_through();
    assert_eq!((verdict.violation(), verdict.passes_through()), (Some(Violation::BareLineFeed), false));
}

fn part() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        "GET / HTTP/1.1\r\n",
        "POST / HTTP/1.1\r\n",
        "POST / HTTP/1.0\r\n",
        "Host: a\r\n",
        "Host: a\r\n\r\n",
        "Content-Length: 3\r\n",
        "Transfer-Encoding: chunked\r\n",
        "\r\n",
        "\n",
        "\r",
        "3\r\nabc\r\n",
        "0\r\n\r\n",
        "abc",
        "X: y\r\n",
        ":",
        " ",
        GET,
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    ])
    .prop_map(str::to_owned)
}

/// Complete messages among the sound bytes of `bytes`, counted by the guard alone.
fn messages(bytes: &[u8]) -> usize {
    let mut framing = Framing::new(LIMITS);
    let mut count = 0;
    for byte in bytes {
        let before = framing.mid_message();
        framing.inspect(std::slice::from_ref(byte));
        count += usize::from(before && framing.between_messages());
    }
    count
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn hyper_never_sees_a_request_that_the_guard_does_not(
        parts in prop::collection::vec(part(), 0..12),
        size in 1_usize..64,
    ) {
        let bytes = parts.concat().into_bytes();
        let outcome = serve(bytes.chunks(size).map(<[u8]>::to_vec).collect());
        let whole = outcome.bodies.iter().filter(|body| body.is_some()).count();
        prop_assert!(whole <= messages(&bytes), "{} of {}: {}", whole, messages(&bytes), bytes.escape_ascii());
        let closes = |sign: &str| String::from_utf8_lossy(&outcome.written).contains(sign);
        let reads_on = !closes("connection: close") && !closes("HTTP/1.0");
        if outcome.violation.is_none() && reads_on {
            prop_assert_eq!(whole, messages(&bytes), "{}", bytes.escape_ascii());
        }
    }
}
