//! Heads as hyper and `http` have them, made of ours and ours of them: at the client's connection, and at the upstream's.

use std::{convert::Infallible, rc::Rc};

use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Uri};
use hyper::{body::Incoming, ext::ReasonPhrase, upgrade::OnUpgrade};

use super::{
    attempt::Incoming as AnswerBody, body::ResponseBody, connection::Connection, outgoing::Outgoing, service,
    service::Reply,
};
use crate::{
    message::{Fields, RequestHead, ResponseHead},
    upstream::http1::Ask,
};

/// Answers a request of hyper's.
pub(super) async fn serve(
    connection: Rc<Connection>,
    request: Request<Incoming>,
) -> Result<Response<ResponseBody>, Infallible> {
    let (mut parts, body) = request.into_parts();
    let upgrade = parts.extensions.remove::<OnUpgrade>();
    let (target, fields) = (parts.uri.to_string(), fields(&parts.headers));
    let mut head = RequestHead { method: parts.method, target, version: parts.version, fields };
    Ok(response(service::serve(&connection, &mut head, body, upgrade).await))
}

fn response(reply: Reply) -> Response<ResponseBody> {
    let mut response = Response::new(reply.body);
    *response.status_mut() = reply.head.status;
    *response.version_mut() = reply.head.version;
    *response.headers_mut() = map(&reply.head.fields);
    if let Some(reason) = reply.head.reason.and_then(|reason| ReasonPhrase::try_from(&*reason).ok()) {
        response.extensions_mut().insert(reason);
    }
    response
}

fn fields(map: &HeaderMap) -> Fields {
    map.iter().collect()
}

/// Fields whose memory nobody takes.
pub(super) fn emptied(_fields: Fields) -> HeaderMap {
    HeaderMap::new()
}

fn map(fields: &Fields) -> HeaderMap {
    let mut map = HeaderMap::with_capacity(fields.len());
    for (name, value) in fields.iter() {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            map.append(name, value);
        }
    }
    map
}

/// What the upstream is asked, as its client takes it.
pub(super) struct Asked<'a> {
    outgoing: &'a Outgoing<'a>,
    uri: Uri,
    headers: HeaderMap,
}

impl<'a> Asked<'a> {
    pub(super) fn new(outgoing: &'a Outgoing<'a>) -> Self {
        let uri = Uri::try_from(&*outgoing.target).unwrap_or_default();
        Self { outgoing, uri, headers: map(&outgoing.fields) }
    }

    pub(super) fn ask<'b>(&'b self, informed: &'b dyn Fn(StatusCode)) -> Ask<'b> {
        Ask { method: self.outgoing.method, target: &self.uri, headers: &self.headers, informed }
    }
}

/// What it answers.
pub(super) fn answered(response: Response<AnswerBody>) -> (ResponseHead, AnswerBody) {
    let (parts, body) = response.into_parts();
    let reason = parts.extensions.get::<ReasonPhrase>().map(|reason| Box::from(reason.as_bytes()));
    (ResponseHead { status: parts.status, version: parts.version, reason, fields: fields(&parts.headers) }, body)
}
