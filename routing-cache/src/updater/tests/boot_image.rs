//! A start that is given an image which a process before has left.

use std::{path::Path, sync::Arc};

use super::{handover::image_of, rig::*};
use crate::{
    codec::tests::Memory,
    disk::sim::{Failure, SimDisk},
    live::Source,
    model::Generation,
    updater::{ImageFate, Updater},
};

/// A start on a disk, with an image.
fn booted_with(disk: &SimDisk, image: &[u8], ms: u64) -> Rig {
    let mut image = Memory::new(image);
    let booted = Updater::boot_with_on(Arc::new(disk.clone()), config(), Path::new(FOLDER), Some(&mut image), at(ms));
    let (updater, reader, boot) = booted.unwrap();
    Rig { disk: disk.clone(), updater, reader, boot, ms }
}

impl Rig {
    /// It ends, and what it leaves is its disk and an image.
    fn left(self) -> (SimDisk, Vec<u8>) {
        let image = image_of(&self.updater);
        self.disk.kill();
        (self.disk, image)
    }

    fn becomes(&self, fate: &ImageFate, generation: u64) {
        assert_eq!(self.boot.image.as_ref(), Some(fate), "{:?}", self.boot);
        assert_eq!(self.published().provenance.generation, Generation(generation));
    }
}

/// Two changes: of the first the disk may have kept what it said it had not.
fn serve_unsaved(rig: &mut Rig, server: &mut Server) {
    for endpoints in [3, 2] {
        server.put("app-1", plain(1, endpoints, 2));
        assert!(!published(rig.delta(server)).saved);
    }
}

#[test]
fn what_could_not_be_saved_is_restored_from_the_image_and_saved() {
    let mut server = Server::with_apps(5);
    let mut rig = Rig::serving(&server);
    rig.disk.fail(0, u64::MAX, Failure::NoSpace);
    serve_unsaved(&mut rig, &mut server);
    let (disk, image) = rig.left();
    let mut again = booted_with(&disk, &image, 2_000_000);
    again.becomes(&ImageFate::Restored, 3);
    assert_eq!((again.source(), again.endpoints("app-1")), (Source::Snapshot, 2));
    let saved = again.updater.report(again.now()).saved;
    assert!(saved.unsaved && saved.generation < Generation(3), "{saved:?}");
    assert!(again.boot.restored.as_ref().is_some_and(|origin| origin.contains("image")));
    let now = again.now();
    assert!(again.updater.retry_save(now));
    disk.crash();
    let again = again.restarted();
    assert_eq!((again.endpoints("app-1"), again.boot.damaged.len()), (2, 0));
}

#[test]
fn an_image_is_restored_where_the_files_are_gone() {
    let (disk, image) = Rig::serving(&Server::with_apps(5)).left();
    disk.lose_folder(Path::new(FOLDER));
    booted_with(&disk, &image, 2_000_000).becomes(&ImageFate::Restored, 1);
    disk.fail(0, u64::MAX, Failure::InputOutput);
    let again = booted_with(&disk.fork(), &image, 2_000_000);
    again.becomes(&ImageFate::Restored, 1);
    assert!(again.boot.unwritable.is_some());
}

#[test]
fn an_image_that_is_older_or_the_same_is_left() {
    let mut server = Server::with_apps(5);
    let mut rig = Rig::serving(&server);
    let older = image_of(&rig.updater);
    server.put("app-1", plain(1, 2, 2));
    published(rig.delta(&server));
    let (disk, same) = rig.left();
    for image in [older, same] {
        booted_with(&disk.fork(), &image, 2_000_000).becomes(&ImageFate::NotNewer, 2);
    }
    let empty = image_of(&Rig::new().updater);
    booted_with(&disk, &empty, 2_000_000).becomes(&ImageFate::NotNewer, 2);
}

#[test]
fn an_image_of_another_folder_is_not_newer_by_its_number_alone() {
    let mut server = Server::with_apps(5);
    let mut rig = Rig::serving(&server);
    for n in 0..5 {
        server.put("app-1", plain(1, 2, n));
        published(rig.delta(&server));
    }
    let image = image_of(&rig.updater);
    let mut other = Rig::on(SimDisk::new(3), rig.ms + 60_000);
    other.ready();
    server.put("app-1", plain(1, 3, 0));
    published(other.snapshot(&server));
    let (disk, _) = other.left();
    booted_with(&disk, &image, 2_000_000).becomes(&ImageFate::NotNewer, 7);
}

#[test]
fn between_epochs_what_was_confirmed_later_is_newer() {
    let (old, mut new) = (Server::with_apps(5), Server::with_apps(6));
    new.epoch = "e2".into();
    let of = |server: &Server, ms| {
        let mut rig = Rig::on(SimDisk::new(3), ms);
        rig.ready();
        published(rig.snapshot(server));
        rig.left()
    };
    let (old, new) = (of(&old, 1_000_000), of(&new, 1_500_000));
    let again = booted_with(&old.0, &new.1, 2_000_000);
    again.becomes(&ImageFate::Restored, 1);
    assert_eq!(again.served().len(), 6);
    booted_with(&new.0, &old.1, 2_000_000).becomes(&ImageFate::NotNewer, 1);
}

#[test]
fn an_image_that_is_not_whole_costs_nothing() {
    let mut server = Server::with_apps(5);
    let mut rig = Rig::serving(&server);
    let saved = rig.disk.fork();
    saved.kill();
    server.put("app-1", plain(1, 2, 2));
    published(rig.delta(&server));
    let mut image = image_of(&rig.updater);
    let end = image.len() - 20;
    image[end] ^= 1;
    let again = booted_with(&saved, &image, 2_000_000);
    assert!(matches!(again.boot.image, Some(ImageFate::NotWhole(_))), "{:?}", again.boot);
    assert_eq!((again.published().provenance.generation, again.boot.lost), (Generation(1), false));
}

#[test]
fn an_image_that_runs_may_have_died_of_is_kept_out() {
    let mut server = Server::with_apps(3);
    let mut rig = Rig::serving(&server);
    rig.ms += 20_000;
    rig.updater.tick(rig.now());
    rig.open_gate();
    rig.disk.fail(0, u64::MAX, Failure::NoSpace);
    serve_unsaved(&mut rig, &mut server);
    let (disk, image) = rig.left();
    for _ in 0..3 {
        booted_with(&disk, &image, 2_000_000).becomes(&ImageFate::Restored, 3);
        disk.kill();
    }
    booted_with(&disk, &image, 2_000_000).becomes(&ImageFate::KeptOut, 1);
}
