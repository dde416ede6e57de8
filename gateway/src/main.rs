//! Parses the command line and hands over. TLS needs no set-up here: the one TLS client there is (reqwest, for the
//! orchestrator) brings its provider with it.
//!
//! The allocator is chosen here, by memory: after a burst of 10,000 requests at once jemalloc gives back all but 2.4 kB for
//! each connection that stays, glibc's keeps 35; in CPU time they do not differ (docs/BENCHMARKS.md).

use std::{ffi::c_char, process::ExitCode};

use clap::Parser;
use gateway::{
    app,
    cli::{self, Cli, Command},
};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// What is freed goes back to the system within a second or two, by a thread of jemalloc's own. Source: jemalloc(3), TUNING.
#[repr(transparent)]
struct AllocatorSettings(*const c_char);

// SAFETY: it is only read, and what it points to is constant.
#[allow(unsafe_code)] // the only way to give jemalloc its settings with the program: environment variables may be lost.
unsafe impl Sync for AllocatorSettings {}

#[allow(unsafe_code)]
// as above.
// SAFETY: the name and the type are those by which jemalloc looks for its settings, and nothing else has that name.
#[unsafe(export_name = "_rjem_malloc_conf")]
static ALLOCATOR_SETTINGS: AllocatorSettings =
    AllocatorSettings(c"background_thread:true,dirty_decay_ms:1000,muzzy_decay_ms:0".as_ptr());

fn main() -> ExitCode {
    let cli = Cli::parse();
    match &cli.command {
        Command::Run(args) => app::run(&cli.global, *args),
        Command::Demo(args) => app::run_demo(&cli.global, args),
        _ => cli::execute(&cli),
    }
}
