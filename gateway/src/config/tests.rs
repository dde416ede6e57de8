//! Every kind of error with its place; defaults; the environment; what is shown can be read in again.

use std::{collections::BTreeSet, io::Write};

use proptest::prelude::*;

use super::{
    keys::{KEYS, Kind},
    source::variable_name,
    *,
};

mod documents;

const GOOD: &str = r#"
[[listener]]
name = "web"
address = "127.0.0.1:8080"
[orchestrator]
url = "http://127.0.0.1:7000"
"#;

fn load(text: &str, env: &[(&str, &str)]) -> Result<Loaded, ConfigErrors> {
    let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Config::parse(std::path::Path::new("h.toml"), text, env)
}

fn good(text: &str, env: &[(&str, &str)]) -> Config {
    load(text, env).unwrap_or_else(|errors| panic!("{errors}")).config
}

/// The lines of all errors of `GOOD` with `addition` put before it (so that lines count from 1).
fn errors(addition: &str, env: &[(&str, &str)]) -> Vec<String> {
    let Err(errors) = load(&format!("{addition}{GOOD}"), env) else { panic!("{addition} {env:?} is accepted") };
    errors.lines().collect()
}

#[test]
fn the_defaults_are_those_of_the_specification() {
    let config = good(GOOD, &[]);
    assert_eq!(config.state_dir, PathBuf::from("/var/lib/holdgate"));
    assert!(!config.gateway.name.is_empty());
    assert!(config.gateway.workers >= 1);
    assert_eq!(config.admin.address, ListenAddress::Tcp("127.0.0.1:9901".parse().unwrap()));
    let orchestrator = &config.orchestrator;
    let seconds = [orchestrator.stable_for, orchestrator.lost_after, orchestrator.check_every].map(|d| d.as_secs());
    assert_eq!(seconds, [5, 10, 2]);
    let poison = config.updater().poison;
    assert_eq!((poison.crashes, poison.within), (3, Duration::from_secs(10)));
    let limits = config.updater().limits;
    assert_eq!(limits, routing_cache::limits::Limits::default());
    let upstream = config.upstream;
    assert_eq!(
        (upstream.idle_connections_per_endpoint, upstream.eject_after, upstream.max_ejected_percent),
        (256, 5, 100)
    );
    assert_eq!((config.log.level.as_str(), config.log.format), ("info", LogFormat::Json));
    assert_eq!(config.log.access, AccessLogTarget::Stdout);
}

#[test]
fn every_default_is_a_value_its_key_takes() {
    for key in KEYS.iter().filter(|key| key.default.is_some()) {
        assert!(values::default_value(key).is_some(), "{}", key.path);
    }
}

#[test]
fn no_key_is_listed_twice_and_the_keys_of_a_table_stand_together() {
    let paths: BTreeSet<_> = KEYS.iter().map(|key| key.path).collect();
    assert_eq!(paths.len(), KEYS.len());
    let mut sections: Vec<_> = KEYS.iter().map(|key| key.section()).collect();
    sections.dedup();
    assert_eq!(sections.iter().collect::<BTreeSet<_>>().len(), sections.len());
}

#[test]
fn each_kind_of_error_names_its_place_and_what_is_wrong() {
    let check = |addition: &str, expected: &str| assert_eq!(errors(addition, &[]), [expected], "{addition}");
    check("state_dri = \"/x\"", "h.toml:1:1: `state_dri` is not a key");
    check("[drain]\n  timeot = \"1s\"", "h.toml:2:3: `drain.timeot` is not a key");
    check("[drian]", "h.toml:1:2: `drian` is not a key");
    check("drain = 5", "h.toml:1:9: `drain` is integer, not a table");
    check("state_dir = 5", "h.toml:1:13: `state_dir` is a whole number");
    check("state_dir = \"\"", "h.toml:1:13: `state_dir` is \"\"");
    check("[gateway]\nworkers = \"2\"", "h.toml:2:11: `gateway.workers` is text");
    check("[gateway]\nworkers = 1025", "h.toml:2:11: `gateway.workers` is 1025");
    check("[gateway]\nworkers = -1", "h.toml:2:11: `gateway.workers` is -1");
    check("[gateway]\nworkers = 1.5", "h.toml:2:11: `gateway.workers` is a number with a fraction");
    check("[gateway]\nname = 2026-01-01", "h.toml:2:8: `gateway.name` is a date");
    check("[gateway]\nname = { a = 1 }", "h.toml:2:8: `gateway.name` is a table");
    check("[guard]\nmax_shrink_percent = 100.5", "h.toml:2:22: `guard.max_shrink_percent` is 100.5");
    check("[guard]\nmax_shrink_percent = nan", "h.toml:2:22: `guard.max_shrink_percent` is NaN");
    check("[drain]\ntimeout = 30", "h.toml:2:11: `drain.timeout` is a whole number");
    check("[drain]\ntimeout = \"30\"", "h.toml:2:11: `drain.timeout` is \"30\"");
    check("[drain]\ntimeout = \"s\"", "h.toml:2:11: `drain.timeout` is \"s\"");
    check("[drain]\ntimeout = \"25h\"", "h.toml:2:11: `drain.timeout` is \"25h\"");
    check("[drain]\ntimeout = \"99999999999999999999h\"", "h.toml:2:11: `drain.timeout` is \"99999999999999999999h\"");
    check("[limits]\nheader_bytes = 100", "h.toml:2:16: `limits.header_bytes` is 100");
    check("[admin]\nopen_metrics = \"yes\"", "h.toml:2:16: `admin.open_metrics` is text");
    check("[admin]\nallowed_hosts = [\"a\", 5]", "h.toml:2:23: `admin.allowed_hosts` holds a whole number");
    check("[admin]\naddress = \"localhost:1\"", "h.toml:2:11: `admin.address` is \"localhost:1\"");
    check("[admin]\naddress = \"unix:relative\"", "h.toml:2:11: `admin.address` is \"unix:relative\"");
    check("[log]\nlevel = \"inof\"", "h.toml:2:9: `log.level` is \"inof\"");
    check("[log]\nlevel = \"info,gateway=loud\"", "h.toml:2:9: `log.level` is \"info,gateway=loud\"");
    check("[log]\nformat = \"jsn\"", "h.toml:2:10: `log.format` is \"jsn\"");
    check("[log]\naccess = \"stdot\"", "h.toml:2:10: `log.access` is \"stdot\"");
    check(
        "é = 1 # columns are characters",
        "h.toml:1:1: is not TOML: invalid unquoted key, expected letters, numbers, `-`, `_`",
    );
    check("[log] ]", "h.toml:1:7: is not TOML: unexpected key or value, expected newline, `#`");
}

#[test]
fn what_this_version_cannot_do_is_an_error_that_says_so() {
    let listener = "[[listener]]\nname = \"a\"\naddress = \"127.0.0.1:1\"\n";
    let check = |addition: &str, expected: &str| {
        let all = errors(addition, &[]);
        assert_eq!(all, [format!("{expected} not supported by this version")], "{addition}");
    };
    check(
        &format!("{listener}proxy_protocol = \"required\""),
        "h.toml:4:18: `listener[0].proxy_protocol` is \"required\", which is",
    );
    check(&format!("{listener}[listener.tls]\nx = 1"), "h.toml:4:1: `listener[0].tls` is");
}

#[test]
fn a_kind_or_a_client_certificate_of_later_versions_is_an_error_that_says_so() {
    let check = |key: &str, expected: &str| {
        let Err(errors) = load(&format!("{GOOD}{key}"), &[]) else { panic!("{key} is accepted") };
        assert_eq!(errors.lines().collect::<Vec<_>>(), [format!("{expected} not supported by this version")]);
    };
    check("kind = \"etcd\"", "h.toml:7:8: `orchestrator.kind` is \"etcd\", which is");
    check("tls = {}", "h.toml:7:7: `orchestrator.tls` is");
}

#[test]
fn what_must_be_given_is_missed() {
    let lines = |text: &str| load(text, &[]).err().map(|e| e.lines().collect::<Vec<_>>()).unwrap_or_default();
    let url = "[orchestrator]\nurl = \"http://h\"\n";
    assert_eq!(lines(url), ["h.toml: there is no listener"]);
    assert_eq!(lines(&format!("{url}[[listener]]\nname = \"a\"")), ["h.toml:3:1: `listener[0].address` is missing"]);
    assert_eq!(
        lines(&format!("{url}[[listener]]\naddress = \"[::1]:80\"")),
        ["h.toml:3:1: `listener[0].name` is missing"]
    );
    let listener = "[[listener]]\nname = \"a\"\naddress = \"[::1]:80\"\n";
    assert_eq!(lines(listener), ["h.toml: `orchestrator.url` must be given for kind \"http\""]);
    assert_eq!(
        lines(&format!("{listener}[orchestrator]\nkind = \"file\"")),
        ["h.toml:5:8: `orchestrator.path` must be given for kind \"file\""]
    );
}

#[test]
fn a_url_is_http_and_has_no_credentials() {
    for url in ["ftp://h", "http://", "http://u:p@h", "h:80", "/x", "http://a b"] {
        let lines: Vec<_> = load(&GOOD.replace("http://127.0.0.1:7000", url), &[]).unwrap_err().lines().collect();
        assert_eq!(lines, [format!("h.toml:6:7: `orchestrator.url` is {url:?}")]);
    }
    for url in ["https://o.example.com/base", "http://[::1]:7000"] {
        good(&GOOD.replace("http://127.0.0.1:7000", url), &[]);
    }
}

#[test]
fn names_and_addresses_of_listeners_are_unique() {
    let two = |name: &str, address: &str| format!("{GOOD}[[listener]]\nname = \"{name}\"\naddress = \"{address}\"\n");
    let lines = |text: &str| load(text, &[]).err().map(|e| e.lines().collect::<Vec<_>>()).unwrap_or_default();
    assert_eq!(
        lines(&two("web", "[::1]:1")),
        ["h.toml:8:8: `listener[1].name` is \"web\", as that of another listener"]
    );
    let taken = |address| format!("h.toml:9:11: `listener[1].address` is {address}, which is listened on already");
    assert_eq!(lines(&two("b", "127.0.0.1:8080")), [taken("127.0.0.1:8080")]);
    assert_eq!(lines(&two("b", "127.0.0.1:9901")), [taken("127.0.0.1:9901")]);
    let free = two("b", "127.0.0.1:0").replace(":8080", ":0");
    assert_eq!(good(&free, &[]).listeners.len(), 2);
}

#[test]
fn lost_after_must_outlast_a_check() {
    let env = [("HOLDGATE_ORCHESTRATOR__CHECK_EVERY", "10s")];
    let expected = "environment variable HOLDGATE_ORCHESTRATOR__CHECK_EVERY: `orchestrator.lost_after` is 10s, not longer \
                    than `orchestrator.check_every`, 10s";
    assert_eq!(errors("", &env), [expected]);
}

#[test]
fn all_errors_are_listed_in_the_order_of_the_file_then_the_environment() {
    let text = "[limits]\napp_byte = 1\nmax_connections = 0\n[log]\nformat = 1\n";
    let lines = errors(text, &[("HOLDGATE_LOG__LEVEL", "loud"), ("HOLDGATE_LGO__LEVEL", "info")]);
    let places: Vec<_> = lines.iter().map(|line| line.split(": ").next().unwrap_or_default()).collect();
    let (one, other) = ("environment variable HOLDGATE_LGO__LEVEL", "environment variable HOLDGATE_LOG__LEVEL");
    assert_eq!(places, ["h.toml:2:1", "h.toml:3:19", "h.toml:5:10", one, other]);
}

#[test]
fn every_syntax_error_is_listed() {
    let lines = errors("a = \n[b\nc = \"x\n", &[]);
    let places: Vec<_> = lines.iter().filter_map(|line| line.split(": ").next()).collect();
    assert!(places.contains(&"h.toml:1:5") && places.contains(&"h.toml:2:3"), "{lines:?}");
}

#[test]
fn an_error_shows_the_line_and_what_would_be_right() {
    let shown = load(&format!("[limits]\nmax_conections = 5\n{GOOD}"), &[]).unwrap_err().to_string();
    let expected = "\
error: `limits.max_conections` is not a key
 --> h.toml:2:1
  |
2 | max_conections = 5
  | ^^^^^^^^^^^^^^
  |
  = help: did you mean `max_connections`?

1 error in the configuration; nothing was changed";
    assert_eq!(shown, expected);
}

#[test]
fn a_name_that_is_no_key_finds_the_one_that_was_meant() {
    let help = |addition: &str, env: &[(&str, &str)], expected: &str| {
        let shown = load(&format!("{addition}{GOOD}"), env).unwrap_err().to_string();
        assert!(shown.contains(expected), "{shown}");
    };
    help("[gateway]\nstate_dir = \"/x\"", &[], "= help: there is `state_dir`");
    help("[drain]\nzzz = 1", &[], "= help: [drain] has `timeout`, `idle_grace`");
    help("[lmits]", &[], "= help: did you mean `limits`?");
    help("", &[("HOLDGATE_LOG__LEVLE", "x")], "= help: did you mean HOLDGATE_LOG__LEVEL?");
    help("", &[("HOLDGATE_PORT_80_TCP", "tcp://10.0.0.1:80")], "enableServiceLinks");
    help("", &[("HOLDGATE_QQQQQ", "x")], "HOLDGATE_SECTION__KEY");
    help("", &[("HOLDGATE_QQQQQ", "x")], "error: HOLDGATE_QQQQQ is not a variable of Holdgate");
}

#[test]
fn the_environment_wins_over_the_file() {
    let text = format!("[log]\nlevel = \"warn\"\n{GOOD}");
    let env = [
        ("HOLDGATE_LOG__LEVEL", "debug"),
        ("HOLDGATE_STATE_DIR", "/tmp/x"),
        ("HOLDGATE_GATEWAY__WORKERS", "3"),
        ("HOLDGATE_GUARD__MAX_SHRINK_PERCENT", "12.5"),
        ("HOLDGATE_ADMIN__OPEN_METRICS", "true"),
        ("HOLDGATE_ADMIN__ALLOWED_HOSTS", "a.example, b.example"),
        ("HOLDGATE_DRAIN__TIMEOUT", "2m"),
        ("HOLDGATE_LOG__ACCESS", "unix:/run/log.sock"),
        ("HOME", "/root"),
    ];
    let config = good(&text, &env);
    assert_eq!(config.log.level, "debug");
    assert_eq!(config.state_dir, PathBuf::from("/tmp/x"));
    assert_eq!(config.gateway.workers, 3);
    assert!((config.guard.max_shrink_percent - 12.5).abs() < f64::EPSILON);
    assert!(config.admin.open_metrics);
    assert_eq!(config.admin.allowed_hosts, ["a.example", "b.example"]);
    assert_eq!(config.drain.timeout, Duration::from_mins(2));
    assert_eq!(config.log.access, AccessLogTarget::Unix(PathBuf::from("/run/log.sock")));
}

#[test]
fn the_environment_adds_and_changes_listeners() {
    let env = [
        ("HOLDGATE_LISTENER__1__NAME", "two"),
        ("HOLDGATE_LISTENER__1__ADDRESS", "unix:/run/two.sock"),
        ("HOLDGATE_LISTENER__0__TRUSTED_PROXIES", "[\"10.0.0.0/8\", \"192.0.2.1\"]"),
    ];
    let config = good(GOOD, &env);
    assert_eq!(config.listeners[0].trusted_proxies.len(), 2);
    assert_eq!(config.listeners[1].address, ListenAddress::Unix(PathBuf::from("/run/two.sock")));
    let gap = errors("", &[("HOLDGATE_LISTENER__2__NAME", "x")]);
    assert_eq!(
        gap,
        [
            "environment variable HOLDGATE_LISTENER__2__NAME: HOLDGATE_LISTENER__2__NAME names listener 2, but there are only 1"
        ]
    );
    errors("", &[("HOLDGATE_LISTENER__99999999999__NAME", "x")]);
}

#[test]
fn eleven_listeners_can_come_from_the_environment_alone() {
    let of = |i: usize| {
        let name = (format!("HOLDGATE_LISTENER__{i}__NAME"), format!("l{i}"));
        [name, (format!("HOLDGATE_LISTENER__{i}__ADDRESS"), format!("127.0.0.1:{}", 1000 + i))]
    };
    let url = ("HOLDGATE_ORCHESTRATOR__URL".to_owned(), "http://h".to_owned());
    let env = (0..11).flat_map(of).chain([url]);
    let loaded = Config::parse(std::path::Path::new("h.toml"), "", env).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(loaded.config.listeners.len(), 11);
}

#[test]
fn every_key_can_be_set_by_a_variable() {
    for key in KEYS.iter().filter(|key| key.kind != Kind::Unsupported) {
        let name = variable_name(key.path);
        let env = [(name.as_str(), "\u{1}")];
        let known = load(GOOD, &env).err().is_none_or(|e| e.lines().all(|line| !line.contains("is not a variable")));
        assert!(known, "{name}");
    }
}

#[test]
fn an_admin_api_others_can_reach_needs_a_token() {
    let reachable = "[admin]\naddress = \"0.0.0.0:9901\"\n";
    let expected =
        "h.toml:2:11: `admin.address` is 0.0.0.0:9901, which others can reach, and there is no `admin.token_file`";
    assert_eq!(errors(reachable, &[]), [expected]);
    for local in ["127.8.8.8:9901", "[::1]:9901", "unix:/run/holdgate/admin.sock"] {
        good(&format!("[admin]\naddress = \"{local}\"\n{GOOD}"), &[]);
    }
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"s3cret\n").unwrap();
    let config = good(&format!("{reachable}token_file = {:?}\n{GOOD}", file.path()), &[]);
    assert_eq!(config.admin.token.as_deref(), Some("s3cret"));
    assert!(!format!("{config:?}").contains("s3cret"));
}

#[test]
fn a_token_file_holds_one_token() {
    let check = |content: &[u8], why: &str| {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(content).unwrap();
        for key in ["HOLDGATE_ADMIN__TOKEN_FILE", "HOLDGATE_ORCHESTRATOR__TOKEN_FILE"] {
            let lines = errors("", &[(key, file.path().to_str().unwrap())]);
            assert!(lines.len() == 1 && lines[0].ends_with(why), "{lines:?}");
        }
    };
    check(b"", "is empty");
    check(b" \n", "is empty");
    check(b"two words", "holds more than a token");
    check(&vec![b'x'; 20_000], "is over 16384 bytes");
    assert!(errors("", &[("HOLDGATE_ADMIN__TOKEN_FILE", "/nonexistent/x")])[0].contains("cannot be read"));
}

#[test]
fn a_file_that_is_not_there_or_not_text_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("h.toml");
    let none = std::iter::empty;
    let lines = |errors: ConfigErrors| errors.to_string();
    assert!(lines(Config::load(Some(&path), none()).unwrap_err()).contains("cannot be read: No such file"));
    std::fs::write(&path, b"a\n\xff").unwrap();
    assert!(lines(Config::load(Some(&path), none()).unwrap_err()).contains("line 2 is not UTF-8"));
    std::fs::write(&path, vec![b'#'; 2 << 20]).unwrap();
    assert!(lines(Config::load(Some(&path), none()).unwrap_err()).contains("is over"));
    assert!(lines(Config::load(Some(folder.path()), none()).unwrap_err()).contains("cannot be read"));
    std::fs::write(&path, GOOD).unwrap();
    assert_eq!(Config::load(Some(&path), none()).unwrap().file, path);
}

#[test]
fn what_is_shown_says_where_it_comes_from_and_reads_in_again() {
    let text = format!("[log]\nlevel = \"warn\"\n{GOOD}trusted_proxies = []").replace("trusted_proxies = []", "");
    let loaded =
        load(&text, &[("HOLDGATE_DRAIN__TIMEOUT", "90s"), ("HOLDGATE_GATEWAY__NAME", "say \"edge\"")]).unwrap();
    let shown = loaded.to_toml();
    for line in [
        "level = \"warn\"  # h.toml:2:1",
        "timeout = \"90s\"  # HOLDGATE_DRAIN__TIMEOUT",
        "idle_grace = \"1s\"  # default",
    ] {
        assert!(shown.lines().any(|l| l == line), "{line}\n{shown}");
    }
    let again = load(&shown, &[]).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(format!("{:?}", again.config), format!("{:?}", loaded.config));
    let json = loaded.to_json();
    let level = json["values"].as_array().unwrap().iter().find(|v| v["key"] == "log.level").unwrap();
    assert_eq!((level["value"].as_str(), level["from"].as_str()), (Some("warn"), Some("h.toml:2:1")));
}

#[test]
fn a_reload_cannot_change_what_is_bound_at_the_start() {
    let old = good(GOOD, &[]);
    let changed = |env: &[(&str, &str)]| Config::changes_needing_restart(&old, &good(GOOD, env));
    let workers = (old.gateway.workers + 1).to_string();
    assert_eq!(changed(&[]), [""; 0]);
    assert_eq!(changed(&[("HOLDGATE_LOG__LEVEL", "debug"), ("HOLDGATE_ORCHESTRATOR__URL", "http://h")]), [""; 0]);
    assert_eq!(changed(&[("HOLDGATE_STATE_DIR", "/x")]), ["state_dir"]);
    assert_eq!(changed(&[("HOLDGATE_GATEWAY__WORKERS", &workers)]), ["gateway.workers"]);
    assert_eq!(changed(&[("HOLDGATE_ADMIN__ADDRESS", "[::1]:1")]), ["admin.address"]);
    assert_eq!(changed(&[("HOLDGATE_LISTENER__0__ADDRESS", "[::1]:1")]), ["listener.address"]);
    let more = [("HOLDGATE_LISTENER__1__NAME", "b"), ("HOLDGATE_LISTENER__1__ADDRESS", "[::1]:1")];
    assert_eq!(changed(&more), ["listener.address"]);
}

#[test]
fn the_schema_has_every_key_and_its_default() {
    let schema = schema();
    for key in KEYS {
        let section = match key.section() {
            "" => &schema["properties"],
            "listener[]" => &schema["properties"]["listener"]["items"]["properties"],
            section => &schema["properties"][section]["properties"],
        };
        let property = &section[key.name()];
        assert!(property["description"].as_str().is_some_and(|d| d.starts_with(key.doc)), "{}", key.path);
        assert_eq!(property.get("default").is_some(), key.default.is_some(), "{}", key.path);
    }
    assert_eq!(schema["properties"]["limits"]["properties"]["app_bytes"]["default"], 65536);
    assert_eq!(schema["properties"]["log"]["additionalProperties"], false);
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in ".{0,200}", name in "[A-Z_0-9]{0,20}", value in ".{0,20}") {
        let variable = format!("HOLDGATE_{name}");
        let _ = load(&text, &[(&variable, &value)]).map_err(|errors| errors.to_string());
    }

    #[test]
    fn no_value_makes_it_panic(key in 0..KEYS.len(), value in "\\PC{0,30}") {
        let variable = variable_name(KEYS[key].path);
        let _ = load(GOOD, &[(&variable, &value)]).map_err(|errors| errors.to_string());
        let line = format!("{} = {value}", KEYS[key].path.replace("[]", ""));
        let _ = load(&line, &[]).map_err(|errors| errors.to_string());
    }

    #[test]
    fn a_duration_is_shown_as_it_is_read(number in 0_u64..2000, unit in prop::sample::select(vec![1, 1000, 60_000, 3_600_000])) {
        let kind = Kind::Duration { min: Duration::ZERO, max: Duration::from_hours(2000) };
        let duration = Duration::from_millis(number * unit);
        let raw = value::Raw::Text(value::show_duration(duration));
        prop_assert_eq!(kind.check(&raw), Ok(value::Value::Duration(duration)));
    }
}
