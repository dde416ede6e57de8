//! The configuration: a TOML file, the environment over it, and defaults; every error at once, with line and column.
//!
//! A [`Config`] exists only whole and checked. Reading it opens the file and the token files it names and nothing else:
//! no port, no folder. The keys stand in one table, `keys`; whatever shows or documents them is driven by it.

mod build;
mod cores;
mod error;
mod keys;
mod load;
mod schema;
mod show;
mod source;
mod suggest;
mod value;
mod values;

use std::{fmt, net::SocketAddr, path::PathBuf, time::Duration};

use ipnet::IpNet;

pub use error::ConfigErrors;
pub use load::{DEFAULT_FILE, Loaded, environment};
pub use schema::schema;
pub use source::Origin;
pub(crate) use value::is_level;

/// The effective configuration; every value is checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the table is kept over restarts.
    pub state_dir: PathBuf,
    /// `[gateway]`
    pub gateway: GatewayConfig,
    /// `[[listener]]`, at least one.
    pub listeners: Vec<ListenerConfig>,
    /// `[admin]`
    pub admin: AdminConfig,
    /// `[orchestrator]`
    pub orchestrator: OrchestratorConfig,
    /// `[guard]`
    pub guard: GuardConfig,
    /// `[limits]`
    pub limits: LimitsConfig,
    /// `[overload]`
    pub overload: OverloadConfig,
    /// `[upstream]`
    pub upstream: UpstreamConfig,
    /// `[drain]`
    pub drain: DrainConfig,
    /// `[watchdog]`
    pub watchdog: WatchdogConfig,
    /// `[log]`
    pub log: LogConfig,
}

/// `[gateway]`
#[derive(Clone, Debug)]
pub struct GatewayConfig {
    /// How it calls itself; the host's name where none was given.
    pub name: String,
    /// Threads that serve requests, at least 1: a given 0 was replaced by the number of available cores.
    pub workers: usize,
}

/// Where something listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ListenAddress {
    /// An IP address and a port; 0 takes a free one.
    Tcp(SocketAddr),
    /// The absolute path of a Unix socket.
    Unix(PathBuf),
}

/// `[[listener]]`
#[derive(Clone, Debug)]
pub struct ListenerConfig {
    /// Unique; a metric label.
    pub name: String,
    /// Unique, but for port 0.
    pub address: ListenAddress,
    /// Whose X-Forwarded-* and Forwarded are believed.
    pub trusted_proxies: Vec<IpNet>,
}

/// `[admin]`
#[derive(Clone)]
pub struct AdminConfig {
    /// Where it listens; anything but loopback and a Unix socket comes with a token.
    pub address: ListenAddress,
    /// What every call but the probes must bring; never empty.
    pub token: Option<String>,
    /// The file it was read from.
    pub token_file: Option<PathBuf>,
    /// Whether /metrics needs no token.
    pub open_metrics: bool,
    /// Names it may be called by where there is no token.
    pub allowed_hosts: Vec<String>,
}

impl fmt::Debug for AdminConfig {
    /// Without the token, so that it cannot get into a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let token = self.token.as_ref().map(|_| "(hidden)");
        f.debug_struct("AdminConfig").field("address", &self.address).field("token", &token).finish_non_exhaustive()
    }
}

/// Which orchestrator, and how it is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OrchestratorKind {
    /// The orchestrator API.
    Http {
        /// An http or https URL without credentials.
        url: String,
        /// The bearer token's file; it could be read and was not empty.
        token_file: Option<PathBuf>,
        /// A URL that must answer 2xx too.
        readiness_url: Option<String>,
    },
    /// App documents on disk.
    File {
        /// A file or a folder.
        path: PathBuf,
    },
}

/// `[orchestrator]`
#[derive(Clone, Debug)]
pub struct OrchestratorConfig {
    /// Which one.
    pub kind: OrchestratorKind,
    /// How long it must have been ready before it is believed.
    pub stable_for: Duration,
    /// After so long without an answer it is not ready; longer than `check_every`.
    pub lost_after: Duration,
    /// How often its readiness is asked for.
    pub check_every: Duration,
}

/// `[guard]`
#[derive(Clone, Copy, Debug)]
pub struct GuardConfig {
    /// 0 to 100, of the apps.
    pub max_shrink_percent: f64,
    /// Both must be passed for deletes to be held.
    pub max_shrink_apps: u64,
    /// 0 to 100, of the apps.
    pub max_invalid_percent: f64,
    /// Both must be passed for an update to be refused.
    pub max_invalid_apps: u64,
    /// Crashes after which a table is not booted again; 0: it always is.
    pub max_crashes: u32,
    /// How soon after its publication a crash counts against a table.
    pub crash_window: Duration,
}

/// `[limits]`
#[derive(Clone, Copy, Debug)]
pub struct LimitsConfig {
    /// Connections of clients open at once, over all listeners.
    pub max_connections: usize,
    /// Bytes of a request's head, at least 8192.
    pub header_bytes: usize,
    /// How long a request's head may take.
    pub header_timeout: Duration,
    /// Bytes of a request's body; 0: no limit.
    pub request_body_bytes: u64,
    /// Bytes a second of a request's body that is waited for; 0: no rate.
    pub min_request_bytes_per_second: u64,
    /// Bytes a second of an answer that the client is to take; 0: no rate.
    pub min_response_bytes_per_second: u64,
    /// How long a client is waited for before it is judged by either rate.
    pub min_rate_window: Duration,
    /// Bytes of one app's document.
    pub app_bytes: u64,
    /// Bytes of one changes answer.
    pub changes_bytes: u64,
    /// Bytes of one snapshot.
    pub snapshot_bytes: u64,
    /// Apps in one snapshot.
    pub snapshot_apps: u64,
}

/// `[overload]`
#[derive(Clone, Copy, Debug)]
pub struct OverloadConfig {
    /// Whether anything is shed.
    pub enabled: bool,
    /// 1 to 100, of the memory limit.
    pub soft_percent: u32,
    /// More than `soft_percent`, to 100.
    pub hard_percent: u32,
}

/// `[upstream]`
#[derive(Clone, Copy, Debug)]
pub struct UpstreamConfig {
    /// How long connecting may take.
    pub connect_timeout: Duration,
    /// From a request's head to the head of its answer.
    pub request_timeout: Duration,
    /// Idle connections kept to one endpoint; 0: none.
    pub idle_connections_per_endpoint: usize,
    /// Failures in a row, at least 1.
    pub eject_after: u32,
    /// How long the first ejection lasts.
    pub eject_for: Duration,
    /// 0 to 100.
    pub max_ejected_percent: u32,
    /// 0 to 100.
    pub panic_percent: u32,
}

/// `[drain]`
#[derive(Clone, Copy, Debug)]
pub struct DrainConfig {
    /// How long requests may take to finish.
    pub timeout: Duration,
    /// How long idle connections stay.
    pub idle_grace: Duration,
}

/// `[watchdog]`
#[derive(Clone, Copy, Debug)]
pub struct WatchdogConfig {
    /// After so long of hanging the process aborts; zero: never.
    pub abort_after: Duration,
}

/// `[log]`
#[derive(Clone, Debug)]
pub struct LogConfig {
    /// A level, or a filter by target; it parses as an `EnvFilter`.
    pub level: String,
    /// The form of both logs.
    pub format: LogFormat,
    /// Where the access log goes.
    pub access: AccessLogTarget,
}

/// The form of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

/// Where the access log goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccessLogTarget {
    /// Nowhere.
    Off,
    /// Standard output.
    Stdout,
    /// This file, appended to.
    File(PathBuf),
    /// This Unix socket, datagram or stream.
    Unix(PathBuf),
}

impl Config {
    /// The updater's settings.
    #[must_use]
    pub fn updater(&self) -> routing_cache::updater::UpdaterConfig {
        let (guard, limits, orchestrator) = (&self.guard, &self.limits, &self.orchestrator);
        let readiness_url = matches!(&orchestrator.kind, OrchestratorKind::Http { readiness_url: Some(_), .. });
        routing_cache::updater::UpdaterConfig {
            gate: routing_cache::gate::GateConfig {
                stable_for: orchestrator.stable_for,
                lost_after: orchestrator.lost_after,
                readiness_url,
            },
            guard: routing_cache::updater::GuardConfig {
                max_shrink_percent: guard.max_shrink_percent,
                max_shrink_apps: guard.max_shrink_apps,
                max_invalid_percent: guard.max_invalid_percent,
                max_invalid_apps: guard.max_invalid_apps,
            },
            poison: routing_cache::updater::PoisonRules { crashes: guard.max_crashes, within: guard.crash_window },
            limits: routing_cache::limits::Limits {
                app_bytes: limits.app_bytes,
                changes_bytes: limits.changes_bytes,
                snapshot_bytes: limits.snapshot_bytes,
                snapshot_apps: limits.snapshot_apps,
            },
        }
    }

    /// The keys whose change from `old` to `new` needs a restart; a reload leaves them as they were.
    #[must_use]
    pub fn changes_needing_restart(old: &Self, new: &Self) -> Vec<&'static str> {
        let changed = [
            ("state_dir", old.state_dir != new.state_dir),
            ("gateway.workers", old.gateway.workers != new.gateway.workers),
            ("listener.address", !same_addresses(&old.listeners, &new.listeners)),
            ("admin.address", old.admin.address != new.admin.address),
        ];
        changed.into_iter().filter(|(_, changed)| *changed).map(|(key, _)| key).collect()
    }
}

/// As sets: the order of listeners means nothing.
fn same_addresses(old: &[ListenerConfig], new: &[ListenerConfig]) -> bool {
    let within = |some: &[ListenerConfig], all: &[ListenerConfig]| {
        some.iter().all(|one| all.iter().any(|other| other.address == one.address))
    };
    old.len() == new.len() && within(old, new) && within(new, old)
}

#[cfg(test)]
mod tests;
