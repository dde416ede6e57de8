//! What is kept beside the table: audits, the flat base, sizes, limits, poison.

use super::rig::*;
use crate::{
    disk::sim::Failure,
    limits::{LimitName, Limits},
    model::{Digest, Generation},
    updater::{Audit, Outcome, Poisoned, Rejection},
    wire::StateAnswer,
};

fn state_of(server: &Server) -> StateAnswer {
    StateAnswer {
        epoch: epoch(&server.epoch),
        generation: Generation(server.generation),
        ready: true,
        reason: None,
        apps: server.apps.len() as u64,
        digest: server.digest(),
        bytes: 0,
    }
}

impl Rig {
    fn audit(&mut self, answer: &StateAnswer) -> Audit {
        let now = self.now();
        self.updater.audit(answer, now)
    }
}

#[test]
fn an_audit_finds_drift_at_the_same_position_alone_and_a_snapshot_heals_it() {
    let mut server = Server::with_apps(200);
    let mut rig = Rig::serving(&server);
    server.delete(0..60);
    held(rig.delta(&server));
    let same = state_of(&server);
    assert_eq!(rig.audit(&same), Audit::Same, "what was received is compared, not what is served");
    assert_eq!(rig.audit(&StateAnswer { generation: Generation(9), apps: 1, ..same.clone() }), Audit::NotComparable);
    assert_eq!(rig.audit(&StateAnswer { ready: false, apps: 1, ..same.clone() }), Audit::NotComparable);
    assert!(rig.updater.position().is_some());
    assert_eq!(rig.audit(&StateAnswer { digest: Digest(1), ..same }), Audit::Drifted);
    assert_eq!(rig.updater.position(), None);
    held(rig.snapshot(&server.clone_moved_on()));
    assert!(rig.updater.position().is_some());
}

impl Server {
    fn clone_moved_on(&self) -> Self {
        let mut next = self.clone();
        next.change(|_, _| ());
        next
    }
}

#[test]
fn a_flat_base_takes_the_place_of_the_table_and_of_what_changed_meanwhile() {
    let mut server = Server::with_apps(12);
    let mut rig = Rig::serving(&server);
    let now = rig.now();
    server.shrink_ok = Some(0);
    for n in 0..40_usize {
        let under_way = (n % 3 == 0).then(|| rig.updater.begin_compaction());
        assert!(rig.updater.compaction().is_none(), "one at a time, and when it is due");
        server.put(&name(n % 12), plain(n % 12, 1 + n % 3, n as u64));
        server.put(&format!("new-{n}"), document(&[&format!("new-{n}.example.com")], 1, 0));
        server.change(|apps, _| drop(apps.remove(&format!("new-{}", n.saturating_sub(2)))));
        rig.delta(&server);
        if let Some(compaction) = under_way {
            let (before, provenance) = (rig.served(), rig.published().provenance.clone());
            rig.updater.compacted(compaction.run(), now);
            assert_eq!((rig.served(), &rig.published().provenance), (before, &provenance));
            assert_eq!(rig.published().table.digest(), server.digest());
        }
        rig.assert_settled(&server);
    }
    assert_eq!(rig.restarted().published().table.digest(), server.digest());
}

#[test]
fn a_flat_base_that_was_overtaken_is_not_used() {
    let mut server = Server::with_apps(12);
    let mut rig = Rig::serving(&server);
    let now = rig.now();
    let compaction = rig.updater.begin_compaction();
    server.change(|apps, rev| apps.values_mut().for_each(|(of, _)| *of = rev));
    published(rig.snapshot(&server));
    rig.updater.compacted(compaction.run(), now);
    assert_eq!(rig.published().table.digest(), server.digest());
    let compaction = rig.updater.begin_compaction();
    for n in 0..20 {
        server.put(&format!("new-{n}"), document(&[&format!("n-{n}.example.com")], 1, 0));
    }
    published(rig.delta(&server));
    rig.updater.compacted(compaction.run(), now);
    rig.assert_settled(&server);
    assert_eq!(rig.restarted().published().table.digest(), server.digest());
}

#[test]
fn the_five_largest_are_followed_as_apps_change() {
    let mut server = Server::with_apps(8);
    let mut rig = Rig::serving(&server);
    for n in [3, 5, 1, 7, 2, 6, 3, 5, 0] {
        server.put(&name(n), plain(n, 2 + n, 0));
        rig.delta(&server);
        check_sizes(&mut rig);
    }
    server.put("app-7", plain(7, 1, 0));
    rig.delta(&server);
    check_sizes(&mut rig);
    server.delete(6..7);
    rig.delta(&server);
    check_sizes(&mut rig);
}

fn check_sizes(rig: &mut Rig) {
    let (sizes, published) = (rig.updater.sizes(), rig.published());
    let mut all: Vec<u64> = published.table.iter().map(|app| app.document().len() as u64).collect();
    all.sort_by_key(|bytes| std::cmp::Reverse(*bytes));
    assert_eq!(sizes.documents_bytes, all.iter().sum::<u64>());
    assert_eq!(sizes.largest.iter().map(|(_, bytes)| *bytes).collect::<Vec<_>>(), all[..5]);
    for (id, bytes) in &sizes.largest {
        assert_eq!(published.table.app(id.as_str()).map(|app| app.document().len() as u64), Some(*bytes));
    }
}

#[test]
fn deltas_do_not_add_up_to_more_than_a_snapshot_may_be() {
    let mut server = Server::with_apps(3);
    let mut rig = Rig::serving(&server);
    let mut config = config();
    config.limits = Limits { snapshot_apps: 4, ..Limits::default() };
    rig.updater.reconfigure(config.clone());
    server.put("a", document(&["a.example.com"], 1, 0));
    published(rig.delta(&server));
    server.put("b", document(&["b.example.com"], 1, 0));
    let too_large = Rejection::TooLarge { limit: LimitName::SnapshotApps, found: 5, allowed: 4 };
    assert_eq!(rig.delta(&server), Outcome::Rejected(too_large));
    config.limits = Limits { snapshot_apps: 2, ..Limits::default() };
    rig.updater.reconfigure(config);
    server.change(|apps, _| apps.retain(|app, _| app.starts_with("app")));
    assert_eq!(published(rig.delta(&server)).removed, 1, "less is always fine");
}

#[test]
fn a_table_with_which_it_crashed_is_not_taken_again_until_the_table_moves_on() {
    let mut server = Server::with_apps(3);
    let good = server.clone();
    server.put("app-1", plain(1, 2, 2));
    let mut rig = Rig::serving(&good);
    rig.updater.poisoned =
        Some(Poisoned { generation: Generation(2), epoch: Some(epoch("e1")), digest: server.digest(), crashes: 3 });
    let refused = Outcome::Rejected(Rejection::Poisoned { generation: Generation(2) });
    assert_eq!(rig.delta(&server), refused);
    assert_eq!(rig.snapshot(&server), refused);
    server.change(|_, _| ());
    assert_eq!(rig.delta(&server), refused, "its number does not make it another");
    assert!(rig.updater.report(rig.now()).poisoned.is_some());
    server.put("app-2", plain(2, 2, 2));
    published(rig.delta(&server));
    assert!(rig.updater.report(rig.now()).poisoned.is_none());
}

#[test]
fn a_run_that_keeps_crashing_with_a_table_goes_back_to_the_one_before() {
    let mut server = Server::with_apps(3);
    let mut rig = Rig::serving(&server);
    rig.ms += 20_000;
    rig.updater.tick(rig.now());
    rig.open_gate();
    server.put("app-1", plain(1, 2, 2));
    published(rig.delta(&server));
    for _ in 0..4 {
        rig.ms += 1000;
        rig = rig.restarted();
    }
    assert_eq!(rig.endpoints("app-1"), 1, "{:?}", rig.boot);
    let poisoned = rig.updater.report(rig.now()).poisoned.unwrap();
    assert_eq!((poisoned.generation, poisoned.digest), (Generation(2), server.digest()));
    rig.open_gate();
    assert!(matches!(rig.snapshot(&server), Outcome::Rejected(Rejection::Poisoned { .. })));
}

#[test]
fn a_run_that_lives_or_ends_in_order_is_no_crash() {
    let mut server = Server::with_apps(3);
    let mut rig = Rig::serving(&server);
    server.put("app-1", plain(1, 2, 2));
    published(rig.delta(&server));
    for n in 0..6 {
        if n % 2 == 0 {
            rig.ms += 20_000;
            rig.updater.tick(rig.now());
        } else {
            rig.updater.stopping();
        }
        rig = rig.restarted();
    }
    assert_eq!((rig.endpoints("app-1"), &rig.boot.poisoned), (2, &None));
}

impl Rig {
    fn tick(&mut self) {
        let now = self.now();
        self.updater.tick(now);
    }
}

#[test]
fn a_first_table_gets_a_second_snapshot_with_the_next_tick() {
    let mut rig = Rig::serving(&Server::with_apps(3));
    let now = rig.now();
    assert!(rig.updater.compaction().is_none());
    rig.tick();
    let compaction = rig.updater.compaction().expect("there is one snapshot only");
    rig.updater.compacted(compaction.run(), now);
    let saves = format!("{:?}", rig.updater.saves);
    for _ in 0..3 {
        rig.tick();
        assert!(rig.updater.compaction().is_none());
    }
    assert_eq!(format!("{:?}", rig.updater.saves), saves, "nothing more is written");
}

#[test]
fn a_folder_that_cannot_be_written_is_not_tried_with_each_tick() {
    let mut rig = Rig::serving(&Server::with_apps(3));
    rig.disk.fail(0, u64::MAX, Failure::ReadOnly);
    rig.tick();
    let (saves, operations) = (format!("{:?}", rig.updater.saves), rig.disk.operations());
    for _ in 0..3 {
        rig.tick();
        assert!(rig.updater.compaction().is_none());
    }
    assert_eq!((format!("{:?}", rig.updater.saves), rig.disk.operations()), (saves, operations));
}
