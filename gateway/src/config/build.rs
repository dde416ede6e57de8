//! From checked values to a [`Config`]: what one value alone cannot show to be wrong is checked here.

use std::path::{Path, PathBuf};

use super::{
    AdminConfig, Config, DrainConfig, GatewayConfig, GuardConfig, LimitsConfig, ListenAddress, ListenerConfig,
    LogConfig, LogFormat, OrchestratorConfig, OrchestratorKind, OverloadConfig, UpstreamConfig, WatchdogConfig, cores,
    error::{ConfigError, Place},
    load::read_bounded,
    value::{Value, show_duration},
    values::Values,
};

/// The largest token file: a JSON web token has a few kilobytes.
const MAX_TOKEN_BYTES: u64 = 16 << 10;

/// What a file without a listener is shown.
const LISTENER_EXAMPLE: &str = "add\n\n[[listener]]\nname = \"web\"\naddress = \"0.0.0.0:8080\"";

/// Builds it; `None` where a value that must be given is missing, which has been reported.
pub(super) fn config(values: &mut Values, errors: &mut Vec<ConfigError>) -> Option<Config> {
    let listeners = listeners(values, errors);
    let admin = admin(values, errors);
    let orchestrator = orchestrator(values, errors);
    Some(Config {
        state_dir: PathBuf::from(values.text("state_dir")),
        gateway: gateway(values),
        listeners,
        admin: admin?,
        orchestrator,
        guard: guard(values),
        limits: limits(values),
        overload: overload(values, errors),
        upstream: upstream(values),
        drain: DrainConfig {
            timeout: values.duration("drain.timeout"),
            idle_grace: values.duration("drain.idle_grace"),
        },
        watchdog: WatchdogConfig { abort_after: values.duration("watchdog.abort_after") },
        log: log(values),
    })
}

fn complain(errors: &mut Vec<ConfigError>, place: Place, message: String, help: &str) {
    errors.push(ConfigError { place, message, help: Some(help.to_owned()) });
}

fn gateway(values: &mut Values) -> GatewayConfig {
    let mut name = values.text("gateway.name");
    if name.is_empty() {
        name = rustix::system::uname().nodename().to_string_lossy().into_owned();
        values.resolve("gateway.name", Value::Text(name.clone()));
    }
    let mut workers = values.integer("gateway.workers");
    if workers == 0 {
        workers = cores::available();
        values.resolve("gateway.workers", Value::Integer(workers as u64));
    }
    GatewayConfig { name, workers }
}

fn listeners(values: &Values, errors: &mut Vec<ConfigError>) -> Vec<ListenerConfig> {
    if values.listeners == 0 {
        complain(errors, Place::Whole, "there is no listener".to_owned(), LISTENER_EXAMPLE);
    }
    let mut listeners: Vec<ListenerConfig> = Vec::new();
    for index in 0..values.listeners {
        let section = format!("listener[{index}]");
        let Some(listener) = listener(values, &section) else { continue };
        distinct(values, &section, &listener, &listeners, errors);
        listeners.push(listener);
    }
    listeners
}

fn listener(values: &Values, section: &str) -> Option<ListenerConfig> {
    let name = values.text(&format!("{section}.name"));
    let address = values.address(&format!("{section}.address"))?;
    let trusted_proxies = values.networks(&format!("{section}.trusted_proxies"));
    Some(ListenerConfig { name, address, trusted_proxies })
}

fn distinct(
    values: &Values,
    section: &str,
    listener: &ListenerConfig,
    before: &[ListenerConfig],
    errors: &mut Vec<ConfigError>,
) {
    let free_port = matches!(listener.address, ListenAddress::Tcp(address) if address.port() == 0);
    if !listener.name.is_empty() && before.iter().any(|other| other.name == listener.name) {
        let message = format!("`{section}.name` is {:?}, as that of another listener", listener.name);
        complain(errors, values.place(&format!("{section}.name")), message, "give each listener a name of its own");
    }
    let taken = before.iter().any(|other| other.address == listener.address)
        || values.address("admin.address").as_ref() == Some(&listener.address);
    if taken && !free_port {
        let message = format!("`{section}.address` is {}, which is listened on already", listener.address);
        let help = "give each listener, and the admin API, an address of its own";
        complain(errors, values.place(&format!("{section}.address")), message, help);
    }
}

fn admin(values: &Values, errors: &mut Vec<ConfigError>) -> Option<AdminConfig> {
    let address = values.address("admin.address")?;
    let token_file = file(values, "admin.token_file");
    let local = match &address {
        ListenAddress::Tcp(address) => address.ip().is_loopback(),
        ListenAddress::Unix(_) => true,
    };
    if !local && token_file.is_none() {
        let message =
            format!("`admin.address` is {address}, which others can reach, and there is no `admin.token_file`");
        let help = "give `admin.token_file`, or a loopback address as in \"127.0.0.1:9901\"";
        complain(errors, values.place("admin.address"), message, help);
    }
    let token = token_file.as_deref().and_then(|file| token(file, "admin.token_file", values, errors));
    let open_metrics = values.boolean("admin.open_metrics");
    Some(AdminConfig { address, token, token_file, open_metrics, allowed_hosts: values.texts("admin.allowed_hosts") })
}

fn orchestrator(values: &Values, errors: &mut Vec<ConfigError>) -> OrchestratorConfig {
    let lost_after = values.duration("orchestrator.lost_after");
    let check_every = values.duration("orchestrator.check_every");
    if lost_after <= check_every {
        let (lost, every) = (show_duration(lost_after), show_duration(check_every));
        let message =
            format!("`orchestrator.lost_after` is {lost}, not longer than `orchestrator.check_every`, {every}");
        let place = match values.place("orchestrator.lost_after") {
            Place::Whole => values.place("orchestrator.check_every"),
            given => given,
        };
        complain(errors, place, message, "or the orchestrator counts as lost between two checks");
    }
    let kind = kind(values, errors);
    OrchestratorConfig { kind, stable_for: values.duration("orchestrator.stable_for"), lost_after, check_every }
}

fn kind(values: &Values, errors: &mut Vec<ConfigError>) -> OrchestratorKind {
    if values.text("orchestrator.kind") == "file" {
        let path = needed(values, "orchestrator.path", "\"/etc/holdgate/apps.d\"", errors);
        return OrchestratorKind::File { path: PathBuf::from(path) };
    }
    let url = needed(values, "orchestrator.url", "\"http://127.0.0.1:7000\"", errors);
    let token_file = file(values, "orchestrator.token_file");
    if let Some(file) = &token_file {
        token(file, "orchestrator.token_file", values, errors);
    }
    let readiness_url = Some(values.text("orchestrator.readiness_url")).filter(|url| !url.is_empty());
    OrchestratorKind::Http { url, token_file, readiness_url }
}

/// A key that the kind of orchestrator needs. Where it or the kind was given and wrong, that has been said.
fn needed(values: &Values, path: &str, example: &str, errors: &mut Vec<ConfigError>) -> String {
    let value = values.text(path);
    let said = |path| errors.iter().any(|error| error.message.starts_with(&format!("`{path}` ")));
    if value.is_empty() && !said(path) && !said("orchestrator.kind") {
        let (kind, name) = (values.text("orchestrator.kind"), path.rsplit('.').next().unwrap_or(path));
        let place = match values.place(path) {
            Place::Whole => values.place("orchestrator.kind"),
            given => given,
        };
        let help = format!("add `{name} = {example}` to [orchestrator]");
        complain(errors, place, format!("`{path}` must be given for kind \"{kind}\""), &help);
    }
    value
}

fn file(values: &Values, path: &str) -> Option<PathBuf> {
    Some(values.text(path)).filter(|file| !file.is_empty()).map(PathBuf::from)
}

fn token(file: &Path, path: &str, values: &Values, errors: &mut Vec<ConfigError>) -> Option<String> {
    match read_token(file) {
        Ok(token) => Some(token),
        Err(why) => {
            let help = "the file holds one token, of visible ASCII characters";
            complain(errors, values.place(path), format!("`{path}`: {} {why}", file.display()), help);
            None
        }
    }
}

fn read_token(file: &Path) -> Result<String, String> {
    let bytes = read_bounded(file, MAX_TOKEN_BYTES).map_err(|error| format!("cannot be read: {error}"))?;
    let token = bytes.trim_ascii();
    if token.is_empty() {
        return Err("is empty".to_owned());
    }
    let visible = token.iter().all(u8::is_ascii_graphic);
    if visible { Ok(String::from_utf8_lossy(token).into_owned()) } else { Err("holds more than a token".to_owned()) }
}

fn guard(values: &Values) -> GuardConfig {
    GuardConfig {
        max_shrink_percent: values.number("guard.max_shrink_percent"),
        max_shrink_apps: values.integer("guard.max_shrink_apps"),
        max_invalid_percent: values.number("guard.max_invalid_percent"),
        max_invalid_apps: values.integer("guard.max_invalid_apps"),
        max_crashes: values.integer("guard.max_crashes"),
        crash_window: values.duration("guard.crash_window"),
    }
}

fn limits(values: &Values) -> LimitsConfig {
    LimitsConfig {
        max_connections: values.integer("limits.max_connections"),
        header_bytes: values.integer("limits.header_bytes"),
        header_timeout: values.duration("limits.header_timeout"),
        request_body_bytes: values.integer("limits.request_body_bytes"),
        min_request_bytes_per_second: values.integer("limits.min_request_bytes_per_second"),
        min_response_bytes_per_second: values.integer("limits.min_response_bytes_per_second"),
        min_rate_window: values.duration("limits.min_rate_window"),
        app_bytes: values.integer("limits.app_bytes"),
        changes_bytes: values.integer("limits.changes_bytes"),
        snapshot_bytes: values.integer("limits.snapshot_bytes"),
        snapshot_apps: values.integer("limits.snapshot_apps"),
    }
}

fn overload(values: &Values, errors: &mut Vec<ConfigError>) -> OverloadConfig {
    let (soft_percent, hard_percent) =
        (values.integer("overload.soft_percent"), values.integer("overload.hard_percent"));
    if hard_percent <= soft_percent {
        let message =
            format!("`overload.hard_percent` is {hard_percent}, not more than `overload.soft_percent`, {soft_percent}");
        let place = match values.place("overload.hard_percent") {
            Place::Whole => values.place("overload.soft_percent"),
            given => given,
        };
        complain(errors, place, message, "what is idle is given up before work is refused");
    }
    OverloadConfig { enabled: values.boolean("overload.enabled"), soft_percent, hard_percent }
}

fn upstream(values: &Values) -> UpstreamConfig {
    UpstreamConfig {
        connect_timeout: values.duration("upstream.connect_timeout"),
        request_timeout: values.duration("upstream.request_timeout"),
        idle_connections_per_endpoint: values.integer("upstream.idle_connections_per_endpoint"),
        eject_after: values.integer("upstream.eject_after"),
        eject_for: values.duration("upstream.eject_for"),
        max_ejected_percent: values.integer("upstream.max_ejected_percent"),
        panic_percent: values.integer("upstream.panic_percent"),
    }
}

fn log(values: &Values) -> LogConfig {
    let format = if values.text("log.format") == "text" { LogFormat::Text } else { LogFormat::Json };
    LogConfig { level: values.text("log.level"), format, access: values.access("log.access") }
}
