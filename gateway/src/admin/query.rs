//! Percent-encoding and the query of a call.

use std::fmt::Write;

/// The text is not percent-encoded UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("broken percent-encoding")]
pub struct BrokenEncoding;

/// Decodes `%XX`.
///
/// # Errors
/// When a `%` is not followed by two hex digits, or what comes out is not UTF-8.
pub fn decode(text: &str) -> Result<String, BrokenEncoding> {
    let mut bytes = text.bytes();
    let mut out = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => out.push(hex(bytes.next())? * 16 + hex(bytes.next())?),
            other => out.push(other),
        }
    }
    String::from_utf8(out).map_err(|_| BrokenEncoding)
}

fn hex(digit: Option<u8>) -> Result<u8, BrokenEncoding> {
    let value = digit.and_then(|d| char::from(d).to_digit(16)).ok_or(BrokenEncoding)?;
    u8::try_from(value).map_err(|_| BrokenEncoding)
}

/// Encodes all but RFC 3986's unreserved characters, so that the outcome fits a path element or a query value.
#[must_use]
pub fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}"); // ignored: writing to a String cannot fail
        }
    }
    out
}

/// The pairs of a query, decoded.
#[derive(Clone, Debug, Default)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    /// Reads `a=b&c`; `+` is a space.
    pub(super) fn parse(query: Option<&str>) -> Result<Self, BrokenEncoding> {
        let pair = |text: &str| {
            let text = text.replace('+', " ");
            let (name, value) = text.split_once('=').unwrap_or((&text, ""));
            Ok((decode(name)?, decode(value)?))
        };
        let parts = query.unwrap_or_default().split('&').filter(|part| !part.is_empty());
        parts.map(pair).collect::<Result<_, _>>().map(Self)
    }

    /// The first value of `name`.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// All values of `name`.
    pub(super) fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(n, _)| n == name).map(|(_, value)| value.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_query_is_read_pair_by_pair() {
        let query = Query::parse(Some("host=a.b&path=%2Fx%20y+z&verbose&&header=a:1&header=b:2")).unwrap();
        assert_eq!(query.get("host"), Some("a.b"));
        assert_eq!(query.get("path"), Some("/x y z"));
        assert_eq!(query.get("verbose"), Some(""));
        assert_eq!(query.all("header").collect::<Vec<_>>(), ["a:1", "b:2"]);
        assert_eq!(query.get("absent"), None);
    }

    #[test]
    fn broken_encoding_is_refused() {
        for text in ["a=%", "a=%4", "a=%zz", "a=%ff"] {
            assert!(Query::parse(Some(text)).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_encoded_decodes_to_itself(text in ".*") {
            prop_assert_eq!(decode(&encode(&text)), Ok(text));
        }

        #[test]
        fn decoding_never_panics(text in ".*") {
            let _ = decode(&text);
        }
    }
}
