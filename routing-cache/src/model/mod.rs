//! Apps, hosts, routes, upstreams and endpoints as values that cannot be wrong.
//!
//! Nothing here parses an app document: [`crate::wire`] does, once, at the edge. What exists as one of these types has
//! been checked, so the data plane never validates again.

mod app;
mod host;
mod ids;
mod path;
mod provenance;
mod record;
mod route;
mod time;
mod upstream;

pub use app::{App, AppSpec};
pub use host::{HostPattern, HostPatternError, MAX_HOST_BYTES};
pub use ids::{AppId, Digest, DigestParseError, Epoch, Generation, IdError, MAX_APP_ID_BYTES, MAX_EPOCH_BYTES, Rev};
pub use path::{NormalPath, PathError};
pub use provenance::{Provenance, Source};
pub use record::{AppRecord, HostRef, Record, RecordParts, RecordTooLarge, app_digest};
pub use route::{
    Action, ErrorPages, HeaderOps, PathMatch, PathRewrite, Redirect, RedirectStatus, Retries, RetryOn, Route,
    RouteMatch, Timeouts, WeightedUpstream,
};
pub use time::{DurationError, Now, WallTime, parse_duration};
pub use upstream::{
    Address, AddressError, AddressRef, Balance, Endpoint, HashKey, HealthCheck, MAX_UNIX_PATH_BYTES, Protocol,
    Upstream, UpstreamTls,
};
