//! The folder: locks, names, full and broken disks, looking from the outside, putting in order.

use crate::disk::LOCK_FILE;

use super::*;

#[test]
fn a_second_process_is_refused_and_told_which_is_the_first() {
    let folder = tempfile::tempdir().unwrap();
    let open = || Store::open(Arc::new(RealDisk), folder.path());
    let first = open().unwrap();
    let error = open().unwrap_err();
    let expected = format!("{} is in use by another process (pid {})", folder.path().display(), std::process::id());
    assert_eq!(error.to_string(), expected);
    drop(first);
    assert!(open().is_ok());
}

#[test]
fn a_folder_that_cannot_be_made_is_no_reason_not_to_start() {
    let above = tempfile::tempdir().unwrap();
    let file = above.path().join("file");
    fs::write(&file, "").unwrap();
    let mut store = Store::open(Arc::new(RealDisk), &file.join("state")).unwrap();
    assert!(store.unwritable().unwrap().contains("file/state: "), "{store:?}");
    assert!(store.boot(NO_POISON, NOW).state.is_none());
    assert!(matches!(store.save(&state(1)), Err(SaveError::Disk { .. })));
    fs::remove_file(&file).unwrap();
    store.retry(&state(1)).unwrap();
    assert_eq!(store.unwritable(), None);
}

#[test]
fn on_a_read_only_disk_what_is_whole_is_served_and_damage_is_reported() {
    let disk = disk_with(3);
    compact(&mut booted(&disk).0, state(3));
    assert!(disk.rot(&folder().join(snapshot(3)), 70, 1));
    disk.fail(0, u64::MAX, Failure::ReadOnly);
    let (mut store, boot) = booted(&disk);
    assert!(store.unwritable().is_some() && !store.is_behind());
    assert_eq!((generation(&boot), boot.damaged.len(), boot.lost), (Some(3), 1, false));
    assert!(store.append(&step(4)).is_err() && store.is_behind());
    disk.heal();
    store.retry(&state(4)).unwrap();
    assert_eq!(generation(&booted_copy(&disk)), Some(4));
    store.append(&step(5)).unwrap();
    assert_eq!(generation(&booted_copy(&disk)), Some(5));
}

#[test]
fn a_save_that_fails_at_any_step_leaves_what_was_there_and_the_next_one_succeeds() {
    for failure in [Failure::NoSpace, Failure::InputOutput, Failure::ReadOnly] {
        for times in [1, u64::MAX] {
            for nth in 0..40 {
                let disk = disk_with(2);
                let mut store = booted(&disk).0;
                disk.fail(nth, times, failure);
                let result = store.save(&state(3));
                disk.heal();
                let failed = format!("{failure:?} at {nth}, {times} times: {result:?}");
                let found = generation(&booted_copy(&disk));
                assert_eq!(store.is_behind(), result.is_err(), "{failed}");
                if result.is_ok() {
                    assert_eq!(found, Some(3), "{failed}");
                } else {
                    assert!(found >= Some(2), "{failed}");
                }
                assert_eq!(store.append(&step(4)).is_ok(), result.is_ok(), "{failed}");
                store.retry(&state(4)).unwrap();
                store.append(&step(5)).unwrap();
                assert_eq!(generation(&booted_copy(&disk)), Some(5), "{failed}");
            }
        }
    }
}

/// Whichever step it is that always fails: a disk that cannot sync its folder, say, must not fill up.
#[test]
fn saves_that_keep_failing_leave_nothing_behind() {
    let failures = [
        (Failure::NoSpace, u64::MAX),
        (Failure::ReadOnly, u64::MAX),
        (Failure::InputOutput, 1),
        (Failure::InputOutput, 2),
    ];
    for (failure, times) in failures {
        for nth in 0..25 {
            let disk = disk_with(2);
            let mut store = booted(&disk).0;
            for _ in 0..5 {
                disk.fail(nth, times, failure);
                let saved = store.save(&state(3));
                disk.heal();
                if saved.is_ok() {
                    break;
                }
                assert!(names(&disk).len() <= 5, "{failure:?} at {nth}: {saved:?} {:?}", names(&disk));
            }
        }
    }
}

#[test]
fn a_folder_that_vanished_is_made_again() {
    let disk = disk_with(3);
    let mut store = booted(&disk).0;
    disk.lose_folder(folder());
    assert!(store.append(&step(4)).is_err() && store.is_behind());
    store.retry(&state(4)).unwrap();
    store.append(&step(5)).unwrap();
    assert!(matches!(Store::open(Arc::new(disk.clone()), folder()), Err(OpenError::Locked { .. })));
    drop(store);
    assert_eq!(generation(&booted(&disk).1), Some(5));
}

#[test]
fn a_real_folder_that_vanished_is_made_again() {
    let above = tempfile::tempdir().unwrap();
    let path = above.path().join("state");
    let mut store = Store::open(Arc::new(RealDisk), &path).unwrap();
    store.boot(NO_POISON, NOW);
    store.save(&state(1)).unwrap();
    store.append(&step(2)).unwrap();
    fs::remove_dir_all(&path).unwrap();
    assert!(store.append(&step(3)).is_err());
    store.retry(&state(3)).unwrap();
    assert!(path.join(LOCK_FILE).exists());
    assert_eq!(inspect(&RealDisk, &path, NO_POISON).would_serve.unwrap().generation, Generation(3));
}

#[test]
fn a_folder_that_another_process_made_again_is_not_written() {
    let disk = disk_with(2);
    let mut store = booted(&disk).0;
    let compacted = store.begin_compaction(state(2)).run();
    disk.lose_folder(folder());
    let mut other = booted(&disk).0;
    other.save(&state(9)).unwrap();
    assert!(matches!(store.save(&state(3)), Err(SaveError::Locked { pid: Some(_) })));
    assert!(matches!(store.append(&step(4)), Err(SaveError::NeedsWhole | SaveError::Locked { .. })));
    assert!(store.finish_compaction(&compacted).is_err());
    assert_eq!(generation(&booted_copy(&disk)), Some(9));
}

/// What another process saved meanwhile is neither overwritten nor continued.
#[test]
fn a_folder_taken_back_from_another_process_is_looked_at_anew() {
    let disk = disk_with(2);
    let mut store = booted(&disk).0;
    disk.lose_folder(folder());
    let mut other = booted(&disk).0;
    other.save(&state(3)).unwrap();
    (4..9).for_each(|number| other.append(&step(number)).unwrap());
    drop(other);
    assert!(store.append(&step(3)).is_err());
    store.retry(&state(3)).unwrap();
    store.append(&step(4)).unwrap();
    assert_eq!(generation(&booted_copy(&disk)), Some(4));
}

#[test]
fn what_a_cut_off_save_left_is_removed_and_what_is_not_ours_stays() {
    let disk = disk_with(1);
    let others = ["notes", "snapshot-9", "snapshot-00000000000000000009.bak"];
    let staged = ["snapshot-00000000000000000009.staged", "journal-00000000000000000009.staged", "runs.staged"];
    for name in others.iter().chain(&staged) {
        disk.create(&folder().join(name)).unwrap();
    }
    open(&disk);
    assert_eq!(names(&disk), ["notes", &snapshot(1), "snapshot-00000000000000000009.bak", "snapshot-9"]);
}

#[test]
fn looking_changes_nothing_and_tells_all() {
    let disk = disk_with(4);
    let mut store = booted(&disk).0;
    compact(&mut store, state(4));
    store.append(&step(5)).unwrap();
    store.append(&step(6)).unwrap();
    assert!(disk.rot(&folder().join(snapshot(4)), 70, 1));
    let length = disk.size(&folder().join(journal(5))).unwrap() as usize;
    assert!(disk.rot(&folder().join(journal(5)), length - 1, 1));
    disk.create(&folder().join("journal-00000000000000000009.staged")).unwrap();
    let before = names(&disk);
    let found = inspect(&disk, folder(), NO_POISON);
    assert_eq!(names(&disk), before);
    let told: Vec<_> = found.files.iter().map(|f| (f.name.as_str(), f.kind, f.state, f.last_sequence)).collect();
    let expected = [
        (journal(2), FileKind::Journal, FileState::Whole, Some(4)),
        (journal(4), FileKind::Journal, FileState::Whole, Some(4)),
        (journal(5), FileKind::Journal, FileState::Torn, Some(6)),
        ("journal-00000000000000000009.staged".to_owned(), FileKind::Staged, FileState::Unknown, None),
        ("runs".to_owned(), FileKind::Runs, FileState::Whole, None),
        (snapshot(1), FileKind::Snapshot, FileState::Whole, Some(1)),
        (snapshot(4), FileKind::Snapshot, FileState::Damaged, None),
    ];
    let expected: Vec<_> =
        expected.iter().map(|(name, kind, state, last)| (name.as_str(), *kind, *state, *last)).collect();
    assert_eq!(told, expected);
    let serves = found.would_serve.unwrap();
    assert_eq!((serves.generation, serves.apps), (Generation(6), 6));
    assert_eq!(serves.origin, format!("{} and 5 changes", snapshot(1)));
    assert_eq!(found.damaged.len(), 2);

    let as_arc: Arc<dyn Disk> = Arc::new(disk.clone());
    assert!(matches!(repair(&as_arc, folder(), true), Err(OpenError::Locked { .. })));
    drop(store);
    let said = repair(&as_arc, folder(), true).unwrap();
    assert_eq!(names(&disk), before);
    let done = repair(&as_arc, folder(), false).unwrap();
    assert_eq!(said, done);
    assert_eq!(done.len(), 3, "{done:?}");
    let found = inspect(&disk, folder(), NO_POISON);
    assert_eq!((found.would_serve, found.damaged.len()), (Some(serves), 0));
    assert!(repair(&as_arc, folder(), false).unwrap().is_empty());
}

#[test]
fn a_folder_that_is_not_there_is_an_empty_one() {
    let found = inspect(&SimDisk::new(1), folder(), NO_POISON);
    assert!(found.files.is_empty() && found.damaged.is_empty() && found.would_serve.is_none());
}
