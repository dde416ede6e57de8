use std::{
    future::{Future, poll_fn},
    io,
    task::Poll,
};

use http::{Method, StatusCode};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, UnixListener},
    sync::{Notify, mpsc},
    task::spawn_local,
};

use super::*;
use crate::config::{LimitsConfig, UpstreamConfig};

type Body = UnsyncBoxBody<Bytes, io::Error>;
type Answer = (ResponseHead, AnswerBody<Body>);

const SOON: Duration = Duration::from_secs(10);
const SETTINGS: PoolSettings =
    PoolSettings { idle_per_endpoint: 4, idle_total: 1000, idle_for: IDLE_FOR, max_age: MAX_AGE };

fn full(bytes: &'static str) -> Body {
    Full::new(Bytes::from_static(bytes.as_bytes())).map_err(|never| match never {}).boxed_unsync()
}

/// Asks with these fields, and one for the host.
async fn ask_with(
    lease: &mut Lease<Body>,
    fields: &[(&'static str, &'static str)],
    body: Body,
) -> Result<Answer, SendError<Body>> {
    let fields: Fields = [("host", "a")].iter().chain(fields).copied().collect();
    let (method, informed) = (Method::POST, |_: &ResponseHead| {});
    lease.send(&Ask { method: &method, target: "/", fields: &fields, informed: &informed }, body).await
}

async fn ask(lease: &mut Lease<Body>, body: Body) -> Result<Answer, SendError<Body>> {
    ask_with(lease, &[], body).await
}

/// Tells connections that live at the same time apart.
fn id(lease: &Lease<Body>) -> *const () {
    Rc::as_ptr(&lease.connection.wire).cast()
}

/// On one worker's runtime, within a deadline.
fn run(test: impl Future<Output = ()>) {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().build_local(tokio::runtime::LocalOptions::default()).unwrap();
    runtime.block_on(async { tokio::time::timeout(SOON, test).await.expect("within the deadline") });
}

/// Lets other tasks run until `condition` holds.
async fn until(condition: impl Fn() -> bool) {
    while !condition() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// An app that answers each request with `answers`, one after the other, and closes after the last.
#[derive(Clone)]
struct App {
    answers: Rc<Vec<&'static str>>,
    /// Closes all connections that wait for a request.
    close: Rc<Notify>,
}

impl App {
    fn new(answers: &[&'static str]) -> Self {
        Self { answers: Rc::new(answers.to_vec()), close: Rc::default() }
    }

    async fn on_tcp(&self) -> Address {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = Address::Tcp(listener.local_addr().unwrap());
        let app = self.clone();
        spawn_local(async move {
            while let Ok((stream, _)) = listener.accept().await {
                spawn_local(app.clone().serve(stream));
            }
        });
        address
    }

    async fn serve(self, mut stream: impl AsyncRead + AsyncWrite + Unpin) {
        let mut seen = Vec::new();
        for answer in self.answers.iter() {
            // A request without a body, or with one that comes in the same read, ends in an empty line or "hello".
            while !["\r\n\r\n", "hello", "hello\r\n"].iter().any(|end| seen.ends_with(end.as_bytes())) {
                let read = tokio::select! {
                    read = stream.read_buf(&mut seen) => read,
                    () = self.close.notified() => return,
                };
                if !matches!(read, Ok(1..)) {
                    return;
                }
            }
            seen.clear();
            if stream.write_all(answer.as_bytes()).await.is_err() {
                return;
            }
        }
        if self.answers.last().is_some_and(|last| last.contains("101")) {
            let (mut read, mut write) = tokio::io::split(stream);
            // ignored: the test sees what came back.
            let _ = tokio::io::copy(&mut read, &mut write).await;
        }
    }
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// One exchange over a connection of `pool`, to the end of the answer. The lease is not given back.
async fn exchange(pool: &Pool<Body>, address: &Address) -> Lease<Body> {
    let mut lease = pool.checkout(address, SOON, false).await.unwrap();
    let answer = ask(&mut lease, full("")).await.unwrap();
    assert_eq!(answer.1.collect().await.unwrap().to_bytes(), "ok");
    lease
}

async fn broken(answer: &'static str) -> Broken {
    let address = App::new(&[answer]).on_tcp().await;
    let mut lease = Pool::new(SETTINGS).checkout(&address, SOON, false).await.unwrap();
    match ask(&mut lease, full("hello")).await {
        Err(SendError::Broken(broken)) => broken,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_released_connection_is_used_again_and_the_last_one_first() {
    run(async {
        let address = App::new(&[OK; 9]).on_tcp().await;
        let pool = Pool::new(SETTINGS);
        let (first, second) = (exchange(&pool, &address).await, exchange(&pool, &address).await);
        assert_eq!((first.reused(), second.reused(), pool.open()), (false, false, 2));
        let ids = [id(&first), id(&second)];
        first.release();
        second.release();
        assert_eq!(pool.idle(), 2);
        for _ in 0..3 {
            let lease = exchange(&pool, &address).await;
            assert_eq!((lease.reused(), id(&lease)), (true, ids[1]));
            lease.release();
        }
        assert_eq!((pool.idle(), pool.open()), (2, 2));
    });
}

/// It would read of the next exchange what is none of its own.
#[test]
fn a_connection_of_which_somebody_has_the_answer_is_not_given_back() {
    run(async {
        let address = App::new(&["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"; 2]).on_tcp().await;
        let pool = Pool::new(SETTINGS);
        let mut lease = pool.checkout(&address, SOON, false).await.unwrap();
        let answer = ask(&mut lease, full("")).await.unwrap();
        lease.release();
        assert_eq!(pool.idle(), 0);
        drop(answer);
        assert_eq!(pool.open(), 0);
    });
}

#[test]
fn an_idle_connection_that_speaks_unasked_is_not_used_again() {
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = Address::Tcp(listener.local_addr().unwrap());
        let pool = Pool::new(SETTINGS);
        let mut lease = pool.checkout(&address, SOON, false).await.unwrap();
        let (mut peer, _) = listener.accept().await.unwrap();
        peer.write_all(OK.as_bytes()).await.unwrap();
        ask(&mut lease, full("")).await.unwrap().1.collect().await.unwrap();
        lease.release();
        assert_eq!(pool.idle(), 1);
        peer.write_all(OK.replace("ok", "no").as_bytes()).await.unwrap();
        let slot = pool.slot(&address);
        until(|| !slot.idle.borrow()[0].connection.is_quiet()).await;
        assert!(!pool.checkout(&address, SOON, false).await.unwrap().reused());
        assert_eq!((pool.idle(), pool.open()), (0, 0));
    });
}

#[test]
fn a_fresh_connection_is_new_whatever_idles() {
    run(async {
        let address = App::new(&[OK; 9]).on_tcp().await;
        let pool = Pool::new(SETTINGS);
        exchange(&pool, &address).await.release();
        let lease = pool.checkout(&address, SOON, true).await.unwrap();
        assert_eq!((lease.reused(), pool.idle(), pool.open()), (false, 1, 2));
    });
}

#[test]
fn a_lease_that_is_dropped_closes_its_connection() {
    run(async {
        let address = App::new(&[OK; 9]).on_tcp().await;
        let pool = Pool::new(SETTINGS);
        drop(exchange(&pool, &address).await);
        until(|| pool.open() == 0).await;
        assert_eq!(pool.idle(), 0);
    });
}

#[test]
fn a_connection_that_its_peer_closes_leaves_the_pool_by_itself() {
    run(async {
        let app = App::new(&[OK; 9]);
        let address = app.on_tcp().await;
        let pool = Pool::new(SETTINGS);
        exchange(&pool, &address).await.release();
        assert_eq!(pool.idle(), 1);
        app.close.notify_waiters();
        let now = pool.common.now.get();
        until(|| {
            pool.sweep(now);
            pool.idle() == 0 && pool.open() == 0
        })
        .await;
        exchange(&pool, &address).await.release();
        assert_eq!(pool.idle(), 1);
    });
}

#[test]
fn a_connection_that_says_it_closes_is_not_kept() {
    run(async {
        let close = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok";
        let address = App::new(&[close, close]).on_tcp().await;
        let pool = Pool::new(SETTINGS);
        exchange(&pool, &address).await.release();
        assert_eq!(pool.idle(), 0);
        until(|| pool.open() == 0).await;
    });
}

#[test]
fn a_request_for_a_connection_that_was_closed_comes_back() {
    run(async {
        let app = App::new(&[OK; 9]);
        let address = app.on_tcp().await;
        let pool = Pool::new(SETTINGS);
        let mut lease = exchange(&pool, &address).await;
        app.close.notify_waiters();
        until(|| !lease.connection.is_quiet()).await;
        match ask(&mut lease, full("hello")).await {
            Err(SendError::NotSent(body)) => assert_eq!(body.collect().await.unwrap().to_bytes(), "hello"),
            other => panic!("{other:?}"),
        }
        lease.release();
        assert_eq!(pool.idle(), 0);
    });
}

#[test]
fn how_a_connection_broke_is_told() {
    run(async {
        let silent = broken("").await;
        assert_eq!((silent.cause, silent.wrote, silent.answered), (BrokenCause::Closed, true, false));
        let cut = broken("HTTP/1.1 200 OK\r\nContent-Le").await;
        assert_eq!((cut.cause, cut.answered), (BrokenCause::Closed, true));
        let garbage = broken("SSH-2.0-OpenSSH\r\n\r\n").await;
        assert_eq!((garbage.cause, garbage.answered), (BrokenCause::BadAnswer, true));
    });
}

#[test]
fn a_body_that_ends_in_an_error_is_not_the_fault_of_the_upstream() {
    run(async {
        let address = App::new(&[OK]).on_tcp().await;
        let mut lease = Pool::new(SETTINGS).checkout(&address, SOON, false).await.unwrap();
        let chunks = [Ok(http_body::Frame::data(Bytes::from_static(b"hel"))), Err(io::Error::other("the client left"))];
        let body = StreamBody::new(futures_util::stream::iter(chunks)).boxed_unsync();
        match ask(&mut lease, body).await {
            Err(SendError::Broken(broken)) => assert_eq!(broken.cause, BrokenCause::RequestBody),
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn an_answer_that_comes_before_the_whole_request_spends_the_connection() {
    run(async {
        let address = App::new(&[OK, OK]).on_tcp().await;
        let pool = Pool::new(SETTINGS);
        let mut lease = pool.checkout(&address, SOON, false).await.unwrap();
        let (unfinished, chunks) = mpsc::channel(1);
        unfinished.send(Ok(http_body::Frame::data(Bytes::from_static(b"hello")))).await.unwrap();
        let mut chunks: mpsc::Receiver<Result<http_body::Frame<Bytes>, io::Error>> = chunks;
        let body = StreamBody::new(futures_util::stream::poll_fn(move |cx| chunks.poll_recv(cx))).boxed_unsync();
        let answer = ask(&mut lease, body).await.unwrap();
        answer.1.collect().await.unwrap();
        lease.release();
        assert_eq!(pool.idle(), 0);
        drop(unfinished);
        until(|| pool.open() == 0).await;
    });
}

/// The app has answered and reads on: what it then gets is all of the request, though nobody waits for it any more.
#[test]
fn a_request_that_was_answered_before_its_end_is_sent_to_its_end() {
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = Address::Tcp(listener.local_addr().unwrap());
        let pool = Pool::new(SETTINGS);
        let mut lease = pool.checkout(&address, SOON, false).await.unwrap();
        let (mut peer, _) = listener.accept().await.unwrap();
        peer.write_all(OK.as_bytes()).await.unwrap();
        let large = Full::new(Bytes::from(vec![b'x'; 8 << 20])).map_err(|never| match never {}).boxed_unsync();
        let answer = ask(&mut lease, large).await.unwrap();
        assert_eq!(answer.1.collect().await.unwrap().to_bytes(), "ok");
        assert!(lease.connection.wire.borrow().is_answered_early());
        lease.release();
        assert_eq!((pool.idle(), pool.open()), (0, 1));
        let mut seen = Vec::new();
        peer.read_to_end(&mut seen).await.unwrap();
        assert!(seen.len() > 8 << 20 && seen.ends_with(b"xx"), "{} bytes", seen.len());
        until(|| pool.open() == 0).await;
    });
}

#[test]
fn a_request_that_is_given_up_closes_its_connection() {
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = Address::Tcp(listener.local_addr().unwrap());
        let pool = Pool::new(SETTINGS);
        let mut lease = pool.checkout(&address, SOON, false).await.unwrap();
        let (_silent, _) = listener.accept().await.unwrap();
        let mut sending = Box::pin(ask(&mut lease, full("hello")));
        let polled = poll_fn(|cx| Poll::Ready(sending.as_mut().poll(cx).is_pending())).await;
        assert!(polled, "nobody has answered");
        drop(sending);
        drop(lease);
        until(|| pool.open() == 0).await;
    });
}

#[test]
fn no_more_connections_idle_than_may_and_none_for_too_long() {
    run(async {
        let address = App::new(&[OK; 9]).on_tcp().await;
        let pool = Pool::new(PoolSettings { idle_per_endpoint: 2, ..SETTINGS });
        let mut leases = Vec::new();
        for _ in 0..3 {
            leases.push(exchange(&pool, &address).await);
        }
        leases.into_iter().for_each(Lease::release);
        assert_eq!(pool.idle(), 2);
        until(|| pool.open() == 2).await;
        let begun = pool.common.now.get();
        pool.sweep(begun + IDLE_FOR / 2);
        assert_eq!(pool.idle(), 2);
        let young = exchange(&pool, &address).await;
        young.release();
        pool.sweep(begun + IDLE_FOR);
        assert_eq!(pool.idle(), 1, "the one that was used since stays");
        pool.configure(PoolSettings { idle_per_endpoint: 0, ..SETTINGS });
        pool.sweep(begun + IDLE_FOR);
        assert_eq!((pool.idle(), pool.slots.borrow().len()), (0, 0), "and unused endpoints are forgotten");
        until(|| pool.open() == 0).await;
    });
}

#[test]
fn a_pool_that_is_cleared_or_dropped_leaves_no_task() {
    run(async {
        let address = App::new(&[OK; 9]).on_tcp().await;
        let pool = Pool::new(SETTINGS);
        exchange(&pool, &address).await.release();
        pool.clear();
        until(|| pool.open() == 0).await;
        exchange(&pool, &address).await.release();
        let common = Rc::clone(&pool.common);
        drop(pool);
        until(|| common.open.get() == 0).await;
    });
}

#[test]
fn head_and_small_body_leave_in_one_write() {
    run(async {
        let address = App::new(&[OK; 9]).on_tcp().await;
        let pool = Pool::new(SETTINGS);
        let mut lease = pool.checkout(&address, SOON, false).await.unwrap();
        for _ in 0..2 {
            let answer = ask(&mut lease, full("hello")).await.unwrap();
            answer.1.collect().await.unwrap();
            assert_eq!(lease.connection.wire.borrow().writes(), 1);
        }
    });
}

#[test]
fn a_unix_socket_is_pooled_like_any_other() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("app.sock");
        let listener = UnixListener::bind(&path).unwrap();
        spawn_local(async move {
            while let Ok((stream, _)) = listener.accept().await {
                spawn_local(App::new(&[OK; 9]).serve(stream));
            }
        });
        let address: Address = format!("unix:{}", path.display()).parse().unwrap();
        let pool = Pool::new(SETTINGS);
        exchange(&pool, &address).await.release();
        assert!(exchange(&pool, &address).await.reused());
    });
}

#[test]
fn an_upgraded_connection_is_handed_over_with_what_was_read() {
    run(async {
        let switch = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\nearly";
        let address = App::new(&[switch]).on_tcp().await;
        let pool = Pool::new(SETTINGS);
        let mut lease = pool.checkout(&address, SOON, false).await.unwrap();
        let answer = ask_with(&mut lease, &[("connection", "upgrade"), ("upgrade", "echo")], full("")).await.unwrap();
        assert_eq!(answer.0.status, StatusCode::SWITCHING_PROTOCOLS);
        let (mut stream, mut early) = lease.into_stream().unwrap();
        let mut text = early.split_to(early.len()).to_vec();
        stream.write_all(b"late").await.unwrap();
        while text != b"earlylate" {
            assert!(stream.read_buf(&mut text).await.unwrap() > 0, "{}", text.escape_ascii());
        }
        assert_eq!((pool.idle(), pool.open()), (0, 0));
    });
}

#[test]
fn the_share_of_a_worker_is_rounded_up() {
    let upstream = UpstreamConfig {
        connect_timeout: SOON,
        request_timeout: SOON,
        idle_connections_per_endpoint: 5,
        eject_after: 5,
        eject_for: SOON,
        max_ejected_percent: 100,
        panic_percent: 0,
    };
    let limits = LimitsConfig {
        max_connections: 101,
        header_bytes: 8192,
        header_timeout: SOON,
        request_body_bytes: 0,
        min_request_bytes_per_second: 0,
        min_response_bytes_per_second: 0,
        min_rate_window: SOON,
        app_bytes: 1,
        changes_bytes: 1,
        snapshot_bytes: 1,
        snapshot_apps: 1,
    };
    let share = |workers| {
        let settings = PoolSettings::for_worker(&upstream, &limits, workers);
        (settings.idle_per_endpoint, settings.idle_total)
    };
    assert_eq!((share(2), share(0)), ((3, 51), (5, 101)));
}

#[test]
fn a_connection_is_used_for_its_time_and_not_beyond_it() {
    run(async {
        let address = App::new(&[OK; 99]).on_tcp().await;
        let pool = Pool::new(SETTINGS);
        let lease = exchange(&pool, &address).await;
        let (begun, retires) = (pool.common.now.get(), lease.connection.retires);
        assert!(retires <= begun + MAX_AGE && retires >= begun + MAX_AGE.mul_f64(0.8), "{:?}", retires - begun);
        lease.release();
        // Used all the time, it never idles for too long.
        let mut at = begun;
        while at + IDLE_FOR / 2 < retires {
            at += IDLE_FOR / 2;
            pool.sweep(at);
            let lease = exchange(&pool, &address).await;
            assert!(lease.reused());
            lease.release();
        }
        assert_eq!(pool.open(), 1);
        let old = pool.checkout(&address, SOON, false).await.unwrap();
        pool.sweep(retires);
        old.release();
        assert_eq!(pool.idle(), 0, "not given back");
        until(|| pool.open() == 0).await;
    });
}

#[test]
fn an_idle_connection_that_is_too_old_is_closed_and_not_taken() {
    run(async {
        let address = App::new(&[OK; 99]).on_tcp().await;
        let pool = Pool::new(PoolSettings { max_age: IDLE_FOR / 2, ..SETTINGS });
        let begun = pool.common.now.get();
        exchange(&pool, &address).await.release();
        pool.common.now.set(begun + IDLE_FOR / 2);
        assert!(!exchange(&pool, &address).await.reused());
        exchange(&pool, &address).await.release();
        assert_eq!(pool.idle(), 1);
        pool.sweep(begun + IDLE_FOR);
        assert_eq!(pool.idle(), 0);
        until(|| pool.open() == 0).await;
    });
}

#[test]
fn connections_made_together_do_not_end_together() {
    let now = Instant::now();
    let ends: std::collections::HashSet<_> = (0..100).map(|_| SETTINGS.retires(now)).collect();
    assert!(ends.len() > 50, "{}", ends.len());
}

#[test]
fn all_endpoints_together_have_a_bounded_number_of_idle_connections() {
    run(async {
        let pool = Pool::new(PoolSettings { idle_total: 3, ..SETTINGS });
        let mut addresses = Vec::new();
        for _ in 0..5 {
            addresses.push(App::new(&[OK; 9]).on_tcp().await);
        }
        for address in &addresses {
            exchange(&pool, address).await.release();
        }
        assert_eq!(pool.idle(), 3);
        // An endpoint that has a place may use it for its newest connection.
        let first = exchange(&pool, &addresses[0]).await;
        let (second, third) = (exchange(&pool, &addresses[0]).await, exchange(&pool, &addresses[3]).await);
        first.release();
        third.release();
        let newest = id(&second);
        second.release();
        assert_eq!(pool.idle(), 3);
        assert_eq!(id(&exchange(&pool, &addresses[0]).await), newest);
        // Where it is crowded, those that were not used of late make room.
        pool.sweep(pool.common.now.get() + Duration::from_secs(6));
        assert_eq!(pool.idle(), 2, "below three quarters of the places nothing is closed early");
        exchange(&pool, &addresses[4]).await.release();
        pool.sweep(pool.common.now.get() + Duration::from_secs(3));
        assert_eq!(pool.idle(), 2, "until it is not crowded any more");
        assert!(exchange(&pool, &addresses[4]).await.reused(), "the one that was used last");
    });
}

#[test]
fn endpoints_that_left_the_table_lose_their_idle_connections() {
    run(async {
        let pool = Pool::new(SETTINGS);
        let (stays, leaves, unknown) =
            (App::new(&[OK; 9]).on_tcp().await, App::new(&[OK; 9]).on_tcp().await, App::new(&[OK; 9]).on_tcp().await);
        for (address, app) in [(&stays, Some("stays")), (&leaves, Some("leaves")), (&unknown, None)] {
            let lease = exchange(&pool, address).await;
            if let Some(app) = app {
                lease.made_for(&AppId::new(app).unwrap());
            }
            lease.release();
        }
        let mut unchecked = pool.unchecked();
        let mut rounds = 0;
        while !unchecked.is_empty() {
            pool.close_departed(&mut unchecked, 2, |app, _| app.as_str() == "stays");
            rounds += 1;
        }
        assert_eq!((rounds, pool.idle()), (2, 2));
        until(|| pool.open() == 2).await;
        assert!(!exchange(&pool, &leaves).await.reused());
        assert!(exchange(&pool, &stays).await.reused());
    });
}

/// The peer's end has reached the socket, and the driver has not run since: this task has not let it.
#[test]
fn an_end_that_nobody_has_noticed_fails_the_next_request_without_an_answer() {
    run(async {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = Address::Tcp(listener.local_addr().unwrap());
        let pool = Pool::new(SETTINGS);
        let mut lease = pool.checkout(&address, SOON, false).await.unwrap();
        let (mut peer, _) = listener.accept().unwrap();
        std::io::Write::write_all(&mut peer, OK.as_bytes()).unwrap();
        let answer = ask(&mut lease, full("")).await.unwrap();
        answer.1.collect().await.unwrap();
        lease.release();
        drop(peer);
        let mut lease = pool.checkout(&address, SOON, false).await.unwrap();
        assert!(lease.reused(), "nobody has noticed");
        match ask(&mut lease, full("hello")).await {
            // It may be sent again whatever it is.
            Err(SendError::NotSent(_)) => {}
            // It may be sent again if that is safe.
            Err(SendError::Broken(broken)) => assert_eq!((broken.cause, broken.answered), (BrokenCause::Closed, false)),
            Ok(answer) => panic!("{answer:?}"),
        }
        drop(lease);
        until(|| pool.open() == 0).await;
    });
}
