//! Holds the plan of docs/ARCHITECTURE.md: which module may import which, how long a file may be, and what the
//! routing cache may never touch. A failure names the file, the line and what the plan says.

mod floors;
mod source;

use floors::{GATEWAY, ROUTING_CACHE};
use source::{Source, sources};

/// The longest file, in lines, without its tests: a file is one idea.
const MAX_LINES: usize = 400;
/// The longest `main.rs`: it parses and dispatches.
const MAX_MAIN_LINES: usize = 80;

#[test]
fn a_module_imports_only_from_floors_below_its_own() {
    let mut broken = floors::violations(&sources("routing-cache/src"), ROUTING_CACHE);
    broken.extend(floors::violations(&sources("gateway/src"), GATEWAY));
    assert!(broken.is_empty(), "docs/ARCHITECTURE.md has no such import:\n{}", broken.join("\n"));
}

#[test]
fn an_upward_import_and_a_module_without_a_floor_are_found() {
    let upward = [Source::inline("guard.rs", "use crate::{model::App, updater::Updater};")];
    assert_eq!(floors::violations(&upward, ROUTING_CACHE).len(), 1);
    let sideways = [Source::inline("gate.rs", "fn x() { super::guard::judge() }")];
    assert_eq!(floors::violations(&sideways, ROUTING_CACHE).len(), 1);
    let nested = [Source::inline("wire/doc/x.rs", "use super::super::super::store::Store;")];
    assert_eq!(floors::violations(&nested, ROUTING_CACHE).len(), 1);
    let unknown = [Source::inline("helpers.rs", "")];
    assert_eq!(floors::violations(&unknown, ROUTING_CACHE).len(), 1);
    let fine =
        [Source::inline("guard.rs", "// crate::updater\nuse crate::model::App;\n#[cfg(test)]\nuse crate::updater::X;")];
    assert_eq!(floors::violations(&fine, ROUTING_CACHE), [""; 0]);
}

#[test]
fn the_data_plane_cannot_name_the_control_plane() {
    let named: Vec<_> =
        sources("gateway/src/proxy").iter().flat_map(|s| s.lines_with(&["orchestrator", "subscription"])).collect();
    assert!(named.is_empty(), "invariant 1, no request ever waits for the orchestrator:\n{}", named.join("\n"));
}

#[test]
fn the_routing_cache_has_no_task_no_socket_and_no_clock() {
    let banned = ["tokio", "hyper", "std::net", "Instant", "SystemTime", "thread::spawn", "thread::sleep", "std::env"];
    let used: Vec<_> = sources("routing-cache/src").iter().flat_map(|s| s.lines_with(&banned)).collect();
    assert!(used.is_empty(), "invariant 6, every decision can be replayed from its inputs:\n{}", used.join("\n"));
}

#[test]
fn only_the_live_cell_swaps() {
    let swaps: Vec<_> = sources("routing-cache/src")
        .iter()
        .filter(|s| s.path != "live.rs")
        .flat_map(|s| s.lines_with(&["ArcSwap", "arc_swap"]))
        .collect();
    assert!(swaps.is_empty(), "invariant 2, there is one cell and one swap:\n{}", swaps.join("\n"));
}

#[test]
fn a_file_is_one_idea() {
    let mut long = Vec::new();
    for folder in ["routing-cache/src", "gateway/src", "tests/src", "tests/process", "tests/tidy"] {
        let over = |s: &&Source| {
            s.length() > if s.path == "main.rs" && folder == "gateway/src" { MAX_MAIN_LINES } else { MAX_LINES }
        };
        long.extend(sources(folder).iter().filter(over).map(|s| format!("{folder}/{}: {} lines", s.path, s.length())));
    }
    assert!(long.is_empty(), "over {MAX_LINES} lines without tests (main.rs: {MAX_MAIN_LINES}):\n{}", long.join("\n"));
}

#[test]
fn every_queue_is_bounded_and_nothing_is_left_to_do() {
    let banned =
        ["unbounded_channel", "mpsc::channel(", "todo!(", "unimplemented!(", "TODO", "FIXME", "allow(dead_code"];
    let mut found = Vec::new();
    for folder in ["routing-cache/src", "gateway/src"] {
        let sources = sources(folder);
        let lines = sources.iter().flat_map(|s| s.lines_with(&banned));
        // tokio's bounded channel has the same name as the standard library's unbounded one, and takes its bound.
        found.extend(lines.filter(|l| !l.contains("tokio::sync::mpsc::channel(") && !l.contains(" mpsc::channel(")));
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}
