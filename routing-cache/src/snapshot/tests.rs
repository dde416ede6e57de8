//! What was saved comes back, and what is not whole is never taken for it.

use proptest::prelude::*;

use super::{write::Blocks, *};
use crate::codec::{
    header,
    tests::{Memory, rich_state, told},
};

/// A snapshot written by this version, kept so that later ones read it.
const GOLDEN: &[u8] = include_bytes!("../../testdata/snapshot-1");
/// One as a later program may write it within this version: longer head, meta and footer, and a block of its own.
const GOLDEN_LATER: &[u8] = include_bytes!("../../testdata/snapshot-1-later");

fn bytes_of(state: &State, sequence: u64) -> Vec<u8> {
    let mut out = Vec::new();
    let written = write(&mut out, sequence, state, &state.table.to_base()).unwrap();
    assert_eq!(written, out.len() as u64);
    out
}

fn read_bytes(bytes: &[u8]) -> Result<Snapshot, ReadError> {
    let found = read(&mut Memory::new(bytes));
    let checked = check(&mut Memory::new(bytes));
    assert_eq!(found.is_ok(), checked.is_ok(), "{found:?} {checked:?}");
    found
}

fn fault(bytes: &[u8]) -> SnapshotError {
    match read_bytes(bytes) {
        Err(ReadError::Snapshot(error)) => error,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_was_saved_comes_back() {
    for state in [rich_state(), State::default()] {
        let snapshot = read_bytes(&bytes_of(&state, 41)).unwrap();
        assert_eq!((snapshot.sequence, told(&snapshot.state)), (41, told(&state)));
        assert_eq!(snapshot.state.table.find_app("shop.example.com").is_some(), !state.table.is_empty());
    }
}

#[test]
fn the_golden_snapshots_are_read() {
    for golden in [GOLDEN, GOLDEN_LATER] {
        let snapshot = read_bytes(golden).unwrap();
        assert_eq!((snapshot.sequence, told(&snapshot.state)), (7, told(&rich_state())));
        assert_eq!(snapshot.state.table.find_app("shop.example.com").unwrap().id(), "shop");
        assert_eq!(snapshot.state.table.app("blog").unwrap().rev().0, 8);
    }
}

#[test]
#[ignore = "writes the golden files anew: only with a new version"]
fn write_golden() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/");
    std::fs::write(format!("{folder}snapshot-1"), bytes_of(&rich_state(), 7)).unwrap();
    std::fs::write(format!("{folder}snapshot-1-later"), later()).unwrap();
}

/// Blocks of a snapshot: kind and payload.
fn blocks_of(bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut at = crate::codec::HEADER_BYTES;
    let mut found = Vec::new();
    while at < bytes.len() {
        let length = u32::from_le_bytes(bytes[at + 1..at + 5].try_into().unwrap()) as usize;
        found.push((bytes[at], bytes[at + 5..at + 5 + length].to_vec()));
        at += 5 + length + 4;
    }
    found
}

/// All in good order, whatever it says.
fn framed(blocks: &[(u8, Vec<u8>)]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut framing = Blocks::begin(&mut out).unwrap();
    for (kind, payload) in blocks {
        framing.block(*kind, &[payload]).unwrap();
    }
    let state = rich_state();
    let records = state.table.to_base().records().len() as u64;
    framing.end(records, state.received.unwrap().differences.len() as u64, state.tombstones.len() as u64).unwrap();
    out
}

fn without_footer(bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut blocks = blocks_of(bytes);
    blocks.pop();
    blocks
}

/// What a later program may write within this version.
fn later() -> Vec<u8> {
    let mut blocks = without_footer(&bytes_of(&rich_state(), 7));
    let head = &mut blocks[0].1;
    let meta = u32::from_le_bytes(head[8..12].try_into().unwrap());
    let end = 12 + meta as usize;
    head.splice(end..end, b"a later field".iter().copied());
    head[8..12].copy_from_slice(&(meta + 13).to_le_bytes());
    head.extend_from_slice(b"a later part");
    blocks.insert(1, (0x80, b"a later block".to_vec()));
    blocks.push((0xfe, Vec::new()));
    framed(&blocks)
}

#[test]
fn what_a_later_program_adds_within_the_version_is_passed_over() {
    let snapshot = read_bytes(&later()).unwrap();
    assert_eq!(told(&snapshot.state), told(&rich_state()));
}

#[test]
fn a_block_that_may_not_be_passed_over_is_refused() {
    let mut blocks = without_footer(&bytes_of(&rich_state(), 7));
    blocks.insert(1, (0x7f, Vec::new()));
    let error = fault(&framed(&blocks));
    assert_eq!((error.block, error.fault), (Block::Index(1), Fault::Kind(0x7f)));
    blocks.remove(1);
    blocks.remove(0);
    assert_eq!(fault(&framed(&blocks)).fault, Fault::Kind(KIND_RECORDS));
}

#[test]
fn a_newer_version_is_told_from_damage() {
    let whole = bytes_of(&rich_state(), 7);
    let newer = [&header(MAGIC, 2)[..], &whole[crate::codec::HEADER_BYTES..]].concat();
    let error = fault(&newer);
    assert!(error.is_from_another_version());
    assert_eq!(error.to_string(), "header at byte 0 is from a newer version (2, and this one reads 1)");
    let mut damaged = whole;
    damaged[8] = 2;
    assert!(!fault(&damaged).is_from_another_version());
}

#[test]
fn one_flipped_bit_anywhere_is_found() {
    let whole = bytes_of(&rich_state(), 7);
    for at in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 1 << (at % 8);
        let error = fault(&damaged);
        assert!(error.offset <= at as u64, "{at}: {error}");
    }
}

#[test]
fn a_snapshot_that_is_cut_short_or_goes_on_is_refused() {
    let whole = bytes_of(&rich_state(), 7);
    for length in 0..whole.len() {
        fault(&whole[..length]);
    }
    assert_eq!(fault(&[&whole[..], b"x"].concat()).fault, Fault::Trailing(1));
}

#[test]
fn a_part_that_is_missing_or_twice_there_is_found() {
    let blocks = without_footer(&bytes_of(&rich_state(), 7));
    for at in 0..blocks.len() {
        let mut less = blocks.clone();
        less.remove(at);
        fault(&framed(&less));
        let mut more = blocks.clone();
        more.insert(at, blocks[at].clone());
        fault(&framed(&more));
    }
}

proptest! {
    #[test]
    fn bytes_from_anywhere_are_refused_without_harm(noise in proptest::collection::vec(any::<u8>(), 0..400), keep in 0..300usize) {
        let whole = bytes_of(&rich_state(), 7);
        let bytes = [&whole[..keep], &noise].concat();
        prop_assert!(read_bytes(&bytes).is_err());
    }

    /// Even where every checksum is right, no length leads past the end and no count takes memory that is not there.
    #[test]
    fn nonsense_in_good_order_is_refused_or_read(block in 0..9usize, at in any::<u32>(), with in proptest::collection::vec(any::<u8>(), 0..9)) {
        let mut blocks = without_footer(&bytes_of(&rich_state(), 7));
        let block = block % blocks.len();
        let payload = &mut blocks[block].1;
        let at = at as usize % payload.len();
        let end = (at + with.len()).min(payload.len());
        payload.splice(at..end, with);
        let bytes = framed(&blocks);
        if let Ok(snapshot) = read(&mut Memory::new(bytes.clone())) {
            // ignored: that they come back is all
            let _ = (told(&snapshot.state), snapshot.state.table.find_app("shop.example.com"));
        }
        let _ = check(&mut Memory::new(bytes));
    }
}
