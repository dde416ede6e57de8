//! The table against a model that is too simple to be wrong, through whatever may happen to a table.

mod host;
mod matching;
mod replace;

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use crate::model::{RecordParts, Rev};

use super::*;

/// An app with a document that is valid.
pub(crate) fn app(id: &str, rev: u64, hosts: &[&str], endpoints: u16) -> AppRecord {
    let quoted: Vec<String> = hosts.iter().map(|host| format!("{host:?}")).collect();
    let ports: Vec<String> = (1..=endpoints).map(|port| format!("\"10.0.0.1:{port}\"")).collect();
    let document = format!("{{\"hosts\":[{}],\"endpoints\":[{}]}}", quoted.join(","), ports.join(","));
    let hosts: Vec<HostPattern> = hosts.iter().map(|host| host.parse().unwrap()).collect();
    let hosts: Vec<HostRef<'_>> = hosts.iter().map(HostRef::of).collect();
    let parts =
        RecordParts { id, rev: Rev(rev), document: document.as_bytes(), endpoints: endpoints.into(), hosts: &hosts };
    AppRecord::new(&parts).unwrap()
}

pub(crate) fn table(apps: &[AppRecord]) -> Table {
    let mut table = Table::default();
    for app in apps {
        table.upsert(app.clone()).unwrap();
    }
    table
}

/// So many apps, one host each.
pub(crate) fn many(count: usize) -> Vec<AppRecord> {
    (0..count).map(|number| app(&format!("app-{number}"), 1, &[&format!("h{number}.x")], 1)).collect()
}

/// Reads a base back from its bytes.
pub(crate) fn reloaded(base: &Base) -> Base {
    let mut loader = BaseLoader::new(BaseHead::from_bytes(&base.head().to_bytes())).unwrap();
    loader.records().extend_from_slice(base.records());
    for index in IndexName::ALL {
        for bytes in base.buckets(index).as_flattened().chunks(64 * 3) {
            loader.buckets(index, bytes).unwrap();
        }
    }
    loader.finish().unwrap()
}

fn found(table: &Table, host: &str) -> Option<(String, String)> {
    let found = table.find(host);
    assert_eq!(found.as_ref().map(|(app, _)| app.id()), table.find_app(host).map(Record::id));
    found.map(|(app, pattern)| (app.id().to_owned(), pattern.to_string()))
}

/// The same contract in the simplest way there is.
#[derive(Clone, Default)]
struct Naive(BTreeMap<AppId, AppRecord>);

impl Naive {
    fn upsert(&mut self, app: &AppRecord) -> Result<bool, HostTaken> {
        for host in app.get().hosts() {
            let owner = self.0.values().find(|other| other.get().id() != app.get().id() && other.get().claims(host));
            if let Some(owner) = owner {
                return Err(HostTaken { host: host.to_pattern(), owner: owner.get().app_id() });
            }
        }
        Ok(self.0.insert(app.get().app_id(), app.clone()).is_some())
    }

    /// Every claim that takes the host, and of those the exact one, else the longest.
    fn find(&self, host: &str) -> Option<(String, String)> {
        let claims = self.0.values().flat_map(|app| app.get().hosts().map(move |pattern| (app, pattern)));
        let fits = |pattern: &HostRef<'_>| match pattern.wildcard {
            false => (pattern.name == host).then_some(usize::MAX),
            true => host.ends_with(&format!(".{}", pattern.name)).then_some(pattern.name.len()),
        };
        let best =
            claims.filter_map(|(app, pattern)| Some((fits(&pattern)?, app, pattern))).max_by_key(|(fit, ..)| *fit);
        best.map(|(_, app, pattern)| (app.get().id().to_owned(), pattern.to_string()))
    }

    fn records(&self) -> Vec<Record<'_>> {
        self.0.values().map(AppRecord::get).collect()
    }

    fn diff(&self, after: &Self, limit: usize) -> Diff {
        let ids = |of: &Self, wanted: &dyn Fn(&AppId, &AppRecord) -> bool| -> Vec<AppId> {
            of.0.iter().filter(|(id, app)| wanted(id, app)).map(|(id, _)| id.clone()).collect()
        };
        let mut added = ids(after, &|id, _| !self.0.contains_key(id));
        let mut removed = ids(self, &|id, _| !after.0.contains_key(id));
        let mut changed = ids(after, &|id, app| self.0.get(id).is_some_and(|was| was != app));
        let [added_total, removed_total, changed_total] = [&added, &removed, &changed].map(|ids| ids.len() as u64);
        [&mut added, &mut removed, &mut changed].into_iter().for_each(|ids| ids.truncate(limit));
        Diff { added, removed, changed, added_total, removed_total, changed_total }
    }
}

#[derive(Clone, Debug)]
enum Deed {
    Upsert(AppRecord),
    Remove(String),
    /// The table is published: what follows works on a clone.
    Publish,
    /// Everything becomes one base.
    Flatten,
    /// A base is made of what is there now, elsewhere and slowly.
    BeginCompaction,
    /// It is put below what is there by now.
    FinishCompaction,
    /// The process ends, and the next one reads what is there.
    Restart,
}

fn hosts() -> impl Strategy<Value = String> {
    proptest::string::string_regex("(\\*\\.)?([ab]\\.){0,3}[xy]").unwrap()
}

fn deeds() -> impl Strategy<Value = Vec<Deed>> {
    let ids = || proptest::string::string_regex("[a-e]").unwrap();
    let upsert = (ids(), 1..1000u64, proptest::collection::btree_set(hosts(), 1..5), 0..4u16);
    let upsert = upsert.prop_map(|(id, rev, hosts, endpoints)| {
        let hosts: Vec<&str> = hosts.iter().map(String::as_str).collect();
        Deed::Upsert(app(&id, rev, &hosts, endpoints))
    });
    let deed = prop_oneof![
        12 => upsert,
        4 => ids().prop_map(Deed::Remove),
        2 => Just(Deed::Publish),
        1 => Just(Deed::Flatten),
        2 => Just(Deed::BeginCompaction),
        2 => Just(Deed::FinishCompaction),
        1 => Just(Deed::Restart),
    ];
    proptest::collection::vec(deed, 0..40)
}

fn walked(table: &Table, bytes: usize) -> Vec<Record<'_>> {
    let (mut all, mut from) = (Vec::new(), Some(Walk::default()));
    while let Some(at) = from {
        let (some, next) = table.walk(at, bytes);
        assert!(!some.is_empty() || next.is_none(), "a walk stands still");
        all.extend(some);
        from = next;
    }
    all.sort_by_key(|record| record.id());
    all
}

fn check(table: &Table, naive: &Naive, hosts: &[String]) {
    let apps = naive.records();
    assert_eq!(table.len(), apps.len());
    assert_eq!(table.is_empty(), apps.is_empty());
    assert_eq!(table.hosts(), apps.iter().map(|app| app.host_count()).sum::<usize>());
    assert_eq!(table.endpoints(), apps.iter().map(|app| u64::from(app.endpoints())).sum::<u64>());
    assert_eq!(table.document_bytes(), apps.iter().map(|app| app.document().len() as u64).sum::<u64>());
    assert_eq!(table.digest(), apps.iter().fold(Digest(0), |sum, app| sum.plus(app.digest())));
    assert_eq!(table.totals.records, apps.iter().map(|app| app.as_bytes().len() as u64).sum::<u64>());
    assert_eq!(table.page(None, usize::MAX), apps);
    assert_eq!(walked(table, 1), apps);
    assert_eq!(walked(table, 300), apps);
    let mut sizes: Vec<usize> = apps.iter().map(|app| app.document().len()).collect();
    sizes.sort_by(|a, b| b.cmp(a));
    sizes.truncate(2);
    assert_eq!(table.largest(2).iter().map(|app| app.document().len()).collect::<Vec<_>>(), sizes);
    for app in &apps {
        assert_eq!(table.app(app.id()), Some(*app));
        app.hosts().for_each(|host| assert_eq!(table.owner(host), Some(*app)));
    }
    for host in hosts {
        assert_eq!(found(table, host), naive.find(host), "{host}");
    }
}

/// A base under way, and the apps that have changed since it was begun.
type Compaction = (Arc<Base>, BTreeSet<AppId>);

fn change(table: &mut Table, compaction: &mut Option<Compaction>, deed: &Deed) {
    match deed {
        Deed::Flatten => *table = Table::from_base(Arc::new(table.to_base())),
        Deed::Restart => *table = Table::from_base(Arc::new(reloaded(&table.to_base()))),
        Deed::BeginCompaction => *compaction = Some((Arc::new(table.to_base()), BTreeSet::new())),
        Deed::FinishCompaction => {
            if let Some((base, changed)) = compaction.take() {
                *table = table.rebased(base, changed.iter());
                assert!(table.overlaid() <= changed.len());
            }
        }
        Deed::Upsert(_) | Deed::Remove(_) | Deed::Publish => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    #[test]
    fn a_table_does_what_the_naive_one_does(
        deeds in deeds(),
        asked in proptest::collection::vec("([abc]\\.){0,4}[xyz]", 20),
    ) {
        let (mut table, mut naive, mut compaction) = (Table::default(), Naive::default(), None);
        let mut published = vec![(table.clone(), naive.clone())];
        for deed in deeds {
            let touched = match &deed {
                Deed::Upsert(app) => {
                    prop_assert_eq!(table.upsert(app.clone()), naive.upsert(app));
                    Some(app.get().app_id())
                }
                Deed::Remove(id) => {
                    prop_assert_eq!(table.remove(id), naive.0.remove(id.as_str()).is_some());
                    AppId::new(id).ok()
                }
                Deed::Publish => {
                    published.push((table.clone(), naive.clone()));
                    None
                }
                other => {
                    change(&mut table, &mut compaction, other);
                    None
                }
            };
            compaction.iter_mut().for_each(|(_, changed)| changed.extend(touched.clone()));
            check(&table, &naive, &asked);
        }
        for (was, was_naive) in &published {
            check(was, was_naive, &asked);
            for limit in [0, 2, 100] {
                prop_assert_eq!(diff(was, &table, limit), was_naive.diff(&naive, limit));
                prop_assert_eq!(diff(&table, was, limit), naive.diff(was_naive, limit));
            }
        }
    }

    #[test]
    fn pages_follow_one_another_until_all_apps_were_seen(ids in proptest::collection::btree_set("[a-z]{1,3}", 0..60), limit in 1..20usize) {
        let apps: Vec<_> = ids.iter().map(|id| app(id, 1, &[&format!("{id}.x")], 1)).collect();
        let table = table(&apps);
        let mut seen: Vec<Record<'_>> = Vec::new();
        loop {
            let page = table.page(seen.last().map(|app| app.id()), limit);
            prop_assert!(page.len() <= limit);
            if page.is_empty() {
                break;
            }
            seen.extend(page);
            prop_assert!(seen.len() <= apps.len(), "an app was seen twice");
        }
        prop_assert_eq!(seen, apps.iter().map(AppRecord::get).collect::<Vec<_>>());
    }
}

#[test]
fn a_page_of_none_has_none() {
    assert!(table(&[app("a", 1, &["a.x"], 1)]).page(None, 0).is_empty());
}

#[test]
fn a_host_that_another_app_has_stays_there_and_nothing_changes() {
    let apps = [app("a", 1, &["a.x", "*.a.x"], 1), app("b", 1, &["b.x"], 2)];
    for mut table in [table(&apps), Table::from_base(Arc::new(table(&apps).to_base()))] {
        let before = table.clone();
        let error = table.upsert(app("b", 2, &["new.x", "*.a.x"], 9)).unwrap_err();
        assert_eq!(error.to_string(), "host *.a.x belongs to app a");
        assert_eq!(table.app("b"), Some(apps[1].get()));
        assert_eq!((table.totals, table.overlaid()), (before.totals, before.overlaid()));
        assert_eq!(found(&table, "new.x"), None);
    }
}

#[test]
fn a_host_that_is_no_longer_claimed_is_free() {
    let one = table(&[app("a", 1, &["a.x", "*.a.x", "keep.x"], 1)]);
    for mut table in [one.clone(), Table::from_base(Arc::new(one.to_base()))] {
        table.upsert(app("a", 2, &["keep.x"], 1)).unwrap();
        table.upsert(app("b", 1, &["a.x", "*.a.x"], 1)).unwrap();
        assert_eq!(found(&table, "a.x").unwrap().0, "b");
        assert_eq!(found(&table, "z.a.x").unwrap().0, "b");
        assert_eq!(found(&table, "keep.x").unwrap().0, "a");
    }
}

#[test]
fn an_app_put_in_twice_keeps_its_hosts() {
    let one = app("a", 1, &["a.x"], 1);
    let mut table = table(std::slice::from_ref(&one));
    assert!(table.upsert(one.clone()).unwrap());
    assert_eq!(found(&table, "a.x").unwrap().0, "a");
    assert_eq!((table.len(), table.hosts(), table.endpoints(), table.digest()), (1, 1, 1, one.get().digest()));
}

#[test]
fn an_exact_host_wins_over_a_wildcard_and_a_longer_wildcard_over_a_shorter() {
    let table = table(&[app("a", 1, &["*.x"], 1), app("b", 1, &["*.b.x"], 1), app("c", 1, &["c.b.x"], 1)]);
    let cases = [
        ("c.b.x", Some(("c", "c.b.x"))),
        ("d.b.x", Some(("b", "*.b.x"))),
        ("e.d.b.x", Some(("b", "*.b.x"))),
        ("d.c.b.x", Some(("b", "*.b.x"))),
        ("b.x", Some(("a", "*.x"))),
        ("z.y.x", Some(("a", "*.x"))),
        ("x", None),
        ("xx", None),
        ("ab.xx", None),
        ("", None),
    ];
    let flat = Table::from_base(Arc::new(table.to_base()));
    for (host, expected) in cases {
        let expected = expected.map(|(app, by)| (app.to_owned(), by.to_owned()));
        assert_eq!(found(&table, host), expected, "{host}");
        assert_eq!(found(&flat, host), expected, "{host}");
    }
}

#[test]
fn a_host_longer_than_any_name_is_not_walked() {
    let table = table(&[app("a", 1, &["*.x"], 1)]);
    assert!(table.find_app(&format!("{}x", "a.".repeat(126))).is_some());
    assert!(table.find_app(&format!("{}x", "a.".repeat(127))).is_none());
}

#[test]
fn an_app_of_thousands_of_hosts_has_each_of_them() {
    let hosts: Vec<String> = (0..5000).map(|number| format!("h{number}.x")).collect();
    let hosts: Vec<&str> = hosts.iter().map(String::as_str).collect();
    let mut table = table(&[app("a", 1, &hosts, 1)]);
    table.upsert(app("a", 2, &hosts[1..], 1)).unwrap();
    let flat = Table::from_base(Arc::new(table.to_base()));
    for table in [&table, &flat] {
        assert!(hosts[1..].iter().all(|host| table.find_app(host).is_some()));
        assert!(table.find_app(hosts[0]).is_none());
    }
}

#[test]
fn a_clone_shares_what_does_not_change() {
    let table = table(&many(2000));
    let mut changed = table.clone();
    changed.upsert(app("app-7", 2, &["h7.x"], 1)).unwrap();
    assert_eq!((table.app("app-7").unwrap().rev(), changed.app("app-7").unwrap().rev()), (Rev(1), Rev(2)));
    assert!(changed.overlay.shared_leaves(&table.overlay).iter().all(|shared| *shared >= 4095));
    assert!(Arc::ptr_eq(table.base(), changed.base()));
}

#[test]
fn hosts_are_spread_over_the_leaves() {
    let table = table(&many(5000));
    // 5,000 over 4,096 leaves: more than 14 in one has a probability below 1e-6 for a good spread.
    assert!(table.overlay.largest_leaves().iter().all(|leaf| *leaf <= 14), "{:?}", table.overlay.largest_leaves());
}

#[test]
fn each_table_has_a_seed_of_its_own() {
    let seed = |table: &Table| table.base().head().seed;
    let (one, other) = (table(&many(3)), table(&many(3)));
    assert_ne!(seed(&one), seed(&other));
    assert_ne!(one.to_base().head().seed, one.to_base().head().seed);
    assert_eq!(seed(&one), seed(&one.clone()));
    assert!(!format!("{:?} {:?}", one, one.base().hash()).contains(&seed(&one).to_string()));
}

#[test]
fn after_a_new_base_only_what_has_changed_since_lies_above_it() {
    let mut table = table(&many(100));
    let base = Arc::new(table.to_base());
    assert!(Table::from_base(Arc::clone(&base)).is_flat());
    // A host goes from one changed app to another.
    table.remove("app-1");
    table.upsert(app("app-2", 2, &["h1.x"], 1)).unwrap();
    table.upsert(app("new", 1, &["h2.x"], 1)).unwrap();
    let changed: Vec<AppId> = ["app-1", "app-2", "new"].iter().map(|id| AppId::new(id).unwrap()).collect();
    let rebased = table.rebased(base, changed.iter());
    assert_eq!((rebased.overlaid(), rebased.totals), (3, table.totals));
    assert_eq!(found(&rebased, "h1.x").unwrap().0, "app-2");
    assert_eq!(found(&rebased, "h2.x").unwrap().0, "new");
    assert_eq!(diff(&table, &rebased, 10), Diff::default());
}

#[test]
fn the_largest_are_known_whatever_has_changed() {
    let sized = |number: usize, rev, size: usize| {
        let hosts: Vec<String> = (0..size).map(|host| format!("h{host}.a{number}.x")).collect();
        app(&format!("app-{number:02}"), rev, &hosts.iter().map(String::as_str).collect::<Vec<_>>(), 1)
    };
    let apps: Vec<AppRecord> = (0..40).map(|number| sized(number, 1, number + 1)).collect();
    let mut table = Table::from_base(Arc::new(table(&apps).to_base()));
    let largest = |table: &Table| table.largest(3).iter().map(|app| app.id().to_owned()).collect::<Vec<_>>();
    assert_eq!(largest(&table), ["app-39", "app-38", "app-37"]);
    table.upsert(sized(39, 2, 1)).unwrap();
    table.upsert(sized(0, 2, 60)).unwrap();
    assert_eq!(largest(&table), ["app-00", "app-38", "app-37"]);
    // All that the base knows as its largest become small.
    (1..40).rev().take(20).for_each(|number| drop(table.upsert(sized(number, 3, 1))));
    assert_eq!(largest(&table), ["app-00", "app-19", "app-18"]);
    assert_eq!(table.largest(100).len(), 40);
    assert!(table.largest(0).is_empty());
}
