//! Answers before the answer (RFC 9110, 15.2).

use super::harness::{DEADLINE, Gateway, Upstream, short};

const GET: &str = "GET / HTTP/1.1\r\nHost: app.test\r\n\r\n";
const HINTS: &str = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\nLink: </b.js>; rel=preload\r\n\
                     Connection: close, x-own\r\nX-Own: 1\r\nKeep-Alive: 5\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// An upstream that says `before`, waits for a word, and answers.
fn hinting(before: String) -> (Upstream, std::sync::mpsc::SyncSender<()>) {
    let (go, gone) = std::sync::mpsc::sync_channel::<()>(16);
    let gone = std::sync::Mutex::new(gone);
    let upstream = Upstream::scripted(move |_, wire, seen| {
        while let Some(request) = wire.message("") {
            seen.send(request).unwrap();
            wire.send(&before);
            gone.lock().unwrap().recv_timeout(DEADLINE).unwrap();
            wire.send(OK);
        }
    });
    (upstream, go)
}

#[test]
fn hints_are_passed_on_when_they_come_and_not_with_the_answer() {
    let (upstream, go) = hinting(format!("HTTP/1.1 102 Processing\r\n\r\n{HINTS}"));
    let gateway = Gateway::one(&short(&upstream));
    let mut client = gateway.connect();
    for _ in 0..2 {
        client.send(GET);
        assert_eq!(client.head().unwrap().start, "HTTP/1.1 102 Processing");
        let hints = client.head().unwrap();
        assert_eq!(hints.start, "HTTP/1.1 103 Early Hints");
        assert_eq!(hints.all("link"), ["</a.css>; rel=preload", "</b.js>; rel=preload"]);
        assert_eq!(hints.all("via"), ["1.1 holdgate"]);
        for own in ["connection", "x-own", "keep-alive", "date", "content-length"] {
            assert_eq!(hints.header(own), None);
        }
        go.send(()).unwrap();
        assert_eq!(client.reply().text(), "ok");
    }
}

#[test]
fn a_client_that_speaks_http_1_0_gets_the_answer_alone() {
    let (upstream, go) = hinting(HINTS.to_owned());
    let gateway = Gateway::one(&short(&upstream));
    go.send(()).unwrap();
    let reply = gateway.ask("GET / HTTP/1.0\r\nHost: app.test\r\n\r\n");
    assert_eq!((reply.status(), reply.text()), (200, "ok"));
}

#[test]
fn a_100_that_nobody_waits_for_goes_no_further() {
    let (upstream, go) = hinting("HTTP/1.1 100 Continue\r\n\r\n".to_owned());
    let gateway = Gateway::one(&short(&upstream));
    go.send(()).unwrap();
    assert_eq!(gateway.get("/").text(), "ok");
}

/// What a client does not read of hints is bounded: they promise nothing.
#[test]
fn a_flood_of_hints_does_not_keep_the_answer_from_a_client() {
    let flood = format!("HTTP/1.1 103 Early Hints\r\nLink: {}\r\n\r\n", "x".repeat(4000)).repeat(10_000);
    let (upstream, go) = hinting(flood);
    let gateway = Gateway::one(&short(&upstream));
    let mut client = gateway.connect();
    client.send(GET);
    go.send(()).unwrap();
    let mut hints = 0;
    let answer = loop {
        let head = client.head().unwrap();
        if head.status() != 103 {
            break head;
        }
        hints += 1;
    };
    assert_eq!((answer.status(), client.take(2)), (200, b"ok".to_vec()));
    assert!((1..=10_000).contains(&hints));
}

/// The bound is for what waits, and not for all that is said in the course of a long request.
#[test]
fn hints_that_are_read_are_all_passed_on_however_many_they_are() {
    const HINTS: usize = 50;
    let (go, gone) = std::sync::mpsc::sync_channel::<()>(0);
    let gone = std::sync::Mutex::new(gone);
    let upstream = Upstream::scripted(move |_, wire, _| {
        wire.message("").unwrap();
        for hint in 0..HINTS {
            wire.send(format!("HTTP/1.1 103 Early Hints\r\nX-Hint: {hint}\r\nX: {}\r\n\r\n", "x".repeat(1000)));
            gone.lock().unwrap().recv_timeout(DEADLINE).unwrap();
        }
        wire.send(OK);
    });
    let gateway = Gateway::one(&short(&upstream));
    let mut client = gateway.connect();
    client.send(GET);
    for hint in 0..HINTS {
        assert_eq!(client.head().unwrap().header("x-hint"), Some(hint.to_string().as_str()));
        go.send(()).unwrap();
    }
    assert_eq!(client.reply().text(), "ok");
}

/// A client may wait for it, which it does for no other.
#[test]
fn a_100_is_not_dropped_behind_hints_that_wait() {
    let flood = format!("HTTP/1.1 103 Early Hints\r\nLink: {}\r\n\r\n", "x".repeat(4000)).repeat(10_000);
    let upstream = Upstream::scripted(move |_, wire, seen| {
        let head = wire.head().unwrap();
        wire.send(&flood);
        wire.send("HTTP/1.1 100 Continue\r\n\r\n");
        seen.send(head).unwrap();
        wire.take(4);
        wire.send(OK);
    });
    let gateway = Gateway::one(&short(&upstream));
    let mut client = gateway.connect();
    client.send("POST / HTTP/1.1\r\nHost: app.test\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n");
    upstream.request();
    // The one worker goes round meanwhile, so the 100 is where it can get to.
    for _ in 0..3 {
        assert_eq!(gateway.ask("GET / HTTP/1.1\r\nHost: no.test\r\n\r\n").status(), 404);
    }
    while client.head().unwrap().status() != 100 {}
    client.send("body");
    assert_eq!(client.reply().text(), "ok");
}
