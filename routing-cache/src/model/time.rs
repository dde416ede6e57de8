//! Time as an argument: this library never asks for it.

use std::time::Duration;

/// Milliseconds since the Unix epoch; for what is shown to people and kept on disk. It may jump.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WallTime(pub u64);

/// One moment on both clocks, taken once by the caller for each decision.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Time since an arbitrary start; it never goes back. All waiting is measured by it.
    pub monotonic: Duration,
    /// The time of day.
    pub wall: WallTime,
}

/// Why a text is not a duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// It is not digits and a unit.
    #[error("is not a whole number with a unit (ms, s, m or h)")]
    Form,
    /// It does not fit into 64 bits of milliseconds.
    #[error("is too long")]
    TooLong,
}

/// Reads a duration as every contract writes it: a whole number and its unit, `250ms`, `5s`, `1m`, `24h`.
///
/// # Errors
/// When it is not that, or too long for any use.
pub fn parse_duration(text: &str) -> Result<Duration, DurationError> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits).filter(|_| digits > 0).ok_or(DurationError::Form)?;
    let unit_millis: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(DurationError::Form),
    };
    let millis = number.parse().ok().and_then(|number: u64| number.checked_mul(unit_millis));
    millis.map(Duration::from_millis).ok_or(DurationError::TooLong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_an_integer_and_its_unit() {
        assert_eq!(parse_duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(parse_duration("5m"), Ok(Duration::from_secs(300)));
        for text in ["", "5", "m", "5d", "-5m", "+5m", "5 m", "\u{665}m", "5\u{e9}"] {
            assert_eq!(parse_duration(text), Err(DurationError::Form), "{text}");
        }
        for text in ["99999999999999999999h", "9999999999999999999h"] {
            assert_eq!(parse_duration(text), Err(DurationError::TooLong), "{text}");
        }
    }
}
