//! All sockets, or none: every address that cannot be had is named at once.

use std::fmt::Display;

use anyhow::bail;

use crate::{
    admin,
    config::Config,
    net::{
        inherited::Inherited,
        listen::{self, BoundListener},
    },
};

/// What is bound.
pub(super) struct Bound {
    /// The data plane's listeners.
    pub(super) listeners: Vec<BoundListener>,
    /// The admin API's.
    pub(super) admin: admin::Socket,
}

/// Binds every listener and the admin address. They have the inherited sockets of their addresses.
///
/// # Errors
/// When one cannot be bound; those that could are let go.
pub(super) fn all(config: &Config, inherited: &mut Inherited) -> anyhow::Result<Bound> {
    let mut errors = Vec::new();
    let mut listeners = Vec::new();
    for listener in &config.listeners {
        listeners.extend(noted(listen::bind(listener, config.gateway.workers, inherited), &mut errors));
    }
    let address = &config.admin.address;
    let inherited = inherited.take(address).pop().map(admin::Socket::inherited);
    let admin = inherited.map_or_else(|| admin::Socket::bind(address), Ok);
    let admin = admin.map_err(|error| format!("the admin address {address}: {error}"));
    let admin = noted(admin, &mut errors);
    match admin {
        Some(admin) if errors.is_empty() => Ok(Bound { listeners, admin }),
        _ => bail!("cannot listen: {}", errors.join("; ")),
    }
}

fn noted<T>(bound: Result<T, impl Display>, errors: &mut Vec<String>) -> Option<T> {
    bound.map_err(|error| errors.push(error.to_string())).ok()
}
