//! What somebody may have meant: the nearest of some words, by the edits between them.

/// The word nearest to `text`, if it is near enough for a slip: a third of its letters at most, and never all of them.
pub(super) fn nearest<'a>(text: &str, words: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let allowed = |word: &str| (word.chars().count().max(text.chars().count()) / 3).max(1);
    let near = words.map(|word| (distance(text, word), word)).filter(|(edits, word)| *edits <= allowed(word));
    near.min_by_key(|(edits, _)| *edits).map(|(_, word)| word)
}

/// The number of letters to add, drop or replace to make `b` of `a`.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, letter) in a.chars().enumerate() {
        let mut left = i + 1;
        let mut next = vec![left];
        for (above, (other, diagonal)) in row.iter().skip(1).zip(b.chars().zip(&row)) {
            left = (left + 1).min(above + 1).min(diagonal + usize::from(letter != other));
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_finds_the_word_that_was_meant_and_a_stranger_finds_none() {
        let words = ["max_connections", "header_bytes", "header_timeout"];
        let check = |text, expected| assert_eq!(nearest(text, words.into_iter()), expected, "{text}");
        check("max_conections", Some("max_connections"));
        check("header_byte", Some("header_bytes"));
        check("headr_timeuot", Some("header_timeout"));
        assert_eq!(nearest("alow", ["allow_all", "slow", "allow"].into_iter()), Some("slow"));
        assert_eq!(nearest("headers_bytes", ["header_byte", "header_bytes"].into_iter()), Some("header_bytes"));
        check("colour", None);
        check("", None);
    }

    #[test]
    fn the_distance_counts_single_letters() {
        for (a, b, expected) in
            [("", "", 0), ("a", "", 1), ("kitten", "sitting", 3), ("url", "ulr", 2), ("abcd", "abd", 1)]
        {
            assert_eq!(distance(a, b), expected, "{a} {b}");
        }
    }
}
