//! The loop against a small orchestrator, against files, and against a server that gives every bad answer of the spec.

use std::{
    fs,
    path::{Path, PathBuf},
};

use routing_cache::{
    gate::GateConfig,
    limits::Limits,
    live::Published,
    model::{Digest, Epoch, Generation, Rev, app_digest},
    updater::{GuardConfig, PoisonRules, Updater, UpdaterConfig},
    wire::encode::{snapshot_app, snapshot_begin, snapshot_end},
};
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep},
};

use super::*;
use crate::{
    clock,
    demo::orchestrator::{Options, Running, Server},
    drain::Drain,
    orchestrator::{
        FileClient, HttpClient,
        http::{Deadlines, HttpOptions},
        scripted::{Answer, Scripted, answer, whole},
    },
};

const DEADLINE: Duration = Duration::from_secs(60);
const EPOCH: &str = "e";

fn document(name: &str) -> String {
    format!(r#"{{"hosts":["{name}.example"],"endpoints":["127.0.0.1:1"]}}"#)
}

/// A gateway's table and what fills it.
struct Gateway {
    reader: Reader,
    updates: Updates,
    drain: Drain,
    task: JoinHandle<()>,
}

/// A gateway that believes an orchestrator after two good answers, and whose guard holds every delete of more than a
/// fifth of its apps.
fn config(limits: Limits) -> UpdaterConfig {
    let ms = Duration::from_millis;
    UpdaterConfig {
        gate: GateConfig { stable_for: ms(1), lost_after: ms(2000), readiness_url: false },
        guard: GuardConfig {
            max_shrink_percent: 20.0,
            max_shrink_apps: 0,
            max_invalid_percent: 1.0,
            max_invalid_apps: 5,
        },
        limits,
        poison: PoisonRules { crashes: 3, within: Duration::from_secs(10) },
    }
}

impl Gateway {
    fn start(state_dir: &Path, limits: Limits, client: impl FnOnce(Reader) -> Client) -> Self {
        Self::auditing(state_dir, limits, AUDIT_EVERY, client)
    }

    fn auditing(
        state_dir: &Path,
        limits: Limits,
        audit_every: Duration,
        client: impl FnOnce(Reader) -> Client,
    ) -> Self {
        let (updater, reader, _) = Updater::boot(config(limits), state_dir, clock::now()).unwrap();
        let (updates, _) = Updates::start(updater, reader.clone(), state_dir).unwrap();
        let drain = Drain::default();
        let options =
            SubscriptionOptions { gateway: "edge".into(), check_every: Duration::from_millis(50), audit_every };
        let client = client(reader.clone());
        let task = tokio::spawn(run(client, updates.clone(), reader.clone(), options, drain.watch()));
        Self { reader, updates, drain, task }
    }

    fn of_server(state_dir: &Path, url: String, limits: Limits) -> Self {
        Self::start(state_dir, limits, |_| Client::Http(http(url, limits, Duration::from_millis(200))))
    }

    fn of_files(state_dir: &Path, path: PathBuf) -> Self {
        Self::start(state_dir, Limits::default(), |reader| {
            Client::File(FileClient::new(path, Limits::default(), reader))
        })
    }

    async fn until(&self, what: &str, done: impl Fn(&Published) -> bool) {
        until(what, || done(&self.reader.load())).await;
    }

    async fn until_serves(&self, apps: &[&str]) {
        self.until(&format!("{apps:?} are served"), |served| ids(served) == apps).await;
    }

    async fn until_open(&self) {
        until("the gate is open", || self.updates.report().gate_open).await;
    }

    /// Drains, and returns once the subscription has ended.
    async fn stop(self) {
        self.drain.start();
        tokio::time::timeout(DEADLINE, self.task).await.expect("the subscription ends at the drain").unwrap();
    }
}

fn http(url: String, limits: Limits, wait: Duration) -> HttpClient {
    let deadlines = Deadlines {
        short_call: Duration::from_millis(300),
        progress: Duration::from_millis(300),
        wait,
        margin: Duration::from_millis(300),
        ..Deadlines::default()
    };
    HttpClient::new(HttpOptions { url, token_file: None, readiness_url: None, limits, deadlines }).unwrap()
}

async fn until(what: &str, done: impl Fn() -> bool) {
    let by = Instant::now() + DEADLINE;
    while !done() {
        assert!(Instant::now() < by, "not in time: {what}");
        sleep(Duration::from_millis(5)).await;
    }
}

fn ids(served: &Published) -> Vec<String> {
    let mut ids: Vec<_> = served.table.iter().map(|app| app.id().to_owned()).collect();
    ids.sort();
    ids
}

/// What must not change while an orchestrator answers nonsense.
fn identity(reader: &Reader) -> (Vec<String>, Digest, Generation) {
    let served = reader.load();
    (ids(&served), served.table.digest(), served.provenance.generation)
}

fn snapshot(generation: u64, ready: bool, apps: &[&str]) -> Vec<u8> {
    let epoch = Epoch::new(EPOCH).unwrap();
    let mut body = snapshot_begin(&epoch, Generation(generation), ready, apps.len() as u64);
    let mut digest = Digest::default();
    for name in apps {
        let (rev, document) = (Rev(generation), document(name));
        digest = digest.plus(app_digest(name, rev, document.as_bytes()));
        snapshot_app(&mut body, name, rev, document.as_bytes());
    }
    body.extend(snapshot_end(apps.len() as u64, digest));
    body
}

fn state(ready: bool) -> Answer {
    state_of(ready, 1)
}

fn state_at(generation: u64) -> Answer {
    state_of(true, generation)
}

fn state_of(ready: bool, generation: u64) -> Answer {
    let text = format!(
        r#"{{"schema":1,"epoch":"{EPOCH}","generation":{generation},"ready":{ready},"reason":"because","apps":2,"digest":"{}","bytes":0}}"#,
        Digest::default()
    );
    answer("200 OK", "", text)
}

fn ok(body: Vec<u8>) -> Answer {
    answer("200 OK", "", body)
}

const STATE: &str = "/v1/state";
const SNAPSHOT: &str = "/v1/snapshot";
const CHANGES: &str = "/v1/changes";

/// A server that serves blog and shop and a gateway that has them, with its gate open.
async fn serving(dir: &Path, limits: Limits) -> (Scripted, Gateway) {
    let server = Scripted::start().await;
    good(&server, 1, &["blog", "shop"]);
    let gateway = Gateway::of_server(dir, server.url(), limits);
    gateway.until_serves(&["blog", "shop"]).await;
    gateway.until_open().await;
    (server, gateway)
}

/// A server without a memory: every change is told by 410 and a snapshot.
fn good(server: &Scripted, generation: u64, apps: &[&str]) {
    server.on(STATE, state(true));
    server.on(SNAPSHOT, ok(snapshot(generation, true, apps)));
    server.on(CHANGES, answer("410 Gone", "", ""));
    server.on("/v1/ack", answer("404 No", "", ""));
}

/// The table stays as it is while `path` is answered so, and the next good answer is taken all the same.
async fn check(name: &str, path: &'static str, bad: Answer) {
    let dir = tempfile::tempdir().unwrap();
    let limits = Limits { snapshot_bytes: 2000, changes_bytes: 2000, ..Limits::default() };
    let (server, gateway) = serving(dir.path(), limits).await;
    let before = identity(&gateway.reader);
    server.on(path, bad);
    let asked = server.count(path);
    until(&format!("{name}: {path} was asked"), || server.count(path) > asked + 1).await;
    assert_eq!(identity(&gateway.reader), before, "{name}");
    good(&server, 2, &["blog", "new", "shop"]);
    gateway.until_serves(&["blog", "new", "shop"]).await;
    gateway.stop().await;
}

fn bad_answers() -> Vec<(&'static str, Answer)> {
    vec![
        ("refused", Answer::Close),
        ("hang", Answer::Stall(Vec::new())),
        ("500", answer("500 Oh", "", snapshot(9, true, &["other"]))),
        ("404", answer("404 No", "", "")),
        ("garbage", ok(b"\x00\xffgarbage".to_vec())),
        ("html", answer("200 OK", "content-type: text/html\r\n", "<html>Please log in</html>")),
        ("no HTTP", Answer::Bytes(b"garbage".to_vec())),
        ("empty body", ok(Vec::new())),
    ]
}

#[tokio::test]
async fn no_bad_answer_to_a_snapshot_changes_the_table() {
    let apps = ["blog", "other", "shop"];
    let text = String::from_utf8(snapshot(9, true, &apps)).unwrap();
    let lines: Vec<_> = text.split_inclusive('\n').collect();
    let digest = format!("{:?}", "0".repeat(32));
    let own = lines[4].split("\"digest\":").nth(1).unwrap().trim_end().trim_end_matches('}').to_owned();
    let big: Vec<_> = (0..50).map(|n| format!("app{n}")).collect();
    let big: Vec<_> = big.iter().map(String::as_str).collect();
    let full = whole("200 OK", "", &text);
    let mut cases = bad_answers();
    cases.extend([
        ("no end", ok(lines[..4].concat().into_bytes())),
        ("connection cut", Answer::Bytes(full[..full.len() - 20].to_vec())),
        ("stalled", Answer::Stall(full[..full.len() - 20].to_vec())),
        ("wrong count", ok(text.replace("\"apps\":3", "\"apps\":4").into_bytes())),
        ("wrong digest", ok(text.replace(&own, &digest).into_bytes())),
        ("duplicate app", ok([lines[0], lines[1], lines[1], lines[3], lines[4]].concat().into_bytes())),
        ("too big", ok(snapshot(9, true, &big))),
        ("ready:false", ok(snapshot(9, false, &apps))),
        ("older generation", ok(snapshot(0, true, &apps))),
    ]);
    let checks = cases.into_iter().map(|(name, bad)| check(name, SNAPSHOT, bad));
    futures_util::future::join_all(checks).await;
}

#[tokio::test]
async fn no_bad_answer_to_changes_changes_the_table() {
    let page = |from: u64, ready: bool, more: bool| {
        let head = format!(r#"{{"epoch":"{EPOCH}","from":{from},"to":9,"ready":{ready},"#);
        let rest = format!(r#""upserts":[],"deletes":[],"more":{more},"apps":0,"digest":"{}"}}"#, Digest::default());
        ok((head + &rest).into_bytes())
    };
    let mut cases = bad_answers();
    cases.extend([
        ("not ready", page(1, false, false)),
        ("ahead", answer("409 Ahead", "", "")),
        ("digest of another table", page(1, true, false)),
        ("from another position", page(5, true, false)),
        ("more without end", page(1, true, true)),
        ("too big", ok(vec![b' '; 3000])),
    ]);
    let checks = cases.into_iter().map(|(name, bad)| check(name, CHANGES, bad));
    futures_util::future::join_all(checks).await;
}

#[tokio::test]
async fn no_bad_answer_to_a_readiness_poll_changes_the_table() {
    let mut cases = bad_answers();
    cases.push(("ready:false", state(false)));
    cases.push(("503", answer("503 No", "", r#"{"ready":false,"reason":"loading"}"#)));
    let checks = cases.into_iter().map(|(name, bad)| check(name, STATE, bad));
    futures_util::future::join_all(checks).await;
}

#[tokio::test]
async fn an_empty_table_never_replaces_a_full_one() {
    let dir = tempfile::tempdir().unwrap();
    let (server, gateway) = serving(dir.path(), Limits::default()).await;
    server.on(SNAPSHOT, ok(snapshot(9, true, &[])));
    until("the deletes are held", || gateway.updates.report().held.total == 2).await;
    assert_eq!(ids(&gateway.reader.load()), ["blog", "shop"]);
    gateway.stop().await;
}

#[tokio::test]
async fn while_the_gate_is_shut_a_good_answer_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (server, gateway) = serving(dir.path(), Limits::default()).await;
    server.on(CHANGES, Answer::Stall(Vec::new()));
    server.on(STATE, state(false));
    until("the gate is shut", || !gateway.updates.report().gate_open).await;
    let asked = server.count(SNAPSHOT);
    server.on(SNAPSHOT, ok(snapshot(2, true, &["blog", "new", "shop"])));
    let polls = server.count(STATE);
    until("it went on asking for readiness", || server.count(STATE) > polls + 2).await;
    assert_eq!((ids(&gateway.reader.load()).len(), server.count(SNAPSHOT)), (2, asked), "no table is asked for");
    server.on(CHANGES, answer("410 Gone", "", ""));
    server.on(STATE, state(true));
    gateway.until_serves(&["blog", "new", "shop"]).await;
    gateway.stop().await;
}

#[tokio::test]
async fn a_long_poll_that_hangs_ends_with_the_gate() {
    let dir = tempfile::tempdir().unwrap();
    let server = Scripted::start().await;
    good(&server, 1, &["blog"]);
    server.on(CHANGES, Answer::Stall(Vec::new()));
    let client = http(server.url(), Limits::default(), DEADLINE * 10);
    let gateway = Gateway::start(dir.path(), Limits::default(), |_| Client::Http(client));
    until("it hangs", || server.count(CHANGES) == 1).await;
    server.on(STATE, state(false));
    until("the gate is shut", || !gateway.updates.report().gate_open).await;
    good(&server, 2, &["blog", "new"]);
    gateway.until_serves(&["blog", "new"]).await;
    gateway.stop().await;
}

#[tokio::test]
async fn a_received_table_that_has_drifted_is_healed_by_a_snapshot_though_a_long_poll_hangs() {
    let dir = tempfile::tempdir().unwrap();
    let server = Scripted::start().await;
    good(&server, 1, &["blog"]);
    server.on(CHANGES, Answer::Stall(Vec::new()));
    let client = http(server.url(), Limits::default(), DEADLINE * 10);
    let audit_every = Duration::from_millis(100);
    let gateway = Gateway::auditing(dir.path(), Limits::default(), audit_every, |_| Client::Http(client));
    gateway.until_serves(&["blog"]).await;
    until("a snapshot is asked for again", || server.count(SNAPSHOT) > 1).await;
    assert_eq!(ids(&gateway.reader.load()), ["blog"]);
    gateway.stop().await;
}

#[tokio::test]
async fn while_a_table_is_pinned_readiness_is_asked_for_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let (server, gateway) = serving(dir.path(), Limits::default()).await;
    let state = gateway.updates.archive().load(Generation(1), None).unwrap();
    gateway.updates.rollback(state).await.unwrap().unwrap();
    let polls = server.count(STATE);
    until("readiness is asked for", || server.count(STATE) > polls + 2).await;
    let asked = (server.count(SNAPSHOT), server.count(CHANGES));
    good(&server, 2, &["blog", "new", "shop"]);
    until("readiness is asked for", || server.count(STATE) > polls + 5).await;
    assert_eq!((server.count(SNAPSHOT), server.count(CHANGES)), asked);
    assert_eq!(ids(&gateway.reader.load()), ["blog", "shop"]);
    gateway.updates.unpin().await.unwrap().unwrap();
    gateway.until_serves(&["blog", "new", "shop"]).await;
    gateway.stop().await;
}

#[tokio::test]
async fn a_table_that_was_refused_for_good_is_not_asked_for_again_until_there_is_another() {
    let dir = tempfile::tempdir().unwrap();
    let (server, gateway) = serving(dir.path(), Limits::default()).await;
    let bad: Vec<String> = (0..9).map(|n| format!("bad_{n}")).collect();
    let body = String::from_utf8(snapshot(2, true, &["blog", "shop"])).unwrap();
    let (mut digest, mut lines) = (Digest::default(), String::new());
    for name in &bad {
        digest = digest.plus(app_digest(name, Rev(2), b"{}"));
        lines.push_str(&format!("{{\"app\":\"{name}\",\"rev\":2,\"spec\":{{}}}}\n"));
    }
    let good_lines: Vec<&str> = body.lines().collect();
    for name in ["blog", "shop"] {
        digest = digest.plus(app_digest(name, Rev(2), document(name).as_bytes()));
    }
    let begin = good_lines[0].replace("\"apps\":2", "\"apps\":11");
    let end = format!("{{\"end\":{{\"apps\":11,\"digest\":\"{digest}\"}}}}\n");
    server.on(SNAPSHOT, ok(format!("{begin}\n{lines}{}\n{}\n{end}", good_lines[1], good_lines[2]).into_bytes()));
    let asked = server.count(SNAPSHOT);
    until("it is refused", || server.count(SNAPSHOT) > asked).await;
    let (asked, polls) = (server.count(SNAPSHOT), server.count(STATE));
    until("readiness is asked for", || server.count(STATE) > polls + 10).await;
    assert!(server.count(SNAPSHOT) <= asked + 1, "{} after {asked}", server.count(SNAPSHOT));
    assert_eq!(identity(&gateway.reader).2, Generation(1));
    good(&server, 3, &["blog", "new", "shop"]);
    server.on(STATE, state_at(3));
    gateway.until_serves(&["blog", "new", "shop"]).await;
    gateway.stop().await;
}

#[tokio::test]
async fn a_table_that_says_not_ready_shuts_the_gate() {
    let dir = tempfile::tempdir().unwrap();
    let (server, gateway) = serving(dir.path(), Limits::default()).await;
    server.on(SNAPSHOT, ok(snapshot(9, false, &["blog", "shop"])));
    until("the gate is shut", || !gateway.updates.report().gate_open).await;
    assert_eq!(identity(&gateway.reader).2, Generation(1));
    gateway.stop().await;
}

#[tokio::test]
async fn an_orchestrator_that_was_away_is_followed_again_and_a_restart_needs_none() {
    let dir = tempfile::tempdir().unwrap();
    let (server, gateway) = serving(dir.path(), Limits::default()).await;
    let address = server.address;
    server.refuse().await;
    let before = identity(&gateway.reader);
    gateway.stop().await;
    let url = format!("http://{address}");
    let gateway = until_booted(dir.path(), url).await;
    assert_eq!(identity(&gateway.reader), before, "served from disk, with nobody to ask");
    let server = Scripted::start_at(address).await;
    good(&server, 2, &["blog", "new", "shop"]);
    gateway.until_serves(&["blog", "new", "shop"]).await;
    gateway.stop().await;
}

/// The updater's thread of before lets go of the folder once its last handle is gone.
async fn until_booted(dir: &Path, url: String) -> Gateway {
    let limits = Limits::default();
    until("the folder is free", || Updater::boot(config(limits), dir, clock::now()).is_ok()).await;
    Gateway::of_server(dir, url, limits)
}

#[tokio::test]
async fn a_cold_start_takes_the_first_snapshot_of_a_ready_orchestrator_and_of_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let server = Scripted::start().await;
    good(&server, 1, &["blog"]);
    server.on(STATE, state(false));
    let gateway = Gateway::of_server(dir.path(), server.url(), Limits::default());
    until("it asked", || server.count(STATE) > 2).await;
    assert!(!gateway.reader.load().has_table() && server.count(SNAPSHOT) == 0);
    server.on(STATE, state(true));
    gateway.until_serves(&["blog"]).await;
    gateway.stop().await;
}

#[tokio::test]
async fn no_second_sees_more_requests_than_allowed() {
    let dir = tempfile::tempdir().unwrap();
    let server = Scripted::start().await;
    good(&server, 1, &["blog"]);
    let started = Instant::now();
    let gateway = Gateway::of_server(dir.path(), server.url(), Limits::default());
    until("a dozen requests were sent", || server.script().asked.len() >= 12).await;
    assert!(started.elapsed() >= Duration::from_secs(2), "12 requests at 5 a second are in their third second");
    gateway.stop().await;
}

/// A small orchestrator over a folder.
struct Small {
    dir: tempfile::TempDir,
    running: Running,
}

impl Small {
    fn start(apps: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let options = Options { control: true, ..Options::new("127.0.0.1:0".parse().unwrap(), dir.path().to_owned()) };
        apps.iter().for_each(|app| put(dir.path(), app));
        Self { running: Server::start(options).unwrap(), dir }
    }

    async fn acks(&self) -> String {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        client.get(format!("{}/v1/acks", self.running.url())).send().await.unwrap().text().await.unwrap()
    }
}

fn put(dir: &Path, app: &str) {
    fs::write(dir.join(".staged"), document(app)).unwrap();
    fs::rename(dir.join(".staged"), dir.join(format!("{app}.json"))).unwrap();
}

#[tokio::test]
async fn a_small_orchestrator_is_followed_change_by_change() {
    let small = Small::start(&["a", "b", "c", "d", "e", "f"]);
    let dir = tempfile::tempdir().unwrap();
    let gateway = Gateway::of_server(dir.path(), small.running.url(), Limits::default());
    gateway.until_serves(&["a", "b", "c", "d", "e", "f"]).await;
    gateway.until_open().await;
    put(small.dir.path(), "g");
    gateway.until_serves(&["a", "b", "c", "d", "e", "f", "g"]).await;
    fs::remove_file(small.dir.path().join("a.json")).unwrap();
    gateway.until_serves(&["b", "c", "d", "e", "f", "g"]).await;
    let served = gateway.reader.load().provenance.generation;
    let want = format!(r#""generation":{served},"status":"applied""#);
    let by = Instant::now() + DEADLINE;
    while !small.acks().await.contains(&want) {
        assert!(Instant::now() < by, "no ack of {served}: {}", small.acks().await);
        sleep(Duration::from_millis(20)).await;
    }
    gateway.stop().await;
}

#[tokio::test]
async fn held_deletes_are_acknowledged_and_released_by_the_orchestrators_word() {
    let small = Small::start(&["a", "b"]);
    let dir = tempfile::tempdir().unwrap();
    let gateway = Gateway::of_server(dir.path(), small.running.url(), Limits::default());
    gateway.until_serves(&["a", "b"]).await;
    gateway.until_open().await;
    fs::remove_file(small.dir.path().join("a.json")).unwrap();
    until("it is held", || gateway.updates.report().held.total == 1).await;
    assert_eq!(ids(&gateway.reader.load()), ["a", "b"]);
    let by = Instant::now() + DEADLINE;
    while !small.acks().await.contains(r#""held":[{"app":"a","why":"shrink-guard"}]"#) {
        assert!(Instant::now() < by, "no ack of what is held: {}", small.acks().await);
        sleep(Duration::from_millis(20)).await;
    }
    let request = reqwest::Client::builder().no_proxy().build().unwrap();
    let told = request.post(format!("{}/control/shrink_ok", small.running.url())).body(r#"{"to_apps":1}"#);
    assert!(told.send().await.unwrap().status().is_success());
    gateway.until_serves(&["b"]).await;
    gateway.stop().await;
}

#[tokio::test]
async fn a_folder_of_documents_is_followed_and_never_lost() {
    let (dir, state) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let apps = dir.path().join("apps");
    fs::create_dir(&apps).unwrap();
    ["a", "b", "c", "d", "e", "f"].iter().for_each(|app| put(&apps, app));
    let gateway = Gateway::of_files(state.path(), apps.clone());
    gateway.until_serves(&["a", "b", "c", "d", "e", "f"]).await;
    gateway.until_open().await;
    put(&apps, "g");
    gateway.until_serves(&["a", "b", "c", "d", "e", "f", "g"]).await;
    fs::write(apps.join("a.json"), "{\"hosts\":[").unwrap();
    fs::write(apps.join("broken.json"), r#"{"apps":{"#).unwrap();
    put(&apps, "h");
    gateway.until_serves(&["a", "b", "c", "d", "e", "f", "g", "h"]).await;
    fs::rename(&apps, dir.path().join("away")).unwrap();
    until("it is noticed", || !gateway.updates.report().gate_open || gateway.updates.report().last_contact.is_some())
        .await;
    fs::rename(dir.path().join("away"), &apps).unwrap();
    fs::remove_file(apps.join("broken.json")).unwrap();
    put(&apps, "a");
    fs::remove_file(apps.join("b.json")).unwrap();
    gateway.until_serves(&["a", "c", "d", "e", "f", "g", "h"]).await;
    gateway.stop().await;
}

#[tokio::test]
async fn an_empty_folder_is_a_table_at_a_cold_start_and_a_missing_one_is_none() {
    let (dir, state) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let gateway = Gateway::of_files(state.path(), dir.path().join("apps"));
    until("it looked", || gateway.updates.report().gate_reason.is_some()).await;
    assert!(!gateway.reader.load().has_table());
    fs::create_dir(dir.path().join("apps")).unwrap();
    gateway.until("an empty table is served", Published::has_table).await;
    assert!(gateway.reader.load().table.is_empty());
    put(&dir.path().join("apps"), "a");
    gateway.until_serves(&["a"]).await;
    gateway.stop().await;
}
