//! Which route of an app takes a request.

use http::{HeaderName, HeaderValue, Method};

use crate::model::{App, NormalPath, Route, RouteMatch};

/// The route that takes the request, if any: the first that matches. The routes of an app are sorted when its document
/// is read, so the first is the most specific (Gateway API's order, see spec/app-document.md).
///
/// `has` says whether the request has a header with a value; one that came several times has each of its values. It is
/// asked only about the headers of routes that take the path and the method.
#[must_use]
pub fn match_route<'a>(
    app: &'a App,
    path: &NormalPath<'_>,
    method: &Method,
    has: impl Fn(&HeaderName, &HeaderValue) -> bool,
) -> Option<&'a Route> {
    app.spec.routes.iter().find(|route| takes(&route.matches, path, method, &has))
}

fn takes(
    wanted: &RouteMatch,
    path: &NormalPath<'_>,
    method: &Method,
    has: impl Fn(&HeaderName, &HeaderValue) -> bool,
) -> bool {
    wanted.path.takes(path)
        && (wanted.methods.is_empty() || wanted.methods.contains(method))
        && wanted.headers.iter().all(|(name, value)| has(name, value))
}
