//! Who may call: the token where one is configured, and where none is, no page of another site.
//!
//! A browser sends `Origin` with every call of another site's script that could change something, and the name the user
//! thought of as `Host`; so a wrong `Origin` is a cross-site call, and a wrong `Host` a name that was made to point here
//! (DNS rebinding). Neither is believed for more than a refusal.

use std::{hint::black_box, net::IpAddr};

use http::{
    HeaderMap, Request, StatusCode, Version,
    header::{AUTHORIZATION, HOST, ORIGIN},
    uri::Authority,
};

use super::calls::Call;
use crate::config::{AdminConfig, ListenAddress};

/// Why a call is refused before it is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    /// A token is needed and none came.
    #[error("this call needs `Authorization: Bearer` with the token of admin.token_file")]
    NoToken,
    /// Another token came.
    #[error("the token is not the one of admin.token_file")]
    WrongToken,
    /// The request has no single, readable `Host`.
    #[error("a request needs one Host")]
    NoHost,
    /// `Host` is a name that is not ours.
    #[error("Host is neither the admin address, nor a loopback name, nor in admin.allowed_hosts")]
    ForeignHost,
    /// `Origin` is another site.
    #[error("Origin is not the admin address")]
    ForeignOrigin,
}

impl Refusal {
    /// The status it is answered with.
    pub(super) fn status(self) -> StatusCode {
        match self {
            Self::NoToken | Self::WrongToken => StatusCode::UNAUTHORIZED,
            Self::NoHost => StatusCode::BAD_REQUEST,
            Self::ForeignHost | Self::ForeignOrigin => StatusCode::FORBIDDEN,
        }
    }
}

/// Judges a request for `call` (`None`: an unknown path, which is guarded like the rest).
pub(super) fn judge<B>(config: &AdminConfig, call: Option<&Call>, request: &Request<B>) -> Result<(), Refusal> {
    let Some(token) = &config.token else { return judge_site(config, request) };
    let free = call.is_some_and(|c| c.is_probe() || (c.is_metrics() && config.open_metrics));
    if free { Ok(()) } else { judge_token(token, request.headers()) }
}

fn judge_token(token: &str, headers: &HeaderMap) -> Result<(), Refusal> {
    let given = headers.get(AUTHORIZATION).and_then(|value| bearer(value.as_bytes())).ok_or(Refusal::NoToken)?;
    if same(token.as_bytes(), given) { Ok(()) } else { Err(Refusal::WrongToken) }
}

/// The credentials of `Bearer CREDENTIALS`; the scheme's case does not matter (RFC 9110, 11.1).
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = value.split_at_checked(b"bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| rest.trim_ascii())
}

/// Compares in a time that depends on the length of what was given and on nothing else.
fn same(expected: &[u8], given: &[u8]) -> bool {
    let mut difference = u8::from(expected.len() != given.len());
    let mut expected = expected.iter().cycle();
    for byte in given {
        difference |= black_box(byte ^ expected.next().copied().unwrap_or_default());
    }
    black_box(difference) == 0
}

fn judge_site<B>(config: &AdminConfig, request: &Request<B>) -> Result<(), Refusal> {
    for host in hosts(request)? {
        if !is_own_host(config, &host) {
            return Err(Refusal::ForeignHost);
        }
    }
    let mut origins = request.headers().get_all(ORIGIN).iter();
    if origins.all(|origin| origin.to_str().is_ok_and(|o| is_own_origin(&config.address, o))) {
        return Ok(());
    }
    Err(Refusal::ForeignOrigin)
}

/// Every host the request names: that of its target and of its `Host`. HTTP/1.0 has neither, and no browser speaks it.
fn hosts<B>(request: &Request<B>) -> Result<Vec<Authority>, Refusal> {
    let mut named: Vec<Authority> = request.uri().authority().cloned().into_iter().collect();
    let mut headers = request.headers().get_all(HOST).iter();
    match (headers.next(), headers.next()) {
        (Some(host), None) => named.push(Authority::try_from(host.as_bytes()).map_err(|_| Refusal::NoHost)?),
        (None, None) if request.version() == Version::HTTP_10 => {}
        _ => return Err(Refusal::NoHost),
    }
    Ok(named)
}

fn is_own_host(config: &AdminConfig, host: &Authority) -> bool {
    let allowed = |own: &String| own.eq_ignore_ascii_case(host.as_str()) || own.eq_ignore_ascii_case(host.host());
    is_loopback(host.host()) || is_address(&config.address, host) || config.allowed_hosts.iter().any(allowed)
}

fn is_address(own: &ListenAddress, host: &Authority) -> bool {
    let ListenAddress::Tcp(own) = own else { return false };
    ip(host.host()) == Some(own.ip()) && host.port_u16().unwrap_or(80) == own.port()
}

/// True for `http://` and the admin address; where that is a loopback or an unspecified one, by any loopback name.
fn is_own_origin(own: &ListenAddress, origin: &str) -> bool {
    let Some(Ok(authority)) = origin.strip_prefix("http://").map(Authority::try_from) else { return false };
    let ListenAddress::Tcp(address) = own else { return false };
    let local = address.ip().is_loopback() || address.ip().is_unspecified();
    let by_name = local && is_loopback(authority.host()) && authority.port_u16().unwrap_or(80) == address.port();
    by_name || is_address(own, &authority)
}

fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || ip(host).is_some_and(|ip| ip.is_loopback())
}

fn ip(host: &str) -> Option<IpAddr> {
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

#[cfg(test)]
mod tests;
