//! reqwest's errors -> ours.

use std::error::Error;

use super::super::Failure;

/// The deepest chain of causes that is written out.
const MAX_CAUSES: usize = 8;

/// A request that got no head of an answer.
pub(super) fn of_send(error: reqwest::Error) -> Failure {
    let error = error.without_url();
    if error.is_timeout() {
        return Failure::Timeout(if error.is_connect() { "no connection in time" } else { "no answer in time" });
    }
    if causes(&error).any(is_parse) {
        return Failure::CutShort(text(&error));
    }
    Failure::Unreachable(text(&error))
}

/// A body that did not come to its end.
pub(super) fn of_body(error: reqwest::Error) -> Failure {
    Failure::CutShort(text(&error.without_url()))
}

fn is_parse(cause: &(dyn Error + 'static)) -> bool {
    cause.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_parse)
}

fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |e| (**e).source()).take(MAX_CAUSES)
}

/// The causes in one line; the innermost is what an operator needs ("Connection refused").
fn text(error: &(dyn Error + 'static)) -> String {
    causes(error).map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
