//! A document as a tree of JSON values that borrows its text.
//!
//! Unlike `serde_json::Value` it keeps every member of an object, in order, so that a name that is there twice can be
//! seen and refused. Depth is bounded by `serde_json` (128 levels), which answers with an error.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};

use super::error::DocumentError;

/// One JSON value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Node<'a> {
    /// `null`
    Null,
    /// `true` or `false`
    Flag(bool),
    /// A number that is whole and not below zero.
    Whole(u64),
    /// Any other number.
    Number(f64),
    /// A string.
    Text(Cow<'a, str>),
    /// An array.
    List(Vec<Node<'a>>),
    /// An object with all its members as they came.
    Object(Vec<Member<'a>>),
}

/// A name and its value.
pub(super) type Member<'a> = (Cow<'a, str>, Node<'a>);

impl Node<'_> {
    /// What it is, for "must be a string, is ...".
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Flag(_) => "true or false",
            Self::Whole(_) | Self::Number(_) => "a number",
            Self::Text(_) => "a string",
            Self::List(_) => "a list",
            Self::Object(_) => "an object",
        }
    }
}

/// Reads a whole document.
///
/// # Errors
/// When it is not one JSON value in UTF-8, or nested deeper than 128 levels.
pub(super) fn read(document: &[u8]) -> Result<Node<'_>, DocumentError> {
    serde_json::from_slice(document).map_err(|error| DocumentError::new(format!("is not JSON: {error}")))
}

impl<'de> Deserialize<'de> for Node<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Node::Null)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Self::Value, E> {
        Ok(Node::Flag(flag))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
        Ok(Node::Whole(number))
    }

    /// Only a number below zero comes this way, and all it is good for is to be shown in an error.
    fn visit_i64<E>(self, number: i64) -> Result<Self::Value, E> {
        Ok(Node::Number(number as f64))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Self::Value, E> {
        Ok(Node::Number(number))
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Node::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Node::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Node::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let mut object = Vec::new();
        while let Some((Name(name), value)) = members.next_entry()? {
            object.push((name, value));
        }
        Ok(Node::Object(object))
    }
}

/// The name of a member, borrowed where it holds no escape (`Cow` alone would copy it).
struct Name<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameVisitor;

        impl<'de> Visitor<'de> for NameVisitor {
            type Value = Name<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Name(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Name(Cow::Owned(text.to_owned())))
            }
        }

        deserializer.deserialize_str(NameVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_member_is_kept_and_text_without_escapes_is_borrowed() {
        let Node::Object(members) = read(br#"{"a":1,"a":-2,"\u0062":"x\ny"}"#).unwrap() else { panic!("no object") };
        assert_eq!(members[0], (Cow::Borrowed("a"), Node::Whole(1)));
        assert_eq!(members[1], (Cow::Borrowed("a"), Node::Number(-2.0)));
        assert_eq!(members[2], (Cow::Borrowed("b"), Node::Text(Cow::Borrowed("x\ny"))));
        assert!(matches!(members[0].0, Cow::Borrowed(_)));
    }

    #[test]
    fn what_is_not_one_json_value_says_so() {
        for document in [&b""[..], b"{", b"{} {}", b"\xff", b"\"\xff\"", b"{a:1}", b"[1,]"] {
            let error = read(document).unwrap_err();
            assert!(error.field.is_empty() && error.message.starts_with("is not JSON: "), "{error}");
        }
    }

    #[test]
    fn depth_ends_in_an_error_and_not_in_the_stack() {
        for open in ["[", "{\"a\":"] {
            let error = read(open.repeat(100_000).as_bytes()).unwrap_err();
            assert!(error.message.contains("recursion limit"), "{error}");
        }
    }
}
