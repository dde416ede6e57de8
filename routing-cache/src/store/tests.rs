//! The store on the real disk and on the simulator, without accidents of power (those are in `crash`).

mod crash;

use std::fs;

use bytes::Bytes;

use crate::{
    disk::{
        LOCK_FILE, RealDisk,
        sim::{Failure, SimDisk},
    },
    model::{AppId, Digest, Epoch, Generation, Rev, WallTime},
    snapshot::{ReceivedTable, SavedApp, SavedMeta, ServedApp},
};

use super::*;

const FOLDER: &str = "/state";

/// What is saved as number `generation`: all of it follows from that.
fn saved(generation: u64) -> Saved {
    let app = |number: u64| {
        let document = Bytes::from(format!("{generation}.{number};").repeat(120));
        let served = ServedApp { rev: Rev(generation), digest: Digest(generation.into()), document };
        let received = Some(served.as_received());
        SavedApp { id: AppId::new(&format!("app-{number}")).unwrap(), served: Some(served), received }
    };
    Saved {
        meta: SavedMeta {
            epoch: Epoch::new("e").unwrap(),
            generation: Generation(generation),
            served_generation: Generation(generation),
            source: "live".to_owned(),
            received_at: WallTime(generation),
            received: ReceivedTable { digest: Digest(3), apps: 3 },
            guard_window: Vec::new(),
            hour_max: 3,
            held: None,
        },
        apps: (0..3).map(app).collect(),
    }
}

fn folder() -> &'static Path {
    Path::new(FOLDER)
}

fn open(disk: &SimDisk) -> Store {
    Store::open(disk.clone(), folder()).unwrap()
}

/// The generation found at a start; what was found is what was saved as that.
fn generation(boot: &Boot) -> Option<u64> {
    let (found, file) = boot.saved.as_ref()?;
    assert!(matches!(Name::parse(file), Some(Name::Snapshot(_))), "{file}");
    assert_eq!(*found, saved(found.meta.generation.0));
    Some(found.meta.generation.0)
}

fn names(disk: &SimDisk) -> Vec<String> {
    disk.list(folder()).unwrap()
}

fn snapshot(number: u64) -> String {
    Name::Snapshot(number).to_string()
}

/// A disk on which these generations were saved, as numbers 1, 2, ...
fn disk_with(generations: &[u64]) -> SimDisk {
    let disk = SimDisk::new(1);
    let mut store = open(&disk);
    for generation in generations {
        store.save(&saved(*generation)).unwrap();
    }
    disk
}

#[test]
fn what_was_saved_is_found_at_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let mut store = Store::open(RealDisk, &state).unwrap();
    assert!(store.boot().saved.is_none());
    let info = store.save(&saved(7)).unwrap();
    assert_eq!((store.unwritable(), info.file.as_str()), (None, snapshot(1).as_str()));
    assert_eq!(info.bytes, fs::metadata(state.join(&info.file)).unwrap().len());
    drop(store);
    let boot = Store::open(RealDisk, &state).unwrap().boot();
    assert_eq!(generation(&boot), Some(7));
    assert_eq!(boot.saved.unwrap().1, info.file);
    assert!(boot.damaged.is_empty());
}

#[test]
fn the_one_before_is_kept_and_older_ones_are_removed() {
    let disk = disk_with(&[1, 2, 3, 4, 5]);
    assert_eq!(names(&disk), [snapshot(4), snapshot(5)]);
    let mut store = open(&disk);
    store.boot();
    store.save(&saved(6)).unwrap();
    assert_eq!(names(&disk), [snapshot(5), snapshot(6)]);
}

#[test]
fn a_damaged_snapshot_is_set_aside_and_the_one_before_is_served() {
    let disk = disk_with(&[1, 2]);
    assert!(disk.rot(&folder().join(snapshot(2)), 300, 4));
    let mut store = open(&disk);
    let boot = store.boot();
    assert_eq!(generation(&boot), Some(1));
    let [(file, why)] = &boot.damaged[..] else { panic!("{boot:?}") };
    assert_eq!(*file, snapshot(2));
    assert!(why.starts_with("block 1 at byte "), "{why}");
    assert!(why.ends_with(&format!("it is kept as {}.damaged", snapshot(2))), "{why}");
    assert_eq!(names(&disk), [snapshot(1), format!("{}.damaged", snapshot(2))]);

    // The number of the damaged one is not given again, and what was whole is the one before now.
    assert_eq!(store.save(&saved(3)).unwrap().file, snapshot(3));
    assert_eq!(names(&disk), [snapshot(1), format!("{}.damaged", snapshot(2)), snapshot(3)]);
}

#[test]
fn where_all_are_damaged_a_start_finds_nothing_and_says_so() {
    let disk = disk_with(&[1, 2]);
    for number in [1, 2] {
        assert!(disk.rot(&folder().join(snapshot(number)), 0, 1));
    }
    let boot = open(&disk).boot();
    assert_eq!(generation(&boot), None);
    assert_eq!(boot.damaged.iter().map(|(file, _)| file.clone()).collect::<Vec<_>>(), [snapshot(2), snapshot(1)]);
}

#[test]
fn damaged_files_are_kept_but_do_not_fill_the_disk() {
    let disk = disk_with(&[]);
    let mut removed = Vec::new();
    for generation in 1..=7 {
        let mut store = open(&disk);
        removed.extend(store.boot().removed);
        let file = store.save(&saved(generation)).unwrap().file;
        assert!(disk.rot(&folder().join(file), 0, 1));
    }
    let boot = open(&disk).boot();
    removed.extend(boot.removed);
    let damaged = |number| Name::Damaged(number).to_string();
    assert_eq!(names(&disk), (4..=7).map(damaged).collect::<Vec<_>>());
    assert_eq!(removed, (1..=3).map(damaged).collect::<Vec<_>>());
}

#[test]
fn a_file_that_cannot_be_read_is_reported_and_left() {
    let disk = disk_with(&[1, 2]);
    let mut store = open(&disk);
    disk.fail(1, 1, Failure::InputOutput);
    let boot = store.boot();
    assert_eq!(generation(&boot), Some(1));
    assert!(boot.damaged[0].1.starts_with("cannot be read: "), "{boot:?}");
    assert_eq!(names(&disk), [snapshot(1), snapshot(2)]);
}

#[test]
fn a_snapshot_of_another_version_is_reported_and_left() {
    let disk = disk_with(&[1, 2]);
    assert!(disk.rot(&folder().join(snapshot(2)), 8, 0xf0));
    let mut store = open(&disk);
    let boot = store.boot();
    assert_eq!(generation(&boot), Some(1));
    assert!(boot.damaged[0].1.contains("schema"), "{boot:?}");
    store.save(&saved(3)).unwrap();
    assert_eq!(names(&disk), [snapshot(1), snapshot(2), snapshot(3)]);
}

#[test]
fn a_folder_that_cannot_be_listed_is_reported() {
    let disk = disk_with(&[1]);
    let mut store = open(&disk);
    disk.fail(0, 1, Failure::InputOutput);
    let boot = store.boot();
    assert!(boot.saved.is_none() && boot.damaged[0].1.starts_with("cannot be listed: "), "{boot:?}");
}

#[test]
fn what_a_cut_off_save_left_is_removed_and_what_is_not_ours_stays() {
    let disk = disk_with(&[1]);
    for name in ["snapshot-00000000000000000009.staged", "notes", "snapshot-9", "snapshot-00000000000000000009.bak"] {
        disk.create(&folder().join(name)).unwrap();
    }
    open(&disk);
    assert_eq!(names(&disk), ["notes", &snapshot(1), "snapshot-00000000000000000009.bak", "snapshot-9"]);
}

#[test]
fn a_second_process_is_refused_and_told_which_is_the_first() {
    let folder = tempfile::tempdir().unwrap();
    let first = Store::open(RealDisk, folder.path()).unwrap();
    let error = Store::open(RealDisk, folder.path()).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("{} is in use by another process (pid {})", folder.path().display(), std::process::id())
    );
    drop(first);
    assert!(Store::open(RealDisk, folder.path()).is_ok());
}

#[test]
fn a_folder_that_cannot_be_made_is_no_reason_not_to_start() {
    let above = tempfile::tempdir().unwrap();
    let file = above.path().join("file");
    fs::write(&file, "").unwrap();
    let mut store = Store::open(RealDisk, &file.join("state")).unwrap();
    assert!(store.unwritable().unwrap().contains("file/state: "), "{store:?}");
    assert!(store.boot().saved.is_none());
    assert!(matches!(store.save(&saved(1)), Err(SaveError::Disk { .. })));
    fs::remove_file(&file).unwrap();
    store.save(&saved(1)).unwrap();
    assert_eq!(store.unwritable(), None);
}

#[test]
fn on_a_read_only_disk_what_is_whole_is_served_and_damage_is_reported() {
    let disk = disk_with(&[1, 2]);
    assert!(disk.rot(&folder().join(snapshot(2)), 0, 1));
    disk.fail(0, u64::MAX, Failure::ReadOnly);
    let mut store = open(&disk);
    assert!(store.unwritable().is_some());
    let boot = store.boot();
    assert_eq!((generation(&boot), boot.damaged.len()), (Some(1), 1));
    assert!(store.save(&saved(3)).is_err());
    disk.heal();
    assert_eq!(store.save(&saved(3)).unwrap().file, snapshot(3));
    assert_eq!(generation(&inspect(&disk, folder())), Some(3));
}

#[test]
fn a_save_that_fails_at_any_step_leaves_what_was_there_and_the_next_one_succeeds() {
    for failure in [Failure::NoSpace, Failure::InputOutput, Failure::ReadOnly] {
        for times in [1, u64::MAX] {
            for nth in 0..40 {
                let disk = disk_with(&[1, 2]);
                let mut store = open(&disk);
                store.boot();
                disk.fail(nth, times, failure);
                let result = store.save(&saved(3));
                disk.heal();
                let failed = format!("{failure:?} at {nth}, {times} times: {result:?}");
                let found = generation(&inspect(&disk, folder()));
                assert_eq!(store.unwritable().is_some(), result.is_err(), "{failed}");
                if result.is_ok() {
                    assert_eq!(found, Some(3), "{failed}");
                } else {
                    assert!(found >= Some(2), "{failed}");
                }
                store.save(&saved(4)).unwrap();
                store.save(&saved(5)).unwrap();
                assert_eq!(generation(&inspect(&disk, folder())), Some(5), "{failed}");
                assert_eq!(names(&disk).len(), 2, "{failed}: {:?}", names(&disk));
            }
        }
    }
}

/// Whichever step it is that always fails: a disk that cannot sync its folder, say, must not fill up.
#[test]
fn saves_that_keep_failing_leave_nothing_behind() {
    for (failure, times) in [
        (Failure::NoSpace, u64::MAX),
        (Failure::ReadOnly, u64::MAX),
        (Failure::InputOutput, 1),
        (Failure::InputOutput, 2),
    ] {
        for nth in 0..25 {
            let disk = disk_with(&[1, 2]);
            let mut store = open(&disk);
            store.boot();
            for _ in 0..5 {
                disk.fail(nth, times, failure);
                let saved = store.save(&saved(3));
                disk.heal();
                if saved.is_ok() {
                    break;
                }
                assert!(names(&disk).len() <= 4, "{failure:?} at {nth}: {saved:?} {:?}", names(&disk));
            }
        }
    }
}

#[test]
fn a_folder_that_vanished_is_made_again() {
    let disk = disk_with(&[1, 2, 3]);
    let mut store = open(&disk);
    store.boot();
    disk.lose_folder(folder());
    store.save(&saved(4)).unwrap();
    store.save(&saved(5)).unwrap();
    store.save(&saved(6)).unwrap();
    assert_eq!(names(&disk).len(), 2);
    assert!(matches!(Store::open(disk.clone(), folder()), Err(OpenError::Locked { .. })));
    drop(store);
    assert_eq!(generation(&open(&disk).boot()), Some(6));
}

#[test]
fn a_real_folder_that_vanished_is_made_again() {
    let above = tempfile::tempdir().unwrap();
    let state = above.path().join("state");
    let mut store = Store::open(RealDisk, &state).unwrap();
    store.save(&saved(1)).unwrap();
    fs::remove_dir_all(&state).unwrap();
    store.save(&saved(2)).unwrap();
    assert!(state.join(LOCK_FILE).exists());
    assert_eq!(generation(&inspect(&RealDisk, &state)), Some(2));
}

#[test]
fn a_folder_that_another_process_made_again_is_not_written() {
    let disk = disk_with(&[1]);
    let mut store = open(&disk);
    disk.lose_folder(folder());
    let mut other = open(&disk);
    other.save(&saved(9)).unwrap();
    assert!(matches!(store.save(&saved(2)), Err(SaveError::Locked { pid: Some(_) })));
    assert_eq!(generation(&other.boot()), Some(9));
}

/// Lets saves fail until one fails after its snapshot was renamed.
fn fail_unacknowledged(disk: &SimDisk, store: &mut Store) {
    let failed_late = |nth| {
        disk.fail(nth, 1, Failure::InputOutput);
        let result = store.save(&saved(90));
        disk.heal();
        matches!(result, Err(SaveError::Disk { path, .. }) if path == FOLDER && nth > 3)
    };
    assert!((0..40).any(failed_late));
}

/// What another process saved meanwhile is not overwritten, nor taken for what this one knows to be whole.
#[test]
fn a_folder_taken_back_from_another_process_is_looked_at_anew() {
    let disk = disk_with(&[]);
    let mut store = open(&disk);
    store.save(&saved(1)).unwrap();
    store.save(&saved(2)).unwrap();
    disk.lose_folder(folder());
    let mut other = open(&disk);
    other.save(&saved(11)).unwrap();
    other.save(&saved(12)).unwrap();
    drop(other);
    assert!(disk.rot(&folder().join(snapshot(2)), 0, 1));
    store.save(&saved(3)).unwrap();
    assert_eq!(names(&disk), [snapshot(1), snapshot(2), snapshot(3)]);

    fail_unacknowledged(&disk, &mut store);
    assert_eq!(names(&disk).last(), Some(&snapshot(4)));
    disk.lose_folder(folder());
    let mut other = open(&disk);
    (21..=24).for_each(|generation| drop(other.save(&saved(generation)).unwrap()));
    drop(other);
    assert_eq!(store.save(&saved(5)).unwrap().file, snapshot(5));
}

#[test]
fn looking_changes_nothing() {
    let disk = disk_with(&[1, 2]);
    assert!(disk.rot(&folder().join(snapshot(2)), 0, 1));
    disk.create(&folder().join(Name::Staged(3).to_string())).unwrap();
    let (before, running) = (names(&disk), open(&SimDisk::new(2)));
    assert_eq!(generation(&inspect(&disk, folder())), Some(1));
    assert_eq!(names(&disk), before);
    drop(running);
    assert!(inspect(&SimDisk::new(1), folder()).damaged.is_empty());
}
