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

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Option<(&str, u64, &str, bool)> {
        let line = PlainLine::read(line.as_bytes())?;
        Some((line.id, line.rev.0, std::str::from_utf8(line.document).unwrap(), line.simple.is_some()))
    }

    #[test]
    fn an_apps_line_is_taken_apart_and_its_document_begins_and_ends_without_white_space() {
        let simple = r#"{"hosts":["a.example"],"endpoints":[]}"#;
        assert_eq!(read(&format!(r#"{{"app":"a","rev":7,"spec":{simple}}}"#)), Some(("a", 7, simple, true)));
        let spaced = format!(" {{ \"app\" : \"a b\" , \"rev\" : 0 , \"spec\" :\t{simple} \r}}\r ");
        assert_eq!(read(&spaced), Some(("a b", 0, simple, true)));
        assert_eq!(
            read(r#"{"app":"a","rev":7,"spec":[}"#),
            Some(("a", 7, "[", false)),
            "it says nothing of the document"
        );
    }

    #[test]
    fn any_other_line_is_left_to_the_general_reader() {
        let lines = [
            "",
            "}",
            "{}",
            r#"{"begin":{}}"#,
            r#"{"rev":7,"app":"a","spec":{}}"#,
            r#"{"app":"","rev":7,"spec":{}}"#,
            r#"{"app":"\u0061","rev":7,"spec":{}}"#,
            r#"{"app":"a","rev":7.0,"spec":{}}"#,
            r#"{"app":"a","rev":7,"etag":1,"spec":{}}"#,
            "{\"app\":\"a\",\"rev\":7,\"spec\":{}}\u{c}",
        ];
        for line in lines {
            assert_eq!(read(line), None, "{line}");
        }
    }
}
