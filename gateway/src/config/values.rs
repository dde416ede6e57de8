//! Every key with its checked value and where it comes from: given, or its default.

use std::time::Duration;

use ipnet::IpNet;

use super::{
    AccessLogTarget, ListenAddress,
    error::{ConfigError, Place},
    keys::{KEYS, Key, Kind},
    source::{Origin, Source},
    value::{Raw, Value, Wrong},
};

/// One effective value.
#[derive(Clone, Debug)]
pub(super) struct Effective {
    pub(super) key: &'static Key,
    /// `listener[0].address`
    pub(super) path: String,
    pub(super) value: Value,
    pub(super) origin: Origin,
    pub(super) place: Place,
}

/// The effective values, in the order of the table of keys.
#[derive(Clone, Debug, Default)]
pub(super) struct Values {
    all: Vec<Effective>,
    pub(super) listeners: usize,
}

/// Checks everything that was given and adds the defaults. A value that is wrong is an error and its default stands in,
/// so that checking can go on.
pub(super) fn check(source: &Source, errors: &mut Vec<ConfigError>) -> Values {
    let mut values = Values { all: Vec::new(), listeners: source.listeners.len() };
    let mut sections: Vec<&str> = KEYS.iter().map(Key::section).collect();
    sections.dedup();
    for section in sections {
        let instances = if section.ends_with("[]") { source.listeners.len() } else { 1 };
        for index in 0..instances {
            for key in KEYS.iter().filter(|key| key.section() == section) {
                let path = key.path.replace("[]", &format!("[{index}]"));
                values.all.extend(effective(source, key, path, errors));
            }
        }
    }
    values
}

fn effective(source: &Source, key: &'static Key, path: String, errors: &mut Vec<ConfigError>) -> Option<Effective> {
    let Some(setting) = source.settings.get(&path) else { return default(source, key, path, errors) };
    match key.kind.check(&setting.raw) {
        Ok(value) => {
            let (origin, place) = (setting.origin.clone(), setting.place.clone());
            Some(Effective { key, path, value, origin, place })
        }
        Err(wrong) => {
            errors.push(error(&setting.place, &path, wrong));
            default_value(key).map(|value| of_default(key, path, value))
        }
    }
}

fn default(source: &Source, key: &'static Key, path: String, errors: &mut Vec<ConfigError>) -> Option<Effective> {
    if let Some(value) = default_value(key) {
        return Some(of_default(key, path, value));
    }
    if key.kind != Kind::Unsupported {
        let section = path.strip_prefix("listener[").and_then(|rest| rest.split_once(']')?.0.parse::<usize>().ok());
        let place = section.and_then(|index| source.listeners.get(index)).cloned().unwrap_or(Place::Whole);
        let help = Some(format!("give {}", key.kind.expected()));
        errors.push(ConfigError { place, message: format!("`{path}` is missing"), help });
    }
    None
}

fn of_default(key: &'static Key, path: String, value: Value) -> Effective {
    Effective { key, path, value, origin: Origin::Default, place: Place::Whole }
}

/// The default of a key; a test shows that each is valid.
pub(super) fn default_value(key: &Key) -> Option<Value> {
    let default = toml::de::DeValue::parse(key.default?).ok()?;
    key.kind.check(&Raw::of(default.get_ref())).ok()
}

fn error(place: &Place, path: &str, wrong: Wrong) -> ConfigError {
    let place = match (place, wrong.at) {
        (Place::File(_), Some(element)) => Place::File(element),
        _ => place.clone(),
    };
    ConfigError { place, message: format!("`{path}` {}", wrong.message), help: wrong.help }
}

/// Makes the accessors. The table of keys says what each path holds, so a mismatch is a bug of ours, which the test that
/// builds the defaults finds; `Default` then keeps the process alive.
macro_rules! accessors {
    ($($name:ident: $variant:ident -> $type:ty;)*) => {
        $(pub(super) fn $name(&self, path: &str) -> $type {
            match self.find(path).map(|effective| &effective.value) {
                Some(Value::$variant(value)) => value.clone(),
                other => {
                    // What must be given may lack; that has been reported.
                    debug_assert!(other.is_none() && path.starts_with("listener["), "invariant: {path} holds {other:?}");
                    <$type>::default()
                }
            }
        })*
    };
}

impl Values {
    accessors! {
        text: Text -> String;
        boolean: Boolean -> bool;
        number: Number -> f64;
        duration: Duration -> Duration;
        networks: Networks -> Vec<IpNet>;
        texts: Texts -> Vec<String>;
        whole: Integer -> u64;
    }

    /// A whole number as the type that is used; the range in the table of keys makes it fit.
    pub(super) fn integer<T: TryFrom<u64> + Default>(&self, path: &str) -> T {
        let value = T::try_from(self.whole(path));
        debug_assert!(value.is_ok(), "invariant: the range of {path} fits its type");
        value.unwrap_or_default()
    }

    /// `None`: it must be given and was not, or was wrong.
    pub(super) fn address(&self, path: &str) -> Option<ListenAddress> {
        match self.find(path).map(|e| &e.value) {
            Some(Value::Address(address)) => Some(address.clone()),
            _ => None,
        }
    }

    pub(super) fn access(&self, path: &str) -> AccessLogTarget {
        match self.find(path).map(|e| &e.value) {
            Some(Value::Access(target)) => target.clone(),
            _ => AccessLogTarget::Off,
        }
    }

    pub(super) fn find(&self, path: &str) -> Option<&Effective> {
        self.all.iter().find(|effective| effective.path == path)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Effective> {
        self.all.iter()
    }

    /// Where a value was given; the whole where it was not.
    pub(super) fn place(&self, path: &str) -> Place {
        self.find(path).map_or(Place::Whole, |effective| effective.place.clone())
    }

    /// Replaces a value that stands for another, such as 0 workers, by what it stands for.
    pub(super) fn resolve(&mut self, path: &str, value: Value) {
        if let Some(effective) = self.all.iter_mut().find(|effective| effective.path == path) {
            effective.value = value;
        }
    }
}
