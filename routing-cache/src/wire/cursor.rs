//! A reader of the JSON that most apps are written in: plain strings, whole numbers, and what stands between them.
//!
//! It never decides that something is wrong. Where it meets what it does not read it answers `None`, and whoever asked
//! gives the whole text to the general reader, which knows, and names what is wrong.

/// Where it stands in a text.
#[derive(Clone, Debug)]
pub(super) struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    pub(super) fn new(text: &'a [u8]) -> Self {
        Self { rest: text }
    }

    /// What has not been read.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Passes white space. Source of what that is: RFC 8259, 2.
    pub(super) fn space(&mut self) {
        while let [b' ' | b'\t' | b'\n' | b'\r', rest @ ..] = self.rest {
            self.rest = rest;
        }
    }

    /// Passes white space and `byte`, if that is what comes.
    pub(super) fn passes(&mut self, byte: u8) -> bool {
        self.space();
        match self.rest.split_first() {
            Some((first, rest)) if *first == byte => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    /// Passes white space and `byte`.
    pub(super) fn pass(&mut self, byte: u8) -> Option<()> {
        self.passes(byte).then_some(())
    }

    /// A string of printable ASCII without escapes.
    pub(super) fn text(&mut self) -> Option<&'a str> {
        self.pass(b'"')?;
        let end = self.rest.iter().position(|byte| !matches!(byte, b' '..=b'!' | b'#'..=b'[' | b']'..=b'~'))?;
        let (text, rest) = self.rest.split_at_checked(end)?;
        self.rest = rest;
        self.rest = self.rest.strip_prefix(b"\"")?;
        std::str::from_utf8(text).ok()
    }

    /// The name of a member, and the colon.
    pub(super) fn name(&mut self) -> Option<&'a str> {
        let name = self.text()?;
        self.pass(b':')?;
        Some(name)
    }

    /// A whole number from 0.
    pub(super) fn whole(&mut self) -> Option<u64> {
        self.space();
        let length = self.rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (digits, rest) = self.rest.split_at_checked(length)?;
        if matches!(digits, [b'0', _, ..]) || matches!(rest, [b'.' | b'e' | b'E', ..]) {
            return None;
        }
        self.rest = rest;
        std::str::from_utf8(digits).ok()?.parse().ok()
    }

    /// A list of plain strings, each read by `read`.
    pub(super) fn texts<T>(&mut self, mut read: impl FnMut(&'a str) -> Option<T>) -> Option<Vec<T>> {
        self.pass(b'[')?;
        let mut items = Vec::new();
        if self.passes(b']') {
            return Some(items);
        }
        loop {
            items.push(read(self.text()?)?);
            if !self.passes(b',') {
                self.pass(b']')?;
                return Some(items);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_plain_is_read_and_what_is_left_begins_after_it() {
        let mut cursor = Cursor::new(b" \"a\" : [ \"x\" ,\"y z\"] ,12 ,[]!");
        assert_eq!(cursor.name(), Some("a"));
        assert_eq!(cursor.texts(Some), Some(vec!["x", "y z"]));
        assert_eq!((cursor.passes(b']'), cursor.pass(b','), cursor.whole()), (false, Some(()), Some(12)));
        assert_eq!((cursor.pass(b','), cursor.texts(Some), cursor.rest()), (Some(()), Some(vec![]), &b"!"[..]));
    }

    #[test]
    fn what_is_not_plain_is_left_to_others() {
        for text in ["", "\"", "\"a", "a", "\"a\\n\"", "\"a\nb\"", "\"ü\"", "\"\u{7f}\"", "\"\\u0041\""] {
            assert_eq!(Cursor::new(text.as_bytes()).text(), None, "{text}");
        }
        for number in ["", "-1", "01", "1.0", "1e3", "18446744073709551616", "x"] {
            assert_eq!(Cursor::new(number.as_bytes()).whole(), None, "{number}");
        }
        for list in ["[", "[\"a\"", "[\"a\",]", "[,]", "[1]", "[\"a\" \"b\"]", "\"a\""] {
            assert_eq!(Cursor::new(list.as_bytes()).texts(Some), None, "{list}");
        }
    }
}
