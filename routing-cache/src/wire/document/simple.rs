//! The short form as most apps are written, `{"hosts":[...],"endpoints":[...]}` with plain strings, read without a tree.
//!
//! A document that is read here is valid, and is read the same by the general reader; of any other this says nothing.
//! Hosts and addresses are judged by the same functions.

use super::{read::repeated, routes, upstreams};
use crate::{
    model::{AddressRef, AppSpec, Endpoint, ErrorPages, HostRef},
    wire::cursor::Cursor,
};

/// Lists up to this length are searched for what is there twice by comparing each with each: faster, without an allocation.
const SHORT: usize = 8;

/// A document of the short form, as far as a record needs it.
#[derive(Debug)]
pub(in crate::wire) struct Simple<'a> {
    /// Slices of the document, in its order.
    pub(in crate::wire) hosts: Vec<HostRef<'a>>,
    endpoints: Vec<AddressRef<'a>>,
}

impl<'a> Simple<'a> {
    /// The document that `text` is.
    pub(in crate::wire) fn read(text: &'a [u8]) -> Option<Self> {
        let (hosts, endpoints) = lists(text, |host| host, |address| address)?;
        (differ(&hosts, |host| host) && differ(&endpoints, |address| address)).then_some(Self { hosts, endpoints })
    }

    /// The number of its endpoints.
    pub(in crate::wire) fn endpoint_count(&self) -> usize {
        self.endpoints.len()
    }
}

/// All of the document that `text` is, ready for requests.
pub(super) fn spec(text: &[u8]) -> Option<AppSpec> {
    let endpoint = |address: AddressRef<'_>| Endpoint {
        address: address.to_address(),
        weight: upstreams::DEFAULT_WEIGHT,
        instance: None,
    };
    let (hosts, endpoints) = lists(text, HostRef::to_pattern, endpoint)?;
    let valid = differ(&hosts, |host| host) && differ(&endpoints, |endpoint| &endpoint.address);
    valid.then(|| AppSpec {
        hosts,
        routes: vec![routes::of_short_form()],
        upstreams: vec![upstreams::of_short_form(endpoints)],
        error_pages: ErrorPages::default(),
    })
}

/// The two lists of the document that `text` is, each item made of what was read.
fn lists<'a, H, E>(
    text: &'a [u8],
    host: impl Fn(HostRef<'a>) -> H,
    endpoint: impl Fn(AddressRef<'a>) -> E,
) -> Option<(Vec<H>, Vec<E>)> {
    let (mut hosts, mut endpoints) = (None, None);
    let mut cursor = Cursor::new(text);
    cursor.pass(b'{')?;
    loop {
        match cursor.name()? {
            "hosts" if hosts.is_none() => hosts = Some(cursor.texts(|text| HostRef::parse(text).ok().map(&host))?),
            "endpoints" if endpoints.is_none() => {
                endpoints = Some(cursor.texts(|text| AddressRef::parse(text).map(&endpoint))?);
            }
            _ => return None,
        }
        if !cursor.passes(b',') {
            break;
        }
    }
    cursor.pass(b'}')?;
    cursor.space();
    let whole = cursor.rest().is_empty();
    Some((hosts.filter(|hosts: &Vec<H>| !hosts.is_empty() && whole)?, endpoints?))
}

/// Whether no two items have the same key.
fn differ<T, K: Ord>(items: &[T], key: impl Fn(&T) -> &K) -> bool {
    if items.len() > SHORT {
        return repeated(items.iter().map(key)).is_none();
    }
    let mut rest = items;
    while let Some((first, others)) = rest.split_first() {
        if others.iter().any(|other| key(other) == key(first)) {
            return false;
        }
        rest = others;
    }
    true
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::document::parse_any;

    /// What the fast reader takes the general one reads the same.
    fn agrees(text: &[u8]) -> bool {
        let Some(simple) = Simple::read(text) else {
            assert_eq!(spec(text), None);
            return false;
        };
        let general = parse_any(text).expect("what is simple is valid");
        assert_eq!(spec(text).as_ref(), Some(&general), "{}", text.escape_ascii());
        assert_eq!(simple.hosts, general.hosts.iter().map(HostRef::of).collect::<Vec<_>>());
        assert_eq!(simple.endpoint_count(), general.endpoint_count());
        true
    }

    #[test]
    fn documents_of_the_short_form_are_read_in_either_order_and_with_white_space() {
        let many: Vec<_> = (0..20).map(|n| format!("\"10.0.0.{n}:80\"")).collect();
        let texts = [
            r#"{"hosts":["a.example"],"endpoints":[]}"#.to_owned(),
            r#"{"endpoints":["unix:/a","[::1]:80"],"hosts":["a.example","*.a.example"]}"#.to_owned(),
            " {\t\"hosts\" : [ \"a.example\" ] ,\r\n\"endpoints\" : [ ] }\n".to_owned(),
            format!(r#"{{"hosts":["a.example"],"endpoints":[{}]}}"#, many.join(",")),
        ];
        assert!(texts.iter().all(|text| agrees(text.as_bytes())));
    }

    #[test]
    fn whatever_else_it_is_is_left_to_the_general_reader() {
        let twice: Vec<_> = (0..20).map(|n| format!("\"h{}.example\"", n % 19)).collect();
        let texts = [
            "",
            "{}",
            r#"{"hosts":["a.example"]}"#,
            r#"{"endpoints":[]}"#,
            r#"{"hosts":[],"endpoints":[]}"#,
            r#"{"hosts":["A.example"],"endpoints":[]}"#,
            r#"{"hosts":["a.example"],"endpoints":["shop:80"]}"#,
            r#"{"hosts":["a.example","a.example"],"endpoints":[]}"#,
            r#"{"hosts":["a.example"],"endpoints":["[::1]:80","[0::1]:80"]}"#,
            r#"{"hosts":["a.example"],"endpoints":[],"hosts":["b.example"]}"#,
            r#"{"hosts":["a.example"],"endpoints":[],"error_pages":{}}"#,
            r#"{"hosts":["a.example"],"endpoints":[{"address":"10.0.0.1:80"}]}"#,
            r#"{"hosts":["\u0061.example"],"endpoints":[]}"#,
            r#"{"hosts":["a.example"],"endpoints":[],}"#,
            r#"{"hosts":["a.example"],"endpoints":[]} {}"#,
            &format!(r#"{{"hosts":[{}],"endpoints":[]}}"#, twice.join(",")),
        ];
        for text in texts {
            assert!(Simple::read(text.as_bytes()).is_none(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_it_takes_of_mutated_documents_is_valid_and_the_same(
            hosts in prop::collection::vec("(\\*\\.)?[a-c]{1,2}(\\.[a-b-])?", 0..4),
            endpoints in prop::collection::vec("10\\.0\\.0\\.[1-3]:[0-9]{1,2}|unix:/[ab]|\\[::[0-1]\\]:1", 0..4),
            turned in any::<bool>(),
            changes in prop::collection::vec((any::<prop::sample::Index>(), ".|[\"\\\\{}\\[\\],: ]"), 0..3),
        ) {
            let lists = [("hosts", hosts), ("endpoints", endpoints)].map(|(name, items)| {
                format!("{name:?}:{items:?}")
            });
            let [first, second] = if turned { [&lists[1], &lists[0]] } else { [&lists[0], &lists[1]] };
            let mut text = format!("{{{first},{second}}}").into_bytes();
            agrees(&text);
            for (at, with) in changes {
                let at = at.index(text.len());
                text.splice(at..=at, with.into_bytes());
            }
            agrees(&text);
        }
    }
}
