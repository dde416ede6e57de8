//! What is put in the place of what was held is put as by an upsert, whatever has happened since.

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Hold(usize),
    Replace(usize, usize, bool),
    Upsert(usize, usize),
    Remove(usize),
    Flatten,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (0..6usize).prop_map(Step::Hold),
        6 => (0..6usize, 0..8usize, any::<bool>()).prop_map(|(n, host, known)| Step::Replace(n, host, known)),
        2 => (0..6usize, 0..8usize).prop_map(|(n, host)| Step::Upsert(n, host)),
        1 => (0..6usize).prop_map(Step::Remove),
        1 => Just(Step::Flatten),
    ];
    prop::collection::vec(step, 1..60)
}

proptest! {
    #[test]
    fn it_is_an_upsert(steps in steps()) {
        let (mut table, mut plain) = (table(&many(4)), table(&many(4)));
        // Bases that are gone could not be told from others.
        let (mut held, mut kept) = (vec![None; 6], Vec::new());
        for (rev, step) in (2u64..).zip(steps) {
            let next = |n: usize, host: usize| app(&format!("app-{n}"), rev, &[&format!("h{host}.x")], 1);
            match step {
                Step::Hold(n) => {
                    let mut found = table.hold(&format!("app-{n}"));
                    if n % 2 == 0 && let Some(found) = &mut found {
                        found.digest = found.record(&table).map(Record::digest);
                    }
                    held[n] = found;
                }
                Step::Replace(n, host, known) => {
                    let app = next(n, host);
                    let digest = known.then(|| app.get().digest());
                    let done = match &held[n] {
                        Some(held) => table.replace(app.clone(), held, digest),
                        None => table.upsert(app.clone()),
                    };
                    prop_assert_eq!(done, plain.upsert(app));
                }
                Step::Upsert(n, host) => prop_assert_eq!(table.upsert(next(n, host)), plain.upsert(next(n, host))),
                Step::Remove(n) => {
                    let id = format!("app-{n}");
                    prop_assert_eq!(table.remove(&id), plain.remove(&id));
                }
                Step::Flatten => {
                    kept.push(table.clone());
                    table = Table::from_base(Arc::new(table.to_base()));
                }
            }
            prop_assert_eq!(table.totals, plain.totals);
            for host in (0..8).map(|n| format!("h{n}.x")) {
                prop_assert_eq!(found(&table, &host), found(&plain, &host));
            }
        }
    }
}

#[test]
fn an_app_that_claims_another_ones_host_is_refused_though_what_is_held_is_there() {
    let mut table = Table::from_base(Arc::new(table(&many(2)).to_base()));
    let held = table.hold("app-0").unwrap();
    let before = table.totals;
    assert!(table.replace(app("app-0", 2, &["h1.x"], 1), &held, None).is_err());
    assert!(table.replace(app("app-1", 2, &["h0.x"], 1), &held, None).is_err(), "of another app");
    assert_eq!(table.totals, before);
}
