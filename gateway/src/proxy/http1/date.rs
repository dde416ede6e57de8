//! The time, as HTTP writes it.

use std::{
    cell::Cell,
    time::{SystemTime, UNIX_EPOCH},
};

/// How long it is (RFC 9110, 5.6.7).
const BYTES: usize = 29;

thread_local! {
    /// The second that was written last, and what it is as a date.
    static LAST: Cell<(u64, [u8; BYTES])> = const { Cell::new((u64::MAX, [0; BYTES])) };
}

/// The date now. It is written once a second.
pub(crate) fn now() -> [u8; BYTES] {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let (second, mut date) = LAST.get();
    if second != now {
        date = written(now);
        LAST.set((now, date));
    }
    date
}

fn written(second: u64) -> [u8; BYTES] {
    let time = i64::try_from(second).ok().and_then(|second| jiff::Timestamp::from_second(second).ok());
    let text = jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&time.unwrap_or_default());
    // What is after the year 9999 is no date.
    text.ok().and_then(|text| text.into_bytes().try_into().ok()).unwrap_or(*b"Thu, 01 Jan 1970 00:00:00 GMT")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_has_the_form_of_rfc_9110() {
        assert_eq!(&written(784_111_777), b"Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(&written(0), b"Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(&written(u64::MAX), b"Thu, 01 Jan 1970 00:00:00 GMT");
    }

    #[test]
    fn it_is_written_anew_when_the_second_has_changed() {
        LAST.set((1, written(1)));
        assert_ne!(now(), written(1));
        let told = now();
        LAST.set((LAST.get().0, *b"Sun, 06 Nov 1994 08:49:37 GMT"));
        assert!(now() == told || now().starts_with(b"Sun, 06 Nov 1994"));
    }
}
