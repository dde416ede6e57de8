//! The two kinds of answers that may change the table, from their arrival to the verdict.

use std::collections::HashSet;

use super::{Draft, Holding, Outcome, Position, Rejection, Updater};
use crate::{
    gate::{Observation, ShutReason},
    guard::Verdict,
    live::{Provenance, Source},
    model::{AppId, Now, Rev},
    wire::{Changes, Incoming, ShrinkOk, SnapshotCandidate},
};

impl Updater {
    /// Judges a whole snapshot and publishes what may be published of it.
    pub fn offer_snapshot(&mut self, candidate: SnapshotCandidate, now: Now) -> Outcome {
        // What was not read whole speaks for no apps but its own: it takes nothing away, and releases nothing.
        let shrink_ok = candidate.shrink_ok.as_ref().filter(|_| candidate.partial.is_none()).cloned();
        let refused = self.admit(candidate.ready, now).and_then(|()| self.admit_order(&candidate));
        if let Err(rejection) = refused {
            return Outcome::Rejected(rejection);
        }
        let to = Position { epoch: candidate.epoch.clone(), generation: candidate.generation };
        let mut draft = Draft::new(&self.current.table, self.received.as_ref(), &to);
        if !self.is_received(&candidate) {
            fill_from_snapshot(&mut draft, candidate.apps, candidate.partial.is_some());
        }
        if let Some(rejection) = self.admit_first(&draft, candidate.partial) {
            return Outcome::Rejected(rejection);
        }
        self.apply(draft, shrink_ok.as_ref(), now)
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
        let mut draft = Draft::new(&self.current.table, self.received.as_ref(), &to);
        fill_from_changes(&mut draft, changes.upserts, changes.deletes);
        let (apps, digest) = (draft.received.apps, draft.received.digest);
        if (apps, digest) != (changes.apps, changes.digest) {
            self.drifted = true;
            let (theirs, their_digest) = (changes.apps, changes.digest);
            return Outcome::NeedSnapshot(format!(
                "after the changes there are {apps} apps with digest {digest}, and the server has {theirs} with {their_digest}"
            ));
        }
        self.apply(draft, changes.shrink_ok.as_ref(), now)
    }

    /// The gate, for an answer that has just come.
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
        reason.map_or(Ok(()), |reason| Err(Rejection::GateShut(reason)))
    }

    fn admit_order(&self, candidate: &SnapshotCandidate) -> Result<(), Rejection> {
        let offered = candidate.generation;
        match self.received.as_ref().map(|r| &r.position) {
            Some(Position { epoch, generation }) if *epoch == candidate.epoch && offered < *generation => {
                Err(Rejection::OldGeneration { offered, received: *generation })
            }
            _ => Ok(()),
        }
    }

    /// The first table may be empty, but not because nothing of it could be read.
    fn admit_first(&self, draft: &Draft, partial: Option<String>) -> Option<Rejection> {
        if self.has_table() || draft.brings_apps() {
            return None;
        }
        let invalid = draft.summary.invalid;
        let too_many = (invalid > 0).then_some(Rejection::TooManyInvalid { invalid, apps: invalid });
        partial.map(Rejection::NothingWhole).or(too_many)
    }

    /// Whether it is what was received last, so that there is nothing to look at.
    fn is_received(&self, candidate: &SnapshotCandidate) -> bool {
        self.received.as_ref().is_some_and(|received| {
            received.position.epoch == candidate.epoch
                && received.position.generation == candidate.generation
                && received.digest == candidate.digest
                && received.apps == candidate.apps.len() as u64
                && candidate.partial.is_none()
                && !received.lacks_documents()
        })
    }

    fn follows(&self, changes: &Changes) -> Result<(), String> {
        let Some(received) = &self.received else { return Err("nothing was received yet".into()) };
        let Position { epoch, generation } = &received.position;
        if *epoch != changes.epoch {
            return Err(format!("the changes are of epoch {}, what was received is of {epoch}", changes.epoch));
        }
        if *generation != changes.from || changes.to < changes.from {
            let (from, to) = (changes.from, changes.to);
            return Err(format!("the changes go from generation {from} to {to}, what was received is {generation}"));
        }
        Ok(())
    }

    /// Guard, commit and verdict, for both kinds.
    fn apply(&mut self, mut draft: Draft, shrink_ok: Option<&ShrinkOk>, now: Now) -> Outcome {
        let (invalid, apps) = (draft.newly_invalid, draft.received.apps);
        if self.has_table() && self.guard.too_many_invalid(invalid as u64, apps) {
            let apps = usize::try_from(apps).unwrap_or(usize::MAX);
            return Outcome::Rejected(Rejection::TooManyInvalid { invalid, apps });
        }
        self.drifted = false;
        let shrink = draft.shrink(shrink_ok.map(|ok| ok.to_apps), &self.guard, now.wall);
        let verdict = self.guard.judge(&shrink, now.wall);
        self.guard.saw(self.current.table.len() as u64, now.wall);
        draft.carry_out(&verdict);
        self.note(&draft, &verdict, now);
        let (held, changed) = (draft.was_held(), draft.changes_table());
        let position = draft.received.position.clone();
        let (source, received_at) = (Source::Live, now.wall);
        let provenance =
            Provenance { source, epoch: Some(position.epoch), generation: position.generation, received_at };
        let summary = self.commit(draft, provenance, now);
        match (held, changed) {
            (true, _) => Outcome::Held(summary),
            (false, true) => Outcome::Published(summary),
            (false, false) => Outcome::Unchanged(summary),
        }
    }

    /// What the guard and the operator are to know of it.
    fn note(&mut self, draft: &Draft, verdict: &Verdict, now: Now) {
        draft.back.iter().for_each(|id| self.guard.came_back(id));
        if matches!(verdict, Verdict::Let) {
            draft.taken.iter().for_each(|id| self.guard.took_away(id.clone(), now.wall));
        }
        if draft.summary.held == 0 {
            self.holding = None;
        } else if let Verdict::Hold(evidence) = verdict {
            let since = self.holding.as_ref().map_or(now.wall, |h| h.since);
            let generation = draft.received.position.generation;
            self.holding = Some(Holding { since, generation, evidence: Some(*evidence) });
        }
    }
}

fn fill_from_snapshot(draft: &mut Draft, apps: Vec<Incoming>, partial: bool) {
    let present: HashSet<AppId> = apps.iter().map(|app| app.id.clone()).collect();
    apps.into_iter().for_each(|app| draft.take(app));
    if !partial {
        draft.delete_all_but(&present);
    }
}

/// No app is in both lists.
fn fill_from_changes(draft: &mut Draft, upserts: Vec<Incoming>, deletes: Vec<(AppId, Rev)>) {
    upserts.into_iter().for_each(|app| draft.take(app));
    deletes.into_iter().for_each(|(id, _)| draft.delete(id));
}
