//! Tables that the process dies of.

use super::*;

const RULES: PoisonRules = PoisonRules { crashes: 3, within: Duration::from_secs(10) };

/// A run that dies young: what it found.
fn crash(disk: &SimDisk) -> Boot {
    let boot = open(disk).boot(RULES, NOW);
    disk.kill();
    boot
}

/// Generations up to 3 survived, then 4 and 5 came, and the process died.
fn poisoned_disk() -> SimDisk {
    let disk = disk_with(3);
    let mut store = booted(&disk).0;
    store.survived(&state(3)).unwrap();
    store.append(&step(4)).unwrap();
    store.append(&step(5)).unwrap();
    drop(store);
    disk.kill();
    disk
}

fn poison(boot: &Boot) -> Option<u64> {
    boot.poisoned.as_ref().map(|poisoned| poisoned.generation.0)
}

#[test]
fn a_table_that_three_runs_in_a_row_died_of_is_not_booted_again() {
    let disk = poisoned_disk();
    for _ in 0..3 {
        let boot = crash(&disk);
        assert_eq!((generation(&boot), poison(&boot)), (Some(5), None));
    }
    let mut store = open(&disk);
    let boot = store.boot(RULES, NOW);
    assert_eq!((generation(&boot), poison(&boot), boot.lost), (Some(3), Some(5), false), "{boot:?}");
    let poisoned = boot.poisoned.unwrap();
    let table = state(5).table;
    assert_eq!((poisoned.digest, poisoned.epoch, poisoned.crashes), (table.digest(), Some(epoch()), 3));
    let aside: Vec<String> = names(&disk).into_iter().filter(|name| name.ends_with(".poison")).collect();
    assert_eq!(aside, [journal(3), journal(5)].map(|name| format!("{name}.poison")));
    // It goes on from there, and the next start knows of the poison.
    store.append(&step(4)).unwrap();
    drop(store);
    disk.crash();
    let mut store = open(&disk);
    let boot = store.boot(RULES, NOW);
    assert_eq!((generation(&boot), poison(&boot), boot.lost), (Some(4), Some(5), false), "{boot:?}");
    store.append(&step(5)).unwrap();
    // The same table once more: it is not given another try.
    drop(store);
    disk.kill();
    assert_eq!(generation(&crash(&disk)), Some(3));
}

#[test]
fn poison_is_forgotten_once_a_later_table_has_lived() {
    let disk = poisoned_disk();
    (0..3).for_each(|_| drop(crash(&disk)));
    let mut store = open(&disk);
    assert_eq!(poison(&store.boot(RULES, NOW)), Some(5));
    store.save(&state(6)).unwrap();
    store.survived(&state(6)).unwrap();
    drop(store);
    let boot = open(&disk).boot(RULES, NOW);
    assert_eq!((generation(&boot), poison(&boot)), (Some(6), None));
}

#[test]
fn runs_that_survived_or_ended_in_order_are_no_crashes() {
    let disk = poisoned_disk();
    for _ in 0..8 {
        let mut store = open(&disk);
        assert_eq!(generation(&store.boot(RULES, NOW)), Some(5));
        store.stopping();
        drop(store);
        assert_eq!(generation(&crash(&disk)), Some(5));
        let mut store = open(&disk);
        assert_eq!(generation(&store.boot(RULES, NOW)), Some(5));
        store.survived(&state(5)).unwrap();
        drop(store);
    }
}

#[test]
fn there_is_no_poison_where_it_is_switched_off() {
    let disk = poisoned_disk();
    for _ in 0..9 {
        assert_eq!(generation(&booted(&disk).1), Some(5));
        disk.kill();
    }
}

#[test]
fn where_no_good_state_is_known_the_nearest_older_snapshot_is_booted() {
    let disk = disk_with(3);
    let mut store = booted(&disk).0;
    compact(&mut store, state(3));
    (4..=5).for_each(|number| store.append(&step(number)).unwrap());
    compact(&mut store, state(5));
    drop(store);
    disk.remove(&folder().join("runs")).unwrap();
    let found: Vec<_> = (0..10).map(|_| generation(&crash(&disk)).unwrap()).collect();
    // From table to table, back to the oldest; and never to nothing.
    assert_eq!(found, [5, 5, 5, 3, 3, 3, 1, 1, 1, 1]);
}

#[test]
fn a_damaged_note_of_the_runs_is_no_reason_for_anything() {
    let disk = poisoned_disk();
    (0..2).for_each(|_| drop(crash(&disk)));
    let length = disk.size(&folder().join("runs")).unwrap() as usize;
    for at in 0..length {
        let disk = disk.fork();
        assert!(disk.rot(&folder().join("runs"), at, 1));
        for _ in 0..3 {
            assert_eq!(generation(&crash(&disk)), Some(5), "{at}");
        }
    }
}

/// The power goes at any operation of the start that sets the poison aside: the next ones end at the good table too.
#[test]
fn poison_that_is_set_aside_in_parts_is_set_aside_by_the_next_start() {
    for seed in 0..8 {
        for cut in 0..40 {
            let disk = poisoned_disk();
            (0..3).for_each(|_| drop(crash(&disk)));
            disk.power_off_at(cut);
            drop(open(&disk).boot(RULES, NOW));
            if seed % 2 == 0 {
                disk.crash()
            } else {
                disk.kill()
            }
            let before = names(&disk);
            let found: Vec<_> = (0..3).map(|_| generation(&crash(&disk)).unwrap()).collect();
            assert!(found.contains(&3), "{seed} {cut}: {found:?} {before:?}");
            assert!(found.iter().all(|found| [3, 4, 5].contains(found)), "{cut}: {found:?}");
        }
    }
}
