//! A base: full buckets, another version's indexes, damage.

use proptest::prelude::*;

use super::*;
use crate::{
    model::AppRecord,
    table::{
        Table,
        tests::{app, many, reloaded},
    },
};

fn base(apps: &[AppRecord]) -> Base {
    Base::from_records(bytes(apps)).unwrap()
}

fn bytes(apps: &[AppRecord]) -> Vec<u8> {
    apps.iter().flat_map(|app| app.get().as_bytes().to_vec()).collect()
}

fn holds(base: &Base, apps: &[AppRecord]) -> bool {
    let hash = |text: &str| base.hash().of(text.as_bytes());
    apps.iter().map(AppRecord::get).all(|app| {
        let by_id = base.app(hash(app.id()), app.id().as_bytes());
        let by_host = app.hosts().all(|host| base.owner(hash(host.name), host).is_some_and(|(_, owner)| owner == app));
        by_host && by_id.is_some_and(|(_, found)| found == app)
    })
}

/// The parts of a base as they are read from a file.
fn load(head: BaseHead, records: &[u8], buckets: [&[u8]; 3]) -> Result<Base, BaseError> {
    let mut loader = BaseLoader::new(head)?;
    loader.records().extend_from_slice(records);
    for (index, bytes) in IndexName::ALL.into_iter().zip(buckets) {
        loader.buckets(index, bytes)?;
    }
    loader.finish()
}

fn indexes(base: &Base) -> [&[u8]; 3] {
    IndexName::ALL.map(|index| base.buckets(index).as_flattened())
}

#[test]
fn every_app_and_host_is_found_however_full_the_buckets_are() {
    for count in [0, 1, 2, 9, 10, 11, 12, 13, 100, 20_000] {
        let apps = many(count);
        let base = base(&apps);
        assert!(holds(&base, &apps), "{count}");
        assert_eq!(base.iter().count(), count);
        assert!(base.buckets(IndexName::Apps).len() <= count / 9 + 1);
        let hash = base.hash().of(b"none");
        assert!(base.app(hash, b"none").is_none());
    }
}

#[test]
fn entries_of_one_hash_go_on_into_further_buckets() {
    let mut index = index::Index::empty(50);
    let hash = u64::MAX - 5;
    assert!((0..600).all(|place| index.insert(hash, place)));
    assert!(!index.insert(hash, 600));
    for place in 0..600 {
        assert_eq!(index.find(hash, |found| (found == place).then_some(found)), Some(place));
    }
    assert_eq!(index.find(hash, |found| (found == 600).then_some(found)), None);
}

#[test]
fn a_reach_beyond_what_a_byte_holds_is_any() {
    let mut index = index::Index::empty(1000);
    assert!((0..12_000).all(|place| index.insert(0, place)));
    assert_eq!(index.find(0, |found| (found == 11_999).then_some(found)), Some(11_999));
}

#[test]
fn a_miss_seldom_reads_a_second_bucket() {
    let base = base(&many(20_000));
    let mut looked_at = 0;
    for number in 0..20_000_u32 {
        let hash = base.hash().of(format!("none-{number}").as_bytes());
        base.apps.find(hash, |_| -> Option<()> {
            looked_at += 1;
            None
        });
    }
    // 10 tags of 256 are alike by chance for one look-up in 25; more would mean that the tags or the filter do not work.
    assert!(looked_at < 20_000 / 10, "{looked_at}");
}

#[test]
fn a_bucket_is_a_cache_line() {
    let base = base(&many(1000));
    for base in [&base, &reloaded(&base)] {
        assert!(base.buckets(IndexName::Apps).as_ptr().addr().is_multiple_of(64));
        assert!(base.buckets(IndexName::Exact).as_ptr().addr().is_multiple_of(64));
    }
}

#[test]
fn a_base_is_read_back_as_it_was_written() {
    let apps = [many(500), vec![app("w", 3, &["*.w.x", "*.x"], 2)]].concat();
    let written = base(&apps);
    let read = reloaded(&written);
    assert_eq!((read.head(), read.records(), indexes(&read)), (written.head(), written.records(), indexes(&written)));
    assert!(holds(&read, &apps));
    assert_eq!((read.head().apps, read.head().exact, read.head().wildcard), (501, 500, 2));
}

#[test]
fn a_head_is_read_whatever_another_version_has_added_or_not_had() {
    let head = base(&many(30)).head();
    let bytes = head.to_bytes();
    assert_eq!(BaseHead::from_bytes(&bytes), head);
    assert_eq!(BaseHead::from_bytes(&[bytes.as_slice(), &[7; 100]].concat()), head);
    let without_largest = BaseHead { largest: [0; 16], ..head };
    assert_eq!(BaseHead::from_bytes(&bytes[..11 * 8 + 16]), without_largest);
    assert_eq!(BaseHead::from_bytes(&[]), BaseHead::default());
}

#[test]
fn the_indexes_of_another_versions_hash_are_made_anew() {
    let apps = many(300);
    let written = base(&apps);
    let head = BaseHead { check: written.head().check ^ 1, ..written.head() };
    let garbage: Vec<u8> = (0..written.buckets(IndexName::Apps).len() * 64).map(|at| at as u8).collect();
    let [_, exact, wildcard] = indexes(&written);
    let read = load(head, written.records(), [&garbage, exact, wildcard]).unwrap();
    assert!(holds(&read, &apps));
    assert_eq!(read.head(), written.head());
    assert_eq!(load(head, written.records(), [&[], &[], &[]]).unwrap().head(), written.head());
}

#[test]
fn a_host_or_an_app_that_is_there_twice_is_refused() {
    let apps = [app("a", 1, &["a.x"], 1), app("b", 1, &["b.x", "*.a.x"], 1)];
    let with = |other| Base::from_records(bytes(&[apps.as_slice(), &[other]].concat())).map(drop);
    assert_eq!(with(app("c", 1, &["c.x", "*.a.x"], 1)).unwrap_err().to_string(), "host *.a.x belongs to app b");
    assert_eq!(with(app("a", 2, &["other.x"], 1)).unwrap_err().to_string(), "host other.x belongs to app a");
    assert_eq!(with(app("c", 1, &["*.b.x"], 1)), Ok(()));
}

#[test]
fn parts_that_do_not_fit_the_head_are_refused() {
    let written = base(&many(100));
    let (head, records, [apps, exact, wildcard]) = (written.head(), written.records(), indexes(&written));
    let refused = |head, records: &[u8], buckets| load(head, records, buckets).unwrap_err().to_string();
    let said = records.len();
    assert_eq!(
        refused(head, &records[4..], [apps, exact, wildcard]),
        format!("{} bytes of records came, the head says {said}", said - 4)
    );
    assert_eq!(refused(head, records, [apps, &exact[64..], wildcard]), "the index Exact is cut short");
    assert_eq!(refused(head, records, [&apps[1..], exact, wildcard]), "703 bytes do not fit the index Apps");
    assert_eq!(refused(head, records, [apps, exact, &[0; 64]]), "64 bytes do not fit the index Wildcard");
    let few = BaseHead { buckets: [0, 11, 0], ..head };
    assert_eq!(refused(few, records, [&[], exact, wildcard]), "0 buckets do not fit an index of 100 entries");
    let much = BaseHead { records: MAX_RECORDS_BYTES + 1, ..head };
    assert!(refused(much, records, [apps, exact, wildcard]).ends_with("are more than an index can name"));
    let many = BaseHead { apps: u64::MAX / 2, buckets: [u64::MAX / 4, 11, 0], ..head };
    assert!(refused(many, records, [apps, exact, wildcard]).starts_with("no memory: "));
}

/// Everything that is asked of a table; the answers do not matter.
fn ask(base: Base) {
    let mut table = Table::from_base(std::sync::Arc::new(base));
    for number in 0..40 {
        let (id, host) = (format!("app-{number}"), format!("h{number}.x"));
        let _ = (table.app(&id), table.find(&host), table.find_app(&host).map(|app| app.digest()));
    }
    let _ = (table.page(None, 10), table.largest(5), table.walk(Default::default(), 1000));
    let _ = (table.upsert(app("app-3", 2, &["h5.x", "*.w.x"], 1)), table.remove("app-4"), table.remove("app-5"));
    let _ = (table.page(None, 10), table.largest(5), table.iter().count());
    let _ = table.rebased(std::sync::Arc::new(Base::build(table.iter().take(0))), [].iter());
}

proptest! {
    #[test]
    fn damage_past_the_checksums_never_panics(
        flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..40),
        rebuild in any::<bool>(),
    ) {
        let written = base(&[many(40), vec![app("w", 1, &["*.w.x", "w.x"], 2)]].concat());
        let mut all = [written.head().to_bytes().as_slice(), written.records(), indexes(&written).concat().as_slice()].concat();
        for (at, byte) in flips {
            all[at.index(written.head().to_bytes().len() + written.records().len() + 64)] ^= byte;
        }
        let (head, rest) = all.split_at(BaseHead::BYTES);
        let mut head = BaseHead::from_bytes(head);
        // Damage to the records and indexes is of no use where the head is refused.
        (head.records, head.buckets) = (written.head().records, written.head().buckets);
        (head.seed, head.check) = (written.head().seed, written.head().check ^ u64::from(rebuild));
        let (records, rest) = rest.split_at(written.records().len());
        let [apps, exact, _] = indexes(&written).map(<[u8]>::len);
        let (apps, rest) = rest.split_at(apps);
        let (exact, wildcard) = rest.split_at(exact);
        if let Ok(base) = load(head, records, [apps, exact, wildcard]) {
            ask(base);
        }
    }

    #[test]
    fn a_record_of_any_bytes_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200), at in 0..8usize) {
        let length = (bytes.len() / 4 * 4) as u32;
        let bytes = [length.to_le_bytes().as_slice(), &bytes].concat();
        if let Some(record) = Record::at(&bytes, at) {
            let hosts: Vec<HostRef<'_>> = record.hosts().take(100).collect();
            let _ = hosts.iter().filter(|host| record.claims(**host)).count();
            let _ = (record.id(), record.app_id(), record.document(), record.digest(), record.endpoints(), record.rev());
        }
    }
}
