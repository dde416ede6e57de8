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

/// How many bytes are looked at together: one SSE2 or NEON register.
const LANES: usize = 16;

/// The number of token characters `bytes` begins with.
#[must_use]
pub fn token_length(bytes: &[u8]) -> usize {
    bytes.iter().position(|&byte| !is_token(byte)).unwrap_or(bytes.len())
}

fn is_token(byte: u8) -> bool {
    TOKEN.get(usize::from(byte)).copied().unwrap_or(false)
}

/// The number of characters of a field value `bytes` begins with: all but controls, of which a tab is none.
/// Source: RFC 9110, 5.5.
#[must_use]
pub fn value_length(bytes: &[u8]) -> usize {
    scan(bytes, |byte| (byte < 0x20 && byte != b'\t') || byte == 0x7f)
}

/// The number of visible ASCII characters `bytes` begins with, which a request's target is made of.
/// Source: RFC 9112, 3.2; RFC 3986, 2.
#[must_use]
pub fn target_length(bytes: &[u8]) -> usize {
    scan(bytes, |byte| !(0x21..0x7f).contains(&byte))
}

/// The index of the first byte that `ends`. Without a branch for each byte, so that the compiler uses vector registers.
#[inline]
fn scan(bytes: &[u8], ends: impl Fn(u8) -> bool) -> usize {
    let (lanes, rest) = bytes.as_chunks::<LANES>();
    let clean = lanes.iter().take_while(|lane| !lane.iter().fold(false, |any, &byte| any | ends(byte))).count() * LANES;
    let tail = if clean == lanes.len() * LANES { rest } else { bytes.get(clean..).unwrap_or_default() };
    clean + tail.iter().position(|&byte| ends(byte)).unwrap_or(tail.len())
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
