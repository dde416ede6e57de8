//! From a request to the app and route that take it, all of one generation.

use std::sync::Arc;

use http::request::Parts;
use routing_cache::{
    model::{App, Route},
    table::{NormalPath, match_route},
};

use super::{
    context::Worker,
    failure::{Cause, Failure, Stage},
    target::Target,
};

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

/// The route of `app` that takes the request.
///
/// # Errors
/// When none does.
pub(crate) fn find_route<'a>(app: &'a App, path: &NormalPath<'_>, head: &Parts) -> Result<&'a Route, Failure> {
    match_route(app, path, &head.method, &head.headers).ok_or_else(|| Failure::new(Stage::Route, Cause::NoRoute))
}
