//! Of two apps that claim one host, which has it.
//!
//! The app that had it keeps it, as long as it claims it. A host that is free goes to the lower rev, then to the smaller
//! id. An app that does not get all of its hosts keeps its last version, with every host that one has; so one app that
//! loses may make others lose, and that is followed to its end. The result does not depend on the order apps come in.

use std::{collections::HashMap, sync::Arc};

use crate::{
    model::{App, AppId, HostPattern},
    table::{HostTaken, Table},
};

/// Rounds at most for one update. A loser whose rival falls later in the same round gets its host in the next; whoever
/// still waits after the last gets another chance with the next update.
const MAX_ROUNDS: usize = 16;

/// Who lost, and the host it lacks.
type Losers = Vec<(Arc<App>, HostTaken)>;

/// Puts into `table` those of `apps` that get all of their hosts, and returns the others with the host each lacks.
pub(super) fn settle(table: &mut Table, apps: Vec<Arc<App>>) -> Losers {
    let mut claimants = apps.len();
    let mut losers = round(table, apps);
    for _ in 1..MAX_ROUNDS {
        if losers.is_empty() || losers.len() == claimants {
            break;
        }
        claimants = losers.len();
        losers = round(table, losers.into_iter().map(|(app, _)| app).collect());
    }
    losers
}

fn round(table: &mut Table, mut apps: Vec<Arc<App>>) -> Losers {
    apps.sort_unstable_by(|a, b| (a.rev, &a.id).cmp(&(b.rev, &b.id)));
    let mut refused: HashMap<AppId, HostTaken> = HashMap::new();
    loop {
        let lost = Contest::new(table, &apps).run(&refused);
        let mut next = table.clone();
        match place(&mut next, &apps, &lost) {
            Ok(()) => {
                *table = next;
                return apps.into_iter().zip(lost).filter_map(|(app, lost)| Some((app, lost?))).collect();
            }
            // The table is the last word. Each round has one claimant less, so there is an end.
            Err((id, taken)) => refused.insert(id, taken),
        };
    }
}

/// Frees what the winners give up before any of them takes what it wins.
fn place(next: &mut Table, apps: &[Arc<App>], lost: &[Option<HostTaken>]) -> Result<(), (AppId, HostTaken)> {
    let winners = || apps.iter().zip(lost).filter(|(_, lost)| lost.is_none()).map(|(app, _)| app);
    for app in winners() {
        let id = app.id.as_str();
        if next.app(id).is_some_and(|old| old.spec.hosts != app.spec.hosts) {
            next.remove(id);
        }
    }
    for app in winners() {
        next.upsert(Arc::clone(app)).map_err(|taken| (app.id.clone(), taken))?;
    }
    Ok(())
}

/// One round: who loses, given the table and all claimants.
struct Contest<'a> {
    table: &'a Table,
    apps: &'a [Arc<App>],
    place: HashMap<&'a str, usize>,
    /// Made once somebody loses who holds hosts.
    claimants: Option<HashMap<&'a HostPattern, Vec<usize>>>,
    lost: Vec<Option<HostTaken>>,
    /// Losers whose last version has not been looked at yet.
    fallen: Vec<usize>,
}

impl<'a> Contest<'a> {
    fn new(table: &'a Table, apps: &'a [Arc<App>]) -> Self {
        let place = apps.iter().enumerate().map(|(n, app)| (app.id.as_str(), n)).collect();
        Self { table, apps, place, claimants: None, lost: vec![None; apps.len()], fallen: Vec::new() }
    }

    fn run(mut self, refused: &HashMap<AppId, HostTaken>) -> Vec<Option<HostTaken>> {
        for (n, app) in self.apps.iter().enumerate() {
            let taken = refused.get(&app.id).cloned().or_else(|| self.kept_by_another(app));
            taken.into_iter().for_each(|taken| self.lose(n, taken));
        }
        self.follow();
        self.share_out();
        self.lost
    }

    /// A host of `app` whose owner stays, or claims it again.
    fn kept_by_another(&self, app: &App) -> Option<HostTaken> {
        app.spec.hosts.iter().find_map(|host| {
            let owner = self.table.owner(host).filter(|owner| owner.id != app.id)?;
            let next = self.place.get(owner.id.as_str()).and_then(|n| self.apps.get(*n));
            let gives_up = next.is_some_and(|next| !next.spec.hosts.contains(host));
            (!gives_up).then(|| HostTaken { host: host.clone(), owner: owner.id.clone() })
        })
    }

    /// Hosts that nobody keeps, first come by rev and id.
    fn share_out(&mut self) {
        let mut winners: HashMap<&'a HostPattern, usize> = HashMap::new();
        let apps = self.apps;
        for (n, app) in apps.iter().enumerate().filter(|(_, app)| !app.spec.hosts.is_empty()) {
            if self.has_lost(n) {
                continue;
            }
            match app.spec.hosts.iter().find_map(|h| Some((h, *winners.get(h).filter(|w| !self.has_lost(**w))?))) {
                None => winners.extend(app.spec.hosts.iter().map(|host| (host, n))),
                Some((host, winner)) => {
                    let owner = apps.get(winner).map_or_else(|| app.id.clone(), |w| w.id.clone());
                    self.lose(n, HostTaken { host: host.clone(), owner });
                    self.follow();
                }
            }
        }
    }

    fn has_lost(&self, n: usize) -> bool {
        self.lost.get(n).is_none_or(Option::is_some)
    }

    fn lose(&mut self, n: usize, taken: HostTaken) {
        if let Some(lost @ None) = self.lost.get_mut(n) {
            *lost = Some(taken);
            self.fallen.push(n);
        }
    }

    /// Who falls keeps the hosts of its last version, so their other claimants fall as well.
    fn follow(&mut self) {
        let (apps, table) = (self.apps, self.table);
        while let Some(n) = self.fallen.pop() {
            let Some(old) = apps.get(n).and_then(|app| table.app(app.id.as_str())) else { continue };
            for host in &old.spec.hosts {
                let taken = HostTaken { host: host.clone(), owner: old.id.clone() };
                for other in self.claimants_of(host).into_iter().filter(|other| *other != n) {
                    self.lose(other, taken.clone());
                }
            }
        }
    }

    fn claimants_of(&mut self, host: &HostPattern) -> Vec<usize> {
        let apps = self.apps;
        let claimants = self.claimants.get_or_insert_with(|| {
            let mut all: HashMap<&HostPattern, Vec<usize>> = HashMap::new();
            for (n, app) in apps.iter().enumerate() {
                app.spec.hosts.iter().for_each(|host| all.entry(host).or_default().push(n));
            }
            all
        });
        claimants.get(host).cloned().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{limits::Limits, model::Rev, wire::Incoming};

    fn app(id: &str, rev: u64, host: &str) -> Arc<App> {
        let document = format!("{{\"hosts\":[\"{host}.example.com\"],\"endpoints\":[]}}");
        Incoming::read(AppId::new(id).unwrap(), Rev(rev), document.as_bytes(), &Limits::default()).app.unwrap()
    }

    #[test]
    fn a_chain_of_losers_is_followed_to_its_end_within_one_contest() {
        let mut table = Table::default();
        for (id, host) in [("a", "w"), ("b", "x"), ("c", "y"), ("d", "z")] {
            table.upsert(app(id, 1, host)).unwrap();
        }
        let apps = [app("b", 2, "w"), app("c", 2, "x"), app("d", 2, "y"), app("e", 2, "z")];
        let lost = Contest::new(&table, &apps).run(&HashMap::new());
        let owners: Vec<_> = lost.iter().map(|lost| lost.as_ref().map(|taken| taken.owner.as_str())).collect();
        assert_eq!(owners, [Some("a"), Some("b"), Some("c"), Some("d")]);
    }

    #[test]
    fn a_contest_sees_the_owner_of_a_wildcard_that_is_as_long_as_a_name_can_be() {
        let label = |n| "a".repeat(n);
        let long = format!("*.{}.{}.{}.{}", label(63), label(63), label(63), label(49));
        let mut table = Table::default();
        table.upsert(app("a", 1, &long)).unwrap();
        let lost = Contest::new(&table, &[app("b", 2, &long)]).run(&HashMap::new());
        assert_eq!(lost[0].as_ref().map(|taken| taken.owner.as_str()), Some("a"));
    }
}
