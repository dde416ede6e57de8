//! Headers of a document: to match by, and changes to those of a message.

use http::{HeaderName, HeaderValue, header};

use super::{
    error::DocumentError,
    json::Node,
    read::{Read, each, entries, fields, repeated, text, twice, unknown},
};
use crate::model::HeaderOps;

/// What an app may neither set, add nor remove: the names by which a connection is kept in step. The gateway writes them
/// itself, and a second opinion about where a message ends is request smuggling.
/// Source: RFC 9110, 7.6.1 (hop by hop), 8.6 and 10.1 (length, `Expect`), 7.2 (`Host`, of which there is exactly one).
const RESERVED: [HeaderName; 10] = [
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::EXPECT,
    header::HOST,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Headers with one value each; no name twice, in whatever case it is written.
pub(super) fn headers(node: Node<'_>) -> Read<Vec<(HeaderName, HeaderValue)>> {
    let headers = entries(node, |key, node| Ok((name(key)?, value(node)?)))?;
    match repeated(headers.iter().map(|(name, _)| name.as_str())).and_then(|index| headers.get(index)) {
        Some((name, _)) => Err(twice().in_field(name.as_str())),
        None => Ok(headers),
    }
}

/// `{"set":{},"add":{},"remove":[]}`
pub(super) fn ops(node: Node<'_>) -> Read<HeaderOps> {
    let mut ops = HeaderOps::default();
    fields(node, |field, node| {
        match field {
            "set" => ops.set = changed(node)?,
            "add" => ops.add = changed(node)?,
            "remove" => ops.remove = each(node, |node| allowed(name(&text(node)?)?))?,
            _ => return Err(unknown("set, add, remove")),
        }
        Ok(())
    })?;
    Ok(ops)
}

fn changed(node: Node<'_>) -> Read<Vec<(HeaderName, HeaderValue)>> {
    let headers = headers(node)?;
    match headers.iter().find(|(name, _)| RESERVED.contains(name)) {
        Some((name, _)) => Err(reserved().in_field(name.as_str())),
        None => Ok(headers),
    }
}

fn allowed(name: HeaderName) -> Read<HeaderName> {
    if RESERVED.contains(&name) { Err(reserved()) } else { Ok(name) }
}

fn reserved() -> DocumentError {
    DocumentError::new("belongs to the connection or to the framing of messages, an app cannot change it")
}

/// The name of a header, from a string or from the name of a member.
pub(super) fn name(text: &str) -> Read<HeaderName> {
    HeaderName::from_bytes(text.as_bytes()).map_err(|_| DocumentError::new("is not the name of a header"))
}

/// Spaces at the ends are refused: they do not survive the way (RFC 9110, 5.5), so such a value would never match.
fn value(node: Node<'_>) -> Read<HeaderValue> {
    let text = text(node)?;
    if text.trim_matches([' ', '\t']) != text {
        return Err(DocumentError::new("starts or ends with a space"));
    }
    HeaderValue::from_str(&text).map_err(|_| DocumentError::new("holds a character that a header's value cannot have"))
}
