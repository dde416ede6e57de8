//! The names of files in the state folder.

use std::fmt;

/// The runs that have not survived, and what is known to be good.
pub(super) const RUNS: &str = "runs";
/// The same, being written.
pub(super) const RUNS_STAGED: &str = "runs.staged";

/// All numbers of 64 bits fit, so names sort as their numbers do.
const DIGITS: usize = 20;

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// A whole state.
    Snapshot,
    /// A segment of the journal.
    Journal,
}

/// What has become of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    /// It is what its name says.
    Live,
    /// Being written, or left over from what was cut off.
    Staged,
    /// Set aside: it was not whole.
    Damaged,
    /// A copy of the torn end of a segment.
    Torn,
    /// Set aside: the process died of what is in it.
    Poison,
}

/// A file of ours, by its number: a snapshot's last change, a segment's first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Name {
    pub(super) number: u64,
    pub(super) kind: Kind,
    pub(super) place: Place,
}

impl Kind {
    fn prefix(self) -> &'static str {
        match self {
            Self::Snapshot => "snapshot-",
            Self::Journal => "journal-",
        }
    }
}

impl Place {
    const ALL: [Self; 5] = [Self::Live, Self::Staged, Self::Damaged, Self::Torn, Self::Poison];

    fn suffix(self) -> &'static str {
        match self {
            Self::Live => "",
            Self::Staged => ".staged",
            Self::Damaged => ".damaged",
            Self::Torn => ".torn",
            Self::Poison => ".poison",
        }
    }

    /// Kept for a person to look at.
    pub(super) fn is_aside(self) -> bool {
        matches!(self, Self::Damaged | Self::Torn | Self::Poison)
    }
}

impl Name {
    pub(super) fn snapshot(number: u64) -> Self {
        Self { number, kind: Kind::Snapshot, place: Place::Live }
    }

    pub(super) fn journal(number: u64) -> Self {
        Self { number, kind: Kind::Journal, place: Place::Live }
    }

    pub(super) fn at(self, place: Place) -> Self {
        Self { place, ..self }
    }

    pub(super) fn is_live(self, kind: Kind) -> bool {
        self.place == Place::Live && self.kind == kind
    }

    /// `None` for what is not ours.
    pub(super) fn parse(name: &str) -> Option<Self> {
        let kinds = [Kind::Snapshot, Kind::Journal];
        let (kind, rest) = kinds.into_iter().find_map(|kind| Some((kind, name.strip_prefix(kind.prefix())?)))?;
        let (digits, suffix) = rest.split_at_checked(DIGITS)?;
        if !digits.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        // The upper half is nobody's, so that there is always a next number.
        let number = digits.parse().ok().filter(|number| *number <= u64::MAX / 2)?;
        let place = Place::ALL.into_iter().find(|place| place.suffix() == suffix)?;
        Some(Self { number, kind, place })
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{:0DIGITS$}{}", self.kind.prefix(), self.number, self.place.suffix())
    }
}
