//! The head that goes to the upstream, and what an attempt makes of it.

use std::borrow::Cow;

use http::{Method, Version};
use routing_cache::model::HeaderOps;

use super::{
    forwarded::{self, Peer},
    hop::{self, Hop},
    upload::Upload,
};
use crate::message::{Fields, names};

/// A request's head as the upstream is to see it.
#[derive(Debug)]
pub(crate) struct Outgoing<'a> {
    pub(crate) method: &'a Method,
    pub(crate) target: Cow<'a, str>,
    pub(crate) fields: Fields,
}

/// What the fields are made of, besides themselves.
pub(crate) struct Making<'a> {
    /// That the client speaks.
    pub(crate) version: Version,
    pub(crate) hop: &'a Hop,
    pub(crate) peer: &'a Peer,
    pub(crate) ops: &'a HeaderOps,
    pub(crate) upload: &'a Upload,
}

impl Making<'_> {
    /// Makes them of the request's own, whose hop-by-hop fields are gone and whose `Host` is the one that was asked for.
    pub(crate) fn make(&self, fields: &mut Fields) {
        frame(fields, self.upload);
        self.peer.announce(fields);
        apply(fields, self.ops);
        forwarded::append_via(fields, self.version);
        hop::announce(fields, self.hop);
    }
}

/// Says how the body is framed. A body without a length is chunked, also for a method that rarely has one; a body that
/// is not there is not announced.
fn frame(fields: &mut Fields, upload: &Upload) {
    if upload.is_empty() {
        fields.remove(names::EXPECT);
    } else if !fields.contains(names::CONTENT_LENGTH) {
        fields.set(names::TRANSFER_ENCODING, "chunked");
    }
}

/// Carries out a route's header operations: remove, set, add. None of them touches what frames a message.
pub(crate) fn apply(fields: &mut Fields, ops: &HeaderOps) {
    for name in ops.remove.iter().filter(|name| !hop::is_framing(name.as_str())) {
        fields.remove(name.as_str());
    }
    for (name, value) in ops.set.iter().filter(|(name, _)| !hop::is_framing(name.as_str())) {
        fields.set(name.as_str(), value);
    }
    for (name, value) in ops.add.iter().filter(|(name, _)| !hop::is_framing(name.as_str())) {
        fields.push(name.as_str(), value);
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue, header};

    use super::*;

    const A: HeaderName = HeaderName::from_static("a");
    const LENGTH: HeaderName = header::CONTENT_LENGTH;

    fn value(text: &'static str) -> HeaderValue {
        HeaderValue::from_static(text)
    }

    #[test]
    fn operations_are_done_in_the_order_remove_set_add() {
        let mut fields: Fields = [("a", "1"), ("a", "2")].into_iter().collect();
        let ops = HeaderOps { remove: vec![A], set: vec![(A, value("3"))], add: vec![(A, value("4"))] };
        apply(&mut fields, &ops);
        assert_eq!(fields, [("a", "3"), ("a", "4")].into_iter().collect());
    }

    #[test]
    fn operations_cannot_touch_the_framing() {
        let mut fields: Fields = [("content-length", "5")].into_iter().collect();
        let set = vec![(LENGTH, value("0")), (header::TRANSFER_ENCODING, value("chunked"))];
        apply(&mut fields, &HeaderOps { remove: vec![LENGTH], set, add: vec![(LENGTH, value("7"))] });
        assert_eq!(fields, [("content-length", "5")].into_iter().collect());
    }
}
