//! Random histories of a store on the simulated disk, with power cuts, kills and failures at any operation.
//!
//! What must hold at each start: what is found was really published, to the last byte (table, what was received, its
//! differences, tombstones, meta); it is never older than what the store last said to be on disk
//! (`!is_behind()`), nor than what an earlier start found and served. Where the disk does not let files be read at a start, it
//! may be older, and says so (`lost`).
//!
//! Each of these mutants was tried, and seen to be caught by the tests here: no sync of a staged file, no sync of the folder
//! after a rename, files written in place (no stage and rename), a change published before it is appended, no sync of an
//! append, the last change not written anew at a start, changes appended after a failed save, old files removed before the
//! new one is durable. By those beside (`rot`, and the tests of journal and snapshot): the checksum of a frame not checked,
//! the checksums of a snapshot not checked, no copy of a frame, a start that goes on where something is lost, numbers given
//! twice, a change brought about that does not follow. By `store::tests`: a compaction that stands for what came after it,
//! segments passed over that began before a snapshot, a segment written on after a failure.
//!
//! A history follows from its seed, which is printed when it fails: `HOLDGATE_SEED=n cargo test -p routing-cache sim` plays
//! that one alone. `HOLDGATE_SIM_HISTORIES=n` plays so many.

use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
};

use super::*;

/// Histories played by default.
const HISTORIES: u64 = 2_000;
/// Histories that are cut at every operation by default.
const EVERY_CUT: u64 = 24;
/// Steps of one life of the process.
const STEPS: u64 = 9;

/// SplitMix64 (Steele, Lea, Flood, 2014).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}

/// An updater: publishes states, and follows what may be found.
struct World {
    random: Random,
    disk: SimDisk,
    store: Option<Store>,
    state: State,
    /// All that was ever published and may be found.
    published: BTreeMap<u64, Print>,
    /// The generation published last.
    newest: u64,
    /// Nothing older may be found.
    floor: u64,
    compaction: Option<Compaction>,
    compacted: Option<Compacted>,
    /// What was done, to be told when it fails.
    log: Vec<String>,
}

impl World {
    fn new(seed: u64) -> Self {
        Self {
            random: Random(seed),
            disk: SimDisk::new(seed ^ 0x5eed),
            store: None,
            state: State::default(),
            published: BTreeMap::new(),
            newest: 0,
            floor: 0,
            compaction: None,
            compacted: None,
            log: Vec::new(),
        }
    }

    /// A start, and what it finds.
    fn start(&mut self, faulty: bool) {
        let Ok(mut store) = Store::open(Arc::new(self.disk.clone()), folder()) else { panic!("locked") };
        let boot = store.boot(NO_POISON, NOW);
        let found = boot.state.as_ref().map_or(0, |state| state.generation().0);
        self.log.push(format!("start: {found} from {:?}, floor {}, {:?}", boot.origin, self.floor, boot.damaged));
        assert!(found >= self.floor || (faulty && (boot.lost || store.unwritable().is_some())), "too old");
        if let Some(state) = &boot.state {
            assert_eq!(self.published.get(&found), Some(&Print::of(state)), "never published");
        }
        assert!(faulty || !boot.lost, "said to be lost");
        if found >= self.floor && !faulty {
            self.published.split_off(&(found + 1));
            self.floor = found;
        }
        if found < self.floor && store.unwritable().is_none() && !store.is_behind() {
            // What is served instead is the newest on disk now.
            self.floor = found;
        }
        self.state = boot.state.unwrap_or_default();
        self.store = Some(store);
    }

    fn publish(&mut self) -> Change {
        self.newest += 1;
        let generation = self.newest;
        let mut ops = Vec::new();
        for _ in 0..self.random.below(4) {
            let app = format!("app-{}", self.random.below(6));
            ops.push(match self.random.below(7) {
                0 => Op::Remove(id(&app)),
                1 => Op::Differ(id(&app), self.difference(&app)),
                2 => Op::Agree(id(&app)),
                3 => Op::Bury(id(&app), Rev(generation)),
                4 => Op::Unbury(id(&app)),
                _ => put(&app, generation),
            });
        }
        if self.random.below(30) == 0 {
            ops.push(Op::UnburyAll);
        }
        let change = change(generation, ops);
        self.state.apply(&change).unwrap();
        self.published.insert(generation, Print::of(&self.state));
        change
    }

    fn difference(&mut self, app: &str) -> Difference {
        let number = Number { rev: Rev(self.newest), digest: Digest(7) };
        let kind = match self.random.below(5) {
            0 => Kind::Deleted(Rev(self.newest)),
            1 => Kind::Withheld(record(app, self.newest)),
            2 => Kind::Waiting(record(app, self.newest), "why".into()),
            3 => Kind::Invalid(number, "field".into(), "message".into()),
            _ => Kind::Stale(number),
        };
        Difference { kind, foreign: self.random.below(2) == 0 }
    }

    fn step(&mut self) {
        let what = self.random.below(16);
        let change = if what < 10 { Some(self.publish()) } else { None };
        let Some(store) = &mut self.store else { return };
        let was_behind = store.is_behind();
        let told = match what {
            0 | 1 => format!("save {}: {:?}", self.newest, store.save(&self.state).map(|info| info.file)),
            2..10 => format!("append {}: {:?}", self.newest, change.map(|change| store.append(&change))),
            10 => {
                let told = format!("begin at {:?}", self.state.generation());
                self.compaction = self.state.has_table().then(|| store.begin_compaction(self.state.clone()));
                told
            }
            11 => {
                self.compacted = self.compaction.take().map(Compaction::run).or(self.compacted.take());
                format!("run: {:?}", self.compacted.as_ref().map(|compacted| &compacted.result))
            }
            12 => format!("finish: {:?}", self.compacted.take().map(|compacted| store.finish_compaction(&compacted))),
            13 => format!("survived: {:?}", store.survived(&self.state)),
            _ => format!("retry: {:?}", store.retry(&self.state)),
        };
        let behind = store.is_behind();
        self.log.push(format!("{told}{}", if behind { ", behind" } else { "" }));
        if !behind && (was_behind || what < 10) {
            self.floor = self.state.generation().0;
        }
    }

    fn end(&mut self, killed: bool) {
        (self.compaction, self.compacted) = (None, None);
        if self.random.below(6) == 0
            && let Some(store) = &mut self.store
        {
            store.stopping();
        }
        self.store = None;
        self.log.push(if killed { "killed" } else { "power cut" }.to_owned());
        if killed { self.disk.kill() } else { self.disk.crash() }
    }
}

/// Plays a history: three lives, the first of which ends at operation `cut`. True when it had so many operations.
fn play(world: &mut World, cut: Option<u64>) -> bool {
    let mut reached = false;
    for life in 0..3 {
        let began = world.disk.operations();
        if life == 0 {
            if let Some(cut) = cut {
                world.disk.power_off_at(cut);
            }
        } else if world.random.below(2) == 0 {
            let nth = world.random.below(90);
            world.disk.power_off_at(nth);
        }
        world.start(true);
        for _ in 0..STEPS {
            if world.random.below(8) == 0 {
                let failure =
                    [Failure::NoSpace, Failure::InputOutput, Failure::ReadOnly][world.random.below(3) as usize];
                let (nth, times) = (world.random.below(12), 1 + world.random.below(6));
                world.disk.fail(nth, times, failure);
                world.log.push(format!("{failure:?} in {nth}, {times} times"));
            }
            world.step();
        }
        reached |= life == 0 && cut.is_some_and(|cut| world.disk.operations() - began > cut);
        let killed = world.random.below(3) == 0;
        world.end(killed);
        world.start(false);
        world.end(true);
    }
    // And then all goes well again.
    world.start(false);
    let state = world.state.clone();
    let store = world.store.as_mut().unwrap();
    assert!(!store.is_behind());
    if state.has_table() {
        let change = world.publish();
        world.store.as_mut().unwrap().append(&change).unwrap();
        world.floor = world.newest;
        world.end(false);
        world.start(false);
        assert_eq!(world.state.generation().0, world.newest);
    }
    let files = names(&world.disk).len();
    assert!(files <= 40, "{files} files");
    reached
}

/// Plays, and tells the history when it fails.
fn tell(seed: u64, cut: Option<u64>) -> bool {
    let mut world = World::new(seed);
    match catch_unwind(AssertUnwindSafe(|| play(&mut world, cut))) {
        Ok(reached) => reached,
        Err(_) => panic!("HOLDGATE_SEED={seed}, cut {cut:?}:\n{}", world.log.join("\n")),
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn whatever_happens_a_start_finds_what_was_published_and_nothing_older_than_what_was_acknowledged() {
    if let Some(seed) = number("HOLDGATE_SEED") {
        (0..200).for_each(|cut| assert!(tell(seed, Some(cut)) || cut > 0));
        return;
    }
    for seed in 0..number("HOLDGATE_SIM_HISTORIES").unwrap_or(HISTORIES) {
        tell(seed, Some(Random(seed).below(160)));
    }
}

#[test]
fn a_history_may_be_cut_at_every_operation() {
    for seed in 0..number("HOLDGATE_SIM_HISTORIES").map_or(EVERY_CUT, |histories| histories / 80) {
        let mut cut = 0;
        while tell(seed, Some(cut)) {
            cut += 1;
        }
    }
}

/// A folder after a life or two without accidents, and then some damage: bytes that flip, files that are gone.
fn damaged_folder(seed: u64) -> World {
    let mut world = World::new(seed);
    for _ in 0..=world.random.below(3) {
        world.start(true);
        for _ in 0..STEPS {
            world.step();
        }
        world.end(true);
    }
    for _ in 0..world.random.below(4) {
        let names = world.disk.list(folder()).unwrap();
        if names.is_empty() {
            break;
        }
        let name = &names[world.random.below(names.len() as u64) as usize];
        let file = folder().join(name);
        let length = world.disk.size(&file).unwrap();
        if world.random.below(6) == 0 {
            world.disk.remove(&file).unwrap();
            world.log.push(format!("{name} is gone"));
        } else if length > 0 {
            let at = world.random.below(length) as usize;
            assert!(world.disk.rot(&file, at, 1 << world.random.below(8)));
            world.log.push(format!("{name} rots at {at}"));
        }
    }
    world
}

#[test]
fn what_is_said_of_a_damaged_folder_is_what_a_start_serves() {
    let (mut served, mut passed_over) = (0, 0);
    for seed in 0..number("HOLDGATE_SIM_HISTORIES").unwrap_or(HISTORIES) {
        let world = damaged_folder(seed);
        for crashes in [0, 1, 2] {
            let rules = PoisonRules { crashes, ..NO_POISON };
            let disk = world.disk.fork();
            let told = inspect(&disk, folder(), rules).would_serve;
            let boot = open(&disk).boot(rules, NOW);
            let found = boot.state.as_ref().map(|state| WouldServe {
                origin: boot.origin.clone(),
                generation: state.generation(),
                epoch: state.meta.provenance.epoch.clone(),
                apps: state.table.len() as u64,
                digest: state.table.digest(),
                received_at: state.meta.provenance.received_at,
                document_bytes: state.table.document_bytes(),
                instead_of: told.as_ref().and_then(|told| told.instead_of.clone()),
            });
            assert_eq!(told, found, "HOLDGATE_SEED={seed}:\n{}", world.log.join("\n"));
            served += u32::from(found.is_some());
            if let Some(poisoned) = told.and_then(|told| told.instead_of) {
                assert_eq!(boot.poisoned, Some(poisoned), "HOLDGATE_SEED={seed}");
                passed_over += 1;
            }
        }
    }
    assert!(served > 0 && passed_over > 0, "{served}, {passed_over}");
}
