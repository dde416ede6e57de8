//! The state folder: what is in it, and how a durable file is made.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::disk::{Disk, StagedFile};

use super::{
    SaveError,
    names::{Kind, Name, Place, RUNS, RUNS_STAGED},
};

/// Files of one sort kept for a person to look at; a disk that damages each file must not fill up with them.
const SET_ASIDE: usize = 4;

/// The folder, without its lock.
#[derive(Clone, Debug)]
pub(super) struct Folder {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) path: PathBuf,
}

/// The files in a folder, by number.
#[derive(Clone, Debug, Default)]
pub(super) struct Files(Vec<Name>);

impl Files {
    /// What is in a folder. One that is not there is an empty one.
    pub(super) fn list(disk: &dyn Disk, folder: &Path) -> io::Result<Self> {
        let names = match disk.list(folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            names => names?,
        };
        let mut names: Vec<Name> = names.iter().filter_map(|name| Name::parse(name)).collect();
        names.sort_unstable();
        Ok(Self(names))
    }

    /// Those in use, in the order of their numbers.
    pub(super) fn live(&self, kind: Kind) -> impl DoubleEndedIterator<Item = u64> + Clone {
        self.0.iter().filter(move |name| name.is_live(kind)).map(|name| name.number)
    }

    /// The highest number of a file in use, but for one.
    pub(super) fn highest(&self, but: Option<Name>) -> u64 {
        let live = self.0.iter().filter(|name| name.place == Place::Live && Some(**name) != but);
        live.map(|name| name.number).max().unwrap_or_default()
    }

    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = Name> {
        self.0.iter().copied()
    }

    /// The segments that hold what comes after `sequence`: the last that begins at it or before, and all after that. What
    /// an earlier one holds beyond the beginning of a later one is in the later one, too.
    pub(super) fn segments_after(&self, sequence: u64) -> Vec<u64> {
        let before = self.live(Kind::Journal).filter(|first| *first <= sequence.saturating_add(1)).max();
        self.live(Kind::Journal).filter(|first| before.is_none_or(|before| *first >= before)).collect()
    }
}

impl Folder {
    pub(super) fn file(&self, name: Name) -> PathBuf {
        self.path.join(name.to_string())
    }

    pub(super) fn files(&self) -> Result<Files, SaveError> {
        Files::list(&*self.disk, &self.path).map_err(|source| error("listing", &self.path, source))
    }

    /// Makes a file under its staged name and syncs it. On failure nothing of it is left, if the disk lets it be removed.
    pub(super) fn stage<T>(
        &self,
        staged: &Path,
        write: impl FnOnce(&mut dyn StagedFile) -> io::Result<T>,
    ) -> Result<(Box<dyn StagedFile>, T), SaveError> {
        let made = self.try_stage(staged, write);
        if made.is_err() {
            // ignored: it may not be there, and if it stays the next start removes it
            let _ = self.disk.remove(staged);
        }
        made
    }

    fn try_stage<T>(
        &self,
        staged: &Path,
        write: impl FnOnce(&mut dyn StagedFile) -> io::Result<T>,
    ) -> Result<(Box<dyn StagedFile>, T), SaveError> {
        let created = match self.disk.create(staged) {
            // Left over from what was cut off.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                self.disk.remove(staged).and_then(|()| self.disk.create(staged))
            }
            created => created,
        };
        let mut file = created.map_err(|source| error("creating", staged, source))?;
        let written = write(&mut *file).map_err(|source| error("writing", staged, source))?;
        file.sync().map_err(|source| error("syncing", staged, source))?;
        Ok((file, written))
    }

    /// Gives a staged file its name, durably.
    pub(super) fn settle(&self, staged: &Path, file: &Path) -> Result<(), SaveError> {
        let renamed = self.disk.rename(staged, file);
        if renamed.is_err() {
            // ignored: as for a file that could not be staged
            let _ = self.disk.remove(staged);
        }
        renamed.map_err(|source| error("renaming", staged, source))?;
        self.sync()
    }

    pub(super) fn sync(&self) -> Result<(), SaveError> {
        self.disk.sync_folder(&self.path).map_err(|source| error("syncing", &self.path, source))
    }

    /// Gives a file that is not to be used the name of such a one. It returns that name.
    pub(super) fn set_aside(&self, name: Name, place: Place) -> io::Result<String> {
        let aside = name.at(place);
        self.disk.rename(&self.file(name), &self.file(aside))?;
        Ok(aside.to_string())
    }

    /// Copies a segment from `from` on aside, and cuts it off there. It returns the copy's name.
    pub(super) fn cut_off(&self, segment: u64, from: u64, place: Place) -> io::Result<String> {
        let name = Name::journal(segment);
        let mut source = self.disk.open(&self.file(name))?;
        let mut bytes = Vec::new();
        // Through the part that stays: it is in the system's cache, having been read just now.
        io::copy(&mut io::Read::take(&mut *source, from), &mut io::sink())?;
        let length = usize::try_from(source.length().saturating_sub(from)).map_err(io::Error::other)?;
        source.read_onto(&mut bytes, length)?;
        let aside = name.at(place);
        let copied = self.stage(&self.file(aside), |file| file.write_all(&bytes));
        copied.map_err(io::Error::other)?;
        let mut file = self.disk.append_to(&self.file(name))?;
        file.truncate(from)?;
        file.sync()?;
        Ok(aside.to_string())
    }

    /// Removes what was cut off while it was written, but for what is still being written.
    pub(super) fn remove_staged(&self, but: Option<u64>) {
        let Ok(files) = self.files() else { return };
        let staged = files.iter().filter(|name| name.place == Place::Staged);
        for name in staged.filter(|name| name.kind != Kind::Snapshot || Some(name.number) != but) {
            // ignored: it is in nobody's way but for its room, and the next start tries again
            let _ = self.disk.remove(&self.file(name));
        }
        // ignored: likewise
        let _ = self.disk.remove(&self.path.join(RUNS_STAGED));
    }

    /// Removes the oldest of what was set aside, of each sort so many that few are left. It returns their names.
    pub(super) fn remove_oldest_aside(&self) -> Vec<String> {
        let Ok(files) = self.files() else { return Vec::new() };
        let mut removed = Vec::new();
        for place in [Place::Damaged, Place::Torn, Place::Poison] {
            let aside = files.iter().rev().filter(|name| name.place == place).skip(SET_ASIDE);
            removed
                .extend(aside.filter(|name| self.disk.remove(&self.file(*name)).is_ok()).map(|name| name.to_string()));
        }
        removed
    }

    /// The size of our files, in bytes.
    pub(super) fn bytes(&self) -> u64 {
        let Ok(files) = self.files() else { return 0 };
        let paths = files.iter().map(|name| self.file(name)).chain([self.path.join(RUNS)]);
        paths.filter_map(|path| self.disk.size(&path).ok()).sum()
    }
}

pub(super) fn error(deed: &'static str, path: &Path, source: io::Error) -> SaveError {
    SaveError::Disk { deed, path: path.display().to_string(), source }
}
