//! `holdgate upgrade`: starts a successor from this process, and says what has become of it.
//!
//! The successor is started by this command, never by the process that it replaces, and is nobody's child when it serves:
//! however often a gateway is upgraded, no process stays for another one's sake.

use std::{
    env,
    ffi::OsString,
    fs,
    io::{BufRead, BufReader, Read},
    path::PathBuf,
    process::{Command, ExitCode, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, sync_channel},
    thread,
    time::Duration,
};

use anyhow::Context;
use rustix::process::{Pid, Signal, kill_process};

use super::{EX_TEMPFAIL, args::Global, client, print, to_stderr};

/// For the successor to serve or to fail. Each of its steps has a deadline, and they are shorter together.
const WAIT: Duration = Duration::from_secs(90);
/// Of what a successor that failed has to say.
const REASON_BYTES: u64 = 64 << 10;

/// Replaces the running gateway. The successor has `environment` beside what this command has.
///
/// # Errors
/// When the configuration is bad (exit code 78), or the successor cannot be started.
pub fn run(global: &Global, environment: &[(OsString, OsString)]) -> anyhow::Result<ExitCode> {
    client::load(global)?;
    let mut starter = command(global, &["upgrade", "--start-and-leave"]);
    let starter = starter.envs(environment.iter().cloned()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut starter = starter.spawn().context("the successor cannot be started")?;
    let said = starter.stdout.take().map(|stdout| lines_of(BufReader::new(stdout)));
    let complaints = starter.stderr.take().map(all_of);
    starter.wait().context("the successor's start")?;
    let said = said.context("the successor's start says nothing")?;
    let Some(pid) = said.recv_timeout(WAIT).ok().and_then(|line| line.parse().ok()).and_then(Pid::from_raw) else {
        return Ok(refused(complaints));
    };
    match said.recv_timeout(WAIT) {
        Ok(line) => {
            print(line)?;
            return Ok(ExitCode::SUCCESS);
        }
        Err(RecvTimeoutError::Timeout) => {
            // It has not taken over: the process that runs waits for no successor as long as that.
            kill_process(pid, Signal::KILL).context("the successor does not answer, and cannot be ended")?;
        }
        Err(RecvTimeoutError::Disconnected) => {}
    }
    Ok(refused(complaints))
}

/// Starts the successor, says which process it is, and is gone before it is the one that serves: systemd waits for the end of
/// a process that is its own child, and kills another one without a drain (systemd.service(5) has no word of it: `alien`
/// main processes, src/core/service.c). A process without a parent becomes its child.
///
/// # Errors
/// When it cannot be started.
pub fn start_and_leave(global: &Global) -> anyhow::Result<ExitCode> {
    let successor = command(global, &["run", "--take-over"]).spawn().context("the successor cannot be started")?;
    print(successor.id())?;
    Ok(ExitCode::SUCCESS)
}

fn command(global: &Global, arguments: &[&str]) -> Command {
    let mut command = Command::new(program());
    command.args(arguments).stdin(Stdio::null());
    if let Some(config) = &global.config {
        command.arg("--config").arg(std::path::absolute(config).unwrap_or_else(|_| config.clone()));
    }
    command
}

/// This program by its path, so that the next upgrade finds it by that, too; by what runs now, where its file was replaced.
fn program() -> PathBuf {
    let path = env::current_exe().ok().filter(|path| fs::exists(path).unwrap_or(false));
    path.unwrap_or_else(|| PathBuf::from("/proc/self/exe"))
}

/// The first two lines, without their ends: the successor's pid, and what it has to say.
fn lines_of(from: impl BufRead + Send + 'static) -> Receiver<String> {
    let (send, receive) = sync_channel(2);
    thread::spawn(move || {
        // ignored: who waited has gone
        from.lines().map_while(Result::ok).take(2).try_for_each(|line| send.send(line)).ok();
    });
    receive
}

/// Reads on another thread: a pipe has no deadline.
fn all_of(from: impl Read + Send + 'static) -> Receiver<String> {
    let (send, receive) = sync_channel(1);
    thread::spawn(move || {
        let mut bytes = Vec::new();
        // ignored: what could not be read is not there, and who waited may have gone
        let _ = from.take(REASON_BYTES).read_to_end(&mut bytes);
        let _ = send.send(String::from_utf8_lossy(&bytes).trim_end().to_owned());
    });
    receive
}

/// Says what the successor has said until its end.
fn refused(complaints: Option<Receiver<String>>) -> ExitCode {
    to_stderr(complaints.and_then(|said| said.recv_timeout(WAIT).ok()).unwrap_or_default());
    to_stderr("nothing was replaced: the process that runs serves on");
    ExitCode::from(EX_TEMPFAIL)
}
