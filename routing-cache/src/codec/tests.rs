//! What was written is read back, and bytes from anywhere do no harm.

use std::io::{self, Cursor, Read};

use proptest::prelude::*;

use super::*;
use crate::{
    disk::ReadFile,
    guard::Evidence,
    model::{AppId, AppRecord, Digest, Epoch, Generation, HostRef, Provenance, RecordParts, Rev, Source, WallTime},
    state::{Change, Difference, Holding, Kind, Meta, Number, Op, Pin, PinnedBy, Position, State},
};

/// A file that is bytes.
pub(crate) struct Memory(Cursor<Vec<u8>>);

impl Memory {
    pub(crate) fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(Cursor::new(bytes.into()))
    }
}

impl Read for Memory {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.0.read(into)
    }
}

impl ReadFile for Memory {
    fn length(&self) -> u64 {
        self.0.get_ref().len() as u64
    }

    fn read_onto(&mut self, into: &mut Vec<u8>, length: usize) -> io::Result<usize> {
        Read::take(&mut self.0, length as u64).read_to_end(into)
    }
}

pub(crate) fn id(text: &str) -> AppId {
    AppId::new(text).unwrap()
}

pub(crate) fn record(id: &str, rev: u64) -> AppRecord {
    let document = format!(r#"{{"hosts":["{id}.example.com"],"rev":{rev}}}"#);
    let host = format!("{id}.example.com");
    let hosts = [HostRef { name: &host, wildcard: rev.is_multiple_of(2) }];
    AppRecord::new(&RecordParts { id, rev: Rev(rev), document: document.as_bytes(), endpoints: 3, hosts: &hosts })
        .unwrap()
}

fn epoch(text: &str) -> Epoch {
    Epoch::new(text).unwrap()
}

fn differ(app: &str, kind: Kind) -> Op {
    Op::Differ(id(app), Difference { kind, foreign: app == "stale" })
}

/// A change with one of each.
pub(crate) fn rich_change() -> Change {
    let number = Number { rev: Rev(9), digest: Digest(u128::MAX - 5) };
    let evidence = Evidence { apps_before: 9, apps_after: 3, percent: 66.6, window_s: 3600 };
    let provenance = Provenance {
        source: Source::Live,
        epoch: Some(epoch("01J9")),
        generation: Generation(812_344),
        received_at: WallTime(1_700_000_000_000),
    };
    let meta = Meta {
        provenance,
        window: vec![(WallTime(1), 2), (WallTime(3), 4)],
        hour_max: 12,
        holding: Some(Holding { since: WallTime(5), generation: Generation(812_340), evidence }),
        retired: vec![epoch("01J8"), epoch("01J7")],
        pin: Some(Pin { since: WallTime(6), by: PinnedBy::Rollback }),
        foreign: true,
    };
    let ops = vec![
        Op::UnburyAll,
        Op::Put(record("shop", 7)),
        Op::Put(record("blog", 8)),
        Op::Put(record("gone", 1)),
        Op::Remove(id("gone")),
        Op::Bury(id("gone"), Rev(11)),
        Op::Bury(id("back"), Rev(4)),
        Op::Unbury(id("back")),
        differ("blog", Kind::Deleted(Rev(9))),
        differ("shop", Kind::Withheld(record("shop", 9))),
        differ("waiting", Kind::Waiting(record("waiting", 1), "host x belongs to shop".to_owned())),
        differ("invalid", Kind::Invalid(number, "hosts[0]".to_owned(), "is none".to_owned())),
        differ("stale", Kind::Stale(number)),
        differ("risen", Kind::Resurrected(number)),
        differ("agrees", Kind::Stale(number)),
        Op::Agree(id("agrees")),
    ];
    let position = Position { epoch: epoch("01J9"), generation: Generation(812_345) };
    Change { received: Some((position, 6, Digest(7 << 100))), ops, meta }
}

pub(crate) fn rich_state() -> State {
    let mut state = State::default();
    state.apply(&rich_change()).unwrap();
    state
}

/// All of a state but for the order of its apps.
pub(crate) fn told(state: &State) -> String {
    let mut apps: Vec<String> = state.table.iter().map(|app| format!("{app:?} {:?}", app.document())).collect();
    apps.sort();
    let (received, tombstones) = (&state.received, state.tombstones.iter().collect::<Vec<_>>());
    format!("{apps:?} {:?} {received:?} {tombstones:?} {:?}", state.table.digest(), state.meta)
}

fn written(change: &Change) -> Vec<u8> {
    let mut out = Vec::new();
    write_change(&mut out, change);
    out
}

fn same(a: &Change, b: &Change) -> bool {
    (&a.received, &a.ops, &a.meta) == (&b.received, &b.ops, &b.meta)
}

#[test]
fn a_change_is_read_as_it_was_written() {
    for change in [rich_change(), Change::default(), Change::of(rich_change().meta)] {
        let bytes = written(&change);
        let mut from = Reader::new(&bytes);
        assert!(same(&read_change(&mut from).unwrap(), &change));
        assert!(from.is_at_end());
    }
}

#[test]
fn what_a_later_version_adds_is_passed_over() {
    let mut meta = Vec::new();
    write_meta(&mut meta, &rich_change().meta);
    meta.extend_from_slice(b"more");
    let length = u32::try_from(meta.len() - 4).unwrap();
    meta[..4].copy_from_slice(&length.to_le_bytes());
    let mut later = vec![0];
    later.extend_from_slice(&meta);
    later.extend_from_slice(&2_u32.to_le_bytes());
    later.extend_from_slice(&[OPTIONAL, 3, 0, 0, 0, 1, 2, 3]);
    later.extend_from_slice(&[OP_UNBURY_ALL, 0, 0, 0, 0]);
    let read = read_change(&mut Reader::new(&later)).unwrap();
    assert_eq!((read.meta, read.ops), (rich_change().meta, vec![Op::UnburyAll]));
    let unknown = [&[0][..], &meta, &1_u32.to_le_bytes(), &[0x7f, 0, 0, 0, 0]].concat();
    assert_eq!(read_change(&mut Reader::new(&unknown)).unwrap_err().what, "step");
}

#[test]
fn a_change_that_is_cut_short_anywhere_is_refused() {
    let bytes = written(&rich_change());
    for length in 0..bytes.len() {
        assert!(read_change(&mut Reader::new(&bytes[..length])).is_err(), "{length}");
    }
}

proptest! {
    #[test]
    fn bytes_from_anywhere_do_no_harm(noise in proptest::collection::vec(any::<u8>(), 0..400), at in 0..2000usize, with: u8) {
        // ignored: that it comes back is all
        let _ = read_change(&mut Reader::new(&noise));
        let mut changed = written(&rich_change());
        let at = at % changed.len();
        changed[at] = with;
        if let Ok(change) = read_change(&mut Reader::new(&changed)) {
            // ignored: likewise
            let _ = State::default().apply(&change);
        }
    }
}
