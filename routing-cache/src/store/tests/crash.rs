//! Power cuts and kills at every operation, on the simulated disk.
//!
//! What must hold at each start: what is found was really saved, to the byte; it is never older than the last save that
//! was acknowledged, nor than what an earlier start found and served.
//!
//! Each of these mutants of the store was seen to be caught by the tests here: no sync of the staged file, no sync of the
//! folder after the rename, the snapshot written under its own name (no stage and rename), older files removed before
//! the new one is durable, no sync of the folder at a start. Unchecked checksums are caught by `snapshot::tests`, and by
//! the tests here together with the missing sync of the file.

use proptest::prelude::*;

use super::*;

/// Follows what may be found.
#[derive(Default)]
struct Ledger {
    /// Given to `save`, whatever became of it.
    tried: u64,
    /// Nothing older may be found.
    floor: u64,
}

impl Ledger {
    fn save(&mut self, store: &mut Store) {
        self.tried += 1;
        if store.save(&saved(self.tried)).is_ok() {
            self.floor = self.tried;
        }
    }

    /// Holds what a start has found against what may be found.
    fn check(&self, boot: &Boot) -> u64 {
        let found = generation(boot).unwrap_or_default();
        assert!((self.floor..=self.tried).contains(&found), "{found} of {}..={}", self.floor, self.tried);
        found
    }

    /// A start without accidents; what it finds is served from now on.
    fn start(&mut self, disk: &SimDisk) -> Store {
        let mut store = open(disk);
        self.floor = self.check(&store.boot());
        store
    }
}

/// How a round ends.
fn end(disk: &SimDisk, killed: bool) {
    if killed {
        disk.kill();
    } else {
        disk.crash();
    }
}

#[test]
fn after_a_cut_at_any_operation_the_newest_acknowledged_snapshot_is_found() {
    let saves = 4;
    for killed in [false, true] {
        for seed in 0..24 {
            let mut cut = 0;
            loop {
                let (disk, mut ledger) = (SimDisk::new(seed), Ledger::default());
                disk.power_off_at(cut);
                let mut store = open(&disk);
                (0..saves).for_each(|_| ledger.save(&mut store));
                let reached = disk.operations() > cut;
                drop(store);
                end(&disk, killed);
                let mut store = ledger.start(&disk);
                ledger.save(&mut store);
                drop(store);
                disk.crash();
                ledger.start(&disk);
                if !reached {
                    break;
                }
                cut += 1;
            }
        }
    }
}

#[test]
fn what_a_start_after_a_kill_has_served_is_not_lost_in_a_power_cut_after_it() {
    for seed in 0..24 {
        for cut in 0..60 {
            let (disk, mut ledger) = (SimDisk::new(seed), Ledger::default());
            let mut store = open(&disk);
            ledger.save(&mut store);
            disk.power_off_at(cut);
            ledger.save(&mut store);
            drop(store);
            disk.kill();
            drop(ledger.start(&disk));
            disk.crash();
            ledger.start(&disk);
        }
    }
}

#[derive(Clone, Debug)]
struct Round {
    saves: u8,
    /// The power goes, or the process dies, at this operation of the round.
    cut: u64,
    killed: bool,
    /// Some operations fail before that.
    failing: Option<(u64, u64, Failure)>,
}

fn round() -> impl Strategy<Value = Round> {
    let failure = prop_oneof![Just(Failure::NoSpace), Just(Failure::InputOutput), Just(Failure::ReadOnly)];
    let failing = proptest::option::weighted(0.4, (0..60u64, 1..20u64, failure));
    (0..5u8, 0..120u64, proptest::bool::weighted(0.3), failing).prop_map(|(saves, cut, killed, failing)| Round {
        saves,
        cut,
        killed,
        failing,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn whatever_happens_a_start_finds_what_was_really_saved(seed: u64, rounds in proptest::collection::vec(round(), 1..6)) {
        let (disk, mut ledger) = (SimDisk::new(seed), Ledger::default());
        for round in rounds {
            let mut store = ledger.start(&disk);
            if let Some((nth, times, failure)) = round.failing {
                disk.fail(nth, times, failure);
            }
            disk.power_off_at(round.cut);
            (0..round.saves).for_each(|_| ledger.save(&mut store));
            drop(store);
            end(&disk, round.killed);
        }
        let mut store = ledger.start(&disk);
        store.save(&saved(ledger.tried + 1)).unwrap();
        prop_assert_eq!(generation(&store.boot()), Some(ledger.tried + 1));
        prop_assert!(names(&disk).len() <= 8, "{:?}", names(&disk));
    }

    /// The start itself is cut, or its disk fails: it finds something whole or nothing, and the next one finds all.
    #[test]
    fn a_start_that_is_cut_short_loses_nothing(seed: u64, saves in 1..4u64, cut in 0..12u64, rotten: bool, failing: bool, killed: bool) {
        let (disk, mut ledger) = (SimDisk::new(seed), Ledger::default());
        let mut store = ledger.start(&disk);
        (0..saves).for_each(|_| ledger.save(&mut store));
        drop(store);
        if rotten && saves > 1 {
            prop_assert!(disk.rot(&folder().join(snapshot(saves)), 40, 1));
            ledger.floor -= 1;
        }
        if failing {
            disk.fail(cut, 2, Failure::InputOutput);
        } else {
            disk.power_off_at(cut);
        }
        let mut store = open(&disk);
        let found = generation(&store.boot()).unwrap_or_default();
        prop_assert!(found <= ledger.tried);
        drop(store);
        end(&disk, killed);
        ledger.start(&disk);
    }
}
