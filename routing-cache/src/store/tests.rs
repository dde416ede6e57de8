//! The store on the real disk and on the simulator, without accidents of power (those are in `sim`).

mod files;
mod poison;
mod rot;
mod second;
mod sim;

use std::{fs, time::Duration};

use crate::{
    disk::{
        RealDisk,
        sim::{Failure, SimDisk},
    },
    model::{
        AppId, AppRecord, Digest, Epoch, Generation, HostRef, Provenance, Record, RecordParts, Rev, Source, WallTime,
    },
    state::{Difference, Kind, Meta, Number, Op, Position},
};

use super::*;

const FOLDER: &str = "/state";
const NO_POISON: PoisonRules = PoisonRules { crashes: 0, within: Duration::from_secs(10) };
const NOW: WallTime = WallTime(1_000);

fn folder() -> &'static Path {
    Path::new(FOLDER)
}

fn record(id: &str, rev: u64) -> AppRecord {
    let document = format!(r#"{{"hosts":["{id}.example.com"],"x":"{}"}}"#, "y".repeat(rev as usize % 40));
    let host = format!("{id}.example.com");
    let hosts = [HostRef { name: &host, wildcard: false }];
    AppRecord::new(&RecordParts { id, rev: Rev(rev), document: document.as_bytes(), endpoints: 1, hosts: &hosts })
        .unwrap()
}

fn id(text: &str) -> AppId {
    AppId::new(text).unwrap()
}

fn epoch() -> Epoch {
    Epoch::new("e").unwrap()
}

fn meta(generation: u64) -> Meta {
    let provenance = Provenance {
        source: Source::Live,
        epoch: Some(epoch()),
        generation: Generation(generation),
        received_at: WallTime(generation * 10),
    };
    Meta { provenance, hour_max: generation, window: vec![(WallTime(generation), 1)], ..Meta::default() }
}

fn position(generation: u64) -> Position {
    Position { epoch: epoch(), generation: Generation(generation) }
}

/// A change to a generation, which puts these apps.
fn change(generation: u64, ops: Vec<Op>) -> Change {
    Change {
        received: Some((position(generation), generation, Digest(generation.into()))),
        ops,
        meta: meta(generation),
    }
}

fn put(app: &str, rev: u64) -> Op {
    Op::Put(record(app, rev))
}

/// The state of a generation that was made by [`change`]s of one app each, `app-1` and so on.
fn state(generation: u64) -> State {
    let mut state = State::default();
    for number in 1..=generation {
        state.apply(&step(number)).unwrap();
    }
    state
}

fn step(generation: u64) -> Change {
    change(generation, vec![put(&format!("app-{}", generation % 7), generation)])
}

/// All that is to be told of a state, to compare by.
#[derive(Clone, Debug, PartialEq)]
struct Print {
    apps: Vec<(String, u64, String)>,
    digest: Digest,
    received: Option<(Position, u64, Digest)>,
    differences: Vec<(AppId, Difference)>,
    tombstones: Vec<(AppId, Rev)>,
    meta: Meta,
}

impl Print {
    fn of(state: &State) -> Self {
        let app = |app: Record<'_>| {
            assert_eq!(state.table.find_app(app.hosts().next().unwrap().name).map(Record::id), Some(app.id()));
            (app.id().to_owned(), app.rev().0, String::from_utf8_lossy(app.document()).into_owned())
        };
        // By id: going over an overlay of a few apps takes its time without optimization.
        let apps: Vec<_> = (0..7).filter_map(|number| state.table.app(&format!("app-{number}"))).map(app).collect();
        assert_eq!(apps.len(), state.table.len());
        let received = state.received.as_ref().map(|r| (r.position.clone(), r.apps, r.digest));
        let differences = state.received.iter().flat_map(|r| r.differences.iter());
        let differences = differences.map(|(id, difference)| (id.clone(), difference.clone())).collect();
        let tombstones = state.tombstones.iter().map(|(id, rev)| (id.clone(), rev)).collect();
        Self { apps, digest: state.table.digest(), received, differences, tombstones, meta: state.meta.clone() }
    }
}

fn open(disk: &SimDisk) -> Store {
    Store::open(Arc::new(disk.clone()), folder()).unwrap()
}

fn booted(disk: &SimDisk) -> (Store, Boot) {
    let mut store = open(disk);
    let boot = store.boot(NO_POISON, NOW);
    (store, boot)
}

/// The generation found; what was found is what [`state`] says of it.
fn generation(boot: &Boot) -> Option<u64> {
    let found = boot.state.as_ref()?;
    let generation = found.generation().0;
    assert_eq!(Print::of(found), Print::of(&state(generation)), "{boot:?}");
    Some(generation)
}

fn names(disk: &SimDisk) -> Vec<String> {
    disk.list(folder()).unwrap().into_iter().filter(|name| name != "runs").collect()
}

fn snapshot(number: u64) -> String {
    names::Name::snapshot(number).to_string()
}

fn journal(number: u64) -> String {
    names::Name::journal(number).to_string()
}

/// A disk with generation 1 saved whole and all up to this one appended.
fn disk_with(generation: u64) -> SimDisk {
    let disk = SimDisk::new(1);
    let mut store = booted(&disk).0;
    store.save(&state(1)).unwrap();
    (2..=generation).for_each(|number| store.append(&step(number)).unwrap());
    disk
}

/// Compacts what the store has.
fn compact(store: &mut Store, state: State) {
    let compacted = store.begin_compaction(state).run();
    assert!(compacted.result.is_ok());
    store.finish_compaction(&compacted).unwrap();
}

#[test]
fn what_was_appended_is_found_at_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    let mut store = Store::open(Arc::new(RealDisk), &path).unwrap();
    assert!(store.boot(NO_POISON, NOW).state.is_none());
    let info = store.save(&state(1)).unwrap();
    assert_eq!(
        (info.file.as_str(), info.bytes),
        (snapshot(1).as_str(), fs::metadata(path.join(&info.file)).unwrap().len())
    );
    (2..=5).for_each(|number| store.append(&step(number)).unwrap());
    assert!(!store.is_behind());
    drop(store);
    for _ in 0..2 {
        let mut store = Store::open(Arc::new(RealDisk), &path).unwrap();
        let boot = store.boot(NO_POISON, NOW);
        assert_eq!((generation(&boot), boot.lost, boot.damaged.len()), (Some(5), false, 0), "{boot:?}");
        assert_eq!(boot.origin, format!("{} and 4 changes", snapshot(1)));
        let size = |name: String| fs::metadata(path.join(name)).unwrap().len();
        assert_eq!(store.bytes(), size(snapshot(1)) + size(journal(2)) + size(journal(5)) + size("runs".to_owned()));
    }
}

#[test]
fn nothing_is_appended_before_there_is_a_whole_state() {
    let (mut store, boot) = booted(&SimDisk::new(1));
    assert!(boot.state.is_none() && !boot.lost && !store.is_behind());
    assert!(matches!(store.append(&step(1)), Err(SaveError::NeedsWhole)));
    assert!(store.is_behind());
    store.retry(&state(1)).unwrap();
    assert!(!store.is_behind());
    store.append(&step(2)).unwrap();
}

#[test]
fn a_change_that_is_too_large_needs_a_whole_state() {
    let disk = disk_with(2);
    let mut store = booted(&disk).0;
    let mut large = step(3);
    let why = "y".repeat(crate::journal::MAX_CHANGE_BYTES);
    let kind = Kind::Invalid(Number { rev: Rev(1), digest: Digest(1) }, why, String::new());
    large.ops.push(Op::Differ(id("large"), Difference { kind, foreign: false }));
    assert!(matches!(store.append(&large), Err(SaveError::TooLarge { .. })));
    assert!(store.is_behind());
    let mut state = state(3);
    state.apply(&large).unwrap();
    store.retry(&state).unwrap();
    assert_eq!(Print::of(&booted_copy(&disk).state.unwrap()), Print::of(&state));
}

#[test]
fn a_compaction_goes_on_beside_appends_and_takes_the_journal_away() {
    let disk = disk_with(5);
    let mut store = booted(&disk).0;
    let compaction = store.begin_compaction(state(5));
    assert!(!store.wants_compaction(&state(5).table));
    store.append(&step(6)).unwrap();
    let compacted = std::thread::spawn(|| compaction.run()).join().unwrap();
    assert_eq!(Table::from_base(Arc::clone(&compacted.base)).digest(), state(5).table.digest());
    store.append(&step(7)).unwrap();
    store.finish_compaction(&compacted).unwrap();
    assert!(names(&disk).contains(&snapshot(5)), "{:?}", names(&disk));
    drop(store);
    let (_, boot) = booted(&disk);
    assert_eq!(generation(&boot), Some(7));
    assert_eq!(boot.origin, format!("{} and 2 changes", snapshot(5)));
}

#[test]
fn four_snapshots_are_kept_and_the_changes_after_the_oldest() {
    let disk = disk_with(1);
    let mut store = booted(&disk).0;
    for number in 2..=9 {
        store.append(&step(number)).unwrap();
        compact(&mut store, state(number));
    }
    let expected: Vec<String> = [7, 8, 9].map(journal).into_iter().chain([6, 7, 8, 9].map(snapshot)).collect();
    assert_eq!(names(&disk), expected);
    let archive = store.archive();
    let kept: Vec<_> =
        archive.history().iter().map(|kept| (kept.generation.0, kept.apps, kept.whole.clone())).collect();
    let whole = |number: u64| (number, number.min(7), Some(snapshot(number)));
    assert_eq!(kept, [whole(9), whole(8), whole(7), whole(6)]);
}

#[test]
fn every_generation_after_the_oldest_snapshot_can_be_loaded() {
    let disk = disk_with(6);
    let mut store = booted(&disk).0;
    compact(&mut store, state(6));
    (7..=9).for_each(|number| store.append(&step(number)).unwrap());
    store.note(&state(9));
    for archive in [store.archive(), Archive::new(store.folder.clone(), Known::default())] {
        let history = archive.history();
        assert_eq!(history.iter().map(|kept| kept.generation.0).collect::<Vec<_>>(), [9, 8, 7, 6, 5, 4, 3, 2, 1]);
        for kept in history {
            let table = state(kept.generation.0).table;
            assert_eq!((kept.apps, kept.digest), (table.len() as u64, table.digest()));
            assert_eq!((kept.epoch, kept.at), (Some(epoch()), WallTime(kept.generation.0 * 10)));
            let loaded = archive.load(kept.generation, None).unwrap();
            assert_eq!(Print::of(&loaded), Print::of(&state(kept.generation.0)));
        }
        assert!(matches!(archive.load(Generation(10), None), Err(LoadError::NotKept { .. })));
        let other = Epoch::new("other").unwrap();
        assert!(matches!(archive.load(Generation(3), Some(&other)), Err(LoadError::NotKept { .. })));
    }
    let archive = store.archive();
    disk.remove(&folder().join(snapshot(1))).unwrap();
    assert!(archive.load(Generation(3), Some(&epoch())).is_err());
    assert!(archive.load(Generation(8), None).is_ok());
}

#[test]
fn a_failed_append_is_kept_and_goes_to_a_new_segment() {
    let disk = disk_with(3);
    let mut store = booted(&disk).0;
    store.append(&step(4)).unwrap();
    for nth in 0..2 {
        disk.fail(nth, 1, Failure::InputOutput);
        let error = store.append(&step(5 + nth)).unwrap_err();
        assert!(matches!(error, SaveError::Disk { .. }), "{error}");
        assert!(store.is_behind() && store.unwritable().is_some());
    }
    disk.heal();
    store.retry(&state(6)).unwrap();
    assert!(!store.is_behind() && store.unwritable().is_none());
    disk.crash();
    assert_eq!(generation(&booted(&disk).1), Some(6));
}

#[test]
fn what_cannot_be_written_is_kept_up_to_a_bound() {
    let disk = disk_with(3);
    let mut store = booted(&disk).0;
    disk.fail(0, u64::MAX, Failure::NoSpace);
    let large = |generation| {
        let kind = Kind::Invalid(Number { rev: Rev(1), digest: Digest(1) }, "y".repeat(1 << 20), String::new());
        change(generation, vec![Op::Differ(id("large"), Difference { kind, foreign: false })])
    };
    let errors = (4..14).map(|generation| store.append(&large(generation)).unwrap_err());
    assert!(errors.map(|error| error.to_string()).any(|error| error == SaveError::NeedsWhole.to_string()));
    assert!(store.retry(&state(14)).is_err());
    disk.heal();
    store.retry(&state(14)).unwrap();
    assert_eq!(generation(&booted_copy(&disk)), Some(14));
}

/// A start on a copy of the disk, as if the process had been killed.
fn booted_copy(disk: &SimDisk) -> Boot {
    let copy = disk.fork();
    copy.kill();
    booted(&copy).1
}

#[test]
fn a_compaction_whose_disk_fails_still_gives_the_base() {
    let disk = disk_with(5);
    let mut store = booted(&disk).0;
    disk.fail(0, u64::MAX, Failure::NoSpace);
    let compacted = store.begin_compaction(state(5)).run();
    assert!(compacted.result.is_err());
    assert_eq!(Table::from_base(Arc::clone(&compacted.base)).len(), 5);
    disk.heal();
    store.finish_compaction(&compacted).unwrap();
    store.append(&step(6)).unwrap();
    assert_eq!(generation(&booted_copy(&disk)), Some(6));
    compact(&mut store, state(6));
    assert_eq!(generation(&booted_copy(&disk)), Some(6));
}

#[test]
fn a_large_journal_or_overlay_asks_for_a_compaction() {
    let disk = disk_with(2);
    let mut store = booted(&disk).0;
    compact(&mut store, state(2));
    assert!(!store.wants_compaction(&state(2).table));
    let kind = Kind::Invalid(Number { rev: Rev(1), digest: Digest(1) }, "y".repeat(1 << 20), String::new());
    let large = change(3, vec![Op::Differ(id("large"), Difference { kind, foreign: false })]);
    store.append(&large).unwrap();
    assert!(!store.wants_compaction(&state(2).table));
    store.append(&large).unwrap();
    assert!(store.wants_compaction(&state(2).table));
    let mut state = state(2);
    state.apply(&large).unwrap();
    compact(&mut store, state.clone());
    assert!(!store.wants_compaction(&state.table));
}

#[test]
fn a_compaction_does_not_stand_for_what_failed_after_it() {
    let disk = disk_with(5);
    let mut store = booted(&disk).0;
    let compacted = store.begin_compaction(state(5)).run();
    disk.fail(0, 1, Failure::NoSpace);
    assert!(store.append(&step(6)).is_err());
    disk.heal();
    store.finish_compaction(&compacted).unwrap();
    assert!(store.is_behind());
    store.retry(&state(6)).unwrap();
    assert_eq!(generation(&booted_copy(&disk)), Some(6));
}

/// What is still to be written when a compaction begins goes to one segment with what comes after it.
#[test]
fn a_segment_that_began_before_a_compaction_is_read_after_it() {
    let disk = disk_with(4);
    let mut store = booted(&disk).0;
    disk.fail(0, 1, Failure::NoSpace);
    assert!(store.append(&step(5)).is_err());
    disk.heal();
    let compacted = store.begin_compaction(state(5)).run();
    store.append(&step(6)).unwrap();
    store.finish_compaction(&compacted).unwrap();
    assert_eq!(generation(&booted_copy(&disk)), Some(6));
}
