//! `holdgate upgrade`: starts a successor from this process, and says what has become of it.
//!
//! The successor is a child of this command, never of the process that it replaces: however often a gateway is upgraded, no
//! process stays for another one's sake.

use std::{
    env,
    ffi::OsString,
    fs,
    io::{self, BufRead, BufReader, Read},
    path::PathBuf,
    process::{Child, Command, ExitCode, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, sync_channel},
    thread,
    time::Duration,
};

use anyhow::Context;

use super::{EX_CONFIG, EX_TEMPFAIL, args::Global, print, to_stderr};

/// For the successor to serve or to fail. Each of its steps has a deadline, and they are shorter together.
const WAIT: Duration = Duration::from_secs(90);
/// Of what a successor that failed has to say.
const REASON_BYTES: u64 = 64 << 10;

/// Replaces the running gateway. The successor has `environment` beside what this command has.
///
/// # Errors
/// When the successor cannot be started.
pub fn run(global: &Global, environment: &[(OsString, OsString)]) -> anyhow::Result<ExitCode> {
    let mut child = start(global, environment).context("the successor cannot be started")?;
    let said = child.stdout.take().map(|stdout| line_of(BufReader::new(stdout)));
    let complaints = child.stderr.take().map(all_of);
    let line = match said.map(|said| said.recv_timeout(WAIT)) {
        Some(Ok(line)) => line,
        Some(Err(RecvTimeoutError::Timeout)) => {
            // It has not taken over: the process that runs waits for no successor as long as that.
            child.kill().context("the successor does not answer, and cannot be ended")?;
            String::new()
        }
        Some(Err(RecvTimeoutError::Disconnected)) | None => String::new(),
    };
    if line.is_empty() {
        return refused(&mut child, complaints);
    }
    print(line)?;
    Ok(ExitCode::SUCCESS)
}

fn start(global: &Global, environment: &[(OsString, OsString)]) -> io::Result<Child> {
    let mut command = Command::new(program());
    command.args(["run", "--take-over"]);
    if let Some(config) = &global.config {
        command.arg("--config").arg(std::path::absolute(config)?);
    }
    command.envs(environment.iter().cloned());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()
}

/// This program by its path, so that the next upgrade finds it by that, too; by what runs now, where its file was replaced.
fn program() -> PathBuf {
    let path = env::current_exe().ok().filter(|path| fs::exists(path).unwrap_or(false));
    path.unwrap_or_else(|| PathBuf::from("/proc/self/exe"))
}

/// The first line, without its end; empty where there is none.
fn line_of(mut from: impl BufRead + Send + 'static) -> Receiver<String> {
    reading(move || {
        let mut line = String::new();
        // ignored: what could not be read is not there
        let _ = from.read_line(&mut line);
        line.trim_end().to_owned()
    })
}

fn all_of(from: impl Read + Send + 'static) -> Receiver<String> {
    reading(move || {
        let mut bytes = Vec::new();
        // ignored: what could not be read is not there
        let _ = from.take(REASON_BYTES).read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).trim_end().to_owned()
    })
}

/// Reads on another thread: a pipe has no deadline.
fn reading(read: impl FnOnce() -> String + Send + 'static) -> Receiver<String> {
    let (send, receive) = sync_channel(1);
    thread::spawn(move || {
        // ignored: who waited has gone
        let _ = send.send(read());
    });
    receive
}

/// Says what the successor has said, and ends as it did.
fn refused(child: &mut Child, complaints: Option<Receiver<String>>) -> anyhow::Result<ExitCode> {
    let status = child.wait().context("the successor's end")?;
    let said = complaints.and_then(|said| said.recv_timeout(WAIT).ok()).unwrap_or_default();
    to_stderr(said);
    to_stderr("nothing was replaced: the process that runs serves on");
    let is_config = status.code() == Some(i32::from(EX_CONFIG));
    Ok(ExitCode::from(if is_config { EX_CONFIG } else { EX_TEMPFAIL }))
}
