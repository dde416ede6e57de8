//! An orchestrator written from the contract alone, which can be told to misbehave.

mod body;
mod history;

use std::{
    collections::BTreeMap,
    io::{self, Write},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use crate::{
    server::{Request, Server},
    wait,
};

use body::{digest, hex, number, shrink_ok, snapshot_body, state_body};
pub use history::Published;
use history::{Changed, History};

/// How it answers for its table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mood {
    /// By the contract.
    #[default]
    Honest,
    /// `ready:false`, and no app.
    NotReadyAndEmpty,
    /// `ready:false` in its state, and a whole table for who asks all the same.
    NotReady,
    /// Ready, and no app.
    Empty,
    /// 500 to everything.
    Broken,
    /// It takes the request and never answers.
    Hangs,
    /// Something that is not JSON.
    Garbage,
    /// A snapshot cut short after half of its apps, the connection closed as if that were all.
    CutShort,
    /// A snapshot without its `end` line.
    NoEnd,
    /// An `end` with another count.
    WrongCount,
    /// An `end` with another digest.
    WrongDigest,
    /// An app twice.
    DuplicateApp,
    /// A snapshot larger than the gateway takes.
    TooBig,
}

/// Shared with the threads that answer.
#[derive(Debug, Default)]
struct State {
    mood: Mood,
    epoch: String,
    generation: u64,
    apps: BTreeMap<String, (u64, String)>,
    /// The digest over them.
    digest: u128,
    history: History,
    shrink_ok: Option<u64>,
    acks: Vec<serde_json::Value>,
    states_asked: u64,
}

impl State {
    /// The next generation: what `changed` holds is put in, or taken out where it is `None`.
    fn change(&mut self, changed: Vec<Changed>) -> u64 {
        self.generation += 1;
        self.shrink_ok = None;
        for (id, change) in &changed {
            self.set(id, change.clone());
        }
        let published = self.published();
        self.history.add(published, changed);
        self.generation
    }

    fn set(&mut self, id: &str, version: Option<(u64, String)>) {
        let of = |v: &(u64, String)| number(id, v.0, &v.1);
        self.digest = self.digest.wrapping_add(version.as_ref().map_or(0, of));
        let old = match version {
            Some(version) => self.apps.insert(id.to_owned(), version),
            None => self.apps.remove(id),
        };
        self.digest = self.digest.wrapping_sub(old.as_ref().map_or(0, of));
    }

    fn published(&self) -> Published {
        let digest = hex(self.digest);
        Published { epoch: self.epoch.clone(), generation: self.generation, apps: self.apps.len(), digest }
    }
}

/// An orchestrator on loopback.
#[derive(Debug)]
pub struct Orchestrator {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    tables_asked: Arc<AtomicU64>,
    stopping: Arc<AtomicBool>,
    server: Option<Server>,
}

impl Orchestrator {
    /// An honest one with these apps (id and document).
    #[must_use]
    pub fn start(apps: impl IntoIterator<Item = (String, String)>) -> Self {
        let apps: BTreeMap<_, _> = (1..).zip(apps).map(|(rev, (id, document))| (id, (rev, document))).collect();
        let generation = apps.len() as u64;
        let digest = digest(&apps);
        let mut state = State { epoch: "01TEST".into(), generation, apps, digest, ..State::default() };
        let first = state.published();
        state.history.add(first, Vec::new());
        let mut orchestrator = Self {
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            state: Arc::new(Mutex::new(state)),
            tables_asked: Arc::default(),
            stopping: Arc::default(),
            server: None,
        };
        orchestrator.listen();
        orchestrator
    }

    /// Its URL, the same after it has stopped and listens again.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Stops listening and closes every connection: the next one is refused.
    pub fn stop(&mut self) {
        self.stopping.store(true, Ordering::Release);
        self.server = None;
    }

    /// Listens, again at the same address.
    pub fn listen(&mut self) {
        self.stopping = Arc::default();
        let (state, asked, stopping) =
            (Arc::clone(&self.state), Arc::clone(&self.tables_asked), Arc::clone(&self.stopping));
        let server =
            Server::start(self.address, move |request, stream| answer(&state, &asked, &stopping, request, stream));
        self.address = server.address();
        self.server = Some(server);
    }

    /// Changes its mood.
    pub fn become_(&self, mood: Mood) {
        self.state().mood = mood;
    }

    /// Waits until the table (snapshot or changes) has been asked for `more` times from now on.
    pub fn asked_for_its_table(&self, more: u64) {
        let goal = self.tables_asked.load(Ordering::Acquire) + more;
        wait::until("the gateway to ask for the table", || {
            (self.tables_asked.load(Ordering::Acquire) >= goal).then_some(())
        });
    }

    /// Waits until it has been asked `more` times from now on whether it is ready.
    pub fn asked_whether_ready(&self, more: u64) {
        let goal = self.state().states_asked + more;
        wait::until("the gateway to ask for the state", || (self.state().states_asked >= goal).then_some(()));
    }

    /// Puts an app in, or replaces it, and returns the generation.
    pub fn put(&self, id: &str, document: &str) -> u64 {
        self.put_all([(id.to_owned(), document.to_owned())])
    }

    /// Puts apps in, or replaces them, in one generation, and returns it.
    pub fn put_all(&self, apps: impl IntoIterator<Item = (String, String)>) -> u64 {
        let mut state = self.state();
        let rev = state.generation + 1;
        state.change(apps.into_iter().map(|(id, document)| (id, Some((rev, document)))).collect())
    }

    /// Puts an app in with a rev that need not be new.
    pub fn put_at(&self, id: &str, rev: u64, document: &str) -> u64 {
        self.state().change(vec![(id.to_owned(), Some((rev, document.to_owned())))])
    }

    /// Deletes apps in one generation, and returns it.
    pub fn delete(&self, ids: &[&str]) -> u64 {
        self.state().change(ids.iter().map(|id| ((*id).to_owned(), None)).collect())
    }

    /// Keeps only the apps of which `keep` says so, and returns the generation.
    pub fn retain(&self, keep: impl Fn(&str) -> bool) -> u64 {
        let mut state = self.state();
        let gone = state.apps.keys().filter(|id| !keep(id)).map(|id| (id.clone(), None)).collect();
        state.change(gone)
    }

    /// Says of its next generation, which changes nothing, that a shrink to `to_apps` is meant.
    pub fn mean_to_shrink(&self, to_apps: u64) -> u64 {
        let mut state = self.state();
        let generation = state.change(Vec::new());
        state.shrink_ok = Some(to_apps);
        generation
    }

    /// Loses the change itself, as a delta of its own: the app is in its table, and no changes answer says so.
    pub fn put_and_forget(&self, id: &str, document: &str) {
        let mut state = self.state();
        let version = (state.generation, document.to_owned());
        state.set(id, Some(version));
    }

    /// From now on it answers who is behind with what changed since, at most `page` changes in one answer.
    pub fn keep_changes(&self, page: usize) {
        self.state().history.keep(page);
    }

    /// It forgets what changed so far: who is behind gets 410, and has to take a snapshot.
    pub fn forget_changes(&self) {
        let generation = self.state().generation;
        self.state().history.forget(generation);
    }

    /// Whether it lags: then who asks for changes is ahead of it, and gets 409.
    pub fn lag(&self, lags: bool) {
        self.state().history.lags = lags;
    }

    /// From now on it answers with this epoch and generation, as another replica would, and these apps.
    pub fn switch(&self, epoch: &str, generation: u64, apps: impl IntoIterator<Item = (String, String)>) {
        let mut state = self.state();
        state.epoch = epoch.to_owned();
        state.generation = generation - 1;
        (state.apps, state.digest) = (BTreeMap::new(), 0);
        state.history.forget(generation);
        state.change(apps.into_iter().map(|(id, document)| (id, Some((generation, document)))).collect());
    }

    /// Everything it ever published, oldest first.
    #[must_use]
    pub fn published(&self) -> Vec<Published> {
        self.state().history.published().to_vec()
    }

    /// How many answers with changes in them it has sent.
    #[must_use]
    pub fn changes_sent(&self) -> u64 {
        self.state().history.sent
    }

    /// The highest generation that a gateway has said it applied.
    #[must_use]
    pub fn acknowledged(&self) -> u64 {
        let state = self.state();
        let applied = state.acks.iter().filter(|ack| ack["status"] == "applied");
        applied.filter_map(|ack| ack["generation"].as_u64()).max().unwrap_or_default()
    }

    /// The digest of its table.
    #[must_use]
    pub fn digest(&self) -> String {
        hex(self.state().digest)
    }

    /// The acks that came.
    #[must_use]
    pub fn acks(&self) -> Vec<serde_json::Value> {
        self.state().acks.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder panics")
    }
}

impl Drop for Orchestrator {
    fn drop(&mut self) {
        self.stop();
    }
}

fn answer(
    state: &Mutex<State>,
    asked: &AtomicU64,
    stopping: &AtomicBool,
    request: &Request,
    stream: &mut TcpStream,
) -> io::Result<()> {
    let path = request.target.split('?').next().unwrap_or_default();
    if path == "/v1/ack" {
        let ack = serde_json::from_slice(&request.body).map_err(io::Error::other)?;
        state.lock().expect("no holder panics").acks.push(ack);
        return send(stream, 200, "{}");
    }
    if path != "/v1/state" {
        asked.fetch_add(1, Ordering::AcqRel);
    }
    let mood = {
        let mut state = state.lock().expect("no holder panics");
        state.states_asked += u64::from(path == "/v1/state");
        state.mood
    };
    match mood {
        Mood::Broken => return send(stream, 500, "broken"),
        Mood::Hangs => return hang(state, stopping),
        Mood::Garbage => return send(stream, 200, "<html>welcome to your proxy</html>"),
        _ => {}
    }
    match path {
        "/v1/state" => send(stream, 200, &state_body(&state.lock().expect("no holder panics"))),
        "/v1/snapshot" => {
            let body = snapshot_body(&state.lock().expect("no holder panics"));
            send(stream, 200, &body)
        }
        "/v1/changes" => changes(state, stopping, &request.target, stream),
        _ => send(stream, 404, "{}"),
    }
}

fn send(stream: &mut TcpStream, status: u16, body: &str) -> io::Result<()> {
    let head =
        format!("HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n", body.len());
    stream.write_all(format!("{head}{body}").as_bytes())
}

fn hang(state: &Mutex<State>, stopping: &AtomicBool) -> io::Result<()> {
    while !stopping.load(Ordering::Acquire) && state.lock().expect("no holder panics").mood == Mood::Hangs {
        thread::sleep(Duration::from_millis(20));
    }
    Err(io::ErrorKind::TimedOut.into())
}

/// Honest long poll: who is behind gets what changed where changes are kept, and is sent to the snapshot where not.
fn changes(state: &Mutex<State>, stopping: &AtomicBool, target: &str, stream: &mut TcpStream) -> io::Result<()> {
    let query = |name: &str| target.split(['?', '&']).find_map(|p| p.strip_prefix(name)?.strip_prefix('='));
    let since: u64 = query("since").and_then(|s| s.parse().ok()).unwrap_or(0);
    let wait = query("wait").and_then(|s| s.trim_end_matches('s').parse().ok()).unwrap_or(1);
    let deadline = Instant::now() + Duration::from_secs(wait);
    loop {
        let (status, body, news) = {
            let state = state.lock().expect("no holder panics");
            follow(&state, query("epoch"), since)
        };
        if news || Instant::now() >= deadline || stopping.load(Ordering::Acquire) {
            send(stream, status, &body)?;
            state.lock().expect("no holder panics").history.sent += u64::from(news && status == 200);
            return Ok(());
        }
        thread::sleep(Duration::from_millis(2));
    }
}

/// Status, body, and whether it is to be sent at once.
fn follow(state: &State, epoch: Option<&str>, since: u64) -> (u16, String, bool) {
    let refused = |status: u16| (status, "{}".to_owned(), true);
    if state.mood != Mood::Honest || epoch != Some(&state.epoch) {
        return refused(410);
    }
    if state.history.lags {
        return refused(409);
    }
    if since == state.generation {
        return (200, state.history.answer(since, &state.epoch, &shrink_ok(state)), false);
    }
    if state.history.knows(since) {
        (200, state.history.answer(since, &state.epoch, &shrink_ok(state)), true)
    } else {
        refused(410)
    }
}
