//! A line of a snapshot as ours and most others write it: `{"app":"ID","rev":N,"spec":...}`, with plain strings.
//!
//! Of a line that is not so this says nothing; see [`Cursor`].

use super::{cursor::Cursor, document::Simple};
use crate::model::{AppId, Rev};

/// An app's line.
#[derive(Debug)]
pub(super) struct PlainLine<'a> {
    /// Its name; it was found to be one.
    pub(super) id: &'a str,
    /// The document's number.
    pub(super) rev: Rev,
    /// All that may be the document: whether it is one JSON value is not known, unless it is `simple`.
    pub(super) document: &'a [u8],
    /// The document, read, where it is a simple one.
    pub(super) simple: Option<Simple<'a>>,
}

impl<'a> PlainLine<'a> {
    /// The app that a line holds.
    pub(super) fn read(line: &'a [u8]) -> Option<Self> {
        let mut cursor = Cursor::new(trimmed(line).strip_suffix(b"}")?);
        cursor.pass(b'{')?;
        let id = cursor.name().filter(|name| *name == "app").and_then(|_| cursor.text())?;
        AppId::check(id).ok()?;
        cursor.pass(b',')?;
        let rev = cursor.name().filter(|name| *name == "rev").and_then(|_| cursor.whole())?;
        cursor.pass(b',')?;
        cursor.name().filter(|name| *name == "spec")?;
        cursor.space();
        let document = trimmed(cursor.rest());
        Some(Self { id, rev: Rev(rev), document, simple: Simple::read(document) })
    }
}

/// Without the white space at its end. JSON has less of it than `trim_ascii` takes away.
fn trimmed(mut text: &[u8]) -> &[u8] {
    while let [rest @ .., b' ' | b'\t' | b'\n' | b'\r'] = text {
        text = rest;
    }
    text
}
