//! The two kinds of answers that may change the table, from their arrival to the verdict; and the audit.

use super::{Audit, Outcome, Position, Rejection, Updater, arrival::Arrival, draft::Draft};
use crate::{
    gate::{Observation, ShutReason},
    guard::Verdict,
    limits::LimitName,
    model::{AppRecord, Now, Provenance, Source},
    state::{Holding, State},
    wire::{Changes, SnapshotCandidate, StateAnswer},
};

impl Updater {
    /// Judges a whole snapshot and publishes what may be published of it.
    pub fn offer_snapshot(&mut self, candidate: SnapshotCandidate, now: Now) -> Outcome {
        let admitted = self.admit(candidate.ready, now).and_then(|()| self.admit_position(&candidate));
        if let Err(rejection) = admitted {
            return Outcome::Rejected(rejection);
        }
        let to = Position { epoch: candidate.epoch.clone(), generation: candidate.generation };
        let mut draft = Draft::new(&self.state, &to);
        if self.is_received(&candidate) {
            self.drifted = false;
            return self.confirm(draft, candidate.shrink_ok.map(|ok| ok.to_apps), now);
        }
        let arriving = draft.take_snapshot(&candidate);
        if let Some(rejection) = self.admit_first(&draft, arriving.len(), candidate.partial.as_deref()) {
            return Outcome::Rejected(rejection);
        }
        // What was not read whole speaks for no apps but its own: it takes nothing away, and releases nothing.
        let shrink_ok = candidate.shrink_ok.as_ref().filter(|_| candidate.partial.is_none()).map(|ok| ok.to_apps);
        let verdict = match self.judge(&draft, shrink_ok, now) {
            Ok(verdict) => verdict,
            Err(rejection) => return Outcome::Rejected(rejection),
        };
        if candidate.partial.is_some() || !Draft::is_mostly_new(arriving.len(), &candidate.apps) {
            draft.arriving.extend(arriving.into_iter().map(|app| Arrival::of(AppRecord::copy_of(app))));
            draft.carry_out(&verdict);
            return self.conclude(draft, &verdict, now);
        }
        let losers = draft.carry_out_whole(&verdict, &candidate.apps, arriving);
        match draft.build(candidate.apps, losers) {
            Ok(()) => self.conclude(draft, &verdict, now),
            Err(taken) => Outcome::NeedSnapshot(format!("the snapshot makes no table: {taken}")),
        }
    }

    /// Judges a delta, all of its pages, and publishes what may be published of it.
    pub fn offer_changes(&mut self, changes: Changes, now: Now) -> Outcome {
        if let Err(rejection) = self.admit(changes.ready, now) {
            return Outcome::Rejected(rejection);
        }
        if let Err(why) = self.follows(&changes) {
            return Outcome::NeedSnapshot(why);
        }
        let to = Position { epoch: changes.epoch, generation: changes.to };
        let mut draft = Draft::new(&self.state, &to);
        // No app is in both lists.
        changes.upserts.into_iter().for_each(|app| draft.take(app));
        changes.deletes.into_iter().for_each(|(id, rev)| draft.delete(id, rev));
        let (apps, digest) = draft.work.received.as_ref().map(|r| (r.apps, r.digest)).unwrap_or_default();
        if (apps, digest) != (changes.apps, changes.digest) {
            self.drifted = true;
            let (theirs, their_digest) = (changes.apps, changes.digest);
            return Outcome::NeedSnapshot(format!(
                "after the changes there are {apps} apps with digest {digest}, and the server has {theirs} with {their_digest}"
            ));
        }
        match self.judge(&draft, changes.shrink_ok.map(|ok| ok.to_apps), now) {
            Ok(verdict) => {
                draft.carry_out(&verdict);
                self.conclude(draft, &verdict, now)
            }
            Err(rejection) => Outcome::Rejected(rejection),
        }
    }

    /// Holds what was received against what the orchestrator says it has. What differs at the same position has drifted.
    pub fn audit(&mut self, answer: &StateAnswer, _now: Now) -> Audit {
        let Some(position) = self.position().filter(|_| answer.ready && self.state.meta.pin.is_none()) else {
            return Audit::NotComparable;
        };
        let Some(received) = &self.state.received else { return Audit::NotComparable };
        if (&position.epoch, position.generation) != (&answer.epoch, answer.generation) {
            return Audit::NotComparable;
        }
        if (received.apps, received.digest) == (answer.apps, answer.digest) {
            return Audit::Same;
        }
        self.drifted = true;
        Audit::Drifted
    }

    /// The gate, for an answer that has just come; and the operator's word that nothing is to change.
    fn admit(&mut self, ready: bool, now: Now) -> Result<(), Rejection> {
        self.last_contact = Some(now.wall);
        if !ready {
            self.gate.observe(Observation::NotReady("an answer about the table says ready:false".into()), now);
            return Err(Rejection::NotReady);
        }
        self.gate.heard(now);
        let reason = if self.has_table() {
            self.gate.shut_reason(now)
        } else {
            self.gate.denial().map(|why| ShutReason::NotReady(why.into()))
        };
        match reason {
            _ if self.store.is_away() => Err(Rejection::Away),
            _ if self.state.meta.pin.is_some() => Err(Rejection::Pinned),
            Some(reason) => Err(Rejection::GateShut(reason)),
            None => Ok(()),
        }
    }

    /// Epoch and generation of a snapshot.
    fn admit_position(&self, candidate: &SnapshotCandidate) -> Result<(), Rejection> {
        let (epoch, offered) = (candidate.epoch.clone(), candidate.generation);
        if self.state.meta.retired.contains(&epoch) {
            return Err(Rejection::RetiredEpoch { epoch });
        }
        let known = self.state.received.as_ref().map(|received| &received.position);
        let is_another = self.state.meta.foreign || known.is_some_and(|known| known.epoch != epoch);
        if candidate.partial.is_some() && is_another {
            return Err(Rejection::PartialOfAnotherEpoch { epoch });
        }
        match known.filter(|known| known.epoch == epoch && offered < known.generation) {
            Some(Position { generation: received, .. }) => {
                Err(Rejection::OldGeneration { offered, received: *received })
            }
            None => Ok(()),
        }
    }

    /// The first table may be empty, but not because nothing of it could be read.
    fn admit_first(&self, draft: &Draft, arriving: usize, partial: Option<&str>) -> Option<Rejection> {
        if self.has_table() || arriving > 0 {
            return None;
        }
        let invalid = draft.summary.invalid;
        let too_many = (invalid > 0).then_some(Rejection::TooManyInvalid { invalid, apps: invalid });
        partial.map(|why| Rejection::NothingWhole(why.into())).or(too_many)
    }

    /// Whether it is what was received last, so that there is nothing to look at.
    fn is_received(&self, candidate: &SnapshotCandidate) -> bool {
        self.state.received.as_ref().filter(|_| !self.state.meta.foreign).is_some_and(|received| {
            received.position.epoch == candidate.epoch
                && received.position.generation == candidate.generation
                && received.digest == candidate.digest
                && received.apps == candidate.apps.len() as u64
                && candidate.partial.is_none()
        })
    }

    fn follows(&self, changes: &Changes) -> Result<(), String> {
        let Some(received) = self.state.received.as_ref().filter(|_| !self.state.meta.foreign) else {
            return Err("nothing was received yet that changes could follow on".into());
        };
        let Position { epoch, generation } = &received.position;
        if *epoch != changes.epoch {
            return Err(format!("the changes are of epoch {}, what was received is of {epoch}", changes.epoch));
        }
        if self.state.meta.retired.contains(epoch) {
            return Err(format!("epoch {epoch} was left for another one"));
        }
        if *generation != changes.from || changes.to < changes.from {
            let (from, to) = (changes.from, changes.to);
            return Err(format!("the changes go from generation {from} to {to}, what was received is {generation}"));
        }
        Ok(())
    }

    /// What was received again as it is: nothing is to be looked at but what is held.
    fn confirm(&mut self, mut draft: Draft, shrink_ok: Option<u64>, now: Now) -> Outcome {
        match self.judge(&draft, shrink_ok, now) {
            Ok(verdict) => {
                draft.carry_out(&verdict);
                self.conclude(draft, &verdict, now)
            }
            Err(rejection) => Outcome::Rejected(rejection),
        }
    }

    /// The guard's word about a draft.
    fn judge(&mut self, draft: &Draft, shrink_ok: Option<u64>, now: Now) -> Result<Verdict, Rejection> {
        let (invalid, apps) = (draft.newly_invalid, draft.work.received.as_ref().map_or(0, |received| received.apps));
        if self.has_table() && self.guard.too_many_invalid(invalid as u64, apps) {
            let apps = usize::try_from(apps).unwrap_or(usize::MAX);
            return Err(Rejection::TooManyInvalid { invalid, apps });
        }
        self.guard.settle(now.wall);
        let shrink = draft.shrink(shrink_ok, |id| self.guard.is_away(id, now.wall));
        Ok(self.guard.judge(&shrink, now.wall))
    }

    /// What a draft that was carried out becomes: the state, unless it is over a limit or known to be poison.
    fn conclude(&mut self, mut draft: Draft, verdict: &Verdict, now: Now) -> Outcome {
        if let Err(rejection) = self.admit_size(&draft).and_then(|()| self.admit_content(&draft)) {
            return Outcome::Rejected(rejection);
        }
        self.drifted = false;
        self.refused_resurrections = self.refused_resurrections.saturating_add(draft.summary.refused as u64);
        self.note(&mut draft, verdict, now);
        let position = draft.work.received.as_ref().map(|received| received.position.clone());
        if let Some(Position { epoch, generation }) = position {
            let (source, received_at) = (Source::Live, now.wall);
            draft.work.meta.provenance = Provenance { source, epoch: Some(epoch), generation, received_at };
        }
        let held = draft.was_refused();
        let summary = self.commit(draft, now);
        match (held, summary.changes_table()) {
            (true, _) => Outcome::Held(summary),
            (false, true) => Outcome::Published(summary),
            (false, false) => Outcome::Unchanged(summary),
        }
    }

    /// A table may be over a limit that was lowered, but not grow beyond it.
    fn admit_size(&self, draft: &Draft) -> Result<(), Rejection> {
        let limits = &self.config.limits;
        let apps = |state: &State| state.received.as_ref().map_or(0, |r| r.apps).max(state.table.len() as u64);
        let bytes = |state: &State| state.table.document_bytes();
        let checks = [
            (LimitName::SnapshotApps, apps(&draft.before), apps(&draft.work), limits.snapshot_apps),
            (LimitName::SnapshotBytes, bytes(&draft.before), bytes(&draft.work), limits.snapshot_bytes),
        ];
        match checks.into_iter().find(|(_, before, found, allowed)| found > allowed && found > before) {
            Some((limit, _, found, allowed)) => Err(Rejection::TooLarge { limit, found, allowed }),
            None => Ok(()),
        }
    }

    /// Where there is no table at all, one that may be poison is better than none.
    fn admit_content(&self, draft: &Draft) -> Result<(), Rejection> {
        let Some(poisoned) = self.poisoned.as_ref().filter(|_| self.has_table()) else { return Ok(()) };
        let is_it = draft.summary.changes_table() && draft.work.table.digest() == poisoned.digest;
        if is_it { Err(Rejection::Poisoned { generation: poisoned.generation }) } else { Ok(()) }
    }

    /// What the guard and the operator are to know of it.
    fn note(&mut self, draft: &mut Draft, verdict: &Verdict, now: Now) {
        self.guard.saw(draft.before.table.len() as u64, now.wall);
        draft.back.iter().for_each(|id| self.guard.came_back(id));
        if draft.whole {
            let table = &draft.work.table;
            self.guard.bring_back(|id| table.app(id.as_str()).is_some_and(|app| app.endpoints() > 0));
        }
        if matches!(verdict, Verdict::Let) {
            draft.taken.iter().for_each(|id| self.guard.took_away(id.clone(), now.wall));
        }
        draft.unheld.iter().for_each(|id| self.guard.set_held(id, false));
        draft.newly_held.iter().for_each(|id| self.guard.set_held(id, true));
        let generation = draft.work.received.as_ref().map(|received| received.position.generation);
        let holding = &mut draft.work.meta.holding;
        if draft.summary.held == 0 {
            *holding = None;
        } else if let (Verdict::Hold(evidence), Some(generation)) = (verdict, generation) {
            let since = holding.as_ref().map_or(now.wall, |holding| holding.since);
            *holding = Some(Holding { since, generation, evidence: *evidence });
        }
    }
}
