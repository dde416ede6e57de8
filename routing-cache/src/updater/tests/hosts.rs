//! One host belongs to one app.

use proptest::prelude::*;

use super::rig::*;
use crate::{updater::Outcome, wire::SnapshotCandidate};

fn host(name: &str) -> String {
    document(&[&format!("{name}.example.com")], 1, 0)
}

fn two(a: &str, b: &str) -> String {
    document(&[&format!("{a}.example.com"), &format!("{b}.example.com")], 1, 0)
}

fn serving(apps: &[(&str, String)]) -> (Server, Rig) {
    let mut server = Server::new("e1");
    apps.iter().for_each(|(app, document)| server.put(app, document.clone()));
    let rig = Rig::serving(&server);
    (server, rig)
}

fn owner(rig: &Rig, name: &str) -> Option<String> {
    rig.published().table.find_app(&format!("{name}.example.com")).map(|app| app.id().to_owned())
}

#[test]
fn the_app_that_had_a_host_keeps_it_and_the_other_is_reported() {
    let (mut server, mut rig) = serving(&[("old", host("x"))]);
    server.put("new", two("y", "x"));
    let Outcome::Unchanged(summary) = rig.delta(&server) else { panic!("it was taken") };
    assert_eq!(summary.invalid, 1);
    let report = rig.updater.report(rig.now());
    assert_eq!(report.invalid[0].1.to_string(), "hosts[1]: host x.example.com belongs to app old");
    assert_eq!((owner(&rig, "x").as_deref(), owner(&rig, "y")), (Some("old"), None));
    rig.assert_settled(&server);
}

#[test]
fn of_two_new_apps_the_lower_rev_has_the_host_then_the_smaller_id() {
    let mut server = Server::new("e1");
    server.change(|apps, _| {
        apps.insert("a".into(), (9, two("x", "y")));
        apps.insert("b".into(), (5, host("x")));
        apps.insert("d".into(), (7, host("z")));
        apps.insert("c".into(), (7, host("z")));
    });
    let rig = Rig::serving(&server);
    assert_eq!(owner(&rig, "x").as_deref(), Some("b"));
    assert_eq!(owner(&rig, "y"), None);
    assert_eq!(owner(&rig, "z").as_deref(), Some("c"));
}

#[test]
fn a_host_freed_in_the_same_change_can_be_taken() {
    let (mut server, mut rig) = serving(&[("a", host("x")), ("b", host("y"))]);
    server.change(|apps, rev| {
        apps.remove("a");
        apps.insert("b".into(), (rev, host("x")));
        apps.insert("c".into(), (rev, host("y")));
    });
    published(rig.delta(&server));
    assert_eq!((owner(&rig, "x").as_deref(), owner(&rig, "y").as_deref()), (Some("b"), Some("c")));
}

#[test]
fn two_apps_can_swap_their_hosts() {
    let (mut server, mut rig) = serving(&[("a", host("x")), ("b", host("y"))]);
    server.change(|apps, rev| {
        apps.insert("a".into(), (rev, host("y")));
        apps.insert("b".into(), (rev, host("x")));
    });
    published(rig.delta(&server));
    assert_eq!((owner(&rig, "x").as_deref(), owner(&rig, "y").as_deref()), (Some("b"), Some("a")));
}

#[test]
fn an_app_that_loses_keeps_its_last_version_and_so_its_hosts() {
    let (mut server, mut rig) = serving(&[("a", host("x")), ("b", host("y")), ("c", host("z"))]);
    server.change(|apps, rev| {
        apps.insert("b".into(), (rev, host("x")));
        apps.insert("c".into(), (rev, host("y")));
    });
    assert!(matches!(rig.delta(&server), Outcome::Unchanged(_)));
    assert_eq!(owner(&rig, "y").as_deref(), Some("b"));
    assert_eq!(owner(&rig, "z").as_deref(), Some("c"));
    rig.assert_settled(&server);
}

#[test]
fn an_app_that_lost_to_one_that_falls_itself_gets_its_host_at_once() {
    let (mut server, mut rig) = serving(&[("c", host("w")), ("d", two("u", "w"))]);
    server.change(|apps, rev| {
        apps.insert("a".into(), (rev, host("u")));
        apps.insert("c".into(), (rev + 1, host("z")));
        apps.insert("e".into(), (rev, host("z")));
    });
    published(rig.delta(&server));
    assert_eq!((owner(&rig, "u").as_deref(), owner(&rig, "w").as_deref()), (Some("a"), Some("c")));
    rig.assert_settled(&server);
}

#[test]
fn an_app_gets_its_host_once_the_other_gives_it_up() {
    let (mut server, mut rig) = serving(&[("a", host("x"))]);
    server.put("b", host("x"));
    rig.delta(&server);
    server.put("a", host("y"));
    let summary = published(rig.delta(&server));
    assert_eq!((summary.added, summary.updated, summary.invalid), (1, 1, 0));
    assert_eq!(owner(&rig, "x").as_deref(), Some("b"));
    assert_eq!(rig.updater.report(rig.now()).invalid_total, 0);
}

#[test]
fn a_held_app_keeps_its_hosts_until_it_is_let_go() {
    let mut server = Server::with_apps(200);
    let mut rig = Rig::serving(&server);
    server.change(|apps, rev| {
        (0..60).for_each(|n| drop(apps.remove(&name(n))));
        (0..60).for_each(|n| drop(apps.insert(format!("renamed-{n}"), (rev, plain(n, 1, 1)))));
    });
    assert_eq!(held(rig.snapshot(&server)).held, 60);
    assert!(rig.serves("app-0") && !rig.serves("renamed-0"));
    let now = rig.now();
    published(rig.updater.approve(crate::model::Generation(2), now).unwrap());
    assert!(!rig.serves("app-0") && rig.serves("renamed-0"));
    rig.assert_settled(&server);
}

#[test]
fn a_wildcard_and_the_longest_of_names_have_one_owner_too() {
    let long = format!("*.{}", [&["a"; 60].concat(), "b", &"c".repeat(63), &"d".repeat(63), &"e".repeat(60)].join("."));
    let (mut server, mut rig) = serving(&[("a", document(&["*.example.com", &long], 1, 0))]);
    server.put("b", document(&["*.example.com"], 1, 0));
    server.put("c", document(&[&long], 1, 0));
    server.put("d", document(&["example.com"], 1, 0));
    let summary = published(rig.delta(&server));
    assert_eq!((summary.added, summary.invalid), (1, 2));
    assert!(rig.serves("d"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever apps claim, in whatever order they come: no served app goes, no host has two owners, and the result is
    /// the same.
    #[test]
    fn the_result_does_not_depend_on_the_order_apps_come_in(
        before in prop::collection::btree_map("[a-f]", prop::collection::btree_set("[u-z]", 1..4), 0..6),
        after in prop::collection::btree_map("[a-h]", (1u64..4, prop::collection::btree_set("[u-z]", 1..4)), 1..8),
        rotate in 0usize..8,
    ) {
        let doc = |hosts: &std::collections::BTreeSet<String>| {
            let hosts: Vec<String> = hosts.iter().map(|host| format!("{host}.example.com")).collect();
            document(&hosts.iter().map(String::as_str).collect::<Vec<_>>(), 1, 0)
        };
        let run = |reversed: bool| {
            let mut server = Server::new("e1");
            before.iter().for_each(|(app, hosts)| server.put(app, doc(hosts)));
            let mut rig = Rig::new();
            rig.ready();
            rig.snapshot(&server);
            rig.open_gate();
            let served = rig.served();
            let generation = server.generation + 10;
            server.change(|apps, _| after.iter().for_each(|(app, (rev, hosts))| {
                drop(apps.insert(app.clone(), (generation + rev, doc(hosts))));
            }));
            let mut apps = server.incoming();
            let turn = rotate % apps.len();
            apps.rotate_left(turn);
            if reversed {
                apps.reverse();
            }
            let outcome = rig.offer(SnapshotCandidate { apps: batch(apps), ..server.snapshot() });
            assert!(outcome.summary().is_some(), "{outcome:?}");
            served.keys().for_each(|app| assert!(rig.serves(app)));
            rig.assert_settled(&server);
            rig.served()
        };
        prop_assert_eq!(run(false), run(true));
    }
}
