//! One app as bytes: what a table holds a million of, and what is written to disk as it is.
//!
//! A record is the app's id, rev and document, with the hosts found in it, so that a request finds its app without the
//! document being read; [`crate::wire::compile`] makes an [`super::App`] of it when one is needed. It holds only documents
//! that were valid when it was made.
//!
//! Layout, little-endian, without gaps:
//!
//! | bytes | |
//! |---|---|
//! | 4 | length of the whole record, a multiple of 4 |
//! | 8 | rev |
//! | 4 | length of the document |
//! | 4 | endpoints |
//! | 2 | hosts |
//! | 1 | length of the id |
//! | 5 each | hosts, sorted by name, exact before wildcard: where the name begins in the record (the top bit: a wildcard), its length |
//! | | the id, the document, the names of hosts that do not stand in the document as they are, and up to 3 zeros |
//!
//! So records that are written one after the other begin at multiples of [`Record::ALIGN`] each, and a table's index holds
//! their places in 32 bits.

use std::{borrow::Cow, cmp::Ordering, fmt, sync::Arc};

use sha2::{Digest as _, Sha256};

use super::{AppId, Digest, HostPattern, Rev};

/// Bytes before the hosts.
const HEAD: usize = 4 + 8 + 4 + 4 + 2 + 1;
/// Bytes of one host.
const SPAN: usize = 5;
/// The bit of a span that says that the host is a wildcard.
const WILDCARD: u32 = 1 << 31;

/// A host of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostRef<'a> {
    /// The name, without the `*.` of a wildcard.
    pub name: &'a str,
    /// It stands for every name below.
    pub wildcard: bool,
}

impl<'a> HostRef<'a> {
    /// A pattern, borrowed.
    #[must_use]
    pub fn of(pattern: &'a HostPattern) -> Self {
        match pattern {
            HostPattern::Exact(name) => Self { name, wildcard: false },
            HostPattern::Wildcard(name) => Self { name, wildcard: true },
        }
    }

    /// As a pattern of its own.
    #[must_use]
    pub fn to_pattern(self) -> HostPattern {
        if self.wildcard {
            HostPattern::Wildcard(Arc::from(self.name))
        } else {
            HostPattern::Exact(Arc::from(self.name))
        }
    }
}

impl fmt::Display for HostRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", if self.wildcard { "*." } else { "" }, self.name)
    }
}

/// A record, borrowed.
#[derive(Clone, Copy)]
pub struct Record<'a>(&'a [u8]);

/// A record of its own; cloning it shares the bytes.
#[derive(Clone)]
pub struct AppRecord(Arc<[u8]>);

/// What a record is made of.
#[derive(Clone, Copy, Debug)]
pub struct RecordParts<'a> {
    /// The app's name.
    pub id: &'a str,
    /// The document's number.
    pub rev: Rev,
    /// The document's exact bytes.
    pub document: &'a [u8],
    /// Its endpoints over all upstreams.
    pub endpoints: u32,
    /// Its hosts, in any order, none twice. Names that are slices of `document` take no room of their own.
    pub hosts: &'a [HostRef<'a>],
}

/// A record cannot be made of this: it is over what its numbers hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is too large for a record: an id has at most 255 bytes, an app 65535 hosts and 2 GiB")]
pub struct RecordTooLarge;

impl RecordParts<'_> {
    /// Room for a record whose hosts all stand in its document.
    fn capacity(&self) -> usize {
        HEAD + SPAN * self.hosts.len() + self.id.len() + self.document.len() + Record::ALIGN
    }

    /// Appends the record to `out`, and returns its length.
    ///
    /// # Errors
    /// When a part is too large; then `out` is as it was.
    pub fn write(&self, out: &mut Vec<u8>) -> Result<usize, RecordTooLarge> {
        let start = out.len();
        let written = self.try_write(out);
        if written.is_none() {
            out.truncate(start);
        }
        written.ok_or(RecordTooLarge)
    }

    fn try_write(&self, out: &mut Vec<u8>) -> Option<usize> {
        let start = out.len();
        let hosts = self.sorted_hosts();
        let id_at = HEAD + SPAN * hosts.len();
        let document_at = id_at + self.id.len();
        let mut extra_at = document_at + self.document.len();
        let mut extra = Vec::new();
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&self.rev.0.to_le_bytes());
        out.extend_from_slice(&u32::try_from(self.document.len()).ok()?.to_le_bytes());
        out.extend_from_slice(&self.endpoints.to_le_bytes());
        out.extend_from_slice(&u16::try_from(hosts.len()).ok()?.to_le_bytes());
        out.push(u8::try_from(self.id.len()).ok()?);
        for host in hosts.iter() {
            let at = match offset_within(host.name, self.document) {
                Some(offset) => document_at + offset,
                None => {
                    extra.extend_from_slice(host.name.as_bytes());
                    extra_at += host.name.len();
                    extra_at - host.name.len()
                }
            };
            let at = u32::try_from(at).ok().filter(|at| at & WILDCARD == 0)?;
            out.extend_from_slice(&(at | if host.wildcard { WILDCARD } else { 0 }).to_le_bytes());
            out.push(u8::try_from(host.name.len()).ok()?);
        }
        out.extend_from_slice(self.id.as_bytes());
        out.extend_from_slice(self.document);
        out.extend_from_slice(&extra);
        let length = (out.len() - start).next_multiple_of(Record::ALIGN);
        out.resize(start + length, 0);
        let stored = u32::try_from(length).ok().filter(|length| length & WILDCARD == 0)?;
        out.get_mut(start..start + 4)?.copy_from_slice(&stored.to_le_bytes());
        Some(length)
    }

    fn sorted_hosts(&self) -> Cow<'_, [HostRef<'_>]> {
        if self.hosts.is_sorted() {
            return Cow::Borrowed(self.hosts);
        }
        let mut hosts = self.hosts.to_vec();
        hosts.sort_unstable();
        Cow::Owned(hosts)
    }
}

/// Where in `whole` the slice `part` lies, if it is one of its slices.
fn offset_within(part: &str, whole: &[u8]) -> Option<usize> {
    let offset = (part.as_ptr() as usize).checked_sub(whole.as_ptr() as usize)?;
    (whole.get(offset..offset.checked_add(part.len())?)? == part.as_bytes()).then_some(offset)
}

impl<'a> Record<'a> {
    /// The length of every record is a multiple of this, in bytes.
    pub const ALIGN: usize = 4;

    /// The record that begins at `offset` of `bytes`; `None` where there is no whole one. It looks at the lengths, not at
    /// the content.
    #[must_use]
    pub fn at(bytes: &'a [u8], offset: usize) -> Option<Self> {
        let rest = bytes.get(offset..)?;
        let length = u32::from_le_bytes(*rest.first_chunk()?) as usize;
        let record = Self(rest.get(..length).filter(|_| length >= HEAD && length.is_multiple_of(Record::ALIGN))?);
        let needed = record.document_at().checked_add(record.document_length())?;
        (needed <= length).then_some(record)
    }

    /// The record's own bytes.
    #[must_use]
    pub fn as_bytes(self) -> &'a [u8] {
        self.0
    }

    /// The app's name.
    #[must_use]
    pub fn id(self) -> &'a str {
        text(self.id_bytes())
    }

    /// The app's name, for where it is compared or hashed only.
    pub(crate) fn id_bytes(self) -> &'a [u8] {
        let start = HEAD + SPAN * self.host_count();
        self.slice(start, self.byte(HEAD - 1).into())
    }

    /// The app's name, as a value of its own.
    #[must_use]
    pub fn app_id(self) -> AppId {
        AppId::new(self.id()).unwrap_or_else(|_| AppId::unreadable())
    }

    /// The document's number.
    #[must_use]
    pub fn rev(self) -> Rev {
        Rev(u64::from_le_bytes(self.array(4)))
    }

    /// The document's exact bytes, as sent.
    #[must_use]
    pub fn document(self) -> &'a [u8] {
        let start = self.document_at();
        self.slice(start, self.document_length())
    }

    /// Its number in the table's digest: a SHA-256, computed anew with each call.
    #[must_use]
    pub fn digest(self) -> Digest {
        app_digest(self.id(), self.rev(), self.document())
    }

    /// Its endpoints over all upstreams.
    #[must_use]
    pub fn endpoints(self) -> u32 {
        u32::from_le_bytes(self.array(16))
    }

    /// The number of its hosts.
    #[must_use]
    pub fn host_count(self) -> usize {
        u16::from_le_bytes(self.array(20)).into()
    }

    /// Its hosts, sorted.
    pub fn hosts(self) -> impl Iterator<Item = HostRef<'a>> + Clone {
        (0..self.host_count()).map(move |index| self.host(index))
    }

    /// Its hosts as bytes, sorted, and which are wildcards: for where they are hashed only.
    pub(crate) fn host_names(self) -> impl Iterator<Item = (&'a [u8], bool)> {
        (0..self.host_count()).map(move |index| self.host_name(index))
    }

    /// Whether it claims this host.
    #[must_use]
    pub fn claims(self, host: HostRef<'_>) -> bool {
        self.position(host).is_some()
    }

    /// Which of its hosts this is. Binary search: an app may have thousands.
    pub(crate) fn position(self, host: HostRef<'_>) -> Option<usize> {
        let wanted = (host.name.as_bytes(), host.wildcard);
        let (mut low, mut high) = (0, self.host_count());
        while low < high {
            let middle = low.midpoint(high);
            match self.host_name(middle).cmp(&wanted) {
                Ordering::Equal => return Some(middle),
                Ordering::Less => low = middle + 1,
                Ordering::Greater => high = middle,
            }
        }
        None
    }

    fn host(self, index: usize) -> HostRef<'a> {
        let (name, wildcard) = self.host_name(index);
        HostRef { name: text(name), wildcard }
    }

    /// The name of the host of this number, which is below the count, and whether it is a wildcard.
    pub(crate) fn host_name(self, index: usize) -> (&'a [u8], bool) {
        let start = HEAD + SPAN * index;
        let at = u32::from_le_bytes(self.array(start));
        (self.slice((at & !WILDCARD) as usize, self.byte(start + 4).into()), at & WILDCARD != 0)
    }

    fn document_at(self) -> usize {
        HEAD + SPAN * self.host_count() + usize::from(self.byte(HEAD - 1))
    }

    fn document_length(self) -> usize {
        u32::from_le_bytes(self.array(12)) as usize
    }

    fn byte(self, at: usize) -> u8 {
        self.0.get(at).copied().unwrap_or_default()
    }

    fn array<const N: usize>(self, at: usize) -> [u8; N] {
        self.0.get(at..).and_then(<[u8]>::first_chunk).copied().unwrap_or([0; N])
    }

    fn slice(self, start: usize, length: usize) -> &'a [u8] {
        self.0.get(start..).and_then(|rest| rest.get(..length)).unwrap_or_default()
    }
}

/// A record of ours holds UTF-8 and lengths that fit. One that was damaged past its checksum reads as empty here.
fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or_default()
}

impl PartialEq for Record<'_> {
    /// The same app in the same version.
    fn eq(&self, other: &Self) -> bool {
        self.rev() == other.rev() && self.id_bytes() == other.id_bytes() && self.document() == other.document()
    }
}

impl Eq for Record<'_> {}

impl fmt::Debug for Record<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Record({} rev {}, {} bytes)", self.id(), self.rev(), self.document().len())
    }
}

impl AppRecord {
    /// Makes a record.
    ///
    /// # Errors
    /// When a part is too large.
    pub fn new(parts: &RecordParts<'_>) -> Result<Self, RecordTooLarge> {
        let mut bytes = Vec::with_capacity(parts.capacity());
        parts.write(&mut bytes)?;
        Ok(Self(bytes.into()))
    }

    /// A copy of `record`.
    #[must_use]
    pub fn copy_of(record: Record<'_>) -> Self {
        Self(record.as_bytes().into())
    }

    /// Borrowed.
    #[must_use]
    pub fn get(&self) -> Record<'_> {
        Record(&self.0)
    }

    /// Whether both are the same memory.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl PartialEq for AppRecord {
    fn eq(&self, other: &Self) -> bool {
        self.get() == other.get()
    }
}

impl Eq for AppRecord {}

impl fmt::Debug for AppRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(f)
    }
}

impl HostPattern {
    /// Borrowed.
    #[must_use]
    pub fn as_ref(&self) -> HostRef<'_> {
        HostRef::of(self)
    }
}

/// The number of one app in the table's digest: the first 16 bytes, big-endian, of SHA-256(id, 0, rev as 8 bytes
/// big-endian, 0, the exact bytes of the document). Source: spec/orchestrator-api.md.
#[must_use]
pub fn app_digest(id: &str, rev: Rev, document: &[u8]) -> Digest {
    let mut hash = Sha256::new();
    hash.update(id);
    hash.update([0]);
    hash.update(rev.0.to_be_bytes());
    hash.update([0]);
    hash.update(document);
    let hash: [u8; 32] = hash.finalize().into();
    let first = hash.first_chunk().expect("invariant: 32 bytes have a first half");
    Digest(u128::from_be_bytes(*first))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENT: &str = r#"{"hosts":["b.x","*.a.x"],"endpoints":[]}"#;

    fn host(name: &str, wildcard: bool) -> HostRef<'_> {
        HostRef { name, wildcard }
    }

    fn record(id: &str, hosts: &[HostRef<'_>]) -> AppRecord {
        AppRecord::new(&RecordParts { id, rev: Rev(7), document: DOCUMENT.as_bytes(), endpoints: 3, hosts }).unwrap()
    }

    #[test]
    fn a_record_holds_what_it_is_made_of() {
        let in_document = host(&DOCUMENT[11..14], false);
        let hosts = [host("b.x", true), in_document, host("a.x", true)];
        let made = record("app", &hosts);
        let record = made.get();
        assert_eq!((record.id(), record.rev(), record.endpoints()), ("app", Rev(7), 3));
        assert_eq!(record.document(), DOCUMENT.as_bytes());
        assert_eq!(record.digest(), app_digest("app", Rev(7), DOCUMENT.as_bytes()));
        assert_eq!(record.hosts().map(|host| host.to_string()).collect::<Vec<_>>(), ["*.a.x", "b.x", "*.b.x"]);
        assert!(hosts.iter().all(|host| record.claims(*host)));
        assert!(![host("a.x", false), host("", false), host("c.x", true)].iter().any(|host| record.claims(*host)));
        assert_eq!(AppRecord::copy_of(record), made);
    }

    #[test]
    fn a_name_that_stands_in_the_document_takes_no_room() {
        let [with, without] = [&DOCUMENT[11..14], "b.x"].map(|name| record("app1", &[host(name, false)]));
        assert_eq!(without.get().as_bytes().len(), with.get().as_bytes().len() + 4);
    }

    #[test]
    fn records_one_after_the_other_begin_at_multiples_of_four() {
        let mut bytes = Vec::new();
        let ids = ["a", "ab", "abc", "abcd", "abcde"];
        for id in ids {
            let parts = RecordParts { id, rev: Rev(1), document: b"{}", endpoints: 0, hosts: &[host("x", false)] };
            assert_eq!(bytes.len() % Record::ALIGN, 0);
            assert_eq!(parts.write(&mut bytes).unwrap() % Record::ALIGN, 0);
        }
        let mut at = 0;
        for id in ids {
            let record = Record::at(&bytes, at).unwrap();
            assert_eq!((record.id(), record.document()), (id, b"{}".as_slice()));
            at += record.as_bytes().len();
        }
        assert_eq!(at, bytes.len());
    }

    #[test]
    fn what_is_too_large_for_a_record_leaves_nothing_behind() {
        let mut bytes = vec![1, 2, 3, 4];
        let id = "a".repeat(256);
        let parts = RecordParts { id: &id, rev: Rev(1), document: b"{}", endpoints: 0, hosts: &[] };
        assert_eq!(parts.write(&mut bytes), Err(RecordTooLarge));
        assert_eq!(bytes, [1, 2, 3, 4]);
        let hosts = vec![host("x", false); 65536];
        assert_eq!(AppRecord::new(&RecordParts { id: "a", hosts: &hosts, ..parts }), Err(RecordTooLarge));
    }

    #[test]
    fn a_length_that_cannot_be_leads_to_no_record() {
        let whole = record("app", &[host("b.x", false)]).get().as_bytes().to_vec();
        assert!(Record::at(&whole, 0).is_some());
        let length = whole.len() as u32;
        for wrong in [0, 3, 20, 24, length - 4, length - 1, length + 4, u32::MAX] {
            let mut bytes = whole.clone();
            bytes[..4].copy_from_slice(&wrong.to_le_bytes());
            // One that is shorter by its padding alone is as good.
            assert!(Record::at(&bytes, 0).is_none_or(|record| record.document() == DOCUMENT.as_bytes()), "{wrong}");
        }
        assert!(Record::at(&whole, whole.len()).is_none());
        assert!(Record::at(&whole, usize::MAX).is_none());
    }
}
