//! Why a document is not an app, and where in it.
//!
//! An error is made where the value is read, without a place; each reader on the way out puts its own step in front. So
//! a good document pays nothing for the paths, and a bad one names the field.

use std::fmt;

/// The longest piece of a document that an error repeats, in characters: errors travel in acks and logs.
const MAX_QUOTED_CHARS: usize = 64;

/// Why a document is not an app: names the field (`routes[0].match.path.prefix: ...`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DocumentError {
    /// The path of the field; empty when it is the document as a whole.
    pub field: String,
    /// What is wrong with it.
    pub message: String,
}

impl fmt::Display for DocumentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for DocumentError {}

impl DocumentError {
    /// An error about the document as a whole.
    #[must_use]
    pub fn new(message: impl Into<String>) -> Self {
        Self { field: String::new(), message: message.into() }
    }

    /// The same error, seen from the object that has the field `name`.
    pub(crate) fn in_field(mut self, name: &str) -> Self {
        self.field = match self.field.as_str() {
            "" => step(name),
            rest if rest.starts_with('[') => format!("{}{rest}", step(name)),
            rest => format!("{}.{rest}", step(name)),
        };
        self
    }

    /// The same error, seen from the list that has it at `index`.
    pub(crate) fn in_item(mut self, index: usize) -> Self {
        let dot = if self.field.is_empty() || self.field.starts_with('[') { "" } else { "." };
        self.field = format!("[{index}]{dot}{}", self.field);
        self
    }
}

/// A name as it is, or quoted in brackets where it would be mistaken for more than one step.
fn step(name: &str) -> String {
    let simple = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    if !name.is_empty() && name.len() <= MAX_QUOTED_CHARS && name.chars().all(simple) {
        name.to_owned()
    } else {
        format!("[{}]", quoted(name))
    }
}

/// `text` in quotes, escaped, and cut when it is long.
pub(crate) fn quoted(text: &str) -> String {
    match text.char_indices().nth(MAX_QUOTED_CHARS) {
        Some((end, _)) => format!("{:?}...", text.get(..end).unwrap_or_default()),
        None => format!("{text:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_of_a_field_is_built_from_the_inside_out() {
        let error = DocumentError::new("is odd").in_field("prefix").in_field("path").in_item(3).in_field("routes");
        assert_eq!(error.to_string(), "routes[3].path.prefix: is odd");
        assert_eq!(DocumentError::new("is odd").in_item(0).in_field("hosts").to_string(), "hosts[0]: is odd");
        assert_eq!(DocumentError::new("is odd").in_item(2).in_item(1).to_string(), "[1][2]: is odd");
        assert_eq!(DocumentError::new("is odd").to_string(), "is odd");
    }

    #[test]
    fn a_name_that_is_not_plain_is_quoted_and_cut() {
        let field = |name: &str| DocumentError::new("").in_field(name).in_field("upstreams").field;
        assert_eq!(field("a.b"), "upstreams[\"a.b\"]");
        assert_eq!(field(""), "upstreams[\"\"]");
        assert_eq!(field("a\nb"), "upstreams[\"a\\nb\"]");
        assert_eq!(field(&"ü".repeat(1000)), format!("upstreams[\"{}\"...]", "ü".repeat(64)));
    }
}
