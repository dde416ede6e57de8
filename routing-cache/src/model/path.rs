//! Paths as they are matched: one spelling for each path (RFC 3986, 6.2.2).
//!
//! Owns the normal form, for routes when a document is read and for requests when they are matched. It never changes what
//! is forwarded: that is the path as it came, unless a route rewrites it.

use std::{borrow::Cow, fmt::Write as _};

/// A path as it is matched: percent-encoded unreserved characters are decoded, other encodings have upper-case digits
/// (`%2F` stays), characters outside ASCII are percent-encoded, and dot segments are removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NormalPath<'a>(Cow<'a, str>);

/// Why a path is refused with 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// It has more `..` than elements before them.
    #[error("the path climbs above the root")]
    AboveRoot,
    /// It holds an ASCII control character, percent-encoded or not.
    #[error("the path holds a control character")]
    Control,
    /// A `%` is not followed by two hex digits.
    #[error("the path has a broken percent-encoding")]
    Encoding,
    /// It does not start with `/`.
    #[error("the path does not start with a slash")]
    Relative,
}

impl<'a> NormalPath<'a> {
    /// The normal form of `raw`, which is a path without a query; borrows when `raw` is normal already.
    ///
    /// # Errors
    /// When no upstream should be asked for such a path: see [`PathError`].
    pub fn new(raw: &'a str) -> Result<Self, PathError> {
        if !raw.starts_with('/') {
            return Err(PathError::Relative);
        }
        if is_plain(raw) {
            return Ok(Self(Cow::Borrowed(raw)));
        }
        let path = remove_dot_segments(&decode(raw)?)?;
        Ok(Self(if path == raw { Cow::Borrowed(raw) } else { Cow::Owned(path) }))
    }

    /// The path as text; it starts with `/`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// True when the path came in its normal form.
    #[must_use]
    pub fn is_as_it_came(&self) -> bool {
        matches!(self.0, Cow::Borrowed(_))
    }
}

/// True when nothing in `raw` can need a change. Most paths end here, after one pass and without an allocation.
fn is_plain(raw: &str) -> bool {
    let mut before = 0;
    for byte in raw.bytes() {
        let dot_segment = byte == b'.' && before == b'/';
        if dot_segment || byte == b'%' || byte.is_ascii_control() || !byte.is_ascii() {
            return false;
        }
        before = byte;
    }
    true
}

/// Decodes what need not be encoded, before dot segments are looked for: `%2e%2e` is one too.
fn decode(raw: &str) -> Result<String, PathError> {
    let mut out = String::with_capacity(raw.len());
    let mut rest = raw.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        let (byte, keep) = match byte {
            b'%' => {
                let (value, tail) = hex_pair(tail).ok_or(PathError::Encoding)?;
                rest = tail;
                (value, is_unreserved(value))
            }
            _ => (byte, byte.is_ascii()),
        };
        push(&mut out, byte, keep)?;
    }
    Ok(out)
}

fn push(out: &mut String, byte: u8, keep: bool) -> Result<(), PathError> {
    if byte.is_ascii_control() {
        return Err(PathError::Control);
    }
    if keep {
        out.push(char::from(byte));
    } else {
        // ignored: writing to a string cannot fail
        let _ = write!(out, "%{byte:02X}");
    }
    Ok(())
}

fn hex_pair(bytes: &[u8]) -> Option<(u8, &[u8])> {
    let (pair, tail) = bytes.split_first_chunk::<2>()?;
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let [high, low] = pair.map(digit);
    Some((high? << 4 | low?, tail))
}

/// Source: RFC 3986, 2.3.
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// As RFC 3986, 5.2.4, but a `..` at the root is an error there and not ignored.
fn remove_dot_segments(path: &str) -> Result<String, PathError> {
    let mut out = String::with_capacity(path.len());
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        match segment {
            "." => {}
            ".." => out.truncate(out.rfind('/').ok_or(PathError::AboveRoot)?),
            _ => {
                out.push('/');
                out.push_str(segment);
                continue;
            }
        }
        // A dot segment at the end names a folder: its slash stays.
        if segments.peek().is_none() {
            out.push('/');
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn normal(raw: &str) -> Result<String, PathError> {
        NormalPath::new(raw).map(|path| path.as_str().to_owned())
    }

    #[test]
    fn unreserved_characters_are_decoded_and_everything_else_stays() {
        assert_eq!(normal("/%61%2Db%7e").unwrap(), "/a-b~");
        assert_eq!(normal("/a%2Fb%2f%3F%25").unwrap(), "/a%2Fb%2F%3F%25");
        assert_eq!(normal("/%252e%252e").unwrap(), "/%252e%252e");
        assert_eq!(normal("/caf\u{e9}").unwrap(), "/caf%C3%A9");
        assert_eq!(normal("/a//b/;x=1").unwrap(), "/a//b/;x=1");
    }

    #[test]
    fn dot_segments_are_removed_however_they_are_written() {
        let cases = [
            ("/a/b/c/./../../g", "/a/g"),
            ("/a/..", "/"),
            ("/a/.", "/a/"),
            ("/a/b/..", "/a/"),
            ("/.", "/"),
            ("/a/%2e%2E/b", "/b"),
            ("/a/.%2e/b", "/b"),
            ("/a//../b", "/a/b"),
            ("/.well-known/..x/...", "/.well-known/..x/..."),
        ];
        for (raw, expected) in cases {
            assert_eq!(normal(raw).unwrap(), expected, "{raw}");
        }
    }

    #[test]
    fn a_path_that_no_upstream_should_see_says_why() {
        for raw in ["/..", "/a/../..", "/%2e%2e/etc", "/a/../../b"] {
            assert_eq!(normal(raw), Err(PathError::AboveRoot), "{raw}");
        }
        for raw in ["/a\0", "/a%00", "/%0d%0a", "/a\t", "/%7F", "/\u{7f}"] {
            assert_eq!(normal(raw), Err(PathError::Control), "{raw}");
        }
        for raw in ["/%", "/%2", "/%zz", "/%+1"] {
            assert_eq!(normal(raw), Err(PathError::Encoding), "{raw}");
        }
        for raw in ["", "*", "a/b"] {
            assert_eq!(normal(raw), Err(PathError::Relative), "{raw}");
        }
    }

    #[test]
    fn a_normal_path_is_not_copied() {
        for raw in ["/", "/a/b.html", "/.well-known/x", "/a%2Fb"] {
            assert!(NormalPath::new(raw).unwrap().is_as_it_came(), "{raw}");
        }
        assert!(!NormalPath::new("/%61").unwrap().is_as_it_came());
    }

    proptest! {
        #[test]
        fn any_text_has_one_normal_form_or_none(raw in "/(\\PC|%2[eEfF]|%[0-9a-fA-F]{2}|\\.|/){0,40}") {
            if let Ok(once) = normal(&raw) {
                prop_assert!(once.starts_with('/') && once.is_ascii());
                prop_assert!(once.split('/').all(|segment| segment != "." && segment != ".."));
                prop_assert_eq!(normal(&once), Ok(once));
            }
        }
    }
}
