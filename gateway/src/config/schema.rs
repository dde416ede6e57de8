//! The JSON Schema of the configuration, made from the table of keys: for editors and for checks in a pipeline.

use serde_json::{Map, Value as Json, json};

use super::keys::{KEYS, Key, Kind};

/// The schema, draft 2020-12.
#[must_use]
pub fn schema() -> Json {
    let mut root = section("");
    let sections: Vec<&str> = KEYS.iter().map(Key::section).filter(|section| !section.is_empty()).collect();
    let mut properties = Map::new();
    for name in sections {
        let schema = match name.strip_suffix("[]") {
            Some(_) => json!({"type": "array", "minItems": 1, "items": section(name)}),
            None => section(name),
        };
        properties.insert(name.trim_end_matches("[]").to_owned(), schema);
    }
    merge(&mut root, properties);
    root
}

fn merge(root: &mut Json, sections: Map<String, Json>) {
    if let Some(properties) = root.get_mut("properties").and_then(Json::as_object_mut) {
        properties.extend(sections);
    }
    if let Some(object) = root.as_object_mut() {
        object.insert("$schema".to_owned(), json!("https://json-schema.org/draft/2020-12/schema"));
        object.insert("title".to_owned(), json!("The configuration of holdgate"));
        object.insert("required".to_owned(), json!(["listener"]));
    }
}

fn section(name: &str) -> Json {
    let keys = || KEYS.iter().filter(|key| key.section() == name);
    let properties: Map<_, _> = keys().map(|key| (key.name().to_owned(), property(key))).collect();
    let required: Vec<_> = keys().filter(|key| key.default.is_none() && key.kind != Kind::Unsupported).collect();
    let mut schema = json!({"type": "object", "additionalProperties": false, "properties": properties});
    if let (false, Some(object)) = (required.is_empty(), schema.as_object_mut()) {
        object.insert("required".to_owned(), required.iter().map(|key| key.name()).collect());
    }
    schema
}

fn property(key: &Key) -> Json {
    let mut schema = of_kind(key.kind);
    if let Some(object) = schema.as_object_mut() {
        let unit = if key.unit.is_empty() { String::new() } else { format!(" Unit: {}.", key.unit) };
        object.insert("description".to_owned(), json!(format!("{}{unit}", key.doc)));
        if let Some(default) = key.default.and_then(default) {
            object.insert("default".to_owned(), default);
        }
    }
    schema
}

fn default(toml: &str) -> Option<Json> {
    let table: toml::Table = toml::from_str(&format!("value = {toml}")).ok()?;
    serde_json::to_value(table.get("value")?).ok()
}

fn of_kind(kind: Kind) -> Json {
    match kind {
        Kind::Boolean => json!({"type": "boolean"}),
        Kind::Integer { min, max } => json!({"type": "integer", "minimum": min, "maximum": max}),
        Kind::Percent => json!({"type": "number", "minimum": 0, "maximum": 100}),
        Kind::OneOf { now, .. } => json!({"enum": now}),
        Kind::Duration { .. } => json!({"type": "string", "pattern": "^[0-9]+(ms|s|m|h)$"}),
        Kind::Networks | Kind::Texts => json!({"type": "array", "items": {"type": "string"}}),
        Kind::Name => json!({"type": "string", "pattern": "^[A-Za-z0-9._-]{1,64}$"}),
        Kind::Url => json!({"type": "string", "pattern": "^(https?://.+)?$"}),
        Kind::Folder => json!({"type": "string", "minLength": 1}),
        Kind::Unsupported => json!({"not": {}}),
        Kind::Text | Kind::File | Kind::Address | Kind::Level | Kind::Access => json!({"type": "string"}),
    }
}
