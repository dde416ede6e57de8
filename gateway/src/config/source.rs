//! What was written: the file and the environment, laid out flat as settings by full name.
//!
//! Names are checked here, values are not: [`super::values`] does that.

use std::{borrow::Cow, collections::BTreeMap};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    error::{ConfigError, Place, line_and_column},
    keys::{self, KEYS, Key},
    suggest::nearest,
    value::Raw,
};

/// What every environment variable of ours begins with.
pub(super) const PREFIX: &str = "HOLDGATE_";
/// The one array of tables.
const LISTENER: &str = "listener";
/// The most listeners there may be; also the bound for the number in a variable's name.
const MAX_LISTENERS: usize = 1000;

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The file, at this line and column (from 1).
    File {
        /// The line.
        line: usize,
        /// The column, in characters.
        column: usize,
    },
    /// This environment variable.
    Environment(String),
    /// Nobody gave it.
    Default,
}

/// A value that somebody gave.
#[derive(Clone, Debug)]
pub(super) struct Setting {
    pub(super) raw: Raw,
    pub(super) origin: Origin,
    pub(super) place: Place,
}

/// Everything that was given.
#[derive(Debug, Default)]
pub(super) struct Source {
    /// By full name, `listener[0].address`.
    pub(super) settings: BTreeMap<String, Setting>,
    /// Where each `[[listener]]` stands.
    pub(super) listeners: Vec<Place>,
    pub(super) errors: Vec<ConfigError>,
    /// The file is not TOML, so what it lacks cannot be told.
    pub(super) misread: bool,
}

impl Source {
    /// Reads the file, then the variables, which win.
    pub(super) fn read(text: &str, variables: impl Iterator<Item = (String, String)>) -> Self {
        let mut source = Self::default();
        let (document, errors) = DeTable::parse_recoverable(text);
        for error in &errors {
            source.syntax(error, text);
        }
        // What follows a syntax error may be misread, so nothing more is said of such a file.
        source.misread = !errors.is_empty();
        if !source.misread {
            source.table(&Position { text, path: "", pattern: "" }, document.get_ref());
        }
        let mut variables: Vec<_> = variables.filter(|(name, _)| name.starts_with(PREFIX)).collect();
        variables.sort_by(|(a, _), (b, _)| variable_order(a).cmp(&variable_order(b)));
        variables.into_iter().for_each(|(name, value)| source.variable(name, &value));
        source
    }

    fn error(&mut self, place: Place, message: impl Into<String>, help: Option<String>) {
        self.errors.push(ConfigError { place, message: message.into(), help });
    }

    fn syntax(&mut self, error: &toml::de::Error, text: &str) {
        let end = text.len();
        let at = error.span().unwrap_or(end..end);
        self.error(Place::File(at), format!("is not TOML: {}", error.message()), None);
    }

    fn table(&mut self, position: &Position<'_>, table: &DeTable<'_>) {
        for (name, value) in table {
            self.entry(position, name, value);
        }
    }

    fn entry(&mut self, position: &Position<'_>, name: &Spanned<Cow<'_, str>>, value: &Spanned<DeValue<'_>>) {
        let path = join(position.path, name.get_ref());
        let pattern = join(position.pattern, name.get_ref());
        if keys::find(&pattern).is_some() {
            let (line, column) = line_and_column(position.text, name.span().start);
            let origin = Origin::File { line, column };
            let setting = Setting { raw: Raw::of(value.get_ref()), origin, place: Place::File(value.span()) };
            self.settings.insert(path, setting);
        } else if pattern == LISTENER {
            self.listeners(position, value);
        } else if KEYS.iter().any(|key| key.section() == pattern) {
            self.section(&Position { path: &path, pattern: &pattern, ..*position }, value);
        } else {
            self.error(
                Place::File(name.span()),
                format!("`{path}` is not a key"),
                suggestion(position.pattern, name.get_ref()),
            );
        }
    }

    fn section(&mut self, position: &Position<'_>, value: &Spanned<DeValue<'_>>) {
        match value.get_ref() {
            DeValue::Table(table) => self.table(position, table),
            other => {
                let message = format!("`{}` is {}, not a table", position.path, other.type_str());
                self.error(Place::File(value.span()), message, Some(format!("write [{}]", position.path)));
            }
        }
    }

    fn listeners(&mut self, position: &Position<'_>, value: &Spanned<DeValue<'_>>) {
        let DeValue::Array(list) = value.get_ref() else {
            let help = Some("write [[listener]], once for each listener".to_owned());
            return self.error(Place::File(value.span()), "`listener` is not a list of tables", help);
        };
        for (index, element) in list.iter().take(MAX_LISTENERS).enumerate() {
            self.listeners.push(Place::File(element.span()));
            let path = format!("{LISTENER}[{index}]");
            self.section(&Position { path: &path, pattern: "listener[]", ..*position }, element);
        }
        if list.len() > MAX_LISTENERS {
            self.error(Place::File(value.span()), format!("there are more than {MAX_LISTENERS} listeners"), None);
        }
    }

    fn variable(&mut self, name: String, text: &str) {
        let Some((path, key)) = variable_key(&name) else {
            let help = unknown_variable(&name);
            let message = format!("{name} is not a variable of Holdgate");
            return self.error(Place::Variable(name), message, Some(help));
        };
        if let Some(index) = listener_index(&path) {
            if index > self.listeners.len() {
                let message = format!("{name} names listener {index}, but there are only {}", self.listeners.len());
                return self.error(Place::Variable(name), message, Some("listeners are counted from 0".to_owned()));
            }
            if index == self.listeners.len() {
                self.listeners.push(Place::Variable(name.clone()));
            }
        }
        let raw = Raw::of_variable(text, key.kind);
        let setting = Setting { raw, origin: Origin::Environment(name.clone()), place: Place::Variable(name) };
        self.settings.insert(path, setting);
    }
}

/// Where the walk is.
#[derive(Clone, Copy)]
struct Position<'a> {
    text: &'a str,
    /// `listener[0]`
    path: &'a str,
    /// `listener[]`
    pattern: &'a str,
}

fn join(section: &str, name: &str) -> String {
    if section.is_empty() { name.to_owned() } else { format!("{section}.{name}") }
}

/// `HOLDGATE_LISTENER__0__ADDRESS` -> `listener[0].address` and its key.
fn variable_key(name: &str) -> Option<(String, &'static Key)> {
    let words: Vec<_> = name.strip_prefix(PREFIX)?.split("__").map(str::to_ascii_lowercase).collect();
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    let (path, pattern) = match words.as_slice() {
        [LISTENER, index, rest @ ..] => {
            let index: usize = index.parse().ok().filter(|index| *index < MAX_LISTENERS)?;
            (format!("{LISTENER}[{index}].{}", rest.join(".")), format!("{LISTENER}[].{}", rest.join(".")))
        }
        words => (words.join("."), words.join(".")),
    };
    keys::find(&pattern).map(|key| (path, key))
}

/// Listeners by number, so that each finds those before it.
fn variable_order(name: &str) -> (Option<usize>, &str) {
    (variable_key(name).and_then(|(path, _)| listener_index(&path)), name)
}

fn listener_index(path: &str) -> Option<usize> {
    path.strip_prefix("listener[")?.split_once(']')?.0.parse().ok()
}

/// The variable that sets a key.
pub(super) fn variable_name(path: &str) -> String {
    format!("{PREFIX}{}", path.replace("[]", "__0").replace('.', "__").to_ascii_uppercase())
}

fn unknown_variable(name: &str) -> String {
    let names: Vec<_> = KEYS.iter().map(|key| variable_name(key.path)).collect();
    if let Some(near) = nearest(name, names.iter().map(String::as_str)) {
        return format!("did you mean {near}?");
    }
    let of_kubernetes = name.starts_with("HOLDGATE_SERVICE_") || name.starts_with("HOLDGATE_PORT");
    if of_kubernetes {
        return "Kubernetes sets it for a service of this name: set enableServiceLinks to false".to_owned();
    }
    "a variable is HOLDGATE_SECTION__KEY, as in HOLDGATE_ORCHESTRATOR__URL".to_owned()
}

/// What may have been meant by a name that is no key: a neighbour, else the same key of another table, else what there is.
fn suggestion(pattern: &str, name: &str) -> Option<String> {
    let here = || KEYS.iter().filter(|key| key.section() == pattern).map(Key::name);
    let sections =
        KEYS.iter().map(|key| key.section().trim_end_matches("[]")).filter(|s| pattern.is_empty() && !s.is_empty());
    if let Some(near) = nearest(name, here().chain(sections)) {
        return Some(format!("did you mean `{near}`?"));
    }
    if let Some(key) = KEYS.iter().find(|key| key.name() == name) {
        return Some(format!("there is `{}`", key.path));
    }
    let names: Vec<_> = here().map(|name| format!("`{name}`")).collect();
    (!pattern.is_empty()).then(|| format!("[{}] has {}", pattern.trim_end_matches("[]"), names.join(", ")))
}
