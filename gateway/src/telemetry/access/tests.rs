//! What a line looks like, and where it goes.

use std::{
    io::{BufRead, BufReader},
    os::unix::net::{UnixDatagram, UnixListener},
    path::Path,
    sync::atomic::AtomicU64,
    time::Instant,
};

use metrics::Counter;

use super::*;

/// How long anything here may take.
const PATIENCE: Duration = Duration::from_secs(20);

fn record(path: &str) -> AccessRecord {
    AccessRecord {
        time: WallTime(1_700_000_000_123),
        listener: Arc::from("web"),
        client: Some(IpAddr::from([192, 0, 2, 7])),
        method: http::Method::GET,
        host: "shop.example.com".to_owned(),
        path: path.to_owned(),
        protocol: "HTTP/1.1",
        status: 200,
        app: AppId::new("shop").ok(),
        route: Some(Arc::from("api")),
        upstream: Some(Arc::from("default")),
        endpoint: "10.0.0.5:8080".parse().ok(),
        bytes_in: 3,
        bytes_out: 1500,
        duration: Duration::from_micros(12_345),
        upstream_duration: Some(Duration::from_millis(12)),
        attempts: 1,
        error: None,
    }
}

fn line(record: &AccessRecord, json: bool) -> String {
    let mut out = Vec::new();
    record.write(json, &mut out);
    String::from_utf8(out).unwrap()
}

struct Counted {
    dropped: Arc<AtomicU64>,
    errors: Arc<AtomicU64>,
}

fn start(target: &AccessLogTarget) -> (AccessLog, Counted) {
    let counted = Counted { dropped: Arc::default(), errors: Arc::default() };
    let (dropped, errors) = (Arc::clone(&counted.dropped), Arc::clone(&counted.errors));
    let counters = Counters { dropped: Counter::from_arc(dropped), errors: Counter::from_arc(errors) };
    (AccessLog::counted(target, LogFormat::Text, counters).unwrap(), counted)
}

fn file(path: &Path) -> (AccessLog, Counted) {
    start(&AccessLogTarget::File(path.to_owned()))
}

/// The paths of a text log's requests.
fn paths(log: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    text.lines().filter_map(|line| line.split(' ').nth(4)).map(ToOwned::to_owned).collect()
}

/// Records `path` again and again until `seen`.
fn until(log: &AccessLog, path: &str, seen: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !seen() {
        assert!(Instant::now() < deadline, "{path} was never seen");
        log.record(record(path));
        log.flush();
    }
}

#[test]
fn a_line_of_json_has_every_field_that_there_is() {
    let expected = r#"{"time":"2023-11-14T22:13:20.123Z","listener":"web","client":"192.0.2.7","method":"GET","host":"shop.example.com","path":"/a?b=c","protocol":"HTTP/1.1","status":200,"app":"shop","route":"api","upstream":"default","endpoint":"10.0.0.5:8080","bytes_in":3,"bytes_out":1500,"duration_seconds":0.012345,"upstream_duration_seconds":0.012,"attempts":1}"#;
    assert_eq!(line(&record("/a?b=c"), true), format!("{expected}\n"));
    let none = AccessRecord { client: None, app: None, endpoint: None, error: Some("no_route"), ..record("/") };
    let json: serde_json::Value = serde_json::from_str(&line(&none, true)).unwrap();
    assert_eq!((json.get("app"), json["error"].as_str()), (None, Some("no_route")));
}

#[test]
fn a_line_of_text_has_its_fields_in_order() {
    let expected = "2023-11-14T22:13:20.123Z web 192.0.2.7 \"GET /a?b=c HTTP/1.1\" \"shop.example.com\" 200 3 1500 0.012345 \
                    shop default 10.0.0.5:8080 1 -\n";
    assert_eq!(line(&record("/a?b=c"), false), expected);
}

#[test]
fn a_client_cannot_forge_a_line_or_a_field() {
    let mut evil = record("/\" 200\n1970 \u{1b}[31m");
    evil.host = "a\r\nb\"".to_owned();
    evil.app = AppId::new("two words").ok();
    let text = line(&evil, false);
    assert_eq!(text.matches(['\n', '\r', '\u{1b}']).count(), 1, "{text:?}");
    assert!(text.contains(r#""GET /\" 200\n1970 \u{1b}[31m HTTP/1.1" "a\r\nb\"" 200"#), "{text}");
    assert!(text.contains(r#" "two words" default "#), "{text}");
    assert_eq!(line(&evil, true).matches('\n').count(), 1);
}

#[test]
fn what_is_too_long_is_cut() {
    let folder = tempfile::tempdir().unwrap();
    let (log, _) = file(&folder.path().join("log"));
    let mut long = record(&"é".repeat(40_000));
    long.host = "h".repeat(40_000);
    log.record(long);
    log.flush();
    let text = std::fs::read_to_string(folder.path().join("log")).unwrap();
    assert!((4096..5000).contains(&text.len()), "{}", text.len());
    assert!(text.contains("é… HTTP/1.1"), "{text}");
}

#[test]
fn off_takes_nothing_and_can_be_switched_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let (log, counted) = start(&AccessLogTarget::Off);
    assert!(!log.enabled() && !AccessLog::off().enabled());
    log.record(record("/unseen"));
    AccessLog::off().record(record("/unseen"));
    log.change(&AccessLogTarget::File(path.clone()), LogFormat::Text);
    log.record(record("/seen"));
    log.flush();
    assert_eq!(paths(&path), ["/seen"]);
    assert_eq!(counted.dropped.load(Ordering::Relaxed), 0);
}

#[test]
fn a_file_that_was_rotated_away_is_opened_anew() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let (log, counted) = file(&path);
    log.record(record("/before"));
    log.flush();
    std::fs::rename(&path, folder.path().join("log.1")).unwrap();
    until(&log, "/after", || path.exists());
    assert_eq!(paths(&folder.path().join("log.1"))[0], "/before");
    assert!(paths(&path).iter().all(|path| path == "/after"));
    std::fs::remove_file(&path).unwrap();
    until(&log, "/last", || paths(&path).contains(&"/last".to_owned()));
    assert_eq!((counted.dropped.load(Ordering::Relaxed), counted.errors.load(Ordering::Relaxed)), (0, 0));
}

#[test]
fn a_line_that_was_cut_off_is_ended_before_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    std::fs::write(&path, "whole\ncut o").unwrap();
    let (log, _) = file(&path);
    log.record(record("/next"));
    log.flush();
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.starts_with("whole\ncut o\n2023-") && text.lines().count() == 3, "{text}");
}

#[test]
fn what_cannot_be_written_is_counted_and_the_log_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("later/log");
    let (log, counted) = file(&path);
    log.record(record("/lost"));
    log.flush();
    assert_eq!((counted.dropped.load(Ordering::Relaxed), counted.errors.load(Ordering::Relaxed)), (1, 1));
    std::fs::create_dir(folder.path().join("later")).unwrap();
    log.record(record("/kept"));
    log.flush();
    assert_eq!(paths(&path), ["/kept"]);
}

#[test]
fn a_datagram_socket_gets_a_datagram_a_line_and_may_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let receive = |socket: &UnixDatagram| {
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut buffer = [0; 4096];
        let length = socket.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    };
    let socket = UnixDatagram::bind(&path).unwrap();
    let (log, counted) = start(&AccessLogTarget::Unix(path.clone()));
    log.record(record("/one"));
    log.record(record("/two"));
    let got = [receive(&socket), receive(&socket)];
    assert!(got[0].contains("/one") && got[1].contains("/two") && !got[1].ends_with('\n'), "{got:?}");
    drop(socket);
    std::fs::remove_file(&path).unwrap();
    log.record(record("/lost"));
    log.flush();
    assert_eq!(counted.dropped.load(Ordering::Relaxed), 1);
    let socket = UnixDatagram::bind(&path).unwrap();
    log.record(record("/again"));
    assert!(receive(&socket).contains("/again"));
}

#[test]
fn a_stream_socket_gets_lines() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let listener = UnixListener::bind(&path).unwrap();
    let (log, _) = start(&AccessLogTarget::Unix(path));
    log.record(record("/one"));
    log.record(record("/two"));
    let (stream, _) = listener.accept().unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let lines: Vec<_> = BufReader::new(stream).lines().take(2).map(Result::unwrap).collect();
    assert!(lines[0].contains("/one") && lines[1].contains("/two"), "{lines:?}");
}
