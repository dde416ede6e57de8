//! What this process hands over to a successor: how the parts that know nothing of each other are put together.

use std::{
    io,
    os::fd::OwnedFd,
    sync::{Arc, Weak},
};

use anyhow::Context;
use tokio::sync::watch;

use super::notify;
use crate::{
    admin,
    config::Config,
    drain::Draining,
    net::listen::ListenSocket,
    proxy::Workers,
    takeover::{self, Estate, Predecessors, Replaced, Role},
    updates::Updates,
    upstream::registry::Endpoints,
};

/// The processes before this one.
#[derive(Clone, Debug, Default)]
pub(super) struct Line {
    /// Those that still drain.
    pub(super) predecessors: Predecessors,
    /// How many take-overs there were.
    pub(super) takeovers: u64,
}

/// What is handed over.
pub(super) struct Handover<'a> {
    pub(super) config: &'a Config,
    pub(super) updates: &'a Updates,
    pub(super) endpoints: &'a Arc<Endpoints>,
    pub(super) draining: Draining,
    pub(super) workers: &'a Workers,
    /// A duplicate of the admin API's socket, and what makes it accept nothing more. The duplicate may be kept: the admin API
    /// answers to the end of a drain.
    pub(super) admin: (OwnedFd, admin::Accepting),
    pub(super) line: Line,
}

/// Ready to receive a successor.
pub(super) struct Succession(Estate);

impl Succession {
    /// Puts it together. What comes with it says who serves once this process is replaced.
    pub(super) fn new(parts: Handover<'_>) -> (Self, watch::Receiver<Option<Replaced>>) {
        let (tell, replaced) = watch::channel(None);
        let (sockets, returns) = (parts.workers.sockets(), parts.workers.returns());
        let (admin, accepting) = parts.admin;
        let estate = Estate {
            state_dir: parts.config.state_dir.clone(),
            updates: parts.updates.clone(),
            endpoints: Arc::clone(parts.endpoints),
            predecessors: parts.line.predecessors,
            draining: parts.draining,
            sockets: Box::new(move || duplicates(&sockets, &admin)),
            take_back: Arc::new(move |connection, listener| {
                returns.take(connection, listener).map_err(|error| error.to_string())
            }),
            takeovers: parts.line.takeovers,
            withdraw: Box::new(move |by| {
                accepting.withdraw();
                // Before the successor is told to go on: what it says to the service manager then is listened to.
                notify::replaced(by.pid);
                tell.send_replace(Some(by));
            }),
        };
        (Self(estate), replaced)
    }

    /// Receives successors from now on, by `desk` where the process before had one.
    pub(super) fn receive(self, desk: Option<OwnedFd>) -> anyhow::Result<()> {
        takeover::receive_callers(self.0, desk).context("the thread for take-overs cannot be started")
    }
}

fn duplicates(sockets: &[Weak<ListenSocket>], admin: &OwnedFd) -> io::Result<Vec<(Role, OwnedFd)>> {
    let duplicate = |socket: &Weak<ListenSocket>| {
        let socket = socket.upgrade().ok_or_else(|| io::Error::other("a worker does not accept any more"))?;
        Ok((Role::Listener, socket.duplicate()?.into_descriptor()))
    };
    let mut all = sockets.iter().map(duplicate).collect::<io::Result<Vec<_>>>()?;
    all.push((Role::Admin, admin.try_clone()?));
    Ok(all)
}
