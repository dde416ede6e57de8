//! From a request to the app and route that take it, all of one generation.

use std::sync::Arc;

use http::{Response, StatusCode, request::Parts};
use routing_cache::{
    model::{App, Route},
    table::{NormalPath, match_route},
};

use super::{
    body::ResponseBody,
    context::Worker,
    failure::{Cause, Failure, Stage},
    target::Target,
};
use crate::probe;

/// Nobody's (RFC 2606, 2).
const PROBED_HOST: &str = "probe.invalid";

/// The app that has the request's host.
///
/// # Errors
/// When there is no table, the host is not one, nobody has it, or this version does not understand the app's document.
pub(crate) fn find_app(worker: &Worker, target: &Target) -> Result<Arc<App>, Failure> {
    if !worker.has_table() {
        return Err(Failure::new(Stage::Route, Cause::NoTable));
    }
    let unknown = || Failure::new(Stage::Route, Cause::UnknownHost);
    let host = target.host()?.ok_or_else(unknown)?;
    let found = worker.find_app(&host).ok_or_else(unknown)?;
    found.map_err(|error| {
        worker.unreadable(&host, &error);
        Failure::new(Stage::Route, Cause::UnreadableApp)
    })
}

/// The answer to a probe, which has come as far as any request does before it is routed: the table is loaded and asked.
/// Without a table it is answered just so, as having none is not being hung.
pub(crate) fn probed(worker: &Worker) -> Response<ResponseBody> {
    // ignored: nobody has that host, and what is looked for is that the look-up ends.
    let _ = worker.find_app(PROBED_HOST);
    let mut response = Response::new(ResponseBody::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response.headers_mut().insert(probe::INSTANCE, worker.probes.instance());
    response
}

/// The route of `app` that takes the request.
///
/// # Errors
/// When none does.
pub(crate) fn find_route<'a>(app: &'a App, path: &NormalPath<'_>, head: &Parts) -> Result<&'a Route, Failure> {
    match_route(app, path, &head.method, &head.headers).ok_or_else(|| Failure::new(Stage::Route, Cause::NoRoute))
}
