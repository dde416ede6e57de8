//! Bytes that change on the disk by themselves.

use super::*;

/// Snapshot 1, a compaction's at 4, changes up to 7; all acknowledged.
fn disk_to_rot() -> SimDisk {
    let disk = disk_with(4);
    let mut store = booted(&disk).0;
    compact(&mut store, state(4));
    (5..=7).for_each(|number| store.append(&step(number)).unwrap());
    drop(store);
    disk
}

#[test]
fn one_flipped_byte_in_any_journal_loses_nothing_and_is_reported() {
    let disk = disk_to_rot();
    for file in [journal(2), journal(5)] {
        let length = disk.size(&folder().join(&file)).unwrap() as usize;
        for at in 0..length {
            let disk = disk.fork();
            assert!(disk.rot(&folder().join(&file), at, 1 << (at % 8)));
            let (_, boot) = booted(&disk);
            let told = format!("{file} at {at}: {boot:?}");
            assert_eq!((generation(&boot), boot.lost), (Some(7), false), "{told}");
            if file == journal(5) {
                let [damage] = &boot.damaged[..] else { panic!("{told}") };
                assert!(damage.file == file && damage.offset.is_some_and(|offset| offset <= at as u64), "{told}");
            }
            assert!(
                inspect(&disk, folder(), NO_POISON)
                    .would_serve
                    .is_some_and(|serves| serves.generation == Generation(7))
            );
        }
    }
}

#[test]
fn one_flipped_byte_in_a_compaction_loses_nothing_and_is_reported() {
    let disk = disk_to_rot();
    let file = snapshot(4);
    let length = disk.size(&folder().join(&file)).unwrap() as usize;
    for at in 0..length {
        let disk = disk.fork();
        assert!(disk.rot(&folder().join(&file), at, 1 << (at % 8)));
        let (mut store, boot) = booted(&disk);
        assert_eq!((generation(&boot), boot.lost), (Some(7), false), "{at}: {boot:?}");
        let aside = format!("{file}.damaged");
        let [damage] = &boot.damaged[..] else { panic!("{boot:?}") };
        assert_eq!((&damage.file, damage.kept_as.as_ref()), (&file, Some(&aside)), "{at}");
        store.append(&step(8)).unwrap();
        assert_eq!(generation(&booted_copy(&disk)), Some(8));
    }
}

/// A state that no changes lead to is there once: then the one before is served, and that something is lost is said.
#[test]
fn a_flipped_byte_in_a_state_saved_whole_gives_the_one_before_and_says_so() {
    let disk = disk_with(3);
    let mut store = booted(&disk).0;
    store.save(&state(4)).unwrap();
    store.append(&step(5)).unwrap();
    drop(store);
    assert!(disk.rot(&folder().join(snapshot(4)), 60, 4));
    let (mut store, boot) = booted(&disk);
    assert_eq!((generation(&boot), boot.lost), (Some(3), true), "{boot:?}");
    // What could not be reached is never mixed with what comes now.
    assert!(!store.is_behind());
    store.append(&step(4)).unwrap();
    drop(store);
    let (_, boot) = booted(&disk);
    assert_eq!((generation(&boot), boot.lost), (Some(4), false), "{boot:?}");
}

/// As after a power cut: bytes that no sync has acknowledged.
#[test]
fn a_torn_end_is_kept_aside_cut_off_and_reported_once() {
    let disk = disk_with(3);
    let mut file = disk.append_to(&folder().join(journal(2))).unwrap();
    let whole = disk.size(&folder().join(journal(2))).unwrap();
    file.write_all(b"half a change").unwrap();
    let (_, boot) = booted(&disk);
    assert_eq!((generation(&boot), boot.lost), (Some(3), false));
    let torn = format!("{}.torn", journal(2));
    let [damage] = &boot.damaged[..] else { panic!("{boot:?}") };
    assert_eq!((damage.offset, damage.kept_as.as_ref()), (Some(whole), Some(&torn)));
    assert_eq!(disk.read(&folder().join(&torn), 99).unwrap(), "half a change");
    let (_, boot) = booted(&disk);
    assert!(boot.damaged.is_empty() && generation(&boot) == Some(3), "{boot:?}");
}

#[test]
fn changes_after_a_gap_are_not_brought_about_and_said_to_be_lost() {
    let disk = disk_with(6);
    let file = folder().join(journal(2));
    let bytes = disk.read(&file, u64::MAX).unwrap();
    // Both frames of the third change.
    let frames = crate::journal::encode(4, &step(4)).unwrap();
    let at = bytes.windows(frames.len()).position(|window| window == frames).unwrap();
    assert!(disk.rot(&file, at + 30, 1) && disk.rot(&file, at + frames.len() / 2 + 30, 1));
    let (mut store, boot) = booted(&disk);
    assert_eq!((generation(&boot), boot.lost), (Some(3), true), "{boot:?}");
    store.append(&step(4)).unwrap();
    assert_eq!(generation(&booted_copy(&disk)), Some(4));
}

#[test]
fn a_file_of_a_newer_version_is_left_as_it_is_and_reported() {
    let disk = disk_with(3);
    let name = folder().join(snapshot(9));
    let newer = [&crate::codec::header(*b"\x89HGSNAP\n", 9)[..], b"whatever"].concat();
    disk.create(&name).unwrap().write_all(&newer).unwrap();
    let (mut store, boot) = booted(&disk);
    assert_eq!((generation(&boot), boot.lost), (Some(3), true), "{boot:?}");
    assert!(boot.damaged[0].why.contains("newer version") && boot.damaged[0].kept_as.is_none(), "{boot:?}");
    assert_eq!(disk.read(&name, 99).unwrap(), newer);
    store.append(&step(4)).unwrap();
    assert_eq!(generation(&booted_copy(&disk)), Some(4));
}

#[test]
fn damaged_files_are_kept_but_do_not_fill_the_disk() {
    let disk = disk_with(1);
    let mut removed = Vec::new();
    for number in 2..=9 {
        let mut store = booted(&disk).0;
        store.append(&step(number)).unwrap();
        compact(&mut store, state(number));
        drop(store);
        assert!(disk.rot(&folder().join(snapshot(number)), 60, 1));
        let (_, boot) = booted(&disk);
        assert_eq!((generation(&boot), boot.lost), (Some(number), false), "{boot:?}");
        removed.extend(boot.removed);
    }
    let damaged = |number| format!("{}.damaged", snapshot(number));
    assert_eq!(removed, (2..=5).map(damaged).collect::<Vec<_>>());
    assert_eq!(names(&disk).iter().filter(|name| name.ends_with(".damaged")).count(), 4);
}

#[test]
fn a_file_that_cannot_be_read_is_left_and_its_numbers_are_not_given_again() {
    for nth in 0..12 {
        let disk = disk_with(4);
        let mut store = open(&disk);
        disk.fail(nth, 1, Failure::InputOutput);
        let boot = store.boot(NO_POISON, NOW);
        disk.heal();
        let found = boot.state.as_ref().map(|state| state.generation().0);
        assert!(found == Some(4) || boot.lost, "{nth}: {boot:?}");
        let next = found.unwrap_or_default() + 1;
        if store.append(&step(next)).is_err() {
            store.retry(&state(next)).unwrap();
        }
        assert_eq!(generation(&booted_copy(&disk)), Some(next), "{nth}");
    }
}
