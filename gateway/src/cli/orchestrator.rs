//! `holdgate orchestrator`: the small orchestrator alone, in the foreground, until a signal ends it.

use std::process::ExitCode;

use anyhow::Context;
use tokio::{
    runtime,
    signal::unix::{SignalKind, signal},
};

use super::args::OrchestratorArgs;
use crate::{
    config::{AccessLogTarget, LogConfig, LogFormat},
    demo::orchestrator::{Options, Running, Server},
    telemetry::logging,
};

/// Serves the API until SIGTERM or SIGINT.
///
/// # Errors
/// When the folder is not there, the address cannot be bound, or a thread cannot be started.
pub fn run(args: &OrchestratorArgs) -> anyhow::Result<ExitCode> {
    // A mistyped folder is told here, at once; one that vanishes later is what the orchestrator is made for.
    std::fs::metadata(&args.apps).with_context(|| format!("--apps {}", args.apps.display()))?;
    let _log = logging::init(&log())?;
    let options = Options {
        control: args.control,
        state_file: args.state_file.clone(),
        ..Options::new(args.listen, args.apps.clone())
    };
    let running = Server::start(options).with_context(|| format!("--listen {}", args.listen))?;
    super::print(format_args!("The small orchestrator serves {} at {}", args.apps.display(), running.url()))?;
    wait(running)
}

fn wait(running: Running) -> anyhow::Result<ExitCode> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        anyhow::Ok(())
    })?;
    running.stop();
    Ok(ExitCode::SUCCESS)
}

/// It has no configuration file: text, as a person at a terminal reads it.
fn log() -> LogConfig {
    LogConfig { level: "info".to_owned(), format: LogFormat::Text, access: AccessLogTarget::Off }
}
