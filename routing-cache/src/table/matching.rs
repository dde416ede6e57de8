//! Which route of an app takes a request.

use http::{HeaderMap, HeaderName, HeaderValue, Method};

use crate::model::{App, NormalPath, Route, RouteMatch};

/// The route that takes the request, if any: the first that matches. The routes of an app are sorted when its document
/// is read, so the first is the most specific (Gateway API's order, see spec/app-document.md).
#[must_use]
pub fn match_route<'a>(app: &'a App, path: &NormalPath<'_>, method: &Method, headers: &HeaderMap) -> Option<&'a Route> {
    app.spec.routes.iter().find(|route| takes(&route.matches, path, method, headers))
}

fn takes(wanted: &RouteMatch, path: &NormalPath<'_>, method: &Method, headers: &HeaderMap) -> bool {
    wanted.path.takes(path)
        && (wanted.methods.is_empty() || wanted.methods.contains(method))
        && wanted.headers.iter().all(|(name, value)| has_value(headers, name, value))
}

/// A header that came several times has each of its values.
fn has_value(headers: &HeaderMap, name: &HeaderName, value: &HeaderValue) -> bool {
    headers.get_all(name).iter().any(|got| got == value)
}
