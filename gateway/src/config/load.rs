//! From a path and an environment to a configuration, or all that is wrong with it.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use super::{Config, ConfigErrors, build, source::PREFIX, source::Source, values, values::Values};

/// Where the configuration is when nobody says.
pub const DEFAULT_FILE: &str = "/etc/holdgate/holdgate.toml";
/// The largest file that is read: one written by people has a few kilobytes.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// A configuration, with where its values come from.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// The file it was read from.
    pub file: PathBuf,
    pub(super) values: Values,
}

/// The variables of this process that concern the configuration. One that is not Unicode is taken with replacements, so
/// that it is an error rather than unseen.
pub fn environment() -> impl Iterator<Item = (String, String)> {
    let text = |os: std::ffi::OsString| os.to_string_lossy().into_owned();
    std::env::vars_os().map(move |(name, value)| (text(name), text(value))).filter(|(name, _)| name.starts_with(PREFIX))
}

impl Config {
    /// Loads the file at `path` (or [`DEFAULT_FILE`]) and lays the variables of `env` that begin with `HOLDGATE_` over it.
    ///
    /// # Errors
    /// When the file or a token file it names cannot be read, or anything in it is wrong; all errors are in it.
    pub fn load(path: Option<&Path>, env: impl Iterator<Item = (String, String)>) -> Result<Loaded, ConfigErrors> {
        let file = path.unwrap_or(Path::new(DEFAULT_FILE));
        let text = read(file, path.is_none())?;
        Self::parse(file, &text, env)
    }

    /// The same for a text; `file` is what errors call it.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn parse(file: &Path, text: &str, env: impl Iterator<Item = (String, String)>) -> Result<Loaded, ConfigErrors> {
        let mut source = Source::read(text, env);
        let mut errors = std::mem::take(&mut source.errors);
        if source.misread {
            return Err(ConfigErrors::new(file, text, errors));
        }
        let mut values = values::check(&source, &mut errors);
        let config = build::config(&mut values, &mut errors);
        match config {
            Some(config) if errors.is_empty() => Ok(Loaded { config, file: file.to_owned(), values }),
            _ => Err(ConfigErrors::new(file, text, errors)),
        }
    }
}

fn read(file: &Path, is_default: bool) -> Result<String, ConfigErrors> {
    let bytes = read_bounded(file, MAX_FILE_BYTES).map_err(|error| unreadable(file, is_default, &error))?;
    String::from_utf8(bytes).map_err(|error| {
        let line = error.as_bytes().iter().take(error.utf8_error().valid_up_to()).filter(|b| **b == b'\n').count() + 1;
        ConfigErrors::of_file(file, format!("line {line} is not UTF-8"), "save the file as UTF-8")
    })
}

/// Reads a file of at most `limit` bytes.
pub(super) fn read_bounded(file: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(file)?.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("is over {limit} bytes")));
    }
    Ok(bytes)
}

fn unreadable(file: &Path, is_default: bool, error: &io::Error) -> ConfigErrors {
    let help = match error.kind() {
        io::ErrorKind::NotFound if is_default => {
            "name one with `--config FILE`; or try `holdgate demo`, which needs none"
        }
        io::ErrorKind::NotFound => "is the path right? deploy/holdgate.toml is an example to start from",
        io::ErrorKind::PermissionDenied => "run it as a user that may read the file",
        _ => "name a readable TOML file with `--config FILE`",
    };
    ConfigErrors::of_file(file, format!("the configuration cannot be read: {error}"), help)
}
