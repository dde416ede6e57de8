use std::io::Write;

use flate2::{Compression, write::GzEncoder};
use routing_cache::model::{Epoch, Generation};

use super::*;
use crate::orchestrator::{
    AckServing, AckStatus,
    scripted::{Answer, Scripted, answer, whole},
};

const STATE: &str = "/v1/state";
const SNAPSHOT: &str = "/v1/snapshot";
const CHANGES: &str = "/v1/changes";
const EMPTY: &str = concat!(
    r#"{"begin":{"schema":1,"epoch":"e","generation":7,"ready":true,"apps":0}}"#,
    "\n",
    r#"{"end":{"apps":0,"digest":"00000000000000000000000000000000"}}"#,
    "\n"
);
const NO_CHANGES: &str = r#"{"epoch":"e","from":7,"to":7,"ready":true,"upserts":[],"deletes":[],"more":false,"apps":0,"digest":"00000000000000000000000000000000"}"#;
const READY: &str = r#"{"schema":1,"epoch":"e","generation":7,"ready":true,"reason":null,"apps":0,"digest":"00000000000000000000000000000000","bytes":0}"#;

fn deadlines() -> Deadlines {
    let ms = Duration::from_millis;
    Deadlines {
        connect: ms(2000),
        short_call: ms(2000),
        progress: ms(300),
        snapshot: ms(5000),
        wait: ms(50),
        margin: ms(2000),
        page: ms(2000),
    }
}

fn options(server: &Scripted) -> HttpOptions {
    HttpOptions {
        url: server.url(),
        token_file: None,
        readiness_url: None,
        limits: Limits::default(),
        deadlines: deadlines(),
    }
}

fn since() -> Position {
    Position { epoch: Epoch::new("e/1 2").unwrap(), generation: Generation(7) }
}

/// A server and a client that asks it.
async fn pair() -> (Scripted, HttpClient) {
    let server = Scripted::start().await;
    let client = HttpClient::new(options(&server)).unwrap();
    (server, client)
}

/// What a failed call is: enough to tell the variants apart.
fn kind<T>(result: Result<T, Failure>) -> String {
    match result {
        Ok(_) => "ok".to_owned(),
        Err(Failure::Status(status)) => format!("status {status}"),
        Err(Failure::RetryAfter(delay)) => format!("retry after {}", delay.as_secs()),
        Err(failure) => format!("{failure:?}").split(['(', ' ']).next().unwrap().to_owned(),
    }
}

#[tokio::test]
async fn a_state_answer_says_ready_or_why_not() {
    let (server, client) = pair().await;
    let not_ready = READY.replace("\"ready\":true,\"reason\":null", "\"ready\":false,\"reason\":\"loading\"");
    server.on(STATE, answer("200 OK", "", READY));
    assert!(matches!(client.state().await.unwrap(), State::Ready(_)));
    for (status, body) in [
        ("200 OK", not_ready.as_str()),
        ("503 Service Unavailable", not_ready.as_str()),
        ("200 OK", r#"{"ready":false,"reason":"loading"}"#),
        ("503 Service Unavailable", r#"{"ready":false,"reason":"loading"}"#),
    ] {
        server.on(STATE, answer(status, "", body));
        assert_eq!(client.state().await.unwrap(), State::NotReady("loading".into()), "{status} {body}");
    }
    server.on(STATE, answer("503 Service Unavailable", "", READY));
    assert!(matches!(client.state().await, Ok(State::NotReady(_))), "503 is not ready, whatever the body says");
}

#[tokio::test]
async fn every_other_state_answer_is_no_answer() {
    let (server, client) = pair().await;
    for (given, want) in [
        (Answer::Close, "Unreachable"),
        (answer("500 Oh", "", READY), "status 500"),
        (answer("200 OK", "", "garbage"), "Garbage"),
        (answer("200 OK", "", vec![b' '; 100_000]), "TooLarge"),
        (answer("503 No", "", "busy"), "status 503"),
        (answer("503 No", "retry-after: 7\r\n", "busy"), "retry after 7"),
        (answer("429 No", "retry-after: 7\r\n", ""), "retry after 7"),
        (Answer::Bytes(b"SSH-2.0-OpenSSH\r\n\r\n".to_vec()), "CutShort"),
        (Answer::Stall(Vec::new()), "Timeout"),
    ] {
        server.on(STATE, given.clone());
        assert_eq!(kind(client.state().await), want, "{given:?}");
    }
}

#[tokio::test]
async fn table_calls_name_each_status() {
    let (server, client) = pair().await;
    for (status, headers, want) in [
        ("410 Gone", "", "Gone"),
        ("409 Conflict", "", "Ahead"),
        ("429 Many", "retry-after: 3\r\n", "retry after 3"),
        ("503 Busy", "retry-after: 3\r\n", "retry after 3"),
        ("503 Busy", "", "status 503"),
        ("500 Oh", "retry-after: 3\r\n", "status 500"),
        ("302 Found", "location: http://192.0.2.1/\r\n", "status 302"),
        ("204 None", "", "status 204"),
    ] {
        for path in [SNAPSHOT, CHANGES] {
            server.on(path, answer(status, headers, ""));
        }
        assert_eq!(kind(client.changes(&since()).await), want, "{status}");
        assert_eq!(kind(client.snapshot().await), want, "{status}");
    }
}

#[tokio::test]
async fn a_snapshot_is_whole_or_nothing() {
    let (server, client) = pair().await;
    server.on(SNAPSHOT, answer("200 OK", "", EMPTY));
    assert_eq!(client.snapshot().await.unwrap().generation, Generation(7));
    let full = whole("200 OK", "", EMPTY);
    for (given, want) in [
        (Answer::Bytes(full[..full.len() - 10].to_vec()), "CutShort"),
        (Answer::Stall(full[..full.len() - 10].to_vec()), "Timeout"),
        (answer("200 OK", "", EMPTY.lines().next().unwrap()), "Garbage"),
        (answer("200 OK", "", EMPTY.replace("true", "false")), "NotReady"),
        (answer("200 OK", "content-encoding: gzip\r\n", EMPTY), "CutShort"),
    ] {
        server.on(SNAPSHOT, given.clone());
        assert_eq!(kind(client.snapshot().await), want, "{given:?}");
    }
}

#[tokio::test]
async fn compressed_bodies_are_read_and_bounded_after_decompression() {
    let server = Scripted::start().await;
    let limits = Limits { snapshot_bytes: 100_000, changes_bytes: 100_000, ..Limits::default() };
    let client = HttpClient::new(HttpOptions { limits, ..options(&server) }).unwrap();
    let gzip = |text: &[u8]| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(text).unwrap();
        answer("200 OK", "content-encoding: gzip\r\n", encoder.finish().unwrap())
    };
    server.on(SNAPSHOT, gzip(EMPTY.as_bytes()));
    server.on(CHANGES, gzip(NO_CHANGES.as_bytes()));
    assert_eq!(kind(client.snapshot().await), "ok");
    assert_eq!(kind(client.changes(&since()).await), "ok");
    let bomb = gzip(&[b' '; 10_000_000]);
    server.on(SNAPSHOT, bomb.clone());
    server.on(CHANGES, bomb);
    assert_eq!(kind(client.snapshot().await), "Garbage");
    assert_eq!(kind(client.changes(&since()).await), "TooLarge");
}

#[tokio::test]
async fn a_body_that_trickles_is_given_up_at_the_overall_deadline() {
    let server = Scripted::start().await;
    let deadlines =
        Deadlines { snapshot: Duration::from_millis(200), progress: Duration::from_secs(60), ..deadlines() };
    let client = HttpClient::new(HttpOptions { deadlines, ..options(&server) }).unwrap();
    let full = whole("200 OK", "", EMPTY);
    server.on(SNAPSHOT, Answer::Stall(full[..full.len() - 1].to_vec()));
    assert_eq!(kind(client.snapshot().await), "Timeout");
}

#[tokio::test]
async fn changes_are_asked_for_as_the_contract_says() {
    let server = Scripted::start().await;
    let url = format!("{}/base/", server.url());
    let deadlines = Deadlines { wait: Duration::from_secs(50), ..deadlines() };
    let client = HttpClient::new(HttpOptions { url, deadlines, ..options(&server) }).unwrap();
    server.on("/base/v1/changes", answer("200 OK", "", NO_CHANGES));
    let page = client.changes(&since()).await.unwrap();
    assert!(page.early, "the wait is not over");
    assert_eq!(page.bytes, NO_CHANGES.len() as u64);
    let head = server.last("/base/v1/changes").head;
    assert!(head.starts_with("GET /base/v1/changes?epoch=e%2F1+2&since=7&wait=50s&max=5000 HTTP/1.1"), "{head}");
}

#[tokio::test]
async fn a_page_that_says_not_ready_is_not_ready() {
    let (server, client) = pair().await;
    server.on(CHANGES, answer("200 OK", "", NO_CHANGES.replace("true", "false")));
    assert_eq!(kind(client.changes(&since()).await), "NotReady");
}

#[tokio::test]
async fn the_token_goes_to_the_orchestrator_alone_and_is_read_again() {
    let server = Scripted::start().await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("token");
    let readiness_url = Some(format!("{}/ready", server.url()));
    let client =
        HttpClient::new(HttpOptions { token_file: Some(file.clone()), readiness_url, ..options(&server) }).unwrap();
    server.on(STATE, answer("200 OK", "", READY));
    server.on("/ready", answer("204 Yes", "", ""));
    let sent = |path| server.last(path).head.lines().find_map(|l| l.strip_prefix("authorization: ").map(str::to_owned));
    let mut seen = Vec::new();
    for text in [None, Some("first\n"), Some("second"), Some("")] {
        text.into_iter().for_each(|text| std::fs::write(&file, text).unwrap());
        assert_eq!(kind(client.state().await), "ok");
        seen.push(sent(STATE));
    }
    std::fs::remove_file(&file).unwrap();
    assert_eq!(kind(client.state().await), "ok");
    seen.push(sent(STATE));
    let seen: Vec<_> = seen.iter().map(|token| token.as_deref().unwrap_or("none")).collect();
    assert_eq!(seen, ["none", "Bearer first", "Bearer second", "Bearer second", "Bearer second"]);
    assert_eq!(kind(client.readiness().await), "ok");
    assert_eq!(sent("/ready"), None);
}

#[tokio::test]
async fn the_readiness_url_is_ready_with_2xx_and_with_nothing_else() {
    let server = Scripted::start().await;
    let readiness_url = Some(format!("{}/ready", server.url()));
    let client = HttpClient::new(HttpOptions { readiness_url, ..options(&server) }).unwrap();
    for (given, want) in [
        (answer("200 OK", "", ""), "ok"),
        (answer("302 Found", "location: /v1/state\r\n", ""), "status 302"),
        (answer("500 Oh", "", ""), "status 500"),
        (Answer::Close, "Unreachable"),
        (Answer::Stall(Vec::new()), "Timeout"),
    ] {
        server.on("/ready", given.clone());
        assert_eq!(kind(client.readiness().await), want, "{given:?}");
    }
}

#[tokio::test]
async fn an_ack_is_sent_as_the_contract_says() {
    let (server, client) = pair().await;
    server.on("/v1/ack", answer("204 Taken", "", ""));
    let ack = Ack {
        gateway: "edge-3".into(),
        version: "0.0.0",
        epoch: "e".into(),
        generation: 7,
        status: AckStatus::Held,
        held: vec![super::super::AckHeld { app: "blog".into(), why: "shrink-guard" }],
        errors: vec![super::super::AckError { app: "x".into(), message: "hosts[0]: bad".into() }],
        serving: AckServing { epoch: Some("e".into()), generation: 7, source: "live", age_s: 0 },
    };
    client.ack(&ack).await.unwrap();
    let body = String::from_utf8(server.last("/v1/ack").body).unwrap();
    assert_eq!(
        body,
        concat!(
            r#"{"gateway":"edge-3","version":"0.0.0","epoch":"e","generation":7,"status":"held","#,
            r#""held":[{"app":"blog","why":"shrink-guard"}],"errors":[{"app":"x","message":"hosts[0]: bad"}],"#,
            r#""serving":{"epoch":"e","generation":7,"source":"live","age_s":0}}"#
        )
    );
    server.on("/v1/ack", answer("501 No", "", ""));
    assert_eq!(kind(client.ack(&ack).await), "status 501");
}

#[tokio::test]
async fn an_orchestrator_that_is_away_is_unreachable() {
    let (server, client) = pair().await;
    server.refuse().await;
    assert_eq!(kind(client.state().await), "Unreachable");
    assert_eq!(kind(client.snapshot().await), "Unreachable");
}

#[tokio::test]
async fn a_long_poll_does_not_hold_up_a_readiness_poll() {
    let server = Scripted::start().await;
    let client = HttpClient::new(HttpOptions {
        deadlines: Deadlines { wait: Duration::from_secs(60), ..deadlines() },
        ..options(&server)
    })
    .unwrap();
    server.on(CHANGES, Answer::Stall(Vec::new()));
    server.on(STATE, answer("200 OK", "", READY));
    let position = since();
    tokio::select! {
        page = client.changes(&position) => panic!("{page:?}"),
        state = client.state() => assert!(matches!(state.unwrap(), State::Ready(_))),
    }
}

#[test]
fn only_http_is_spoken() {
    for url in ["ftp://o/", "o:7000", "", "http://"] {
        assert!(parse_url("orchestrator.url", url).is_err(), "{url}");
    }
}
