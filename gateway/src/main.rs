//! Parses the command line and hands over. TLS needs no set-up here: the one TLS client there is (reqwest, for the
//! orchestrator) brings its provider with it.

use std::process::ExitCode;

use clap::Parser;
use gateway::{
    app,
    cli::{self, Cli, Command},
};

fn main() -> ExitCode {
    let cli = Cli::parse();
    match &cli.command {
        Command::Run => app::run(&cli.global),
        Command::Demo(args) => app::run_demo(&cli.global, args),
        _ => cli::execute(&cli),
    }
}
