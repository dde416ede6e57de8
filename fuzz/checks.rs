//! What must hold of any bytes: one function for each target. It panics where that does not hold, and says whether the
//! bytes were valid: without that, a reader that refuses everything would pass.
//!
//! Included by the fuzz targets, and by tests/fuzz, which runs all of [`TARGETS`] with every test run.

#[path = "stored.rs"]
mod stored;

use std::collections::{BTreeMap, HashSet};

use bytes::Bytes;
use routing_cache::{
    limits::Limits,
    model::{AppId, AppRecord, Digest, Epoch, Generation, HostRef, Record, Rev, app_digest},
    wire::{
        Changes, ChangesPage, GatheredChanges, Incoming, SnapshotCandidate, SnapshotDecoder, WireError, compile,
        encode::{self, ChangesHead},
        parse_changes, parse_document,
    },
};
use serde_json::value::RawValue;

/// Takes any bytes; true where they were valid.
pub type Check = fn(&[u8]) -> bool;

/// All targets by name: each has a corpus, and a file in fuzz_targets.
pub const TARGETS: [(&str, Check); 6] = [
    ("document", document),
    ("snapshot_body", snapshot_body),
    ("changes", changes),
    ("record", record),
    ("snapshot_file", snapshot_file),
    ("journal", journal),
];

/// Low enough for mutations of small inputs to meet each of them.
const LIMITS: Limits = Limits { app_bytes: 300, changes_bytes: 2000, snapshot_bytes: 3000, snapshot_apps: 6 };

/// The longest error that may travel in acks and logs, in bytes. A path of fields may hold a few quoted names.
const MAX_ERROR_BYTES: usize = 4096;

/// An app document.
pub fn document(bytes: &[u8]) -> bool {
    let read = parse_document(bytes);
    // With an escape in a name it means the same, and only the general reader takes it.
    let general = parse_document(&replaced(bytes, b"\"hosts\"", b"\"h\\u006fsts\""));
    assert_eq!(read.clone().ok(), general.ok(), "the fast reader and the general one differ");
    let limits = Limits::default();
    let incoming = Incoming::read(id("app"), Rev(7), bytes, &limits);
    assert_eq!((incoming.digest, incoming.bytes), (app_digest("app", Rev(7), bytes), bytes.len()));
    if bytes.len() as u64 > limits.app_bytes {
        assert!(incoming.app.is_err(), "over its limit");
        return false;
    }
    let (spec, app) = match (read, incoming.app) {
        (Ok(spec), Ok(app)) => (spec, app),
        (Err(error), Err(other)) => {
            assert_eq!(error, other);
            assert!(error.to_string().len() <= MAX_ERROR_BYTES, "{error}");
            return false;
        }
        (spec, app) => panic!("{spec:?} and {app:?}"),
    };
    let mut hosts: Vec<HostRef<'_>> = spec.hosts.iter().map(HostRef::of).collect();
    hosts.sort_unstable();
    hosts.dedup();
    assert!(!hosts.is_empty() && hosts.len() == spec.hosts.len(), "no host, or one twice");
    let record = app.get();
    assert_eq!(record.hosts().collect::<Vec<_>>(), hosts);
    assert!(hosts.iter().all(|host| record.claims(*host)), "a host that is not found");
    assert_eq!((record.id(), record.rev(), record.document()), ("app", Rev(7), bytes));
    assert_eq!((record.endpoints() as usize, record.digest()), (spec.endpoint_count(), incoming.digest));
    assert_eq!(compile(record).expect("what was valid once").spec, spec);
    true
}

/// The body of GET /v1/snapshot: as it is, and with a beginning and an end that fit its lines.
pub fn snapshot_body(bytes: &[u8]) -> bool {
    one_snapshot(&mended(bytes));
    one_snapshot(bytes)
}

/// The lines of `bytes` between its first and its last as they are, with a count and a digest that fit.
fn mended(bytes: &[u8]) -> Vec<u8> {
    let mut lines: Vec<&[u8]> = bytes.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()).collect();
    if lines.len() >= 2 {
        lines = lines.drain(1..lines.len() - 1).collect();
    }
    let numbers: Vec<Digest> = lines.iter().filter_map(|line| number_of(line)).collect();
    let epoch = Epoch::new("e").expect("an epoch");
    let mut out = encode::snapshot_begin(&epoch, Generation(7), true, numbers.len() as u64);
    for line in lines {
        out.extend_from_slice(line);
        out.push(b'\n');
    }
    out.extend(encode::snapshot_end(
        numbers.len() as u64,
        numbers.iter().copied().fold(Digest::default(), Digest::plus),
    ));
    out
}

/// The number of the app of a line, where it is one.
fn number_of(line: &[u8]) -> Option<Digest> {
    let members: BTreeMap<String, Box<RawValue>> = serde_json::from_slice(line).ok()?;
    let id: String = serde_json::from_str(members.get("app")?.get()).ok()?;
    let rev = serde_json::from_str(members.get("rev")?.get()).ok()?;
    Some(app_digest(&id, Rev(rev), members.get("spec")?.get().as_bytes()))
}

fn one_snapshot(bytes: &[u8]) -> bool {
    let whole = decode(bytes, bytes.len().max(1));
    same_snapshot(&whole, &decode(bytes, 7), "cut");
    // With a field that is not known in front it means the same, and only the general reader takes it.
    let general = replaced(bytes, b"{\"app\":", b"{\"later\":0,\"app\":");
    if general.len() as u64 <= LIMITS.snapshot_bytes {
        let general = decode(&general, general.len().max(1));
        if general.is_ok() || !bytes.contains(&b'\\') {
            same_snapshot(&whole, &general, "general");
        }
    }
    let Ok(candidate) = whole else { return false };
    let apps = &candidate.apps;
    assert!(candidate.bytes == bytes.len() as u64 && candidate.bytes <= LIMITS.snapshot_bytes, "over its limit");
    assert!(apps.len() as u64 <= LIMITS.snapshot_apps && apps.len() == apps.valid() + apps.invalid().len());
    let digests = apps.records().map(Record::digest).chain(apps.invalid().iter().map(|app| app.digest));
    assert_eq!(digests.fold(Digest::default(), Digest::plus), candidate.digest);
    assert!(apps.records().all(|app| app.document().len() as u64 <= LIMITS.app_bytes), "an app over its limit");
    for app in apps.records() {
        assert!(apps.get(app.id()).is_some_and(|found| found == app) && apps.contains(app.id()));
        compile(app).expect("it was valid");
    }
    assert!(apps.invalid().iter().all(|app| apps.get_invalid(app.id.as_str()).is_some()));
    if apps.invalid().is_empty() {
        written_snapshot(&candidate);
    }
    true
}

fn decode(bytes: &[u8], piece: usize) -> Result<SnapshotCandidate, WireError> {
    let mut decoder = SnapshotDecoder::new(LIMITS);
    for piece in bytes.chunks(piece) {
        decoder.push(piece)?;
    }
    decoder.finish()
}

/// Over which limit it is may differ: with another length another one is met first.
fn same_snapshot(a: &Result<SnapshotCandidate, WireError>, b: &Result<SnapshotCandidate, WireError>, how: &str) {
    let (a, b) = match (a, b) {
        (Ok(a), Ok(b)) => (a, b),
        (Err(WireError::TooLarge { .. }), Err(_)) | (_, Err(WireError::TooLarge { .. })) => return,
        (Err(a), Err(b)) => {
            assert!(a.label() == b.label() && a.to_string().len() <= MAX_ERROR_BYTES, "{how}: {a} and {b}");
            return;
        }
        (a, b) => panic!("{how}: {a:?} and {b:?}"),
    };
    assert_eq!((&a.epoch, a.generation, a.ready, &a.shrink_ok), (&b.epoch, b.generation, b.ready, &b.shrink_ok));
    assert_eq!(a.digest, b.digest, "{how}");
    assert!(a.apps.records().eq(b.apps.records()), "{how}");
    let invalid = |candidate: &SnapshotCandidate| -> Vec<_> {
        candidate.apps.invalid().iter().map(|app| (app.id.clone(), app.rev, app.error.clone())).collect()
    };
    assert_eq!(invalid(a), invalid(b), "{how}");
}

fn written_snapshot(candidate: &SnapshotCandidate) {
    let SnapshotCandidate { epoch, generation, ready, shrink_ok, apps, .. } = candidate;
    let mut out = encode::snapshot_begin_shrunk(epoch, *generation, *ready, apps.len() as u64, shrink_ok.as_ref());
    for app in apps.records() {
        encode::snapshot_app(&mut out, app.id(), app.rev(), app.document());
    }
    out.extend(encode::snapshot_end(apps.len() as u64, candidate.digest));
    let mut decoder = SnapshotDecoder::new(Limits::default());
    decoder.push(&out).expect("what was written is read");
    same_snapshot(&Ok(decoder.finish().expect("what was written is read")), &decode_again(candidate), "written");
}

/// The candidate again: it cannot be cloned, and its parts can be read anew.
fn decode_again(candidate: &SnapshotCandidate) -> Result<SnapshotCandidate, WireError> {
    let mut apps = routing_cache::wire::Batch::default();
    for app in candidate.apps.records() {
        apps.read(&app.app_id(), app.rev(), app.document(), &LIMITS)?;
    }
    Ok(SnapshotCandidate {
        epoch: candidate.epoch.clone(),
        generation: candidate.generation,
        ready: candidate.ready,
        shrink_ok: candidate.shrink_ok.clone(),
        digest: apps.digest(),
        bytes: candidate.bytes,
        partial: None,
        apps,
    })
}

/// The body of GET /v1/changes.
pub fn changes(bytes: &[u8]) -> bool {
    let page = match parse_changes(Bytes::copy_from_slice(bytes), &LIMITS) {
        Ok(page) => page,
        Err(error) => {
            assert!(error.to_string().len() <= MAX_ERROR_BYTES, "{error}");
            return false;
        }
    };
    assert!(bytes.len() as u64 <= LIMITS.changes_bytes && page.from <= page.to);
    let ids: Vec<_> = page.upserts.iter().map(|app| &app.id).chain(page.deletes.iter().map(|(id, _)| id)).collect();
    assert_eq!(ids.iter().collect::<HashSet<_>>().len(), ids.len(), "an app is there twice");
    for app in page.upserts.iter().filter_map(|upsert| upsert.app.as_ref().ok()) {
        assert!(app.get().document().len() as u64 <= LIMITS.app_bytes, "an app over its limit");
    }
    let written = written_page(&page);
    same_changes(&Changes::from_page(page), written);
    true
}

/// What is valid of the page, written and read three times: as it is, and gathered with what follows on it.
fn written_page(page: &ChangesPage) -> [ChangesPage; 3] {
    [(page.from, page.to), (page.to, page.to), (page.to, page.to)].map(|(from, to)| {
        let ChangesPage { epoch, ready, more, apps, digest, shrink_ok, .. } = page;
        let (ready, more, apps, digest, shrink_ok) = (*ready, *more, *apps, *digest, shrink_ok.as_ref());
        let head = ChangesHead { epoch, from, to, ready, more, apps, digest, shrink_ok };
        let valid = page.upserts.iter().filter_map(|upsert| Some((upsert, upsert.app.as_ref().ok()?)));
        let upserts = valid.map(|(upsert, app)| (&upsert.id, upsert.rev, app.get().document()));
        let body = Bytes::from(encode::changes(&head, upserts, &page.deletes));
        parse_changes(body, &Limits::default()).expect("what was written is read")
    })
}

fn same_changes(changes: &Changes, [page, again, once_more]: [ChangesPage; 3]) {
    let mut gathered = GatheredChanges::from_page(page);
    for page in [again, once_more] {
        gathered.append(page, &Limits::default()).expect("it follows");
    }
    let gathered = gathered.finish();
    let valid = |changes: &Changes| {
        let apps = changes.upserts.iter().filter(|upsert| upsert.app.is_ok());
        let mut valid: Vec<_> = apps.map(|upsert| (upsert.id.clone(), upsert.rev, upsert.digest)).collect();
        valid.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        valid
    };
    assert_eq!(valid(changes), valid(&gathered));
    assert_eq!(gathered.upserts.len(), valid(changes).len());
    let deletes = |changes: &Changes| changes.deletes.iter().cloned().collect::<HashSet<_>>();
    assert_eq!((deletes(changes), changes.deletes.len()), (deletes(&gathered), gathered.deletes.len()));
    assert_eq!((&changes.epoch, changes.from, changes.to), (&gathered.epoch, gathered.from, gathered.to));
    assert_eq!(
        (changes.ready, changes.digest, &changes.shrink_ok),
        (gathered.ready, gathered.digest, &gathered.shrink_ok)
    );
}

/// Memory in which a record is said to begin. Bytes that no checksum has seen are never read as one; this is for those
/// that have been damaged all the same: they read as something, and nothing panics.
pub fn record(bytes: &[u8]) -> bool {
    for offset in [1, 4, bytes.len(), usize::MAX] {
        one_record(bytes, offset);
    }
    one_record(bytes, 0)
}

fn one_record(bytes: &[u8], offset: usize) -> bool {
    let Some(record) = Record::at(bytes, offset) else { return false };
    let length = record.as_bytes().len();
    assert!(record.as_bytes() == &bytes[offset..offset + length]);
    assert!(record.document().len() + record.id().len() <= length, "{record:?}");
    assert_eq!(record.hosts().count(), record.host_count());
    for host in record.hosts().take(100) {
        assert!(host.name.len() <= 255 && host.to_string().ends_with(host.name));
        let _ = record.claims(host);
    }
    let copy = AppRecord::copy_of(record);
    assert_eq!(copy.get(), record);
    assert_eq!(copy.get().digest(), app_digest(record.id(), record.rev(), record.document()));
    let _ = (record.app_id(), record.endpoints());
    compile(record).is_ok()
}

/// A snapshot as it is in the state folder.
pub fn snapshot_file(bytes: &[u8]) -> bool {
    stored::snapshot_file(bytes)
}

/// A segment of the journal, or the payload of one change.
pub fn journal(bytes: &[u8]) -> bool {
    stored::journal(bytes)
}

fn id(text: &str) -> AppId {
    AppId::new(text).expect("a good id")
}

/// `bytes` with every `from` as `to`.
fn replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let (mut out, mut rest) = (Vec::with_capacity(bytes.len() + to.len()), bytes);
    while let Some(at) = rest.windows(from.len()).position(|window| window == from) {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(to);
        rest = &rest[at + from.len()..];
    }
    out.extend_from_slice(rest);
    out
}
