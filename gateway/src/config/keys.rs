//! Every key of the configuration, in this one table. Reading, `config schema`, `config show` and the tables of
//! docs/CONFIGURATION.md are all driven by it, so they cannot drift apart.

use std::time::Duration;

const MILLISECOND: Duration = Duration::from_millis(1);
const FIVE_MINUTES: Duration = Duration::from_mins(5);
const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);
/// The largest integer TOML can write (TOML 1.0, "Integer").
const MAX: u64 = i64::MAX as u64;

/// The least a request's head may be limited to. Source: hyper 1, `http1::Builder::max_buf_size`, which panics below it.
const HYPER_MIN_BUFFER: u64 = 8192;

/// What the value of a key may be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kind {
    /// Any text.
    Text,
    /// A metric label and a word in the log: 1 to 64 of `A-Z a-z 0-9 . _ -`.
    Name,
    /// A path that must be given.
    Folder,
    /// A path; empty for none.
    File,
    /// An http or https URL without credentials; empty for none.
    Url,
    /// `IP:PORT`, `[IPv6]:PORT` or `unix:/PATH`.
    Address,
    /// One of these words; `later` are of versions to come.
    OneOf {
        /// Words this version carries out.
        now: &'static [&'static str],
        /// Words it knows and refuses.
        later: &'static [&'static str],
    },
    /// True or false.
    Boolean,
    /// A whole number in this range.
    Integer {
        /// The least.
        min: u64,
        /// The most.
        max: u64,
    },
    /// A number from 0 to 100.
    Percent,
    /// A whole number and a unit: `250ms`, `5s`, `1m`, `24h`.
    Duration {
        /// The least.
        min: Duration,
        /// The most.
        max: Duration,
    },
    /// A list of networks (`10.0.0.0/8`) or addresses.
    Networks,
    /// A list of texts.
    Texts,
    /// A log level, or a comma-separated list of `TARGET=LEVEL`.
    Level,
    /// `off`, `stdout`, a path or `unix:/PATH`.
    Access,
    /// Nothing yet: it is known, and refused as not supported by this version.
    Unsupported,
}

/// One key.
#[derive(Clone, Copy, Debug)]
pub(super) struct Key {
    /// Its full name; `listener[]` is each of the listeners.
    pub(super) path: &'static str,
    /// What its value may be.
    pub(super) kind: Kind,
    /// Its default as TOML; none: it must be given.
    pub(super) default: Option<&'static str>,
    /// What it is counted in; empty for what is not counted.
    pub(super) unit: &'static str,
    /// What it means.
    pub(super) doc: &'static str,
}

impl Key {
    /// The table it stands in; empty for the top of the file.
    pub(super) fn section(&self) -> &'static str {
        self.path.rsplit_once('.').map_or("", |(section, _)| section)
    }

    /// Its name within its table.
    pub(super) fn name(&self) -> &'static str {
        self.path.rsplit_once('.').map_or(self.path, |(_, name)| name)
    }
}

/// The key of this full name, where `listener[0]` is written `listener[]`.
pub(super) fn find(path: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.path == path)
}

/// A whole number of at least `min`.
const fn from(min: u64) -> Kind {
    Kind::Integer { min, max: MAX }
}

const fn whole(min: u64, max: u64) -> Kind {
    Kind::Integer { min, max }
}

const fn time(min: Duration, max: Duration) -> Kind {
    Kind::Duration { min, max }
}

const fn one_of(now: &'static [&'static str], later: &'static [&'static str]) -> Kind {
    Kind::OneOf { now, later }
}

/// Makes the table: `path: kind, default, unit, doc;` with `-` for a key that must be given.
macro_rules! keys {
    (@default -) => { None };
    (@default $default:literal) => { Some($default) };
    ($($path:literal: $kind:expr, $default:tt, $unit:literal, $doc:literal;)*) => {
        /// Every key there is, in the order in which they are shown.
        pub(super) const KEYS: &[Key] = &[$(
            Key { path: $path, kind: $kind, default: keys!(@default $default), unit: $unit, doc: $doc },
        )*];
    };
}

// Defaults: spec "Configuration". Ranges: what still makes sense to run; the sources of the odd ones stand beside them.
keys! {
    "state_dir": Kind::Folder, r#""/var/lib/holdgate""#, "",
        "Where the table is kept over restarts. Made with mode 0700 if it is not there; one process at a time.";

    "gateway.name": Kind::Text, r#""""#, "",
        "How this gateway calls itself towards the orchestrator and in status. Empty: the host's name.";
    "gateway.workers": whole(0, 1024), "0", "threads",
        "Threads that serve requests. 0: one for each available core, a cgroup's CPU quota counted.";

    "listener[].name": Kind::Name, -, "",
        "Its name in metrics, logs and status; no two listeners share one.";
    "listener[].address": Kind::Address, -, "",
        "Where it listens: `IP:PORT`, `[IPv6]:PORT` or `unix:/PATH`. Port 0 takes a free one.";
    "listener[].proxy_protocol": one_of(&["off"], &["optional", "required"]), r#""off""#, "",
        "Whether connections begin with a PROXY header. Only `off` is supported by this version.";
    "listener[].trusted_proxies": Kind::Networks, "[]", "",
        "The peers whose X-Forwarded-* and Forwarded headers are believed.";
    "listener[].tls": Kind::Unsupported, -, "",
        "TLS on this listener. Not supported by this version.";

    "admin.address": Kind::Address, r#""127.0.0.1:9901""#, "",
        "Where the admin API listens. Anything but a loopback address or a Unix socket needs `admin.token_file`.";
    "admin.token_file": Kind::File, r#""""#, "",
        "A file that holds the token which every call but the probes must bring. Empty: none.";
    "admin.open_metrics": Kind::Boolean, "false", "",
        "Whether /metrics may be read without the token.";
    "admin.allowed_hosts": Kind::Texts, "[]", "",
        "Names by which the admin API may be called where there is no token, besides its own address and loopback.";

    "orchestrator.kind": one_of(&["http", "file"], &["zookeeper", "etcd", "kubernetes", "consul"]), r#""http""#, "",
        "Where the table comes from: `http` (the orchestrator API) or `file`.";
    "orchestrator.url": Kind::Url, r#""""#, "",
        "The orchestrator's address, for kind `http`, where it must be given.";
    "orchestrator.path": Kind::File, r#""""#, "",
        "A file of app documents or a folder of them, watched; for kind `file`, where it must be given.";
    "orchestrator.readiness_url": Kind::Url, r#""""#, "",
        "A further gate: this URL must answer 2xx too before answers change the table. Empty: none.";
    "orchestrator.stable_for": time(Duration::ZERO, HOUR), r#""5s""#, "duration",
        "How long the orchestrator must have been ready without a break before its answers change the table.";
    "orchestrator.lost_after": time(MILLISECOND, HOUR), r#""10s""#, "duration",
        "After so long without an answer the orchestrator counts as not ready. Longer than `orchestrator.check_every`.";
    "orchestrator.check_every": time(MILLISECOND, FIVE_MINUTES), r#""2s""#, "duration",
        "How often its readiness is asked for.";
    "orchestrator.token_file": Kind::File, r#""""#, "",
        "A file that holds the bearer token sent to the orchestrator. Empty: none.";
    "orchestrator.tls": Kind::Unsupported, -, "",
        "A client certificate for the orchestrator. Not supported by this version.";

    "guard.max_shrink_percent": Kind::Percent, "20", "percent",
        "Deletes of more than this share of the apps within an hour, and of more than `guard.max_shrink_apps`, are held.";
    "guard.max_shrink_apps": from(0), "50", "apps",
        "See `guard.max_shrink_percent`: both must be passed.";
    "guard.max_invalid_percent": Kind::Percent, "1", "percent",
        "An update of which more than this share of the apps is invalid, and more than `guard.max_invalid_apps`, is refused.";
    "guard.max_invalid_apps": from(0), "20", "apps",
        "See `guard.max_invalid_percent`: both must be passed.";
    "guard.max_crashes": whole(0, 1000), "3", "crashes",
        "A table after whose publication the process crashed so often in a row, each time within `guard.crash_window`, is not booted again: the one before is. 0: it always is.";
    "guard.crash_window": time(MILLISECOND, HOUR), r#""10s""#, "duration",
        "See `guard.max_crashes`. A table that has been served for so long without a crash is good.";

    "limits.max_connections": whole(1, 10_000_000), "50000", "connections",
        "Connections of clients open at once, over all listeners; for one more the one that has been idle longest is closed, and where none is idle it is refused.";
    "limits.header_bytes": whole(HYPER_MIN_BUFFER, 1 << 20), "65536", "bytes",
        "A request's head; a longer one is answered with 431.";
    "limits.header_timeout": time(MILLISECOND, FIVE_MINUTES), r#""10s""#, "duration",
        "How long a request's head may take to arrive; then 408.";
    "limits.request_body_bytes": from(0), "0", "bytes",
        "A request's body; a longer one is answered with 413. 0: no limit.";
    "limits.min_request_bytes_per_second": whole(0, 1 << 20), "240", "bytes",
        "A client that is waited for in its request's body must send so much on average of each `limits.min_rate_window` of waiting; then 408. 0: it only must not be silent for 60 s.";
    "limits.min_response_bytes_per_second": whole(0, 1 << 20), "240", "bytes",
        "A client that is waited for with an answer must take so much on average of each `limits.min_rate_window` of waiting; then its connection is reset. 0: it only must take something within 60 s.";
    "limits.min_rate_window": time(MILLISECOND, HOUR), r#""60s""#, "duration",
        "See `limits.min_request_bytes_per_second`: nobody is judged by less.";
    "limits.app_bytes": from(1), "65536", "bytes",
        "One app's document; a larger one is invalid.";
    "limits.changes_bytes": from(1), "8388608", "bytes",
        "One changes answer of the orchestrator, after decompression.";
    "limits.snapshot_bytes": from(1), "1073741824", "bytes",
        "One snapshot of the orchestrator, after decompression.";
    "limits.snapshot_apps": from(1), "2000000", "apps",
        "Apps in one snapshot.";

    "overload.enabled": Kind::Boolean, "true", "",
        "Whether load is shed before memory or descriptors run out.";
    "overload.soft_percent": whole(1, 100), "80", "percent",
        "From this share of the memory limit on idle connections and caches are given up.";
    "overload.hard_percent": whole(1, 100), "90", "percent",
        "From this share of the memory limit on new requests and connections get 503. More than `overload.soft_percent`.";

    "upstream.connect_timeout": time(MILLISECOND, FIVE_MINUTES), r#""1s""#, "duration",
        "How long connecting to an endpoint may take. An app may override it.";
    "upstream.request_timeout": time(MILLISECOND, DAY), r#""60s""#, "duration",
        "From a request's head to the head of its answer, retries included; then 504. An app may override it.";
    "upstream.idle_connections_per_endpoint": whole(0, 65_536), "256", "connections",
        "Idle connections kept to one endpoint.";
    "upstream.eject_after": whole(1, 1_000_000), "5", "failures",
        "After so many gateway-class failures in a row an endpoint is taken out.";
    "upstream.eject_for": time(MILLISECOND, FIVE_MINUTES), r#""10s""#, "duration",
        "For how long it is taken out; doubled each time it comes back and fails again, to 5 minutes.";
    "upstream.max_ejected_percent": whole(0, 100), "100", "percent",
        "The share of an upstream's endpoints that may be out at once; never the last healthy one.";
    "upstream.panic_percent": whole(0, 100), "0", "percent",
        "Below this share of healthy endpoints all are used. 0: only when none is left.";

    "drain.timeout": time(Duration::ZERO, DAY), r#""30s""#, "duration",
        "How long requests may take to finish once it drains; then they are cut.";
    "drain.idle_grace": time(Duration::ZERO, HOUR), r#""1s""#, "duration",
        "How long idle keep-alive connections stay open once it drains.";

    "watchdog.abort_after": time(Duration::ZERO, DAY), r#""0s""#, "duration",
        "Once /livez has failed for so long without a break the process aborts (SIGABRT), for a supervisor to start it anew. 0: never.";

    "log.level": Kind::Level, r#""info""#, "",
        "`error`, `warn`, `info`, `debug`, `trace` or `off`; also by target, as in `info,gateway::proxy=debug`.";
    "log.format": one_of(&["json", "text"], &[]), r#""json""#, "",
        "The form of the log (on stderr) and of the access log: `json` or `text`.";
    "log.access": Kind::Access, r#""stdout""#, "",
        "Where the access log goes: `off`, `stdout`, a file's path or `unix:/PATH` (a datagram or stream socket).";
}
