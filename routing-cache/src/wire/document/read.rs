//! Readers of plain values: each takes a node and gives a value that cannot be wrong, or says what would be right.

use std::{borrow::Cow, fmt, ops::RangeInclusive, str::FromStr, sync::Arc, time::Duration};

use super::{
    error::{DocumentError, quoted},
    json::{Member, Node},
};
use crate::model::{DurationError, parse_duration};

/// What a reader gives.
pub(super) type Read<T> = Result<T, DocumentError>;

/// The longest name of a route, an upstream or an instance, in bytes. Ours: such names stand in logs and on screens.
const MAX_NAME_BYTES: usize = 128;
/// The longest duration a document may give. Ours: a day; what waits longer than that is not waiting, it is stuck.
const MAX_DURATION: Duration = Duration::from_hours(24);

/// A string.
pub(super) fn text(node: Node<'_>) -> Read<Cow<'_, str>> {
    match node {
        Node::Text(text) => Ok(text),
        other => Err(mismatch("a string", &other)),
    }
}

/// A whole number within `range`.
pub(super) fn whole(node: &Node<'_>, range: RangeInclusive<u64>) -> Read<u64> {
    let expected = || format!("must be a whole number from {} to {}", range.start(), range.end());
    match node {
        Node::Whole(number) if range.contains(number) => Ok(*number),
        Node::Whole(number) => Err(DocumentError::new(format!("{}, is {number}", expected()))),
        Node::Number(number) => Err(DocumentError::new(format!("{}, is {number}", expected()))),
        other => Err(DocumentError::new(format!("{}, is {}", expected(), other.kind()))),
    }
}

/// A whole number within `range`, which is within 32 bits.
pub(super) fn whole_u32(node: &Node<'_>, range: RangeInclusive<u32>) -> Read<u32> {
    let number = whole(node, u64::from(*range.start())..=u64::from(*range.end()))?;
    Ok(u32::try_from(number).unwrap_or(u32::MAX))
}

/// A string that `T` can be parsed from; `T`'s error is put after the string, so it reads `"x" is not ...`.
pub(super) fn parsed<T: FromStr<Err: fmt::Display>>(node: Node<'_>) -> Read<T> {
    text(node)?.parse().map_err(|error: T::Err| DocumentError::new(error.to_string()))
}

/// A string that stands for one of a closed set of values.
pub(super) fn one_of<T: Clone>(node: Node<'_>, choices: &[(&str, T)]) -> Read<T> {
    let text = text(node)?;
    match choices.iter().find(|(name, _)| *name == text) {
        Some((_, value)) => Ok(value.clone()),
        None => {
            let names: Vec<_> = choices.iter().map(|(name, _)| *name).collect();
            Err(DocumentError::new(format!("is {}; must be one of {}", quoted(&text), names.join(", "))))
        }
    }
}

/// A name: 1 to 128 bytes without control characters.
pub(super) fn name(node: Node<'_>) -> Read<Arc<str>> {
    let text = text(node)?;
    check_name(&text)?;
    Ok(Arc::from(&*text))
}

/// Checks a name, which may also be that of an object's member.
pub(super) fn check_name(text: &str) -> Read<()> {
    let problem = match text.len() {
        0 => "is empty".to_owned(),
        length if length > MAX_NAME_BYTES => format!("is {length} bytes long, a name has at most {MAX_NAME_BYTES}"),
        _ if text.chars().any(char::is_control) => "holds a control character".to_owned(),
        _ => return Ok(()),
    };
    Err(DocumentError::new(problem))
}

/// A duration with its unit, above zero and at most a day.
pub(super) fn duration(node: Node<'_>) -> Read<Duration> {
    let text = text(node)?;
    let right = match parse_duration(&text) {
        Ok(duration) if !duration.is_zero() && duration <= MAX_DURATION => return Ok(duration),
        Ok(_) | Err(DurationError::TooLong) => "must be from 1ms to 24h",
        Err(DurationError::Form) => r#"must be a whole number with a unit (ms, s, m or h), such as "250ms" or "5s""#,
    };
    Err(DocumentError::new(format!("{right}, is {}", quoted(&text))))
}

/// A list whose items are read by `read`.
pub(super) fn each<'a, T>(node: Node<'a>, mut read: impl FnMut(Node<'a>) -> Read<T>) -> Read<Vec<T>> {
    let Node::List(items) = node else { return Err(mismatch("a list", &node)) };
    let mut values = Vec::with_capacity(items.len());
    for (index, item) in items.into_iter().enumerate() {
        values.push(read(item).map_err(|error| error.in_item(index))?);
    }
    Ok(values)
}

/// An object with a closed set of fields: `read` gets each once, and answers [`unknown`] to one that it does not know.
pub(super) fn fields<'a>(node: Node<'a>, mut read: impl FnMut(&str, Node<'a>) -> Read<()>) -> Read<()> {
    let mut seen: Vec<Cow<'a, str>> = Vec::new();
    for (name, value) in members(node)? {
        // Quadratic in the known fields only: the first unknown one ends the loop.
        let result = if seen.contains(&name) { Err(twice()) } else { read(&name, value) };
        result.map_err(|error| error.in_field(&name))?;
        seen.push(name);
    }
    Ok(())
}

/// An object with names of the document's own; `read` makes a value of each member.
pub(super) fn entries<'a, T>(node: Node<'a>, mut read: impl FnMut(&str, Node<'a>) -> Read<T>) -> Read<Vec<T>> {
    let members = members(node)?;
    if let Some(name) = repeated(members.iter().map(|(name, _)| name)).and_then(|index| members.get(index)) {
        return Err(twice().in_field(&name.0));
    }
    let mut values = Vec::with_capacity(members.len());
    for (name, value) in members {
        values.push(read(&name, value).map_err(|error| error.in_field(&name))?);
    }
    Ok(values)
}

fn members(node: Node<'_>) -> Read<Vec<Member<'_>>> {
    match node {
        Node::Object(members) => Ok(members),
        other => Err(mismatch("an object", &other)),
    }
}

/// The index of an item that equals one before it.
pub(super) fn repeated<T: Ord>(items: impl Iterator<Item = T>) -> Option<usize> {
    let mut sorted: Vec<(T, usize)> = items.zip(0..).collect();
    sorted.sort_unstable();
    sorted.array_windows().find(|[(a, _), (b, _)]| a == b).map(|[_, (_, index)]| *index)
}

/// The field is not one of `known`.
pub(super) fn unknown(known: &str) -> DocumentError {
    DocumentError::new(format!("is not a known field; known are {known}"))
}

/// The value or the name is there more than once.
pub(super) fn twice() -> DocumentError {
    DocumentError::new("is there twice")
}

/// The field has to be there.
pub(super) fn missing(field: &str) -> DocumentError {
    DocumentError::new("is missing").in_field(field)
}

fn mismatch(expected: &str, found: &Node<'_>) -> DocumentError {
    DocumentError::new(format!("must be {expected}, is {}", found.kind()))
}
