//! A snapshot that stands alone gets a second beside it.

use super::*;

/// A change that says nothing new, as an updater makes one.
fn same_again(store: &mut Store, state: &State) {
    assert!(store.lacks_a_second() && !store.wants_compaction(&state.table));
    store.append(&Change::of(state.meta.clone())).unwrap();
    assert!(!store.lacks_a_second() && store.wants_compaction(&state.table));
}

#[test]
fn any_byte_of_either_of_two_snapshots_may_flip_then() {
    let disk = disk_with(1);
    let mut store = booted(&disk).0;
    same_again(&mut store, &state(1));
    compact(&mut store, state(1));
    assert!(!store.lacks_a_second() && !store.wants_compaction(&state(1).table));
    drop(store);
    for file in [snapshot(1), snapshot(2)] {
        let length = disk.size(&folder().join(&file)).unwrap() as usize;
        for at in 0..length {
            let disk = disk.fork();
            assert!(disk.rot(&folder().join(&file), at, 1 << (at % 8)));
            let (_, boot) = booted(&disk);
            assert_eq!((generation(&boot), boot.lost), (Some(1), false), "{file} at {at}: {boot:?}");
        }
    }
}

#[test]
fn one_that_was_set_aside_is_no_second() {
    let disk = disk_with(2);
    compact(&mut booted(&disk).0, state(2));
    assert!(disk.rot(&folder().join(snapshot(2)), 60, 1));
    let (mut store, boot) = booted(&disk);
    assert_eq!((generation(&boot), boot.damaged.len()), (Some(2), 1));
    assert!(store.wants_compaction(&state(2).table), "there is a change after the one that is left");
    compact(&mut store, state(2));
    assert!(names(&disk).contains(&snapshot(2)) && !store.wants_compaction(&state(2).table));
}

#[test]
fn a_compaction_that_a_save_has_overtaken_is_no_second_of_what_was_saved() {
    let disk = disk_with(3);
    let mut store = booted(&disk).0;
    let compacted = store.begin_compaction(state(3)).run();
    store.save(&state(4)).unwrap();
    store.finish_compaction(&compacted).unwrap();
    same_again(&mut store, &state(4));
}

/// What lies in the journal before a snapshot does not lead away from it.
#[test]
fn a_second_is_never_made_in_the_place_of_the_first() {
    let disk = disk_with(4);
    compact(&mut booted(&disk).0, state(4));
    disk.remove(&folder().join(snapshot(1))).unwrap();
    let (mut store, boot) = booted(&disk);
    assert_eq!(generation(&boot), Some(4));
    same_again(&mut store, &state(4));
    compact(&mut store, state(4));
    assert!(names(&disk).contains(&snapshot(4)) && names(&disk).contains(&snapshot(5)), "{:?}", names(&disk));
}

#[test]
fn a_compaction_that_fails_or_breaks_is_not_tried_again_at_once() {
    for breaks in [false, true] {
        let disk = disk_with(1);
        let mut store = booted(&disk).0;
        same_again(&mut store, &state(1));
        let compaction = store.begin_compaction(state(1));
        if breaks {
            drop(compaction);
            store.give_up_compaction();
        } else {
            disk.fail(0, u64::MAX, Failure::NoSpace);
            let compacted = compaction.run();
            disk.heal();
            store.finish_compaction(&compacted).unwrap();
        }
        assert!(!store.lacks_a_second() && !store.wants_compaction(&state(1).table), "{breaks}");
        assert_eq!(generation(&booted_copy(&disk)), Some(1));
    }
}

#[test]
fn a_folder_that_cannot_be_written_is_left_alone() {
    let disk = disk_with(1);
    let mut store = booted(&disk).0;
    disk.fail(0, u64::MAX, Failure::ReadOnly);
    assert!(store.lacks_a_second());
    assert!(store.append(&Change::of(state(1).meta)).is_err());
    assert!(!store.lacks_a_second() && store.is_behind());
    assert!(!booted(&disk.fork()).0.lacks_a_second());
}
