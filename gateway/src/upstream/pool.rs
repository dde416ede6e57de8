//! One worker's connections to endpoints.
//!
//! A pool belongs to one thread, so nothing in it is locked. The connection used last is used first, so that those over
//! the need go idle and close. A connection's driver task ends when the connection does, whoever closed it, and takes it
//! out of the pool; no system call and no timer is spent on finding out whether an idle connection is alive.
//!
//! An end that has reached the socket but not yet the driver is met by the request that is sent next: it fails unanswered,
//! and whoever sends decides by [`Broken`] whether it may be sent again.
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
use routing_cache::model::{Address, AppId};

use super::socket::{Notes, UpstreamSocket};
use crate::net::stream::{self, ConnectError, Stream};

mod departed;
mod meter;
mod settings;

use meter::Meter;

pub use departed::Unchecked;
pub use settings::{IDLE_FOR, MAX_AGE, PoolSettings};

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
    meter: Meter,
}

/// The connections to one endpoint.
#[derive(Debug)]
struct Slot<B> {
    common: Rc<Common>,
    /// The one used last is the last.
    idle: RefCell<Vec<Idle<B>>>,
    /// The app the newest connection was made for.
    user: RefCell<Option<AppId>>,
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
    /// It is not used after this.
    retires: Instant,
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
        http.max_buf_size(crate::net::buffers::UPSTREAM);
        // RFC 9112, 5.1: a proxy takes white space before a colon out of an answer.
        http.allow_spaces_after_header_name_in_responses(true);
        let (open, next_id) = (Cell::new(0), Cell::new(0));
        let (settings, now, meter) = (Cell::new(settings), Cell::new(Instant::now()), Meter::new());
        let common = Common { settings, now, open, next_id, http, meter };
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
            self.common.meter.reused();
            return Ok(Lease { connection, slot, reused: true });
        }
        let begun = Instant::now();
        let connected = stream::connect(address, connect_timeout).await;
        let stream = connected.inspect_err(|error| self.common.meter.refused(error))?;
        self.common.meter.opened(begun.elapsed());
        let connection = slot.open(stream).await?;
        Ok(Lease { connection, slot, reused: false })
    }

    /// Closes what has been idle for too long or is too old, and tells the metrics. To be called about once a second: time
    /// is counted by it.
    pub fn sweep(&self, now: Instant) {
        self.common.now.set(now);
        self.common.meter.tell();
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
            slot.clear();
        }
    }

    /// Idle connections there are.
    #[must_use]
    pub fn idle(&self) -> usize {
        self.common.meter.idle()
    }

    /// Connections whose driver task runs, idle or not.
    #[must_use]
    pub fn open(&self) -> usize {
        self.common.open.get()
    }

    fn slot(&self, address: &Address) -> Rc<Slot<B>> {
        let mut slots = self.slots.borrow_mut();
        Rc::clone(slots.entry_ref(address).or_insert_with(|| Slot::new(&self.common)))
    }
}

impl<B> Slot<B> {
    fn new(common: &Rc<Common>) -> Rc<Self> {
        Rc::new(Self { common: Rc::clone(common), idle: RefCell::default(), user: RefCell::default() })
    }

    /// The idle connection that was used last and still stands.
    fn take(&self) -> Option<Connection<B>> {
        let now = self.common.now.get();
        loop {
            let idle = self.idle.borrow_mut().pop()?;
            self.common.meter.fewer_idle(1);
            if idle.connection.sender.is_ready() && now < idle.connection.retires {
                return Some(idle.connection);
            }
        }
    }

    /// Keeps it, if there is room and it is not too old. Where all places are taken it has that of the oldest here.
    fn put(&self, connection: Connection<B>) {
        let (settings, now) = (self.common.settings.get(), self.common.now.get());
        let mut idle = self.idle.borrow_mut();
        if idle.len() >= settings.idle_per_endpoint || now >= connection.retires {
            return;
        }
        let full = self.common.meter.idle() >= settings.idle_total;
        if full && idle.is_empty() {
            return;
        }
        let oldest = full.then(|| idle.remove(0));
        self.common.meter.more_idle(usize::from(!full));
        idle.push(Idle { connection, since: now });
        drop((idle, oldest));
    }

    /// Moves connections that have idled for too long, are over the limit or too old to `old`: the one that has idled
    /// longest stands first.
    fn sweep(&self, old: &mut Vec<Idle<B>>) {
        let settings = self.common.settings.get();
        let patience = settings.patience(self.common.meter.idle());
        let mut idle = self.idle.borrow_mut();
        let (before, now) = (idle.len(), self.common.now.get());
        let young = idle.iter().position(|idle| now.saturating_duration_since(idle.since) < patience);
        let over = idle.len().saturating_sub(settings.idle_per_endpoint);
        let from = young.unwrap_or(idle.len()).max(over);
        old.extend(idle.drain(..from));
        old.extend(idle.extract_if(.., |idle| now >= idle.connection.retires));
        self.common.meter.fewer_idle(before - idle.len());
    }

    /// Closes all that idle.
    fn clear(&self) {
        let idle = self.idle.take();
        self.common.meter.fewer_idle(idle.len());
        drop(idle);
    }

    fn remove(&self, id: u64) {
        let mut idle = self.idle.borrow_mut();
        let gone = idle.iter().position(|idle| idle.connection.id == id).map(|at| idle.remove(at));
        drop(idle);
        if gone.is_some() {
            self.common.meter.fewer_idle(1);
        }
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
        Ok(Connection { sender, notes, id, retires: self.common.settings.get().retires(self.common.now.get()) })
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

    /// Notes for which app the connection was made: it is closed soon after that app has left the endpoint.
    pub fn made_for(&self, app: &AppId) {
        let mut user = self.slot.user.borrow_mut();
        if user.as_ref() != Some(app) {
            *user = Some(app.clone());
        }
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
