//! The effective values and where each comes from: as TOML that can be read in again, and as JSON.

use std::fmt::Write;

use serde_json::{Value as Json, json};

use super::{
    Loaded, Origin,
    value::{Value, show_duration},
    values::Effective,
};

impl Loaded {
    /// As TOML; a comment after each value says where it comes from.
    #[must_use]
    pub fn to_toml(&self) -> String {
        let mut text = String::new();
        let mut section = "";
        for effective in self.values.iter() {
            let instance = effective.path.rsplit_once('.').map_or("", |(instance, _)| instance);
            if instance != section {
                section = instance;
                text += &header(section);
            }
            let (name, value) = (effective.key.name(), toml(&effective.value));
            // ignored: a String takes every write
            let _ = writeln!(text, "{name} = {value}  # {}", self.origin(effective));
        }
        text
    }

    /// As JSON: `{"file":...,"values":[{"key":...,"value":...,"from":...}]}`.
    #[must_use]
    pub fn to_json(&self) -> Json {
        let value = |e: &Effective| json!({"key": e.path, "value": json(&e.value), "from": self.origin(e)});
        json!({"file": self.file.to_string_lossy(), "values": self.values.iter().map(value).collect::<Vec<_>>()})
    }

    fn origin(&self, effective: &Effective) -> String {
        match &effective.origin {
            Origin::File { line, column } => format!("{}:{line}:{column}", self.file.display()),
            Origin::Environment(name) => name.clone(),
            Origin::Default => "default".to_owned(),
        }
    }
}

fn header(section: &str) -> String {
    match section.split_once('[') {
        Some((name, _)) => format!("\n[[{name}]]\n"),
        None => format!("\n[{section}]\n"),
    }
}

fn toml(value: &Value) -> String {
    match value {
        Value::Boolean(truth) => truth.to_string(),
        Value::Integer(number) => number.to_string(),
        Value::Number(number) => number.to_string(),
        Value::Networks(list) => {
            toml::Value::from(list.iter().map(ToString::to_string).collect::<Vec<_>>()).to_string()
        }
        Value::Texts(list) => toml::Value::from(list.clone()).to_string(),
        text => toml::Value::from(as_text(text)).to_string(),
    }
}

fn json(value: &Value) -> Json {
    match value {
        Value::Boolean(truth) => json!(truth),
        Value::Integer(number) => json!(number),
        Value::Number(number) => json!(number),
        Value::Networks(list) => json!(list.iter().map(ToString::to_string).collect::<Vec<_>>()),
        Value::Texts(list) => json!(list),
        text => json!(as_text(text)),
    }
}

fn as_text(value: &Value) -> String {
    match value {
        Value::Text(text) => text.clone(),
        Value::Duration(duration) => show_duration(*duration),
        Value::Address(address) => address.to_string(),
        Value::Access(target) => target.to_string(),
        other => format!("{other:?}"),
    }
}
