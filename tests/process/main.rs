//! The real process on loopback: what a user of the binary sees.

mod bad_answers;
mod commands;
mod damage;
mod data_plane;
mod demo;
mod disk;
mod epochs;
mod guarded;
mod hangs;
mod kept_table;
mod killed;
mod lifecycle;
mod outage_a;
mod outage_b;
mod outage_e;
mod overload;
mod poison;
mod real_programs;
mod sockets;
mod steer;
mod systemd;
mod table;
mod takeover;
mod takeover_failures;
mod takeover_image;
mod takeover_script;
mod unit;

use holdgate_tests::{backend::Backend, gateway, orchestrator::Orchestrator};

/// `count` apps, each with a host of its own, in turn on the given endpoints, which answer with their names.
fn apps(count: usize, backends: &[Backend]) -> Vec<(String, String)> {
    let document = |n: usize| {
        let backend = &backends[n % backends.len()];
        (format!("app-{n:05}"), format!(r#"{{"hosts":["{}"],"endpoints":["{}"]}}"#, host(n), backend.address()))
    };
    (0..count).map(document).collect()
}

/// The host of the nth app.
fn host(n: usize) -> String {
    format!("app-{n:05}.test")
}

/// Three apps, each with a backend that answers with the app's host.
fn three() -> (Vec<Backend>, Orchestrator, Vec<String>) {
    let hosts: Vec<String> = (0..3).map(host).collect();
    let backends: Vec<Backend> = hosts.iter().map(|h| Backend::start(h)).collect();
    let orchestrator = Orchestrator::start(apps(3, &backends));
    (backends, orchestrator, hosts)
}

/// A gateway to be replaced under load. Idle connections are kept for longer than a client of a loaded machine may take from
/// one request to the next: a connection that is closed while a request is on its way to it is no failure of a take-over.
fn steady(orchestrator: &Orchestrator, more: &str) -> gateway::Gateway {
    orchestrator.keep_changes(1000);
    let mut gateway = gateway::Gateway::configured(&orchestrator.url(), more);
    gateway.reconfigure("idle_grace = \"100ms\"", "idle_grace = \"2s\"");
    gateway.start_ready();
    gateway.until_status("an open gate", |s| s["orchestrator"]["gate"] == "open");
    gateway
}

/// A gateway that follows by changes, its gate open.
fn follower(orchestrator: &Orchestrator, more: &str) -> gateway::Gateway {
    orchestrator.keep_changes(1000);
    let mut gateway = gateway::Gateway::configured(&orchestrator.url(), more);
    gateway.start_ready();
    gateway.until_status("an open gate", |s| s["orchestrator"]["gate"] == "open");
    gateway
}
