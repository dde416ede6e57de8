//! Paths of a document: to match by, to rewrite to and to ask for.

use std::sync::{Arc, LazyLock};

use http::uri::PathAndQuery;

use super::{
    error::DocumentError,
    json::Node,
    read::{Read, text},
};
use crate::model::{NormalPath, PathMatch};

/// One copy for the many routes that take everything.
static ROOT: LazyLock<Arc<str>> = LazyLock::new(|| Arc::from("/"));

/// The match of a route that names no path: everything.
pub(super) fn any() -> PathMatch {
    PathMatch::Prefix(Arc::clone(&ROOT))
}

/// A path in its normal form, without a query.
pub(super) fn path(node: Node<'_>) -> Read<Arc<str>> {
    normal(&text(node)?)
}

/// A path that what follows is put behind: without its trailing slash, except for the root.
pub(super) fn prefix(node: Node<'_>) -> Read<Arc<str>> {
    let path = path(node)?;
    match path.strip_suffix('/') {
        None | Some("") => Ok(path),
        Some(shorter) if shorter.ends_with('/') => Err(DocumentError::new("ends with an empty path element")),
        Some(shorter) => Ok(Arc::from(shorter)),
    }
}

/// A path with an optional query, as it is sent.
pub(super) fn target(node: Node<'_>) -> Read<Arc<str>> {
    let text = text(node)?;
    if !text.starts_with('/') {
        return Err(DocumentError::new("must start with a slash"));
    }
    check_sendable(&text)?;
    Ok(Arc::from(&*text))
}

fn normal(text: &str) -> Read<Arc<str>> {
    if text == "/" {
        return Ok(Arc::clone(&ROOT));
    }
    if let Some(character) = text.chars().find(|c| matches!(c, '?' | '#')) {
        return Err(DocumentError::new(format!("holds {character:?}, a path has no query and no fragment")));
    }
    let path = NormalPath::new(text).map_err(|error| DocumentError::new(error.to_string()))?;
    check_sendable(path.as_str())?;
    Ok(Arc::from(path.as_str()))
}

/// What cannot stand in a request line can neither be matched nor sent.
fn check_sendable(path: &str) -> Read<()> {
    let sendable = !path.contains('#') && PathAndQuery::try_from(path).is_ok();
    if sendable {
        Ok(())
    } else {
        Err(DocumentError::new("holds a character that a URL does not have; percent-encode it"))
    }
}
