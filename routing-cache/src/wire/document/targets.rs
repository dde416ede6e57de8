//! What becomes of a request: the upstreams of a route, its redirect, its rewrite.

use std::sync::Arc;

use super::{
    error::{DocumentError, quoted},
    json::Node,
    paths,
    read::{Read, each, fields, missing, one_of, repeated, text, twice, unknown, whole, whole_u32},
    upstreams::dns_name,
};
use crate::model::{PathRewrite, Redirect, RedirectStatus, Upstream, WeightedUpstream};

/// The most one upstream's weight may be. Source: Gateway API, HTTPBackendRef.
const MAX_WEIGHT: u32 = 1_000_000;

/// The only upstream of a route.
pub(super) fn whole_share(upstream: usize) -> WeightedUpstream {
    WeightedUpstream { upstream, weight: 1 }
}

/// The name of an upstream, or a weighted list of them. `upstreams` is sorted by name.
pub(super) fn to(node: Node<'_>, upstreams: &[Upstream]) -> Read<Vec<WeightedUpstream>> {
    if let Node::Text(name) = &node {
        return Ok(vec![whole_share(index_of(name, upstreams)?)]);
    }
    let to = each(node, |node| weighted(node, upstreams))?;
    if let Some(index) = repeated(to.iter().map(|share| share.upstream)) {
        return Err(twice().in_field("upstream").in_item(index));
    }
    if to.iter().all(|share| share.weight == 0) {
        return Err(DocumentError::new("must have an upstream with a weight above 0"));
    }
    Ok(to)
}

fn weighted(node: Node<'_>, upstreams: &[Upstream]) -> Read<WeightedUpstream> {
    let (mut upstream, mut weight) = (None, 1);
    fields(node, |field, node| {
        match field {
            "upstream" => upstream = Some(index_of(&text(node)?, upstreams)?),
            "weight" => weight = whole_u32(&node, 0..=MAX_WEIGHT)?,
            _ => return Err(unknown("upstream, weight")),
        }
        Ok(())
    })?;
    let upstream = upstream.ok_or_else(|| missing("upstream"))?;
    Ok(WeightedUpstream { upstream, weight })
}

fn index_of(name: &str, upstreams: &[Upstream]) -> Read<usize> {
    upstreams
        .binary_search_by(|upstream| (*upstream.name).cmp(name))
        .map_err(|_| DocumentError::new(format!("{} is not one of `upstreams`", quoted(name))))
}

/// `{"prefix":"/"}` or `{"path":"/new"}`
pub(super) fn rewrite(node: Node<'_>) -> Read<PathRewrite> {
    let mut rewrite = None;
    fields(node, |field, node| match field {
        "prefix" | "path" => put_path(field, node, &mut rewrite),
        _ => Err(unknown("prefix, path")),
    })?;
    rewrite.ok_or_else(|| missing("prefix"))
}

fn put_path(field: &str, node: Node<'_>, place: &mut Option<PathRewrite>) -> Read<()> {
    if place.is_some() {
        return Err(DocumentError::new("cannot stand beside another path"));
    }
    *place = Some(match field {
        "prefix" => PathRewrite::Prefix(paths::prefix(node)?),
        _ => PathRewrite::Full(paths::path(node)?),
    });
    Ok(())
}

/// `{"status":308,"path":"/new"}`
pub(super) fn redirect(node: Node<'_>) -> Read<Redirect> {
    let mut status = None;
    let mut redirect = Parts { keep_query: true, ..Parts::default() };
    fields(node, |field, node| {
        match field {
            "status" => status = Some(redirect_status(&node)?),
            "scheme" => redirect.scheme = Some(Arc::from(one_of(node, &[("http", "http"), ("https", "https")])?)),
            "host" => redirect.host = Some(dns_name(node)?),
            "port" => redirect.port = Some(port(&node)?),
            "path" | "prefix" => put_path(field, node, &mut redirect.path)?,
            "query" => redirect.keep_query = one_of(node, &[("keep", true), ("drop", false)])?,
            _ => return Err(unknown("status, scheme, host, port, path, prefix, query")),
        }
        Ok(())
    })?;
    redirect.with(status.ok_or_else(|| missing("status"))?)
}

/// A redirect without its status.
#[derive(Default)]
struct Parts {
    scheme: Option<Arc<str>>,
    host: Option<Arc<str>>,
    port: Option<u16>,
    path: Option<PathRewrite>,
    keep_query: bool,
}

impl Parts {
    fn with(self, status: RedirectStatus) -> Read<Redirect> {
        let Self { scheme, host, port, path, keep_query } = self;
        if scheme.is_none() && host.is_none() && port.is_none() && path.is_none() {
            return Err(DocumentError::new("leads to itself: give scheme, host, port, path or prefix"));
        }
        Ok(Redirect { status, scheme, host, port, path, keep_query })
    }
}

fn redirect_status(node: &Node<'_>) -> Read<RedirectStatus> {
    let code = whole(node, 0..=u64::from(u16::MAX))?;
    let status = u16::try_from(code).ok().and_then(RedirectStatus::new);
    status.ok_or_else(|| DocumentError::new(format!("must be 301, 302, 303, 307 or 308, is {code}")))
}

fn port(node: &Node<'_>) -> Read<u16> {
    whole(node, 1..=u64::from(u16::MAX)).map(|port| u16::try_from(port).unwrap_or(u16::MAX))
}
