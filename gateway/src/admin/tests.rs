//! The API as a client sees it, by a server in this process.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::atomic::{AtomicU64, Ordering},
};

use routing_cache::{
    gate::Observation,
    model::{Epoch, Generation, Rev, app_digest},
    updater::Updater,
    wire::{SnapshotDecoder, compile, encode},
};
use serde_json::{Value, json};

use super::*;
use crate::{
    clock,
    overload::{Level, Overload, Reason, Standing},
    telemetry::names,
};

mod steering;

/// A served admin API and what stands behind it.
struct Gateway {
    address: SocketAddr,
    context: Context,
    stall_ms: Arc<AtomicU64>,
    _running: Running,
    _state: tempfile::TempDir,
}

fn config(extra: &str) -> Config {
    let text = format!(
        "state_dir = \"/nonexistent\"\n[gateway]\nname = \"edge\"\n[[listener]]\nname = \"web\"\n\
         address = \"127.0.0.1:0\"\n[orchestrator]\nkind = \"http\"\nurl = \"http://127.0.0.1:1\"\n{extra}"
    );
    let loaded = Config::parse(std::path::Path::new("test.toml"), &text, std::iter::empty());
    loaded.unwrap_or_else(|errors| panic!("{errors}")).config
}

impl Gateway {
    fn start(extra: &str) -> Self {
        Self::start_as(config(extra))
    }

    fn start_as(config: Config) -> Self {
        let state = tempfile::tempdir().unwrap();
        let (updater, reader, _) = Updater::boot(config.updater(), state.path(), clock::now()).unwrap();
        let (updates, _thread) = Updates::start(updater, reader.clone(), state.path()).unwrap();
        let stall_ms = Arc::new(AtomicU64::new(0));
        let stalled = Arc::clone(&stall_ms);
        let stalls = Arc::clone(&stall_ms);
        let alive = move || {
            let hangs = stalls.load(Ordering::Relaxed) > 5_000;
            vec![Check::condition("workers", hangs.then(|| "worker-1 has made no progress for 6 s".to_owned()))]
        };
        let slowest = move || {
            let since = Duration::from_millis(stalled.load(Ordering::Relaxed));
            Some(Stall { worker: "worker-1".to_owned(), since })
        };
        let context = Context {
            reader,
            updates,
            readiness: Readiness::default(),
            drain: Drain::default(),
            listeners: vec![Listening {
                name: Arc::from("web"),
                address: "127.0.0.1:8080".to_owned(),
                connections: Arc::new(|| 12),
            }],
            progress: Progress(Arc::new(slowest)),
            alive: Alive { checks: Arc::new(alive), pulse: Pulse::default() },
            predecessors: Arc::new(|| 2),
            metrics: crate::telemetry::metrics::install(),
            config: Arc::new(ArcSwap::from_pointee(config)),
            endpoints: Arc::new(Endpoints::default()),
            overload: Overload::default(),
            log_level: LogLevel(Arc::new(
                |level, _| if level == "debug" { Ok(()) } else { Err("no level".to_owned()) },
            )),
            started: clock::wall(),
            second_table: Arc::new(Semaphore::new(1)),
        };
        let socket = Socket::bind(&crate::config::ListenAddress::Tcp("127.0.0.1:0".parse().unwrap())).unwrap();
        let address = socket.address().unwrap().parse().unwrap();
        let running = start(socket, context.clone()).unwrap();
        Self { address, context, stall_ms, _running: running, _state: state }
    }

    /// A gateway that serves `apps` of `app-00`, each with two endpoints.
    fn serving(apps: usize) -> Self {
        let gateway = Self::start("");
        gateway.offer(1, apps);
        gateway
    }

    fn offer(&self, generation: u64, apps: usize) {
        let updates = self.context.updates.clone();
        let candidate = snapshot(generation, apps);
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
            updates.observe(Observation::Ready).await.unwrap();
            updates.offer_snapshot(candidate).await.unwrap();
        });
    }

    fn send(&self, request: &str) -> (u16, String, String) {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head[9..12].parse().unwrap(), head.to_owned(), body.to_owned())
    }

    fn ask(&self, method: &str, path: &str, headers: &str, body: &str) -> (u16, String, String) {
        let length = body.len();
        self.send(&format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
        ))
    }

    fn text(&self, path: &str) -> (u16, String) {
        let (status, _, body) = self.ask("GET", path, "", "");
        (status, body)
    }

    fn json(&self, path: &str) -> Value {
        let (status, body) = self.text(path);
        assert_eq!(status, 200, "{path}: {body}");
        serde_json::from_str(&body).unwrap()
    }

    fn error(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        let (status, head, body) = self.ask(method, path, "", body);
        assert!(head.contains("content-type: application/json"), "{head}");
        (status, serde_json::from_str::<Value>(&body).unwrap()["error"].as_str().unwrap().to_owned())
    }
}

fn snapshot(generation: u64, apps: usize) -> routing_cache::wire::SnapshotCandidate {
    let (epoch, generation) = (Epoch::new("e1").unwrap(), Generation(generation));
    let mut body = encode::snapshot_begin(&epoch, generation, true, apps as u64);
    let mut digest = routing_cache::model::Digest::default();
    for n in 0..apps {
        let (id, rev) = (format!("app-{n:02}"), Rev(1));
        let document = format!(
            "{{\"hosts\":[\"h{n}.example\",\"*.h{n}.example\"],\"routes\":[\
             {{\"name\":\"api\",\"match\":{{\"path\":{{\"prefix\":\"/api\"}},\"methods\":[\"POST\"]}},\"to\":\"web\"}},\
             {{\"match\":{{\"path\":{{\"exact\":\"/old\"}}}},\"redirect\":{{\"status\":308,\"path\":\"/new\"}}}},\
             {{\"match\":{{\"path\":{{\"prefix\":\"/site\"}}}},\"to\":\"web\"}}],\
             \"upstreams\":{{\"web\":{{\"endpoints\":[\"127.0.0.1:{}\",\"127.0.0.2:{}\"]}}}}}}",
            n + 1,
            n + 1
        );
        digest = digest.plus(app_digest(&id, rev, document.as_bytes()));
        encode::snapshot_app(&mut body, &id, rev, document.as_bytes());
    }
    body.extend(encode::snapshot_end(apps as u64, digest));
    let mut decoder = SnapshotDecoder::new(routing_cache::limits::Limits::default());
    decoder.push(&body).unwrap();
    decoder.finish().unwrap()
}

#[test]
fn readiness_says_why_there_is_no_table_and_when_there_is_one() {
    let gateway = Gateway::start("");
    let (status, body) = gateway.text("/readyz");
    assert_eq!(status, 503, "{body}");
    assert!(body.contains("[-]table failed: no table: the orchestrator has not been heard of yet"), "{body}");
    assert_eq!(gateway.json("/v1/status")["state"], "waiting");
    gateway.offer(1, 2);
    assert_eq!(gateway.text("/readyz"), (200, "ok\n".to_owned()));
    let (_, body) = gateway.text("/readyz?verbose");
    assert!(body.contains("[+]table ok\n[+]drain ok\n") && body.ends_with("readyz check passed\n"), "{body}");
}

#[test]
fn the_orchestrator_is_no_condition_of_readiness() {
    let gateway = Gateway::serving(2);
    let (status, body) = gateway.text("/readyz?verbose");
    assert_eq!(status, 200, "{body}");
    assert!(body.contains("[!]orchestrator warning: the orchestrator has been ready for"), "{body}");
}

#[test]
fn a_drain_takes_readiness_away_and_not_liveness() {
    let gateway = Gateway::serving(1);
    let (status, _, body) = gateway.ask("POST", "/v1/drain", "", "");
    assert_eq!((status, body.as_str()), (202, "{\"state\":\"draining\"}\n"));
    assert!(gateway.context.drain.watch().has_started());
    assert_eq!(gateway.text("/readyz").0, 503);
    assert_eq!(gateway.text("/livez").0, 200);
    assert_eq!(gateway.json("/v1/status")["state"], "draining");
}

#[test]
fn a_worker_that_hangs_is_named() {
    let gateway = Gateway::serving(1);
    gateway.stall_ms.store(4_900, Ordering::Relaxed);
    assert_eq!(gateway.text("/livez").0, 200);
    gateway.stall_ms.store(6_000, Ordering::Relaxed);
    for path in ["/livez", "/healthz"] {
        let (status, body) = gateway.text(path);
        assert_eq!(status, 503, "{path}");
        assert!(body.contains("[-]workers failed: worker-1 has made no progress for 6 s"), "{body}");
    }
    assert_eq!(gateway.text("/readyz").0, 200);
}

#[test]
fn a_condition_of_the_process_makes_it_unready_and_starting() {
    let gateway = Gateway::serving(1);
    let latch = gateway.context.readiness.latch("listeners", "not bound yet");
    assert!(gateway.text("/readyz").1.contains("[-]listeners failed: not bound yet"));
    assert_eq!(gateway.json("/v1/status")["state"], "starting");
    latch.ok();
    assert_eq!(gateway.json("/v1/status")["state"], "serving");
}

#[test]
fn a_gateway_that_sheds_is_alive_and_not_ready_and_says_why() {
    let gateway = Gateway::serving(1);
    let overload = &gateway.context.overload;
    overload.set(Standing { level: Level::Soft, reason: Reason::Memory });
    assert_eq!(gateway.text("/readyz").0, 200);
    assert_eq!(gateway.json("/v1/status")["memory"]["pressure"], "soft");
    overload.set(Standing { level: Level::Hard, reason: Reason::Memory });
    let (status, body) = gateway.text("/readyz");
    assert!(status == 503 && body.contains("[-]load failed: short of memory"), "{body}");
    assert_eq!(gateway.text("/livez").0, 200);
    let memory = &gateway.json("/v1/status")["memory"];
    assert_eq!((&memory["pressure"], &memory["short_of"]), (&json!("hard"), &json!("memory")));
    overload.set(Standing::default());
    assert_eq!(gateway.text("/readyz").0, 200);
}

#[test]
fn status_has_the_fields_that_tools_rely_on() {
    let gateway = Gateway::serving(3);
    let status = gateway.json("/v1/status");
    for (pointer, value) in [
        ("/name", json!("edge")),
        ("/state", json!("serving")),
        ("/pid", json!(std::process::id())),
        ("/table/source", json!("live")),
        ("/table/epoch", json!("e1")),
        ("/table/generation", json!(1)),
        ("/table/apps", json!(3)),
        ("/table/hosts", json!(6)),
        ("/table/endpoints", json!(6)),
        ("/table/saved/generation", json!(1)),
        ("/table/saved/error", Value::Null),
        ("/orchestrator/kind", json!("http")),
        ("/orchestrator/reachable", json!(true)),
        ("/orchestrator/ready", json!(true)),
        ("/orchestrator/received", json!({"epoch":"e1","generation":1})),
        ("/held", json!({"deletes":0,"since":null,"reason":null})),
        ("/upstreams/healthy", json!(6)),
        ("/listeners", json!([{"name":"web","address":"127.0.0.1:8080","connections":12}])),
        ("/memory/pressure", json!("none")),
    ] {
        assert_eq!(status.pointer(pointer), Some(&value), "{pointer} of {status:#}");
    }
    assert_eq!(status["table"]["digest"], gateway.context.reader.load().table.digest().to_string());
    assert!(status["table"]["received_at"].as_str().unwrap().ends_with('Z'));
}

#[test]
fn without_a_table_status_says_none() {
    let status = Gateway::start("").json("/v1/status");
    assert_eq!(status["table"]["source"], "none");
    for field in ["epoch", "age_s", "received_at"] {
        assert_eq!(status["table"][field], Value::Null, "{field}");
    }
    assert_eq!(status["table"]["saved"]["at"], Value::Null);
    assert_eq!(status["orchestrator"]["gate"], "shut");
}

#[test]
fn the_table_comes_page_by_page_and_each_app_once() {
    let gateway = Gateway::serving(25);
    let (mut seen, mut after, mut pages) = (Vec::new(), String::new(), 0);
    loop {
        let page = gateway.json(&format!("/v1/table?limit=10{after}"));
        assert_eq!(page["generation"], 1);
        seen.extend(page["apps"].as_array().unwrap().iter().map(|app| app["app"].as_str().unwrap().to_owned()));
        pages += 1;
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    assert_eq!(pages, 3);
    assert_eq!(seen, (0..25).map(|n| format!("app-{n:02}")).collect::<Vec<_>>());
    let exact = gateway.json("/v1/table?limit=25");
    assert_eq!(exact["next"], Value::Null, "a full last page is the last");
    for bad in ["limit=0", "limit=1001", "limit=x", "limit=-1"] {
        assert_eq!(gateway.text(&format!("/v1/table?{bad}")).0, 400, "{bad}");
    }
}

#[test]
fn an_app_is_shown_with_its_document_and_provenance() {
    let gateway = Gateway::serving(2);
    let app = gateway.json("/v1/table/apps/app-01");
    assert_eq!(app["hosts"], json!(["h1.example", "*.h1.example"]));
    assert_eq!((&app["rev"], &app["held"], &app["endpoints"]), (&json!(1), &json!(false), &json!(2)));
    assert_eq!(app["document"]["upstreams"]["web"]["endpoints"][0], "127.0.0.1:2");
    assert_eq!(app["provenance"]["source"], "live");
    assert_eq!(gateway.error("GET", "/v1/table/apps/none", ""), (404, "the served table has no such app".to_owned()));
}

#[test]
fn a_lookup_says_which_route_and_endpoints_and_why() {
    let gateway = Gateway::serving(1);
    let found = gateway.json("/v1/table/lookup?host=WWW.H0.example.:80&path=/site/./x?q=1");
    assert_eq!(
        (&found["app"], &found["pattern"], &found["status"]),
        (&json!("app-00"), &json!("*.h0.example"), &Value::Null)
    );
    assert_eq!(
        (&found["host"], &found["path"], &found["method"]),
        (&json!("www.h0.example"), &json!("/site/x"), &json!("GET"))
    );
    let endpoints = found["upstreams"][0]["endpoints"].as_array().unwrap();
    assert_eq!(endpoints.len(), 2);
    assert_eq!((&endpoints[0]["address"], &endpoints[0]["state"]), (&json!("127.0.0.1:1"), &json!("healthy")));
    let why = found["why"].to_string();
    for part in ["the longest wildcard", "matched as /site/x", "paths below /site", "2 of 2 endpoints are healthy"] {
        assert!(why.contains(part), "{part} is not in {why}");
    }
    let redirect = gateway.json("/v1/table/lookup?host=h0.example&path=/old");
    assert_eq!(redirect["status"], 308);
    assert!(redirect["route"]["redirect"].as_str().unwrap().contains("/new"), "{redirect}");
    assert_eq!(gateway.json("/v1/table/lookup?host=h0.example&path=/api&method=POST")["route"]["name"], "api");
}

#[test]
fn a_lookup_that_finds_nothing_says_why() {
    let gateway = Gateway::serving(1);
    let check = |query: &str, status: u16, reason: &str| {
        let found = gateway.json(&format!("/v1/table/lookup?{query}"));
        assert_eq!(found["status"], status, "{query}: {found}");
        assert!(found["why"].to_string().contains(reason), "{query}: {found}");
    };
    check("host=other.example", 404, "no app has the host other.example");
    check("host=h0.example&path=/", 404, "route 2 (api) takes paths below /api, methods POST: the path is another");
    check("host=h0.example&path=/api", 404, "the method is another");
    check("host=h0.example&path=/../x", 400, "climbs above the root");
    assert_eq!(gateway.error("GET", "/v1/table/lookup?path=/", "").0, 400);
    let none = Gateway::start("").json("/v1/table/lookup?host=h0.example");
    assert_eq!((&none["status"], &none["why"][0]), (&json!(503), &json!("there is no table yet")));
}

#[test]
fn endpoints_come_page_by_page_and_each_once() {
    let gateway = Gateway::serving(5);
    let (mut seen, mut after) = (Vec::new(), String::new());
    loop {
        let page = gateway.json(&format!("/v1/upstreams?limit=3{after}"));
        let lines = page["endpoints"].as_array().unwrap();
        assert!(lines.len() <= 3);
        seen.extend(lines.iter().map(|line| format!("{} {}", line["app"], line["address"])));
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    assert_eq!(seen.len(), 10, "{seen:?}");
    assert!(seen.is_sorted());
    assert_eq!(gateway.json("/v1/upstreams?state=ejected")["endpoints"], json!([]));
    assert_eq!(gateway.text("/v1/upstreams?state=odd").0, 400);
    assert_eq!(gateway.text("/v1/upstreams?after=odd").0, 400);
}

#[test]
fn an_endpoint_that_was_ejected_is_found_by_its_state_and_says_why() {
    let gateway = Gateway::serving(3);
    let (published, config) = (gateway.context.reader.load(), gateway.context.config.load());
    let app = compile(published.table.app("app-01").unwrap()).unwrap();
    let upstream = &app.spec.upstreams[0];
    let state = gateway.context.endpoints.state(&upstream.endpoints[1].address);
    for _ in 0..config.upstream.eject_after {
        gateway.context.endpoints.failed(upstream, &state, &config.upstream, std::time::Instant::now());
    }
    let page = gateway.json("/v1/upstreams?state=ejected");
    let lines = page["endpoints"].as_array().unwrap();
    assert_eq!(lines.len(), 1, "{page}");
    assert_eq!((&lines[0]["app"], &lines[0]["address"]), (&json!("app-01"), &json!("127.0.0.2:2")));
    assert!(lines[0]["why"].as_str().unwrap().starts_with("5 failures in a row; left out for another "), "{page}");
    assert!(lines[0]["since"].as_str().unwrap().ends_with('Z'), "{page}");
    let status = gateway.json("/v1/status");
    assert_eq!((&status["upstreams"]["healthy"], &status["upstreams"]["ejected"]), (&json!(5), &json!(1)));
    let found = gateway.json("/v1/table/lookup?host=h1.example&path=/site");
    assert!(found["why"].to_string().contains("1 of 2 endpoints are healthy"), "{found}");
}

#[test]
fn held_deletes_are_shown_and_released_by_their_generation_only() {
    let gateway = Gateway::start("[guard]\nmax_shrink_apps = 2\n");
    let settled = config("[guard]\nmax_shrink_apps = 2\n");
    let mut settled = settled.updater();
    settled.gate.stable_for = Duration::ZERO;
    let updates = gateway.context.updates.clone();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(updates.reconfigure(settled)).unwrap();
    gateway.offer(1, 10);
    assert_eq!(gateway.json("/v1/table/held")["total"], 0);
    assert_eq!(gateway.error("POST", "/v1/table/approve", "{\"generation\":1}").0, 409);
    gateway.offer(2, 3);
    let held = gateway.json("/v1/table/held");
    assert_eq!((&held["reason"], &held["generation"], &held["total"]), (&json!("shrink-guard"), &json!(2), &json!(7)));
    assert_eq!(held["deletes"][0], "app-03");
    assert_eq!(held["evidence"]["apps_before"], 10);
    assert_eq!(gateway.json("/v1/table/apps/app-05")["held"], true);
    assert!(gateway.text("/readyz?verbose").1.contains("[!]held warning: 7 deletes of generation 2 (shrink-guard)"));
    assert_eq!(gateway.error("POST", "/v1/table/approve", "{\"generation\":1}").0, 409);
    let (status, _, body) = gateway.ask("POST", "/v1/table/approve", "", "{\"generation\":2}");
    let done: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status, &done["removed"], &done["apps"]), (200, &json!(7), &json!(3)), "{body}");
    assert_eq!(gateway.json("/v1/table/held")["total"], 0);
}

#[test]
fn a_body_that_is_no_request_is_refused() {
    let gateway = Gateway::start("");
    for body in ["", "{}", "{\"generation\":\"1\"}", "{\"generation\":1,\"more\":2}", "nonsense"] {
        assert_eq!(gateway.error("POST", "/v1/table/approve", body).0, 400, "{body}");
    }
    assert_eq!(gateway.error("POST", "/v1/table/approve", &" ".repeat(5000)).0, 413);
}

#[test]
fn the_log_level_changes_for_a_while() {
    let gateway = Gateway::start("");
    assert_eq!(gateway.ask("POST", "/v1/log", "", "{\"level\":\"debug\",\"for\":\"5m\"}").0, 200);
    assert!(gateway.error("POST", "/v1/log", "{\"level\":\"odd\",\"for\":\"5m\"}").1.starts_with("level:"));
    for bad in ["5", "25h", "x"] {
        assert_eq!(
            gateway.error("POST", "/v1/log", &format!("{{\"level\":\"debug\",\"for\":\"{bad}\"}}")).0,
            400,
            "{bad}"
        );
    }
}

#[test]
fn an_unknown_path_and_a_wrong_method_are_told_apart() {
    let gateway = Gateway::start("");
    assert_eq!(gateway.error("GET", "/v1/nothing", ""), (404, "there is no such call".to_owned()));
    let (status, head, _) = gateway.ask("GET", "/v1/drain", "", "");
    assert!(status == 405 && head.contains("allow: POST"), "{head}");
    let (status, head, _) = gateway.ask("DELETE", "/v1/status", "", "");
    assert!(status == 405 && head.contains("allow: GET, HEAD"), "{head}");
    assert!(!gateway.context.drain.watch().has_started());
}

#[test]
fn a_page_of_another_site_is_refused() {
    let gateway = Gateway::start("");
    let foreign = "GET /v1/status HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n";
    assert_eq!(gateway.send(foreign).0, 403);
    assert_eq!(gateway.ask("POST", "/v1/drain", "Origin: http://evil.example\r\n", "").0, 403);
    assert!(!gateway.context.drain.watch().has_started());
}

#[test]
fn a_token_is_needed_where_one_is_configured() {
    let mut config = config("");
    config.admin.token = Some("s3cret".to_owned());
    let gateway = Gateway::start_as(config);
    let (status, head, _) = gateway.ask("GET", "/v1/status", "", "");
    assert!(status == 401 && head.contains("www-authenticate: Bearer"), "{head}");
    assert_eq!(gateway.ask("GET", "/v1/status", "Authorization: Bearer s3cret\r\n", "").0, 200);
    assert_eq!(gateway.ask("GET", "/v1/nothing", "", "").0, 401, "an unknown path tells nothing");
    assert_eq!(gateway.text("/livez").0, 200);
}

#[test]
fn metrics_say_what_is_served() {
    let gateway = Gateway::serving(3);
    let (status, text) = gateway.text("/metrics");
    assert_eq!(status, 200);
    for line in [
        "holdgate_table_apps 3",
        "holdgate_table_generation 1",
        "holdgate_table_source{source=\"live\"} 1",
        "holdgate_table_source{source=\"none\"} 0",
        "holdgate_upstream_endpoints{state=\"healthy\"} 6",
        "holdgate_ready 1",
        "holdgate_limit{limit=\"header_timeout_seconds\"} 10",
        "holdgate_table_unsaved 0",
    ] {
        assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
    }
}

#[test]
fn every_metric_is_in_the_document_and_none_else() {
    let document = include_str!("../../../docs/ADMIN.md");
    let rows = document.lines().filter_map(|line| line.strip_prefix("| `holdgate_")?.split_once('`'));
    let mut told: Vec<String> = rows.map(|(name, _)| format!("holdgate_{name}")).collect();
    let mut known: Vec<String> = names::ALL.iter().map(|metric| metric.name.to_owned()).collect();
    told.sort();
    known.sort();
    assert_eq!(told, known);
}

#[test]
fn a_client_that_says_nothing_does_not_keep_others_out() {
    let gateway = Gateway::serving(1);
    let connect = |_| TcpStream::connect(gateway.address).unwrap();
    let silent: Vec<TcpStream> = (0..2 * server::MAX_CONNECTIONS).map(connect).collect();
    assert_eq!(gateway.text("/livez").0, 200);
    drop(silent);
}

#[test]
fn a_socket_file_that_nobody_listens_on_is_replaced_and_only_for_its_owner() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("admin.sock");
    let address = crate::config::ListenAddress::Unix(path.clone());
    drop(Socket::bind(&address).unwrap());
    let socket = Socket::bind(&address).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(Socket::bind(&address).is_err(), "somebody listens there");
    assert_eq!(socket.address().unwrap(), format!("unix:{}", path.display()));
}
