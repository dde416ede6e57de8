//! The control plane's thread: the subscription, started anew when it ends before its time or the configuration changes.
//!
//! It shares nothing with the workers but what the updater publishes, so that whatever happens here costs no request.

use std::{io, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use routing_cache::live::Reader;
use tokio::{sync::watch, task::JoinError, time::sleep};

use crate::{
    config::{Config, OrchestratorKind},
    drain::Draining,
    orchestrator::{
        Client, FileClient, HttpClient,
        http::{ClientError, Deadlines, HttpOptions},
    },
    priority::{self, stand_back},
    readiness::Latch,
    subscription::{self, SubscriptionOptions},
    updates::Updates,
};

/// Before a subscription that broke is started again. As long as the longest back-off without a table.
const RESTART_AFTER: Duration = Duration::from_secs(2);

/// What the thread is made from.
pub(super) struct Control {
    /// The effective configuration.
    pub(super) config: Arc<ArcSwap<Config>>,
    /// Says that it was replaced.
    pub(super) changed: watch::Receiver<()>,
    /// Where answers go.
    pub(super) updates: Updates,
    /// What is served.
    pub(super) reader: Reader,
    /// Ends it.
    pub(super) draining: Draining,
    /// Says so when the orchestrator is not followed.
    pub(super) notice: Latch,
}

impl Control {
    /// Starts the thread; it ends when the drain starts.
    /// Nobody waits for its end: what is under way then is asked for again by the next process.
    pub(super) fn start(self) -> io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let run = move || {
            stand_back(priority::CONTROL);
            runtime.block_on(self.follow());
        };
        std::thread::Builder::new().name("control".into()).spawn(run).map(drop)
    }

    async fn follow(mut self) {
        let draining = self.draining.clone();
        tokio::select! {
            () = draining.started() => {}
            () = self.follow_on() => {}
        }
    }

    async fn follow_on(&mut self) {
        loop {
            let mut subscription = tokio::spawn(self.subscription());
            tokio::select! {
                ended = &mut subscription => self.ended(ended).await,
                Ok(()) = self.changed.changed() => {
                    subscription.abort();
                    // ignored: it was told to end
                    let _ = subscription.await;
                }
            }
        }
    }

    /// A subscription by the configuration as it is now.
    fn subscription(&self) -> impl Future<Output = ()> + Send + 'static {
        let (config, reader) = (self.config.load_full(), self.reader.clone());
        let (updates, draining) = (self.updates.clone(), self.draining.clone());
        async move {
            let options = SubscriptionOptions {
                gateway: config.gateway.name.clone(),
                check_every: config.orchestrator.check_every,
                audit_every: subscription::AUDIT_EVERY,
            };
            match client(&config, &reader) {
                Ok(client) => subscription::run(client, updates, reader, options, draining).await,
                Err(error) => tracing::error!(error = error_chain(&error), "the orchestrator cannot be asked"),
            }
        }
    }

    async fn ended(&self, ended: Result<(), JoinError>) {
        match ended {
            Ok(()) if self.draining.has_started() => return,
            // Without an updater there is nobody to hand an answer to; who watches the threads says so.
            Ok(()) if self.updates.standing().await.is_err() => return std::future::pending().await,
            Ok(()) => tracing::error!("the subscription has ended, and starts again"),
            Err(error) => tracing::error!(%error, "the subscription broke, and starts again"),
        }
        self.notice.warn("the orchestrator was not followed for a while: the subscription broke");
        sleep(RESTART_AFTER + Duration::from_millis(fastrand::u64(0..500))).await;
        self.notice.ok();
    }
}

fn client(config: &Config, reader: &Reader) -> Result<Client, ClientError> {
    let limits = config.updater().limits;
    match config.orchestrator.kind.clone() {
        OrchestratorKind::Http { url, token_file, readiness_url } => {
            let deadlines = Deadlines::default();
            HttpClient::new(HttpOptions { url, token_file, readiness_url, limits, deadlines }).map(Client::Http)
        }
        OrchestratorKind::File { path } => Ok(Client::File(FileClient::new(path, limits, reader.clone()))),
    }
}

/// An error with its causes, in one line.
fn error_chain(error: &dyn std::error::Error) -> String {
    let source = error.source().map(|source| format!(": {}", error_chain(source))).unwrap_or_default();
    format!("{error}{source}")
}
