//! The reader's compiled apps: bounded, shared, and never of another version.

use proptest::prelude::*;

use super::*;
use crate::{
    model::{AppId, AppRecord, HostRef, RecordParts, Rev},
    table::{Base, Table},
};

/// An app of one host, `<id>.x`, with `blanks` behind its document.
fn padded(id: &str, rev: u64, port: u16, blanks: usize) -> AppRecord {
    let document = format!("{{\"hosts\":[\"{id}.x\"],\"endpoints\":[\"10.0.0.1:{port}\"]}}{}", " ".repeat(blanks));
    record(id, rev, &document)
}

fn app(id: &str, rev: u64, port: u16) -> AppRecord {
    padded(id, rev, port, 0)
}

fn record(id: &str, rev: u64, document: &str) -> AppRecord {
    let name = format!("{id}.x");
    let hosts = [HostRef { name: &name, wildcard: false }];
    let parts = RecordParts { id, rev: Rev(rev), document: document.as_bytes(), endpoints: 1, hosts: &hosts };
    AppRecord::new(&parts).unwrap()
}

fn published(table: &Table) -> Published {
    Published { table: table.clone(), provenance: Provenance { source: Source::Live, ..Provenance::default() } }
}

fn publish(writer: &mut Writer, table: &Table) {
    drop(writer.publish(Arc::new(published(table))));
}

fn table(apps: impl IntoIterator<Item = AppRecord>) -> Table {
    let mut table = Table::default();
    for app in apps {
        table.upsert(app).unwrap();
    }
    table
}

fn flat(table: &Table) -> Table {
    Table::from_base(Arc::new(table.to_base()))
}

fn found(reader: &mut CachedReader, host: &str) -> Arc<App> {
    reader.find_app(host).unwrap().unwrap()
}

#[test]
fn an_app_is_compiled_once_for_a_reader() {
    let table = table([app("a", 1, 80), app("b", 1, 80)]);
    for table in [flat(&table), table] {
        let (_writer, reader) = cell(published(&table));
        let mut reader = reader.cached();
        let first = found(&mut reader, "a.x");
        assert_eq!((first.id.as_str(), first.rev), ("a", Rev(1)));
        assert_eq!(&*first.document, table.app("a").unwrap().document());
        assert!(Arc::ptr_eq(&first, &found(&mut reader, "a.x")));
        assert_eq!(found(&mut reader, "b.x").id.as_str(), "b");
        assert!(reader.find_app("c.x").is_none());
        let other = found(&mut reader.clone(), "a.x");
        assert!(!Arc::ptr_eq(&first, &other), "a clone is for another thread");
    }
}

#[test]
fn what_is_compiled_outlives_other_updates_and_a_new_base() {
    let mut table = flat(&table([app("a", 1, 80), app("b", 1, 80)]));
    let (mut writer, reader) = cell(published(&table));
    let mut reader = reader.cached();
    let [a, b] = ["a.x", "b.x"].map(|host| found(&mut reader, host));
    table.upsert(app("b", 2, 81)).unwrap();
    publish(&mut writer, &table);
    assert!(Arc::ptr_eq(&a, &found(&mut reader, "a.x")));
    let newer = found(&mut reader, "b.x");
    assert_eq!((newer.rev, b.rev), (Rev(2), Rev(1)));
    publish(&mut writer, &flat(&table));
    for _ in 0..2 {
        assert!(Arc::ptr_eq(&a, &found(&mut reader, "a.x")));
        assert!(Arc::ptr_eq(&newer, &found(&mut reader, "b.x")));
    }
    table.remove("b");
    publish(&mut writer, &table);
    assert!(reader.find_app("b.x").is_none());
}

#[test]
fn another_document_of_the_same_rev_is_another_version() {
    let one = table([app("a", 1, 80)]);
    let other = table([app("a", 1, 81)]);
    let (mut writer, reader) = cell(published(&one));
    let mut reader = reader.cached();
    for (next, port) in [(&one, 80), (&other, 81), (&flat(&one), 80), (&flat(&other), 81), (&flat(&one), 80)] {
        publish(&mut writer, next);
        let app = found(&mut reader, "a.x");
        assert_eq!(app.spec.upstreams[0].endpoints[0].address.to_string(), format!("10.0.0.1:{port}"));
    }
}

#[test]
fn what_was_loaded_stays_until_the_next_load() {
    let (mut writer, reader) = cell(published(&table([app("a", 1, 80)])));
    let mut reader = reader.cached();
    publish(&mut writer, &table([app("a", 2, 80)]));
    assert_eq!(reader.published().table.app("a").unwrap().rev(), Rev(1));
    assert_eq!(found(&mut reader, "a.x").rev, Rev(2));
    assert_eq!(reader.published().table.app("a").unwrap().rev(), Rev(2));
}

#[test]
fn a_reader_does_not_keep_a_base_alive() {
    let (mut writer, reader) = cell(published(&flat(&table([app("a", 1, 80)]))));
    let mut reader = reader.cached();
    found(&mut reader, "a.x");
    let old = Arc::downgrade(reader.published().table.base());
    publish(&mut writer, &Table::default());
    reader.load();
    assert!(old.upgrade().is_none());
}

#[test]
fn no_more_apps_are_kept_than_there_is_room_for() {
    let count = compiled::APPS + 1000;
    let apps: Vec<AppRecord> = (0..count).map(|number| app(&format!("app-{number}"), 1, 80)).collect();
    let base = Base::build(apps.iter().map(AppRecord::get));
    let (_writer, reader) = cell(published(&Table::from_base(Arc::new(base))));
    let mut reader = reader.cached();
    for number in 0..count {
        found(&mut reader, &format!("app-{number}.x"));
    }
    let (apps, _) = reader.compiled.kept();
    assert!((compiled::APPS * 3 / 4..=compiled::APPS).contains(&apps), "{apps}");
    let last = found(&mut reader, &format!("app-{}.x", count - 1));
    assert!(Arc::ptr_eq(&last, &found(&mut reader, &format!("app-{}.x", count - 1))));
}

#[test]
fn no_more_bytes_of_documents_are_kept_than_allowed() {
    const SIZE: usize = 1 << 20;
    let count = 2 * compiled::DOCUMENT_BYTES / SIZE;
    let (_writer, reader) =
        cell(published(&table((0..count).map(|number| padded(&format!("app-{number}"), 1, 80, SIZE)))));
    let mut reader = reader.cached();
    for number in 0..count {
        found(&mut reader, &format!("app-{number}.x"));
        assert!(reader.compiled.kept().1 <= compiled::DOCUMENT_BYTES);
    }
    assert!(reader.compiled.kept().0 > count / 3);
}

#[test]
fn a_document_larger_than_all_room_is_compiled_and_not_kept() {
    let large = padded("large", 1, 80, compiled::DOCUMENT_BYTES);
    let (_writer, reader) = cell(published(&table([large, app("a", 1, 80)])));
    let mut reader = reader.cached();
    let small = found(&mut reader, "a.x");
    assert_eq!(found(&mut reader, "large.x").id.as_str(), "large");
    assert_eq!(reader.compiled.kept(), (1, small.document.len()));
}

#[test]
fn what_cannot_be_compiled_is_an_error_each_time_and_no_longer_than_it_is_so() {
    let mut table = table([record("a", 1, "{\"hosts\":[\"a.x\"]}")]);
    let (mut writer, reader) = cell(published(&table));
    let mut reader = reader.cached();
    for _ in 0..2 {
        assert!(reader.find_app("a.x").unwrap().is_err());
        assert_eq!(reader.compiled.kept(), (0, 0));
    }
    table.upsert(app("a", 1, 80)).unwrap();
    publish(&mut writer, &table);
    assert_eq!(found(&mut reader, "a.x").rev, Rev(1));
}

/// What happens to a table between requests.
#[derive(Clone, Debug)]
enum Deed {
    Put(u8, u64, u16),
    Remove(u8),
    Flatten,
    /// A base of now is put below what is there after the next deeds.
    Compact(Vec<(u8, u64, u16)>),
}

fn deeds() -> impl Strategy<Value = Vec<Deed>> {
    let version = || (0..4u8, 1..3u64, 80..82u16);
    let deed = prop_oneof![
        6 => version().prop_map(|(id, rev, port)| Deed::Put(id, rev, port)),
        2 => (0..4u8).prop_map(Deed::Remove),
        1 => Just(Deed::Flatten),
        1 => proptest::collection::vec(version(), 0..4).prop_map(Deed::Compact),
    ];
    proptest::collection::vec(deed, 0..60)
}

fn change(table: &mut Table, deed: &Deed) {
    let put = |table: &mut Table, (id, rev, port): &(u8, u64, u16)| {
        table.upsert(app(&format!("app-{id}"), *rev, *port)).unwrap();
    };
    match deed {
        Deed::Put(id, rev, port) => put(table, &(*id, *rev, *port)),
        Deed::Remove(id) => drop(table.remove(&format!("app-{id}"))),
        Deed::Flatten => *table = flat(table),
        Deed::Compact(versions) => {
            let base: Arc<Base> = Arc::new(table.to_base());
            versions.iter().for_each(|version| put(table, version));
            let ids: Vec<AppId> = versions.iter().map(|(id, ..)| AppId::new(&format!("app-{id}")).unwrap()).collect();
            *table = table.rebased(base, ids.iter());
        }
    }
}

proptest! {
    #[test]
    fn a_request_never_gets_another_version_than_the_table_has(deeds in deeds()) {
        let mut table = Table::default();
        let (mut writer, reader) = cell(published(&table));
        let mut reader = reader.cached();
        for deed in &deeds {
            change(&mut table, deed);
            publish(&mut writer, &table);
            for host in (0..4).map(|id| format!("app-{id}.x")) {
                let compiled = reader.find_app(&host).map(|app| app.unwrap());
                let served = table.find_app(&host).map(|app| (app.app_id(), app.rev(), app.document().to_vec()));
                prop_assert_eq!(compiled.map(|app| (app.id.clone(), app.rev, app.document.to_vec())), served);
            }
        }
    }
}
