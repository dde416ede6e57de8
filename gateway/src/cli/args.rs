//! The command line as types: what can be asked, and nothing of what is done about it.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, Parser, Subcommand};

/// Where the small orchestrator listens by default; the address of `orchestrator.url` in the example configuration.
const ORCHESTRATOR_ADDRESS: &str = "127.0.0.1:7000";

/// An edge gateway that does not go down with its control plane.
#[derive(Clone, Debug, Parser)]
#[command(name = "holdgate", version, propagate_version = true, max_term_width = 120)]
#[command(after_help = "Exit codes: 0 done, 1 failed, 2 bad command line, 75 take-over refused, 78 bad configuration.")]
pub struct Cli {
    /// What every command takes.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Options that stand before or after the command.
#[derive(Args, Clone, Debug, Default)]
pub struct Global {
    /// The configuration file [default: /etc/holdgate/holdgate.toml]
    #[arg(long, short, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// The commands.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Run the gateway in the foreground
    Run(RunArgs),
    /// Replace the running gateway by this program, without a refused connection
    Upgrade(UpgradeArgs),
    /// Validate the configuration and, given a file, a table
    Check(CheckArgs),
    /// Say whether a restart now is safe, and why
    Preflight(PreflightArgs),
    /// Show what is served, from where, how old it is and what is held
    Status(StatusArgs),
    /// Look at and steer the table
    #[command(subcommand)]
    Table(TableCommand),
    /// Look at the state folder, whether a gateway runs or not
    #[command(subcommand)]
    State(StateCommand),
    /// Look at the configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Have the running gateway take up a changed configuration, and say what came of it
    Reload(ReloadArgs),
    /// Make the running gateway stop accepting, finish its requests and exit
    Drain(DrainArgs),
    /// Run a small orchestrator, two apps and the gateway in one process on loopback, and say what to try
    Demo(DemoArgs),
    /// Serve the orchestrator API from a folder of app documents
    Orchestrator(OrchestratorArgs),
    /// Print the completions of a shell
    Completions(CompletionsArgs),
    /// Print the manual page
    Man,
}

/// `holdgate run`
#[derive(Args, Clone, Copy, Debug, Default)]
pub struct RunArgs {
    /// Take over from the gateway that runs on the same `state_dir`, which ends once this one has proved that it serves
    #[arg(long)]
    pub take_over: bool,
}

/// How a command reaches a running gateway.
#[derive(Args, Clone, Debug, Default)]
pub struct ClientArgs {
    /// The admin address of the gateway [default: `admin.address` of the configuration]
    #[arg(long, value_name = "ADDRESS")]
    pub admin: Option<String>,
    /// The file with the bearer token [default: `admin.token_file` of the configuration]
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
}

/// `holdgate upgrade`
#[derive(Args, Clone, Debug, Default)]
pub struct UpgradeArgs {
    /// Start the successor and wait for nothing: how the command itself starts it
    #[arg(long, hide = true)]
    pub start_and_leave: bool,
}

/// `holdgate check`
#[derive(Args, Clone, Debug, Default)]
pub struct CheckArgs {
    /// Also validate this table: app documents (a file or a folder), or a snapshot's body
    #[arg(long, value_name = "FILE")]
    pub table: Option<PathBuf>,
}

/// `holdgate preflight`
#[derive(Args, Clone, Debug, Default)]
pub struct PreflightArgs {
    /// Exit with 1 on warnings too
    #[arg(long)]
    pub strict: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// For a service manager: no more than whether a start has something to serve from, and quickly
    #[arg(long, conflicts_with_all = ["strict", "json"])]
    pub before_start: bool,
    /// With --before-start: do not refuse where this file exists
    #[arg(long, value_name = "FILE", requires = "before_start")]
    pub unless_exists: Option<PathBuf>,
    /// Where the running gateway is asked.
    #[command(flatten)]
    pub client: ClientArgs,
}

/// `holdgate status`
#[derive(Args, Clone, Debug, Default)]
pub struct StatusArgs {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Print again every two seconds
    #[arg(long)]
    pub watch: bool,
    /// Where the running gateway is asked.
    #[command(flatten)]
    pub client: ClientArgs,
}

/// `holdgate table ...`
#[derive(Clone, Debug, Subcommand)]
pub enum TableCommand {
    /// Show the served table, or one app of it
    Show(TableShowArgs),
    /// List the generations on disk that can be gone back to
    History(TableHistoryArgs),
    /// Say which apps differ between two generations
    Diff(TableDiffArgs),
    /// Write the served table as a snapshot that `import` and `orchestrator --apps` accept
    Export(TableExportArgs),
    /// Serve the table of a file, and stay with it until `unpin`
    Import(TableImportArgs),
    /// Go back to a kept generation, and stay with it until `unpin`
    Rollback(TableRollbackArgs),
    /// Follow the orchestrator again after `rollback` or `import`
    Unpin(TableUnpinArgs),
    /// Release held deletes, or take a retired epoch back
    Approve(TableApproveArgs),
}

/// `holdgate table show`
#[derive(Args, Clone, Debug, Default)]
pub struct TableShowArgs {
    /// An app's id, or a host; all apps without it
    #[arg(value_name = "APP|HOST", conflicts_with_all = ["after", "limit", "held", "invalid"])]
    pub subject: Option<String>,
    /// Begin behind this app
    #[arg(long, value_name = "ID")]
    pub after: Option<String>,
    /// Show so many apps at most [default: all]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub limit: Option<u64>,
    /// Only apps that the orchestrator took away and the guard keeps
    #[arg(long, conflicts_with = "invalid")]
    pub held: bool,
    /// Only apps whose last document is invalid
    #[arg(long)]
    pub invalid: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Where the running gateway is asked.
    #[command(flatten)]
    pub client: ClientArgs,
}

/// `holdgate table history`
#[derive(Args, Clone, Debug, Default)]
pub struct TableHistoryArgs {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Where the running gateway is asked.
    #[command(flatten)]
    pub client: ClientArgs,
}

/// `holdgate table diff`
#[derive(Args, Clone, Debug, Default)]
pub struct TableDiffArgs {
    /// The older generation [default: the newest kept one that is not served]
    #[arg(value_name = "FROM")]
    pub from: Option<u64>,
    /// The newer generation [default: what is served]
    #[arg(value_name = "TO")]
    pub to: Option<u64>,
    /// The epoch of both [default: that of the newest generation of the number]
    #[arg(long, value_name = "E")]
    pub epoch: Option<String>,
    /// Name so many apps of each kind at most
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=1000))]
    pub limit: u64,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Where the running gateway is asked.
    #[command(flatten)]
    pub client: ClientArgs,
}

/// `holdgate table export`
#[derive(Args, Clone, Debug, Default)]
pub struct TableExportArgs {
    /// Where it is written; `-` for stdout
    #[arg(value_name = "FILE", default_value = "-")]
    pub file: PathBuf,
    /// Where the running gateway is asked.
    #[command(flatten)]
    pub client: ClientArgs,
}

/// `holdgate table import`
#[derive(Args, Clone, Debug, Default)]
pub struct TableImportArgs {
    /// A snapshot's body, as `export` writes it; `-` for stdin
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Where the running gateway is asked.
    #[command(flatten)]
    pub client: ClientArgs,
}

/// `holdgate table rollback`
#[derive(Args, Clone, Debug, Default)]
pub struct TableRollbackArgs {
    /// The generation to go back to
    pub generation: u64,
    /// Its epoch [default: that of the newest generation of the number]
    #[arg(long, value_name = "E")]
    pub epoch: Option<String>,
    /// Where the running gateway is asked.
    #[command(flatten)]
    pub client: ClientArgs,
}

/// `holdgate table unpin`
#[derive(Args, Clone, Debug, Default)]
pub struct TableUnpinArgs {
    /// Where the running gateway is asked.
    #[command(flatten)]
    pub client: ClientArgs,
}

/// `holdgate state ...`
#[derive(Clone, Debug, Subcommand)]
pub enum StateCommand {
    /// Say what is whole and what is not, and what a start would serve; changes nothing
    Verify(StateVerifyArgs),
    /// Set aside what is damaged and cut off what is torn; not while a gateway runs
    Repair(StateRepairArgs),
}

/// `holdgate state verify`
#[derive(Args, Clone, Debug, Default)]
pub struct StateVerifyArgs {
    /// The folder [default: `state_dir` of the configuration]
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `holdgate state repair`
#[derive(Args, Clone, Debug, Default)]
pub struct StateRepairArgs {
    /// Only say what would be done
    #[arg(long)]
    pub dry_run: bool,
    /// The folder [default: `state_dir` of the configuration]
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `holdgate table approve`
#[derive(Args, Clone, Debug, Default)]
pub struct TableApproveArgs {
    /// The generation whose deletes are released [default: the one that is held]
    #[arg(long, value_name = "G")]
    pub generation: Option<u64>,
    /// Take this retired epoch back instead
    #[arg(long, value_name = "E", conflicts_with = "generation")]
    pub epoch: Option<String>,
    /// Where the running gateway is asked.
    #[command(flatten)]
    pub client: ClientArgs,
}

/// `holdgate config ...`
#[derive(Clone, Debug, Subcommand)]
pub enum ConfigCommand {
    /// Print the JSON Schema of the configuration
    Schema,
    /// Print the effective values and where each comes from
    Show(ConfigShowArgs),
}

/// `holdgate config show`
#[derive(Args, Clone, Debug, Default)]
pub struct ConfigShowArgs {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `holdgate reload`
#[derive(Args, Clone, Debug, Default)]
pub struct ReloadArgs {
    /// Where the running gateway is asked.
    #[command(flatten)]
    pub client: ClientArgs,
}

/// `holdgate drain`
#[derive(Args, Clone, Debug, Default)]
pub struct DrainArgs {
    /// Where the running gateway is asked.
    #[command(flatten)]
    pub client: ClientArgs,
}

/// `holdgate demo`
#[derive(Args, Clone, Debug)]
pub struct DemoArgs {
    /// Where the gateway listens
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,
    /// Where the gateway's admin API listens
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9901")]
    pub admin: SocketAddr,
    /// Where the small orchestrator listens
    #[arg(long, value_name = "ADDRESS", default_value = ORCHESTRATOR_ADDRESS)]
    pub orchestrator: SocketAddr,
    /// Where the gateway and the orchestrator keep their state [default: a new temporary folder]
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
}

/// `holdgate orchestrator`
#[derive(Args, Clone, Debug)]
pub struct OrchestratorArgs {
    /// The folder of app documents
    #[arg(long, value_name = "DIR")]
    pub apps: PathBuf,
    /// Where it listens
    #[arg(long, value_name = "ADDRESS", default_value = ORCHESTRATOR_ADDRESS)]
    pub listen: SocketAddr,
    /// Also serve POST /control/ready, by which tests make it not ready
    #[arg(long)]
    pub control: bool,
    /// Where epoch and generation are kept over restarts [default: a hidden file in the folder of apps]
    #[arg(long, value_name = "FILE")]
    pub state_file: Option<PathBuf>,
}

/// `holdgate completions`
#[derive(Args, Clone, Debug)]
pub struct CompletionsArgs {
    /// The shell
    pub shell: clap_complete::Shell,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn config_stands_before_or_after_the_command() {
        for line in ["-c x.toml table show shop", "table --config x.toml show shop", "table show shop --config x.toml"]
        {
            let cli = Cli::try_parse_from(["holdgate"].into_iter().chain(line.split(' '))).unwrap();
            assert_eq!(cli.global.config, Some(PathBuf::from("x.toml")), "{line}");
            let Command::Table(TableCommand::Show(args)) = cli.command else { panic!("{line}") };
            assert_eq!(args.subject.as_deref(), Some("shop"));
        }
    }

    #[test]
    fn every_command_is_understood_and_nothing_else() {
        let lines = "run|run --take-over|upgrade -c f|check --table f|preflight --strict --json|preflight --before-start --unless-exists f|reload|status --json --watch --admin unix:/x|table show|\
                     table show --held --after a --limit 5|table approve --generation 7|table approve --epoch e|table history|\
                     table diff|table diff 3|table diff 3 4 --epoch e --limit 9|table export|table export f|table import f|\
                     table rollback 7 --epoch e|table unpin|state verify --json|state repair --dry-run --state-dir d|config schema|config show --json|drain|demo|orchestrator --apps d --control|\
                     completions bash|man";
        let parse = |line: &str| Cli::try_parse_from(["holdgate"].into_iter().chain(line.split(' ')));
        for line in lines.split('|') {
            assert!(parse(line.trim()).is_ok(), "{line}");
        }
        for line in [
            "",
            "runn",
            "table",
            "table approve --generation x",
            "table approve --generation 1 --epoch e",
            "table import",
            "table rollback",
            "table show a --held",
            "table show --held --invalid",
            "table diff x",
            "state",
            "orchestrator",
            "completions csh",
            "run --take-over x",
            "upgrade --take-over",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
