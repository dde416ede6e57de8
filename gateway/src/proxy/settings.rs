//! What the data plane takes from the configuration, as one value that a reload replaces whole.

use std::{net::IpAddr, time::Duration};

use ipnet::IpNet;

use crate::config::{Config, DrainConfig, LimitsConfig, UpstreamConfig};

/// How long a body, or an upgraded connection, may be silent where the route does not say. The same as the default of
/// `upstream.request_timeout`: nobody waits longer for a byte than for a whole answer.
pub(crate) const IDLE_TIMEOUT: Duration = Duration::from_mins(1);

/// How many client connections of one worker may hold buffers before one parks as soon as it is idle. At 20 kB each that
/// is 10 MB, and a saturated worker with fewer connections never parks any: parking and coming back cost 12,000
/// instructions, a fifth of a small request (callgrind, 1,500 connections in turn).
const WARM_CONNECTIONS: usize = 512;

/// The settings of the data plane. New requests use the newest, requests under way the one they began with.
#[derive(Clone, Debug)]
pub struct Settings {
    pub(crate) limits: LimitsConfig,
    pub(crate) upstream: UpstreamConfig,
    pub(crate) drain: DrainConfig,
    pub(crate) trusted: Vec<(String, Vec<IpNet>)>,
    /// Client connections of one worker that may hold buffers before one parks as soon as it is idle.
    pub(crate) warm_connections: usize,
}

impl Settings {
    /// True when `peer`, a client of the listener called `listener`, is one whose X-Forwarded-* headers are believed.
    ///
    /// A client of a Unix socket has no address and is trusted: the socket's file mode says who may connect.
    pub(crate) fn trusts(&self, listener: &str, peer: Option<IpAddr>) -> bool {
        let Some(peer) = peer else { return true };
        self.networks(listener).iter().any(|network| network.contains(&peer))
    }

    fn networks(&self, listener: &str) -> &[IpNet] {
        self.trusted.iter().find(|(name, _)| name == listener).map_or(&[], |(_, networks)| networks.as_slice())
    }
}

impl From<&Config> for Settings {
    fn from(config: &Config) -> Self {
        let trusted = config.listeners.iter().map(|l| (l.name.clone(), l.trusted_proxies.clone())).collect();
        Self {
            limits: config.limits,
            upstream: config.upstream,
            drain: config.drain,
            trusted,
            warm_connections: WARM_CONNECTIONS,
        }
    }
}
