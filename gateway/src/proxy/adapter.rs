//! Between the heads of the rules and those of the client.

use http::{HeaderMap, HeaderName, HeaderValue, Response, Uri};
use hyper::ext::ReasonPhrase;

use crate::message::{Fields, ResponseHead};

/// The same fields as text.
pub(super) fn fields(headers: &HeaderMap) -> Fields {
    headers.iter().collect()
}

/// What stands in the request line; of an absolute target its path and query.
pub(super) fn target(uri: &Uri) -> String {
    match uri.path_and_query().map(|target| target.as_str()) {
        Some(target) if target.starts_with('/') || target == "*" => target.to_owned(),
        // A query alone: its path is the root.
        Some(target) => format!("/{target}"),
        None => "/".to_owned(),
    }
}

/// The answer with its fields in a map.
pub(super) fn response<B>(head: &ResponseHead, body: B) -> Response<B> {
    let mut response = Response::new(body);
    *response.status_mut() = head.status;
    *response.version_mut() = head.version;
    for (name, value) in head.fields.iter() {
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_bytes(value)) {
            response.headers_mut().append(name, value);
        }
    }
    if let Some(reason) = head.reason.as_deref().and_then(|reason| ReasonPhrase::try_from(reason).ok()) {
        response.extensions_mut().insert(reason);
    }
    response
}
