//! Rules that take more than one message each way: who speaks when, and who ends what.

use std::{io::Write, net::Shutdown, time::Duration};

use super::super::harness::{Client, Gateway, Upstream, eventually, held, long, settings, short};

const GET: &str = "GET / HTTP/1.1\r\nHost: app.test\r\n\r\n";
const POST: &str = "POST / HTTP/1.1\r\nHost: app.test\r\n";

/// RFC 9112, 9.6: a client that has sent all it wants may say so, and still gets its answers.
#[test]
fn a_half_closed_client_gets_its_answers() {
    let (upstream, go) = held();
    let gateway = Gateway::one(&short(&upstream));
    let mut client = gateway.connect();
    client.send(GET.repeat(3));
    client.stream.shutdown(Shutdown::Write).unwrap();
    for _ in 0..3 {
        upstream.request();
        // Other connections are served meanwhile, so the gateway has met the client's end.
        for _ in 0..3 {
            assert_eq!(gateway.ask("GET / HTTP/1.1\r\nHost: no.test\r\n\r\n").status(), 404);
        }
        go.send(()).unwrap();
        assert_eq!(client.reply().text(), "ok");
    }
    assert!(client.is_closed());
}

/// The same with an answer that is much larger than every buffer on its way.
#[test]
fn a_half_closed_client_gets_a_large_answer_whole() {
    let length = 32 << 20;
    let upstream = Upstream::scripted(move |_, wire, _| {
        wire.message("").unwrap();
        wire.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n"));
        wire.send(vec![b'x'; length]);
    });
    let gateway = Gateway::one(&short(&upstream));
    let mut client = gateway.connect();
    client.send(GET);
    client.stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(client.reply().body.len(), length);
    assert!(client.is_closed());
}

/// What a half-closed client has sent only in part is no request, and is not waited for.
#[test]
fn a_client_that_half_closes_in_a_request_is_not_waited_for() {
    let upstream = Upstream::scripted(|_, wire, _| drop(wire.rest()));
    let gateway = Gateway::one(&short(&upstream));
    for cut in ["GET / HT", "GET / HTTP/1.1\r\nHost: app.test\r\n", &format!("{POST}Content-Length: 9\r\n\r\nhalf")] {
        let mut client = gateway.connect();
        client.send(cut);
        client.stream.shutdown(Shutdown::Write).unwrap();
        let answer = String::from_utf8(client.rest()).unwrap();
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400 "), "{cut:?}: {answer}");
        eventually("no connection is left", || gateway.stats.connections() == 0);
    }
}

/// RFC 9112, 9.5: a client that is gone ends what is done for it.
#[test]
fn a_client_that_goes_away_cancels_its_request() {
    let upstream = Upstream::scripted(|_, wire, seen| {
        seen.send(wire.message("").unwrap()).unwrap();
        wire.rest();
        seen.send(Default::default()).unwrap();
    });
    let gateway = Gateway::one(&short(&upstream));
    let mut client = gateway.connect();
    client.send(GET);
    upstream.request();
    drop(client);
    assert_eq!(upstream.request().start, "", "the upstream's connection has ended");
}

/// RFC 9112, 9.3.2: answers leave in the order of their requests, also where the first takes longer.
#[test]
fn pipelined_requests_are_forwarded_one_after_the_other() {
    let upstream = Upstream::scripted(|_, wire, seen| {
        while let Some(request) = wire.message("") {
            let body = request.start.clone();
            seen.send(request).unwrap();
            assert!(wire.buffer.is_empty(), "the next request has not come before this one was answered");
            let content = if body.starts_with("HEAD") { "" } else { &body };
            wire.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{content}", body.len()));
        }
    });
    let gateway = Gateway::one(&short(&upstream));
    let mut client = gateway.connect();
    let post = format!("{POST}Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n");
    client.send(format!("{GET}{post}HEAD /h HTTP/1.1\r\nHost: app.test\r\n\r\n{GET}"));
    assert_eq!(client.reply().text(), "GET / HTTP/1.1");
    assert_eq!(client.reply().text(), "POST / HTTP/1.1");
    assert_eq!(client.reply_to("HEAD").header("content-length"), Some("16"));
    assert_eq!(client.reply().text(), "GET / HTTP/1.1");
    assert_eq!(upstream.connections(), 1);
}

/// RFC 9110, 9.3.2: the length in an answer to HEAD is that of the answer to GET.
#[test]
fn an_answer_to_head_keeps_its_length_and_has_no_content() {
    for (answer, length) in
        [("Content-Length: 1000", Some("1000")), ("Content-Length: 7, 7", Some("7")), ("X: y", None)]
    {
        let upstream = Upstream::answering(&format!("HTTP/1.1 200 OK\r\n{answer}\r\n\r\n"));
        let gateway = Gateway::one(&short(&upstream));
        let mut client = gateway.connect();
        for _ in 0..2 {
            client.send("HEAD / HTTP/1.1\r\nHost: app.test\r\n\r\n");
            assert_eq!(client.reply_to("HEAD").header("content-length"), length);
        }
    }
}

/// RFC 9110, 9.3.2 and 15.4.5: content that comes with a head that can have none never becomes the next answer.
#[test]
fn content_that_cannot_be_there_is_never_taken_for_an_answer() {
    for head in ["HTTP/1.1 200 OK\r\nContent-Length: 40\r\n\r\n", "HTTP/1.1 304 Not Modified\r\n\r\n"] {
        let upstream = Upstream::scripted(move |_, wire, _| {
            while let Some(request) = wire.message("") {
                let evil = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";
                let good = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood".to_owned();
                wire.send(if request.start.starts_with("HEAD") { format!("{head}{evil}") } else { good });
            }
        });
        let gateway = Gateway::one(&short(&upstream));
        let mut client = gateway.connect();
        for _ in 0..20 {
            client.send("HEAD / HTTP/1.1\r\nHost: app.test\r\n\r\n");
            client.reply_to("HEAD");
            client.send(GET);
            assert_eq!(client.reply().text(), "good");
        }
    }
}

/// RFC 9110, 10.1.1: the 100 is the upstream's, and comes once.
#[test]
fn one_100_reaches_a_client_that_waits_for_it() {
    let upstream = Upstream::scripted(|_, wire, seen| {
        seen.send(wire.head().unwrap()).unwrap();
        wire.send("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n");
        wire.take(4);
        wire.send("HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    });
    let gateway = Gateway::one(&short(&upstream));
    let mut client = gateway.connect();
    client.send(format!("{POST}Expect: 100-continue\r\nContent-Length: 4\r\n\r\n"));
    assert_eq!(client.head().unwrap().start, "HTTP/1.1 100 Continue");
    client.send("body");
    assert_eq!(client.head().unwrap().start, "HTTP/1.1 103 Early Hints");
    assert_eq!(client.reply().start, "HTTP/1.1 200 OK");
    assert_eq!(upstream.request().header("expect"), Some("100-continue"));
}

/// RFC 9110, 15.2: a 100 that the upstream says together with its answer is not lost; the client would not send its body.
#[test]
fn a_100_that_comes_with_the_answer_reaches_a_client_that_waits_for_it() {
    let upstream = Upstream::scripted(|_, wire, _| {
        wire.head().unwrap();
        wire.send("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n");
        let body = wire.take(4);
        wire.send(body);
    });
    let gateway = Gateway::one(&short(&upstream));
    let mut client = gateway.connect();
    client.send(format!("{POST}Expect: 100-continue\r\nContent-Length: 4\r\n\r\n"));
    assert_eq!(client.head().unwrap().start, "HTTP/1.1 100 Continue");
    client.send("body");
    assert_eq!(client.reply().text(), "body");
}

/// RFC 9110, 10.1.1: a client that does not wait gets no 100, and its body is forwarded.
#[test]
fn a_client_that_expects_a_100_and_does_not_wait_for_it_is_served() {
    let upstream = Upstream::ok();
    let gateway = Gateway::one(&short(&upstream));
    let mut client = gateway.connect();
    client.send(format!("{POST}Expect: 100-continue\r\nContent-Length: 4\r\n\r\nbody"));
    let first = client.reply();
    let reply = if first.status() == 100 { client.reply() } else { first };
    assert_eq!(reply.text(), "ok");
    assert_eq!(upstream.request().text(), "body");
}

/// RFC 9110, 7.8: after a 101 bytes pass, also those that either side sends before it has seen the other's.
#[test]
fn bytes_around_a_switch_are_not_lost() {
    let upstream = Upstream::scripted(|_, wire, _| {
        wire.head().unwrap();
        wire.send("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\nfirst");
        let early = wire.take(5);
        wire.send(early);
        wire.rest();
        wire.send("after the end");
    });
    let gateway = Gateway::one(&short(&upstream));
    let mut client = gateway.connect();
    client.send("GET / HTTP/1.1\r\nHost: app.test\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\nearly");
    assert_eq!(client.head().unwrap().status(), 101);
    assert_eq!(client.take(10), b"firstearly");
    // A tunnel may be closed one way only.
    client.stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(client.rest(), b"after the end");
}

/// RFC 9112, 8: HTTP/1.0 knows the end of such an answer only by the connection's, so a cut has to be another end.
#[test]
fn a_client_of_http_1_0_can_tell_a_cut_from_the_end() {
    let upstream = Upstream::scripted(|_, wire, _| {
        wire.message("").unwrap();
        wire.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n");
    });
    let gateway = Gateway::one(&short(&upstream));
    let mut client = gateway.connect();
    client.send("GET / HTTP/1.0\r\nHost: app.test\r\n\r\n");
    assert_eq!(end(&mut client), Err(std::io::ErrorKind::ConnectionReset));
}

/// How a connection ends.
fn end(client: &mut Client) -> Result<usize, std::io::ErrorKind> {
    loop {
        match std::io::Read::read(&mut client.stream, &mut [0; 1024]) {
            Ok(read) if read > 0 => {}
            end => return end.map_err(|error| error.kind()),
        }
    }
}

/// The same where it is the gateway that gives the answer up: for a client that seems to have gone, or at the end of a drain.
#[test]
fn a_client_of_http_1_0_can_tell_that_it_was_given_up() {
    let upstream = Upstream::scripted(|_, wire, _| {
        wire.message("").unwrap();
        wire.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n");
        wire.rest();
    });
    for half_closes in [true, false] {
        let mut settings = settings();
        settings.drain.timeout = Duration::from_millis(50);
        let mut gateway = Gateway::with(&[("app", &short(&upstream))], settings);
        let mut client = gateway.connect();
        client.send("GET / HTTP/1.0\r\nHost: app.test\r\n\r\n");
        assert_eq!((client.head().unwrap().status(), client.take(4)), (200, b"half".to_vec()));
        if half_closes {
            client.stream.shutdown(Shutdown::Write).unwrap();
        } else {
            gateway.join();
        }
        assert_eq!(end(&mut client), Err(std::io::ErrorKind::ConnectionReset), "half closed: {half_closes}");
    }
}

/// RFC 9112, 9.6: what follows the last request of a connection is no request.
#[test]
fn nothing_is_taken_for_a_request_behind_the_last_one() {
    let upstream = Upstream::ok();
    let gateway = Gateway::one(&short(&upstream));
    let nobody = GET.replace("app", "nobody");
    let last = [
        (GET.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n"), 200),
        (GET.replace("1.1", "1.0"), 200),
        (nobody.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n"), 404),
        (nobody.replace("\r\n\r\n", "\r\nContent-Length: 4\r\n\r\nbody"), 404),
        (nobody.replace("\r\n\r\n", "\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), 404),
    ];
    for (request, status) in last {
        let mut client = gateway.connect();
        client.send(format!("{request}GET /second HTTP/1.1\r\nHost: app.test\r\n\r\n"));
        let reply = client.reply();
        assert_eq!((reply.status(), reply.header("connection")), (status, Some("close")), "{request}");
        assert!(client.is_closed(), "{request}");
        assert!(status == 404 || upstream.request().start.starts_with("GET / "), "{request}");
        assert!(upstream.saw_nothing(), "{request}");
    }
}

/// RFC 9112, 7.1: an upload of any size in chunks of any size arrives as it left.
#[test]
fn a_large_upload_in_chunks_of_every_size_arrives_whole() {
    let upstream = Upstream::scripted(|_, wire, seen| {
        let request = wire.message("").unwrap();
        wire.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        seen.send(request).unwrap();
    });
    let gateway = Gateway::one(&short(&upstream));
    let mut random = fastrand::Rng::with_seed(7);
    let body: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(16 << 20).collect();
    let mut chunked = format!("{POST}Transfer-Encoding: chunked\r\n\r\n").into_bytes();
    let mut left = &body[..];
    while !left.is_empty() {
        let largest = [1, 10, 1000, 100_000, 1_000_000][random.usize(..5)];
        let (chunk, rest) = left.split_at(random.usize(1..=largest).min(left.len()));
        write!(chunked, "{:x};n={}\r\n", chunk.len(), random.u8(..)).unwrap();
        chunked.extend_from_slice(chunk);
        chunked.extend_from_slice(b"\r\n");
        left = rest;
    }
    chunked.extend_from_slice(b"0\r\n\r\n");
    let mut client = gateway.connect();
    let mut writer = client.stream.try_clone().unwrap();
    let writing = std::thread::spawn(move || writer.write_all(&chunked));
    assert_eq!(client.reply().text(), "ok");
    assert!(upstream.request().body == body);
    writing.join().unwrap().unwrap();
}

/// RFC 9112, 9.5: an answer in the middle of a chunked upload is delivered, though the client goes on sending.
#[test]
fn an_early_answer_to_a_large_chunked_upload_is_delivered() {
    let upstream = Upstream::scripted(|_, wire, _| {
        wire.head().unwrap();
        wire.take(1 << 20);
        wire.send("HTTP/1.1 413 Too Much\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno");
    });
    let gateway = Gateway::one(&short(&upstream));
    let mut client = gateway.connect();
    let mut writer = client.stream.try_clone().unwrap();
    let writing = std::thread::spawn(move || {
        let chunk = format!("4000\r\n{}\r\n", "x".repeat(0x4000));
        let head = format!("{POST}Transfer-Encoding: chunked\r\n\r\n");
        // A reset after the answer ends the upload, which is what an early answer is for.
        let _ = writer.write_all(head.as_bytes());
        (0..1000).take_while(|_| writer.write_all(chunk.as_bytes()).is_ok()).count()
    });
    let reply = client.reply();
    assert_eq!((reply.status(), reply.text(), reply.header("connection")), (413, "no", Some("close")));
    drop(client);
    writing.join().unwrap();
}

/// RFC 9112, 9.6: a route's time-out does not cut a client that has half closed and whose answer flows.
#[test]
fn a_half_closed_client_s_answer_may_come_in_pieces() {
    let upstream = Upstream::scripted(|_, wire, _| {
        wire.message("").unwrap();
        wire.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        for _ in 0..50 {
            wire.send("1\r\nx\r\n");
        }
        wire.send("0\r\n\r\n");
    });
    let gateway = Gateway::one(&long("", &[&upstream.address]));
    let mut client = gateway.connect();
    client.send(GET);
    client.stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(client.reply().text(), "x".repeat(50));
    assert!(client.is_closed());
}

/// The limits that docs/HTTP.md names: header fields of an answer, and the case of names.
#[test]
fn an_answer_has_a_thousand_fields_at_most_and_names_in_lower_case() {
    for (fields, status) in [(99, 200), (999, 200), (1000, 502)] {
        let many: String = (0..fields).map(|i| format!("X-Field-{i}: \t y \t\r\n")).collect();
        let upstream = Upstream::answering(&format!("HTTP/1.1 200 OK\r\n{many}Content-Length: 0\r\n\r\n"));
        let gateway = Gateway::one(&short(&upstream));
        let mut client = gateway.connect();
        client.send(GET.replace("/1.1\r\n", "/1.1\r\nConnection: close\r\n"));
        let answer = String::from_utf8(client.rest()).unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{fields} fields: {answer}");
        assert_eq!(answer.contains("\r\nx-field-98: y\r\n"), status == 200);
    }
}
