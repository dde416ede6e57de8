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

/// A document of the short form.
#[derive(Debug)]
pub(in crate::wire) struct Simple<'a> {
    /// Slices of the document, in its order.
    pub(in crate::wire) hosts: Vec<HostRef<'a>>,
    endpoints: Vec<AddressRef<'a>>,
}

impl<'a> Simple<'a> {
    /// The document that `text` is.
    pub(in crate::wire) fn read(text: &'a [u8]) -> Option<Self> {
        let mut cursor = Cursor::new(text);
        let simple = Self::begins(&mut cursor)?;
        cursor.space();
        cursor.rest().is_empty().then_some(simple)
    }

    /// The document that comes next.
    pub(in crate::wire) fn begins(cursor: &mut Cursor<'a>) -> Option<Self> {
        let (mut hosts, mut endpoints) = (None, None);
        cursor.pass(b'{')?;
        loop {
            match cursor.name()? {
                "hosts" if hosts.is_none() => hosts = Some(cursor.texts(|text| HostRef::parse(text).ok())?),
                "endpoints" if endpoints.is_none() => endpoints = Some(cursor.texts(AddressRef::parse)?),
                _ => return None,
            }
            if !cursor.passes(b',') {
                break;
            }
        }
        cursor.pass(b'}')?;
        let simple = Self { hosts: hosts?, endpoints: endpoints? };
        let valid = !simple.hosts.is_empty() && differ(&simple.hosts) && differ(&simple.endpoints);
        valid.then_some(simple)
    }

    /// The number of its endpoints.
    pub(in crate::wire) fn endpoint_count(&self) -> usize {
        self.endpoints.len()
    }

    /// All of it, ready for requests.
    pub(super) fn spec(&self) -> AppSpec {
        let endpoint = |address: &AddressRef<'_>| Endpoint {
            address: address.to_address(),
            weight: upstreams::DEFAULT_WEIGHT,
            instance: None,
        };
        AppSpec {
            hosts: self.hosts.iter().map(|host| host.to_pattern()).collect(),
            routes: vec![routes::of_short_form()],
            upstreams: vec![upstreams::of_short_form(self.endpoints.iter().map(endpoint).collect())],
            error_pages: ErrorPages::default(),
        }
    }
}

/// Whether no item is there twice.
fn differ<T: Ord>(items: &[T]) -> bool {
    if items.len() > SHORT {
        return repeated(items.iter()).is_none();
    }
    let mut rest = items;
    while let Some((first, others)) = rest.split_first() {
        if others.contains(first) {
            return false;
        }
        rest = others;
    }
    true
}
