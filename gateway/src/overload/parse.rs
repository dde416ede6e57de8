//! What the kernel writes into its small files, read in place.

/// What version 1 of control groups says where there is no limit: about 2^63, rounded down to a page.
const V1_UNLIMITED: u64 = 1 << 62;

/// The number that `text` begins with.
pub(super) fn number(text: &[u8]) -> Option<u64> {
    let text = text.trim_ascii_start();
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit());
    let mut digits = digits.map(|byte| u64::from(byte - b'0')).peekable();
    digits.peek()?;
    digits.try_fold(0_u64, |number, digit| number.checked_mul(10)?.checked_add(digit))
}

/// A limit in bytes; `None` for `max`, and for the number that version 1 writes in its place.
pub(super) fn limit(text: &[u8]) -> Option<u64> {
    number(text).filter(|&bytes| bytes < V1_UNLIMITED)
}

/// The number after `name` and white space at the beginning of a line.
pub(super) fn field(text: &[u8], name: &[u8]) -> Option<u64> {
    let mut lines = text.split(|byte| *byte == b'\n');
    lines
        .find_map(|line| line.strip_prefix(name).filter(|rest| rest.first().is_some_and(u8::is_ascii_whitespace)))
        .and_then(number)
}

/// The second number of proc_pid_statm(5) less the third: pages that are this process's own.
pub(super) fn own_pages(statm: &[u8]) -> Option<u64> {
    let mut words = statm.split(u8::is_ascii_whitespace);
    let (resident, shared) = (number(words.nth(1)?)?, number(words.next()?)?);
    Some(resident.saturating_sub(shared))
}

/// `some avg10=1.23 ...` of a pressure file, in hundredths of a percent.
pub(super) fn stalls(text: &[u8]) -> Option<u64> {
    let rest = text.strip_prefix(b"some avg10=")?;
    let (whole, rest) = (number(rest)?, rest.iter().position(|byte| *byte == b'.').and_then(|dot| rest.get(dot + 1..)));
    let hundredths = rest.and_then(|rest| number(rest.get(..2)?)).unwrap_or(0);
    Some(whole.saturating_mul(100).saturating_add(hundredths))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_numbers_or_none() {
        assert_eq!(limit(b"104857600\n"), Some(104_857_600));
        for none in [&b"max\n"[..], b"9223372036854771712\n", b"", b"\n", b"99999999999999999999999\n"] {
            assert_eq!(limit(none), None, "{none:?}");
        }
    }

    #[test]
    fn a_field_is_found_by_its_whole_name() {
        let stat = b"active_file 1\nxinactive_file 7\ninactive_file_x 8\ninactive_file 4096\ntotal_inactive_file 5\n";
        assert_eq!(field(stat, b"inactive_file"), Some(4096));
        assert_eq!(field(stat, b"total_inactive_file"), Some(5));
        assert_eq!(field(stat, b"none"), None);
        assert_eq!(field(b"MemTotal:  9 kB\nMemAvailable:   21695488 kB\n", b"MemAvailable:"), Some(21_695_488));
    }

    #[test]
    fn pages_of_files_are_not_the_process_s_own() {
        assert_eq!(own_pages(b"60263 4731 2688 100 0 8000 0\n"), Some(2043));
        assert_eq!(own_pages(b"60263"), None);
    }

    #[test]
    fn stalls_are_those_of_some_threads_in_ten_seconds() {
        let text =
            b"some avg10=12.34 avg60=0.00 avg300=0.00 total=0\nfull avg10=99.00 avg60=0.00 avg300=0.00 total=0\n";
        assert_eq!(stalls(text), Some(1234));
        assert_eq!(stalls(b"some avg10=0.05 avg60"), Some(5));
        assert_eq!(stalls(b"full avg10=1.00"), None);
    }
}
