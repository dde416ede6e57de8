//! From a request to the app and route that take it, all of one generation.

use std::sync::Arc;

use http::{HeaderName, HeaderValue, Method};
use routing_cache::{
    model::{App, Route},
    table::{NormalPath, match_route},
};

use super::{
    answer,
    context::Worker,
    failure::{Cause, Failure, Stage},
    service::Reply,
    target,
};
use crate::message::Fields;

/// Nobody's (RFC 2606, 2).
const PROBED_HOST: &str = "probe.invalid";

/// The app that has the request's host.
///
/// # Errors
/// When there is no table, the host is not one, nobody has it, or this version does not understand the app's document.
pub(crate) fn find_app(worker: &Worker, fields: &Fields) -> Result<Arc<App>, Failure> {
    if !worker.has_table() {
        return Err(Failure::new(Stage::Route, Cause::NoTable));
    }
    let unknown = || Failure::new(Stage::Route, Cause::UnknownHost);
    let host = target::host(fields)?.ok_or_else(unknown)?;
    let found = worker.find_app(&host).ok_or_else(unknown)?;
    found.map_err(|error| {
        worker.unreadable(&host, &error);
        Failure::new(Stage::Route, Cause::UnreadableApp)
    })
}

/// The answer to a probe, which has come as far as any request does before it is routed: the table is loaded and asked.
/// Without a table it is answered just so, as having none is not being hung.
pub(crate) fn probed(worker: &Worker) -> Reply {
    // ignored: nobody has that host, and what is looked for is that the look-up ends.
    let _ = worker.find_app(PROBED_HOST);
    answer::probed(worker.probes.instance())
}

/// The route of `app` that takes the request.
///
/// # Errors
/// When none does.
pub(crate) fn find_route<'a>(
    app: &'a App,
    path: &NormalPath<'_>,
    method: &Method,
    fields: &Fields,
) -> Result<&'a Route, Failure> {
    let has = |name: &HeaderName, value: &HeaderValue| fields.all(name.as_str()).any(|got| got == value.as_bytes());
    match_route(app, path, method, has).ok_or_else(|| Failure::new(Stage::Route, Cause::NoRoute))
}
