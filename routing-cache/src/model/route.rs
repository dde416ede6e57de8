//! Routes: what a request must look like, and what becomes of it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use http::{HeaderName, HeaderValue, Method, StatusCode};

use super::NormalPath;

/// Which paths a route takes. Both are normalised (RFC 3986, 6.2.2) when the document is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathMatch {
    /// This path and no other.
    Exact(Arc<str>),
    /// This path and what is below it, by path element: `/api` takes `/api` and `/api/x`, not `/apix`.
    /// Kept without its trailing slash, except for the root, `/`.
    Prefix(Arc<str>),
}

impl PathMatch {
    /// True when a request for `path` is one of those.
    #[must_use]
    pub fn takes(&self, path: &NormalPath<'_>) -> bool {
        match self {
            Self::Exact(exact) => path.as_str() == &**exact,
            Self::Prefix(prefix) => rest_after(prefix, path.as_str()).is_some(),
        }
    }
}

/// What of `path` follows `prefix`: empty or with a leading slash; `None` when `path` is not below `prefix`.
fn rest_after<'a>(prefix: &str, path: &'a str) -> Option<&'a str> {
    if prefix == "/" {
        return Some(path);
    }
    path.strip_prefix(prefix).filter(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// What a request must look like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteMatch {
    /// Its path.
    pub path: PathMatch,
    /// One of these methods; empty: any.
    pub methods: Vec<Method>,
    /// All of these headers, each with exactly this value.
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

/// One of several upstreams of a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WeightedUpstream {
    /// Its index in [`super::AppSpec::upstreams`]; always within.
    pub upstream: usize,
    /// Its share; 0 takes no traffic. The sum over the route is not 0.
    pub weight: u32,
}

/// How the path that is forwarded differs from the path that came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathRewrite {
    /// The matched prefix is replaced by this. Kept without its trailing slash, except for the root, `/`.
    Prefix(Arc<str>),
    /// The whole path is replaced by this.
    Full(Arc<str>),
}

impl PathRewrite {
    /// The path in place of `path`, which `matched` has taken. Slashes neither double nor get lost at the seam:
    /// `/api` by `/` makes `/api/x` to `/x` and `/api` to `/`.
    #[must_use]
    pub fn apply(&self, matched: &PathMatch, path: &NormalPath<'_>) -> String {
        let to = match self {
            Self::Full(full) => return full.to_string(),
            Self::Prefix(to) => to.trim_end_matches('/'),
        };
        let rest = match matched {
            PathMatch::Exact(_) => "",
            PathMatch::Prefix(prefix) => rest_after(prefix, path.as_str()).unwrap_or_default(),
        };
        if to.is_empty() && rest.is_empty() { "/".to_owned() } else { format!("{to}{rest}") }
    }
}

/// The status of a redirect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RedirectStatus(StatusCode);

impl RedirectStatus {
    /// One of 301, 302, 303, 307, 308; else `None`.
    #[must_use]
    pub fn new(code: u16) -> Option<Self> {
        matches!(code, 301 | 302 | 303 | 307 | 308).then(|| StatusCode::from_u16(code).ok().map(Self))?
    }

    /// As the status that is sent.
    #[must_use]
    pub fn code(self) -> StatusCode {
        self.0
    }
}

/// An answer with a `Location` in place of an upstream's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    /// The status sent.
    pub status: RedirectStatus,
    /// `http` or `https`; the request's when absent.
    pub scheme: Option<Arc<str>>,
    /// The request's when absent.
    pub host: Option<Arc<str>>,
    /// The request's when absent (the scheme's own when only the scheme changes).
    pub port: Option<u16>,
    /// The request's path when absent.
    pub path: Option<PathRewrite>,
    /// Whether the query goes along.
    pub keep_query: bool,
}

/// What becomes of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// It is forwarded to one of these, by weight; never empty.
    Forward {
        /// Where to.
        to: Vec<WeightedUpstream>,
        /// With which path; as it came when absent.
        rewrite: Option<PathRewrite>,
    },
    /// It is answered with a redirect.
    Redirect(Redirect),
}

/// Changes to a message's headers, done in this order: remove, set, add. None of them touches what keeps the connection
/// in step (`Connection`, `Content-Length`, `Host` and their like): a document that tries is invalid.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderOps {
    /// All values of these are dropped.
    pub remove: Vec<HeaderName>,
    /// These have just this value.
    pub set: Vec<(HeaderName, HeaderValue)>,
    /// These get one value more.
    pub add: Vec<(HeaderName, HeaderValue)>,
}

impl HeaderOps {
    /// True when it changes nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.set.is_empty() && self.add.is_empty()
    }
}

/// Time limits of a route; `None` is the gateway's default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timeouts {
    /// From the request's head to the head of the answer, retries included.
    pub request: Option<Duration>,
    /// For one connection to be made.
    pub connect: Option<Duration>,
    /// Between two reads of a body, and on an upgraded connection.
    pub idle: Option<Duration>,
    /// For each attempt; needed by `"on": ["timeout"]`.
    pub per_try: Option<Duration>,
}

/// A cause for which a request is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryOn {
    /// No connection could be made.
    ConnectFailure,
    /// The connection broke before any byte of the answer.
    ResetBeforeResponse,
    /// `timeouts.per_try` ran out.
    Timeout,
    /// The upstream answered 502, 503 or 504.
    Status(StatusCode),
}

/// How often and why a request is tried again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retries {
    /// Further attempts after the first, 0 to 10.
    pub attempts: u32,
    /// The causes.
    pub on: Vec<RetryOn>,
}

impl Default for Retries {
    fn default() -> Self {
        Self { attempts: 1, on: vec![RetryOn::ConnectFailure, RetryOn::ResetBeforeResponse] }
    }
}

/// Bodies an app brings for the gateway's own error answers, by status. At most 16 KiB in all.
pub type ErrorPages = BTreeMap<u16, Arc<str>>;

/// One rule of an app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// For people and logs.
    pub name: Option<Arc<str>>,
    /// What it takes.
    pub matches: RouteMatch,
    /// What becomes of it.
    pub action: Action,
    /// Changes on the way to the upstream.
    pub request_headers: HeaderOps,
    /// Changes on the way back.
    pub response_headers: HeaderOps,
    /// Its time limits.
    pub timeouts: Timeouts,
    /// Its retries.
    pub retries: Retries,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> NormalPath<'_> {
        NormalPath::new(text).unwrap()
    }

    fn prefix(text: &str) -> PathMatch {
        PathMatch::Prefix(Arc::from(text))
    }

    #[test]
    fn a_prefix_takes_whole_path_elements() {
        let api = prefix("/api");
        for taken in ["/api", "/api/", "/api/x", "/x/../api/y", "/%61pi"] {
            assert!(api.takes(&path(taken)), "{taken}");
        }
        for left in ["/", "/apix", "/ap", "/API", "/x/api", "/api%2Fx"] {
            assert!(!api.takes(&path(left)), "{left}");
        }
        assert!(prefix("/").takes(&path("/anything")) && prefix("/").takes(&path("/")));
    }

    #[test]
    fn an_exact_path_takes_itself_alone() {
        let old = PathMatch::Exact(Arc::from("/old"));
        assert!(old.takes(&path("/old")) && old.takes(&path("/x/../old")));
        assert!(!old.takes(&path("/old/")) && !old.takes(&path("/old/x")) && !old.takes(&path("/")));
    }

    // The cases are those of Gateway API's table for ReplacePrefixMatch.
    #[test]
    fn a_rewritten_prefix_neither_doubles_nor_loses_a_slash() {
        let cases = [
            ("/foo/bar", "/foo", "/xyz", "/xyz/bar"),
            ("/foo", "/foo", "/xyz", "/xyz"),
            ("/foo/", "/foo", "/xyz", "/xyz/"),
            ("/foo/bar", "/foo", "/", "/bar"),
            ("/foo/", "/foo", "/", "/"),
            ("/foo", "/foo", "/", "/"),
            ("/bar", "/", "/xyz", "/xyz/bar"),
            ("/", "/", "/xyz", "/xyz/"),
            ("/", "/", "/", "/"),
        ];
        for (from, matched, to, expected) in cases {
            let rewrite = PathRewrite::Prefix(Arc::from(to));
            assert_eq!(rewrite.apply(&prefix(matched), &path(from)), expected, "{from}, {matched} by {to}");
        }
    }

    #[test]
    fn a_full_rewrite_replaces_the_whole_path() {
        let rewrite = PathRewrite::Full(Arc::from("/new"));
        assert_eq!(rewrite.apply(&prefix("/"), &path("/a/b")), "/new");
    }

    #[test]
    fn only_the_five_redirect_statuses_are_one() {
        let known: Vec<u16> = (0..1000).filter(|&code| RedirectStatus::new(code).is_some()).collect();
        assert_eq!(known, [301, 302, 303, 307, 308]);
        assert_eq!(RedirectStatus::new(308).unwrap().code(), StatusCode::PERMANENT_REDIRECT);
    }
}
