//! An orchestrator written from the contract alone, which can be told to misbehave.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    io::{self, Write},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use sha2::{Digest as _, Sha256};

use crate::{
    server::{Request, Server},
    wait,
};

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
    acks: Vec<serde_json::Value>,
    states_asked: u64,
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
        let state = State { epoch: "01TEST".into(), generation, apps, ..State::default() };
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
        let mut state = self.state();
        state.generation += 1;
        let rev = state.generation;
        state.apps.insert(id.to_owned(), (rev, document.to_owned()));
        rev
    }

    /// Keeps only the apps of which `keep` says so, and returns the generation.
    pub fn retain(&self, keep: impl Fn(&str) -> bool) -> u64 {
        let mut state = self.state();
        state.generation += 1;
        state.apps.retain(|id, _| keep(id));
        state.generation
    }

    /// The digest of its table.
    #[must_use]
    pub fn digest(&self) -> String {
        hex(digest(&self.state().apps))
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

/// What it says of its own table; the moods that lie in a snapshot tell the truth here, so that the gate stays open.
fn state_body(state: &State) -> String {
    let (ready, apps) = match state.mood {
        Mood::NotReadyAndEmpty => (false, 0),
        Mood::NotReady => (false, state.apps.len()),
        Mood::Empty => (true, 0),
        _ => (true, state.apps.len()),
    };
    let digest = if apps == 0 { hex(0) } else { hex(digest(&state.apps)) };
    let reason = if ready { "null" } else { "\"loading storage\"" };
    let (epoch, generation) = (&state.epoch, state.generation);
    format!(
        r#"{{"schema":1,"epoch":"{epoch}","generation":{generation},"ready":{ready},"reason":{reason},"apps":{apps},"digest":"{digest}","bytes":0}}"#
    )
}

fn snapshot_body(state: &State) -> String {
    let empty = matches!(state.mood, Mood::Empty | Mood::NotReadyAndEmpty);
    let apps = if empty { BTreeMap::new() } else { state.apps.clone() };
    let ready = state.mood != Mood::NotReadyAndEmpty;
    let (epoch, generation, count) = (&state.epoch, state.generation, apps.len());
    let mut body = format!(
        r#"{{"begin":{{"schema":1,"epoch":"{epoch}","generation":{generation},"ready":{ready},"apps":{count}}}}}"#
    );
    body.push('\n');
    let half = if state.mood == Mood::CutShort { count / 2 } else { count };
    for (id, (rev, document)) in apps.iter().take(half) {
        writeln!(body, r#"{{"app":"{id}","rev":{rev},"spec":{document}}}"#).expect("a string can be written to");
    }
    match state.mood {
        Mood::CutShort => body.truncate(body.len().saturating_sub(7)),
        Mood::NoEnd => {}
        Mood::DuplicateApp => {
            let (id, (rev, document)) = apps.iter().next().expect("a test has an app");
            let end = end(count + 1, digest(&apps).wrapping_add(number(id, *rev, document)));
            write!(body, "{{\"app\":\"{id}\",\"rev\":{rev},\"spec\":{document}}}\n{end}").expect("a string");
        }
        Mood::WrongCount => body.push_str(&end(count + 1, digest(&apps))),
        Mood::WrongDigest => body.push_str(&end(count, digest(&apps).wrapping_add(1))),
        Mood::TooBig => body.push_str(&" ".repeat(8 << 20)),
        _ => body.push_str(&end(count, digest(&apps))),
    }
    body
}

fn end(apps: usize, digest: u128) -> String {
    format!("{{\"end\":{{\"apps\":{apps},\"digest\":\"{}\"}}}}\n", hex(digest))
}

/// Honest long poll without a log of changes: whoever is behind, or asks while it lies, is sent to the snapshot.
fn changes(state: &Mutex<State>, stopping: &AtomicBool, target: &str, stream: &mut TcpStream) -> io::Result<()> {
    let query = |name: &str| target.split(['?', '&']).find_map(|p| p.strip_prefix(name)?.strip_prefix('='));
    let since: u64 = query("since").and_then(|s| s.parse().ok()).unwrap_or(0);
    let wait = query("wait").and_then(|s| s.trim_end_matches('s').parse().ok()).unwrap_or(1);
    let deadline = Instant::now() + Duration::from_secs(wait);
    loop {
        let (behind, body) = {
            let state = state.lock().expect("no holder panics");
            let behind = state.generation != since || state.mood != Mood::Honest;
            (behind, heartbeat(&state))
        };
        if behind {
            return send(stream, 410, "{}");
        }
        if Instant::now() >= deadline || stopping.load(Ordering::Acquire) {
            return send(stream, 200, &body);
        }
        thread::sleep(Duration::from_millis(10));
    }
}

fn heartbeat(state: &State) -> String {
    let (epoch, generation, apps, digest) =
        (&state.epoch, state.generation, state.apps.len(), hex(digest(&state.apps)));
    format!(
        r#"{{"epoch":"{epoch}","from":{generation},"to":{generation},"ready":true,"upserts":[],"deletes":[],"more":false,"apps":{apps},"digest":"{digest}"}}"#
    )
}

fn digest(apps: &BTreeMap<String, (u64, String)>) -> u128 {
    apps.iter().fold(0, |sum, (id, (rev, document))| sum.wrapping_add(number(id, *rev, document)))
}

fn number(id: &str, rev: u64, document: &str) -> u128 {
    let hash = Sha256::new().chain_update(id).chain_update([0]).chain_update(rev.to_be_bytes()).chain_update([0]);
    let hash = hash.chain_update(document).finalize();
    u128::from_be_bytes(hash[..16].try_into().expect("16 of 32 bytes"))
}

fn hex(digest: u128) -> String {
    format!("{digest:032x}")
}
