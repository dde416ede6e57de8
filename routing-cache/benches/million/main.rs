//! The figures of docs/BENCHMARKS.md at a million apps.
//!
//!     cargo bench -p routing-cache --bench million -- [FOLDER [SECONDS [SECTION]]]
//!
//! FOLDER is made anew below the one given, and removed at the end; it should be on a real disk. SECONDS is how long the
//! steady stream of updates lasts. `HOLDGATE_BENCH_APPS` sets the number of apps. Each section runs in a process of its
//! own, so that the memory of one is not counted to another; all but `snapshot` begin with the folder that it leaves.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a bench ends where something fails")]

mod apps;
mod measure;
mod reading;
mod updating;

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use apps::Apps;

/// How long the steady stream lasts where nobody says so.
const SECONDS: u64 = 10;

/// A part of the bench: its name, and what it does.
type Section = (&'static str, fn(&Setting));

/// In this order: the first fills the folder, the last two change much of it.
const SECTIONS: &[Section] = &[
    ("snapshot", updating::first_snapshot),
    ("boot", reading::boot),
    ("lookup", reading::lookup),
    ("export", reading::export),
    ("verify", reading::verify),
    ("publish", updating::publish),
    ("one", updating::one_durable),
    ("delta", updating::delta),
    ("stream", updating::stream),
    ("again", updating::second_snapshot),
];

/// What every section is told.
struct Setting {
    apps: Apps,
    folder: PathBuf,
    seconds: u64,
}

fn main() {
    let arguments: Vec<String> = env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let count = env::var("HOLDGATE_BENCH_APPS").ok().and_then(|apps| apps.parse().ok()).unwrap_or(1_000_000);
    let seconds = arguments.get(1).and_then(|seconds| seconds.parse().ok()).unwrap_or(SECONDS);
    let base = arguments.first().map_or_else(env::temp_dir, PathBuf::from);
    match arguments.get(2) {
        Some(name) if base.join("state").exists() || name == "snapshot" => {
            let (_, section) = SECTIONS.iter().find(|(section, _)| section == name).unwrap();
            section(&Setting { apps: Apps(count), folder: base.join("state"), seconds });
        }
        _ => all(&base.join(format!("holdgate-bench-{}", std::process::id())), seconds, count),
    }
}

fn all(folder: &Path, seconds: u64, count: u64) {
    println!("{count} apps, state in {}", folder.display());
    std::fs::create_dir_all(folder).unwrap();
    for (name, _) in SECTIONS {
        let mut section = Command::new(env::current_exe().unwrap());
        section.arg(folder).arg(seconds.to_string()).arg(name);
        let status = section.status().unwrap();
        if !status.success() {
            println!("{name}: ended with {status}");
        }
    }
    std::fs::remove_dir_all(folder).unwrap();
}
