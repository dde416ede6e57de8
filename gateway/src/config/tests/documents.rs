//! The example and the documentation say what the table of keys says.

use super::*;

const EXAMPLE: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/holdgate.toml"));
const DOCUMENTATION: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/CONFIGURATION.md"));

/// The tables of docs/CONFIGURATION.md as they must be.
fn tables() -> String {
    let mut text = String::new();
    let mut section = None;
    for key in KEYS {
        if section != Some(key.section()) {
            section = Some(key.section());
            let title = match key.section() {
                "" => "Top of the file".to_owned(),
                name if name.ends_with("[]") => format!("`[[{}]]`", name.trim_end_matches("[]")),
                name => format!("`[{name}]`"),
            };
            text += &format!("### {title}\n\n| key | default | unit | meaning |\n|---|---|---|---|\n");
        }
        let none = if key.kind == Kind::Unsupported { "" } else { "-" };
        let default = key.default.map_or_else(|| none.to_owned(), |default| format!("`{default}`"));
        let row = format!("| `{}` | {default} | {} | {} |\n", key.name(), key.unit, key.doc);
        text += &row.replace("|  |", "| |").replace("|  |", "| |");
        let last = KEYS.iter().rfind(|other| other.section() == key.section());
        if last.is_some_and(|last| last.path == key.path) {
            text.push('\n');
        }
    }
    text
}

#[test]
fn the_documentation_has_the_tables_of_all_keys() {
    let tables = tables();
    assert!(DOCUMENTATION.contains(&tables), "docs/CONFIGURATION.md must have:\n\n{tables}");
}

#[test]
fn the_example_is_valid() {
    let config = good(EXAMPLE, &[]);
    assert_eq!(config.listeners.len(), 1);
}

/// `# key = value` without its mark.
fn uncommented(line: &str) -> Option<&str> {
    let line = line.strip_prefix("# ")?;
    let name = line.split_once(" = ")?.0;
    name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_').then_some(line)
}

#[test]
fn the_example_shows_every_default_as_it_is() {
    let lines: Vec<_> = EXAMPLE.lines().map(|line| uncommented(line).unwrap_or(line)).collect();
    let shown = load(&lines.join("\n"), &[]).unwrap_or_else(|errors| panic!("{errors}"));
    for key in KEYS.iter().filter(|key| key.kind != Kind::Unsupported) {
        let path = key.path.replace("[]", "[0]");
        let setting = source::Source::read(&lines.join("\n"), std::iter::empty()).settings.remove(&path);
        let setting = setting.unwrap_or_else(|| panic!("the example lacks {path}"));
        let is_comment = uncommented_key(key);
        let default = values::default_value(key);
        assert_eq!(is_comment, default.is_some() && key.path != "orchestrator.url", "{path}");
        if is_comment {
            assert_eq!(key.kind.check(&setting.raw).ok(), default, "{path}");
        }
    }
    assert!(shown.config.gateway.workers > 0);
}

/// Whether the example has the key only as a comment.
fn uncommented_key(key: &keys::Key) -> bool {
    let set = source::Source::read(EXAMPLE, std::iter::empty()).settings;
    !set.contains_key(&key.path.replace("[]", "[0]"))
}
