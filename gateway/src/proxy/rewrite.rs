//! The path that is forwarded, and where a redirect points to.

use std::borrow::Cow;

use routing_cache::{
    model::{PathMatch, PathRewrite, Redirect},
    table::NormalPath,
};

use super::target::{self, Target};
use crate::message::{Fields, names, text::value_length};

/// The target to forward: as it came, or with the path that `rewrite` makes of it; the query stays.
///
/// `None` when the rewritten path cannot be sent.
pub(crate) fn forwarded<'a>(
    target: Target<'a>,
    rewrite: Option<&'a PathRewrite>,
    matched: &Matched<'_>,
) -> Option<Cow<'a, str>> {
    let Some(rewrite) = rewrite.filter(|_| !target.is_asterisk()) else {
        return Some(Cow::Borrowed(target.as_str()));
    };
    let path = matched.rewritten(rewrite);
    let text = match target.query() {
        Some(query) => Cow::Owned(format!("{path}?{query}")),
        None => path,
    };
    Target::of(&text).is_some().then_some(text)
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

/// Where a request came to be redirected.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin<'a> {
    /// What was asked for.
    pub(crate) target: Target<'a>,
    /// By which scheme.
    pub(crate) scheme: &'a str,
    /// The host is among them.
    pub(crate) fields: &'a Fields,
}

/// The `Location` of a redirect; `None` when it cannot be written, or the request names no host.
pub(crate) fn location(redirect: &Redirect, matched: &Matched<'_>, asked: Origin<'_>) -> Option<String> {
    let path = match &redirect.path {
        Some(rewrite) => matched.rewritten(rewrite),
        None => Cow::Borrowed(asked.target.raw_path()),
    };
    let query = asked.target.query().filter(|_| redirect.keep_query);
    let query = query.map_or_else(String::new, |q| format!("?{q}"));
    let text = if is_relative(redirect) {
        // Two slashes would be read as the start of a host, and browsers take a backslash for a slash.
        format!("/{}{query}", path.trim_start_matches(['/', '\\']))
    } else {
        format!("{}{path}{query}", origin(redirect, asked)?)
    };
    (value_length(text.as_bytes()) == text.len()).then_some(text)
}

/// True where only the path changes: the client's own view of scheme, host and port is then better than ours.
fn is_relative(redirect: &Redirect) -> bool {
    redirect.scheme.is_none() && redirect.host.is_none() && redirect.port.is_none() && redirect.path.is_some()
}

fn origin(redirect: &Redirect, asked: Origin<'_>) -> Option<String> {
    let scheme = redirect.scheme.as_deref().unwrap_or(asked.scheme);
    let authority = asked.fields.get_str(names::HOST);
    let host = match redirect.host.as_deref() {
        Some(host) => host,
        None => without_port(authority?),
    };
    // The port the client used goes along only where it still fits: same scheme, no port of the redirect's own.
    let named = authority.and_then(|authority| authority.get(target::port(authority.as_bytes())?));
    let kept = named.filter(|_| redirect.scheme.is_none()).and_then(|p| p.parse().ok());
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
