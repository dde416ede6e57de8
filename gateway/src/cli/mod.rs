//! The commands: parsed in [`args`], one file each. Everything but `run` and `demo`, which are wired by `app`.
//!
//! A command returns its exit code or an error; errors are printed here, once. A reader of our output that goes away
//! (`holdgate status | head`) is no error.

pub mod args;
pub mod check;
pub mod client;
pub mod completions;
pub mod config_cmd;
pub mod drain;
pub mod generations;
pub mod man;
pub mod orchestrator;
pub mod preflight;
pub mod reload;
pub mod state;
pub mod status;
pub mod table;
pub mod transfer;
pub mod upgrade;
mod upload;

use std::{
    fmt::Display,
    io::{self, Write},
    process::ExitCode,
};

pub use args::{Cli, Command, Global};
use args::{ConfigCommand, StateCommand, TableCommand};

use crate::{config::ConfigErrors, takeover::Refused};

/// The exit code of a bad configuration. Source: EX_CONFIG of sysexits.h.
pub const EX_CONFIG: u8 = 78;

/// The exit code of a take-over that was refused: the process that runs serves on. Source: EX_TEMPFAIL of sysexits.h.
pub const EX_TEMPFAIL: u8 = 75;

/// Carries out every command but `run` and `demo`, and reports its error if it has one.
#[must_use]
pub fn execute(cli: &Cli) -> ExitCode {
    exit_code(dispatch(cli))
}

/// The exit code of a command's result; an error is printed to stderr. `run` and `demo` end by it too.
#[must_use]
pub fn exit_code(result: anyhow::Result<ExitCode>) -> ExitCode {
    match result {
        Ok(code) => code,
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => report(&error),
    }
}

/// Prints `text` and a line end to stdout.
///
/// # Errors
/// When stdout cannot be written; a closed pipe ends the command with success (see [`exit_code`]).
pub fn print(text: impl Display) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}")?;
    out.flush()?;
    Ok(())
}

fn dispatch(cli: &Cli) -> anyhow::Result<ExitCode> {
    let global = &cli.global;
    match &cli.command {
        Command::Run(_) | Command::Demo(_) => anyhow::bail!("`run` and `demo` are carried out by the application"),
        Command::Check(args) => check::run(global, args),
        Command::Preflight(args) => preflight::run(global, args),
        Command::Status(args) => status::run(global, args),
        Command::Table(command) => dispatch_table(global, command),
        Command::State(StateCommand::Verify(args)) => state::verify(global, args),
        Command::State(StateCommand::Repair(args)) => state::repair(global, args),
        Command::Config(ConfigCommand::Schema) => config_cmd::schema(),
        Command::Config(ConfigCommand::Show(args)) => config_cmd::show(global, args),
        Command::Reload(args) => reload::run(global, args),
        Command::Drain(args) => drain::run(global, args),
        Command::Upgrade(args) if args.start_and_leave => upgrade::start_and_leave(global),
        Command::Upgrade(_) => upgrade::run(global, &[]),
        Command::Orchestrator(args) => orchestrator::run(args),
        Command::Completions(args) => completions::run(args),
        Command::Man => man::run(),
    }
}

fn dispatch_table(global: &Global, command: &TableCommand) -> anyhow::Result<ExitCode> {
    match command {
        TableCommand::Show(args) => table::show(global, args),
        TableCommand::History(args) => generations::history(global, args),
        TableCommand::Diff(args) => generations::diff(global, args),
        TableCommand::Export(args) => transfer::export(global, args),
        TableCommand::Import(args) => transfer::import(global, args),
        TableCommand::Rollback(args) => generations::rollback(global, args),
        TableCommand::Unpin(args) => generations::unpin(global, args),
        TableCommand::Approve(args) => table::approve(global, args),
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().filter_map(|e| e.downcast_ref::<io::Error>()).any(|e| e.kind() == io::ErrorKind::BrokenPipe)
}

fn report(error: &anyhow::Error) -> ExitCode {
    if let Some(errors) = error.chain().find_map(|e| e.downcast_ref::<ConfigErrors>()) {
        to_stderr(errors);
        return ExitCode::from(EX_CONFIG);
    }
    to_stderr(format_args!("error: {error:#}"));
    let is_refused = error.chain().any(|cause| cause.is::<Refused>());
    if is_refused { ExitCode::from(EX_TEMPFAIL) } else { ExitCode::FAILURE }
}

fn to_stderr(text: impl Display) {
    // ignored: there is no third place to say that stderr is gone
    let _ = writeln!(io::stderr().lock(), "{text}");
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;
    use crate::config::Config;

    #[test]
    fn a_bad_configuration_is_78_a_failure_1_and_a_closed_pipe_no_failure() {
        let bad = Config::parse(std::path::Path::new("h.toml"), "x = 1", std::iter::empty()).map(drop);
        let pipe = io::Error::from(io::ErrorKind::BrokenPipe);
        let check = |error: anyhow::Error, expected: ExitCode| {
            assert_eq!(format!("{:?}", exit_code(Err(error))), format!("{expected:?}"));
        };
        check(anyhow::Error::from(bad.unwrap_err()).context("starting"), ExitCode::from(EX_CONFIG));
        check(Refused::Said("no".into()).into(), ExitCode::from(EX_TEMPFAIL));
        check(anyhow::anyhow!("no"), ExitCode::FAILURE);
        check(Err::<(), _>(pipe).context("printing").unwrap_err(), ExitCode::SUCCESS);
    }
}
