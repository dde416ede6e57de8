//! Hosts an app claims.
//!
//! Owns what a host of an app document is. It never looks at the `Host` of a request: that is made lower-case and rid of
//! its port and trailing dot before it is compared with one of these.

use std::{fmt, str::FromStr, sync::Arc};

use super::HostRef;

/// The longest DNS name in text, in bytes. Source: RFC 1035, 2.3.4 (255 octets on the wire).
pub const MAX_HOST_BYTES: usize = 253;
/// The longest label of a DNS name, in bytes. Source: RFC 1035, 2.3.4.
const MAX_LABEL_BYTES: usize = 63;

/// A host an app claims.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum HostPattern {
    /// This lower-case DNS name.
    Exact(Arc<str>),
    /// One or more labels before this name (which is kept without the `*.`).
    Wildcard(Arc<str>),
}

/// Why a string is not a host an app may claim.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HostPatternError {
    /// It has no character.
    #[error("is empty")]
    Empty,
    /// It is over 253 bytes.
    #[error("is {length} bytes long, a DNS name has at most {MAX_HOST_BYTES}")]
    TooLong {
        /// What came.
        length: usize,
    },
    /// One of its labels is empty, over 63 bytes, or starts or ends with a hyphen.
    #[error("has the label {label:?}, which is not one of a DNS name")]
    Label {
        /// Which one.
        label: String,
    },
    /// It holds a character that a lower-case DNS name does not have.
    #[error("holds {character:?}; a host is a lower-case DNS name, IDNA in its ASCII form")]
    Character {
        /// Which one.
        character: char,
    },
}

impl FromStr for HostPattern {
    type Err = HostPatternError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        HostRef::parse(text).map(HostRef::to_pattern)
    }
}

impl<'a> HostRef<'a> {
    /// Reads a host as it stands in a document, without a copy of it.
    ///
    /// # Errors
    /// When it is not a host that an app may claim.
    pub fn parse(text: &'a str) -> Result<Self, HostPatternError> {
        let (name, wildcard) = text.strip_prefix("*.").map_or((text, false), |name| (name, true));
        check_name(name)?;
        Ok(Self { name, wildcard })
    }
}

fn check_name(name: &str) -> Result<(), HostPatternError> {
    if name.is_empty() {
        return Err(HostPatternError::Empty);
    }
    if name.len() > MAX_HOST_BYTES {
        return Err(HostPatternError::TooLong { length: name.len() });
    }
    if is_name(name.as_bytes()) { Ok(()) } else { Err(what_is_wrong(name)) }
}

/// Whether these are the labels of a lower-case DNS name, and the dots between them; in one pass.
fn is_name(name: &[u8]) -> bool {
    let (mut label, mut last) = (0, b'.');
    for &byte in name {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'_' => label += 1,
            b'-' if label > 0 => label += 1,
            b'.' if is_label(label, last) => label = 0,
            _ => return false,
        }
        last = byte;
    }
    is_label(label, last)
}

/// Whether a label of so many bytes may end with this one.
fn is_label(length: usize, last: u8) -> bool {
    (1..=MAX_LABEL_BYTES).contains(&length) && last != b'-'
}

/// Names the first character that is not allowed, else the first label that is none.
fn what_is_wrong(name: &str) -> HostPatternError {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_' | '.');
    if let Some(character) = name.chars().find(|&c| !allowed(c)) {
        return HostPatternError::Character { character };
    }
    let label = name.split('.').find(|label| !is_name(label.as_bytes())).unwrap_or_default();
    HostPatternError::Label { label: label.to_owned() }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => f.write_str(name),
            Self::Wildcard(name) => write!(f, "*.{name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<HostPattern, HostPatternError> {
        text.parse()
    }

    #[test]
    fn a_lower_case_dns_name_is_an_exact_host() {
        for name in ["shop.example.com", "localhost", "a", "xn--bcher-kva.example", "_acme.example", "10.0.0.1"] {
            assert_eq!(parse(name), Ok(HostPattern::Exact(Arc::from(name))));
        }
    }

    #[test]
    fn a_star_and_a_name_is_a_wildcard_that_keeps_the_name_alone() {
        let host = parse("*.shop.example.com").unwrap();
        assert_eq!(host, HostPattern::Wildcard(Arc::from("shop.example.com")));
        assert_eq!(host.to_string(), "*.shop.example.com");
    }

    #[test]
    fn what_is_no_dns_name_says_which_character_or_label_is_wrong() {
        let character = |character| Err(HostPatternError::Character { character });
        let label = |label: &str| Err(HostPatternError::Label { label: label.to_owned() });
        assert_eq!(parse("Shop.example"), character('S'));
        assert_eq!(parse("shop.example:80"), character(':'));
        assert_eq!(parse("bücher.example"), character('ü'));
        assert_eq!(parse("*"), character('*'));
        assert_eq!(parse("a.*.b"), character('*'));
        assert_eq!(parse("[::1]"), character('['));
        assert_eq!(parse("shop.example."), label(""));
        assert_eq!(parse("-a.example"), label("-a"));
        assert_eq!(parse("a-.example"), label("a-"));
        assert_eq!(parse(&"a".repeat(64)), label(&"a".repeat(64)));
        assert_eq!(parse(""), Err(HostPatternError::Empty));
        assert_eq!(parse("*."), Err(HostPatternError::Empty));
    }

    #[test]
    fn a_name_is_at_most_as_long_as_dns_allows() {
        let longest = format!("{0}.{0}.{0}.{1}", "a".repeat(63), "b".repeat(61));
        assert_eq!(longest.len(), MAX_HOST_BYTES);
        assert!(parse(&longest).is_ok());
        assert_eq!(parse(&format!("{longest}b")), Err(HostPatternError::TooLong { length: 254 }));
    }
}
