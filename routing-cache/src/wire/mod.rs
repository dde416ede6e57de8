//! Orchestrator answers and app documents -> candidates, streaming; the digest; and the other way round.
//!
//! Owns the names and numbers of spec/orchestrator-api.md and spec/app-document.md. Everything here is a function of its
//! bytes and of [`Limits`]: nothing is asked of the live table, and nothing is decided about it. An answer is taken whole
//! or not at all ([`WireError`]); within one, a document that is not valid spoils its own app alone ([`DocumentError`]).
//! Input never panics, and never costs more memory than the limits allow.

mod batch;
mod changes;
mod cursor;
mod document;
pub mod encode;
mod error;
mod lines;
mod plain;
mod raw;
mod snapshot;
#[cfg(test)]
mod tests;

use bytes::Bytes;

pub use batch::{Batch, Duplicate, InvalidApp};
pub use changes::{Changes, ChangesPage, GatheredChanges, parse_changes};
pub use document::{DocumentError, parse_document};
pub use error::WireError;
pub use snapshot::{SnapshotCandidate, SnapshotDecoder};

use document::Simple;

use crate::{
    limits::{LimitName, Limits},
    model::{
        App, AppId, AppRecord, Digest, Epoch, Generation, HostPattern, HostRef, Record, RecordParts, RecordTooLarge,
        Rev, app_digest,
    },
};

/// One app of an answer: its identity is known even where its document is invalid.
#[derive(Clone, Debug)]
pub struct Incoming {
    /// Its name.
    pub id: AppId,
    /// The document's number.
    pub rev: Rev,
    /// Its number in the table's digest.
    pub digest: Digest,
    /// Size of the document in bytes.
    pub bytes: usize,
    /// The app, or why its document is invalid (too large counts).
    pub app: Result<AppRecord, DocumentError>,
}

impl Incoming {
    /// Reads an app's document. The bytes are copied, so that an app that stays does not keep a whole answer.
    #[must_use]
    pub fn read(id: AppId, rev: Rev, document: &[u8], limits: &Limits) -> Self {
        let digest = app_digest(id.as_str(), rev, document);
        let app = read_record(id.as_str(), rev, document, limits);
        Self { id, rev, digest, bytes: document.len(), app }
    }
}

fn read_record(id: &str, rev: Rev, document: &[u8], limits: &Limits) -> Result<AppRecord, DocumentError> {
    // Room for what stands around a document with a few hosts.
    let mut record = Vec::with_capacity(document.len() + id.len() + 64);
    write_record(&mut record, id, rev, document, limits)?;
    Record::at(&record, 0).map(AppRecord::copy_of).ok_or_else(|| too_large(RecordTooLarge))
}

/// Appends the record of an app to `out`, which is left as it was where the document is not valid.
fn write_record(out: &mut Vec<u8>, id: &str, rev: Rev, document: &[u8], limits: &Limits) -> Result<(), DocumentError> {
    check_size(document, limits)?;
    if let Some(simple) = Simple::read(document) {
        return write_simple(out, id, rev, document, &simple);
    }
    let spec = document::parse_any(document)?;
    let hosts = hosts_in(document, &spec.hosts);
    let endpoints = u32::try_from(spec.endpoint_count()).unwrap_or(u32::MAX);
    RecordParts { id, rev, document, endpoints, hosts: &hosts }.write(out).map(drop).map_err(too_large)
}

/// [`write_record`] of a document that was read, and is not over its limit.
fn write_simple(
    out: &mut Vec<u8>,
    id: &str,
    rev: Rev,
    document: &[u8],
    simple: &Simple<'_>,
) -> Result<(), DocumentError> {
    let endpoints = u32::try_from(simple.endpoint_count()).unwrap_or(u32::MAX);
    RecordParts { id, rev, document, endpoints, hosts: &simple.hosts }.write(out).map(drop).map_err(too_large)
}

/// The hosts, with their names as slices of the document where they stand in it as they are: those take no room in a
/// record. They are looked for in their order, and not any more after one was not found, so that it takes linear time.
fn hosts_in<'a>(document: &'a [u8], hosts: &'a [HostPattern]) -> Vec<HostRef<'a>> {
    let mut rest = document;
    let place = |host: &'a HostPattern| {
        let host = host.as_ref();
        let Some(at) = memchr::memmem::find(rest, host.name.as_bytes()) else {
            rest = &[];
            return host;
        };
        let (name, after) = rest
            .split_at_checked(at)
            .and_then(|(_, found)| found.split_at_checked(host.name.len()))
            .unwrap_or_default();
        rest = after;
        HostRef { name: std::str::from_utf8(name).unwrap_or(host.name), ..host }
    };
    hosts.iter().map(place).collect()
}

fn too_large(error: RecordTooLarge) -> DocumentError {
    DocumentError::new(error.to_string())
}

/// The app of a record, ready for requests.
///
/// # Errors
/// When this version does not understand the document; the one that made the record did.
pub fn compile(record: Record<'_>) -> Result<App, DocumentError> {
    let (id, rev, document) = (record.app_id(), record.rev(), Bytes::copy_from_slice(record.document()));
    Ok(App { spec: parse_document(&document)?, id, rev, document })
}

fn check_size(document: &[u8], limits: &Limits) -> Result<(), DocumentError> {
    let length = u64::try_from(document.len()).unwrap_or(u64::MAX);
    if length > limits.app_bytes {
        let (name, allowed) = (LimitName::AppBytes, limits.app_bytes);
        return Err(DocumentError::new(format!("is {length} bytes long, the limit {name} is {allowed}")));
    }
    Ok(())
}

/// The orchestrator's word that a shrink to so many apps is meant: who says so, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShrinkOk {
    /// How many apps there are to be.
    pub to_apps: u64,
    /// Who says so.
    pub by: String,
    /// Why.
    pub why: String,
}

/// The answer to GET /v1/state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateAnswer {
    /// The epoch of the table.
    pub epoch: Epoch,
    /// The table's number.
    pub generation: Generation,
    /// Whether all of the storage has been loaded.
    pub ready: bool,
    /// Why not, in the orchestrator's words.
    pub reason: Option<String>,
    /// Apps in the table.
    pub apps: u64,
    /// The table's digest.
    pub digest: Digest,
    /// The size of a snapshot in bytes; 0 when it is not given.
    pub bytes: u64,
}

/// Reads the answer to GET /v1/state.
///
/// # Errors
/// When it cannot be understood. [`WireError::NotReady`] where it says `ready:false` and lacks the rest, which counts as
/// not ready like an answer that has it all.
pub fn parse_state(body: &[u8]) -> Result<StateAnswer, WireError> {
    StateAnswer::try_from(raw::read_answer::<raw::State<'_>>(body)?)
}
