//! One worker's connections to endpoints.
//!
//! A pool belongs to one thread, so nothing in it is locked. The connection used last is used first, so that those over
//! the need go idle and close. A connection's driver task ends when the connection does, whoever closed it, and takes it
//! out of the pool; no system call and no timer is spent on finding out whether an idle connection is alive.
//!
//! Bounds: idle connections by [`PoolSettings`]; those in use by [`super::limit`] and by the number of clients.

use std::{
    cell::{Cell, RefCell},
    error::Error,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use foldhash::fast::RandomState;
use hashbrown::HashMap;
use http::{Request, Response};
use hyper::{
    body::Incoming,
    client::conn::http1::{Builder, SendRequest},
    upgrade::Upgraded,
};
use routing_cache::model::Address;

use super::socket::{Notes, UpstreamSocket};
use crate::{
    config::UpstreamConfig,
    net::stream::{self, ConnectError, Stream},
};

/// How long a connection may idle. Source: under the 60 to 75 s after which many servers close an idle connection (nginx's
/// `keepalive_timeout` is 75 s), as a connection that both sides close at once breaks a request.
pub const IDLE_FOR: Duration = Duration::from_secs(55);

/// What one worker keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolSettings {
    /// Idle connections to one endpoint, at most.
    pub idle_per_endpoint: usize,
    /// How long one may idle.
    pub idle_for: Duration,
}

impl PoolSettings {
    /// The share of one of `workers`, rounded up.
    #[must_use]
    pub fn for_worker(config: &UpstreamConfig, workers: usize) -> Self {
        let idle_per_endpoint = config.idle_connections_per_endpoint.div_ceil(workers.max(1));
        Self { idle_per_endpoint, idle_for: IDLE_FOR }
    }
}

/// One worker's pool. Clones share it.
#[derive(Debug)]
pub struct Pool<B> {
    slots: Rc<RefCell<Slots<B>>>,
    common: Rc<Common>,
}

type Slots<B> = HashMap<Address, Rc<Slot<B>>, RandomState>;

/// What all connections of the pool share.
#[derive(Debug)]
struct Common {
    settings: Cell<PoolSettings>,
    /// The time of the last sweep: precise enough for the age of idle connections, and free.
    now: Cell<Instant>,
    open: Cell<usize>,
    next_id: Cell<u64>,
    http: Builder,
}

/// The connections to one endpoint.
#[derive(Debug)]
struct Slot<B> {
    common: Rc<Common>,
    /// The one used last is the last.
    idle: RefCell<Vec<Idle<B>>>,
}

#[derive(Debug)]
struct Idle<B> {
    connection: Connection<B>,
    since: Instant,
}

#[derive(Debug)]
struct Connection<B> {
    sender: SendRequest<B>,
    notes: Arc<Notes>,
    id: u64,
}

/// A connection for one exchange. Dropping it closes the connection; [`Lease::release`] gives it back.
#[derive(Debug)]
pub struct Lease<B> {
    connection: Connection<B>,
    slot: Rc<Slot<B>>,
    reused: bool,
}

/// A request was not answered.
#[derive(Debug, thiserror::Error)]
pub enum SendError<B> {
    /// The connection was closed before it took the request; here it is back.
    #[error("the connection was closed before the request was sent")]
    NotSent(Box<Request<B>>),
    /// The connection broke during the exchange.
    #[error(transparent)]
    Broken(Broken),
}

/// How a connection broke during an exchange.
#[derive(Debug, thiserror::Error)]
#[error("{cause:?} ({source})")]
pub struct Broken {
    /// A byte of the request was written. If none was, the request may be sent again whatever it is.
    pub wrote: bool,
    /// A byte of an answer was read: the upstream has seen the request.
    pub answered: bool,
    /// What broke it.
    pub cause: BrokenCause,
    /// hyper's word for it.
    pub source: hyper::Error,
}

/// What broke an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BrokenCause {
    /// The upstream closed or reset the connection before the answer's head was complete.
    Closed,
    /// What came is no head of an answer, or too large a one.
    BadAnswer,
    /// The request's body ended in an error: the fault of whoever sends it.
    RequestBody,
}

impl<B> Clone for Pool<B> {
    fn clone(&self) -> Self {
        Self { slots: Rc::clone(&self.slots), common: Rc::clone(&self.common) }
    }
}

impl<B> Pool<B>
where
    B: http_body::Body<Data = Bytes> + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    /// An empty pool.
    #[must_use]
    pub fn new(settings: PoolSettings) -> Self {
        let mut http = Builder::new();
        // Head and body are laid out in one buffer and leave in one write. The copy of a large body costs less, over all
        // requests, than the list of slices that hyper would go through for every head.
        http.writev(false);
        let (open, next_id) = (Cell::new(0), Cell::new(0));
        let common = Common { settings: Cell::new(settings), now: Cell::new(Instant::now()), open, next_id, http };
        Self { slots: Rc::default(), common: Rc::new(common) }
    }

    /// Changes the settings; connections over a lower limit close as they are released or swept.
    pub fn configure(&self, settings: PoolSettings) {
        self.common.settings.set(settings);
    }

    /// A connection to `address`: an idle one unless it must be `fresh`, else a new one within `connect_timeout`.
    ///
    /// # Errors
    /// When no connection could be made.
    ///
    /// # Cancel safety
    /// Safe: dropping the future closes a connection that is being made.
    pub async fn checkout(
        &self,
        address: &Address,
        connect_timeout: Duration,
        fresh: bool,
    ) -> Result<Lease<B>, ConnectError> {
        let slot = self.slot(address);
        if !fresh && let Some(connection) = slot.take() {
            return Ok(Lease { connection, slot, reused: true });
        }
        let stream = stream::connect(address, connect_timeout).await?;
        let connection = slot.open(stream).await?;
        Ok(Lease { connection, slot, reused: false })
    }

    /// Closes what has been idle for too long. To be called about once a second: idle time is counted by it.
    pub fn sweep(&self, now: Instant) {
        self.common.now.set(now);
        let mut old = Vec::new();
        self.slots.borrow_mut().retain(|_, slot| {
            slot.sweep(&mut old);
            // A lease holds its slot.
            !slot.idle.borrow().is_empty() || Rc::strong_count(slot) > 1
        });
        drop(old);
    }

    /// Closes all idle connections.
    pub fn clear(&self) {
        let slots: Vec<_> = self.slots.borrow_mut().drain().collect();
        for (_, slot) in &slots {
            drop(slot.idle.take());
        }
    }

    /// Idle connections there are.
    #[must_use]
    pub fn idle(&self) -> usize {
        self.slots.borrow().values().map(|slot| slot.idle.borrow().len()).sum()
    }

    /// Connections whose driver task runs, idle or not.
    #[must_use]
    pub fn open(&self) -> usize {
        self.common.open.get()
    }

    fn slot(&self, address: &Address) -> Rc<Slot<B>> {
        let mut slots = self.slots.borrow_mut();
        let make = || Rc::new(Slot { common: Rc::clone(&self.common), idle: RefCell::default() });
        Rc::clone(slots.entry_ref(address).or_insert_with(make))
    }
}

impl<B> Slot<B> {
    /// The idle connection that was used last and still stands.
    fn take(&self) -> Option<Connection<B>> {
        loop {
            let idle = self.idle.borrow_mut().pop()?;
            if idle.connection.sender.is_ready() {
                return Some(idle.connection);
            }
        }
    }

    fn put(&self, connection: Connection<B>) {
        let mut idle = self.idle.borrow_mut();
        if idle.len() < self.common.settings.get().idle_per_endpoint {
            idle.push(Idle { connection, since: self.common.now.get() });
        }
    }

    /// Moves connections that are too old, or over the limit, to `old`: the oldest stand first.
    fn sweep(&self, old: &mut Vec<Idle<B>>) {
        let PoolSettings { idle_per_endpoint, idle_for } = self.common.settings.get();
        let mut idle = self.idle.borrow_mut();
        let now = self.common.now.get();
        let young = idle.iter().position(|idle| now.saturating_duration_since(idle.since) < idle_for);
        let over = idle.len().saturating_sub(idle_per_endpoint);
        let from = young.unwrap_or(idle.len()).max(over);
        old.extend(idle.drain(..from));
    }

    fn remove(&self, id: u64) {
        let mut idle = self.idle.borrow_mut();
        let gone = idle.iter().position(|idle| idle.connection.id == id).map(|at| idle.remove(at));
        drop(idle);
        drop(gone);
    }
}

impl<B> Slot<B>
where
    B: http_body::Body<Data = Bytes> + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    async fn open(self: &Rc<Self>, stream: Stream) -> Result<Connection<B>, ConnectError> {
        let (socket, notes) = UpstreamSocket::new(stream);
        let shaken = self.common.http.handshake(socket).await;
        let (sender, driver) = shaken.map_err(|error| ConnectError::Refused(std::io::Error::other(error)))?;
        let id = self.common.next_id.get();
        self.common.next_id.set(id + 1);
        let open = Open::begin(&self.common);
        let slot = Rc::downgrade(self);
        tokio::task::spawn_local(async move {
            // ignored: an error during an exchange is told to whoever sent the request, and on an idle connection it
            // is no more than its end.
            let _ = driver.with_upgrades().await;
            if let Some(slot) = slot.upgrade() {
                slot.remove(id);
            }
            drop(open);
        });
        Ok(Connection { sender, notes, id })
    }
}

/// Counts a connection while its driver runs.
struct Open(Rc<Common>);

impl Open {
    fn begin(common: &Rc<Common>) -> Self {
        common.open.set(common.open.get() + 1);
        Self(Rc::clone(common))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.set(self.0.open.get() - 1);
    }
}

impl<B> Lease<B>
where
    B: http_body::Body<Data = Bytes> + 'static,
{
    /// It has carried a request before: the peer may have closed it since.
    #[must_use]
    pub fn reused(&self) -> bool {
        self.reused
    }

    /// Sends `request` and waits for the head of the answer. The caller sets the deadline.
    ///
    /// # Errors
    /// When the connection was closed before, or broke during the exchange.
    ///
    /// # Cancel safety
    /// Dropping the future closes the connection; the upstream may have seen the request.
    pub async fn send(&mut self, request: Request<B>) -> Result<Response<Incoming>, SendError<B>> {
        self.connection.notes.clear();
        let sent = self.connection.sender.try_send_request(request).await;
        sent.map_err(|mut error| match error.take_message() {
            Some(request) => SendError::NotSent(Box::new(request)),
            None => SendError::Broken(self.broken(error.into_error())),
        })
    }

    fn broken(&self, source: hyper::Error) -> Broken {
        let cause = if source.is_user() {
            BrokenCause::RequestBody
        } else if source.is_parse() {
            BrokenCause::BadAnswer
        } else {
            BrokenCause::Closed
        };
        let notes = &self.connection.notes;
        Broken { wrote: notes.writes() > 0, answered: notes.answered(), cause, source }
    }

    /// The answer's body has ended: back into the pool, or closed if it cannot carry another request.
    pub fn release(self) {
        if self.connection.sender.is_ready() {
            self.slot.put(self.connection);
        }
    }
}

/// The socket of an upgraded connection of a [`Pool`], with what was already read from it; `None` for one of another make.
#[must_use]
pub fn into_stream(upgraded: Upgraded) -> Option<(Stream, Bytes)> {
    let parts = upgraded.downcast::<UpstreamSocket>().ok()?;
    Some((parts.io.into_stream(), parts.read_buf))
}

#[cfg(test)]
mod tests;
