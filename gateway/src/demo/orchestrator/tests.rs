use std::{fs, path::Path, time::Duration};

use reqwest::{Client, RequestBuilder, StatusCode};
use routing_cache::{
    model::Record,
    wire::{self, ChangesPage, SnapshotCandidate, SnapshotDecoder, StateAnswer},
};
use tokio::time::{Instant, sleep, timeout};

use super::*;

const DEADLINE: Duration = Duration::from_secs(30);

fn document(name: &str) -> String {
    format!(r#"{{"hosts":["{name}.example"],"endpoints":["127.0.0.1:1"]}}"#)
}

/// A small orchestrator over a folder of its own, and a client without any patience of its own.
struct Rig {
    dir: tempfile::TempDir,
    running: Running,
    client: Client,
}

impl Rig {
    async fn new(apps: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("apps")).unwrap();
        apps.iter().for_each(|app| write(dir.path(), app, &document(app)));
        Self::over(dir).await
    }

    async fn over(dir: tempfile::TempDir) -> Self {
        let rig = Self::start(dir);
        rig.until("it is ready", |state| state.ready).await;
        rig
    }

    fn start(dir: tempfile::TempDir) -> Self {
        let options =
            Options { control: true, ..Options::new("127.0.0.1:0".parse().unwrap(), dir.path().join("apps")) };
        let client = Client::builder().no_proxy().no_gzip().build().unwrap();
        Self { running: Server::start(options).unwrap(), dir, client }
    }

    /// Ends it, and starts another on the same folder.
    async fn restarted(self) -> Self {
        self.restarted_after(|_| ()).await
    }

    /// `change` is made while it is down: a running one may write its state file at any moment.
    async fn restarted_after(self, change: impl FnOnce(&Path)) -> Self {
        let Self { dir, running, .. } = self;
        running.stop();
        change(dir.path());
        Self::over(dir).await
    }

    fn write(&self, app: &str, text: &str) {
        write(self.dir.path(), app, text);
    }

    fn remove(&self, app: &str) {
        fs::remove_file(self.dir.path().join(format!("apps/{app}.json"))).unwrap();
    }

    fn get(&self, path: &str) -> RequestBuilder {
        self.client.get(format!("{}{path}", self.running.url())).timeout(DEADLINE)
    }

    fn post(&self, path: &str, body: &str) -> RequestBuilder {
        self.client.post(format!("{}{path}", self.running.url())).timeout(DEADLINE).body(body.to_owned())
    }

    async fn state(&self) -> StateAnswer {
        let response = self.get("/v1/state").send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        wire::parse_state(&response.bytes().await.unwrap()).unwrap()
    }

    async fn until(&self, what: &str, done: impl Fn(&StateAnswer) -> bool) -> StateAnswer {
        let by = Instant::now() + DEADLINE;
        loop {
            let state = self.state().await;
            if done(&state) {
                return state;
            }
            assert!(Instant::now() < by, "not in time: {what}; {state:?}");
            sleep(Duration::from_millis(5)).await;
        }
    }

    async fn snapshot(&self) -> SnapshotCandidate {
        let body = self.get("/v1/snapshot").send().await.unwrap().bytes().await.unwrap();
        let mut decoder = SnapshotDecoder::new(Limits::default());
        decoder.push(&body).unwrap();
        decoder.finish().unwrap()
    }

    /// What follows on `since`, which has to be answered with 200.
    async fn changes(&self, since: &StateAnswer, query: &str) -> ChangesPage {
        let path = format!("/v1/changes?epoch={}&since={}&{query}", since.epoch, since.generation);
        let response = self.get(&path).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        wire::parse_changes(response.bytes().await.unwrap(), &Limits::default()).unwrap()
    }

    async fn status(&self, request: RequestBuilder) -> u16 {
        request.send().await.unwrap().status().as_u16()
    }
}

fn write(dir: &Path, app: &str, text: &str) {
    let staged = dir.join("staged");
    fs::write(&staged, text).unwrap();
    fs::rename(staged, dir.join(format!("apps/{app}.json"))).unwrap();
}

fn ids(candidate: &SnapshotCandidate) -> Vec<&str> {
    candidate.apps.records().map(Record::id).collect()
}

#[tokio::test]
async fn a_snapshot_is_what_the_state_says_and_decodes() {
    let rig = Rig::new(&["blog", "shop"]).await;
    let (state, snapshot) = (rig.state().await, rig.snapshot().await);
    assert_eq!(ids(&snapshot), ["blog", "shop"]);
    assert_eq!((snapshot.epoch, snapshot.generation), (state.epoch, state.generation));
    assert_eq!((snapshot.digest, state.apps), (state.digest, 2));
    assert!(snapshot.ready && snapshot.apps.invalid().is_empty());
}

#[tokio::test]
async fn a_snapshot_that_the_client_has_is_304() {
    let rig = Rig::new(&["blog"]).await;
    let state = rig.state().await;
    let response = rig.get("/v1/snapshot").send().await.unwrap();
    let etag = response.headers()["etag"].to_str().unwrap().to_owned();
    assert_eq!(response.headers()["content-type"], "application/x-ndjson");
    assert_eq!(etag, format!("\"{}.{}\"", state.epoch, state.generation));
    let with = |tag: &str| rig.get("/v1/snapshot").header("if-none-match", tag.to_owned());
    assert_eq!(rig.status(with(&etag)).await, 304);
    assert_eq!(rig.status(with(&format!("\"x\", W/{etag}"))).await, 304);
    assert_eq!(rig.status(with("\"x.1\"")).await, 200);
    rig.write("blog", &document("other"));
    rig.until("the change is served", |s| s.generation > state.generation).await;
    assert_eq!(rig.status(with(&etag)).await, 200);
}

#[tokio::test]
async fn a_long_poll_is_answered_when_the_table_changes_and_else_when_the_wait_is_over() {
    let rig = Rig::new(&["blog", "shop"]).await;
    let before = rig.state().await;
    let heartbeat = rig.changes(&before, "wait=10ms").await;
    assert_eq!((heartbeat.from, heartbeat.to, heartbeat.more), (before.generation, before.generation, false));
    assert_eq!((heartbeat.apps, heartbeat.digest), (2, before.digest));
    let (page, ()) = tokio::join!(rig.changes(&before, "wait=60s"), async {
        rig.write("new", &document("new"));
        rig.until("it is there", |s| s.apps == 3).await;
    });
    assert_eq!((page.upserts.len(), page.upserts[0].id.as_str(), page.apps), (1, "new", 3));
    rig.remove("blog");
    let after = rig.until("it is gone", |s| s.apps == 2).await;
    let page = rig.changes(&before, "wait=60s").await;
    assert_eq!((page.upserts.len(), page.deletes.len(), page.to), (1, 1, after.generation));
    assert_eq!((page.apps, page.digest), (2, after.digest));
}

#[tokio::test]
async fn pages_follow_one_another_to_the_whole() {
    let rig = Rig::new(&["a"]).await;
    let mut at = rig.state().await;
    ["b", "c", "d"].iter().for_each(|app| rig.write(app, &document(app)));
    let whole = rig.until("all are there", |s| s.apps == 4).await;
    let mut ids = Vec::new();
    loop {
        let page = rig.changes(&at, "wait=60s&max=1").await;
        ids.extend(page.upserts.iter().map(|app| app.id.as_str().to_owned()));
        at.generation = page.to;
        if !page.more {
            assert_eq!((page.digest, page.apps), (whole.digest, 4));
            break;
        }
    }
    ids.sort();
    assert_eq!(ids, ["b", "c", "d"]);
}

#[tokio::test]
async fn every_other_status_is_as_the_contract_says() {
    let rig = Rig::new(&["blog"]).await;
    let s = rig.state().await;
    let changes = |epoch: &str, since: u64| rig.get(&format!("/v1/changes?epoch={epoch}&since={since}&wait=0s"));
    assert_eq!(rig.status(changes("other", s.generation.0)).await, 410);
    assert_eq!(rig.status(changes(s.epoch.as_str(), 0)).await, 410);
    assert_eq!(rig.status(changes(s.epoch.as_str(), s.generation.0 + 1)).await, 409);
    assert_eq!(rig.status(rig.get("/v1/changes?since=1")).await, 400);
    assert_eq!(rig.status(rig.get("/v1/nothing")).await, 404);
    assert_eq!(rig.status(rig.post("/v1/state", "")).await, 405);
    assert_eq!(rig.status(rig.get("/v1/ack")).await, 405);
    assert_eq!(rig.status(rig.post("/v1/ack", "garbage")).await, 400);
    assert_eq!(rig.status(rig.post("/v1/ack", &" ".repeat((1 << 20) + 1))).await, 413);
    assert_eq!(rig.status(rig.post("/control/nothing", "{}")).await, 404);
    assert_eq!(rig.status(rig.post("/control/ready", "{}")).await, 400);
}

#[tokio::test]
async fn the_last_ack_of_each_gateway_is_kept() {
    let rig = Rig::new(&[]).await;
    for ack in [r#"{"gateway":"a","n":1}"#, r#"{"gateway":"b","n":2}"#, r#"{"gateway":"a","n":3}"#] {
        assert_eq!(rig.status(rig.post("/v1/ack", ack)).await, 204);
    }
    let acks = rig.get("/v1/acks").send().await.unwrap().text().await.unwrap();
    assert_eq!(acks, r#"{"acks":[{"gateway":"a","n":3},{"gateway":"b","n":2}]}"#);
}

#[tokio::test]
async fn control_makes_it_not_ready_and_ready_again() {
    let rig = Rig::new(&["blog"]).await;
    assert_eq!(rig.status(rig.post("/control/ready", r#"{"ready":false,"reason":"upgrade"}"#)).await, 200);
    let state = rig.state().await;
    assert_eq!((state.ready, state.reason.as_deref()), (false, Some("upgrade")));
    assert!(!rig.snapshot().await.ready);
    assert!(!rig.changes(&state, "wait=0s").await.ready);
    rig.post("/control/ready", r#"{"ready":true}"#).send().await.unwrap();
    assert!(rig.state().await.ready && rig.snapshot().await.ready);
}

#[tokio::test]
async fn control_calls_are_not_there_unless_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let running = Server::start(Options::new("127.0.0.1:0".parse().unwrap(), dir.path().to_owned())).unwrap();
    let request = Client::builder().no_proxy().build().unwrap().post(format!("{}/control/ready", running.url()));
    assert_eq!(request.body(r#"{"ready":false}"#).send().await.unwrap().status(), 404);
}

#[tokio::test]
async fn a_meant_shrink_is_told_to_those_who_wait() {
    let rig = Rig::new(&["blog"]).await;
    let before = rig.state().await;
    let (page, status) = tokio::join!(
        rig.changes(&before, "wait=60s"),
        rig.status(rig.post("/control/shrink_ok", r#"{"to_apps":1,"by":"me","why":"moving"}"#))
    );
    assert_eq!((status, page.to.0), (200, before.generation.0 + 1));
    let told = page.shrink_ok.unwrap();
    assert_eq!((told.to_apps, told.by.as_str(), told.why.as_str()), (1, "me", "moving"));
    assert_eq!(rig.snapshot().await.shrink_ok, Some(told));
}

#[tokio::test]
async fn nothing_is_told_until_the_folder_was_read() {
    let dir = tempfile::tempdir().unwrap();
    let rig = Rig::start(dir);
    let state = rig.until("it looked", |s| s.reason.as_deref().is_some_and(|r| r.contains("cannot be read"))).await;
    assert!(!state.ready);
    for path in ["/v1/snapshot", &format!("/v1/changes?epoch={}&since=1", state.epoch)] {
        let response = rig.get(path).send().await.unwrap();
        assert_eq!(response.status(), 503);
        assert_eq!(response.headers()["retry-after"], "1");
        assert!(!wire::parse_state(&response.bytes().await.unwrap()).unwrap().ready);
    }
    fs::create_dir(rig.dir.path().join("apps")).unwrap();
    rig.write("blog", &document("blog"));
    rig.until("the folder is read", |s| s.ready && s.apps == 1).await;
}

#[tokio::test]
async fn a_half_written_file_at_the_start_is_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("apps")).unwrap();
    write(dir.path(), "all", r#"{"apps":{"blog":"#);
    let rig = Rig::start(dir);
    rig.until("it says why", |s| s.reason.as_deref().is_some_and(|r| r.contains("all.json"))).await;
    rig.write("all", &format!(r#"{{"apps":{{"blog":{}}}}}"#, document("blog")));
    rig.until("it is whole", |s| s.ready && s.apps == 1).await;
}

#[tokio::test]
async fn an_invalid_or_half_written_document_keeps_its_last_version() {
    let rig = Rig::new(&["blog", "shop"]).await;
    let before = rig.snapshot().await;
    rig.write("blog", r#"{"hosts":[],"endpoints":[]}"#);
    rig.write("shop", &document("shop")[..10]);
    rig.write("mark", &document("mark"));
    rig.until("the folder was read again", |s| s.apps == 3).await;
    let after = rig.snapshot().await;
    assert_eq!(ids(&after), ["blog", "mark", "shop"]);
    let revs = |candidate: &SnapshotCandidate| ["blog", "shop"].map(|app| candidate.apps.get(app).unwrap().rev());
    assert_eq!(revs(&after), revs(&before));
}

#[tokio::test]
async fn a_folder_that_vanishes_makes_it_not_ready_and_takes_nothing_away() {
    let rig = Rig::new(&["blog"]).await;
    let (apps, away) = (rig.dir.path().join("apps"), rig.dir.path().join("away"));
    fs::rename(&apps, &away).unwrap();
    let state = rig.until("it is noticed", |s| !s.ready).await;
    assert_eq!((state.apps, ids(&rig.snapshot().await)), (1, vec!["blog"]));
    fs::rename(&away, &apps).unwrap();
    assert_eq!(rig.until("it is back", |s| s.ready).await.apps, 1);
}

#[tokio::test]
async fn a_restart_keeps_the_epoch_and_the_generation_grows() {
    let rig = Rig::new(&["blog", "shop", "gone"]).await;
    let before = (rig.state().await, rig.snapshot().await);
    let rig = rig.restarted().await;
    let after = rig.state().await;
    assert_eq!((&after.epoch, after.digest, after.apps), (&before.0.epoch, before.0.digest, 3));
    assert!(after.generation > before.0.generation);
    let page = rig.changes(&before.0, "wait=0s").await;
    assert_eq!((page.upserts.len(), page.deletes.len(), page.digest), (0, 0, before.0.digest));
    rig.remove("gone");
    let gone = rig.until("one is gone", |s| s.apps == 2).await;
    assert_eq!(rig.changes(&before.0, "wait=0s").await.deletes.len(), 1);
    let rig = rig.restarted().await;
    assert_eq!((rig.state().await.apps, rig.state().await.digest), (2, gone.digest));
    let path = format!("/v1/changes?epoch={}&since={}", before.0.epoch, before.0.generation);
    assert_eq!(rig.status(rig.get(&path)).await, 410, "what changed before it last saved is not known any more");
}

#[tokio::test]
async fn without_a_state_file_every_start_begins_an_epoch() {
    let rig = Rig::new(&["blog"]).await;
    let before = rig.state().await;
    let damage = |dir: &Path| fs::write(dir.join("apps").join(state_file::FILE_NAME), "damaged").unwrap();
    let rig = rig.restarted_after(damage).await;
    assert_ne!(rig.state().await.epoch, before.epoch);
    let path = format!("/v1/changes?epoch={}&since={}", before.epoch, before.generation);
    assert_eq!(rig.status(rig.get(&path)).await, 410);
}

#[tokio::test]
async fn a_state_file_that_cannot_be_written_costs_the_epoch_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("apps")).unwrap();
    write(dir.path(), "blog", &document("blog"));
    let file = dir.path().join("missing/state.json");
    let (apps, listen) = (dir.path().join("apps"), "127.0.0.1:0".parse().unwrap());
    let start = || Server::start(Options { state_file: Some(file.clone()), ..Options::new(listen, apps.clone()) });
    let client = Client::builder().no_proxy().build().unwrap();
    let mut epochs = Vec::new();
    for _ in 0..2 {
        let running = start().unwrap();
        let rig = Rig { dir: tempfile::tempdir().unwrap(), running, client: client.clone() };
        epochs.push(rig.until("it is ready", |s| s.ready && s.apps == 1).await.epoch);
        rig.running.stop();
    }
    assert_ne!(epochs[0], epochs[1]);
}

#[tokio::test]
async fn answers_are_compressed_for_those_who_take_it() {
    let apps: Vec<_> = (0..50).map(|n| format!("app{n}")).collect();
    let rig = Rig::new(&apps.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let response = rig.get("/v1/snapshot").header("accept-encoding", "gzip").send().await.unwrap();
    assert_eq!(response.headers()["content-encoding"], "gzip");
    let body = response.bytes().await.unwrap();
    let mut plain = String::new();
    std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(&body[..]), &mut plain).unwrap();
    let response = rig.get("/v1/snapshot").send().await.unwrap();
    assert!(response.headers().get("content-encoding").is_none());
    assert_eq!(response.text().await.unwrap(), plain);
}

#[tokio::test]
async fn it_ends_while_a_long_poll_is_open() {
    let rig = Rig::new(&["blog"]).await;
    let state = rig.state().await;
    let poll = rig.get(&format!("/v1/changes?epoch={}&since={}&wait=60s", state.epoch, state.generation)).send();
    let Rig { running, .. } = rig;
    let stop = tokio::task::spawn_blocking(move || running.stop());
    let (poll, stop) = timeout(DEADLINE, async { tokio::join!(poll, stop) }).await.unwrap();
    stop.unwrap();
    assert!(poll.is_err());
}
