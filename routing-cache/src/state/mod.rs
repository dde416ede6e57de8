//! What a gateway must not forget: what is served, what was received, what is buried, and what the guard remembers.
//!
//! A [`State`] changes only by a [`Change`], which is what the journal keeps: applied to the same state it makes the same
//! state. Nothing here judges; [`crate::updater`] makes the changes, [`crate::store`] keeps them.

mod ids;
mod received;
mod tombstones;

use crate::{
    guard::Evidence,
    model::{AppId, AppRecord, Digest, Epoch, Generation, Provenance, Rev, Source, WallTime},
    table::{Held, HostTaken, Table},
};

pub use received::{Difference, Differences, Kind, Number, Position, Received};
pub use tombstones::{MAX_TOMBSTONES, Tombstones};

/// Epochs remembered as retired at most, newest first.
pub const MAX_RETIRED_EPOCHS: usize = 16;

/// Everything a restart begins with. Cloning is cheap: the parts are shared until they change.
#[derive(Clone, Debug, Default)]
pub struct State {
    /// What is served.
    pub table: Table,
    /// What was received, as far as it differs from what is served; `None` before anything was.
    pub received: Option<Received>,
    /// Apps that were deleted, each with the rev that may not come back.
    pub tombstones: Tombstones,
    /// The rest; small.
    pub meta: Meta,
}

/// The small part of a [`State`]; it stands whole in every [`Change`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Meta {
    /// Where the served table is from.
    pub provenance: Provenance,
    /// The guard's sliding hour: when how many apps were taken away, oldest first.
    pub window: Vec<(WallTime, u64)>,
    /// The largest number of apps in that hour.
    pub hour_max: u64,
    /// Something is held.
    pub holding: Option<Holding>,
    /// Epochs that were left, newest first, at most [`MAX_RETIRED_EPOCHS`].
    pub retired: Vec<Epoch>,
    /// An operator wants this table to stay.
    pub pin: Option<Pin>,
    /// Revs of the served apps compare with nothing received (the table is an operator's, or of another epoch).
    pub foreign: bool,
}

/// Something is held.
#[derive(Clone, Debug, PartialEq)]
pub struct Holding {
    /// Since when without a break.
    pub since: WallTime,
    /// By which generation the set last grew.
    pub generation: Generation,
    /// The numbers behind it.
    pub evidence: Evidence,
}

/// An operator wants the table to stay as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pin {
    /// Since when.
    pub since: WallTime,
    /// By what: `rollback` or `import`.
    pub by: PinnedBy,
}

/// What pinned a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PinnedBy {
    /// `table rollback`
    Rollback,
    /// `table import`
    Import,
}

/// From one state to the next: what one update did.
#[derive(Clone, Debug, Default)]
pub struct Change {
    /// What was received, but for its differences: position, count and digest.
    pub received: Option<(Position, u64, Digest)>,
    /// In this order. Removals come before what is put.
    pub ops: Vec<Op>,
    /// All of it, as it is afterwards.
    pub meta: Meta,
}

/// One step of a [`Change`].
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// The app is not served any more.
    Remove(AppId),
    /// The app is served in this version.
    Put(AppRecord),
    /// What was received of the app differs so from what is served.
    Differ(AppId, Difference),
    /// It does not differ.
    Agree(AppId),
    /// The app was deleted: no rev up to this one may come back.
    Bury(AppId, Rev),
    /// It may.
    Unbury(AppId),
    /// All may (a new epoch).
    UnburyAll,
}

impl Change {
    /// Nothing but the meta.
    #[must_use]
    pub fn of(meta: Meta) -> Self {
        Self { meta, ..Self::default() }
    }
}

impl State {
    /// Brings the change about.
    ///
    /// # Errors
    /// When an app would take a host of another. It cannot be for a change that was made of this state; of one that was
    /// read from disk it means that it was not. The state is then as far as it came, and of no use.
    pub fn apply(&mut self, change: &Change) -> Result<(), HostTaken> {
        if let Some((position, apps, digest)) = &change.received {
            let received = self.received.get_or_insert_with(|| Received::nothing(position.clone()));
            (received.position, received.apps, received.digest) = (position.clone(), *apps, *digest);
        }
        for op in &change.ops {
            self.step(op)?;
        }
        self.meta = change.meta.clone();
        Ok(())
    }

    /// One step. See [`State::apply`].
    pub(crate) fn step(&mut self, op: &Op) -> Result<(), HostTaken> {
        match op {
            Op::Remove(id) => drop(self.table.remove(id.as_str())),
            Op::Put(record) => drop(self.table.upsert(record.clone())?),
            Op::Differ(id, difference) => {
                if let Some(received) = &mut self.received {
                    received.differ(id.clone(), difference.clone());
                }
            }
            Op::Agree(id) => {
                if let Some(received) = &mut self.received {
                    received.agree(id);
                }
            }
            Op::Bury(id, rev) => self.tombstones.bury(id.clone(), *rev),
            Op::Unbury(id) => self.tombstones.unbury(id),
            Op::UnburyAll => self.tombstones.clear(),
        }
        Ok(())
    }

    /// As a step that puts `record`, of which it is known what there is, and perhaps its number in the digest.
    pub(crate) fn replace(&mut self, record: &AppRecord, held: &Held, digest: Option<Digest>) -> Result<(), HostTaken> {
        self.table.replace(record.clone(), held, digest).map(drop)
    }

    /// Whether there is a table.
    #[must_use]
    pub fn has_table(&self) -> bool {
        self.meta.provenance.source != Source::None
    }

    /// The generation that is served.
    #[must_use]
    pub fn generation(&self) -> Generation {
        self.meta.provenance.generation
    }

    /// What is not served as received; `None` before anything was received.
    #[must_use]
    pub fn differences(&self) -> Option<&Differences> {
        self.received.as_ref().map(|received| &received.differences)
    }
}
