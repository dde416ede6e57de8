//! `holdgate reload`: the running gateway takes up what has changed, and this command says what came of it. Where the program
//! itself has been replaced that is an upgrade, which takes up a changed configuration with it.
//!
//! A configuration that is bad is refused here, before the gateway is told of anything. Whether the gateway has taken it is
//! seen by its own counts of reloads: a signal alone says nothing of its outcome.

use std::{
    ffi::{OsStr, OsString},
    fs, io,
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::Path,
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process};

use super::{
    args::{Global, ReloadArgs},
    client::{self, Client},
    print, upgrade,
};
use crate::{admin::view::Status, telemetry::names};

/// For the outcome. More than the gateway gives its updater for a new configuration (30 s).
const DEADLINE: Duration = Duration::from_secs(40);
/// From one look at the counts to the next.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Where a service manager listens, and how long it waits for a sign of life. WATCHDOG_PID is left out: it is the old one's.
const TOLD: [&str; 2] = ["NOTIFY_SOCKET", "WATCHDOG_USEC"];

/// How often the gateway has taken a configuration, and how often it has refused one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Reloads {
    taken: u64,
    refused: u64,
}

/// Has the running gateway read its configuration anew, or a new one take over from it, and waits for what comes of it.
///
/// # Errors
/// When the configuration is bad (exit code 78), no gateway answers, it may not be signalled, or it says nothing in time.
pub fn run(global: &Global, args: &ReloadArgs) -> anyhow::Result<ExitCode> {
    client::load(global)?;
    let client = Client::find(global, &args.client)?;
    let pid = client.fetch::<Status>("/v1/status")?.pid;
    if is_other_program(pid)? {
        return upgrade::run(global, &supervised(pid)?);
    }
    hang_up(&client, pid)
}

/// The program that runs is held by the system as long as it does, so that no other file can have its number.
fn is_other_program(pid: u32) -> anyhow::Result<bool> {
    let file = |process: &str| -> io::Result<(u64, u64)> {
        let metadata = fs::metadata(Path::new("/proc").join(process).join("exe"))?;
        Ok((metadata.dev(), metadata.ino()))
    };
    let running = file(&pid.to_string()).with_context(|| format!("process {pid} cannot be looked at"))?;
    Ok(running != file("self")?)
}

/// What a service manager has told the running gateway of itself, for the one that is to take its place: this command was
/// started by another way, and is not told all of it (systemd.exec(5)).
fn supervised(pid: u32) -> anyhow::Result<Vec<(OsString, OsString)>> {
    let environment = fs::read(format!("/proc/{pid}/environ"));
    let environment = environment.with_context(|| format!("the environment of process {pid} cannot be read"))?;
    Ok(told(&environment))
}

fn told(environment: &[u8]) -> Vec<(OsString, OsString)> {
    let variables = environment.split(|byte| *byte == 0).filter_map(|variable| {
        let at = variable.iter().position(|byte| *byte == b'=')?;
        Some(variable.split_at(at))
    });
    let ours = variables.filter(|(name, _)| TOLD.iter().any(|told| told.as_bytes() == *name));
    let owned = |bytes: &[u8]| OsStr::from_bytes(bytes).to_owned();
    ours.map(|(name, value)| (owned(name), owned(value.get(1..).unwrap_or_default()))).collect()
}

fn hang_up(client: &Client, pid: u32) -> anyhow::Result<ExitCode> {
    let before = reloads(client)?;
    let process = i32::try_from(pid).ok().and_then(Pid::from_raw).context("the gateway says no pid")?;
    kill_process(process, Signal::HUP).with_context(|| format!("process {pid} cannot be signalled"))?;
    let deadline = Instant::now() + DEADLINE;
    while Instant::now() < deadline {
        let now = reloads(client)?;
        if now.refused > before.refused {
            bail!("the gateway has refused the configuration, and the old one stays: its log says why");
        }
        if now.taken > before.taken {
            print("reloaded")?;
            return Ok(ExitCode::SUCCESS);
        }
        thread::sleep(LOOK_EVERY);
    }
    bail!("the gateway has not said within {} s what came of it", DEADLINE.as_secs())
}

fn reloads(client: &Client) -> anyhow::Result<Reloads> {
    let mut metrics = Vec::new();
    client.receive_table("/metrics", &mut metrics)?;
    Ok(counts(&String::from_utf8_lossy(&metrics)))
}

/// A count that is not there yet is 0.
fn counts(metrics: &str) -> Reloads {
    let of = |outcome: &str| {
        let name = format!("{}{{{}=\"{outcome}\"}} ", names::CONFIG_RELOADS, names::OUTCOME);
        metrics.lines().find_map(|line| line.strip_prefix(&name)?.parse().ok()).unwrap_or(0)
    };
    Reloads { taken: of("ok"), refused: of("failed") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_of_reloads_is_read_from_the_metrics() {
        assert_eq!(counts(""), Reloads::default());
        let text = "# TYPE holdgate_config_reloads_total counter\n\
                    holdgate_config_reloads_total{outcome=\"ok\"} 3\nholdgate_config_reloads_total{outcome=\"failed\"} 1\n";
        assert_eq!(counts(text), Reloads { taken: 3, refused: 1 });
    }

    #[test]
    fn what_the_service_manager_told_the_one_before_is_told_to_the_next() {
        let told = told(b"PATH=/bin\0NOTIFY_SOCKET=/run/a=b\0WATCHDOG_PID=7\0WATCHDOG_USEC=5\0odd\0");
        let text: Vec<_> = told.iter().map(|(name, value)| (name.to_str().unwrap(), value.to_str().unwrap())).collect();
        assert_eq!(text, [("NOTIFY_SOCKET", "/run/a=b"), ("WATCHDOG_USEC", "5")]);
    }

    #[test]
    fn a_process_of_another_program_is_told_from_one_of_this() {
        assert!(!is_other_program(std::process::id()).unwrap());
        let mut other = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let told = is_other_program(other.id());
        other.kill().unwrap();
        other.wait().unwrap();
        assert!(told.unwrap());
    }
}
