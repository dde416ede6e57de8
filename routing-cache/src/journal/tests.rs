//! Changes come back, and what is damaged is passed over and told.

use proptest::prelude::*;

use super::*;
use crate::codec::tests::{Memory, rich_change, rich_state, told};
use crate::state::State;

/// A segment written by this version, kept so that later ones read it.
const GOLDEN: &[u8] = include_bytes!("../../testdata/journal-1");

fn segment(numbers: std::ops::Range<u64>) -> Vec<u8> {
    let mut bytes = segment_header();
    for number in numbers {
        bytes.extend_from_slice(&encode(number, &Change::of(rich_change().meta)).unwrap());
    }
    bytes
}

/// The numbers of the whole frames, copies left out, and what is damaged.
fn scan(bytes: &[u8]) -> (Vec<u64>, Vec<std::ops::Range<u64>>, u64) {
    let mut scanner = Scanner::new(Box::new(Memory::new(bytes))).unwrap();
    let mut numbers = Vec::new();
    while let Some(frame) = scanner.next_frame().unwrap() {
        assert!(decode(frame.payload).is_ok());
        numbers.push(frame.sequence);
    }
    numbers.dedup();
    (numbers, scanner.damaged().to_vec(), scanner.whole_end())
}

#[test]
fn what_was_appended_is_read_in_order() {
    let bytes = segment(5..9);
    assert_eq!(scan(&bytes), (vec![5, 6, 7, 8], vec![], bytes.len() as u64));
    assert_eq!(scan(&segment_header()), (vec![], vec![], 0));
}

#[test]
fn what_is_damaged_lies_within_the_file() {
    for length in 0..2 * HEADER_BYTES {
        let (_, damaged, _) = scan(&segment_header()[..length]);
        assert!(damaged.iter().all(|part| part.start < part.end && part.end <= length as u64), "{length}: {damaged:?}");
    }
}

#[test]
fn the_golden_segment_is_read() {
    let mut scanner = Scanner::new(Box::new(Memory::new(GOLDEN))).unwrap();
    let frame = scanner.next_frame().unwrap().unwrap();
    assert_eq!((frame.sequence, scanner_change(frame.payload)), (7, told(&rich_state())));
    assert_eq!(scan(GOLDEN), (vec![7, 8], vec![], GOLDEN.len() as u64));
}

fn scanner_change(payload: &[u8]) -> String {
    let mut state = State::default();
    state.apply(&decode(payload).unwrap()).unwrap();
    told(&state)
}

/// This version still writes what it wrote: without a new version byte nothing of the format changes.
#[test]
fn the_golden_segment_is_what_is_written() {
    assert_eq!(golden(), GOLDEN);
}

fn golden() -> Vec<u8> {
    let frames = [encode(7, &rich_change()).unwrap(), encode(8, &Change::of(rich_change().meta)).unwrap()];
    [segment_header(), frames.concat()].concat()
}

#[test]
#[ignore = "writes the golden file anew: only with a new version"]
fn write_golden() {
    std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/journal-1"), golden()).unwrap();
}

#[test]
fn any_byte_may_be_damaged_and_any_end_missing() {
    let bytes = segment(1..4);
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x10;
        let (numbers, places, _) = scan(&damaged);
        assert_eq!(numbers, [1, 2, 3], "{at}");
        let [place] = &places[..] else { panic!("{at}: {places:?}") };
        assert!(place.contains(&(at as u64)), "{at}: {places:?}");
    }
    for length in 0..bytes.len() {
        let (numbers, _, end) = scan(&bytes[..length]);
        assert!(numbers.iter().copied().eq(1..=numbers.len() as u64) && end <= length as u64, "{length}");
    }
}

/// The search goes through a damaged frame, where an app's owner may have put what looks like another.
#[test]
fn a_frame_within_text_cannot_be() {
    // No byte of UTF-8 is one of these (RFC 3629, 3), whatever text it is of.
    assert!(FRAME.contains(&0xff) && FRAME.contains(&0xfe));
}

#[test]
fn a_segment_of_another_version_is_refused_as_such() {
    for version in [0, 2, 200] {
        let bytes = [header(MAGIC, version).repeat(2), segment(1..3)].concat();
        let refused = Scanner::new(Box::new(Memory::new(bytes))).err().unwrap().to_string();
        assert!(refused.contains(if version > VERSION { "a newer version" } else { "an older version" }), "{refused}");
    }
}

#[test]
fn a_change_over_the_limit_is_refused() {
    assert_eq!(encode_payload(1, &vec![0; MAX_CHANGE_BYTES + 1]), Err(MAX_CHANGE_BYTES as u64 + 1));
    assert!(encode_payload(1, &vec![0; MAX_CHANGE_BYTES]).is_ok());
}

proptest! {
    #[test]
    fn bytes_from_anywhere_are_no_changes(noise in proptest::collection::vec(any::<u8>(), 0..600), whole in 0..3u64) {
        let bytes = [segment(1..1 + whole), noise].concat();
        let (numbers, _, _) = scan(&bytes);
        prop_assert_eq!(numbers, (1..1 + whole).collect::<Vec<_>>());
    }

    /// However much of a segment is damaged, what is read of it was written, with the right number.
    #[test]
    fn what_is_read_of_a_damaged_segment_was_written(edits in proptest::collection::vec((any::<u32>(), any::<u8>(), 0..4u8), 1..12)) {
        let mut bytes = [segment_header(), encode(7, &rich_change()).unwrap(), encode(8, &rich_change()).unwrap()].concat();
        for (at, with, how) in edits {
            let at = at as usize % bytes.len().max(1);
            match how {
                0 => bytes[at] = with,
                1 => bytes.insert(at, with),
                2 => bytes.truncate(at.max(30)),
                _ => drop(bytes.drain(at..(at + usize::from(with)).min(bytes.len()))),
            }
            bytes.push(with);
        }
        let Ok(mut scanner) = Scanner::new(Box::new(Memory::new(bytes))) else { return Ok(()) };
        while let Some(frame) = scanner.next_frame().unwrap() {
            prop_assert!([7, 8].contains(&frame.sequence));
            prop_assert_eq!(scanner_change(frame.payload), told(&rich_state()));
        }
    }
}
