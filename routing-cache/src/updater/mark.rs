//! Which table it is, in a few words that can be sent: so that a process is not replaced by one that serves an older table.

use crate::{
    model::{Digest, Epoch, Generation},
    state::State,
};

/// Names what is served.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableMark {
    /// Whether there is a table at all.
    pub has_table: bool,
    /// Its epoch.
    pub epoch: Option<Epoch>,
    /// Its generation.
    pub generation: Generation,
    /// Apps in it.
    pub apps: u64,
    /// Their digest, as served.
    pub digest: Digest,
    /// An operator wants it to stay.
    pub pinned: bool,
}

/// How a table stands to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// They are the same.
    Same,
    /// It is of an earlier generation of the same epoch, or there is none while there is the other.
    Older,
    /// It is of a later generation of the same epoch, or there is none to compare with.
    Newer,
    /// It is another one: of another epoch, or not what that generation is elsewhere.
    Other,
}

impl TableMark {
    /// That of a state.
    #[must_use]
    pub fn of(state: &State) -> Self {
        let provenance = &state.meta.provenance;
        Self {
            has_table: state.has_table(),
            epoch: provenance.epoch.clone(),
            generation: provenance.generation,
            apps: state.table.len() as u64,
            digest: state.table.digest(),
            pinned: state.meta.pin.is_some(),
        }
    }

    /// How this table stands to another one. Only what is the same may take its place in a take-over.
    #[must_use]
    pub fn against(&self, other: &Self) -> Comparison {
        if self == other {
            return Comparison::Same;
        }
        match (self.has_table, other.has_table) {
            (false, true) => return Comparison::Older,
            (true, false) => return Comparison::Newer,
            _ => {}
        }
        if self.epoch != other.epoch || self.pinned != other.pinned {
            return Comparison::Other;
        }
        match self.generation.cmp(&other.generation) {
            std::cmp::Ordering::Less => Comparison::Older,
            std::cmp::Ordering::Greater => Comparison::Newer,
            std::cmp::Ordering::Equal => Comparison::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(epoch: &str, generation: u64) -> TableMark {
        TableMark {
            has_table: true,
            epoch: Some(Epoch::new(epoch).unwrap()),
            generation: Generation(generation),
            apps: 3,
            digest: Digest(7),
            pinned: false,
        }
    }

    #[test]
    fn only_what_is_the_same_in_everything_is_the_same() {
        let here = mark("e", 5);
        let pinned = TableMark { pinned: true, ..here.clone() };
        for (other, is) in [
            (here.clone(), Comparison::Same),
            (mark("e", 4), Comparison::Newer),
            (mark("e", 6), Comparison::Older),
            (mark("f", 4), Comparison::Other),
            (TableMark::default(), Comparison::Newer),
            (TableMark { apps: 2, ..here.clone() }, Comparison::Other),
            (TableMark { digest: Digest(8), ..here.clone() }, Comparison::Other),
            (pinned, Comparison::Other),
        ] {
            assert_eq!(here.against(&other), is, "{other:?}");
        }
        assert_eq!(TableMark::default().against(&here), Comparison::Older);
        assert_eq!(TableMark::default().against(&TableMark::default()), Comparison::Same);
    }
}
