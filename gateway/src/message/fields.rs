//! The fields of a head, in the order they came.

use std::ops::Range;

use super::{names, text::is_text};

/// Header fields: names in lower case, values without the white space around them.
///
/// What is put in replaces or follows what is there; what is taken out leaves its text behind until the next head, so a
/// value is moved nowhere. Looking for a name goes through all of them, which for the heads that there are costs less than
/// hashing it.
#[derive(Clone, Debug, Default)]
pub struct Fields {
    /// The head as it came, and what was put in since.
    text: Vec<u8>,
    list: Vec<Field>,
}

#[derive(Clone, Copy, Debug)]
struct Field {
    name: Span,
    value: Span,
}

/// Where a value stands, for one that is wanted when its field may be gone: [`Fields::remember`].
#[derive(Clone, Copy, Debug)]
pub struct Remembered(Span);

/// A place in the text. A head is bounded to far less than 4 GiB.
#[derive(Clone, Copy, Debug)]
struct Span {
    start: u32,
    length: u32,
}

impl Span {
    fn new(range: &Range<usize>) -> Option<Self> {
        let start = u32::try_from(range.start).ok()?;
        let length = u32::try_from(range.end.checked_sub(range.start)?).ok()?;
        Some(Self { start, length })
    }

    fn of<'a>(&self, text: &'a [u8]) -> &'a [u8] {
        let start = self.start as usize;
        text.get(start..start + self.length as usize).unwrap_or_default()
    }
}

impl Fields {
    /// No field.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Empties it and lays `head` under it, in which [`Self::place`] then says where fields stand.
    pub fn lay(&mut self, head: &[u8]) {
        self.clear();
        self.text.extend_from_slice(head);
    }

    /// A field that stands at these places of the head that was laid under it. Whoever has read the head has checked that
    /// they are a name and a value. A place that is not in the head is none.
    pub fn place(&mut self, name: Range<usize>, value: Range<usize>) {
        let (Some(at), Some(value)) = (Span::new(&name), Span::new(&value)) else { return };
        let Some(text) = self.text.get_mut(name) else { return };
        text.make_ascii_lowercase();
        self.list.push(Field { name: at, value });
    }

    /// No field any more; the memory stays.
    pub fn clear(&mut self) {
        self.text.clear();
        self.list.clear();
    }

    /// The bytes of memory it holds on to.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.text.capacity() + self.list.capacity() * size_of::<Field>()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// True when there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The value of the first field of this name.
    #[inline]
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.list.iter().find(|field| self.is(field, name)).map(|field| field.value.of(&self.text))
    }

    /// The same as text; `None` also where it is not all visible ASCII, spaces and tabs.
    #[must_use]
    pub fn get_str(&self, name: &str) -> Option<&str> {
        str::from_utf8(self.get(name)?).ok().filter(|text| text.is_ascii())
    }

    /// What `Content-Length` says, where it is a number.
    #[must_use]
    pub fn content_length(&self) -> Option<u64> {
        self.get_str(names::CONTENT_LENGTH)?.parse().ok()
    }

    /// The values of all fields of this name, in their order.
    #[inline]
    pub fn all<'a>(&'a self, name: &'a str) -> impl DoubleEndedIterator<Item = &'a [u8]> {
        self.list.iter().filter(move |field| self.is(field, name)).map(|field| field.value.of(&self.text))
    }

    /// True when there is a field of this name.
    #[inline]
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.list.iter().any(|field| self.is(field, name))
    }

    /// All fields, in their order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&str, &[u8])> {
        self.list.iter().map(|field| (self.name(field), field.value.of(&self.text)))
    }

    /// The names as bytes, for whoever only compares them.
    pub fn raw_names(&self) -> impl Iterator<Item = &[u8]> {
        self.list.iter().map(|field| field.name.of(&self.text))
    }

    /// The value of the first field of this name, to be had again until the next head, whatever becomes of the field.
    #[must_use]
    pub fn remember(&self, name: &str) -> Option<Remembered> {
        self.list.iter().find(|field| self.is(field, name)).map(|field| Remembered(field.value))
    }

    /// A value that was remembered of these fields.
    #[must_use]
    pub fn recall(&self, value: Remembered) -> &[u8] {
        value.0.of(&self.text)
    }

    /// Puts a field behind those that are there. A byte that may not stand in a value becomes a space (RFC 9110, 5.5).
    pub fn push(&mut self, name: &str, value: impl AsRef<[u8]>) {
        if let Some(field) = self.written(name, value.as_ref()) {
            self.list.push(field);
        }
    }

    /// Has one field of this name: in the place of the first that is there, else behind all.
    pub fn set(&mut self, name: &str, value: impl AsRef<[u8]>) {
        let Some(field) = self.written(name, value.as_ref()) else { return };
        match self.list.iter().position(|field| self.is(field, name)) {
            None => self.list.push(field),
            Some(first) => {
                self.keep(|at, fields, other| at <= first || !fields.is(other, name));
                if let Some(place) = self.list.get_mut(first) {
                    *place = field;
                }
            }
        }
    }

    /// Has one field of this name, with the value that the first of another name has; none where that is not there.
    pub fn set_as(&mut self, name: &str, other: &str) {
        let value = self.list.iter().find(|field| self.is(field, other)).map(|field| field.value);
        self.remove(name);
        if let (Some(value), Some(field)) = (value, self.written(name, b"")) {
            self.list.push(Field { value, ..field });
        }
    }

    /// The same, with a part of that value; none where there is no such part.
    pub fn set_as_part(&mut self, name: &str, other: &str, part: Range<usize>) {
        let value = self.list.iter().find(|field| self.is(field, other)).map(|field| field.value);
        let value = value.filter(|value| part.end <= value.length as usize).and_then(|value| {
            let start = value.start as usize;
            Span::new(&(start + part.start..start + part.end))
        });
        self.remove(name);
        if let (Some(value), Some(field)) = (value, self.written(name, b"")) {
            self.list.push(Field { value, ..field });
        }
    }

    /// Takes all fields of this name out. True when there was one.
    pub fn remove(&mut self, name: &str) -> bool {
        if !self.contains(name) {
            return false;
        }
        self.keep(|_, fields, field| !fields.is(field, name));
        true
    }

    /// Keeps the fields of which `keeps` is true.
    pub fn retain(&mut self, mut keeps: impl FnMut(&str, &[u8]) -> bool) {
        self.keep(|_, fields, field| keeps(fields.name(field), field.value.of(&fields.text)));
    }

    /// Writes them as they stand in HTTP/1, a line each.
    pub fn write_to(&self, out: &mut Vec<u8>) {
        out.reserve(self.text.len() + self.list.len() * 4);
        for field in &self.list {
            write_line(field.name.of(&self.text), field.value.of(&self.text), out);
        }
    }

    /// The same of all but those with these names, which most heads do not have.
    pub fn write_but(&self, names: &[&str], out: &mut Vec<u8>) {
        if !names.iter().any(|name| self.contains(name)) {
            return self.write_to(out);
        }
        for (name, value) in self.iter().filter(|(name, _)| !names.contains(name)) {
            write_line(name.as_bytes(), value, out);
        }
    }

    #[inline]
    fn is(&self, field: &Field, name: &str) -> bool {
        field.name.length as usize == name.len() && field.name.of(&self.text) == name.as_bytes()
    }

    /// Names are tokens, which are ASCII.
    fn name(&self, field: &Field) -> &str {
        str::from_utf8(field.name.of(&self.text)).unwrap_or_default()
    }

    /// Writes a field's text. `None` beyond 4 GiB, which nothing comes near.
    fn written(&mut self, name: &str, value: &[u8]) -> Option<Field> {
        debug_assert!(!name.bytes().any(|byte| byte.is_ascii_uppercase()), "{name} is not in lower case");
        let start = self.text.len();
        self.text.extend_from_slice(name.as_bytes());
        let middle = self.text.len();
        self.text.extend_from_slice(value);
        let value = self.text.get_mut(middle..).unwrap_or_default();
        // All of them, without an end in between: values are short, and so it takes no branch for each byte.
        if value.iter().fold(false, |any, byte| any | !is_text(*byte)) {
            value.iter_mut().filter(|byte| !is_text(**byte)).for_each(|byte| *byte = b' ');
        }
        Some(Field { name: Span::new(&(start..middle))?, value: Span::new(&(middle..self.text.len()))? })
    }

    fn keep(&mut self, mut keeps: impl FnMut(usize, &Self, &Field) -> bool) {
        let mut list = std::mem::take(&mut self.list);
        let mut at = 0;
        list.retain(|field| {
            at += 1;
            keeps(at - 1, self, field)
        });
        self.list = list;
    }
}

/// Writes one line of a head.
fn write_line(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

impl<N: AsRef<str>, V: AsRef<[u8]>> Extend<(N, V)> for Fields {
    fn extend<I: IntoIterator<Item = (N, V)>>(&mut self, fields: I) {
        fields.into_iter().for_each(|(name, value)| self.push(name.as_ref(), value));
    }
}

impl<N: AsRef<str>, V: AsRef<[u8]>> FromIterator<(N, V)> for Fields {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(fields: I) -> Self {
        let mut all = Self::new();
        all.extend(fields);
        all
    }
}

/// The same fields in the same order.
impl PartialEq for Fields {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Fields {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lines(fields: &Fields) -> Vec<String> {
        fields.iter().map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value))).collect()
    }

    #[test]
    fn fields_of_a_head_stand_where_they_came_with_names_in_lower_case() {
        let mut fields = Fields::new();
        fields.push("old", "1");
        fields.lay(b"Host: a\r\nX: \xe9\r\n");
        fields.place(0..4, 6..7);
        fields.place(9..10, 12..13);
        fields.place(90..91, 0..1);
        assert_eq!(fields.iter().collect::<Vec<_>>(), [("host", &b"a"[..]), ("x", b"\xe9")]);
        assert_eq!((fields.get_str("host"), fields.get_str("x"), fields.get("y")), (Some("a"), None, None));
        let mut out = Vec::new();
        fields.write_to(&mut out);
        assert_eq!(out, b"host: a\r\nx: \xe9\r\n");
    }

    #[test]
    fn what_is_set_takes_the_first_one_s_place_and_the_others_go() {
        let mut fields: Fields = [("a", "1"), ("b", "2"), ("a", "3")].into_iter().collect();
        fields.set("a", "4");
        fields.set("c", "5");
        assert_eq!(lines(&fields), ["a: 4", "b: 2", "c: 5"]);
        fields.set_as("d", "b");
        fields.set_as("c", "none");
        assert_eq!(lines(&fields), ["a: 4", "b: 2", "d: 2"]);
        assert!(fields.remove("a") && !fields.remove("a"));
        fields.push("b", "6, 7");
        assert_eq!(fields.all("b").rev().collect::<Vec<_>>(), [&b"6, 7"[..], b"2"]);
        fields.retain(|name, value| name == "d" || value != b"2");
        assert_eq!(lines(&fields), ["d: 2", "b: 6, 7"]);
    }

    #[test]
    fn a_part_of_a_value_becomes_another_field_s() {
        let mut fields: Fields = [("p", "old"), ("host", "a:81"), ("p", "older")].into_iter().collect();
        fields.set_as_part("p", "host", 2..4);
        assert_eq!(lines(&fields), ["host: a:81", "p: 81"]);
        for part in [2..5, 9..10] {
            fields.push("p", "there");
            fields.set_as_part("p", "host", part);
            assert_eq!(lines(&fields), ["host: a:81"]);
        }
        fields.set_as_part("p", "none", 0..0);
        assert_eq!(lines(&fields), ["host: a:81"]);
    }

    #[test]
    fn what_is_remembered_outlasts_its_field() {
        let mut fields: Fields = [("a", "1"), ("b", "2"), ("a", "3")].into_iter().collect();
        let (first, none) = (fields.remember("a").unwrap(), fields.remember("c"));
        fields.set("a", "4");
        fields.remove("a");
        fields.push("c", "5");
        assert_eq!((fields.recall(first), none.is_none()), (&b"1"[..], true));
        assert!(fields.raw_names().eq([&b"b"[..], b"c"]));
        fields.clear();
        assert_eq!(fields.recall(first), b"");
    }

    #[test]
    fn no_value_ends_its_line() {
        let mut fields = Fields::new();
        fields.push("a", "x\r\nhost: b\0\x7f");
        fields.set("t", "x\ty");
        assert_eq!(lines(&fields), ["a: x  host: b  ", "t: x\ty"]);
    }

    proptest! {
        /// Held against a plain list of pairs.
        #[test]
        fn it_does_what_a_list_of_pairs_would(steps in prop::collection::vec((0..5_u8, 0..4_usize, "[a-z]{0,3}"), 0..40)) {
            const NAMES: [&str; 4] = ["a", "b", "bb", "host"];
            let (mut fields, mut model) = (Fields::new(), Vec::<(&str, String)>::new());
            for (step, name, value) in steps {
                let name = NAMES[name];
                match step {
                    0 | 1 => {
                        fields.push(name, &value);
                        model.push((name, value));
                    }
                    2 => {
                        fields.set(name, &value);
                        let first = model.iter().position(|field| field.0 == name).unwrap_or(model.len());
                        let before = model.iter().take(first).cloned();
                        let after = model.iter().skip(first + 1).filter(|field| field.0 != name).cloned();
                        model = before.chain([(name, value)]).chain(after).collect();
                    }
                    3 => {
                        prop_assert_eq!(fields.remove(name), model.iter().any(|field| field.0 == name));
                        model.retain(|field| field.0 != name);
                    }
                    _ => {
                        fields.retain(|_, text| text != value.as_bytes());
                        model.retain(|field| field.1 != value);
                    }
                }
                let pairs = model.iter().map(|(name, value)| (*name, value.as_bytes()));
                prop_assert!(fields.iter().eq(pairs));
                let first = model.iter().find(|field| field.0 == name).map(|field| field.1.as_bytes());
                prop_assert_eq!((fields.get(name), fields.contains(name)), (first, first.is_some()));
                prop_assert_eq!((fields.len(), fields.is_empty()), (model.len(), model.is_empty()));
            }
        }
    }
}
