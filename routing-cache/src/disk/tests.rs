//! The real disk and the simulator keep the same contract; and the simulator loses what it says it may.

use std::{
    collections::HashSet,
    fs,
    io::ErrorKind,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::PathBuf,
};

use super::{
    sim::{Failure, SimDisk},
    *,
};

const FOLDER: &str = "/state";

fn put(disk: &dyn Disk, file: &Path, content: &[u8]) {
    let mut staged = disk.create(file).unwrap();
    staged.write_all(content).unwrap();
    staged.sync().unwrap();
}

fn names(disk: &dyn Disk, folder: &Path) -> Vec<String> {
    let mut names = disk.list(folder).unwrap();
    names.sort();
    names
}

/// What a store relies on, whichever disk it is.
fn keeps_the_contract(disk: &dyn Disk, folder: &Path) {
    assert_eq!(disk.list(folder).unwrap_err().kind(), ErrorKind::NotFound);
    disk.create_folder(folder).unwrap();
    disk.create_folder(folder).unwrap();
    let (one, two) = (folder.join("one"), folder.join("two"));
    put(disk, &one, b"first");
    assert_eq!(disk.create(&one).err().unwrap().kind(), ErrorKind::AlreadyExists);
    put(disk, &two, b"second");
    assert_eq!(names(disk, folder), ["one", "two"]);
    disk.rename(&one, &two).unwrap();
    disk.sync_folder(folder).unwrap();
    assert_eq!(disk.read(&two, 5).unwrap(), "first");
    assert_eq!(disk.read(&two, 4).unwrap_err().kind(), ErrorKind::FileTooLarge);
    assert_eq!(disk.read(&one, 5).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(disk.rename(&one, &two).unwrap_err().kind(), ErrorKind::NotFound);
    disk.remove(&two).unwrap();
    assert_eq!(disk.remove(&two).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(names(disk, folder), [""; 0]);

    let lock = disk.lock(folder).unwrap();
    assert!(lock.is_in_place());
    assert!(matches!(disk.lock(folder), Err(LockError::Held { pid: Some(_) })));
    drop(lock);
    assert!(disk.lock(folder).is_ok());
}

#[test]
fn the_real_disk_keeps_the_contract() {
    let above = tempfile::tempdir().unwrap();
    let folder = above.path().join("deep/state");
    keeps_the_contract(&RealDisk, &folder);
}

#[test]
fn the_simulator_keeps_the_contract() {
    keeps_the_contract(&SimDisk::new(1), Path::new(FOLDER));
}

#[test]
fn folders_and_files_are_for_the_owner_alone() {
    let above = tempfile::tempdir().unwrap();
    let folder = above.path().join("deep/state");
    RealDisk.create_folder(&folder).unwrap();
    put(&RealDisk, &folder.join("one"), b"x");
    let _lock = RealDisk.lock(&folder).unwrap();
    let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(above.path().join("deep")), 0o700);
    assert_eq!(mode(folder.clone()), 0o700);
    assert_eq!(mode(folder.join("one")), 0o600);
    assert_eq!(mode(folder.join(LOCK_FILE)), 0o600);
}

#[test]
fn a_lock_names_its_holder() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join(LOCK_FILE), "99999999999 left over from a longer one").unwrap();
    let _lock = RealDisk.lock(folder.path()).unwrap();
    let Err(LockError::Held { pid }) = RealDisk.lock(folder.path()) else {
        panic!("taken twice");
    };
    assert_eq!(pid, Some(std::process::id()));
}

#[test]
fn a_lock_whose_folder_went_is_not_in_place() {
    let above = tempfile::tempdir().unwrap();
    let folder = above.path().join("state");
    RealDisk.create_folder(&folder).unwrap();
    let lock = RealDisk.lock(&folder).unwrap();
    fs::remove_dir_all(&folder).unwrap();
    assert!(!lock.is_in_place());
    RealDisk.create_folder(&folder).unwrap();
    let other = RealDisk.lock(&folder).unwrap();
    assert!(!lock.is_in_place() && other.is_in_place());
}

/// Root may write everywhere, so the lock's file is made what nobody can open for writing: a folder.
#[test]
fn a_lock_that_cannot_be_written_is_an_error_and_not_held() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join(LOCK_FILE)).unwrap();
    assert!(matches!(RealDisk.lock(folder.path()), Err(LockError::Io(_))));
    let missing = folder.path().join("missing");
    assert!(matches!(RealDisk.lock(&missing), Err(LockError::Io(_))));
}

#[test]
fn a_folder_that_is_a_file_is_an_error() {
    let above = tempfile::tempdir().unwrap();
    fs::write(above.path().join("state"), "").unwrap();
    assert!(RealDisk.create_folder(&above.path().join("state")).is_err());
    assert!(RealDisk.create_folder(&above.path().join("state/below")).is_err());
    assert_eq!(fs::metadata(above.path().join("state")).unwrap().size(), 0);
}

fn sim(seed: u64) -> (SimDisk, PathBuf) {
    let disk = SimDisk::new(seed);
    disk.create_folder(Path::new(FOLDER)).unwrap();
    (disk, Path::new(FOLDER).join("one"))
}

/// What is found in `one` after a crash, over many seeds; `None` where it is not there.
fn outcomes(before: impl Fn(&SimDisk, &Path)) -> HashSet<Option<Bytes>> {
    let found = (0..400).map(|seed| {
        let (disk, file) = sim(seed);
        before(&disk, &file);
        disk.crash();
        disk.read(&file, u64::MAX).ok()
    });
    found.collect()
}

#[test]
fn bytes_that_were_not_synced_may_be_lost_torn_or_zero() {
    let found = outcomes(|disk, file| {
        let mut staged = disk.create(file).unwrap();
        staged.write_all(b"ab").unwrap();
        staged.sync().unwrap();
        staged.write_all(b"cd").unwrap();
        disk.sync_folder(Path::new(FOLDER)).unwrap();
    });
    let expected = ["ab", "abc", "abcd", "abc\0", "ab\0\0"].map(|content| Some(Bytes::from(content)));
    assert_eq!(found, expected.into_iter().collect());
}

#[test]
fn names_that_were_not_synced_may_be_lost() {
    let found = outcomes(|disk, file| put(disk, file, b"x"));
    assert_eq!(found, [None, Some(Bytes::from("x"))].into_iter().collect());
    let found = outcomes(|disk, file| {
        let staged = Path::new(FOLDER).join("staged");
        put(disk, file, b"old");
        put(disk, &staged, b"new");
        disk.sync_folder(Path::new(FOLDER)).unwrap();
        disk.rename(&staged, file).unwrap();
    });
    assert_eq!(found, [Some(Bytes::from("old")), Some(Bytes::from("new"))].into_iter().collect());
}

#[test]
fn what_was_synced_stays() {
    let found = outcomes(|disk, file| {
        put(disk, file, b"x");
        disk.sync_folder(Path::new(FOLDER)).unwrap();
    });
    assert_eq!(found, [Some(Bytes::from("x"))].into_iter().collect());
}

#[test]
fn a_sync_after_a_failed_one_saves_nothing() {
    let found = outcomes(|disk, file| {
        let mut staged = disk.create(file).unwrap();
        disk.sync_folder(Path::new(FOLDER)).unwrap();
        staged.write_all(b"x").unwrap();
        disk.fail(0, 1, Failure::InputOutput);
        staged.sync().unwrap_err();
        staged.sync().unwrap();
    });
    assert_eq!(found, [Some(Bytes::new())].into_iter().collect());
}

#[test]
fn failures_hit_what_they_can_hit_and_no_longer_than_said() {
    let (disk, file) = sim(1);
    disk.fail(0, 3, Failure::ReadOnly);
    assert!(disk.list(Path::new(FOLDER)).is_ok());
    assert_eq!(disk.create(&file).err().unwrap().kind(), ErrorKind::ReadOnlyFilesystem);
    assert!(disk.remove(&file).is_err());
    put(&disk, &file, b"x");
    disk.fail(0, u64::MAX, Failure::NoSpace);
    assert_eq!(disk.create(&file.with_file_name("two")).err().unwrap().kind(), ErrorKind::StorageFull);
    assert!(disk.rename(&file, &file.with_file_name("two")).is_ok());
    disk.heal();
    put(&disk, &file, b"x");
}

#[test]
fn a_write_that_finds_no_space_may_have_put_down_a_part() {
    let found: HashSet<usize> = (0..200)
        .map(|seed| {
            let (disk, file) = sim(seed);
            let mut staged = disk.create(&file).unwrap();
            disk.fail(0, 1, Failure::NoSpace);
            staged.write_all(b"abc").unwrap_err();
            disk.read(&file, 9).unwrap().len()
        })
        .collect();
    assert_eq!(found, (0..=3).collect());
}

#[test]
fn after_the_power_went_nothing_works_until_the_crash() {
    let (disk, file) = sim(1);
    disk.power_off_at(1);
    assert!(disk.create(&file).is_ok());
    for _ in 0..3 {
        assert!(disk.list(Path::new(FOLDER)).is_err());
    }
    disk.crash();
    assert!(disk.list(Path::new(FOLDER)).is_ok());
}

#[test]
fn a_killed_process_loses_its_lock_and_no_bytes() {
    let (disk, file) = sim(1);
    let lock = disk.lock(Path::new(FOLDER)).unwrap();
    disk.create(&file).unwrap().write_all(b"x").unwrap();
    disk.kill();
    assert!(!lock.is_in_place());
    assert_eq!(disk.read(&file, 9).unwrap(), "x");
    assert!(disk.lock(Path::new(FOLDER)).is_ok());
}
