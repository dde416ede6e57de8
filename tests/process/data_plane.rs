//! What a client of the data plane sees, byte by byte where it matters.

use holdgate_tests::{gateway::Gateway, http::Connection};

use crate::three;

#[test]
fn ambiguous_requests_are_refused_and_never_forwarded() {
    let (_backends, orchestrator, hosts) = three();
    let mut gateway = Gateway::configured(&orchestrator.url(), "");
    gateway.start_ready();
    let host = &hosts[0];
    let cases = [
        ("two lengths", format!("POST / HTTP/1.1\r\nHost: {host}\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab")),
        (
            "the same length twice",
            format!("POST / HTTP/1.1\r\nHost: {host}\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na"),
        ),
        (
            "a length and chunks",
            format!(
                "POST / HTTP/1.1\r\nHost: {host}\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
            ),
        ),
        (
            "a coding that is not chunked",
            format!("POST / HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: xchunked\r\n\r\n"),
        ),
        ("a length that is no number", format!("POST / HTTP/1.1\r\nHost: {host}\r\nContent-Length: +1\r\n\r\na")),
        ("bare line feeds", format!("GET / HTTP/1.1\nHost: {host}\n\n")),
        ("a bare line feed in one header", format!("GET / HTTP/1.1\r\nHost: {host}\nX: y\r\n\r\n")),
        ("a space before the colon", format!("GET / HTTP/1.1\r\nHost: {host}\r\nContent-Length : 0\r\n\r\n")),
        ("a space in a name", format!("GET / HTTP/1.1\r\nHost: {host}\r\nX Y: z\r\n\r\n")),
        ("a folded header", format!("GET / HTTP/1.1\r\nHost: {host}\r\nX: y\r\n z\r\n\r\n")),
        ("no host", "GET / HTTP/1.1\r\nX: y\r\n\r\n".to_owned()),
        ("two hosts", format!("GET / HTTP/1.1\r\nHost: {host}\r\nHost: {}\r\n\r\n", hosts[1])),
        ("a nul in a value", format!("GET / HTTP/1.1\r\nHost: {host}\r\nX: a\0b\r\n\r\n")),
        ("a path above the root", format!("GET /../../etc/passwd HTTP/1.1\r\nHost: {host}\r\n\r\n")),
    ];
    for (what, request) in cases {
        let mut client = Connection::open(gateway.web).expect("a connection");
        client.write(request.as_bytes()).expect("written");
        let answer = client.answer(false).unwrap_or_else(|e| panic!("{what}: {e}"));
        assert_eq!(answer.status, 400, "{what}: {}", answer.text());
        assert!(answer.header("proxy-status").is_some(), "{what}: {:?}", answer.headers);
    }
    // Bad chunking shows itself after the head: the request must not reach the app as a complete one.
    for (what, body) in [("a bad size", "zz\r\nab\r\n0\r\n\r\n"), ("a bare line feed", "2\nab\n0\n\n")] {
        let mut client = Connection::open(gateway.web).expect("a connection");
        let head = format!("POST / HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\n\r\n");
        client.write(format!("{head}{body}").as_bytes()).expect("written");
        assert!(client.answer(false).is_ok_and(|a| a.status == 400), "{what}");
    }
}

#[test]
fn errors_name_their_cause_in_the_form_the_client_asked_for() {
    let (_backends, orchestrator, _) = three();
    let mut gateway = Gateway::configured(&orchestrator.url(), "");
    gateway.start_ready();
    for (accept, kind) in [("text/html", "text/html"), ("application/json", "application/json"), ("*/*", "text/plain")]
    {
        let mut client = Connection::open(gateway.web).expect("a connection");
        client
            .write(format!("GET / HTTP/1.1\r\nHost: nobody.test\r\nAccept: {accept}\r\n\r\n").as_bytes())
            .expect("written");
        let answer = client.answer(false).expect("an answer");
        assert_eq!(answer.status, 404);
        assert!(answer.header("content-type").is_some_and(|t| t.starts_with(kind)), "{accept}: {:?}", answer.headers);
        assert!(answer.header("proxy-status").is_some_and(|p| p.contains("error=")), "{:?}", answer.headers);
        assert_eq!(answer.body.iter().filter(|b| **b == b'\n').count(), 1, "one line: {}", answer.text());
    }
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let (_backends, orchestrator, hosts) = three();
    let mut gateway = Gateway::configured(&orchestrator.url(), "");
    gateway.start_ready();
    let mut client = Connection::open(gateway.web).expect("a connection");
    let requests: String =
        (0..3).map(|n| format!("POST /{n} HTTP/1.1\r\nHost: {}\r\nContent-Length: 2\r\n\r\nhi", hosts[n])).collect();
    client.write(requests.as_bytes()).expect("written");
    for (n, host) in hosts.iter().enumerate() {
        assert_eq!(client.answer(false).expect("an answer").text(), format!("{host} POST /{n} 2\n"));
    }
}
