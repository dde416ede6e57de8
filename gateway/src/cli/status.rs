//! `holdgate status`: one screen.

use std::{
    fmt::Write,
    io::{IsTerminal, stdout},
    process::ExitCode,
    thread,
    time::Duration,
};

use super::{
    args::{Global, StatusArgs},
    client::{CallError, Client},
    print,
};
use crate::admin::view::{OrchestratorStatus, SavedStatus, SizesStatus, Status, TableStatus};

/// From one screen to the next with `--watch`.
const WATCH_EVERY: Duration = Duration::from_secs(2);
/// Clears a terminal and goes to its first place. Source: ECMA-48, ED and CUP.
const CLEAR: &str = "\x1b[2J\x1b[H";

/// Prints the status of the running gateway, once or until it is interrupted.
///
/// # Errors
/// When the gateway cannot be asked; with `--watch` that is shown and it is asked again.
pub fn run(global: &Global, args: &StatusArgs) -> anyhow::Result<ExitCode> {
    let client = Client::find(global, &args.client)?;
    if !args.watch {
        print(text(&client, args.json)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let clear = if stdout().is_terminal() && !args.json { CLEAR } else { "" };
    loop {
        let text = text(&client, args.json).unwrap_or_else(|error| error.to_string());
        print(format_args!("{clear}{text}"))?;
        thread::sleep(WATCH_EVERY);
    }
}

fn text(client: &Client, json: bool) -> Result<String, CallError> {
    if json {
        return Ok(client.fetch::<serde_json::Value>("/v1/status")?.to_string());
    }
    Ok(screen(&client.fetch("/v1/status")?))
}

fn screen(status: &Status) -> String {
    let mut lines = vec![
        format!(
            "holdgate {} on {}: {}, up {} (pid {})",
            status.version,
            status.name,
            status.state,
            duration(status.uptime_s),
            status.pid
        ),
        String::new(),
    ];
    lines.extend(table(&status.table));
    lines.extend(steered(&status.table));
    lines.extend(sizes(&status.sizes));
    lines.push(row("held", &held(status)));
    lines.extend(orchestrator(&status.orchestrator));
    let counts = &status.upstreams;
    lines.push(row(
        "upstreams",
        &format!(
            "{} healthy, {} unhealthy, {} ejected, {} banned",
            counts.healthy, counts.unhealthy, counts.ejected, counts.banned
        ),
    ));
    for listener in &status.listeners {
        let text = format!("{} at {}, {} connections", listener.name, listener.address, listener.connections);
        lines.push(row("listener", &text));
    }
    lines.push(row("memory", &memory(status)));
    lines.join("\n")
}

fn row(name: &str, text: &str) -> String {
    format!("{name:<14}{text}")
}

fn table(table: &TableStatus) -> Vec<String> {
    let Some(age) = table.age_s else { return vec![row("table", "none yet: every request gets 503")] };
    let epoch = table.epoch.as_deref().unwrap_or("?");
    let mut lines = vec![
        row("table", &format!("{} apps, {} hosts, {} endpoints", table.apps, table.hosts, table.endpoints)),
        row("", &format!("{}, generation {} of epoch {epoch}, {} old", table.source, table.generation, duration(age))),
        row("on disk", &saved(&table.saved)),
    ];
    if table.invalid > 0 {
        lines.push(row("invalid", &format!("{} apps are not served as received", table.invalid)));
    }
    lines
}

/// What an operator has to know of a table that is not simply the orchestrator's.
fn steered(table: &TableStatus) -> Vec<String> {
    let pinned = table.pinned.as_ref().map(|pin| {
        let text = format!("by {} since {}; follow the orchestrator again: holdgate table unpin", pin.by, pin.since);
        row("PINNED", &text)
    });
    let poisoned = table.poisoned.as_ref().map(|kept_out| {
        let (generation, crashes) = (kept_out.generation, kept_out.crashes);
        row("POISONED", &format!("generation {generation} is kept out: {crashes} crashes with it"))
    });
    pinned.into_iter().chain(poisoned).collect()
}

fn sizes(sizes: &SizesStatus) -> Option<String> {
    let largest = sizes.largest.first()?;
    let (documents, store) = (bytes(sizes.documents_bytes), bytes(sizes.store_bytes));
    Some(row(
        "sizes",
        &format!("documents {documents}, on disk {store}, largest app {} ({})", largest.app, bytes(largest.bytes)),
    ))
}

fn saved(saved: &SavedStatus) -> String {
    let mut text = match &saved.at {
        // A restored snapshot's size is not known: this process has not written it.
        Some(at) if saved.bytes == 0 => format!("generation {}, confirmed {at}", saved.generation),
        Some(at) => format!("generation {}, {}, written {at}", saved.generation, bytes(saved.bytes)),
        None => "nothing written by this process".to_owned(),
    };
    if let Some(error) = &saved.error {
        let _ = write!(text, "; NOT SAVED: {error}"); // ignored: writing to a String cannot fail
    }
    text
}

fn held(status: &Status) -> String {
    let held = &status.held;
    if held.deletes == 0 {
        return "nothing".to_owned();
    }
    let (reason, since) = (held.reason.as_deref().unwrap_or("?"), held.since.as_deref().unwrap_or("?"));
    format!("{} deletes since {since} ({reason}); release them: holdgate table approve", held.deletes)
}

fn orchestrator(orchestrator: &OrchestratorStatus) -> [String; 2] {
    let heard =
        orchestrator.last_contact_s.map_or("never heard of".to_owned(), |s| format!("heard {} ago", duration(s)));
    let word = |is: bool, yes: &'static str, no: &'static str| if is { yes } else { no };
    let gate = match &orchestrator.gate_reason {
        Some(reason) => format!("gate {} ({reason})", orchestrator.gate),
        None => format!("gate {}", orchestrator.gate),
    };
    let reachable = word(orchestrator.reachable, "reachable", "AWAY");
    let ready = word(orchestrator.ready, "ready", "not ready");
    [row("orchestrator", &orchestrator.url), row("", &format!("{reachable}, {ready}, {heard}, {gate}"))]
}

fn memory(status: &Status) -> String {
    let used = bytes(status.memory.rss_bytes);
    let of = match status.memory.limit_bytes {
        0 => format!("{used}, no limit"),
        limit => format!("{used} of {}", bytes(limit)),
    };
    match (&status.memory.short_of, status.memory.pressure.as_str()) {
        (Some(reason), "hard") => format!("{of}; SHEDS LOAD, short of {reason}"),
        (Some(reason), _) => format!("{of}; gives up what is idle, short of {reason}"),
        (None, _) => of,
    }
}

/// The two largest units of `seconds`.
fn duration(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3600..86400 => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{} d {} h", seconds / 86400, seconds % 86400 / 3600),
    }
}

/// `bytes` in KiB, MiB or GiB.
pub(super) fn bytes(bytes: u64) -> String {
    let scaled = |shift: u32| bytes as f64 / f64::from(1_u32 << shift);
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..0x10_0000 => format!("{:.1} KiB", scaled(10)),
        0x10_0000..0x4000_0000 => format!("{:.1} MiB", scaled(20)),
        _ => format!("{:.1} GiB", scaled(30)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn status() -> Status {
        serde_json::from_value(json!({
            "version":"0.3.0","pid":4242,"name":"edge-3","state":"serving","started_at":"x","uptime_s":7325,
            "table":{"source":"live","epoch":"01J9","generation":812_344,"apps":100_000,"hosts":130_000,"endpoints":210_000,
                     "digest":"0","age_s":3,"received_at":"x",
                     "saved":{"generation":812_344,"at":"2026-11-21T09:00:00Z","bytes":18_350_080,"error":null}},
            "orchestrator":{"kind":"http","url":"http://o:7000","reachable":true,"ready":true,"gate":"open","gate_reason":null,
                            "last_contact_s":1,"received":{"epoch":"01J9","generation":812_344}},
            "held":{"deletes":0,"since":null,"reason":null},
            "upstreams":{"healthy":200_000,"unhealthy":3,"banned":1},
            "listeners":[{"name":"web","address":"0.0.0.0:8080","connections":12}],
            "memory":{"rss_bytes":104_857_600,"limit_bytes":0,"pressure":"none"}
        }))
        .unwrap()
    }

    #[test]
    fn one_screen_says_what_is_served_from_where_and_how_old() {
        let screen = screen(&status());
        for part in [
            "edge-3: serving, up 2 h 2 min (pid 4242)",
            "100000 apps, 130000 hosts, 210000 endpoints",
            "live, generation 812344 of epoch 01J9, 3 s old",
            "generation 812344, 17.5 MiB, written",
            "held          nothing",
            "reachable, ready, heard 1 s ago, gate open",
            "web at 0.0.0.0:8080, 12 connections",
            "100.0 MiB, no limit",
        ] {
            assert!(screen.contains(part), "{part} is not in\n{screen}");
        }
        assert!(screen.lines().count() < 24, "one screen:\n{screen}");
    }

    #[test]
    fn what_is_wrong_is_said() {
        let mut status = status();
        status.held.deletes = 12;
        status.held.reason = Some("shrink-guard".into());
        status.orchestrator.reachable = false;
        status.orchestrator.gate_reason = Some("nothing was answered for 12 s".into());
        status.table.saved.error = Some("no space left".into());
        let screen = screen(&status);
        for part in
            ["12 deletes since", "holdgate table approve", "AWAY", "(nothing was answered", "NOT SAVED: no space"]
        {
            assert!(screen.contains(part), "{part} is not in\n{screen}");
        }
    }

    #[test]
    fn a_pinned_and_a_poisoned_table_and_the_sizes_are_shown() {
        let mut status = status();
        assert!(!screen(&status).contains("PINNED"));
        status.table.pinned = serde_json::from_value(json!({"since":"2026-11-21T09:00:00Z","by":"rollback"})).unwrap();
        status.table.poisoned =
            serde_json::from_value(json!({"generation":7,"epoch":"e","digest":"0","crashes":3})).unwrap();
        status.sizes = serde_json::from_value(
            json!({"documents_bytes":2048,"store_bytes":1_048_576,"largest":[{"app":"shop","bytes":1024}]}),
        )
        .unwrap();
        let screen = screen(&status);
        for part in [
            "PINNED        by rollback since 2026-11-21T09:00:00Z",
            "holdgate table unpin",
            "generation 7 is kept out: 3 crashes",
            "documents 2.0 KiB, on disk 1.0 MiB, largest app shop (1.0 KiB)",
        ] {
            assert!(screen.contains(part), "{part} is not in\n{screen}");
        }
    }

    #[test]
    fn no_table_is_said_first() {
        let mut status = status();
        status.table.age_s = None;
        assert!(screen(&status).contains("none yet: every request gets 503"));
    }
}
