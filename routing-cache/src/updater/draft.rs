//! One update being made: changes to clones of what was received and what is served. Dropped, nothing has happened.
//!
//! The steps, in this order: [`Draft::take`] and [`Draft::delete`] say what was received; the guard judges
//! [`Draft::shrink`]; [`Draft::carry_out`] brings the table there. A step never looks at the orchestrator's word again.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use super::{
    Summary, hosts,
    received::{Difference, Kind, Position, Received},
};
use crate::{
    guard::{Guard, Shrink, Verdict},
    model::{App, AppId, Digest, WallTime},
    snapshot::ReceivedApp,
    table::{HostTaken, Table},
    wire::{DocumentError, Incoming},
};

/// See the module.
#[derive(Debug)]
pub(super) struct Draft {
    /// As it was before.
    before: Table,
    pub(super) table: Table,
    pub(super) received: Received,
    pub(super) summary: Summary,
    /// Revs of another epoch are served: they compare with nothing that is received.
    new_epoch: bool,
    differed_before: Arc<BTreeMap<AppId, Difference>>,
    /// This update takes away what is held already.
    asks_again: bool,
    /// What was received differs from what was received before.
    moved: bool,
    /// Apps whose documents are invalid and were not received before.
    pub(super) newly_invalid: usize,
    /// What it has taken away, once carried out.
    pub(super) taken: Vec<AppId>,
    /// What it has put there, once carried out.
    pub(super) back: Vec<AppId>,
}

impl Draft {
    /// A draft that begins with what is.
    pub(super) fn new(served: &Table, received: Option<&Received>, to: &Position) -> Self {
        let mut next = received.cloned().unwrap_or_else(|| Received::nothing(to.clone()));
        let new_epoch = next.position.epoch != to.epoch;
        let moved = received.is_none() || next.position != *to;
        next.position = to.clone();
        Self {
            before: served.clone(),
            table: served.clone(),
            differed_before: Arc::clone(&next.differences),
            received: next,
            summary: Summary::default(),
            new_epoch,
            asks_again: false,
            moved,
            newly_invalid: 0,
            taken: Vec::new(),
            back: Vec::new(),
        }
    }

    /// Takes in what was received of an app.
    pub(super) fn take(&mut self, incoming: Incoming) {
        let number = ReceivedApp { rev: incoming.rev, digest: incoming.digest };
        let is_news = self.count_received(&incoming.id, Some(number));
        let served = self.before.app(incoming.id.as_str());
        if self.is_stale(&incoming.id, number, served) {
            self.summary.stale += 1;
            return self.differ(incoming.id, Kind::Stale(number));
        }
        match incoming.app {
            Err(error) => {
                self.summary.invalid += 1;
                self.newly_invalid += usize::from(is_news);
                self.differ(incoming.id, Kind::Invalid(number, Box::new(error)));
            }
            Ok(_) if served.is_some_and(|app| ReceivedApp::of(app) == number) => self.received.agree(&incoming.id),
            Ok(app) if loses_endpoints(served, &app) && !self.was_let_go(&app) => {
                self.lose(incoming.id, Kind::Withheld(app))
            }
            Ok(app) => self.differ(incoming.id, Kind::Waiting(app, None)),
        }
    }

    /// Takes in that an app is not there any more. One that is not known is no matter.
    pub(super) fn delete(&mut self, id: AppId) {
        self.count_received(&id, None);
        if self.before.app(id.as_str()).is_some() {
            self.lose(id, Kind::Deleted);
        } else {
            self.received.agree(&id);
        }
    }

    /// Takes in that no apps are there but `present`.
    pub(super) fn delete_all_but(&mut self, present: &HashSet<AppId>) {
        let served = self.before.iter().map(|app| &app.id);
        let known = served.chain(self.received.differences.keys());
        let gone: Vec<AppId> = known.filter(|id| !present.contains(*id)).cloned().collect();
        gone.into_iter().for_each(|id| self.delete(id));
    }

    /// What it would take away of what `guard` does not count as away already.
    pub(super) fn shrink(&self, shrink_ok: Option<u64>, guard: &Guard, now: WallTime) -> Shrink {
        let is_there = |id: &&AppId| !guard.is_away(id, now);
        let losing = self.newly_held().filter(is_there).count();
        Shrink {
            served: self.before.len() as u64,
            losing: losing as u64,
            held: self.received.held().filter(is_there).count().saturating_sub(losing) as u64,
            apps_after: self.received.apps,
            shrink_ok,
        }
    }

    /// Brings the table to what was received, as far as the verdict lets it.
    pub(super) fn carry_out(&mut self, verdict: &Verdict) {
        let going: Vec<AppId> = match verdict {
            Verdict::Let => self.newly_held().cloned().collect(),
            Verdict::Release => self.received.held().cloned().collect(),
            Verdict::Hold(_) => Vec::new(),
        };
        going.into_iter().for_each(|id| self.let_go(id));
        self.place_waiting();
        self.summary.held = self.received.held().count();
    }

    /// Whether the table differs from the one before.
    pub(super) fn changes_table(&self) -> bool {
        self.summary.added + self.summary.updated + self.summary.removed > 0
    }

    /// Whether anything differs that a restart begins with.
    pub(super) fn is_worth_saving(&self) -> bool {
        self.moved || self.changes_table()
    }

    /// Whether the update asked for something that is held now.
    pub(super) fn was_held(&self) -> bool {
        let held = self.summary.held > 0;
        held && (self.asks_again || self.newly_held().next().is_some())
    }

    /// Whether it has an app that could be served.
    pub(super) fn brings_apps(&self) -> bool {
        self.received.differences.values().any(|d| waits(d).is_some())
    }

    /// Whether count and digest of what was received are what they say they are. It looks at every app.
    pub(super) fn is_sound(&self) -> bool {
        let same = self.table.iter().filter(|app| !self.received.differences.contains_key(&app.id));
        let others = self.received.differences.values().filter_map(|d| d.kind.received());
        let numbers = same.map(|app| ReceivedApp::of(app)).chain(others);
        let sum = numbers.fold((0, Digest::default()), |(apps, sum), number| (apps + 1, sum.plus(number.digest)));
        sum == (self.received.apps, self.received.digest)
    }

    fn is_stale(&self, id: &AppId, number: ReceivedApp, served: Option<&Arc<App>>) -> bool {
        let foreign = self.new_epoch || self.received.differences.get(id).is_some_and(|d| d.foreign);
        !foreign && served.is_some_and(|app| number.rev < app.rev)
    }

    /// This version was held when the gateway was restarted, and released before its document came again.
    fn was_let_go(&self, app: &App) -> bool {
        let difference = self.received.differences.get(&app.id);
        let released =
            |d: &Difference| matches!(d.kind, Kind::Unknown { number, held: false } if number == ReceivedApp::of(app));
        difference.is_some_and(released)
    }

    /// Keeps count and digest of what was received. True when it is not what was received before.
    fn count_received(&mut self, id: &AppId, now: Option<ReceivedApp>) -> bool {
        let before = self.received.of(id, &self.before);
        let is_news = before != now;
        self.moved |= is_news;
        if let Some(before) = before {
            self.received.apps = self.received.apps.saturating_sub(1);
            self.received.digest = self.received.digest.minus(before.digest);
        }
        if let Some(now) = now {
            self.received.apps += 1;
            self.received.digest = self.received.digest.plus(now.digest);
        }
        is_news
    }

    fn differ(&mut self, id: AppId, kind: Kind) {
        let known_foreign = self.received.differences.get(&id).is_some_and(|d| d.foreign);
        self.received.differ(id, Difference { kind, foreign: self.new_epoch || known_foreign });
    }

    /// What is held and was not before. Where nothing was noted there is nothing to compare.
    fn newly_held(&self) -> impl Iterator<Item = &AppId> {
        let same = Arc::ptr_eq(&self.differed_before, &self.received.differences);
        self.received.held().filter(move |id| !same && !self.held_before(id))
    }

    fn held_before(&self, id: &AppId) -> bool {
        self.differed_before.get(id).is_some_and(|d| d.kind.is_held())
    }

    fn lose(&mut self, id: AppId, kind: Kind) {
        self.asks_again |= self.held_before(&id);
        self.differ(id, kind);
    }

    /// One app of those the guard has let go.
    fn let_go(&mut self, id: AppId) {
        match self.received.differences.get(&id).map(|d| d.kind.clone()) {
            Some(Kind::Deleted) => {
                self.received.agree(&id);
                self.summary.removed += usize::from(self.table.remove(id.as_str()).is_some());
                self.taken.push(id);
            }
            Some(Kind::Withheld(app)) => self.differ(id, Kind::Waiting(app, None)),
            Some(Kind::Unknown { number, .. }) => self.differ(id, Kind::Unknown { number, held: false }),
            _ => {}
        }
    }

    /// Puts every app that waits into the table, if it gets its hosts now.
    fn place_waiting(&mut self) {
        let waiting: Vec<Arc<App>> = self.received.differences.values().filter_map(waits).cloned().collect();
        let losers = hosts::settle(&mut self.table, waiting.clone());
        let lost: HashSet<AppId> = losers.iter().map(|(app, _)| app.id.clone()).collect();
        waiting.iter().filter(|app| !lost.contains(&app.id)).for_each(|app| self.placed(app));
        losers.into_iter().for_each(|(app, taken)| self.waits_for_host(app, &taken));
    }

    fn placed(&mut self, app: &Arc<App>) {
        self.received.agree(&app.id);
        let before = self.before.app(app.id.as_str());
        if loses_endpoints(before, app) {
            self.taken.push(app.id.clone());
        } else if app.spec.endpoint_count() > 0 {
            self.back.push(app.id.clone());
        }
        match before {
            Some(_) => self.summary.updated += 1,
            None => self.summary.added += 1,
        }
    }

    fn waits_for_host(&mut self, app: Arc<App>, taken: &HostTaken) {
        let known = matches!(self.received.differences.get(&app.id).map(|d| &d.kind), Some(Kind::Waiting(_, Some(_))));
        self.summary.invalid += usize::from(!known);
        let place = app.spec.hosts.iter().position(|host| *host == taken.host).unwrap_or_default();
        let error = DocumentError { field: format!("hosts[{place}]"), message: taken.to_string() };
        self.differ(app.id.clone(), Kind::Waiting(app, Some(Box::new(error))));
    }
}

fn waits(difference: &Difference) -> Option<&Arc<App>> {
    match &difference.kind {
        Kind::Waiting(app, _) => Some(app),
        _ => None,
    }
}

/// An app that had endpoints and has none now counts as taken away.
fn loses_endpoints(served: Option<&Arc<App>>, next: &App) -> bool {
    next.spec.endpoint_count() == 0 && served.is_some_and(|app| app.spec.endpoint_count() > 0)
}
