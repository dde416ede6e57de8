//! One update being made: a clone of what is, and the steps that lead on from it. Dropped, nothing has happened.
//!
//! In this order: [`Draft::take`] and [`Draft::delete`] (or [`Draft::take_snapshot`]) say what was received; the guard
//! judges `shrink` (in `weigh`); `carry_out` (in `carry`) brings the table there. A step never looks at the orchestrator's word
//! again. Every step goes through [`State::step`], which is what a restart does with it, too, or through [`State::replace`],
//! which is the same of an app that stays at its hosts.

use super::{Position, Summary, arrival::Arrival};
use crate::{
    model::{AppId, AppRecord, Digest, Epoch, Record, Rev},
    state::{Change, Difference, Kind, MAX_RETIRED_EPOCHS, Number, Op, Received, State},
    wire::{Batch, DocumentError, Incoming, SnapshotCandidate},
};

/// See the module.
#[derive(Debug)]
pub(super) struct Draft {
    /// As it was before.
    pub(super) before: State,
    /// As it is to be.
    pub(super) work: State,
    /// What leads from the one to the other, unless it is to be saved whole.
    pub(super) ops: Vec<Op>,
    /// So much changes that it is saved whole.
    pub(super) whole: bool,
    pub(super) summary: Summary,
    /// Revs that are served compare with nothing that is received: they are of another epoch, or an operator's.
    fresh: bool,
    /// This update takes away what is held already.
    pub(super) asks_again: bool,
    /// Apps whose documents are invalid and were not received before.
    pub(super) newly_invalid: usize,
    /// Held now, and not before.
    pub(super) newly_held: Vec<AppId>,
    /// Held before, and not now.
    pub(super) unheld: Vec<AppId>,
    /// Waited for a host, and came anew.
    pub(super) again: Vec<AppId>,
    /// Valid apps of this update that are not served as they came.
    pub(super) arriving: Vec<Arrival>,
    /// What it has taken away, once carried out.
    pub(super) taken: Vec<AppId>,
    /// What it has put there, once carried out; not where it is saved whole.
    pub(super) back: Vec<AppId>,
}

/// What is to become of an app that was received.
enum Class {
    Same,
    Stale,
    Resurrected,
    Invalid,
    Withheld,
    Arrives,
}

impl Draft {
    /// A draft that begins with what is, and leads to a position.
    pub(super) fn new(before: &State, to: &Position) -> Self {
        let mut draft = Self::of(before);
        let known = before.received.as_ref().map(|received| &received.position);
        let new_epoch = known.is_some_and(|known| known.epoch != to.epoch);
        draft.fresh = new_epoch || before.meta.foreign;
        draft.work.received.get_or_insert_with(|| Received::nothing(to.clone())).position = to.clone();
        if let Some(left) = known.filter(|_| new_epoch) {
            retire(&mut draft.work.meta.retired, &left.epoch);
            draft.step(Op::UnburyAll);
        }
        draft
    }

    /// A draft that begins with what is, and stays where it is.
    pub(super) fn of(before: &State) -> Self {
        Self {
            before: before.clone(),
            work: before.clone(),
            ops: Vec::new(),
            whole: false,
            summary: Summary::default(),
            fresh: before.meta.foreign,
            asks_again: false,
            newly_invalid: 0,
            newly_held: Vec::new(),
            unheld: Vec::new(),
            again: Vec::new(),
            arriving: Vec::new(),
            taken: Vec::new(),
            back: Vec::new(),
        }
    }

    /// Takes in what was received of an app.
    pub(super) fn take(&mut self, incoming: Incoming) {
        let Incoming { id, rev, digest, app, .. } = incoming;
        let number = Number { rev, digest };
        let mut held = self.before.table.hold(id.as_str());
        let served = held.as_ref().and_then(|held| held.record(&self.before.table));
        let before = self.received_before(&id, served);
        let class = self.classify(id.as_str(), rev, app.as_ref().ok().map(AppRecord::get), served);
        if self.difference_before(id.as_str()).is_none() {
            // Then it is the number of what is served.
            held.iter_mut().for_each(|held| held.digest = before.map(|before| before.digest));
        }
        let is_news = before != Some(number);
        self.count_received(before, Some(number));
        match class {
            Class::Arrives => app.into_iter().for_each(|app| {
                self.comes(&id);
                self.arriving.push(Arrival { id: id.clone(), app, digest: Some(digest), held: held.take() });
            }),
            Class::Withheld => app.into_iter().for_each(|app| self.lose(id.clone(), Kind::Withheld(app))),
            Class::Invalid => app.err().into_iter().for_each(|error| self.take_invalid(&id, number, error, is_news)),
            class => self.note(&id, class, || number),
        }
    }

    /// Takes in that an app is not there any more since `rev`. One that is not known is no matter.
    pub(super) fn delete(&mut self, id: AppId, rev: Rev) {
        let before = self.received_before(&id, self.before.table.app(id.as_str()));
        self.count_received(before, None);
        self.gone(id, rev);
    }

    /// Takes in a snapshot, but for the valid apps that are not served as they came: these are returned.
    pub(super) fn take_snapshot<'a>(&mut self, candidate: &'a SnapshotCandidate) -> Vec<Record<'a>> {
        let (batch, complete) = (&candidate.apps, candidate.partial.is_none());
        if complete {
            self.receive_all(batch.len() as u64, candidate.digest);
            self.work.meta.foreign = false;
        }
        let (mut arriving, mut known) = (Vec::new(), 0);
        for record in batch.records() {
            known += usize::from(self.take_record(record, complete, &mut arriving));
        }
        for app in batch.invalid() {
            let served = self.before.table.app(app.id.as_str());
            known += usize::from(served.is_some());
            let number = Number { rev: app.rev, digest: app.digest };
            let before = self.received_before(&app.id, served);
            let class = self.classify(app.id.as_str(), app.rev, None, served);
            if !complete {
                self.count_received(before, Some(number));
            }
            let is_news = before != Some(number);
            match class {
                Class::Invalid => self.take_invalid(&app.id, number, app.error.clone(), is_news),
                class => self.note(&app.id, class, || number),
            }
        }
        if complete {
            self.delete_absent(batch, Rev(candidate.generation.0), known);
        }
        arriving
    }

    /// True when the app is served.
    fn take_record<'a>(&mut self, record: Record<'a>, complete: bool, arriving: &mut Vec<Record<'a>>) -> bool {
        let served = self.before.table.app(record.id());
        let is_served = served.is_some();
        let class = self.classify(record.id(), record.rev(), Some(record), served);
        if complete && matches!(class, Class::Same) && self.differences_are_none() {
            return is_served;
        }
        let id = record.app_id();
        if !complete {
            let before = self.received_before(&id, served);
            self.count_received(before, Some(Number::of(record)));
        }
        match class {
            Class::Arrives => {
                self.comes(&id);
                arriving.push(record);
            }
            Class::Withheld => self.lose(id, Kind::Withheld(AppRecord::copy_of(record))),
            class => self.note(&id, class, || Number::of(record)),
        }
        is_served
    }

    /// What is there before, and not in the snapshot. Where all that is served was seen in it, there is nothing to look for.
    fn delete_absent(&mut self, batch: &Batch, rev: Rev, known: usize) {
        let mut absent: Vec<AppId> = Vec::new();
        if known < self.before.table.len() {
            let gone = self.before.table.iter().filter(|app| !batch.contains(app.id()));
            absent.extend(gone.map(Record::app_id));
        }
        let differing = self.before.received.iter().flat_map(|received| received.differences.iter());
        let unserved = differing.filter(|(id, _)| self.before.table.app(id.as_str()).is_none());
        absent.extend(unserved.filter(|(id, _)| !batch.contains(id.as_str())).map(|(id, _)| id.clone()));
        absent.into_iter().for_each(|id| self.gone(id, rev));
    }

    /// `served` is what is served of it before.
    fn classify(&self, id: &str, rev: Rev, app: Option<Record<'_>>, served: Option<Record<'_>>) -> Class {
        if let Some(served) = served {
            if rev < served.rev() && !self.is_foreign(id) {
                return Class::Stale;
            }
        } else if self.work.tombstones.of(id).is_some_and(|buried| rev <= buried) {
            return Class::Resurrected;
        }
        let Some(app) = app else { return Class::Invalid };
        match served {
            Some(served) if served == app => Class::Same,
            Some(served) if served.endpoints() > 0 && app.endpoints() == 0 => Class::Withheld,
            _ => Class::Arrives,
        }
    }

    fn note(&mut self, id: &AppId, class: Class, number: impl FnOnce() -> Number) {
        match class {
            Class::Stale => {
                self.summary.stale += 1;
                self.differ(id, Kind::Stale(number()));
            }
            Class::Resurrected => {
                self.summary.refused += 1;
                self.differ(id, Kind::Resurrected(number()));
            }
            _ => self.agree(id),
        }
    }

    fn take_invalid(&mut self, id: &AppId, number: Number, error: DocumentError, is_news: bool) {
        self.summary.invalid += 1;
        self.newly_invalid += usize::from(is_news);
        self.differ(id, Kind::Invalid(number, error.field, error.message));
    }

    /// What comes is held no longer, nor invalid. What waits for its host is looked at again, and may go on waiting.
    fn comes(&mut self, id: &AppId) {
        match self.difference(id.as_str()).map(|d| &d.kind) {
            None => {}
            Some(Kind::Waiting(..)) => self.again.push(id.clone()),
            Some(_) => self.agree(id),
        }
    }

    /// The app is not there any more: it is held, until the guard has spoken, or was not served anyway.
    fn gone(&mut self, id: AppId, rev: Rev) {
        let Some(served) = self.before.table.app(id.as_str()).map(Record::rev) else {
            self.agree(&id);
            return self.bury(id, rev);
        };
        let rev = if self.is_foreign(id.as_str()) { rev } else { rev.max(served) };
        let rev = match self.difference(id.as_str()).map(|d| &d.kind) {
            Some(Kind::Deleted(before)) if !self.fresh => rev.max(*before),
            _ => rev,
        };
        self.lose(id, Kind::Deleted(rev));
    }

    fn lose(&mut self, id: AppId, kind: Kind) {
        if self.was_held(id.as_str()) {
            self.asks_again = true;
        } else {
            self.newly_held.push(id.clone());
        }
        self.differ(&id, kind);
    }

    /// Whether what was received is not what was received before.
    pub(super) fn moves(&self) -> bool {
        let key = |state: &State| state.received.as_ref().map(|r| (r.position.clone(), r.apps, r.digest));
        key(&self.before) != key(&self.work)
    }

    /// The change it is; `None` where it is to be saved whole.
    pub(super) fn change(&mut self) -> Option<Change> {
        let received = self.work.received.as_ref().map(|r| (r.position.clone(), r.apps, r.digest));
        let change = || Change { received, ops: std::mem::take(&mut self.ops), meta: self.work.meta.clone() };
        (!self.whole).then(change)
    }

    /// So much changes that it is to be saved whole.
    pub(super) fn save_whole(&mut self) {
        (self.whole, self.ops) = (true, Vec::new());
    }

    /// The steps beyond the first `count` are as if they had not been.
    pub(super) fn forget_steps(&mut self, count: usize) {
        self.ops.truncate(count);
    }

    /// Whether count and digest of what was received are what they say they are. It looks at every app.
    pub(super) fn is_sound(&self) -> bool {
        let Some(received) = self.work.received.as_ref().filter(|_| !self.work.meta.foreign) else { return true };
        let same = self.work.table.iter().filter(|app| received.differences.get(app.id()).is_none());
        let others = received.differences.iter().filter_map(|(_, d)| d.kind.received());
        let numbers = same.map(Number::of).chain(others);
        let sum = numbers.fold((0, Digest::default()), |(apps, sum), number| (apps + 1, sum.plus(number.digest)));
        sum == (received.apps, received.digest)
    }

    /// One step. It cannot fail but for hosts, and who takes hosts asks beforehand.
    pub(super) fn step(&mut self, op: Op) {
        let done = self.work.step(&op);
        debug_assert!(done.is_ok(), "nobody takes a host that is another's: {done:?}");
        self.record(op);
    }

    pub(super) fn record(&mut self, op: Op) {
        if !self.whole {
            self.ops.push(op);
        }
    }

    pub(super) fn agree(&mut self, id: &AppId) {
        if self.difference(id.as_str()).is_none() {
            return;
        }
        if self.was_held(id.as_str()) {
            self.unheld.push(id.clone());
        }
        self.step(Op::Agree(id.clone()));
    }

    pub(super) fn differ(&mut self, id: &AppId, kind: Kind) {
        let held = kind.is_held();
        let difference = Difference { foreign: self.is_foreign(id.as_str()), kind };
        if self.difference(id.as_str()) == Some(&difference) {
            return;
        }
        if !held && self.was_held(id.as_str()) {
            self.unheld.push(id.clone());
        }
        self.step(Op::Differ(id.clone(), difference));
    }

    pub(super) fn bury(&mut self, id: AppId, rev: Rev) {
        if self.work.tombstones.of(id.as_str()).is_none_or(|buried| buried < rev) {
            self.step(Op::Bury(id, rev));
        }
    }

    pub(super) fn difference(&self, id: &str) -> Option<&Difference> {
        self.work.differences()?.get(id)
    }

    pub(super) fn difference_before(&self, id: &str) -> Option<&Difference> {
        self.before.differences()?.get(id)
    }

    fn differences_are_none(&self) -> bool {
        self.work.differences().is_none_or(|differences| differences.is_empty())
    }

    pub(super) fn is_held(&self, id: &str) -> bool {
        self.difference(id).is_some_and(|difference| difference.kind.is_held())
    }

    fn was_held(&self, id: &str) -> bool {
        self.difference_before(id).is_some_and(|difference| difference.kind.is_held())
    }

    /// Whether the rev of the served version compares with nothing that is received.
    fn is_foreign(&self, id: &str) -> bool {
        self.fresh || self.difference_before(id).is_some_and(|difference| difference.foreign)
    }

    /// A whole snapshot says itself what was received.
    fn receive_all(&mut self, apps: u64, digest: Digest) {
        if let Some(received) = &mut self.work.received {
            (received.apps, received.digest) = (apps, digest);
        }
    }

    /// What was received of an app before, of which `served` is served.
    fn received_before(&self, id: &AppId, served: Option<Record<'_>>) -> Option<Number> {
        match self.difference_before(id.as_str()) {
            Some(difference) => difference.kind.received(),
            None => served.filter(|_| !self.before.meta.foreign).map(Number::of),
        }
    }

    /// Keeps count and digest of what was received.
    fn count_received(&mut self, before: Option<Number>, now: Option<Number>) {
        let Some(received) = &mut self.work.received else { return };
        if let Some(before) = before {
            received.apps = received.apps.saturating_sub(1);
            received.digest = received.digest.minus(before.digest);
        }
        if let Some(now) = now {
            received.apps += 1;
            received.digest = received.digest.plus(now.digest);
        }
    }
}

fn retire(retired: &mut Vec<Epoch>, left: &Epoch) {
    retired.retain(|epoch| epoch != left);
    retired.insert(0, left.clone());
    retired.truncate(MAX_RETIRED_EPOCHS);
}
