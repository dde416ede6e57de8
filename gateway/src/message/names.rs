//! Names of fields, as they are held: in lower case.

#![allow(missing_docs)] // a name says what it is

pub const ACCEPT: &str = "accept";
pub const ALLOW: &str = "allow";
pub const CACHE_CONTROL: &str = "cache-control";
pub const CONNECTION: &str = "connection";
pub const CONTENT_LENGTH: &str = "content-length";
pub const CONTENT_TYPE: &str = "content-type";
pub const DATE: &str = "date";
pub const EXPECT: &str = "expect";
pub const FORWARDED: &str = "forwarded";
pub const HOST: &str = "host";
pub const HTTP2_SETTINGS: &str = "http2-settings";
pub const KEEP_ALIVE: &str = "keep-alive";
pub const LOCATION: &str = "location";
pub const MAX_FORWARDS: &str = "max-forwards";
pub const PROXY_AUTHENTICATE: &str = "proxy-authenticate";
pub const PROXY_AUTHORIZATION: &str = "proxy-authorization";
pub const PROXY_CONNECTION: &str = "proxy-connection";
/// RFC 9209.
pub const PROXY_STATUS: &str = "proxy-status";
pub const RETRY_AFTER: &str = "retry-after";
pub const TE: &str = "te";
pub const TRAILER: &str = "trailer";
pub const TRANSFER_ENCODING: &str = "transfer-encoding";
pub const UPGRADE: &str = "upgrade";
pub const VIA: &str = "via";
pub const X_FORWARDED_FOR: &str = "x-forwarded-for";
pub const X_FORWARDED_HOST: &str = "x-forwarded-host";
pub const X_FORWARDED_PORT: &str = "x-forwarded-port";
pub const X_FORWARDED_PROTO: &str = "x-forwarded-proto";
