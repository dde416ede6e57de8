//! Upstreams: groups of endpoints that answer alike.

use core::net::SocketAddr;
use std::{fmt, str::FromStr, sync::Arc, time::Duration};

/// Where an endpoint listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Address {
    /// An IP address and a port.
    Tcp(SocketAddr),
    /// The absolute path of a Unix socket.
    Unix(Arc<str>),
}

/// The longest path of a Unix socket, in bytes. Source: unix(7), sun_path is 108 bytes with its NUL.
pub const MAX_UNIX_PATH_BYTES: usize = 107;

/// The text is not an endpoint's address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not an address: give IP:PORT, [IPv6]:PORT or unix:/PATH (names are not resolved)")]
pub struct AddressError {
    text: String,
}

/// An [`Address`], borrowed from the text it was read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AddressRef<'a> {
    /// An IP address and a port.
    Tcp(SocketAddr),
    /// The absolute path of a Unix socket.
    Unix(&'a str),
}

impl<'a> AddressRef<'a> {
    /// Reads an address; `None` where the text is none.
    #[must_use]
    pub fn parse(text: &'a str) -> Option<Self> {
        if let Some(path) = text.strip_prefix("unix:") {
            let whole = path.starts_with('/') && path.len() <= MAX_UNIX_PATH_BYTES && !path.contains('\0');
            return whole.then_some(Self::Unix(path));
        }
        text.parse().ok().filter(|address: &SocketAddr| address.port() != 0).map(Self::Tcp)
    }

    /// As an address of its own.
    #[must_use]
    pub fn to_address(self) -> Address {
        match self {
            Self::Tcp(address) => Address::Tcp(address),
            Self::Unix(path) => Address::Unix(Arc::from(path)),
        }
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let address = AddressRef::parse(text).map(AddressRef::to_address);
        address.ok_or_else(|| AddressError { text: text.chars().take(128).collect() })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{path}"),
        }
    }
}

/// One place an upstream is reached at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Where it listens.
    pub address: Address,
    /// Its share among its siblings: 0 to 65535, 0 takes no traffic.
    pub weight: u16,
    /// The orchestrator's name for what runs there.
    pub instance: Option<Arc<str>>,
}

/// How an upstream's endpoint is spoken to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1 in the clear.
    #[default]
    Http1,
    /// HTTP/2 in the clear, by prior knowledge.
    H2c,
    /// HTTP/2 by TLS.
    H2,
    /// HTTP/1.1 by TLS.
    Https,
}

impl Protocol {
    /// Its name in documents.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http1 => "http1",
            Self::H2c => "h2c",
            Self::H2 => "h2",
            Self::Https => "https",
        }
    }
}

/// What a consistent hash is taken of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HashKey {
    /// The value of a cookie of this name.
    Cookie(Arc<str>),
    /// The value of this header.
    Header(http::HeaderName),
    /// The client's address.
    ClientAddress,
}

/// How one endpoint is chosen among the healthy ones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Balance {
    /// The less loaded of two random choices.
    #[default]
    LeastRequest,
    /// One after the other.
    RoundRobin,
    /// At random, by weight.
    Random,
    /// The same key goes to the same endpoint while the set stays the same.
    Hash(HashKey),
}

impl Balance {
    /// Its name in documents.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::LeastRequest => "least-request",
            Self::RoundRobin => "round-robin",
            Self::Random => "random",
            Self::Hash(_) => "hash",
        }
    }
}

/// An active check of each endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    /// The path asked for; a 2xx or 3xx answer is healthy.
    pub path: Arc<str>,
    /// From one check to the next.
    pub interval: Duration,
    /// How long one check may take.
    pub timeout: Duration,
    /// So many failures in a row make an endpoint unhealthy.
    pub unhealthy_after: u32,
    /// So many successes in a row make it healthy again.
    pub healthy_after: u32,
}

/// How an upstream is verified over TLS; names are files in the gateway's certificate folder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UpstreamTls {
    /// The name that is sent and verified; the request's host when absent.
    pub server_name: Option<Arc<str>>,
    /// The CA bundle that must have signed the certificate.
    pub ca: Option<Arc<str>>,
    /// The certificate shown to the upstream.
    pub client_certificate: Option<Arc<str>>,
}

/// A named group of endpoints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// Its name within the app; `default` in the short form.
    pub name: Arc<str>,
    /// May be empty: then every request gets 503.
    pub endpoints: Vec<Endpoint>,
    /// How it is spoken to.
    pub protocol: Protocol,
    /// How one endpoint is chosen.
    pub balance: Balance,
    /// The cookie that keeps a client on its endpoint.
    pub sticky_cookie: Option<Arc<str>>,
    /// The active check, if any.
    pub health: Option<HealthCheck>,
    /// Connections at most, over all endpoints of this upstream and in this gateway; `None`: no limit.
    pub max_connections: Option<u32>,
    /// Requests at most that wait for one of those connections; `None`: no limit but the gateway's own.
    pub max_pending: Option<u32>,
    /// TLS settings, for [`Protocol::H2`] and [`Protocol::Https`].
    pub tls: Option<UpstreamTls>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_an_ip_and_port_or_a_unix_path_and_prints_as_it_was_written() {
        for text in ["10.0.0.5:8080", "[::1]:80", "[2001:db8::1]:65535", "unix:/run/shop.sock"] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_would_need_resolving_or_cannot_be_connected_to_is_no_address() {
        let texts =
            ["", "shop:80", "10.0.0.5", "10.0.0.5:0", "::1:80", "10.0.0.5:65536", "unix:", "unix:run/x", "unix:/a\0b"];
        for text in texts {
            assert!(text.parse::<Address>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_unix_path_fits_into_sun_path() {
        let path = |length| format!("unix:/{}", "s".repeat(length - 1));
        assert!(path(MAX_UNIX_PATH_BYTES).parse::<Address>().is_ok());
        assert!(path(MAX_UNIX_PATH_BYTES + 1).parse::<Address>().is_err());
    }
}
