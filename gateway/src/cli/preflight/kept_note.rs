//! The note in the unit's runtime folder that systemd keeps a table. What is asked before a start is given no descriptors, and
//! would not know.
//!
//! The folder lives as long as what systemd keeps: `RuntimeDirectoryPreserve=restart` has it removed where the descriptor store
//! is given up. The note is there before a table is stored, and goes after it was taken out. So it may stand for a table that
//! is not there, and never is missing for one that is: a start that was passed none removes it.

use std::{env, fs, io, path::PathBuf};

/// The note's name.
const FILE: &str = "kept-table";

/// The note, or none where the service has no runtime folder.
#[derive(Clone, Debug)]
pub struct KeptNote(Option<PathBuf>);

impl KeptNote {
    /// The one of this service.
    #[must_use]
    pub fn of_environment() -> Self {
        Self::within(env::var_os("RUNTIME_DIRECTORY").map(PathBuf::from))
    }

    /// The one of the service with this runtime folder.
    #[must_use]
    pub fn within(folder: Option<PathBuf>) -> Self {
        Self(folder.map(|folder| folder.join(FILE)))
    }

    /// Whether systemd keeps a table, or is about to.
    #[must_use]
    pub fn is_there(&self) -> bool {
        self.0.as_deref().is_some_and(|path| fs::exists(path).unwrap_or(false))
    }

    /// What tables are called that systemd may keep; `None` where that is not known.
    #[must_use]
    pub fn names(&self) -> Option<Vec<String>> {
        match fs::read_to_string(self.0.as_deref()?) {
            Ok(text) => Some(text.lines().map(str::to_owned).collect()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Some(Vec::new()),
            Err(_) => None,
        }
    }

    /// Notes under which names there may be one.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn write(&self, names: &[&str]) -> io::Result<()> {
        self.0.as_deref().map_or(Ok(()), |path| fs::write(path, names.join("\n")))
    }

    /// None is kept any more.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn remove(&self) -> io::Result<()> {
        match self.0.as_deref().map_or(Ok(()), fs::remove_file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_noted_is_known_until_it_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let note = KeptNote::within(Some(folder.path().to_owned()));
        assert!(!note.is_there());
        assert_eq!(note.names(), Some(Vec::new()), "none is kept");
        note.write(&["a", "b"]).unwrap();
        assert!(note.is_there());
        assert_eq!(note.names(), Some(vec!["a".to_owned(), "b".to_owned()]));
        note.remove().unwrap();
        note.remove().unwrap();
        assert!(!note.is_there());
    }

    #[test]
    fn a_service_without_a_runtime_folder_notes_nothing_and_knows_nothing() {
        let note = KeptNote::within(None);
        note.write(&["a"]).unwrap();
        note.remove().unwrap();
        assert!(!note.is_there());
        assert_eq!(note.names(), None);
    }
}
