//! Connections that another process has accepted from this one's sockets, and hands back unread: they are served as if they had
//! been accepted here. See [`super::Proving`], which is the other end.

use std::{
    net::IpAddr,
    os::fd::OwnedFd,
    sync::Arc,
    thread::sleep,
    time::{Duration, Instant},
};

use tokio::sync::mpsc::{Receiver, WeakSender, error::TrySendError};

use super::{
    connections::{Connections, ListenerStats},
    spread::{Arrival, Peers, Place},
};
use crate::{config::ListenAddress, net::stream::Accepted};

/// How long every worker's queue may be full. A worker takes what is in its queue within a turn of its loop.
const PATIENCE: Duration = Duration::from_secs(5);
/// From one look at full queues to the next.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// The workers' queues, from outside. Clones reach the same; none keeps a worker from its end.
#[derive(Clone, Debug)]
pub struct Returns(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    listeners: Vec<Arc<Connections>>,
    queues: Vec<WeakSender<Arrival>>,
}

/// Why a connection could not be taken; it is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotTaken {
    /// It came by a listener that this process does not have.
    #[error("there is no such listener")]
    NoSuchListener,
    /// Its client has gone.
    #[error("its client has gone")]
    Gone,
    /// The workers drain.
    #[error("the workers drain")]
    Draining,
    /// The workers do not keep up.
    #[error("the workers do not keep up")]
    Full,
}

impl Returns {
    pub(super) fn new(listeners: &[ListenerStats], peers: &[(Peers, Receiver<Arrival>)]) -> Self {
        let listeners = listeners.iter().map(|stats| Arc::clone(stats.connections_of())).collect();
        let queues = peers.first().map(|(peers, _)| peers.ways_in()).unwrap_or_default();
        Self(Arc::new(Inner { listeners, queues }))
    }

    /// Takes a connection that came by `listener`, which is an address as it is displayed. May wait, for a bounded time.
    ///
    /// # Errors
    /// When it is of none of the listeners, its client has gone, or no worker takes it.
    pub fn take(&self, connection: OwnedFd, listener: &str) -> Result<(), NotTaken> {
        let named = |(_, connections): &(usize, &Arc<Connections>)| connections.address().to_string() == listener;
        let listeners = &self.0.listeners;
        let (number, connections) = listeners.iter().enumerate().find(named).ok_or(NotTaken::NoSuchListener)?;
        let (socket, address) = accepted(connection, connections.address()).ok_or(NotTaken::Gone)?;
        let place = Place::new(connections, 0);
        self.offer(Arrival { socket, address, listener: number, place })
    }

    fn offer(&self, mut arrival: Arrival) -> Result<(), NotTaken> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut open = false;
            for worker in arrival.place.workers() {
                let Some(queue) = self.0.queues.get(worker).and_then(WeakSender::upgrade) else { continue };
                arrival = Arrival { place: arrival.place.at(worker), ..arrival };
                match queue.try_send(arrival) {
                    Ok(()) => return Ok(()),
                    Err(TrySendError::Full(back)) => (arrival, open) = (back, true),
                    Err(TrySendError::Closed(back)) => arrival = back,
                }
            }
            match open {
                false => return Err(NotTaken::Draining),
                true if Instant::now() >= deadline => return Err(NotTaken::Full),
                true => sleep(LOOK_EVERY),
            }
        }
    }
}

/// The socket, and its client's address where it has one; `None` when the client has gone.
fn accepted(connection: OwnedFd, listener: &ListenAddress) -> Option<(Accepted, Option<IpAddr>)> {
    match listener {
        ListenAddress::Tcp(_) => {
            let socket = std::net::TcpStream::from(connection);
            let address = socket.peer_addr().ok()?.ip().to_canonical();
            Some((Accepted::Tcp(socket), Some(address)))
        }
        ListenAddress::Unix(_) => Some((Accepted::Unix(connection.into()), None)),
    }
}
