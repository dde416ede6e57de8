//! One worker's connections to endpoints.
//!
//! A pool belongs to one thread, so nothing in it is locked. The connection used last is used first, so that those over
//! the need go idle and close. An idle connection is a bare socket. Whether its peer has closed it, or said something
//! unasked, the runtime hears with everything else: it is looked at before each use and by each sweep, and neither a
//! system call nor a timer is spent on it.
//!
//! An end that has reached the socket but not yet the runtime is met by the request that is sent next: it fails
//! unanswered, and whoever sends decides by [`Broken`] whether it may be sent again.
//!
//! Bounds: idle connections by [`PoolSettings`]; those in use by [`super::limit`] and by the number of clients.

use std::{
    cell::{Cell, RefCell},
    error::Error,
    rc::Rc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use foldhash::fast::RandomState;
use hashbrown::HashMap;
use routing_cache::model::{Address, AppId};

use super::http1::{self, AnswerBody, Ask, Fault, Shared, Spare, Wire};
use crate::{
    message::{Fields, ResponseHead},
    net::stream::{self, ConnectError, Stream},
};

mod departed;
mod meter;
mod open;
mod settings;

use meter::Meter;
use open::Open;

pub use departed::Unchecked;
pub use settings::{IDLE_FOR, MAX_AGE, PoolSettings};

/// How long the rest of a request may take whose answer is complete. It is what the gateway has of it, which is less than a
/// MiB, so an app that reads on takes it sooner.
const FINISH: Duration = Duration::from_secs(10);

/// Idle connections that a sweep asks about their peer, on average and at most. Each takes two reads of memory that is not
/// in a cache, some 0.2 us, and requests wait meanwhile; of more connections a random part is asked.
const ASKED_AT_ONCE: usize = 1024;

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
    spare: Rc<Spare>,
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
    wire: Shared<B>,
    /// It is not used after this.
    retires: Instant,
    _open: Open,
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
    /// The connection was closed before it took the request, whose body this is.
    #[error("the connection was closed before the request was sent")]
    NotSent(B),
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
    /// More of it, for the log.
    pub source: Fault,
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

impl<B> Pool<B> {
    /// An empty pool.
    #[must_use]
    pub fn new(settings: PoolSettings) -> Self {
        let (open, spare) = (Cell::new(0), Rc::default());
        let (settings, now, meter) = (Cell::new(settings), Cell::new(Instant::now()), Meter::new());
        let common = Common { settings, now, open, spare, meter };
        Self { slots: Rc::default(), common: Rc::new(common) }
    }

    /// Changes the settings; connections over a lower limit close as they are released or swept.
    pub fn configure(&self, settings: PoolSettings) {
        self.common.settings.set(settings);
    }

    /// Gives back the memory that is kept for later requests.
    pub fn give_back(&self) {
        self.common.spare.give_back();
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
        let connection = slot.open(stream);
        Ok(Lease { connection, slot, reused: false })
    }

    /// Closes what has been idle for too long, is too old or was closed by its peer, and tells the metrics. To be called
    /// about once a second: time is counted by it.
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

    /// The worker's store of memory.
    #[must_use]
    pub fn spare(&self) -> &Rc<Spare> {
        &self.common.spare
    }

    /// Keeps the memory of a request's fields, for an answer's.
    pub fn recycle(&self, fields: Fields) {
        self.common.spare.recycle(fields);
    }

    /// Connections there are, idle or not.
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
            if now < idle.connection.retires && idle.connection.is_quiet() {
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

    /// Moves connections that have idled for too long, are over the limit, too old or closed to `old`: the one that has
    /// idled longest stands first.
    fn sweep(&self, old: &mut Vec<Idle<B>>) {
        let settings = self.common.settings.get();
        let patience = settings.patience(self.common.meter.idle());
        let one_of = 1 + self.common.meter.idle() / ASKED_AT_ONCE;
        let is_closed = |idle: &Idle<B>| fastrand::usize(..one_of) == 0 && !idle.connection.is_quiet();
        let mut idle = self.idle.borrow_mut();
        let (before, now) = (idle.len(), self.common.now.get());
        let young = idle.iter().position(|idle| now.saturating_duration_since(idle.since) < patience);
        let over = idle.len().saturating_sub(settings.idle_per_endpoint);
        let from = young.unwrap_or(idle.len()).max(over);
        old.extend(idle.drain(..from));
        old.extend(idle.extract_if(.., |idle| now >= idle.connection.retires || is_closed(idle)));
        self.common.meter.fewer_idle(before - idle.len());
    }

    /// Closes all that idle.
    fn clear(&self) {
        let idle = self.idle.take();
        self.common.meter.fewer_idle(idle.len());
        drop(idle);
    }

    fn open(self: &Rc<Self>, stream: Stream) -> Connection<B> {
        let common = &self.common;
        let wire = Rc::new(RefCell::new(Wire::new(stream, Rc::clone(&common.spare))));
        let retires = common.settings.get().retires(common.now.get());
        Connection { wire, retires, _open: Open::begin(common) }
    }
}

impl<B> Connection<B> {
    /// False once its peer has closed it, or said something unasked.
    fn is_quiet(&self) -> bool {
        self.wire.borrow().is_quiet()
    }
}

impl<B> Lease<B> {
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

    /// The socket of a connection that has left HTTP, with what was read beyond the answer's head; `None` while somebody
    /// has the answer's body.
    #[must_use]
    pub fn into_stream(self) -> Option<(Stream, Bytes)> {
        Some(Rc::into_inner(self.connection.wire)?.into_inner().into_stream())
    }

    fn broken(&self, source: Fault) -> Broken {
        let cause = match source {
            Fault::RequestBody(_) | Fault::RequestBodyShort => BrokenCause::RequestBody,
            Fault::Malformed(_) => BrokenCause::BadAnswer,
            Fault::Ended | Fault::Io(_) => BrokenCause::Closed,
        };
        let wire = self.connection.wire.borrow();
        Broken { wrote: wire.writes() > 0, answered: wire.answered(), cause, source }
    }
}

impl<B> Lease<B>
where
    B: http_body::Body<Data = Bytes> + Unpin + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    /// The answer's body has ended: back into the pool, or closed if it cannot carry another request. One whose request has
    /// not ended is closed when that has, or nobody has more of it.
    pub fn release(self) {
        // Whoever still had the answer's body could read of the next one.
        let is_alone = Rc::strong_count(&self.connection.wire) == 1;
        let mut wire = self.connection.wire.borrow_mut();
        if is_alone && wire.is_reusable() {
            wire.rest();
            drop(wire);
            self.slot.put(self.connection);
        } else if is_alone && wire.is_answered_early() {
            drop(wire);
            tokio::task::spawn_local(self.finish());
        }
    }

    /// Sends the rest of a request that was answered before its end: the app may read on, and take a request that is cut for
    /// one that failed.
    async fn finish(self) {
        // ignored: either way the connection is closed, and nobody waits for it.
        let _ = tokio::time::timeout(FINISH, http1::send_rest(&self.connection.wire)).await;
    }

    /// Sends a request and waits for the head of the answer. The caller sets the deadline.
    ///
    /// # Errors
    /// When the connection was closed before, or broke during the exchange.
    ///
    /// # Cancel safety
    /// Dropping the future closes the connection; the upstream may have seen the request.
    pub async fn send(&mut self, ask: &Ask<'_>, body: B) -> Result<(ResponseHead, AnswerBody<B>), SendError<B>> {
        let answered = http1::exchange(&self.connection.wire, ask, body).await.map_err(SendError::NotSent)?;
        answered.map_err(|fault| SendError::Broken(self.broken(fault)))
    }
}

#[cfg(test)]
mod tests;
