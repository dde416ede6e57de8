//! What a request asks for: its host and path, from the target's four forms (RFC 9112, 3.2) and `Host`.
//!
//! Only the path that is matched is normalised. What is forwarded is the target as it came.

use std::borrow::Cow;

use http::{HeaderMap, HeaderValue, Method, Uri, Version, header, request::Parts, uri::PathAndQuery};
use routing_cache::table::{NormalPath, normal_host};

use super::failure::{Cause, Failure, Stage};

/// The longest target that is taken. Source: RFC 9110, 4.1 asks for 8,000 at least; hyper takes no more than this.
const MAX_TARGET_BYTES: usize = 65_534;

/// A request's target, checked.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// The host as it came, with its port: what the upstream gets as `Host` and `X-Forwarded-Host`.
    pub(crate) authority: Option<HeaderValue>,
    /// Path and query as they came.
    pub(crate) path_and_query: PathAndQuery,
    /// Whether the authority stood in the target, and so replaces `Host` (RFC 9112, 3.2.2).
    absolute: bool,
}

/// Checks the parts of a request's head that decide where it goes.
///
/// # Errors
/// When a rule of RFC 9110 or 9112 is broken, or the method is not proxied.
pub(crate) fn read(head: &Parts) -> Result<Target, Failure> {
    if head.method == Method::CONNECT || head.method == Method::TRACE {
        return Err(Failure::new(Stage::Admit, Cause::MethodRefused));
    }
    let path_and_query = path_and_query(&head.uri, &head.method)?;
    let authority = authority(head)?;
    Ok(Target { authority, path_and_query, absolute: head.uri.authority().is_some() })
}

impl Target {
    /// The host as it is looked up; `None` where the request names none, which HTTP/1.0 may.
    ///
    /// # Errors
    /// When what it names is not a host.
    pub(crate) fn host(&self) -> Result<Option<Cow<'_, str>>, Failure> {
        let Some(authority) = &self.authority else { return Ok(None) };
        let text = authority.to_str().map_err(|_| bad("the host is not one"))?;
        normal_host(text).map(Some).ok_or_else(|| bad("the host is not one"))
    }

    /// The path as it is matched. `*` is matched as the root.
    ///
    /// # Errors
    /// When it climbs above the root, or holds what a path cannot.
    pub(crate) fn path(&self) -> Result<NormalPath<'_>, Failure> {
        let raw = if self.is_asterisk() { "/" } else { self.path_and_query.path() };
        NormalPath::new(raw).map_err(|error| bad(error.to_string()))
    }

    /// True for `*`, which asks about the server and not about one of its resources.
    pub(crate) fn is_asterisk(&self) -> bool {
        self.path_and_query.as_str() == "*"
    }

    /// The port the client used: that of the host it names, else that of its scheme.
    pub(crate) fn port(&self) -> Option<&str> {
        let text = self.authority.as_ref()?.to_str().ok()?;
        let (_, port) = text.rsplit_once(':')?;
        (!port.is_empty() && port.bytes().all(|b| b.is_ascii_digit())).then_some(port)
    }

    /// Puts the target's own authority in place of `Host`, where it has one.
    pub(crate) fn set_host(&self, headers: &mut HeaderMap) {
        if let (true, Some(authority)) = (self.absolute, &self.authority) {
            headers.insert(header::HOST, authority.clone());
        }
    }
}

fn bad(why: impl Into<Cow<'static, str>>) -> Failure {
    Failure::new(Stage::Admit, Cause::BadRequest).because(why)
}

/// The path to forward: of an absolute target its path. `OPTIONS` of one without a path would be `*` (RFC 9112, 3.2.4),
/// but `Uri` does not tell an empty path from `/`, so it goes on as `/`.
fn path_and_query(uri: &Uri, method: &Method) -> Result<PathAndQuery, Failure> {
    let Some(path) = uri.path_and_query() else { return Err(bad("the target is not a path")) };
    if path.as_str().len() > MAX_TARGET_BYTES {
        return Err(Failure::new(Stage::Admit, Cause::TargetTooLong));
    }
    let asterisk = path.as_str() == "*" && *method == Method::OPTIONS;
    if asterisk || path.path().starts_with('/') { Ok(path.clone()) } else { Err(bad("the target is not a path")) }
}

fn authority(head: &Parts) -> Result<Option<HeaderValue>, Failure> {
    let host = host_header(&head.headers, head.version)?;
    let Some(authority) = head.uri.authority() else { return Ok(host) };
    if !matches!(head.uri.scheme_str(), Some("http" | "https")) {
        return Err(bad("the target's scheme is not http"));
    }
    if authority.as_str().contains('@') {
        return Err(bad("the target names a user"));
    }
    HeaderValue::from_str(authority.as_str()).map(Some).map_err(|_| bad("the target's host is not one"))
}

/// The one `Host` of the request. RFC 9112, 3.2: none or several is 400; HTTP/1.0 may do without.
fn host_header(headers: &HeaderMap, version: Version) -> Result<Option<HeaderValue>, Failure> {
    let mut hosts = headers.get_all(header::HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(host), None) => Ok(Some(host.clone())),
        (None, _) if version < Version::HTTP_11 => Ok(None),
        (None, _) => Err(bad("the request names no host")),
        (Some(_), Some(_)) => Err(bad("the request names two hosts")),
    }
}
