//! The path that is forwarded, and where a redirect points to.

use std::borrow::Cow;

use http::{HeaderValue, Uri, uri::PathAndQuery};
use routing_cache::{
    model::{PathMatch, PathRewrite, Redirect},
    table::NormalPath,
};

use super::target::Target;

/// The target to forward: as it came, or with the path that `rewrite` makes of it; the query stays.
///
/// `None` when the rewritten path cannot be sent.
pub(crate) fn forwarded(target: &Target, rewrite: Option<&PathRewrite>, matched: &Matched<'_>) -> Option<Uri> {
    let Some(rewrite) = rewrite.filter(|_| !target.is_asterisk()) else {
        return Some(Uri::from(target.path_and_query.clone()));
    };
    let path = matched.rewritten(rewrite);
    let text = match target.path_and_query.query() {
        Some(query) => Cow::Owned(format!("{path}?{query}")),
        None => path,
    };
    PathAndQuery::try_from(text.as_ref()).ok().map(Uri::from)
}

/// A path with what of the route it matched.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Matched<'a> {
    /// The path as it was matched.
    pub(crate) path: &'a NormalPath<'a>,
    /// What the route takes.
    pub(crate) route: &'a PathMatch,
}

impl Matched<'_> {
    fn rewritten<'r>(&self, rewrite: &'r PathRewrite) -> Cow<'r, str> {
        match rewrite {
            PathRewrite::Full(path) => Cow::Borrowed(path),
            PathRewrite::Prefix(prefix) => Cow::Owned(join(prefix, self.rest())),
        }
    }

    /// What follows the matched prefix: empty, or starting with a slash.
    fn rest(&self) -> &str {
        let path = self.path.as_str();
        match self.route {
            PathMatch::Exact(_) => "",
            PathMatch::Prefix(prefix) => path.strip_prefix(prefix.trim_end_matches('/')).unwrap_or(path),
        }
    }
}

/// `prefix` and `rest` with one slash between them.
fn join(prefix: &str, rest: &str) -> String {
    match (prefix.strip_suffix('/'), rest.strip_prefix('/')) {
        (Some(bare), Some(_)) => format!("{bare}{rest}"),
        (None, None) if prefix.is_empty() => format!("/{rest}"),
        _ => format!("{prefix}{rest}"),
    }
}

/// The `Location` of a redirect; `None` when it cannot be written, or the request names no host. `scheme` is the
/// client's.
pub(crate) fn location(
    redirect: &Redirect,
    target: &Target,
    matched: &Matched<'_>,
    scheme: &str,
) -> Option<HeaderValue> {
    let path = match &redirect.path {
        Some(rewrite) => matched.rewritten(rewrite),
        None => Cow::Borrowed(target.path_and_query.path()),
    };
    let query = target.path_and_query.query().filter(|_| redirect.keep_query);
    let query = query.map_or_else(String::new, |q| format!("?{q}"));
    let text = if is_relative(redirect) {
        // Two slashes would be read as the start of a host, and browsers take a backslash for a slash.
        format!("/{}{query}", path.trim_start_matches(['/', '\\']))
    } else {
        format!("{}{path}{query}", origin(redirect, target, scheme)?)
    };
    HeaderValue::from_str(&text).ok()
}

/// True where only the path changes: the client's own view of scheme, host and port is then better than ours.
fn is_relative(redirect: &Redirect) -> bool {
    redirect.scheme.is_none() && redirect.host.is_none() && redirect.port.is_none() && redirect.path.is_some()
}

fn origin(redirect: &Redirect, target: &Target, scheme: &str) -> Option<String> {
    let scheme = redirect.scheme.as_deref().unwrap_or(scheme);
    let authority = target.authority.as_ref().and_then(|a| a.to_str().ok());
    let host = match redirect.host.as_deref() {
        Some(host) => host,
        None => without_port(authority?),
    };
    // The port the client used goes along only where it still fits: same scheme, no port of the redirect's own.
    let kept = target.port().filter(|_| redirect.scheme.is_none()).and_then(|p| p.parse().ok());
    let port = redirect.port.or(kept).filter(|&port| default_port(scheme) != Some(port));
    Some(port.map_or_else(|| format!("{scheme}://{host}"), |port| format!("{scheme}://{host}:{port}")))
}

fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    }
}

fn without_port(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
        _ => authority,
    }
}
