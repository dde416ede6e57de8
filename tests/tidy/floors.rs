//! The floors of the house as a table, and what breaks them.

use crate::source::Source;

/// A module and its floor.
pub type Floors = &'static [(&'static str, u8)];

/// routing-cache/src: pure, synchronous, deterministic.
pub const ROUTING_CACHE: Floors = &[
    ("model", 0),
    ("limits", 0),
    ("disk", 0),
    ("memory", 0),
    ("wire", 1),
    ("table", 1),
    ("gate", 1),
    ("guard", 1),
    ("state", 2),
    ("live", 3),
    ("codec", 3),
    ("snapshot", 4),
    ("journal", 4),
    ("store", 5),
    ("updater", 6),
];

/// gateway/src. `main.rs` stands above all.
pub const GATEWAY: Floors = &[
    ("config", 0),
    ("clock", 0),
    ("priority", 0),
    ("sealed", 0),
    ("telemetry", 1),
    ("net", 1),
    ("message", 1),
    ("readiness", 1),
    ("drain", 1),
    ("probe", 2),
    ("overload", 2),
    ("upstream", 2),
    ("orchestrator", 2),
    ("updates", 2),
    ("proxy", 3),
    ("subscription", 3),
    ("watchdog", 3),
    ("takeover", 3),
    ("admin", 3),
    ("demo", 4),
    ("cli", 5),
    ("app", 6),
];

/// Each import that the plan does not have, and each module without a floor.
pub fn violations(sources: &[Source], floors: Floors) -> Vec<String> {
    sources.iter().flat_map(|source| file_violations(source, floors)).collect()
}

fn file_violations(source: &Source, floors: Floors) -> Vec<String> {
    let module = source.module();
    let Some(own) = module.first() else { return Vec::new() };
    let Some(floor) = floor_of(own, floors) else {
        return vec![format!(
            "{}: {own} has no floor: add it to docs/ARCHITECTURE.md and tests/tidy/floors.rs",
            source.path
        )];
    };
    let allowed = |to: &str| to == *own || floor_of(to, floors).is_some_and(|f| f < floor);
    let mut imports = imports(&source.code(), module.len());
    imports.sort();
    imports.dedup();
    let bad = imports.iter().filter(|to| floor_of(to, floors).is_some() && !allowed(to));
    bad.map(|to| format!("{}: {own} (floor {floor}) imports {to}", source.path)).collect()
}

fn floor_of(module: &str, floors: Floors) -> Option<u8> {
    floors.iter().find(|(name, _)| *name == module).map(|(_, floor)| *floor)
}

/// The crate's modules that `code` names, by `crate::` or by as many `super::` as lead to the root.
fn imports(code: &str, depth: usize) -> Vec<String> {
    let up = "super::".repeat(depth);
    let mut found = Vec::new();
    for root in ["crate::", up.as_str()] {
        for (at, _) in code.match_indices(root) {
            let longer = code.get(..at).is_some_and(|before| before.ends_with("super::"));
            if !longer {
                found.extend(heads(code.get(at + root.len()..).unwrap_or_default()));
            }
        }
    }
    found
}

/// The first name of a path, or of each path of a `{...}` group.
fn heads(rest: &str) -> Vec<String> {
    let Some(group) = rest.strip_prefix('{') else { return name(rest).into_iter().collect() };
    let (mut heads, mut depth, mut start) = (Vec::new(), 0_usize, 0);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' | ',' if depth == 0 => {
                heads.extend(name(group.get(start..at).unwrap_or_default()));
                start = at + 1;
                if c == '}' {
                    break;
                }
            }
            '}' => depth -= 1,
            _ => {}
        }
    }
    heads
}

fn name(text: &str) -> Option<String> {
    let name: String = text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    (!name.is_empty()).then_some(name)
}
