use std::io::Write;

use routing_cache::{
    disk::ReadFile,
    model::{Provenance, Source},
    state::State,
    updater::SavedReport,
};

use super::*;

fn serving(generation: u64) -> Published {
    let provenance = Provenance { source: Source::Live, generation: Generation(generation), ..Provenance::default() };
    Published { provenance, ..Published::default() }
}

fn unsaved(error: Option<&str>) -> Report {
    let saved = SavedReport { unsaved: true, error: error.map(str::to_owned), ..SavedReport::default() };
    Report { saved, ..Report::default() }
}

fn fresh() -> KeptTable {
    KeptTable::of_start(&[], None, Overload::default())
}

#[test]
fn what_the_disk_has_or_is_about_to_have_is_not_kept() {
    let (mut kept, now) = (fresh(), Instant::now());
    assert_eq!(kept.next(&Report::default(), &serving(1), now), Next::Nothing);
    assert_eq!(kept.next(&unsaved(None), &serving(1), now), Next::Nothing);
    assert_eq!(kept.next(&unsaved(Some("full")), &Published::default(), now), Next::Nothing, "there is no table");
}

#[test]
fn the_first_is_stored_at_once_and_another_when_something_has_changed_and_its_time_has_come() {
    let (mut kept, now) = (fresh(), Instant::now());
    let full = unsaved(Some("full"));
    let Next::Store(mark) = kept.next(&full, &serving(1), now) else { panic!("it is to be stored") };
    (kept.there, kept.holds, kept.not_before) = (Some(vec!["table"]), Some(mark), now + REPLACE_EVERY);
    let later = now + REPLACE_EVERY;
    assert_eq!(kept.next(&full, &serving(1), later), Next::Nothing, "it is there");
    assert_eq!(kept.next(&full, &serving(2), now), Next::Nothing, "not yet");
    assert!(matches!(kept.next(&full, &serving(2), later), Next::Store(_)));
    let held = Report { tombstones: 1, ..unsaved(Some("full")) };
    assert!(matches!(kept.next(&held, &serving(1), later), Next::Store(_)), "not only the apps count");
    assert_eq!(kept.next(&Report::default(), &serving(1), now), Next::TakeOut, "the disk has it");
}

#[test]
fn what_a_start_was_passed_is_taken_out_once_the_disk_has_it_and_not_stored_again() {
    let passed = [("table-2", tempfile::tempfile().unwrap())];
    let full = unsaved(Some("full"));
    let mut kept = KeptTable::of_start(&passed, Some((&full, &serving(1))), Overload::default());
    assert_eq!(kept.next(&full, &serving(1), Instant::now()), Next::Nothing);
    assert_eq!(kept.next(&Report::default(), &serving(1), Instant::now()), Next::TakeOut);
}

#[test]
fn a_successor_that_does_not_know_takes_out_whatever_there_may_be() {
    let mut kept = KeptTable { note: KeptNote::within(None), ..KeptTable::of_successor(Overload::default()) };
    assert_eq!(kept.next(&Report::default(), &serving(1), Instant::now()), Next::TakeOut);
    assert_eq!(kept.there(), &NAMES);
}

fn image(sequence: u64) -> File {
    let state = State::default();
    let mut file = tempfile::tempfile().unwrap();
    snapshot::write(&mut file, sequence, &state, state.table.base()).unwrap();
    file
}

#[test]
fn of_two_tables_the_newer_one_is_taken_and_never_one_that_cannot_be_read_instead() {
    let mut garbage = tempfile::tempfile().unwrap();
    garbage.write_all(b"no table").unwrap();
    let sequence = |tables: &Tables| snapshot::read_head(&mut newest(tables).unwrap()).unwrap().sequence;
    assert_eq!(sequence(&[("table", image(8)), ("table-2", image(7))]), 8);
    assert_eq!(sequence(&[("table", image(7)), ("table-2", image(8))]), 8);
    assert_eq!(sequence(&[("table", image(7)), ("table-2", garbage.try_clone().unwrap())]), 7);
    assert_eq!(newest(&[("table", garbage)]).unwrap().length(), 8, "what is wrong with it is for the start to say");
    assert!(newest(&[]).is_none());
}

#[test]
fn a_note_of_what_was_not_passed_is_removed_and_where_nothing_is_left_the_preflight_is_asked_again() {
    let folder = tempfile::tempdir().unwrap();
    let note = KeptNote::within(Some(folder.path().to_owned()));
    let heed = |passed: bool, restored: bool| {
        note.write(&NAMES).unwrap();
        let tables = [("table", tempfile::tempfile().unwrap())];
        let goes_on = heed_note(&note, &tables[..usize::from(passed)], restored).is_ok();
        (goes_on, note.is_there())
    };
    assert_eq!(heed(true, true), (true, true));
    assert_eq!(heed(false, true), (true, false), "the disk has a table");
    assert_eq!(heed(false, false), (false, false));
    assert_eq!(heed(true, false), (false, false), "it cannot be used");
    heed_note(&note, &[], false).expect("a first start was noted nothing");
}

#[test]
fn no_image_is_made_where_memory_is_short() {
    let memory = |used, of| Share { used, of };
    assert!(fits(memory(0, 0), u64::MAX), "no limit is known");
    assert!(fits(memory(500, 1000), 200));
    assert!(!fits(memory(500, 1000), 201));
    assert!(!fits(memory(1, 1000), u64::MAX));
}
