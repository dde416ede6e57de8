//! What an operator may do: let go what is held, take an epoch back, put another table there and keep it, follow again.
//!
//! A table that an operator has put there is pinned: no answer changes it until it is unpinned. What comes after that is
//! judged against the table then served, so the guard's hour begins with it.

use super::{
    ApproveError, EpochError, Outcome, SteerError, Summary, Updater,
    carry::table_of,
    draft::Draft,
    hosts::{Gone, Map, contest},
};
use crate::{
    guard::Verdict,
    model::{AppId, AppRecord, Epoch, Generation, Now, Provenance, Record, Source},
    state::{Meta, Pin, PinnedBy, Received, State, Tombstones},
    table::Table,
    wire::{Batch, SnapshotCandidate},
};

impl Updater {
    /// Releases what is held at this generation, and starts the guard's hour anew.
    ///
    /// # Errors
    /// When nothing is held, or more than was held at that generation, or the table is pinned.
    pub fn approve(&mut self, generation: Generation, now: Now) -> Result<Outcome, ApproveError> {
        let Some(holding) = &self.state.meta.holding else { return Err(ApproveError::NothingHeld) };
        if self.state.meta.pin.is_some() {
            return Err(ApproveError::Pinned);
        }
        if holding.generation != generation {
            return Err(ApproveError::OtherGeneration { held: holding.generation });
        }
        let mut draft = Draft::of(&self.state);
        draft.carry_out(&Verdict::Release);
        draft.work.meta.holding = None;
        self.guard.restart();
        Ok(Outcome::Published(self.commit(draft, now)))
    }

    /// Takes back an epoch that was left: its snapshots are looked at again.
    ///
    /// # Errors
    /// When it is not one that was left.
    pub fn approve_epoch(&mut self, epoch: &Epoch, now: Now) -> Result<(), EpochError> {
        let mut meta = self.state.meta.clone();
        meta.retired.retain(|retired| retired != epoch);
        if meta.retired.len() == self.state.meta.retired.len() {
            return Err(EpochError::NotRetired { epoch: epoch.clone() });
        }
        self.amend(meta, now);
        Ok(())
    }

    /// Goes back to a state that was kept, and stays there. Where it was received is kept, too, so that what has changed
    /// since comes as a delta once the table is unpinned. What was buried since stays buried.
    ///
    /// # Errors
    /// When there is no app in it.
    pub fn rollback(&mut self, to: State, now: Now) -> Result<Outcome, SteerError> {
        if !to.has_table() || to.table.is_empty() {
            return Err(SteerError::Empty);
        }
        let mut next = to;
        let epoch = |state: &State| state.received.as_ref().map(|received| received.position.epoch.clone());
        if epoch(&next) == epoch(&self.state) {
            for (id, rev) in self.state.tombstones.iter().filter(|(id, _)| next.table.app(id.as_str()).is_none()) {
                next.tombstones.bury(id.clone(), rev);
            }
        }
        next.meta.retired.clone_from(&self.state.meta.retired);
        next.meta.pin = Some(Pin { since: now.wall, by: PinnedBy::Rollback });
        next.meta.provenance.source = Source::Operator;
        Ok(steered(self.replace(next, now)))
    }

    /// Puts a table of the operator's there, and keeps it. An app whose document is invalid keeps its last version.
    ///
    /// # Errors
    /// When it is not whole, has no valid app, or too many that are invalid.
    pub fn import(&mut self, candidate: SnapshotCandidate, now: Now) -> Result<Outcome, SteerError> {
        self.admit_import(&candidate)?;
        let SnapshotCandidate { epoch, generation, apps, .. } = candidate;
        let (table, invalid) = self.imported(apps)?;
        let state = &self.state;
        let meta = Meta {
            provenance: Provenance { source: Source::Operator, epoch: Some(epoch), generation, received_at: now.wall },
            retired: state.meta.retired.clone(),
            pin: Some(Pin { since: now.wall, by: PinnedBy::Import }),
            foreign: true,
            ..Meta::default()
        };
        // The position alone is kept: within its epoch no generation goes back.
        let nothing = |received: &Received| Received::nothing(received.position.clone());
        let (received, tombstones) = (state.received.as_ref().map(nothing), besides(&state.tombstones, &table));
        let summary = self.replace(State { table, received, tombstones, meta }, now);
        Ok(steered(Summary { invalid, ..summary }))
    }

    /// Follows the orchestrator again.
    ///
    /// # Errors
    /// When it does already.
    pub fn unpin(&mut self, now: Now) -> Result<(), SteerError> {
        if self.state.meta.pin.is_none() {
            return Err(SteerError::NotPinned);
        }
        self.amend(Meta { pin: None, ..self.state.meta.clone() }, now);
        Ok(())
    }

    fn admit_import(&self, candidate: &SnapshotCandidate) -> Result<(), SteerError> {
        if let Some(why) = &candidate.partial {
            return Err(SteerError::NotWhole(why.clone()));
        }
        if !candidate.ready {
            return Err(SteerError::NotReady);
        }
        let (batch, invalid) = (&candidate.apps, candidate.apps.invalid());
        match invalid.first() {
            Some(first) if self.guard.too_many_invalid(invalid.len() as u64, batch.len() as u64) => {
                let first = format!("{}: {}", first.id, first.error);
                Err(SteerError::TooManyInvalid { invalid: invalid.len(), apps: batch.len(), first })
            }
            _ if batch.valid() == 0 => Err(SteerError::Empty),
            _ => Ok(()),
        }
    }

    /// The table of a batch, and how many apps of it are not in it as they came.
    fn imported(&self, batch: Batch) -> Result<(Table, usize), SteerError> {
        let records: Vec<Record<'_>> = batch.records().collect();
        let lost = contest(&Table::default(), &Gone::default(), &records, &Map::default());
        let losers = records.iter().zip(lost).filter(|(_, lost)| lost.is_some()).map(|(app, _)| app.app_id());
        let losers: Gone = losers.collect();
        let invalid: Vec<AppId> =
            batch.invalid().iter().map(|app| app.id.clone()).chain(losers.iter().cloned()).collect();
        let mut table = table_of(batch, &losers).map_err(|taken| SteerError::Inconsistent(taken.to_string()))?;
        for app in invalid.iter().filter_map(|id| self.state.table.app(id.as_str())) {
            // ignored: what it had is another's now, and that one was asked for
            let _ = table.upsert(AppRecord::copy_of(app));
        }
        Ok((table, invalid.len()))
    }
}

fn steered(summary: Summary) -> Outcome {
    if summary.changes_table() { Outcome::Published(summary) } else { Outcome::Unchanged(summary) }
}

/// The tombstones of what is not in the table.
fn besides(tombstones: &Tombstones, table: &Table) -> Tombstones {
    let mut left = tombstones.clone();
    for (id, _) in tombstones.iter().filter(|(id, _)| table.app(id.as_str()).is_some()) {
        left.unbury(id);
    }
    left
}
