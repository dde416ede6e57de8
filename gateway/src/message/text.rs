//! Classes of bytes, and the scans that most of a head is spent in.

/// The token characters beside letters and digits. Methods and header names are tokens. Source: RFC 9110, 5.6.2.
const TOKEN_MARKS: &[u8] = b"!#$%&'*+-.^_`|~";
/// Which bytes are token characters: one load for each byte looked at.
const TOKEN: [bool; 256] = token_table();

#[allow(clippy::indexing_slicing)] // it runs in the compiler, where an index out of bounds is an error
const fn token_table() -> [bool; 256] {
    let mut table = [false; 256];
    let mut byte = 0_u8;
    while byte < 128 {
        table[byte as usize] = byte.is_ascii_alphanumeric();
        byte += 1;
    }
    let mut marks = TOKEN_MARKS;
    while let [mark, rest @ ..] = marks {
        table[*mark as usize] = true;
        marks = rest;
    }
    table
}

/// The number of token characters `bytes` begins with.
#[inline]
#[must_use]
pub fn token_length(bytes: &[u8]) -> usize {
    let (fours, rest) = bytes.as_chunks::<4>();
    let mut length = 0;
    for four in fours {
        // Four at a time, without a loop for them.
        if let Some(at) = four.iter().position(|&byte| !is_token(byte)) {
            return length + at;
        }
        length += four.len();
    }
    length + rest.iter().position(|&byte| !is_token(byte)).unwrap_or(rest.len())
}

#[inline]
fn is_token(byte: u8) -> bool {
    TOKEN.get(usize::from(byte)).copied().unwrap_or(false)
}

/// True for a byte that may stand in a field value: all but controls, of which a tab is none. Source: RFC 9110, 5.5.
#[inline]
#[must_use]
pub fn is_text(byte: u8) -> bool {
    (byte >= 0x20 || byte == b'\t') && byte != 0x7f
}

/// The number of characters of a field value `bytes` begins with: all but controls, of which a tab is none.
/// Source: RFC 9110, 5.5.
#[inline]
#[must_use]
pub fn value_length(bytes: &[u8]) -> usize {
    let mut length = 0;
    while let Some(left) = bytes.get(length..) {
        length += scan(left, |word| below(word, 0x20) | equal(word, 0x7f), |byte| byte < 0x20 || byte == 0x7f);
        if bytes.get(length) != Some(&b'\t') {
            break;
        }
        length += 1;
    }
    length
}

/// The number of visible ASCII characters `bytes` begins with, which a request's target is made of.
/// Source: RFC 9112, 3.2; RFC 3986, 2.
#[inline]
#[must_use]
pub fn target_length(bytes: &[u8]) -> usize {
    scan(bytes, |word| below(word, 0x21) | equal(word, 0x7f) | (word & HIGH), |byte| !(0x21..0x7f).contains(&byte))
}

/// Eight bytes are looked at together, as the lanes of one word, the first one lowest.
const LANES: usize = 8;
/// One in each lane.
const ONES: u64 = u64::from_ne_bytes([1; LANES]);
/// The highest bit of each lane, which marks a lane.
const HIGH: u64 = ONES << 7;

/// Marks the lanes of less than `bound`, which is at most 0x80. Above the first one that it marks it may mark others too,
/// as what is taken from a lane that is too small is borrowed from the next one.
#[inline]
fn below(word: u64, bound: u8) -> u64 {
    word.wrapping_sub(ONES * u64::from(bound)) & !word & HIGH
}

/// Marks the lanes of this value, under the same condition.
#[inline]
fn equal(word: u64, value: u8) -> u64 {
    below(word ^ (ONES * u64::from(value)), 1)
}

/// The index of the first byte that `ends`, which is in the first lane that `marks` marks.
#[inline]
fn scan(bytes: &[u8], marks: impl Fn(u64) -> u64, ends: impl Fn(u8) -> bool) -> usize {
    let (words, rest) = bytes.as_chunks::<LANES>();
    let mut length = 0;
    for word in words {
        let marked = marks(u64::from_le_bytes(*word));
        if marked != 0 {
            return length + marked.trailing_zeros() as usize / LANES;
        }
        length += LANES;
    }
    length + rest.iter().position(|&byte| ends(byte)).unwrap_or(rest.len())
}

/// The number that `digits` write; `None` where they are anything else, or more than 64 bits.
#[must_use]
pub fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |sum, digit| {
        let digit = digit.checked_sub(b'0').filter(|digit| *digit <= 9)?;
        sum.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scan_finds_the_first_ending_byte_at_every_place() {
        for length in 0..50 {
            for at in 0..length {
                let mut bytes = vec![b'a'; length];
                bytes[at] = b'\r';
                assert_eq!((value_length(&bytes), target_length(&bytes), token_length(&bytes)), (at, at, at));
            }
            assert_eq!(value_length(&vec![0xe9; length]), length);
        }
    }

    #[test]
    fn tokens_are_letters_digits_and_fifteen_marks() {
        let tokens = (0..=u8::MAX).filter(|byte| token_length(&[*byte]) == 1);
        assert!(tokens.clone().all(|byte| byte.is_ascii_graphic() && !b"\"(),/:;<=>?@[\\]{}".contains(&byte)));
        assert_eq!(tokens.count(), 26 + 26 + 10 + 15);
    }

    #[test]
    fn only_a_tab_among_the_controls_belongs_to_a_value() {
        for byte in 0..=u8::MAX {
            let text = byte == b'\t' || (byte >= 0x20 && byte != 0x7f);
            assert_eq!(value_length(&[byte]) == 1, text, "{byte:#x}");
            assert_eq!(target_length(&[byte]) == 1, byte.is_ascii_graphic(), "{byte:#x}");
        }
    }
}
