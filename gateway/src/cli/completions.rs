//! `holdgate completions SHELL`: for packagers.

use std::process::ExitCode;

use clap::CommandFactory;

use super::{
    args::{Cli, CompletionsArgs},
    print,
};

/// Prints the completions of `args.shell`.
///
/// # Errors
/// When stdout cannot be written.
pub fn run(args: &CompletionsArgs) -> anyhow::Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "holdgate", &mut script);
    print(String::from_utf8_lossy(&script).trim_end())?;
    Ok(ExitCode::SUCCESS)
}
