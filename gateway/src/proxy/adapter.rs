//! Heads as hyper has them, made of ours and ours of them, at the client's connection.

use std::{convert::Infallible, rc::Rc};

use http::{HeaderName, HeaderValue, Request, Response};
use hyper::{body::Incoming, ext::ReasonPhrase, upgrade::OnUpgrade};

use super::{body::ResponseBody, connection::Connection, service, service::Reply};
use crate::message::RequestHead;

/// Answers a request of hyper's.
pub(super) async fn serve(
    connection: Rc<Connection>,
    request: Request<Incoming>,
) -> Result<Response<ResponseBody>, Infallible> {
    let (mut parts, body) = request.into_parts();
    let upgrade = parts.extensions.remove::<OnUpgrade>();
    let (target, fields) = (parts.uri.to_string(), parts.headers.iter().collect());
    let mut head = RequestHead { method: parts.method, target, version: parts.version, fields };
    Ok(response(service::serve(&connection, &mut head, body, upgrade).await))
}

fn response(reply: Reply) -> Response<ResponseBody> {
    let mut response = Response::new(reply.body);
    *response.status_mut() = reply.head.status;
    *response.version_mut() = reply.head.version;
    for (name, value) in reply.head.fields.iter() {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            response.headers_mut().append(name, value);
        }
    }
    if let Some(reason) = reply.head.reason.and_then(|reason| ReasonPhrase::try_from(&*reason).ok()) {
        response.extensions_mut().insert(reason);
    }
    response
}
