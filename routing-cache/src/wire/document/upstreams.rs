//! Upstreams of a document: endpoints, and how one is chosen, spoken to and checked.

use std::{
    sync::{Arc, LazyLock},
    time::Duration,
};

use http::HeaderName;

use super::{
    error::{DocumentError, quoted},
    headers,
    json::Node,
    paths,
    read::{
        Read, check_name, duration, each, entries, fields, missing, name, one_of, parsed, repeated, text, twice,
        unknown, whole, whole_u32,
    },
};
use crate::model::{Address, Balance, Endpoint, HashKey, HealthCheck, HostPattern, Protocol, Upstream, UpstreamTls};

/// The name of the one upstream of the short form, one copy for all of them. Source: spec/app-document.md.
static DEFAULT: LazyLock<Arc<str>> = LazyLock::new(|| Arc::from("default"));

/// The share of an endpoint that gives none.
pub(super) const DEFAULT_WEIGHT: u16 = 1;
/// The most connections or waiting requests an app may give. Ours: more than a process has descriptors.
const MAX_COUNT: u32 = 1_000_000;
/// The most checks in a row that may be asked for before an endpoint changes its state. Ours.
const MAX_CHECKS: u32 = 100;

const PROTOCOLS: [(&str, Protocol); 4] = [
    (Protocol::Http1.as_str(), Protocol::Http1),
    (Protocol::H2c.as_str(), Protocol::H2c),
    (Protocol::H2.as_str(), Protocol::H2),
    (Protocol::Https.as_str(), Protocol::Https),
];
const BALANCES: [(&str, Balance); 3] =
    [("least-request", Balance::LeastRequest), ("round-robin", Balance::RoundRobin), ("random", Balance::Random)];

/// The one upstream of the short form.
pub(super) fn of_short_form(endpoints: Vec<Endpoint>) -> Upstream {
    with(Arc::clone(&DEFAULT), endpoints)
}

fn with(name: Arc<str>, endpoints: Vec<Endpoint>) -> Upstream {
    Upstream {
        name,
        endpoints,
        protocol: Protocol::default(),
        balance: Balance::default(),
        sticky_cookie: None,
        health: None,
        max_connections: None,
        max_pending: None,
        tls: None,
    }
}

/// `{"NAME":{...}}`, sorted by name.
pub(super) fn upstreams(node: Node<'_>) -> Read<Vec<Upstream>> {
    let mut upstreams = entries(node, upstream)?;
    upstreams.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    Ok(upstreams)
}

fn upstream(name: &str, node: Node<'_>) -> Read<Upstream> {
    check_name(name)?;
    let mut upstream = with(Arc::from(name), Vec::new());
    let mut has_endpoints = false;
    fields(node, |field, node| {
        match field {
            "endpoints" => (upstream.endpoints, has_endpoints) = (endpoints(node)?, true),
            "protocol" => upstream.protocol = one_of(node, &PROTOCOLS)?,
            "balance" => balance(node, &mut upstream)?,
            "sticky" => upstream.sticky_cookie = Some(sticky(node)?),
            "health" => upstream.health = Some(health(node)?),
            "max_connections" => upstream.max_connections = Some(whole_u32(&node, 1..=MAX_COUNT)?),
            "max_pending" => upstream.max_pending = Some(whole_u32(&node, 0..=MAX_COUNT)?),
            "tls" => upstream.tls = Some(tls(node)?),
            _ => return Err(unknown(UPSTREAM_FIELDS)),
        }
        Ok(())
    })?;
    if has_endpoints { Ok(upstream) } else { Err(missing("endpoints")) }
}

const UPSTREAM_FIELDS: &str = "endpoints, protocol, balance, sticky, health, max_connections, max_pending, tls";

/// A list of addresses, each alone or with its weight; none twice. It may be empty: that is an app that answers 503.
pub(super) fn endpoints(node: Node<'_>) -> Read<Vec<Endpoint>> {
    let endpoints = each(node, endpoint)?;
    match repeated(endpoints.iter().map(|endpoint| &endpoint.address)) {
        Some(index) => Err(twice().in_item(index)),
        None => Ok(endpoints),
    }
}

fn endpoint(node: Node<'_>) -> Read<Endpoint> {
    if matches!(node, Node::Text(_)) {
        return Ok(Endpoint { address: parsed(node)?, weight: DEFAULT_WEIGHT, instance: None });
    }
    let mut address: Option<Address> = None;
    let (mut weight, mut instance) = (DEFAULT_WEIGHT, None);
    fields(node, |field, node| {
        match field {
            "address" => address = Some(parsed(node)?),
            "weight" => weight = u16::try_from(whole(&node, 0..=u64::from(u16::MAX))?).unwrap_or(u16::MAX),
            "instance" => instance = Some(name(node)?),
            _ => return Err(unknown("address, weight, instance")),
        }
        Ok(())
    })?;
    let address = address.ok_or_else(|| missing("address"))?;
    Ok(Endpoint { address, weight, instance })
}

/// A word, or an object that names what keeps a client where it is: a hash of something, or a cookie of ours.
fn balance(node: Node<'_>, upstream: &mut Upstream) -> Read<()> {
    if matches!(node, Node::Text(_)) {
        upstream.balance = one_of(node, &BALANCES)?;
        return Ok(());
    }
    fields(node, |field, node| {
        match field {
            "hash" => upstream.balance = Balance::Hash(hash_key(node)?),
            "sticky" => upstream.sticky_cookie = Some(sticky(node)?),
            _ => return Err(unknown("hash, sticky")),
        }
        Ok(())
    })
}

fn hash_key(node: Node<'_>) -> Read<HashKey> {
    if matches!(node, Node::Text(_)) {
        return one_of(node, &[("client-address", HashKey::ClientAddress)]);
    }
    let mut key = None;
    fields(node, |field, node| {
        if key.is_some() {
            return Err(DocumentError::new("is one key too many"));
        }
        key = Some(match field {
            "cookie" => HashKey::Cookie(cookie_name(node)?),
            "header" => HashKey::Header(headers::name(&text(node)?)?),
            _ => return Err(unknown("cookie, header")),
        });
        Ok(())
    })?;
    key.ok_or_else(|| DocumentError::new("must be {\"cookie\":NAME}, {\"header\":NAME} or \"client-address\""))
}

/// `{"cookie":"NAME"}`
fn sticky(node: Node<'_>) -> Read<Arc<str>> {
    let mut cookie = None;
    fields(node, |field, node| {
        match field {
            "cookie" => cookie = Some(cookie_name(node)?),
            _ => return Err(unknown("cookie")),
        }
        Ok(())
    })?;
    cookie.ok_or_else(|| missing("cookie"))
}

/// A cookie's name is a token, as a header's is (RFC 6265, 4.1.1), but its case matters.
fn cookie_name(node: Node<'_>) -> Read<Arc<str>> {
    let text = text(node)?;
    match HeaderName::from_bytes(text.as_bytes()) {
        Ok(_) => Ok(Arc::from(&*text)),
        Err(_) => Err(DocumentError::new(format!("{} is not the name of a cookie", quoted(&text)))),
    }
}

fn health(node: Node<'_>) -> Read<HealthCheck> {
    let mut path = None;
    // What is absent is as in the example of spec/app-document.md.
    let (mut interval, mut timeout) = (Duration::from_secs(5), Duration::from_secs(1));
    let (mut unhealthy_after, mut healthy_after) = (3, 2);
    fields(node, |field, node| {
        match field {
            "path" => path = Some(paths::target(node)?),
            "interval" => interval = duration(node)?,
            "timeout" => timeout = duration(node)?,
            "unhealthy_after" => unhealthy_after = whole_u32(&node, 1..=MAX_CHECKS)?,
            "healthy_after" => healthy_after = whole_u32(&node, 1..=MAX_CHECKS)?,
            _ => return Err(unknown("path, interval, timeout, unhealthy_after, healthy_after")),
        }
        Ok(())
    })?;
    let path = path.ok_or_else(|| missing("path"))?;
    Ok(HealthCheck { path, interval, timeout, unhealthy_after, healthy_after })
}

fn tls(node: Node<'_>) -> Read<UpstreamTls> {
    let mut tls = UpstreamTls::default();
    fields(node, |field, node| {
        match field {
            "server_name" => tls.server_name = Some(dns_name(node)?),
            "ca" => tls.ca = Some(file_name(node)?),
            "client_certificate" => tls.client_certificate = Some(file_name(node)?),
            _ => return Err(unknown("server_name, ca, client_certificate")),
        }
        Ok(())
    })?;
    Ok(tls)
}

/// One host's name, no wildcard.
pub(super) fn dns_name(node: Node<'_>) -> Read<Arc<str>> {
    match parsed(node)? {
        HostPattern::Exact(name) => Ok(name),
        HostPattern::Wildcard(_) => Err(DocumentError::new("must be one name, not a wildcard")),
    }
}

/// The name of a file in a folder: it cannot lead out of it, nor to a hidden file.
fn file_name(node: Node<'_>) -> Read<Arc<str>> {
    let name = name(node)?;
    let inside = !name.contains('/') && !name.starts_with('.');
    if inside { Ok(name) } else { Err(DocumentError::new("must be the name of a file, without a folder")) }
}
