//! Reads app documents from a file or a folder of files: for `kind = "file"`, and for the small orchestrator.
//!
//! It owns what every file held when it was last whole. A file that is half-written, unreadable or no JSON keeps what
//! it held before, and is reported; so an editor at work, a full disk or a wrong permission never looks like a delete.
//! It does not judge documents: it finds them. All calls block (see `source` for the asynchronous side).

mod entries;
mod parse;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, HashMap},
    fs, io,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use routing_cache::{limits::Limits, model::AppId};

use self::{
    entries::{Entry, Fingerprint},
    parse::Contents,
};

/// Files that are not whole and problems that are reported one by one; more are only counted.
const MAX_REPORTED: usize = 100;

/// What an app's document was found to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Document {
    /// JSON, without the whitespace between its tokens, so that it fits on one line and a new indent is no change.
    Whole(Bytes),
    /// Not JSON: what the file holds, and why it cannot be read.
    Torn(Bytes, String),
}

/// What a file or folder holds.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    /// Each app once.
    pub apps: BTreeMap<AppId, Document>,
    /// Files that are not whole, with the reason. They may hold apps that are not in `apps`.
    pub broken: Vec<String>,
    /// What was passed over for good: a name that is no app id, an app that another file has already.
    pub problems: Vec<String>,
}

impl Reading {
    /// Why apps that are not in it may exist all the same; `None` when they cannot.
    #[must_use]
    pub fn partial(&self) -> Option<String> {
        let first = self.broken.first()?;
        let rest = self.broken.len() - 1;
        Some(if rest == 0 { first.clone() } else { format!("{first}, and {rest} more") })
    }

    fn put(&mut self, id: &AppId, document: Document, file: &Path) {
        if self.apps.contains_key(id) {
            return note(&mut self.problems, format!("{}: app {id} is in another file already", file.display()));
        }
        self.apps.insert(id.clone(), document);
    }
}

/// Why nothing could be read at all. It says nothing about any app.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It is not there, may not be read, or broke off while it was listed.
    #[error("{}: {error}", path.display())]
    Io {
        /// What was to be read.
        path: PathBuf,
        /// Why it was not.
        #[source]
        error: io::Error,
    },
    /// All files together are over the limit.
    #[error("holds more than {limit} {unit}")]
    TooLarge {
        /// The limit.
        limit: u64,
        /// `bytes` or `apps`.
        unit: &'static str,
    },
    /// The file system has not answered yet.
    #[error("the file system does not answer")]
    Slow,
}

/// A file or a folder, and what its files held when they were last whole.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    limits: Limits,
    files: HashMap<PathBuf, Known>,
}

/// What is known of one file.
#[derive(Clone, Debug)]
struct Known {
    /// `None`: it was changed so lately that a further change might not show.
    fingerprint: Option<Fingerprint>,
    contents: Contents,
}

impl Folder {
    /// The file or folder at `path`. Nothing is read yet.
    #[must_use]
    pub fn new(path: PathBuf, limits: Limits) -> Self {
        Self { path, limits, files: HashMap::new() }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it can be read now; cheap.
    ///
    /// # Errors
    /// When it is not there or may not be read.
    pub fn probe(&self) -> Result<(), ReadError> {
        let metadata = fs::metadata(&self.path).map_err(|error| self.io(error))?;
        let opened =
            if metadata.is_dir() { fs::read_dir(&self.path).map(drop) } else { fs::File::open(&self.path).map(drop) };
        opened.map_err(|error| self.io(error))
    }

    /// Reads what has changed since the last time, and returns everything.
    ///
    /// # Errors
    /// When it is not there, cannot be listed, or is over a limit. What is known stays known.
    pub fn read(&mut self) -> Result<Reading, ReadError> {
        let entries = entries::list(&self.path).map_err(|error| self.io(error))?;
        let mut reading = Reading::default();
        let mut seen = HashMap::with_capacity(entries.len());
        for entry in entries {
            if let Some(known) = self.read_file(&entry, &mut reading) {
                seen.insert(entry.path, known);
            }
            self.check_size(&reading)?;
        }
        self.check_bytes(&reading)?;
        self.files = seen;
        Ok(reading)
    }

    /// Puts a file's apps into `reading`; returns what is to be remembered of it.
    fn read_file(&self, entry: &Entry, reading: &mut Reading) -> Option<Known> {
        let known = self.files.get(&entry.path);
        let stem = match entry.app_id() {
            Ok(stem) => stem,
            Err(why) => {
                note(&mut reading.problems, format!("{}: {why}", entry.path.display()));
                return None;
            }
        };
        if let Some(known) = known.filter(|k| k.fingerprint.is_some() && k.fingerprint == entry.fingerprint) {
            carry(known, entry, reading);
            return Some(known.clone());
        }
        match entry.read(self.limits.snapshot_bytes) {
            Ok(bytes) => self.take(entry, &stem, Bytes::from(bytes), reading),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => broken(known, entry, &error.to_string(), reading),
        }
    }

    fn take(&self, entry: &Entry, stem: &AppId, bytes: Bytes, reading: &mut Reading) -> Option<Known> {
        match parse::file(stem, &bytes) {
            Ok(contents) => {
                let known = Known { fingerprint: entry.fingerprint.clone(), contents };
                carry(&known, entry, reading);
                Some(known)
            }
            Err(why) => self.torn(entry, stem, (bytes, why), reading),
        }
    }

    /// A file that is no JSON: the invalid document of one app where that is what it was before, or may be; else what
    /// it held before.
    fn torn(&self, entry: &Entry, stem: &AppId, torn: (Bytes, String), reading: &mut Reading) -> Option<Known> {
        let known = self.files.get(&entry.path);
        let (bytes, why) = torn;
        let is_bare = known.is_some_and(|k| k.contents.bare);
        if is_bare || (known.is_none() && parse::looks_bare(&bytes)) {
            reading.put(stem, Document::Torn(bytes, why.clone()), &entry.path);
        }
        if is_bare {
            return known.map(|k| Known { fingerprint: None, contents: k.contents.clone() });
        }
        broken(known, entry, &why, reading)
    }

    fn check_size(&self, reading: &Reading) -> Result<(), ReadError> {
        let limit = self.limits.snapshot_apps;
        if reading.apps.len() as u64 > limit { Err(ReadError::TooLarge { limit, unit: "apps" }) } else { Ok(()) }
    }

    fn check_bytes(&self, reading: &Reading) -> Result<(), ReadError> {
        let limit = self.limits.snapshot_bytes;
        let size = |d: &Document| match d {
            Document::Whole(bytes) | Document::Torn(bytes, _) => bytes.len() as u64,
        };
        let bytes: u64 = reading.apps.values().map(size).sum();
        if bytes > limit { Err(ReadError::TooLarge { limit, unit: "bytes" }) } else { Ok(()) }
    }

    fn io(&self, error: io::Error) -> ReadError {
        ReadError::Io { path: self.path.clone(), error }
    }
}

/// Puts what a file is known to hold into `reading`.
fn carry(known: &Known, entry: &Entry, reading: &mut Reading) {
    for (id, document) in &known.contents.apps {
        reading.put(id, Document::Whole(document.clone()), &entry.path);
    }
}

/// A file that cannot be read keeps what it held, and is read again the next time.
fn broken(known: Option<&Known>, entry: &Entry, why: &str, reading: &mut Reading) -> Option<Known> {
    note(&mut reading.broken, format!("{}: {why}", entry.path.display()));
    let known = Known { fingerprint: None, contents: known?.contents.clone() };
    carry(&known, entry, reading);
    Some(known)
}

fn note(notes: &mut Vec<String>, text: String) {
    if notes.len() < MAX_REPORTED {
        notes.push(text);
    }
}
