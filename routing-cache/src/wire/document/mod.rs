//! App documents: bytes -> [`AppSpec`].
//!
//! Owns every rule of spec/app-document.md. A document is read once, as a whole and in one direction: JSON into a tree
//! (`json`), the tree by small readers (`read`) into the model. Nothing is skipped: a field that is not known, there
//! twice, of the wrong type or out of its range is an error that names it, and so is a feature that this version reads
//! but cannot carry out. What most documents are, the short form and nothing else, is read by `simple`, which makes
//! no tree and no errors. Nothing here knows of revs, answers or limits on bytes.

mod error;
mod headers;
mod json;
mod paths;
mod policy;
mod read;
mod routes;
mod simple;
mod targets;
#[cfg(test)]
mod tests;
mod upstreams;

pub use error::DocumentError;
pub(super) use simple::Simple;

use json::Node;
use read::{Read, each, fields, missing, parsed, repeated, twice, unknown};

use crate::model::{AppSpec, Balance, Endpoint, ErrorPages, HostPattern, Protocol, Upstream};

/// Reads one app document, in its short or its long form.
///
/// # Errors
/// When it is not a valid document, or asks for what this version does not support. The error names the first field
/// that is wrong.
pub fn parse_document(document: &[u8]) -> Result<AppSpec, DocumentError> {
    simple::spec(document).map_or_else(|| parse_any(document), Ok)
}

/// The general reader: it reads every document, and knows what is wrong with one.
pub(super) fn parse_any(document: &[u8]) -> Result<AppSpec, DocumentError> {
    let spec = app(json::read(document)?)?;
    check_supported(&spec)?;
    Ok(spec)
}

/// A document while its fields come in, in any order.
#[derive(Default)]
struct Draft<'a> {
    hosts: Option<Vec<HostPattern>>,
    endpoints: Option<Vec<Endpoint>>,
    /// Read last: their `to` needs the upstreams.
    routes: Option<Node<'a>>,
    upstreams: Option<Vec<Upstream>>,
    error_pages: ErrorPages,
}

fn app(node: Node<'_>) -> Read<AppSpec> {
    let mut draft = Draft::default();
    fields(node, |field, node| {
        match field {
            "hosts" => draft.hosts = Some(hosts(node)?),
            "endpoints" => draft.endpoints = Some(upstreams::endpoints(node)?),
            "routes" => draft.routes = Some(node),
            "upstreams" => draft.upstreams = Some(upstreams::upstreams(node)?),
            "error_pages" => draft.error_pages = policy::error_pages(node)?,
            _ => return Err(unknown("hosts, endpoints, routes, upstreams, error_pages")),
        }
        Ok(())
    })?;
    draft.finish()
}

fn hosts(node: Node<'_>) -> Read<Vec<HostPattern>> {
    let hosts: Vec<HostPattern> = each(node, parsed)?;
    if hosts.is_empty() {
        return Err(DocumentError::new("is empty"));
    }
    match repeated(hosts.iter()) {
        Some(index) => Err(twice().in_item(index)),
        None => Ok(hosts),
    }
}

impl Draft<'_> {
    fn finish(self) -> Read<AppSpec> {
        let hosts = self.hosts.ok_or_else(|| missing("hosts"))?;
        let (routes, upstreams) = match (self.endpoints, self.routes, self.upstreams) {
            (Some(endpoints), None, None) => (vec![routes::of_short_form()], vec![upstreams::of_short_form(endpoints)]),
            (None, Some(routes), upstreams) => {
                let upstreams = upstreams.unwrap_or_default();
                (routes::routes(routes, &upstreams).map_err(|error| error.in_field("routes"))?, upstreams)
            }
            (Some(_), _, _) => return Err(mixed_forms()),
            (None, None, Some(_)) => return Err(missing("routes")),
            (None, None, None) => return Err(missing("endpoints")),
        };
        Ok(AppSpec { hosts, routes, upstreams, error_pages: self.error_pages })
    }
}

fn mixed_forms() -> DocumentError {
    let message =
        "is the short form, which has neither `routes` nor `upstreams`; in the long form give it to an upstream";
    DocumentError::new(message).in_field("endpoints")
}

/// What was read and is right, but cannot be carried out, makes the document invalid: an app that asks for TLS must not
/// be spoken to in the clear.
fn check_supported(spec: &AppSpec) -> Read<()> {
    for upstream in &spec.upstreams {
        if let Some((field, what)) = unsupported(upstream) {
            let error = DocumentError::new(format!("{what} is not supported by this version"));
            return Err(error.in_field(field).in_field(&upstream.name).in_field("upstreams"));
        }
    }
    Ok(())
}

/// The field, and what of it cannot be done.
fn unsupported(upstream: &Upstream) -> Option<(&'static str, String)> {
    match upstream {
        Upstream { protocol: Protocol::H2c | Protocol::H2 | Protocol::Https, .. } => {
            Some(("protocol", format!("{:?}", upstream.protocol.as_str())))
        }
        Upstream { balance: Balance::Hash(_), .. } => Some(("balance", format!("{:?}", upstream.balance.as_str()))),
        Upstream { sticky_cookie: Some(_), .. } => Some(("sticky", "a cookie that keeps clients in place".to_owned())),
        Upstream { tls: Some(_), .. } => Some(("tls", "TLS to an upstream".to_owned())),
        _ => None,
    }
}
