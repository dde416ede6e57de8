//! Wiring: who is started with what, in which order, and what ends them. Nothing here decides about a request or a table.
//!
//! The order is that of "A restart" in docs/ARCHITECTURE.md: configuration (or exit 78), restore from disk, listeners,
//! workers, admin, ready; the orchestrator is asked last and is not on that list. Nothing is bound or written before the
//! configuration is known to be good, and nothing is left bound when one of several cannot be.

mod bind;
mod boot;
mod control;
mod descriptor_store;
mod descriptors;
mod inherit;
mod kept_table;
mod lifecycle;
mod log_level;
mod lookouts;
mod notify;
mod notify_socket;
mod panics;
mod passed;
mod reload;
mod succession;

use std::process::ExitCode;

use crate::{
    cli::{
        self,
        args::{DemoArgs, Global, RunArgs},
    },
    demo,
};

/// `holdgate run`: 0 when it drained, 1 when it failed, 78 for a bad configuration, 75 when it may not take over.
#[must_use]
pub fn run(global: &Global, args: RunArgs) -> ExitCode {
    cli::exit_code(if args.take_over { inherit::run(global) } else { boot::run(global) })
}

/// `holdgate demo`.
#[must_use]
pub fn run_demo(_global: &Global, args: &DemoArgs) -> ExitCode {
    let DemoArgs { listen, admin, orchestrator, state_dir } = args.clone();
    cli::exit_code(demo::run(&demo::Options { listen, admin, orchestrator, state_dir }))
}
