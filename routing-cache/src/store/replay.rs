//! Reads a state: a snapshot, and the changes after it. It changes nothing.

use std::{io, ops::Range, path::Path};

use crate::{
    disk::Disk,
    journal::{Scanner, SegmentError, decode},
    snapshot::{ReadError, read},
    state::State,
};

use super::{
    folder::Files,
    names::{Kind, Name},
    runs::Mark,
    thin::{self, Beside},
};

/// Why a file is passed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum NotLoaded {
    /// It went while we looked: a running gateway has newer ones.
    Gone,
    /// It may well be whole: it cannot be read, or is of another version.
    Left(String),
    /// It is not whole: from which byte on, and why.
    Damaged(Option<u64>, String),
}

/// What was read.
#[derive(Debug, Default)]
pub(super) struct Restored {
    /// `None` where there is no whole snapshot.
    pub(super) state: Option<State>,
    /// What is in the table but not in the state, where it was read [thin](Restore::thin).
    pub(super) beside: Beside,
    /// The number of the last change in it.
    pub(super) last: u64,
    /// The snapshot it began with.
    pub(super) snapshot: u64,
    /// Changes after that.
    pub(super) changes: u64,
    /// The last of them, as written.
    pub(super) payload: Vec<u8>,
    /// The highest number seen in a frame.
    pub(super) highest: u64,
    /// There are changes that were not reached, or may be.
    pub(super) unreached: bool,
    /// Snapshots that were passed over, newest first.
    pub(super) passed: Vec<(u64, NotLoaded)>,
    /// The segments that were read.
    pub(super) segments: Vec<Segment>,
}

/// What was found in a segment.
#[derive(Debug, Default)]
pub(super) struct Segment {
    /// Its number.
    pub(super) number: u64,
    /// Its size.
    pub(super) length: u64,
    /// The first and the last change in it.
    pub(super) range: Option<(u64, u64)>,
    /// What in it is no whole frame.
    pub(super) damaged: Vec<Range<u64>>,
    /// Where its last whole frame ends.
    pub(super) whole_end: u64,
    /// Why it, or the rest of it, was not read.
    pub(super) unread: Option<String>,
    /// Where the first change lies that is after the last wanted.
    pub(super) beyond: Option<u64>,
}

impl Restored {
    /// Names the state; `None` where there is no table.
    pub(super) fn mark(&self) -> Option<Mark> {
        let state = self.state.as_ref().filter(|state| state.has_table())?;
        let mark = Mark::of(state, self.last);
        Some(Mark { digest: self.beside.digest.plus(mark.digest), ..mark })
    }

    /// What it was read from, in words.
    pub(super) fn origin(&self) -> String {
        let file = Name::snapshot(self.snapshot);
        match self.changes {
            0 => file.to_string(),
            1 => format!("{file} and 1 change"),
            more => format!("{file} and {more} changes"),
        }
    }
}

/// Told of each state on the way: its number, and itself.
pub(super) type Witness<'a> = &'a mut dyn FnMut(u64, &State);

/// Reads a state from a folder.
pub(super) struct Restore<'a> {
    pub(super) disk: &'a dyn Disk,
    pub(super) folder: &'a Path,
    pub(super) files: &'a Files,
    /// The last change wanted; without it, all.
    pub(super) upto: Option<u64>,
    /// Of the table only the apps that the changes are about are read: in the memory that these take.
    pub(super) thin: bool,
}

impl Restore<'_> {
    /// The newest whole snapshot, and all changes after it.
    pub(super) fn run(&self, witness: Witness<'_>) -> Restored {
        let mut restored = Restored::default();
        let upto = self.upto.unwrap_or(u64::MAX);
        for number in self.files.live(Kind::Snapshot).rev().filter(|number| *number <= upto) {
            match self.snapshot(number) {
                Ok((state, beside)) => {
                    witness(number, &state);
                    restored.beside = beside;
                    self.replay(&mut restored, number, state, witness);
                    break;
                }
                Err(why) => restored.passed.push((number, why)),
            }
        }
        restored
    }

    /// A snapshot.
    fn snapshot(&self, number: u64) -> Result<(State, Beside), NotLoaded> {
        let mut file = self.disk.open(&self.folder.join(Name::snapshot(number).to_string())).map_err(not_read)?;
        let loaded = if self.thin {
            thin::read(&mut *file, &thin::Concerned::by(self, number))
        } else {
            read(&mut *file).map(|snapshot| (snapshot, Beside::default()))
        };
        let (snapshot, beside) = loaded.map_err(|error| match error {
            ReadError::Disk(error) => not_read(error),
            ReadError::Snapshot(error) if error.is_from_another_version() => NotLoaded::Left(error.to_string()),
            ReadError::Snapshot(error) => NotLoaded::Damaged(Some(error.offset), error.to_string()),
        })?;
        if snapshot.sequence != number {
            let why = format!("holds the state of number {}, which is not that of its name", snapshot.sequence);
            return Err(NotLoaded::Damaged(None, why));
        }
        Ok((snapshot.state, beside))
    }

    /// Brings about all changes after the snapshot's. One that cannot be brought about ends it, and what it has spoilt is
    /// read again.
    fn replay(&self, restored: &mut Restored, number: u64, state: State, witness: Witness<'_>) {
        (restored.snapshot, restored.last) = (number, number);
        let mut state = state;
        let spoilt = self.segments(restored, &mut state, witness);
        if spoilt {
            let again = Restore { upto: Some(restored.last), ..*self };
            let Ok((whole, beside)) = again.snapshot(number) else {
                restored.passed.push((number, NotLoaded::Gone));
                return;
            };
            state = whole;
            let mut second = Restored { snapshot: number, last: number, beside, ..Restored::default() };
            again.segments(&mut second, &mut state, witness);
            let (highest, segments) = (restored.highest, std::mem::take(&mut restored.segments));
            let passed = std::mem::take(&mut restored.passed);
            *restored = Restored { unreached: true, highest, segments, passed, ..second };
        }
        restored.state = Some(state);
    }

    /// True when the state is spoilt.
    fn segments(&self, restored: &mut Restored, state: &mut State, witness: Witness<'_>) -> bool {
        for number in self.numbers(restored.snapshot) {
            let mut segment = Segment { number, ..Segment::default() };
            let spoilt = self.segment(&mut segment, restored, state, witness);
            restored.unreached |= segment.unread.is_some();
            restored.segments.push(segment);
            if spoilt {
                return true;
            }
        }
        restored.unreached |= restored.highest > restored.last && self.upto.is_none();
        false
    }

    /// The segments to be read after a snapshot.
    pub(super) fn numbers(&self, snapshot: u64) -> Vec<u64> {
        match self.upto {
            // What comes after is to be found wherever it is.
            Some(_) => self.files.live(Kind::Journal).collect(),
            None => self.files.segments_after(snapshot),
        }
    }

    fn segment(&self, segment: &mut Segment, restored: &mut Restored, state: &mut State, witness: Witness<'_>) -> bool {
        let upto = self.upto.unwrap_or(u64::MAX);
        let path = self.folder.join(Name::journal(segment.number).to_string());
        let opened = self.disk.open(&path).map_err(SegmentError::Disk).and_then(|file| {
            segment.length = file.length();
            Scanner::new(file)
        });
        let mut scanner = match opened {
            Ok(scanner) => scanner,
            Err(error) => {
                segment.unread = Some(error.to_string());
                return false;
            }
        };
        let mut spoilt = false;
        loop {
            match scanner.next_frame() {
                Ok(Some(frame)) => {
                    restored.highest = restored.highest.max(frame.sequence);
                    segment.saw(frame.sequence, frame.offset, upto);
                    let follows = !spoilt && frame.sequence == restored.last.saturating_add(1);
                    if !follows || frame.sequence > upto {
                        continue;
                    }
                    let brought = decode(frame.payload).map_err(|error| error.to_string());
                    let brought = brought.and_then(|change| state.apply(&change).map_err(|error| error.to_string()));
                    if let Err(why) = brought {
                        segment.unread = Some(format!("change {} at byte {}: {why}", frame.sequence, frame.offset));
                        spoilt = true;
                        continue;
                    }
                    restored.took(frame.sequence, frame.payload);
                    witness(frame.sequence, state);
                }
                Ok(None) => break,
                Err(error) => {
                    segment.unread = Some(format!("cannot be read: {error}"));
                    break;
                }
            }
        }
        segment.damaged = scanner.damaged().to_vec();
        segment.whole_end = scanner.whole_end();
        spoilt
    }
}

impl Restored {
    fn took(&mut self, sequence: u64, payload: &[u8]) {
        self.last = sequence;
        self.changes += 1;
        self.payload.clear();
        self.payload.extend_from_slice(payload);
    }
}

impl Segment {
    pub(super) fn saw(&mut self, sequence: u64, offset: u64, upto: u64) {
        let (first, _) = self.range.unwrap_or((sequence, sequence));
        self.range = Some((first, sequence));
        if sequence > upto && self.beyond.is_none() {
            self.beyond = Some(offset);
        }
    }

    /// What follows its last whole frame.
    pub(super) fn tail(&self) -> Option<Range<u64>> {
        self.damaged.last().filter(|_| self.unread.is_none()).filter(|last| last.start >= self.whole_end).cloned()
    }
}

fn not_read(error: io::Error) -> NotLoaded {
    match error.kind() {
        io::ErrorKind::NotFound => NotLoaded::Gone,
        _ => NotLoaded::Left(format!("cannot be read: {error}")),
    }
}
