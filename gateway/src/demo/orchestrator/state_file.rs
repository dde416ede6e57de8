//! What the small orchestrator keeps over its restarts: the epoch, the generation and every app's rev.
//!
//! Written by stage, fsync and rename, so that it is whole at every instant. It reserves generations in advance: those
//! up to `reserved` may have been told to gateways by the time the process ends, so the next one starts above them.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, BufWriter, Read, Write},
    path::{Path, PathBuf},
};

use routing_cache::model::{AppId, Digest, Generation, Rev};
use serde::{Deserialize, Serialize};

/// The file in the folder of apps; hidden, so it is no app.
pub(super) const FILE_NAME: &str = ".holdgate-orchestrator.json";
/// Two million apps with the longest ids fit.
const MAX_BYTES: u64 = 1 << 30;

/// An app in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SavedApp {
    pub(super) rev: Rev,
    pub(super) digest: Digest,
}

/// What is in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Saved {
    pub(super) epoch: String,
    pub(super) generation: Generation,
    pub(super) reserved: Generation,
    pub(super) apps: BTreeMap<AppId, SavedApp>,
}

/// The file's form: an app is its rev and its digest.
#[derive(Deserialize, Serialize)]
struct Form {
    epoch: String,
    generation: u64,
    reserved: u64,
    apps: BTreeMap<String, (u64, String)>,
}

/// Where it is.
#[derive(Clone, Debug)]
pub(super) struct StateFile(PathBuf);

impl StateFile {
    /// `path`, or the default in the folder of apps.
    pub(super) fn new(path: Option<PathBuf>, apps: &Path) -> Self {
        Self(path.unwrap_or_else(|| apps.join(FILE_NAME)))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// What is there; `None` when there is no file.
    pub(super) fn load(&self) -> io::Result<Option<Saved>> {
        let file = match File::open(&self.0) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut bytes = Vec::new();
        file.take(MAX_BYTES).read_to_end(&mut bytes)?;
        let form: Form = serde_json::from_slice(&bytes)?;
        Saved::try_from(form).map(Some)
    }

    /// Replaces it.
    pub(super) fn save(&self, saved: &Saved) -> io::Result<()> {
        let folder = match self.0.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let mut staged = BufWriter::new(tempfile::NamedTempFile::new_in(folder)?);
        serde_json::to_writer(&mut staged, &Form::from(saved))?;
        staged.flush()?;
        let staged = staged.into_inner().map_err(io::IntoInnerError::into_error)?;
        staged.as_file().sync_all()?;
        staged.persist(&self.0)?;
        fs::File::open(folder)?.sync_all()
    }
}

impl From<&Saved> for Form {
    fn from(saved: &Saved) -> Self {
        let app = |(id, app): (&AppId, &SavedApp)| (id.as_str().to_owned(), (app.rev.0, app.digest.to_string()));
        Self {
            epoch: saved.epoch.clone(),
            generation: saved.generation.0,
            reserved: saved.reserved.0,
            apps: saved.apps.iter().map(app).collect(),
        }
    }
}

impl TryFrom<Form> for Saved {
    type Error = io::Error;

    fn try_from(form: Form) -> io::Result<Self> {
        let app = |(id, (rev, digest)): (String, (u64, String))| {
            let id = AppId::new(&id).map_err(io::Error::other)?;
            let digest = digest.parse().map_err(io::Error::other)?;
            Ok((id, SavedApp { rev: Rev(rev), digest }))
        };
        Ok(Self {
            epoch: form.epoch,
            generation: Generation(form.generation),
            reserved: Generation(form.reserved.max(form.generation)),
            apps: form.apps.into_iter().map(app).collect::<io::Result<_>>()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_saved_is_loaded_and_no_other_file_is_left() {
        let dir = tempfile::tempdir().unwrap();
        let file = StateFile::new(None, dir.path());
        assert_eq!(file.load().unwrap(), None);
        let app = (AppId::new("blog").unwrap(), SavedApp { rev: Rev(7), digest: Digest(u128::MAX) });
        let saved = Saved { epoch: "e".into(), generation: Generation(7), reserved: Generation(9), apps: [app].into() };
        file.save(&saved).unwrap();
        file.save(&saved).unwrap();
        assert_eq!(file.load().unwrap(), Some(saved));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_damaged_file_is_an_error_and_no_empty_state() {
        let dir = tempfile::tempdir().unwrap();
        let file = StateFile::new(None, dir.path());
        for text in ["", "{", r#"{"epoch":"e","generation":1,"reserved":2,"apps":{"x":[1,"zz"]}}"#] {
            fs::write(file.path(), text).unwrap();
            assert!(file.load().is_err(), "{text:?}");
        }
    }
}
