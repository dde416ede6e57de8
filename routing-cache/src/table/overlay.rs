//! What differs from the base: apps that have changed, and the hosts that they and their versions of the base claim.
//!
//! Invariant: where an app of the base has changed, each host it has there is an entry here. So an entry here decides, and
//! where there is none the base is right.

use crate::model::{AppRecord, HostRef, Record};

use super::{base::Base, shards::Shards};

/// See the module. Cloning it is cheap; a change copies the parts it changes.
#[derive(Clone, Default)]
pub(super) struct Overlay {
    apps: Shards<Entry>,
    exact: Shards<Entry>,
    wildcard: Shards<Entry>,
}

/// An app, or a host that is claimed.
#[derive(Clone)]
struct Entry {
    hash: u64,
    now: Now,
    /// Which host of the record; of no meaning for an app.
    host: u16,
}

/// What has become of an app or of a host.
#[derive(Clone, Debug)]
pub(super) enum Now {
    /// It is this record, or this record's.
    Put(AppRecord),
    /// It is no more, or nobody's; it was that of the base at this place.
    Gone(u32),
}

impl Now {
    /// Whether both are the same, of one base.
    pub(super) fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Put(one), Self::Put(other)) => one.is(other),
            _ => false,
        }
    }

    /// The record it is, or was.
    pub(super) fn record<'a>(&'a self, base: &'a Base) -> Option<Record<'a>> {
        match self {
            Self::Put(record) => Some(record.get()),
            Self::Gone(place) => base.record(*place),
        }
    }
}

impl Entry {
    fn record<'a>(&'a self, base: &'a Base) -> Option<Record<'a>> {
        self.now.record(base)
    }

    fn is_app(&self, hash: u64, id: &[u8], base: &Base) -> bool {
        self.hash == hash && self.record(base).is_some_and(|record| record.id_bytes() == id)
    }

    fn is_host(&self, hash: u64, name: &[u8], base: &Base) -> bool {
        let named = |record: Record<'_>| record.host_name(self.host.into()).0 == name;
        self.hash == hash && self.record(base).is_some_and(named)
    }
}

impl Overlay {
    /// Apps that have changed.
    pub(super) fn len(&self) -> usize {
        self.apps.len()
    }

    /// What has become of the app of this id; `None` where the base is right.
    pub(super) fn app(&self, hash: u64, id: &[u8], base: &Base) -> Option<&Now> {
        self.apps.find(hash, |entry| entry.is_app(hash, id, base)).map(|entry| &entry.now)
    }

    /// What has become of this host; `None` where the base is right.
    pub(super) fn host(&self, hash: u64, host: HostRef<'_>, base: &Base) -> Option<&Now> {
        let name = host.name.as_bytes();
        self.hosts(host.wildcard).find(hash, |entry| entry.is_host(hash, name, base)).map(|entry| &entry.now)
    }

    /// Everything that has become of apps from a leaf on, each with the number of its leaf, in an order that stays while
    /// nothing changes.
    pub(super) fn apps_from(&self, leaf: usize) -> impl Iterator<Item = (usize, &Now)> {
        self.apps.iter_from(leaf).map(|(leaf, entry)| (leaf, &entry.now))
    }

    /// Puts an app in. Its hosts are another matter.
    pub(super) fn put_app(&mut self, hash: u64, app: &AppRecord, base: &Base) {
        let id = app.get().id_bytes();
        let entry = Entry { hash, now: Now::Put(app.clone()), host: 0 };
        self.apps.replace(hash, entry, |there| there.is_app(hash, id, base), |entry| entry.hash);
    }

    /// Takes an app out. Its hosts are another matter.
    pub(super) fn remove_app(&mut self, hash: u64, id: &[u8], base: &Base) {
        match base.app(hash, id) {
            Some((place, _)) => {
                let entry = Entry { hash, now: Now::Gone(place), host: 0 };
                self.apps.replace(hash, entry, |there| there.is_app(hash, id, base), |entry| entry.hash);
            }
            None => drop(self.apps.remove(hash, |entry| entry.is_app(hash, id, base))),
        }
    }

    /// Gives all its hosts to an app.
    pub(super) fn claim(&mut self, app: &AppRecord, base: &Base) {
        for (number, (name, wildcard)) in (0..).zip(app.get().host_names()) {
            let hash = base.hash().of(name);
            let entry = Entry { hash, now: Now::Put(app.clone()), host: number };
            self.hosts_mut(wildcard).replace(hash, entry, |there| there.is_host(hash, name, base), |entry| entry.hash);
        }
    }

    /// Frees a host.
    pub(super) fn release(&mut self, host: HostRef<'_>, base: &Base) {
        let name = host.name.as_bytes();
        let hash = base.hash().of(name);
        let of_base = base.owner(hash, host).and_then(|(place, record)| Some((place, record.position(host)?)));
        match of_base.and_then(|(place, number)| Some((place, u16::try_from(number).ok()?))) {
            Some((place, number)) => {
                let entry = Entry { hash, now: Now::Gone(place), host: number };
                let equals = |there: &Entry| there.is_host(hash, name, base);
                self.hosts_mut(host.wildcard).replace(hash, entry, equals, |entry| entry.hash);
            }
            None => drop(self.hosts_mut(host.wildcard).remove(hash, |entry| entry.is_host(hash, name, base))),
        }
    }

    fn hosts(&self, wildcard: bool) -> &Shards<Entry> {
        if wildcard { &self.wildcard } else { &self.exact }
    }

    fn hosts_mut(&mut self, wildcard: bool) -> &mut Shards<Entry> {
        if wildcard { &mut self.wildcard } else { &mut self.exact }
    }
}

#[cfg(test)]
impl Overlay {
    /// How many leaves of apps and of hosts are the same memory in both.
    pub(super) fn shared_leaves(&self, other: &Self) -> [usize; 2] {
        [self.apps.shared_leaves(&other.apps), self.exact.shared_leaves(&other.exact)]
    }

    pub(super) fn largest_leaves(&self) -> [usize; 2] {
        [self.apps.largest_leaf(), self.exact.largest_leaf()]
    }
}
