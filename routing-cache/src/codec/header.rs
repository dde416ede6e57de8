//! The first bytes of a file of the store: what it is, and of which version. They stay as they are in all versions, so that
//! every version can tell a file of another one from a damaged one.

/// Bytes of a header: magic, version, crc32c of both.
pub const HEADER_BYTES: usize = 8 + 1 + 4;

/// The header of a file.
#[must_use]
pub fn header(magic: [u8; 8], version: u8) -> [u8; HEADER_BYTES] {
    let [m0, m1, m2, m3, m4, m5, m6, m7] = magic;
    let checked = [m0, m1, m2, m3, m4, m5, m6, m7, version];
    let [c0, c1, c2, c3] = crc32c::crc32c(&checked).to_le_bytes();
    [m0, m1, m2, m3, m4, m5, m6, m7, version, c0, c1, c2, c3]
}

/// The version in a header; `None` where it is no whole header of such a file.
#[must_use]
pub fn header_version(bytes: &[u8], magic: [u8; 8]) -> Option<u8> {
    let bytes = bytes.get(..HEADER_BYTES)?;
    let version = *bytes.get(magic.len())?;
    (bytes == header(magic, version)).then_some(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_with_any_byte_changed_is_none() {
        let whole = header(*b"\x89HGTEST\n", 3);
        assert_eq!(header_version(&whole, *b"\x89HGTEST\n"), Some(3));
        assert_eq!(header_version(&whole, *b"\x89HGTEXT\n"), None);
        for at in 0..HEADER_BYTES {
            let mut damaged = whole;
            damaged[at] ^= 1;
            assert_eq!(header_version(&damaged, *b"\x89HGTEST\n"), None, "{at}");
        }
        assert_eq!(header_version(&whole[..12], *b"\x89HGTEST\n"), None);
    }
}
