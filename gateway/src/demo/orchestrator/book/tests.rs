use proptest::prelude::*;

use super::*;

const ALL: PageLimits = PageLimits { changes: usize::MAX, bytes: usize::MAX };
const EPOCH: &str = "e";

fn epoch() -> Epoch {
    Epoch::new(EPOCH).unwrap()
}

fn table(apps: &[(&str, &str)]) -> BTreeMap<AppId, Bytes> {
    let app = |(id, document): &(&str, &str)| (AppId::new(id).unwrap(), Bytes::copy_from_slice(document.as_bytes()));
    apps.iter().map(app).collect()
}

fn book(apps: &[(&str, &str)]) -> Book {
    let mut book = Book::new(epoch());
    book.apply(table(apps), Duration::ZERO);
    book
}

/// A gateway's view: app -> (rev, document).
type View = BTreeMap<AppId, (Rev, Bytes)>;

fn view(book: &Book) -> View {
    book.apps().map(|(id, rev, document)| (id.clone(), (rev, document.clone()))).collect()
}

fn digest(view: &View) -> Digest {
    view.iter().fold(Digest::default(), |sum, (id, (rev, document))| sum.plus(app_digest(id.as_str(), *rev, document)))
}

/// Follows the book from `since` page by page.
fn follow(book: &Book, mut view: View, mut since: Generation, limits: PageLimits) -> (View, Digest, u64) {
    loop {
        let page = book.page(EPOCH, since, limits).unwrap();
        for (id, rev, document) in &page.upserts {
            view.insert((*id).clone(), (*rev, (*document).clone()));
        }
        for (id, _) in &page.deletes {
            view.remove(id);
        }
        since = page.to;
        if !page.more {
            return (view, page.digest, page.apps);
        }
    }
}

#[test]
fn every_change_gets_a_generation_and_the_same_documents_get_none() {
    let mut book = book(&[("blog", "{}"), ("shop", "{}")]);
    assert_eq!(book.generation(), Generation(3));
    assert!(!book.apply(table(&[("blog", "{}"), ("shop", "{}")]), Duration::ZERO));
    assert_eq!(book.cost(&table(&[("blog", "[]")])), 2);
    assert!(book.apply(table(&[("blog", "[]")]), Duration::ZERO));
    assert_eq!((book.generation(), book.len()), (Generation(5), 1));
}

#[test]
fn positions_are_told_apart() {
    let book = book(&[("blog", "{}")]);
    let page = |epoch, since| book.page(epoch, Generation(since), ALL).map(|p| p.to.0);
    assert_eq!(page("other", 2), Err(NoPage::Gone));
    assert_eq!(page(EPOCH, 0), Err(NoPage::Gone));
    assert_eq!(page(EPOCH, 1), Ok(2));
    assert_eq!(page(EPOCH, 2), Ok(2));
    assert_eq!(page(EPOCH, 3), Err(NoPage::Ahead));
}

#[test]
fn a_restart_keeps_epoch_and_revs_and_goes_on_above_what_was_reserved() {
    let old = book(&[("blog", "{}"), ("shop", "{}"), ("gone", "{}")]);
    let saved = old.saved(Generation(1000));
    let mut new = Book::restore(epoch(), &saved);
    assert!(new.apply(table(&[("blog", "{}"), ("shop", "[]")]), Duration::ZERO));
    assert_eq!(new.app(&AppId::new("blog").unwrap()).unwrap().rev, old.app(&AppId::new("blog").unwrap()).unwrap().rev);
    assert_eq!(new.generation(), Generation(1002));
    let (seen, digest, apps) = follow(&new, view(&old), old.generation(), ALL);
    assert_eq!((seen, digest, apps), (view(&new), new.digest(), 2));
}

#[test]
fn what_the_process_before_may_have_told_without_saving_is_410() {
    let saved = book(&[("blog", "{}")]).saved(Generation(1000));
    let new = Book::restore(epoch(), &saved);
    let page = |since| new.page(EPOCH, Generation(since), ALL).map(|p| p.to.0);
    assert_eq!(page(saved.generation.0), Ok(1000));
    assert_eq!(page(saved.generation.0 + 1), Err(NoPage::Gone));
    assert_eq!(page(999), Err(NoPage::Gone));
    assert_eq!(page(1000), Ok(1000));
}

#[test]
fn a_day_later_the_change_is_forgotten_and_the_position_before_it_is_410() {
    let mut book = book(&[("blog", "{}")]);
    let day = log::KEPT_FOR + Duration::from_secs(1);
    book.apply(table(&[("blog", "[]")]), day);
    assert_eq!(book.page(EPOCH, Generation(1), ALL).map(|p| p.to.0), Ok(3), "its later change replaced it");
    book.apply(table(&[("blog", "[]"), ("shop", "[]")]), day * 2);
    assert_eq!(book.page(EPOCH, Generation(2), ALL).unwrap_err(), NoPage::Gone);
    assert_eq!(book.page(EPOCH, Generation(3), ALL).map(|p| p.to.0), Ok(4));
}

#[test]
fn the_log_is_bounded_in_number() {
    let mut log = Log::new(Generation(0));
    for n in 1..=(log::MAX_CHANGES as u64 + 10) {
        let app = AppId::new(&n.to_string()).unwrap();
        log.note(Generation(n), log::Change { app, at: Duration::ZERO, apps: n, digest: Digest::default() });
    }
    log.trim(Duration::ZERO);
    assert_eq!((log.floor(), log.after(Generation(0)).count()), (Generation(10), log::MAX_CHANGES));
}

#[test]
fn a_meant_shrink_is_a_generation_of_its_own_and_ends_with_it() {
    let mut book = book(&[("blog", "{}")]);
    let ok = ShrinkOk { to_apps: 1, by: "me".into(), why: "test".into() };
    book.announce(ok.clone());
    let page = book.page(EPOCH, Generation(2), ALL).unwrap();
    assert_eq!((page.to, page.shrink_ok), (Generation(3), Some(&ok)));
    assert!(page.upserts.is_empty() && page.deletes.is_empty());
    book.apply(table(&[]), Duration::ZERO);
    assert_eq!(book.shrink_ok(), None);
}

fn tables() -> impl Strategy<Value = Vec<BTreeMap<AppId, Bytes>>> {
    let app = (0..6_u8, 0..3_u8);
    let table = prop::collection::vec(app, 0..6).prop_map(|apps| {
        let app = |(id, v): (u8, u8)| (AppId::new(&format!("app{id}")).unwrap(), Bytes::from(v.to_string()));
        apps.into_iter().map(app).collect()
    });
    prop::collection::vec(table, 1..12)
}

proptest! {
    /// Whoever follows by pages of any size, from any state on, ends with the whole table and its digest.
    #[test]
    fn pages_lead_to_the_whole_table(tables in tables(), start in 0..11_usize, changes in 1..4_usize, bytes in 1..4_usize) {
        let mut book = Book::new(epoch());
        let mut seen = (View::new(), book.generation());
        for (index, table) in tables.into_iter().enumerate() {
            book.apply(table, Duration::ZERO);
            if index == start {
                seen = (view(&book), book.generation());
            }
        }
        let (end, told, apps) = follow(&book, seen.0, seen.1, PageLimits { changes, bytes });
        prop_assert_eq!(&end, &view(&book));
        prop_assert_eq!((told, apps), (digest(&end), end.len() as u64));
        prop_assert_eq!(told, book.digest());
    }
}
