//! The files of the state folder, as bytes from anywhere.

use std::{
    collections::HashSet,
    io::{self, Cursor, Read},
};

use routing_cache::{
    codec,
    disk::ReadFile,
    journal::{self, Scanner},
    snapshot::{self, Snapshot},
};

/// Places at which one bit of what was accepted is flipped.
const FLIPS: usize = 48;
/// Bytes of a block before its payload.
const BLOCK_HEAD: usize = 5;

/// A file that is bytes.
struct Memory(Cursor<Vec<u8>>);

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

fn memory(bytes: &[u8]) -> Memory {
    Memory(Cursor::new(bytes.to_vec()))
}

/// A snapshot: as it is, and with checksums that fit whatever its blocks hold.
pub(super) fn snapshot_file(bytes: &[u8]) -> bool {
    if let Some(snapshot) = read_snapshot(&mended(bytes)) {
        same_when_written(&snapshot);
    }
    let checked = snapshot::check(&mut memory(bytes));
    let Some(snapshot) = read_snapshot(bytes) else {
        assert!(checked.is_err(), "whole, and it cannot be read");
        return false;
    };
    assert_eq!(checked.expect("it was read").sequence, snapshot.sequence);
    same_when_written(&snapshot);
    for flipped in flips(bytes) {
        assert!(read_snapshot(&flipped).is_none() && snapshot::check(&mut memory(&flipped)).is_err(), "not covered");
    }
    true
}

fn read_snapshot(bytes: &[u8]) -> Option<Snapshot> {
    // Its blocks being well, nothing panics at the rest of it either.
    let _ = (snapshot::read_head(&mut memory(bytes)), snapshot::check(&mut memory(bytes)));
    snapshot::read(&mut memory(bytes)).ok()
}

fn same_when_written(snapshot: &Snapshot) {
    let Snapshot { sequence, state, .. } = snapshot;
    let mut out = Vec::new();
    let written = snapshot::write(&mut out, *sequence, state, state.table.base()).expect("memory takes all");
    assert_eq!(written, out.len() as u64);
    let again = snapshot::read(&mut memory(&out)).expect("what was written is read");
    assert_eq!(told(snapshot), told(&again));
}

/// All of it, in words; apps are looked for by what they are found by.
fn told(snapshot: &Snapshot) -> String {
    let Snapshot { sequence, state, .. } = snapshot;
    for app in state.table.iter().take(100) {
        let _ = (state.table.app(app.id()), app.hosts().next().map(|host| state.table.find_app(host.name).is_some()));
    }
    let apps: Vec<_> = state.table.iter().map(|app| app.as_bytes().to_vec()).collect();
    let received = state.received.as_ref().map(|received| {
        let differences: Vec<_> = received.differences.iter().collect();
        format!("{:?} {} {:?} {differences:?}", received.position, received.apps, received.digest)
    });
    let buried: Vec<_> = state.tombstones.iter().collect();
    format!("{sequence} {apps:?} {:?} {received:?} {buried:?} {:?}", state.table.digest(), state.meta)
}

/// The same blocks with a header, checksums and a number of blocks that are right.
fn mended(bytes: &[u8]) -> Vec<u8> {
    let mut out = codec::header(*b"\x89HGSNAP\n", 1).to_vec();
    let mut rest = bytes.get(out.len()..).unwrap_or_default();
    let (mut blocks, mut checksums) = (0_u32, 0);
    while rest.len() >= BLOCK_HEAD {
        let (head, after) = rest.split_at(BLOCK_HEAD);
        let said = u32::from_le_bytes([head[1], head[2], head[3], head[4]]) as usize;
        let (payload, after) = after.split_at(said.min(after.len()));
        let mut payload = payload.to_vec();
        if head[0] == 0xff && payload.len() >= 8 {
            payload[..4].copy_from_slice(&blocks.to_le_bytes());
            payload[4..8].copy_from_slice(&u32::to_le_bytes(checksums));
        }
        let mut block = vec![head[0]];
        block.extend_from_slice(&(payload.len() as u32).to_le_bytes());
        block.extend_from_slice(&payload);
        let checksum = crc32c::crc32c(&block).to_le_bytes();
        out.extend_from_slice(&block);
        out.extend_from_slice(&checksum);
        (blocks, checksums) = (blocks + 1, crc32c::crc32c_append(checksums, &checksum));
        rest = after.get(4..).unwrap_or_default();
    }
    out
}

/// A segment of the journal; or the payload of a frame, to which a checksum is made that fits.
pub(super) fn journal(bytes: &[u8]) -> bool {
    let of_payload = one_change(bytes);
    let Some(segment) = scanned(bytes) else { return of_payload };
    let frames: HashSet<&(u64, Vec<u8>)> = segment.frames.iter().collect();
    // Where something is damaged already a flipped bit may mend it.
    for flipped in flips(bytes).filter(|_| !segment.damaged) {
        let found = scanned(&flipped).map(|segment| segment.frames).unwrap_or_default();
        assert!(found.iter().all(|frame| frames.contains(frame)), "not covered");
    }
    let decoded = segment.frames.iter().filter(|(_, payload)| one_change(payload)).count();
    of_payload || (!segment.damaged && decoded > 0 && decoded == segment.frames.len())
}

/// What is in a segment.
struct Segment {
    frames: Vec<(u64, Vec<u8>)>,
    damaged: bool,
}

fn scanned(bytes: &[u8]) -> Option<Segment> {
    let mut scanner = Scanner::new(Box::new(memory(bytes))).ok()?;
    let mut frames = Vec::new();
    while let Some(frame) = scanner.next_frame().expect("memory is read") {
        let at = usize::try_from(frame.offset).expect("within memory");
        assert!(bytes[at..].windows(frame.payload.len()).any(|part| part == frame.payload), "not of the file");
        frames.push((frame.sequence, frame.payload.to_vec()));
    }
    let all = bytes.len() as u64;
    assert!(scanner.whole_end() <= all && scanner.frames() == frames.len() as u64);
    let damaged = scanner.damaged();
    assert!(damaged.iter().all(|part| part.start < part.end && part.end <= all), "{damaged:?}");
    assert!(damaged.windows(2).all(|pair| pair[0].end <= pair[1].start), "{damaged:?}");
    Some(Segment { frames, damaged: !damaged.is_empty() })
}

/// A change, written and read again: twice, since what is not known is passed over the first time.
fn one_change(payload: &[u8]) -> bool {
    let Ok(change) = journal::decode(payload) else { return false };
    let mut segment = journal::segment_header();
    let Ok(frames) = journal::encode(7, &change) else { return true };
    segment.extend_from_slice(&frames);
    let found = scanned(&segment).expect("of this version");
    assert!(!found.damaged && found.frames.len() == 2 && found.frames[0] == found.frames[1]);
    let (sequence, payload) = &found.frames[0];
    let again = journal::decode(payload).expect("what was written is read");
    assert_eq!((*sequence, format!("{again:?}")), (7, format!("{change:?}")));
    true
}

/// `bytes` with one bit flipped, at places all over it.
fn flips(bytes: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    (0..bytes.len()).step_by(bytes.len() / FLIPS + 1).map(|at| {
        let mut flipped = bytes.to_vec();
        flipped[at] ^= 1 << (at % 8);
        flipped
    })
}
