//! `holdgate reload`: the running gateway takes up what has changed, and this command says what came of it.
//!
//! A configuration that is bad is refused here, before the gateway is told of anything. Whether the gateway has taken it is
//! seen by its own counts of reloads: a signal alone says nothing of its outcome.

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
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
    print,
};
use crate::{admin::view::Status, telemetry::names};

/// For the outcome. More than the gateway gives its updater for a new configuration (30 s).
const DEADLINE: Duration = Duration::from_secs(40);
/// From one look at the counts to the next.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// How often the gateway has taken a configuration, and how often it has refused one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Reloads {
    taken: u64,
    refused: u64,
}

/// Has the running gateway read its configuration anew, and waits for what comes of it.
///
/// # Errors
/// When the configuration is bad (exit code 78), no gateway answers, it may not be signalled, or it says nothing in time.
pub fn run(global: &Global, args: &ReloadArgs) -> anyhow::Result<ExitCode> {
    client::load(global)?;
    let client = Client::find(global, &args.client)?;
    let pid = client.fetch::<Status>("/v1/status")?.pid;
    if is_other_program(pid)? {
        print("the program has been replaced since the gateway was started: a restart takes it up")?;
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
    fn a_process_of_another_program_is_told_from_one_of_this() {
        assert!(!is_other_program(std::process::id()).unwrap());
        let mut other = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let told = is_other_program(other.id());
        other.kill().unwrap();
        other.wait().unwrap();
        assert!(told.unwrap());
    }
}
