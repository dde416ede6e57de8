//! Sockets and threads of the real process.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader, Write},
    os::unix::net::UnixListener,
    thread,
};

use holdgate_tests::{backend::Backend, gateway::Gateway, http, orchestrator::Orchestrator, wait};

use crate::{host, three};

/// An app on a Unix socket that answers every request with `name`.
fn unix_app(path: &std::path::Path, name: &'static str) {
    let listener = UnixListener::bind(path).expect("a socket");
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || {
                let mut stream = BufReader::new(stream);
                let mut line = String::new();
                while stream.read_line(&mut line).is_ok_and(|read| read > 0) {
                    if line == "\r\n" {
                        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", name.len());
                        // ignored: a gateway that has closed the connection reads no answer.
                        let _ = stream.get_mut().write_all(format!("{head}{name}").as_bytes());
                    }
                    line.clear();
                }
            });
        }
    });
}

#[test]
fn an_app_on_a_unix_socket_is_an_app_like_any_other() {
    let folder = tempfile::tempdir().expect("a folder");
    let (path, gone) = (folder.path().join("app.sock"), folder.path().join("gone.sock"));
    unix_app(&path, "by unix");
    let tcp = Backend::start("by tcp");
    let address = format!("unix:{}", path.display());
    let app = |n: usize, endpoints: &str| {
        (format!("app-{n}"), format!(r#"{{"hosts":["{}"],"endpoints":[{endpoints}]}}"#, host(n)))
    };
    let orchestrator = Orchestrator::start([
        app(0, &format!(r#""{address}""#)),
        app(1, &format!(r#""{address}","{}""#, tcp.address())),
        app(2, &format!(r#""{address}","unix:{}""#, gone.display())),
        app(3, &format!(r#""unix:{}""#, gone.display())),
    ]);
    let mut gateway = Gateway::configured(&orchestrator.url(), "[upstream]\neject_after = 2\neject_for = \"60s\"\n");
    gateway.start_ready();
    let get = |n: usize| http::get(gateway.web, &host(n), "/").expect("an answer");

    assert_eq!((get(0).status, get(0).text().as_str()), (200, "by unix"));
    // Balanced with an endpoint on TCP.
    let mut seen = BTreeMap::new();
    for _ in 0..100 {
        *seen.entry(get(1).text().starts_with("by unix")).or_insert(0) += 1;
    }
    assert_eq!(seen.len(), 2, "{seen:?}");
    // A socket that is not there is a refused connection: tried elsewhere, then left out.
    for _ in 0..40 {
        assert_eq!((get(2).status, get(2).text().as_str()), (200, "by unix"));
    }
    let refused = get(3);
    assert_eq!(refused.status, 502);
    assert!(refused.header("proxy-status").is_some_and(|p| p.contains("connection_refused")), "{:?}", refused.headers);

    let upstreams = gateway.ask("/v1/upstreams?state=ejected").expect("the admin API answers").text();
    assert!(upstreams.contains(&format!("unix:{}", gone.display())), "{upstreams}");
    assert!(gateway.says(&["table", "show", &host(0)]).contains(&address));
    assert!(gateway.says(&["status"]).contains("ejected"));
    let metric = |name: &str| gateway.metric(name).unwrap_or_default();
    wait::until("the pool's metrics", || {
        let idle = metric("holdgate_upstream_idle_connections") >= 1.0;
        let reused = metric("holdgate_upstream_connections_reused_total") >= 1.0;
        (idle && reused && metric("holdgate_upstream_connections_opened_total") >= 2.0).then_some(())
    });
    let metrics = gateway.ask("/metrics").expect("the admin API answers").text();
    let errors = r#"holdgate_upstream_connect_errors_total{reason="refused"}"#;
    assert!(metrics.lines().any(|line| line.starts_with(errors) && !line.ends_with(" 0")), "{metrics}");
}

/// The values of a metric with a label, added up.
fn sum(gateway: &Gateway, name: &str) -> f64 {
    let metrics = gateway.ask("/metrics").expect("the admin API answers").text();
    let values = metrics.lines().filter(|line| line.starts_with(&format!("{name}{{")));
    values.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum()
}

#[test]
fn connections_are_counted_once_whichever_worker_has_them() {
    let (_backends, orchestrator, hosts) = three();
    let mut gateway = Gateway::configured(&orchestrator.url(), "[gateway]\nworkers = 4\n");
    gateway.start_ready();
    let clients: Vec<_> = (0..40)
        .map(|_| {
            let mut client = http::Connection::open(gateway.web).expect("a connection");
            client.write(format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", hosts[0]).as_bytes()).expect("written");
            assert_eq!(client.answer(false).expect("an answer").status, 200);
            client
        })
        .collect();
    assert!((sum(&gateway, "holdgate_connections") - 40.0).abs() < 0.5);
    assert!((sum(&gateway, "holdgate_connections_accepted_total") - 40.0).abs() < 0.5);
    let by_worker = || sum(&gateway, "holdgate_worker_connections");
    wait::until("the workers to tell", || ((by_worker() - 40.0).abs() < 0.5).then_some(()));
    assert_eq!(gateway.status()["listeners"][0]["connections"], 40);
    drop(clients);
    wait::until("all to be gone", || (sum(&gateway, "holdgate_connections") < 0.5 && by_worker() < 0.5).then_some(()));
}

/// The names of a process's threads, each with how many have it.
fn threads(pid: u32) -> BTreeMap<String, usize> {
    let mut names = BTreeMap::new();
    for task in fs::read_dir(format!("/proc/{pid}/task")).expect("it runs").flatten() {
        // ignored: a thread that has ended meanwhile.
        if let Ok(name) = fs::read_to_string(task.path().join("comm")) {
            *names.entry(name.trim().to_owned()).or_insert(0) += 1;
        }
    }
    names
}

/// Workers serve requests and do nothing else, so everything else has a thread; and there are no threads besides.
#[test]
fn everything_but_requests_has_a_thread_of_its_own() {
    let (_backends, orchestrator, hosts) = three();
    let mut gateway = Gateway::configured(&orchestrator.url(), "[gateway]\nworkers = 3\n");
    gateway.reconfigure("access = \"off\"", "access = \"stdout\"");
    gateway.start_ready();
    assert_eq!(http::get(gateway.web, &hosts[0], "/").expect("an answer").status, 200);
    let seen = threads(gateway.pid().expect("it runs"));
    for name in ["worker-0", "worker-1", "worker-2", "admin", "control", "updater", "access-log", "log"] {
        assert_eq!(seen.get(name), Some(&1), "{name} in {seen:?}");
    }
    assert_eq!(seen.keys().filter(|name| name.starts_with("worker")).count(), 3, "{seen:?}");
}
