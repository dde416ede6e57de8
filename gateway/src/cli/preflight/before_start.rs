//! `preflight --before-start`: what systemd asks before each start (`ExecStartPre=`), a restart after a crash included.
//!
//! So it is quick where there is a table: no more than a snapshot's first block is read, for the start itself reads it all
//! and knows what to do where it is not whole. It refuses in one case only: there was a table, nothing is left of it on
//! disk, systemd keeps none either, and no orchestrator is ready to give it again. Everything else is the start's own to say, a bad configuration too,
//! since systemd knows the exit code 78 from it alone. On a machine where no table ever was nothing can be lost, and the
//! gateway waits for its first one.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};

use routing_cache::{
    disk::{Disk, RealDisk},
    snapshot,
};

use super::{kept_note::KeptNote, source, source::Seen, stored};
use crate::{
    cli::{
        args::{Global, PreflightArgs},
        client, print,
    },
    config::Config,
};

/// It is looked again for so long before systemd is told that there is nothing to start with, and asks again: a line in
/// the journal each time is enough.
const PATIENCE: Duration = Duration::from_secs(10);
/// From one look to the next.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Made by the unit in its runtime folder once a table is served.
const SERVED: &str = "served";

/// What a start would find.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Before {
    /// There is something to start with, or nothing to lose.
    Start,
    /// The table is gone, and why it cannot be had.
    Gone(String),
}

/// Returns when the gateway may be started, or has failed to be for [`PATIENCE`].
///
/// # Errors
/// When stdout cannot be written.
pub(super) fn run(global: &Global, args: &PreflightArgs) -> anyhow::Result<ExitCode> {
    let Ok(config) = client::load(global) else { return Ok(ExitCode::SUCCESS) };
    let deadline = Instant::now() + PATIENCE;
    let mut said = false;
    loop {
        let Before::Gone(why) = look(&config) else { return Ok(ExitCode::SUCCESS) };
        let insisted = args.unless_exists.as_deref().filter(|file| file.exists());
        if let Some(file) = insisted {
            print(format_args!("started without a table, as {} exists: {why}", file.display()))?;
            return Ok(ExitCode::SUCCESS);
        }
        if !said {
            print(refusal(&why, args.unless_exists.as_deref()))?;
            said = true;
        }
        if Instant::now() >= deadline {
            return Ok(ExitCode::FAILURE);
        }
        thread::sleep(LOOK_EVERY);
    }
}

fn refusal(why: &str, unless_exists: Option<&Path>) -> String {
    let insist = unless_exists.map(|file| format!("; to start without a table all the same: touch {}", file.display()));
    format!("not started: {why}; it goes on when either of them is back{}", insist.unwrap_or_default())
}

fn look(config: &Config) -> Before {
    let (folder, runtime) = (&config.state_dir, env::var_os("RUNTIME_DIRECTORY").map(PathBuf::from));
    if has_snapshot(folder) || KeptNote::within(runtime.clone()).is_there() || !had_table(folder, runtime.as_deref()) {
        return Before::Start;
    }
    judge(stored::look(config).is_whole(), &folder.display().to_string(), || source::ask(config))
}

fn judge(whole: bool, folder: &str, orchestrator: impl FnOnce() -> Seen) -> Before {
    if whole {
        return Before::Start;
    }
    let of = |what| {
        Before::Gone(format!("no whole table is in {folder}, where there was one, and the orchestrator is {what}"))
    };
    match orchestrator() {
        Seen::Ready => Before::Start,
        Seen::NotReady(why) => of(format!("not ready ({why})")),
        Seen::Away(why) => of(format!("away ({why})")),
    }
}

/// Whether a snapshot begins as one does.
fn has_snapshot(folder: &Path) -> bool {
    let begins = |name: &String| {
        let mut file = RealDisk.open(&folder.join(name)).ok()?;
        snapshot::read_head(&mut *file).ok()
    };
    files(folder).iter().filter(|name| is_live(name)).any(|name| begins(name).is_some())
}

/// Whether there was a table: a file is left of it, or one has been served since the service was last stopped for good.
fn had_table(folder: &Path, runtime: Option<&Path>) -> bool {
    let of_a_table = |name: &String| name.starts_with("snapshot-") || name.starts_with("journal-");
    files(folder).iter().any(of_a_table)
        || runtime.is_some_and(|runtime| fs::exists(runtime.join(SERVED)).unwrap_or(false))
}

fn files(folder: &Path) -> Vec<String> {
    RealDisk.list(folder).unwrap_or_default()
}

/// Neither being written nor set aside.
fn is_live(name: &str) -> bool {
    name.strip_prefix("snapshot-").is_some_and(|number| number.bytes().all(|b| b.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_table_that_is_gone_with_nobody_to_give_it_again_keeps_from_starting() {
        let gone = |seen: Seen| matches!(judge(false, "/state", || seen), Before::Gone(_));
        assert!(gone(Seen::Away("refused".into())) && gone(Seen::NotReady("loading".into())));
        assert!(!gone(Seen::Ready));
        assert_eq!(judge(true, "/state", || panic!("nobody needs to be asked")), Before::Start);
    }

    #[test]
    fn a_fresh_machine_had_no_table() {
        let (state, runtime) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let had = || had_table(state.path(), Some(runtime.path()));
        fs::write(state.path().join("lock"), "1").unwrap();
        assert!(!had());
        fs::write(runtime.path().join(SERVED), "").unwrap();
        assert!(had());
        fs::remove_file(runtime.path().join(SERVED)).unwrap();
        fs::write(state.path().join("snapshot-5.damaged"), "").unwrap();
        assert!(had());
        assert!(!had_table(&state.path().join("nowhere"), None));
    }

    #[test]
    fn what_begins_like_no_snapshot_is_none() {
        let state = tempfile::tempdir().unwrap();
        fs::write(state.path().join("snapshot-1"), "garbage").unwrap();
        assert!(!has_snapshot(state.path()));
        assert!(is_live("snapshot-00000000000000000007") && !is_live("snapshot-7.staged") && !is_live("journal-7"));
    }

    #[test]
    fn the_refusal_says_how_to_insist() {
        let said = refusal("it is gone", Some(Path::new("/run/x")));
        assert!(said.starts_with("not started: it is gone;") && said.ends_with("touch /run/x"), "{said}");
    }
}
