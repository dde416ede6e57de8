//! The server's side, for the small orchestrator, for exports and for tests: the same bytes that the readers read.

use std::borrow::Cow;

use serde::{Serialize, de::IgnoredAny};

use super::{ShrinkOk, StateAnswer, raw};
use crate::model::{AppId, Digest, Epoch, Generation, Rev};

/// The body of GET /v1/state.
#[must_use]
pub fn state(state: &StateAnswer) -> Vec<u8> {
    let mut out = Vec::new();
    json(&mut out, &raw::State::from(state));
    out
}

/// `{"begin":...}` and a line's end.
#[must_use]
pub fn snapshot_begin(epoch: &Epoch, generation: Generation, ready: bool, apps: u64) -> Vec<u8> {
    snapshot_begin_shrunk(epoch, generation, ready, apps, None)
}

/// [`snapshot_begin`] with the word that a shrink is meant.
#[must_use]
pub fn snapshot_begin_shrunk(
    epoch: &Epoch,
    generation: Generation,
    ready: bool,
    apps: u64,
    shrink_ok: Option<&ShrinkOk>,
) -> Vec<u8> {
    let mut out = b"{\"begin\":".to_vec();
    let begin = raw::Begin {
        schema: raw::SCHEMA,
        epoch: Cow::Borrowed(epoch.as_str()),
        generation: generation.0,
        ready,
        apps,
        shrink_ok: shrink_ok.map(raw::ShrinkOk::from),
    };
    json(&mut out, &begin);
    out.extend_from_slice(b"}\n");
    out
}

/// `{"app":...,"rev":N,"spec":...}` and a line's end, with the document's exact bytes. They have to be one JSON value
/// without a line's end, which one from a changes answer may hold between its parts: see [`one_line`].
pub fn snapshot_app(out: &mut Vec<u8>, id: &str, rev: Rev, document: &[u8]) {
    debug_assert!(!document.contains(&b'\n'), "a document with a line's end breaks the framing");
    app(out, id, rev, document);
    out.push(b'\n');
}

/// `{"end":...}` and a line's end.
#[must_use]
pub fn snapshot_end(apps: u64, digest: Digest) -> Vec<u8> {
    let mut out = b"{\"end\":".to_vec();
    json(&mut out, &raw::End { apps, digest: Cow::Owned(digest.to_string()) });
    out.extend_from_slice(b"}\n");
    out
}

/// What a page of changes says besides the changes. The fields are those of [`super::ChangesPage`].
#[derive(Clone, Debug, Serialize)]
pub struct ChangesHead<'a> {
    /// The epoch it is of.
    #[serde(serialize_with = "as_text")]
    pub epoch: &'a Epoch,
    /// The generation it follows on.
    #[serde(serialize_with = "as_number")]
    pub from: Generation,
    /// The generation it leads to.
    #[serde(serialize_with = "as_number")]
    pub to: Generation,
    /// Whether the orchestrator is ready.
    pub ready: bool,
    /// Another page follows from `to`.
    pub more: bool,
    /// Apps in the whole table at `to`.
    pub apps: u64,
    /// The digest of the whole table at `to`.
    #[serde(serialize_with = "as_digits")]
    pub digest: Digest,
    /// The word that a shrink is meant.
    #[serde(serialize_with = "as_shrink_ok", skip_serializing_if = "Option::is_none")]
    pub shrink_ok: Option<&'a ShrinkOk>,
}

/// The body of GET /v1/changes, with the documents' exact bytes.
#[must_use]
pub fn changes<'a>(
    head: &ChangesHead<'_>,
    upserts: impl IntoIterator<Item = (&'a AppId, Rev, &'a [u8])>,
    deletes: &[(AppId, Rev)],
) -> Vec<u8> {
    let mut out = Vec::new();
    json(&mut out, head);
    out.pop(); // the brace that closes the head: the lists follow in the same object
    out.extend_from_slice(b",\"upserts\":[");
    for (index, (id, rev, document)) in upserts.into_iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        app(&mut out, id.as_str(), rev, document);
    }
    out.extend_from_slice(b"],\"deletes\":");
    json(&mut out, &deletes.iter().map(raw::Delete::from).collect::<Vec<_>>());
    out.push(b'}');
    out
}

/// A document without the white space between its parts, so that it fits on a line of a snapshot.
///
/// # Errors
/// When it is not one JSON value in UTF-8.
pub fn one_line(document: &[u8]) -> Result<Vec<u8>, serde_json::Error> {
    std::str::from_utf8(document).map_err(serde::de::Error::custom)?;
    serde_json::from_slice::<IgnoredAny>(document)?;
    let (mut in_string, mut escaped) = (false, false);
    let kept = document.iter().copied().filter(|&byte| {
        let keep = in_string || !byte.is_ascii_whitespace();
        let quote = byte == b'"' && !escaped;
        escaped = in_string && byte == b'\\' && !escaped;
        in_string ^= quote;
        keep
    });
    Ok(kept.collect())
}

fn app(out: &mut Vec<u8>, id: &str, rev: Rev, document: &[u8]) {
    out.extend_from_slice(b"{\"app\":");
    json(out, id);
    out.extend_from_slice(format!(",\"rev\":{rev},\"spec\":").as_bytes());
    out.extend_from_slice(document);
    out.push(b'}');
}

fn json(out: &mut Vec<u8>, value: &(impl Serialize + ?Sized)) {
    serde_json::to_writer(out, value).expect("invariant: memory takes every byte, and no map here has odd keys");
}

fn as_text<S: serde::Serializer>(epoch: &Epoch, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(epoch.as_str())
}

fn as_number<S: serde::Serializer>(generation: &Generation, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(generation.0)
}

fn as_digits<S: serde::Serializer>(digest: &Digest, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(digest)
}

fn as_shrink_ok<S: serde::Serializer>(ok: &Option<&ShrinkOk>, serializer: S) -> Result<S::Ok, S::Error> {
    ok.map(raw::ShrinkOk::from).serialize(serializer)
}
