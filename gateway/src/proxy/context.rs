//! What the requests of one worker share. A worker is one thread, so nothing here is locked.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::{ArcSwap, Cache};
use routing_cache::{
    live::{CachedReader, Published},
    model::App,
    wire::DocumentError,
};
use tokio::sync::{Notify, watch};

use super::{
    connections::Connections,
    metrics::{ListenerMetrics, Metrics},
    proving::Proving,
    roster::Roster,
    settings::Settings,
    spread::Churn,
    upload::RequestBody,
};
use crate::{
    overload::Overload,
    probe::Probes,
    telemetry::access::AccessLog,
    upstream::{balance::Balancer, limit::Limits, pool::Pool, registry::Endpoints},
};

/// How often it is said that an app cannot be served.
const COMPLAIN_EVERY: Duration = Duration::from_secs(10);

/// How far the worker's end has come. It only goes forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// Serving.
    Open,
    /// Nothing new is accepted, and answers say `Connection: close`; idle connections are kept for a moment, so that a
    /// request that is on its way meets no closed door.
    Draining,
    /// Idle connections are closed; what is under way finishes.
    Closing,
    /// The time is over: what is left is cut.
    Over,
}

/// One worker's own and shared state.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) metrics: Metrics,
    pub(crate) access: AccessLog,
    pub(crate) endpoints: Arc<Endpoints>,
    pub(crate) pool: Pool<RequestBody>,
    pub(crate) balancer: RefCell<Balancer>,
    pub(crate) limits: Arc<Limits>,
    pub(crate) phase: watch::Sender<Phase>,
    pub(crate) churn: Churn,
    pub(crate) roster: Roster,
    pub(crate) probes: Probes,
    pub(crate) overload: Overload,
    /// Connections that are being told that they are not served.
    pub(crate) turned_away: Cell<usize>,
    pub(crate) proving: Proving,
    open: Cell<usize>,
    none_open: Notify,
    reader: RefCell<CachedReader>,
    /// When it was last said that an app cannot be served.
    complained: Cell<Option<Instant>>,
    settings: RefCell<OwnSettings>,
}

/// What a worker is made of.
pub(crate) struct WorkerParts {
    pub(crate) access: AccessLog,
    pub(crate) endpoints: Arc<Endpoints>,
    pub(crate) limits: Arc<Limits>,
    pub(crate) pool: Pool<RequestBody>,
    pub(crate) overload: Overload,
    pub(crate) probes: Probes,
    pub(crate) proving: Proving,
    pub(crate) reader: CachedReader,
    pub(crate) roster: Roster,
    pub(crate) settings: Arc<ArcSwap<Settings>>,
}

impl Worker {
    /// A worker that serves.
    pub(crate) fn new(parts: WorkerParts) -> Rc<Self> {
        let balancer = Balancer::new(Arc::clone(&parts.endpoints), fastrand::u64(..));
        Rc::new(Self {
            metrics: Metrics::new(),
            access: parts.access,
            endpoints: parts.endpoints,
            balancer: RefCell::new(balancer),
            limits: parts.limits,
            pool: parts.pool,
            phase: watch::Sender::new(Phase::Open),
            churn: Churn::default(),
            roster: parts.roster,
            probes: parts.probes,
            overload: parts.overload,
            turned_away: Cell::new(0),
            proving: parts.proving,
            open: Cell::new(0),
            none_open: Notify::new(),
            reader: RefCell::new(parts.reader),
            complained: Cell::new(None),
            settings: RefCell::new(OwnSettings::new(parts.settings)),
        })
    }

    /// False until there is a table.
    pub(crate) fn has_table(&self) -> bool {
        self.reader.borrow_mut().load().has_table()
    }

    /// The app of `host` in the table as it is now. A request asks once.
    pub(crate) fn find_app(&self, host: &str) -> Option<Result<Arc<App>, DocumentError>> {
        self.reader.borrow_mut().find_app(host)
    }

    /// The table now. Not to be held: the tables that are replaced are dropped by another thread.
    pub(crate) fn table(&self) -> Arc<Published> {
        Arc::clone(self.reader.borrow_mut().load())
    }

    /// Says that the app of `host` cannot be served; seldom, as every request for it would say so.
    pub(crate) fn unreadable(&self, host: &str, error: &DocumentError) {
        let now = Instant::now();
        if self.complained.get().is_none_or(|last| now.duration_since(last) >= COMPLAIN_EVERY) {
            self.complained.set(Some(now));
            tracing::error!(host, %error, "an app's document is not understood by this version: its requests get 503");
        }
    }

    /// Lets go of tables, apps and endpoints that are no longer there. A request does so by itself; a worker that has
    /// none would keep an old table alive.
    pub(crate) fn refresh(&self) {
        self.reader.borrow_mut().load();
        self.balancer.borrow_mut().forget_with_the_registry();
    }

    /// The settings now. A request asks once.
    pub(crate) fn settings(&self) -> Rc<Settings> {
        self.settings.borrow_mut().load()
    }

    /// Connections this worker holds, tunnels included.
    pub(crate) fn open(&self) -> usize {
        self.open.get()
    }

    /// Counts a connection.
    pub(crate) fn opened(&self) {
        self.open.set(self.open.get() + 1);
    }

    /// Counts it no more.
    pub(crate) fn closed(&self) {
        self.open.set(self.open.get().saturating_sub(1));
        self.churn.closed();
        if self.open.get() == 0 {
            self.none_open.notify_one();
        }
    }

    /// Returns once there is no connection.
    pub(crate) async fn idle(&self) {
        while self.open.get() > 0 {
            self.none_open.notified().await;
        }
    }

    /// True once nothing new is accepted.
    pub(crate) fn is_draining(&self) -> bool {
        *self.phase.borrow() != Phase::Open
    }

    /// True once connections are to end with their next answer: in a drain, and while something is short.
    pub(crate) fn ends_connections(&self) -> bool {
        self.is_draining() || self.overload.standing().gives_back()
    }

    /// Gives back what is kept for later requests.
    pub(crate) fn give_back(&self) {
        self.pool.give_back();
        self.reader.borrow_mut().forget();
    }

    /// True once what is left is being cut.
    pub(crate) fn is_over(&self) -> bool {
        *self.phase.borrow() == Phase::Over
    }
}

/// The settings, with a copy for this worker alone. Who has them is counted for each request: in memory that all workers
/// count in, each would wait for the others.
#[derive(Debug)]
struct OwnSettings {
    newest: Cache<Arc<ArcSwap<Settings>>, Arc<Settings>>,
    /// What `own` is a copy of.
    copied: Arc<Settings>,
    own: Rc<Settings>,
}

impl OwnSettings {
    fn new(settings: Arc<ArcSwap<Settings>>) -> Self {
        let copied = settings.load_full();
        Self { newest: Cache::new(settings), own: Rc::new(Settings::clone(&copied)), copied }
    }

    fn load(&mut self) -> Rc<Settings> {
        let newest = self.newest.load();
        if !Arc::ptr_eq(newest, &self.copied) {
            self.copied = Arc::clone(newest);
            self.own = Rc::new(Settings::clone(newest));
        }
        Rc::clone(&self.own)
    }
}

/// One listener as a worker sees it.
#[derive(Debug)]
pub(crate) struct Listener {
    /// Its place among the listeners, the same in all workers.
    pub(crate) number: usize,
    pub(crate) name: Arc<str>,
    pub(crate) metrics: ListenerMetrics,
    pub(crate) connections: Arc<Connections>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    const CONFIG: &str = "state_dir = \"/nonexistent\"\n[gateway]\nname = \"edge\"\n[[listener]]\nname = \"web\"\n\
                          address = \"127.0.0.1:0\"\n[orchestrator]\nkind = \"http\"\nurl = \"http://127.0.0.1:1\"\n";

    #[test]
    fn a_request_keeps_the_settings_it_began_with_and_the_next_has_the_newest() {
        let config = Config::parse(std::path::Path::new("test.toml"), CONFIG, std::iter::empty());
        let first = Settings::from(&config.unwrap().config);
        let second = Settings { warm_connections: first.warm_connections + 1, ..first.clone() };
        let cell = Arc::new(ArcSwap::from_pointee(first.clone()));
        let mut settings = OwnSettings::new(Arc::clone(&cell));
        let held = settings.load();
        assert!(Rc::ptr_eq(&held, &settings.load()), "one copy for all requests");
        cell.store(Arc::new(second.clone()));
        assert_eq!(settings.load().warm_connections, second.warm_connections);
        assert_eq!(held.warm_connections, first.warm_connections);
    }
}
