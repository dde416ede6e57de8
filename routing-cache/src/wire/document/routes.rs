//! Routes of a document: what each takes, in the order in which they are tried, and what becomes of it.

use std::{cmp::Reverse, sync::Arc};

use http::Method;

use super::{
    error::DocumentError,
    headers,
    json::Node,
    paths, policy,
    read::{Read, each, fields, missing, name, text, unknown},
    targets,
};
use crate::model::{
    Action, HeaderOps, PathMatch, PathRewrite, Redirect, Retries, Route, RouteMatch, Timeouts, Upstream,
    WeightedUpstream,
};

/// The one route of the short form: everything to the one upstream.
pub(super) fn of_short_form() -> Route {
    Route {
        name: None,
        matches: everything(),
        action: Action::Forward { to: vec![targets::whole_share(0)], rewrite: None },
        request_headers: HeaderOps::default(),
        response_headers: HeaderOps::default(),
        timeouts: Timeouts::default(),
        retries: Retries::default(),
    }
}

fn everything() -> RouteMatch {
    RouteMatch { path: paths::any(), methods: Vec::new(), headers: Vec::new() }
}

/// A list of routes, sorted so that the first that matches is the most specific one. `upstreams` is sorted by name.
pub(super) fn routes(node: Node<'_>, upstreams: &[Upstream]) -> Read<Vec<Route>> {
    let mut routes = each(node, |node| route(node, upstreams))?;
    if routes.is_empty() {
        return Err(DocumentError::new("is empty"));
    }
    routes.sort_by_key(|route| precedence(&route.matches));
    Ok(routes)
}

/// Gateway API's order: exact path, longest prefix, with a method, more headers. The sort is stable, which leaves the
/// order written as the last word. Of two prefixes of one path the longer text has more elements.
fn precedence(matches: &RouteMatch) -> (bool, Reverse<usize>, bool, Reverse<usize>) {
    let (is_prefix, length) = match &matches.path {
        PathMatch::Exact(_) => (false, 0),
        PathMatch::Prefix(prefix) => (true, prefix.len()),
    };
    (is_prefix, Reverse(length), matches.methods.is_empty(), Reverse(matches.headers.len()))
}

/// A route while its fields come in, in any order.
#[derive(Default)]
struct Draft {
    name: Option<Arc<str>>,
    matches: Option<RouteMatch>,
    to: Option<Vec<WeightedUpstream>>,
    redirect: Option<Redirect>,
    rewrite: Option<PathRewrite>,
    request_headers: Option<HeaderOps>,
    response_headers: HeaderOps,
    timeouts: Option<Timeouts>,
    retries: Option<Retries>,
}

fn route(node: Node<'_>, upstreams: &[Upstream]) -> Read<Route> {
    let mut draft = Draft::default();
    fields(node, |field, node| {
        match field {
            "name" => draft.name = Some(name(node)?),
            "match" => draft.matches = Some(matches(node)?),
            "to" => draft.to = Some(targets::to(node, upstreams)?),
            "redirect" => draft.redirect = Some(targets::redirect(node)?),
            "rewrite" => draft.rewrite = Some(targets::rewrite(node)?),
            "request_headers" => draft.request_headers = Some(headers::ops(node)?),
            "response_headers" => draft.response_headers = headers::ops(node)?,
            "timeouts" => draft.timeouts = Some(policy::timeouts(node)?),
            "retries" => draft.retries = Some(policy::retries(node)?),
            _ => return Err(unknown(ROUTE_FIELDS)),
        }
        Ok(())
    })?;
    draft.finish()
}

const ROUTE_FIELDS: &str = "name, match, to, redirect, rewrite, request_headers, response_headers, timeouts, retries";

impl Draft {
    fn finish(mut self) -> Read<Route> {
        let matches = self.matches.take().unwrap_or_else(everything);
        let action = self.action(&matches.path)?;
        let (retries, timeouts) = (self.retries.unwrap_or_default(), self.timeouts.unwrap_or_default());
        policy::check_per_try(&retries, &timeouts)?;
        Ok(Route {
            name: self.name,
            matches,
            action,
            request_headers: self.request_headers.unwrap_or_default(),
            response_headers: self.response_headers,
            timeouts,
            retries,
        })
    }

    fn action(&mut self, matched: &PathMatch) -> Read<Action> {
        match (self.to.take(), self.redirect.take()) {
            (Some(_), Some(_)) => Err(DocumentError::new("has both `to` and `redirect`")),
            (None, None) => Err(DocumentError::new("has neither `to` nor `redirect`")),
            (Some(to), None) => {
                check_rewrite(self.rewrite.as_ref(), matched).map_err(|error| error.in_field("rewrite"))?;
                Ok(Action::Forward { to, rewrite: self.rewrite.take() })
            }
            (None, Some(redirect)) => {
                check_rewrite(redirect.path.as_ref(), matched).map_err(|error| error.in_field("redirect"))?;
                self.check_nothing_for_an_upstream()?;
                Ok(Action::Redirect(redirect))
            }
        }
    }

    /// What would have no effect is refused, so that nobody relies on it.
    fn check_nothing_for_an_upstream(&self) -> Read<()> {
        let given = [
            ("rewrite", self.rewrite.is_some()),
            ("request_headers", self.request_headers.is_some()),
            ("timeouts", self.timeouts.is_some()),
            ("retries", self.retries.is_some()),
        ];
        match given.iter().find(|(_, given)| *given) {
            Some((field, _)) => Err(DocumentError::new("has no effect on a redirect").in_field(field)),
            None => Ok(()),
        }
    }
}

/// A prefix can only be replaced where one was matched.
fn check_rewrite(rewrite: Option<&PathRewrite>, matched: &PathMatch) -> Read<()> {
    match (rewrite, matched) {
        (Some(PathRewrite::Prefix(_)), PathMatch::Exact(_)) => {
            Err(DocumentError::new("needs a match by prefix; with an exact path give `path`").in_field("prefix"))
        }
        _ => Ok(()),
    }
}

fn matches(node: Node<'_>) -> Read<RouteMatch> {
    let mut matches = everything();
    fields(node, |field, node| {
        match field {
            "path" => matches.path = path_match(node)?,
            "methods" => matches.methods = each(node, method)?,
            "headers" => matches.headers = headers::headers(node)?,
            _ => return Err(unknown("path, methods, headers")),
        }
        Ok(())
    })?;
    Ok(matches)
}

/// `{"prefix":"/api"}` or `{"exact":"/old"}`
fn path_match(node: Node<'_>) -> Read<PathMatch> {
    let mut path = None;
    fields(node, |field, node| {
        if path.is_some() {
            return Err(DocumentError::new("cannot stand beside another match by path"));
        }
        path = Some(match field {
            "prefix" => PathMatch::Prefix(paths::prefix(node)?),
            "exact" => PathMatch::Exact(paths::path(node)?),
            _ => return Err(unknown("prefix, exact")),
        });
        Ok(())
    })?;
    path.ok_or_else(|| missing("prefix"))
}

/// Methods are compared with their case (RFC 9110, 9.1), so `get` would never be asked for.
fn method(node: Node<'_>) -> Read<Method> {
    let text = text(node)?;
    let upper = !text.bytes().any(|byte| byte.is_ascii_lowercase());
    Method::from_bytes(text.as_bytes())
        .ok()
        .filter(|_| upper)
        .ok_or_else(|| DocumentError::new("is not a method; methods are in upper case"))
}
