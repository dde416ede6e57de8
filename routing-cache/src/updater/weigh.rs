//! What an update would take away, for the guard to judge.

use super::draft::Draft;
use crate::{
    guard::Shrink,
    model::{AppId, AppRecord},
    state::{Difference, Kind},
};

impl Draft {
    /// What it would take away. `is_away`: the guard counts the app as away already.
    pub(super) fn shrink(&self, shrink_ok: Option<u64>, is_away: impl Fn(&AppId) -> bool) -> Shrink {
        let held = self.work.differences().map_or(0, |differences| differences.held());
        Shrink {
            served: self.before.table.len() as u64,
            losing: self.newly_held.iter().chain(self.may_lose()).filter(|id| !is_away(id)).count() as u64,
            held: held.saturating_sub(self.newly_held.len()) as u64,
            apps_after: self.work.received.as_ref().map_or(0, |received| received.apps),
            shrink_ok,
        }
    }

    /// Apps that wait for a host with a version without endpoints, in place of one that has some. Whatever frees the host
    /// takes them away, so they are judged with it.
    fn may_lose(&self) -> impl Iterator<Item = &AppId> {
        let differences = self.work.differences().filter(|differences| differences.waiting() > 0);
        let waiting = differences.into_iter().flat_map(|differences| differences.iter());
        let loses = |(id, difference): &(&AppId, &Difference)| match &difference.kind {
            Kind::Waiting(app, _) => self.empties(app) && !self.again.contains(id),
            _ => false,
        };
        waiting.filter(loses).map(|(id, _)| id)
    }

    /// Whether the app loses all its endpoints by this version.
    pub(super) fn empties(&self, app: &AppRecord) -> bool {
        let served = self.before.table.app(app.get().id());
        app.get().endpoints() == 0 && served.is_some_and(|served| served.endpoints() > 0)
    }

    /// Whether the update asked for something that is held now.
    pub(super) fn was_refused(&self) -> bool {
        self.summary.held > 0 && (self.asks_again || self.newly_held.iter().any(|id| self.is_held(id.as_str())))
    }
}
