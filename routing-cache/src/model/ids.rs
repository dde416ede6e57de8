//! The names and numbers of the orchestrator's contract.

use std::{fmt, str::FromStr, sync::Arc};

/// The longest app id, in bytes. Source: the length of a DNS name (RFC 1035, 2.3.4), which ids often are.
pub const MAX_APP_ID_BYTES: usize = 253;
/// The longest epoch, in bytes. An epoch is an opaque string; four UUIDs fit.
pub const MAX_EPOCH_BYTES: usize = 128;

/// The name of an app, the unit of change: 1 to 253 bytes without control characters.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AppId(Arc<str>);

/// Why a string is not an app id or an epoch.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// It has no character.
    #[error("is empty")]
    Empty,
    /// It is longer than `limit` bytes.
    #[error("is {length} bytes long, the limit is {limit}")]
    TooLong {
        /// What came.
        length: usize,
        /// What is allowed.
        limit: usize,
    },
    /// It holds a control character.
    #[error("holds a control character")]
    Control,
}

fn check_id(text: &str, limit: usize) -> Result<(), IdError> {
    if text.is_empty() {
        return Err(IdError::Empty);
    }
    if text.len() > limit {
        return Err(IdError::TooLong { length: text.len(), limit });
    }
    if text.chars().any(char::is_control) {
        return Err(IdError::Control);
    }
    Ok(())
}

impl AppId {
    /// Checks `text` and makes it an id.
    ///
    /// # Errors
    /// When it is empty, too long, or holds a control character.
    pub fn new(text: &str) -> Result<Self, IdError> {
        Self::check(text)?;
        Ok(Self(Arc::from(text)))
    }

    /// Checks that `text` is an id, without making one.
    ///
    /// # Errors
    /// When it is empty, too long, or holds a control character.
    pub fn check(text: &str) -> Result<(), IdError> {
        check_id(text, MAX_APP_ID_BYTES)
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Stands for an id that can no longer be read.
    pub(crate) fn unreadable() -> Self {
        Self(Arc::from("?"))
    }
}

impl std::borrow::Borrow<str> for AppId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AppId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An opaque string, chosen when the orchestrator's storage is created or restored; the same on all its replicas.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Epoch(Arc<str>);

impl Epoch {
    /// Checks `text` and makes it an epoch.
    ///
    /// # Errors
    /// When it is empty, too long, or holds a control character.
    pub fn new(text: &str) -> Result<Self, IdError> {
        check_id(text, MAX_EPOCH_BYTES)?;
        Ok(Self(Arc::from(text)))
    }

    /// The epoch as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The number an app's document carries; it only grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Rev(pub u64);

impl fmt::Display for Rev {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The number of the whole table; it only grows within an epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Generation(pub u64);

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The table's digest: a sum modulo 2^128 of one number for each app, so it does not depend on order, and a delta
/// changes it by subtraction and addition. [`super::app_digest`] makes the number of one app.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Digest(pub u128);

impl Digest {
    /// The digest of a table that also holds an app whose number is `app`.
    #[must_use]
    pub fn plus(self, app: Self) -> Self {
        Self(self.0.wrapping_add(app.0))
    }

    /// The digest of a table without an app whose number is `app`.
    #[must_use]
    pub fn minus(self, app: Self) -> Self {
        Self(self.0.wrapping_sub(app.0))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// The text is not 32 lower-case hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a digest is 32 lower-case hex digits")]
pub struct DigestParseError;

impl FromStr for Digest {
    type Err = DigestParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if text.len() != 32 || !text.bytes().all(hex) {
            return Err(DigestParseError);
        }
        u128::from_str_radix(text, 16).map(Self).map_err(|_| DigestParseError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_app_id_is_a_bounded_string_without_control_characters() {
        assert_eq!(AppId::new("shop").unwrap().as_str(), "shop");
        assert!(AppId::new(&"a".repeat(MAX_APP_ID_BYTES)).is_ok());
        let too_long = IdError::TooLong { length: MAX_APP_ID_BYTES + 1, limit: MAX_APP_ID_BYTES };
        assert_eq!(AppId::new(&"a".repeat(MAX_APP_ID_BYTES + 1)), Err(too_long));
        assert_eq!(AppId::new(""), Err(IdError::Empty));
        assert_eq!(AppId::new("a\nb"), Err(IdError::Control));
    }

    #[test]
    fn an_epoch_is_a_bounded_string_without_control_characters() {
        assert_eq!(Epoch::new("01J9").unwrap().to_string(), "01J9");
        assert!(matches!(Epoch::new(&"e".repeat(MAX_EPOCH_BYTES + 1)), Err(IdError::TooLong { .. })));
        assert_eq!(Epoch::new(""), Err(IdError::Empty));
        assert_eq!(Epoch::new("\u{7f}"), Err(IdError::Control));
    }

    #[test]
    fn a_digest_is_written_as_32_hex_digits_and_read_back() {
        let digest = Digest(0x1f);
        assert_eq!(digest.to_string(), format!("{}1f", "0".repeat(30)));
        assert_eq!(digest.to_string().parse(), Ok(digest));
        assert_eq!(Digest(u128::MAX).to_string().parse(), Ok(Digest(u128::MAX)));
    }

    #[test]
    fn what_is_not_32_lower_case_hex_digits_is_no_digest() {
        let texts = [String::new(), "0".repeat(31), "0".repeat(33), "A".repeat(32), format!("+{}", "0".repeat(31))];
        for text in texts {
            assert_eq!(text.parse::<Digest>(), Err(DigestParseError), "{text}");
        }
    }

    #[test]
    fn a_digest_is_a_sum_that_wraps_around_and_can_be_taken_back() {
        let (a, b) = (Digest(u128::MAX), Digest(7));
        assert_eq!(a.plus(b), b.plus(a));
        assert_eq!(a.plus(b), Digest(6));
        assert_eq!(a.plus(b).minus(a), b);
        assert_eq!(Digest::default().minus(b).plus(b), Digest::default());
    }
}
