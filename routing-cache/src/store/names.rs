//! The names of files in the state folder.

use std::fmt;

const PREFIX: &str = "snapshot-";
const STAGED: &str = ".staged";
const DAMAGED: &str = ".damaged";
/// All numbers of 64 bits fit, so names sort as their numbers do.
const DIGITS: usize = 20;

/// A file of ours, by its number, which grows with each save.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Name {
    /// Being written, or left over from a save that was cut off.
    Staged(u64),
    /// A snapshot.
    Snapshot(u64),
    /// What had a snapshot's name and was not whole.
    Damaged(u64),
}

impl Name {
    /// `None` for what is not ours.
    pub(super) fn parse(name: &str) -> Option<Self> {
        let rest = name.strip_prefix(PREFIX)?;
        let (digits, suffix) = rest.split_at_checked(DIGITS)?;
        if !digits.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        // The largest number is nobody's, so that there is always a next one.
        let number = digits.parse().ok().filter(|number| *number < u64::MAX)?;
        match suffix {
            "" => Some(Self::Snapshot(number)),
            STAGED => Some(Self::Staged(number)),
            DAMAGED => Some(Self::Damaged(number)),
            _ => None,
        }
    }

    pub(super) fn number(&self) -> u64 {
        match self {
            Self::Staged(number) | Self::Snapshot(number) | Self::Damaged(number) => *number,
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let suffix = match self {
            Self::Staged(_) => STAGED,
            Self::Snapshot(_) => "",
            Self::Damaged(_) => DAMAGED,
        };
        write!(f, "{PREFIX}{:0DIGITS$}{suffix}", self.number())
    }
}
