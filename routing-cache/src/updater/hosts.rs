//! Of two apps that claim one host, which has it.
//!
//! The app that had it keeps it, as long as it claims it. A host that is free goes to the lower rev, then to the smaller
//! id. An app that does not get all of its hosts keeps its last version, with every host that one has; so one app that
//! loses may make others lose, and that is followed to its end. The result does not depend on the order apps come in.
//!
//! Whatever apps claim, it takes time in proportion to their hosts (times a logarithm), and 16 bytes for each.

use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use hashbrown::{HashMap, HashSet};

use crate::{
    model::{AppId, HostRef, Record},
    table::{HostTaken, Table},
};

pub(super) type Map<K, V> = HashMap<K, V, RandomState>;

/// Apps that are taken out of the table before the others are put in.
pub(super) type Gone = HashSet<AppId, RandomState>;

/// Which of `apps` do not get all of their hosts, with the host each lacks, in the order of `apps`. Each of them replaces
/// its namesake in `table`, from which `gone` are taken out first. `refused` lose in any case.
pub(super) fn contest(
    table: &Table,
    gone: &Gone,
    apps: &[Record<'_>],
    refused: &Map<AppId, HostTaken>,
) -> Vec<Option<HostTaken>> {
    Contest::new(table, gone, apps).run(refused)
}

/// One round: who loses, given the table and all claimants.
struct Contest<'a> {
    table: &'a Table,
    gone: &'a Gone,
    apps: &'a [Record<'a>],
    hasher: RandomState,
    /// Hash of a host, and who claims it; sorted.
    claims: Vec<(u64, usize)>,
    /// Made once an app claims what another one has.
    place: Option<Map<&'a str, usize>>,
    lost: Vec<Option<HostTaken>>,
    /// Losers whose last version has not been looked at yet.
    fallen: Vec<usize>,
}

impl<'a> Contest<'a> {
    fn new(table: &'a Table, gone: &'a Gone, apps: &'a [Record<'a>]) -> Self {
        let hasher = RandomState::default();
        let hosts = apps.iter().enumerate().flat_map(|(n, app)| app.hosts().map(move |host| (host, n)));
        let mut claims: Vec<(u64, usize)> = hosts.map(|(host, n)| (hasher.hash_one(host), n)).collect();
        claims.sort_unstable();
        Self { table, gone, apps, hasher, claims, place: None, lost: vec![None; apps.len()], fallen: Vec::new() }
    }

    fn run(mut self, refused: &Map<AppId, HostTaken>) -> Vec<Option<HostTaken>> {
        let apps = self.apps;
        for (n, app) in apps.iter().enumerate() {
            let taken = refused.get(app.id()).cloned().or_else(|| self.kept_by_another(app));
            taken.into_iter().for_each(|taken| self.lose(n, taken));
        }
        self.follow();
        self.share_out();
        self.lost
    }

    /// The first host of an app that another app has and does not give up.
    fn kept_by_another(&mut self, app: &Record<'a>) -> Option<HostTaken> {
        for host in app.hosts() {
            let owner = self.table.owner(host).filter(|owner| owner.id() != app.id());
            let Some(owner) = owner.filter(|owner| !self.gone.contains(owner.id())) else { continue };
            if !self.gives_up(owner, host) {
                return Some(HostTaken { host: host.to_pattern(), owner: owner.app_id() });
            }
        }
        None
    }

    fn gives_up(&mut self, owner: Record<'_>, host: HostRef<'_>) -> bool {
        let apps = self.apps;
        let place = self.place.get_or_insert_with(|| apps.iter().enumerate().map(|(n, app)| (app.id(), n)).collect());
        let next = place.get(owner.id()).and_then(|n| apps.get(*n));
        next.is_some_and(|next| !next.claims(host))
    }

    /// Hosts that nobody keeps: to the lower rev, then to the smaller id.
    fn share_out(&mut self) {
        let mut winners: Map<HostRef<'a>, usize> = Map::default();
        for (n, app) in self.contested() {
            if self.has_lost(n) {
                continue;
            }
            let won = |host: HostRef<'a>| winners.get(&host).copied().filter(|winner| !self.has_lost(*winner));
            match app.hosts().find_map(|host| Some((host, won(host)?))) {
                None => winners.extend(app.hosts().map(|host| (host, n))),
                Some((host, winner)) => {
                    let owner = self.apps.get(winner).unwrap_or(&app).app_id();
                    self.lose(n, HostTaken { host: host.to_pattern(), owner });
                    self.follow();
                }
            }
        }
    }

    /// The apps of which a host may be claimed by another one, too; sorted by rev and id.
    fn contested(&self) -> Vec<(usize, Record<'a>)> {
        let same = self.claims.chunk_by(|a, b| a.0 == b.0).filter(|same| same.len() > 1);
        let mut contested: Vec<usize> = same.flatten().map(|(_, n)| *n).collect();
        contested.sort_unstable();
        contested.dedup();
        let mut apps: Vec<_> = contested.into_iter().filter_map(|n| Some((n, *self.apps.get(n)?))).collect();
        apps.sort_unstable_by_key(|(_, app)| (app.rev(), app.id()));
        apps
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
            let Some(old) = apps.get(n).and_then(|app| table.app(app.id())) else { continue };
            for host in old.hosts() {
                for other in self.claimants_of(host).into_iter().filter(|other| *other != n) {
                    self.lose(other, HostTaken { host: host.to_pattern(), owner: old.app_id() });
                }
            }
        }
    }

    /// Those that claim the host and have not lost.
    fn claimants_of(&self, host: HostRef<'_>) -> Vec<usize> {
        let hash = self.hasher.hash_one(host);
        let first = self.claims.partition_point(|(claim, _)| *claim < hash);
        let same = self.claims.get(first..).unwrap_or_default().iter().take_while(|(claim, _)| *claim == hash);
        let claims = |n: &usize| !self.has_lost(*n) && self.apps.get(*n).is_some_and(|app| app.claims(host));
        same.map(|(_, n)| *n).filter(claims).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        limits::Limits,
        model::{AppRecord, Rev},
        wire::Incoming,
    };

    fn app(id: &str, rev: u64, host: &str) -> AppRecord {
        let document = format!("{{\"hosts\":[\"{host}\"],\"endpoints\":[]}}");
        Incoming::read(AppId::new(id).unwrap(), Rev(rev), document.as_bytes(), &Limits::default()).app.unwrap()
    }

    fn owners(table: &Table, apps: &[AppRecord]) -> Vec<Option<String>> {
        let apps: Vec<Record<'_>> = apps.iter().map(AppRecord::get).collect();
        let lost = contest(table, &Gone::default(), &apps, &Map::default());
        lost.into_iter().map(|lost| lost.map(|taken| taken.owner.to_string())).collect()
    }

    #[test]
    fn a_chain_of_losers_is_followed_to_its_end_within_one_contest() {
        let mut table = Table::default();
        for (id, host) in [("a", "w"), ("b", "x"), ("c", "y"), ("d", "z")] {
            table.upsert(app(id, 1, &format!("{host}.example.com"))).unwrap();
        }
        let next = |id: &str, host: &str| app(id, 2, &format!("{host}.example.com"));
        let apps = [next("b", "w"), next("c", "x"), next("d", "y"), next("e", "z")];
        assert_eq!(owners(&table, &apps), ["a", "b", "c", "d"].map(|owner| Some(owner.to_owned())));
    }

    #[test]
    fn a_contest_sees_the_owner_of_a_wildcard_that_is_as_long_as_a_name_can_be() {
        let label = |n| "a".repeat(n);
        let long = format!("*.{}.{}.{}.{}", label(63), label(63), label(63), label(49));
        let mut table = Table::default();
        table.upsert(app("a", 1, &long)).unwrap();
        assert_eq!(owners(&table, &[app("b", 2, &long)]), [Some("a".to_owned())]);
    }

    #[test]
    fn thousands_of_apps_that_all_claim_the_same_thousands_of_hosts_are_settled_in_time() {
        let hosts: Vec<String> = (0..1000).map(|n| format!("\"h{n}.example.com\"")).collect();
        let document = format!("{{\"hosts\":[{}],\"endpoints\":[]}}", hosts.join(","));
        let read = |id: String, rev| {
            Incoming::read(AppId::new(&id).unwrap(), Rev(rev), document.as_bytes(), &Limits::default()).app.unwrap()
        };
        let mut table = Table::default();
        table.upsert(read("owner".into(), 1)).unwrap();
        let apps: Vec<AppRecord> =
            (0..500).map(|n| read(format!("app-{n:03}"), 2)).chain([read("owner".into(), 3)]).collect();
        let lost = owners(&table, &apps);
        assert!(lost.iter().take(500).all(|owner| owner.as_deref() == Some("owner")));
        assert_eq!(lost.last(), Some(&None));
    }
}
