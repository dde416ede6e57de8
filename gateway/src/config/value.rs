//! One value: from what stands in the file or the environment to what it means, or why it cannot.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    ops::Range,
    path::PathBuf,
    time::Duration,
};

use ipnet::IpNet;
use routing_cache::model::parse_duration;
use toml::de::DeValue;

use super::{AccessLogTarget, ListenAddress, error::quoted_list, keys::Kind, suggest::nearest};

/// The longest path of a Unix socket, in bytes. Source: unix(7), sun_path is 108 bytes with its NUL.
const MAX_UNIX_PATH_BYTES: usize = 107;
/// The longest name of a listener, in bytes: it is repeated in every metric and log line.
const MAX_NAME_BYTES: usize = 64;

/// A value as it was written.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Raw {
    Text(String),
    /// `None`: it does not even fit 128 bits.
    Integer(Option<i128>),
    Float(f64),
    Boolean(bool),
    /// Each element with where it stands.
    List(Vec<(Self, Range<usize>)>),
    /// A table or a date, which no key takes.
    Other(&'static str),
}

/// A checked value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Text(String),
    Address(ListenAddress),
    Boolean(bool),
    Integer(u64),
    Number(f64),
    Duration(Duration),
    Networks(Vec<IpNet>),
    Texts(Vec<String>),
    Access(AccessLogTarget),
}

/// Why a value cannot be.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Wrong {
    /// What is wrong with it.
    pub(super) message: String,
    /// What would be right.
    pub(super) help: Option<String>,
    /// The element that is wrong, where it is one of a list.
    pub(super) at: Option<Range<usize>>,
}

impl Wrong {
    fn new(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { message: message.into(), help: Some(help.into()), at: None }
    }
}

impl Raw {
    /// The value of a parsed TOML document.
    pub(super) fn of(value: &DeValue<'_>) -> Self {
        match value {
            DeValue::String(text) => Self::Text(text.to_string()),
            DeValue::Integer(number) => Self::Integer(i128::from_str_radix(number.as_str(), number.radix()).ok()),
            DeValue::Float(number) => Self::Float(number.as_str().parse().unwrap_or(f64::NAN)),
            DeValue::Boolean(truth) => Self::Boolean(*truth),
            DeValue::Array(list) => Self::List(list.iter().map(|v| (Self::of(v.get_ref()), v.span())).collect()),
            DeValue::Datetime(_) => Self::Other("a date"),
            DeValue::Table(_) => Self::Other("a table"),
        }
    }

    /// The value of an environment variable for a key of this kind. Texts are taken as they are, lists may be
    /// separated by commas, everything else is TOML.
    pub(super) fn of_variable(text: &str, kind: Kind) -> Self {
        let list = matches!(kind, Kind::Networks | Kind::Texts);
        if list && !text.trim_start().starts_with('[') {
            let parts = text.split(',').map(str::trim).filter(|p| !p.is_empty());
            return Self::List(parts.map(|p| (Self::Text(p.to_owned()), 0..0)).collect());
        }
        let toml = list || matches!(kind, Kind::Boolean | Kind::Integer { .. } | Kind::Percent);
        let parsed = if toml { DeValue::parse(text).ok() } else { None };
        parsed.map_or_else(|| Self::Text(text.to_owned()), |value| Self::of(value.get_ref()))
    }

    fn type_name(&self) -> &'static str {
        match self {
            Self::Text(_) => "text",
            Self::Integer(_) => "a whole number",
            Self::Float(_) => "a number with a fraction",
            Self::Boolean(_) => "true or false",
            Self::List(_) => "a list",
            Self::Other(name) => name,
        }
    }
}

impl Kind {
    /// Checks a value.
    pub(super) fn check(self, raw: &Raw) -> Result<Value, Wrong> {
        match (self, raw) {
            (Self::Unsupported, _) => Err(unsupported()),
            (Self::Boolean, Raw::Boolean(truth)) => Ok(Value::Boolean(*truth)),
            (Self::Integer { min, max }, Raw::Integer(number)) => integer(*number, min, max),
            (Self::Percent, Raw::Integer(Some(number))) => percent(*number as f64),
            (Self::Percent, Raw::Float(number)) => percent(*number),
            (Self::Networks, Raw::List(list)) => elements(list, network).map(Value::Networks),
            (Self::Texts, Raw::List(list)) => elements(list, |text| Ok(text.to_owned())).map(Value::Texts),
            (_, Raw::Text(text)) if self.takes_text() => self.check_text(text),
            _ => Err(Wrong::new(format!("is {}", raw.type_name()), format!("give {}", self.expected()))),
        }
    }

    fn takes_text(self) -> bool {
        !matches!(self, Self::Boolean | Self::Integer { .. } | Self::Percent | Self::Networks | Self::Texts)
    }

    fn check_text(self, text: &str) -> Result<Value, Wrong> {
        match self {
            Self::Duration { min, max } => duration(text, min, max).map(Value::Duration),
            Self::Address => address(text).map(Value::Address),
            Self::Access => access(text).map(Value::Access),
            _ => self.check_word(text).map(|()| Value::Text(text.to_owned())),
        }
    }

    /// Checks a text that stays one.
    fn check_word(self, text: &str) -> Result<(), Wrong> {
        let accepted = match self {
            Self::Name => is_name(text),
            Self::Folder => !text.is_empty() && !text.contains('\0'),
            Self::Url => text.is_empty() || is_url(text),
            Self::OneOf { now, later } => return one_of(text, now, later),
            Self::Level => is_level(text),
            _ => !text.contains('\0'),
        };
        if accepted { Ok(()) } else { Err(self.wrong_text(text)) }
    }

    fn wrong_text(self, text: &str) -> Wrong {
        Wrong::new(format!("is {text:?}"), format!("give {}", self.expected()))
    }

    /// What it takes, in words.
    pub(super) fn expected(self) -> String {
        match self {
            Self::Text => "text in quotes".to_owned(),
            Self::Name => format!("1 to {MAX_NAME_BYTES} letters, digits, `.`, `_` or `-`"),
            Self::Folder | Self::File => "a path in quotes".to_owned(),
            Self::Url => "an http:// or https:// URL without user name and password".to_owned(),
            Self::Address => r#""IP:PORT", "[IPv6]:PORT" or "unix:/PATH""#.to_owned(),
            Self::OneOf { now, .. } => quoted_list(now),
            Self::Boolean => "true or false, without quotes".to_owned(),
            Self::Integer { min, max } if max == i64::MAX as u64 => format!("a whole number of at least {min}"),
            Self::Integer { min, max } => format!("a whole number from {min} to {max}"),
            Self::Percent => "a number from 0 to 100".to_owned(),
            Self::Duration { .. } => r#"a whole number and a unit (ms, s, m, h) in quotes, as in "10s""#.to_owned(),
            Self::Networks => r#"a list of networks, as in ["10.0.0.0/8", "192.0.2.7"]"#.to_owned(),
            Self::Texts => r#"a list of texts, as in ["edge.example.com"]"#.to_owned(),
            Self::Level => {
                r#""error", "warn", "info", "debug", "trace", "off", or a list as in "info,gateway::proxy=debug""#
                    .to_owned()
            }
            Self::Access => r#""off", "stdout", a file's path (with a `/`) or "unix:/PATH""#.to_owned(),
            Self::Unsupported => "nothing".to_owned(),
        }
    }
}

fn unsupported() -> Wrong {
    Wrong::new("is not supported by this version", "remove it")
}

fn integer(number: Option<i128>, min: u64, max: u64) -> Result<Value, Wrong> {
    let fits = number.and_then(|n| u64::try_from(n).ok()).filter(|n| (min..=max).contains(n));
    let shown = number.map_or_else(|| "too large".to_owned(), |n| n.to_string());
    fits.map(Value::Integer)
        .ok_or_else(|| Wrong::new(format!("is {shown}"), format!("give {}", Kind::Integer { min, max }.expected())))
}

fn percent(number: f64) -> Result<Value, Wrong> {
    if (0.0..=100.0).contains(&number) {
        return Ok(Value::Number(number));
    }
    Err(Wrong::new(format!("is {number}"), format!("give {}", Kind::Percent.expected())))
}

fn elements<T>(list: &[(Raw, Range<usize>)], read: fn(&str) -> Result<T, Wrong>) -> Result<Vec<T>, Wrong> {
    let element = |(raw, at): &(Raw, Range<usize>)| match raw {
        Raw::Text(text) => read(text).map_err(|wrong| Wrong { at: Some(at.clone()), ..wrong }),
        other => {
            let wrong = Wrong::new(format!("holds {}", other.type_name()), "give texts in quotes");
            Err(Wrong { at: Some(at.clone()), ..wrong })
        }
    };
    list.iter().map(element).collect()
}

fn network(text: &str) -> Result<IpNet, Wrong> {
    let address = || text.parse::<IpAddr>().map(IpNet::from);
    text.parse()
        .or_else(|_| address())
        .map_err(|_| Wrong::new(format!("holds {text:?}"), r#"give a network, as in "10.0.0.0/8", or an address"#))
}

fn duration(text: &str, min: Duration, max: Duration) -> Result<Duration, Wrong> {
    let kind = Kind::Duration { min, max };
    let value = parse_duration(text).map_err(|_| kind.wrong_text(text))?;
    if (min..=max).contains(&value) {
        return Ok(value);
    }
    let (min, max) = (show_duration(min), show_duration(max));
    Err(Wrong::new(format!("is {text:?}"), format!("give a duration from {min} to {max}")))
}

/// A duration as it is written: the largest unit that leaves a whole number.
pub(super) fn show_duration(duration: Duration) -> String {
    let millis = duration.as_millis();
    let units = [("h", 3_600_000), ("m", 60_000), ("s", 1000)];
    let unit = units.iter().find(|(_, size)| millis >= *size && millis.is_multiple_of(*size));
    match unit {
        _ if millis == 0 => "0s".to_owned(),
        Some((unit, size)) => format!("{}{unit}", millis / size),
        None => format!("{millis}ms"),
    }
}

fn address(text: &str) -> Result<ListenAddress, Wrong> {
    let socket = |path| unix_path(path).map(ListenAddress::Unix);
    let tcp = || text.parse::<SocketAddr>().ok().map(ListenAddress::Tcp);
    text.strip_prefix("unix:").map_or_else(tcp, socket).ok_or_else(|| Kind::Address.wrong_text(text))
}

fn unix_path(path: &str) -> Option<PathBuf> {
    let accepted = path.starts_with('/') && path.len() <= MAX_UNIX_PATH_BYTES && !path.contains('\0');
    accepted.then(|| PathBuf::from(path))
}

fn access(text: &str) -> Result<AccessLogTarget, Wrong> {
    if let Some(path) = text.strip_prefix("unix:") {
        return unix_path(path).map(AccessLogTarget::Unix).ok_or_else(|| Kind::Access.wrong_text(text));
    }
    match text {
        "off" => Ok(AccessLogTarget::Off),
        "stdout" => Ok(AccessLogTarget::Stdout),
        path if path.contains('/') && !path.contains('\0') => Ok(AccessLogTarget::File(PathBuf::from(path))),
        _ => Err(Kind::Access.wrong_text(text)),
    }
}

fn is_name(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    (1..=MAX_NAME_BYTES).contains(&text.len()) && text.bytes().all(allowed)
}

/// Credentials in a URL end up in logs and status, so they are refused: a token has its own file.
fn is_url(text: &str) -> bool {
    let Ok(url) = text.parse::<http::Uri>() else { return false };
    let scheme = matches!(url.scheme_str(), Some("http" | "https"));
    scheme && url.authority().is_some_and(|a| !a.as_str().contains('@') && !a.host().is_empty())
}

fn one_of(text: &str, now: &[&str], later: &[&str]) -> Result<(), Wrong> {
    if now.contains(&text) {
        return Ok(());
    }
    let right = format!("give {}", quoted_list(now));
    if later.contains(&text) {
        return Err(Wrong::new(format!("is {text:?}, which is not supported by this version"), right));
    }
    let near = nearest(text, now.iter().copied()).map(|word| format!("did you mean \"{word}\"? "));
    Err(Wrong::new(format!("is {text:?}"), near.unwrap_or_default() + &right))
}

/// The filter's own parser takes a mistyped level for the name of a target, so levels are looked at here first.
pub(crate) fn is_level(text: &str) -> bool {
    let level = |word: &str| ["error", "warn", "info", "debug", "trace", "off"].contains(&word);
    let directive = |part: &str| part.rsplit_once('=').map_or_else(|| level(part), |(_, word)| level(word));
    text.split(',').all(directive) && tracing_subscriber::EnvFilter::try_new(text).is_ok()
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl fmt::Display for AccessLogTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("off"),
            Self::Stdout => f.write_str("stdout"),
            Self::File(path) => path.display().fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}
