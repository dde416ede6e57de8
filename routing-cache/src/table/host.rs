//! The `Host` of a request, as it is looked up.

use std::borrow::Cow;

use core::net::Ipv6Addr;

use crate::model::MAX_HOST_BYTES;

/// The `Host` of a request as it is looked up: without port and trailing dot, in lower case. Borrows when it already
/// is. An IPv6 address in brackets is kept as it is. `None` is not a host: refuse the request.
#[must_use]
pub fn normal_host(host: &str) -> Option<Cow<'_, str>> {
    if host.starts_with('[') {
        return bracketed(host).map(Cow::Borrowed);
    }
    let name = match host.split_once(':') {
        Some((name, port)) => is_port(port).then_some(name)?,
        None => host,
    };
    let name = name.strip_suffix('.').unwrap_or(name);
    if !is_name(name) {
        return None;
    }
    let lower = !name.bytes().any(|b| b.is_ascii_uppercase());
    Some(if lower { Cow::Borrowed(name) } else { Cow::Owned(name.to_ascii_lowercase()) })
}

/// `[address]` or `[address]:port`, without the port.
fn bracketed(host: &str) -> Option<&str> {
    let end = host.find(']')?;
    let (literal, rest) = host.split_at_checked(end + 1)?;
    let address = literal.get(1..end)?;
    let port = rest.is_empty() || rest.strip_prefix(':').is_some_and(is_port);
    (port && address.parse::<Ipv6Addr>().is_ok()).then_some(literal)
}

/// RFC 3986, 3.2.3 lets a port be empty.
fn is_port(text: &str) -> bool {
    text.is_empty() || (text.bytes().all(|b| b.is_ascii_digit()) && text.parse::<u16>().is_ok())
}

/// Labels of letters, digits, hyphens and underscores, none of them empty.
fn is_name(name: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    !name.is_empty()
        && name.len() <= MAX_HOST_BYTES
        && name.bytes().all(allowed)
        && !name.starts_with('.')
        && !name.ends_with('.')
        && !name.contains("..")
}
