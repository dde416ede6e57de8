//! From one process to the next: an image of all there is, and the state folder.
//!
//! The old process makes an [`Image`] and serves on. The new one [receives](Updater::receive) it, and neither reads nor writes
//! the folder. Then the old one [releases](Updater::release) the folder and the new one [claims](Updater::claim) it; where
//! that fails the old one [regains](Updater::regain) it. At each of these points one of the two can go on alone, and what is on
//! disk is whole and not older than what was acknowledged. Who has no folder takes no offer.

use std::{path::Path, sync::Arc};

use super::{BootError, BootReport, ImageFate, Poisoned, TableMark, Updater, UpdaterConfig};
use crate::{
    disk::{Disk, ReadFile, RealDisk},
    live::{self, Published, Reader},
    model::{Now, Provenance, Source},
    snapshot::{Head, ReadError, SnapshotError},
    store::{Boot, Image, PoisonRules, Regained, Store},
};

/// Why an image was not received. What it was made of is as it was.
#[derive(Debug, thiserror::Error)]
pub enum ReceiveError {
    /// The system did not let it be read.
    #[error("the image cannot be read")]
    Unreadable(#[source] std::io::Error),
    /// It was made by a program whose images are not read here.
    #[error("the image is of another version: {0}")]
    OtherVersion(SnapshotError),
    /// It is not whole.
    #[error("the image is not whole: {0}")]
    NotWhole(SnapshotError),
}

/// What came of a claim.
#[derive(Clone, Debug, Default)]
pub struct Claimed {
    /// What is on disk is what is served, and its journal goes on. Else all of it is saved anew, with the next
    /// [`Updater::retry_save`].
    pub goes_on: bool,
    /// What was found, as at a start; `restored` where the journal goes on.
    pub found: BootReport,
}

impl Updater {
    /// An updater of what the process before serves. `state_dir` is not touched before it is [claimed](Updater::claim).
    ///
    /// # Errors
    /// When the image is not whole, or cannot be read.
    pub fn receive(
        config: UpdaterConfig,
        image: &mut dyn ReadFile,
        state_dir: &Path,
        now: Now,
    ) -> Result<(Self, Reader), ReceiveError> {
        Self::receive_on(Arc::new(RealDisk), config, image, state_dir, now)
    }

    /// As [`Updater::receive`], on a disk of the caller's.
    ///
    /// # Errors
    /// When the image is not whole, or cannot be read.
    pub fn receive_on(
        disk: Arc<dyn Disk>,
        config: UpdaterConfig,
        image: &mut dyn ReadFile,
        state_dir: &Path,
        now: Now,
    ) -> Result<(Self, Reader), ReceiveError> {
        let image = Image::read(image)?;
        let store = Store::unclaimed(disk, state_dir, &image);
        let (writer, reader) = live::cell(Published::default());
        let mut updater = Self::new(config, store, writer, now);
        updater.restore(image.state, Source::Handover, now);
        updater.poisoned = image.poisoned;
        // What is on disk is another process's word so far.
        updater.saved.unsaved = updater.has_table();
        Ok((updater, reader))
    }

    /// All there is, to be written for another process. Cheap; see [`Image::write`].
    #[must_use]
    pub fn image(&self) -> Image {
        self.store.image(&self.state, self.poisoned.clone())
    }

    /// What is served, to be compared with what another process serves.
    #[must_use]
    pub fn mark(&self) -> TableMark {
        TableMark::of(&self.state)
    }

    /// Whether the state folder is another process's for now.
    #[must_use]
    pub fn is_away(&self) -> bool {
        self.store.is_away()
    }

    /// Gives the state folder away, with its lock: nothing is written from now on, and no offer taken. The end of this run
    /// is no crash.
    pub fn release(&mut self) {
        self.store.release();
    }

    /// Takes the state folder back. Where that fails the table is served unsaved, and it is tried again with each
    /// [`Updater::retry_save`].
    pub fn regain(&mut self) -> Regained {
        let regained = self.store.regain(&self.state);
        if matches!(regained, Regained::Locked { .. } | Regained::Unusable(_)) {
            self.saved.error = self.store.unwritable().map(str::to_owned);
        }
        self.saved.unsaved = self.saved.error.is_some() || self.store.is_behind();
        regained
    }

    /// Takes up the state folder, and begins a run. One that is full, read-only, damaged or gone is in what is returned, and
    /// never an error: then the table is served unsaved.
    ///
    /// # Errors
    /// While another process has the folder; then nothing has happened.
    pub fn claim(&mut self, now: Now) -> Result<Claimed, BootError> {
        if !self.store.is_away() {
            return Ok(Claimed { goes_on: !self.store.is_behind(), found: BootReport::default() });
        }
        let taken = self.store.take_up(&self.state)?;
        (self.booted_at, self.proven_at, self.is_proven) = (now.monotonic, None, false);
        let poisoned = taken.poisoned.filter(|poisoned| self.is_behind_of(poisoned));
        self.poisoned = self.poisoned.take().or(poisoned);
        let apps = self.state.table.len();
        let found = BootReport {
            restored: taken.goes_on_from.map(|origin| format!("{origin} with {apps} apps")),
            damaged: taken.damaged,
            removed: taken.removed,
            unwritable: self.store.unwritable().map(str::to_owned),
            poisoned: self.poisoned.clone(),
            lost: taken.lost,
            image: None,
        };
        self.note_on_disk(taken.on_disk.as_ref());
        self.saved.error.clone_from(&found.unwritable);
        self.saved.unsaved = self.store.is_behind();
        self.saved.bytes = self.store.bytes();
        Ok(Claimed { goes_on: found.restored.is_some(), found })
    }

    pub(super) fn note_on_disk(&mut self, on_disk: Option<&Provenance>) {
        let nothing = Provenance::default();
        let Provenance { generation, received_at, .. } = on_disk.unwrap_or(&nothing);
        (self.saved.generation, self.saved.at) = (*generation, *received_at);
    }
}

/// Puts an image in the place of what a start has found, where that is better.
pub(super) fn choose(store: &mut Store, found: &mut Boot, rules: PoisonRules, file: &mut dyn ReadFile) -> ImageFate {
    let mut fate = ImageFate::Restored;
    let image = Image::read_if(file, |head| {
        if !is_newer(head, found) {
            fate = ImageFate::NotNewer;
        } else if is_suspect(head, found, rules) {
            fate = ImageFate::KeptOut;
        }
        fate == ImageFate::Restored
    });
    let image = match image {
        Ok(Some(image)) => image,
        Ok(None) => return fate,
        Err(error) => return ImageFate::NotWhole(error.to_string()),
    };
    store.supersede(image.sequence, &image.state);
    found.origin = format!("the image of a process before (number {})", image.sequence);
    found.poisoned = found.poisoned.take().or(image.poisoned);
    found.state = Some(image.state);
    fate
}

/// Whether runs may have died of what is in the image.
fn is_suspect(image: &Head, found: &Boot, rules: PoisonRules) -> bool {
    let (provenance, digest) = (&image.meta.provenance, image.base.digest);
    let is_it = |poisoned: &Poisoned| {
        let Poisoned { generation, epoch, digest: of, .. } = poisoned;
        (generation, epoch, of) == (&provenance.generation, &provenance.epoch, &digest)
    };
    let too_often = rules.crashes > 0 && found.died_young >= rules.crashes && found.state.is_some();
    too_often || found.poisoned.as_ref().is_some_and(is_it)
}

/// Within an epoch the store's number decides, and a table that was confirmed earlier is not newer by it unless an operator
/// has put it there: the number may be of another folder. Between epochs it is the time of the confirmation alone.
fn is_newer(image: &Head, found: &Boot) -> bool {
    if image.meta.provenance.source == Source::None {
        return false;
    }
    let Some(on_disk) = found.state.as_ref().filter(|state| state.has_table()) else { return true };
    let (ours, theirs) = (&image.meta.provenance, &on_disk.meta.provenance);
    let later = ours.received_at > theirs.received_at;
    if ours.epoch.is_some() && theirs.epoch.is_some() && ours.epoch != theirs.epoch {
        return later;
    }
    match image.sequence.cmp(&found.sequence) {
        std::cmp::Ordering::Less => false,
        // Where a disk had failed, a number may stand for more than what is there by it.
        std::cmp::Ordering::Equal => later && image.base.digest != on_disk.table.digest(),
        std::cmp::Ordering::Greater => ours.received_at >= theirs.received_at || image.meta.pin.is_some(),
    }
}

impl From<ReadError> for ReceiveError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Disk(error) => Self::Unreadable(error),
            ReadError::Snapshot(error) if error.is_from_another_version() => Self::OtherVersion(error),
            ReadError::Snapshot(error) => Self::NotWhole(error),
        }
    }
}
