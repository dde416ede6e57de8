//! The real process: started, asked, killed.

use std::{
    fs,
    hash::{BuildHasher, RandomState},
    io::{self, BufRead, BufReader, Read},
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::{
    http::{self, Answer},
    wait,
};

/// The binary under test: `HOLDGATE_BIN`, else the one built beside this test.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("HOLDGATE_BIN") {
        return path.into();
    }
    let test = std::env::current_exe().expect("a running test has a path");
    let folder = test.ancestors().nth(2).expect("tests run from target/PROFILE/deps");
    let path = folder.join("holdgate");
    assert!(path.exists(), "{} is missing: build it with `cargo build -p holdgate`", path.display());
    path
}

/// A loopback address whose port was free a moment ago, and that the kernel gives to no client meanwhile: other tests make
/// thousands of connections.
///
/// # Panics
/// When the machine has none left.
#[must_use]
pub fn free_address() -> SocketAddr {
    let ports = LOWEST_PORT..first_of_clients();
    let seed = RandomState::new();
    let some = (0..TRIES).map(|n| ports.start + (seed.hash_one(n) % ports.len().max(1) as u64) as u16);
    let free = some.filter(|_| !ports.is_empty()).find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok());
    let listener = TcpListener::bind(("127.0.0.1", free.unwrap_or(0))).expect("a free loopback port");
    listener.local_addr().expect("a bound socket has an address")
}

/// Below are those of well-known services.
const LOWEST_PORT: u16 = 10_000;
/// Ports that are tried before the kernel is asked for one.
const TRIES: u32 = 100;

/// The first port that the kernel gives to clients (ip(7), ip_local_port_range).
fn first_of_clients() -> u16 {
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    range.split_whitespace().next().and_then(|first| first.parse().ok()).unwrap_or(LOWEST_PORT)
}

/// Variables that are the tests' own; the gateway refuses one that it does not know.
const OUR_VARIABLES: [&str; 4] = ["HOLDGATE_BIN", "HOLDGATE_KILLS", "HOLDGATE_SEED", "HOLDGATE_TAKEOVERS"];

/// The binary, started by `wrapper`.
fn program(wrapper: &[String]) -> Command {
    let mut command = match wrapper {
        [] => Command::new(binary()),
        [first, rest @ ..] => {
            let mut command = Command::new(first);
            command.args(rest).arg(binary());
            command
        }
    };
    for variable in OUR_VARIABLES {
        command.env_remove(variable);
    }
    command.stdin(Stdio::null());
    command
}

/// A gateway, its configuration and its state folder. Dropped, it is killed.
#[derive(Debug)]
pub struct Gateway {
    child: Option<Child>,
    folder: tempfile::TempDir,
    /// What it is started by, and that one's arguments; empty: by the test itself.
    pub wrapper: Vec<String>,
    /// What its environment has beside the test's own.
    pub environment: Vec<(String, String)>,
    /// Where it takes requests.
    pub web: SocketAddr,
    /// Where its admin API is.
    pub admin: SocketAddr,
}

impl Gateway {
    /// A configuration for the orchestrator at `url`, with short times and `more` appended; not started yet.
    ///
    /// # Panics
    /// When the folder cannot be made.
    #[must_use]
    pub fn configured(url: &str, more: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (web, admin) = (free_address(), free_address());
        let state = folder.path().join("state");
        let text = format!(
            r#"
state_dir = "{state}"
[[listener]]
name = "web"
address = "{web}"
[admin]
address = "{admin}"
[orchestrator]
kind = "http"
url = "{url}"
stable_for = "300ms"
lost_after = "2s"
check_every = "100ms"
[drain]
timeout = "5s"
idle_grace = "100ms"
[log]
access = "off"
{more}"#,
            state = state.display()
        );
        fs::write(folder.path().join("holdgate.toml"), text).expect("the folder is writable");
        Self { child: None, folder, wrapper: Vec::new(), environment: Vec::new(), web, admin }
    }

    /// Starts it and waits until its admin API answers.
    pub fn start(&mut self) {
        self.spawn();
        wait::until("the admin API to answer", || {
            self.assert_running();
            self.ask("/livez").ok()
        });
    }

    /// Starts it and waits until it is ready.
    pub fn start_ready(&mut self) {
        self.start();
        self.ready();
    }

    /// Waits until it is ready.
    pub fn ready(&mut self) {
        let mut last = String::new();
        wait::until("the gateway to be ready", || {
            self.assert_running();
            let answer = self.ask("/readyz?verbose").ok()?;
            last = answer.text();
            (answer.status == 200).then_some(())
        });
    }

    /// Starts it and returns at once.
    ///
    /// # Panics
    /// When the program cannot be started.
    pub fn spawn(&mut self) {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.log_path()).expect("a writable log");
        let mut command = program(&self.wrapper);
        command.arg("run").arg("--config").arg(self.config_path());
        command.envs(self.environment.iter().cloned());
        command.stdout(log.try_clone().expect("a descriptor")).stderr(log);
        self.child = Some(command.spawn().expect("the gateway can be started"));
    }

    /// Starts a successor that takes over, as a child of the test. The process that it replaced comes back, to be waited for.
    ///
    /// # Errors
    /// When the take-over was refused: with which code the successor ended, and what it said.
    ///
    /// # Panics
    /// When it does not run, or the successor cannot be started.
    pub fn take_over(&mut self) -> Result<Replaced, Refused> {
        let mut command = program(&self.wrapper);
        command.args(["run", "--take-over", "--config"]).arg(self.config_path());
        command.envs(self.environment.iter().cloned());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the successor can be started");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("it was piped");
        BufReader::new(stdout).read_line(&mut line).expect("readable");
        if line.is_empty() {
            let mut said = String::new();
            child.stderr.take().expect("it was piped").read_to_string(&mut said).expect("readable");
            let status = wait::until("the successor to end", || child.try_wait().expect("it can be asked"));
            return Err(Refused { code: status.code(), said });
        }
        Ok(Replaced(self.child.replace(child).expect("it runs")))
    }

    /// Kills it as the kernel would: no warning, no clean-up.
    ///
    /// # Panics
    /// When it does not run.
    pub fn kill_9(&mut self) {
        let mut child = self.child.take().expect("it runs");
        child.kill().expect("it is ours");
        child.wait().expect("it can be reaped");
    }

    /// Sends a signal.
    ///
    /// # Panics
    /// When it does not run.
    pub fn signal(&self, signal: Signal) {
        let id = self.child.as_ref().expect("it runs").id();
        let pid = i32::try_from(id).ok().and_then(Pid::from_raw).expect("a pid");
        kill_process(pid, signal).expect("it is ours");
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When it does not run, or does not end.
    pub fn end(&mut self) -> ExitStatus {
        let mut child = self.child.take().expect("it runs");
        wait::until("the gateway to end", || child.try_wait().expect("it can be asked"))
    }

    /// Asks the admin API.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn ask(&self, path: &str) -> io::Result<Answer> {
        http::get(self.admin, &self.admin.to_string(), path)
    }

    /// `GET /v1/status`.
    ///
    /// # Panics
    /// When it does not answer.
    #[must_use]
    pub fn status(&self) -> serde_json::Value {
        self.ask("/v1/status").expect("the admin API answers").json()
    }

    /// Waits until status satisfies `condition`.
    pub fn until_status(&self, what: &str, condition: impl Fn(&serde_json::Value) -> bool) -> serde_json::Value {
        wait::until(what, || Some(self.status()).filter(&condition))
    }

    /// Runs a command of the same binary with the same configuration.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn command(&self, arguments: &[&str]) -> std::process::Output {
        let mut command = program(&[]);
        command.args(arguments).arg("--config").arg(self.config_path());
        command.output().expect("the program can be started")
    }

    /// Runs a command that has to work, and returns what it printed.
    ///
    /// # Panics
    /// When it fails.
    #[must_use]
    pub fn says(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(output.status.success(), "{arguments:?}: {}{}", text(&output.stdout), text(&output.stderr));
        text(&output.stdout)
    }

    /// The value of a metric without labels.
    #[must_use]
    pub fn metric(&self, name: &str) -> Option<f64> {
        let metrics = self.ask("/metrics").ok()?.text();
        metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
    }

    /// Replaces a part of its configuration, for the next start.
    ///
    /// # Panics
    /// When it has no such part.
    pub fn reconfigure(&self, from: &str, to: &str) {
        let text = fs::read_to_string(self.config_path()).expect("readable");
        assert!(text.contains(from), "{from} is not in\n{text}");
        fs::write(self.config_path(), text.replace(from, to)).expect("the folder is writable");
    }

    /// Where its configuration is.
    #[must_use]
    pub fn config_path(&self) -> PathBuf {
        self.folder.path().join("holdgate.toml")
    }

    /// Its state folder.
    #[must_use]
    pub fn state_dir(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    /// The folder that configuration, state and log are in.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The process's number.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// What it has logged so far.
    #[must_use]
    pub fn log(&self) -> String {
        let mut log = String::new();
        // ignored: a log that is not there yet is an empty one.
        let _ = fs::File::open(self.log_path()).and_then(|mut f| f.read_to_string(&mut log));
        log
    }

    fn log_path(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    fn assert_running(&mut self) {
        let ended = self.child.as_mut().and_then(|c| c.try_wait().ok().flatten());
        assert!(ended.is_none(), "the gateway ended ({ended:?}):\n{}", self.log());
    }
}

/// A process that was replaced. Dropped, it is killed.
#[derive(Debug)]
pub struct Replaced(Child);

/// Why a take-over did not happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// With what the successor ended.
    pub code: Option<i32>,
    /// What it wrote to its standard error.
    pub said: String,
}

impl Replaced {
    /// The process's number.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    /// True while it has not ended.
    ///
    /// # Panics
    /// When it cannot be asked.
    pub fn runs(&mut self) -> bool {
        self.0.try_wait().expect("it can be asked").is_none()
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When it does not end.
    pub fn end(&mut self) -> ExitStatus {
        wait::until("the replaced process to end", || self.0.try_wait().expect("it can be asked"))
    }
}

impl Drop for Replaced {
    fn drop(&mut self) {
        // ignored: it may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // ignored: it may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            eprintln!("--- the gateway's log\n{}", self.log());
        }
    }
}
