//! The head that goes to the upstream, and what an attempt makes of it.

use http::{HeaderMap, HeaderValue, Method, Uri, header, request::Parts};
use routing_cache::model::HeaderOps;

use super::{
    forwarded::{self, Peer},
    hop::{self, Hop},
    target::Target,
    upload::Upload,
};

const CHUNKED: HeaderValue = HeaderValue::from_static("chunked");

/// A request's head as the upstream is to see it.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    headers: HeaderMap,
}

/// What the head is made of, besides itself.
pub(crate) struct Making<'a> {
    pub(crate) target: &'a Target,
    pub(crate) hop: &'a Hop,
    pub(crate) peer: &'a Peer,
    pub(crate) ops: &'a HeaderOps,
    pub(crate) upload: &'a Upload,
}

impl Outgoing {
    /// Makes it of the request's own head, whose hop-by-hop headers are gone, and the target to forward. Takes the head's
    /// headers.
    pub(crate) fn new(head: &mut Parts, uri: Uri, making: &Making<'_>) -> Self {
        let mut headers = std::mem::take(&mut head.headers);
        making.target.set_host(&mut headers);
        frame(&mut headers, making.upload);
        making.peer.announce(&mut headers, making.target);
        apply(&mut headers, making.ops);
        forwarded::append_via(&mut headers, head.version);
        hop::announce(&mut headers, making.hop);
        Self { method: head.method.clone(), uri, headers }
    }

    /// The fields.
    pub(crate) fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The fields, when there is no attempt to come: for their memory.
    pub(crate) fn take_headers(&mut self) -> HeaderMap {
        std::mem::take(&mut self.headers)
    }
}

/// Says how the body is framed. A body without a length is chunked, also for a method that rarely has one; a body that
/// is not there is not announced.
fn frame(headers: &mut HeaderMap, upload: &Upload) {
    if upload.is_empty() {
        headers.remove(header::EXPECT);
    } else if !headers.contains_key(header::CONTENT_LENGTH) {
        headers.insert(header::TRANSFER_ENCODING, CHUNKED);
    }
}

/// Carries out a route's header operations: remove, set, add. None of them touches what frames a message.
pub(crate) fn apply(headers: &mut HeaderMap, ops: &HeaderOps) {
    for name in ops.remove.iter().filter(|name| !hop::is_framing(name)) {
        headers.remove(name);
    }
    for (name, value) in ops.set.iter().filter(|(name, _)| !hop::is_framing(name)) {
        headers.insert(name, value.clone());
    }
    for (name, value) in ops.add.iter().filter(|(name, _)| !hop::is_framing(name)) {
        headers.append(name, value.clone());
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderName;

    use super::*;

    const A: HeaderName = HeaderName::from_static("a");
    const LENGTH: HeaderName = header::CONTENT_LENGTH;

    fn value(text: &'static str) -> HeaderValue {
        HeaderValue::from_static(text)
    }

    #[test]
    fn operations_are_done_in_the_order_remove_set_add() {
        let mut headers = HeaderMap::new();
        headers.append(A, value("1"));
        headers.append(A, value("2"));
        let ops = HeaderOps { remove: vec![A], set: vec![(A, value("3"))], add: vec![(A, value("4"))] };
        apply(&mut headers, &ops);
        assert_eq!(headers.get_all(A).iter().collect::<Vec<_>>(), ["3", "4"]);
    }

    #[test]
    fn operations_cannot_touch_the_framing() {
        let mut headers = HeaderMap::new();
        headers.append(LENGTH, value("5"));
        let set = vec![(LENGTH, value("0")), (header::TRANSFER_ENCODING, value("chunked"))];
        apply(&mut headers, &HeaderOps { remove: vec![LENGTH], set, add: vec![(LENGTH, value("7"))] });
        assert_eq!(headers.len(), 1);
        assert_eq!(headers[LENGTH], "5");
    }
}
