//! The process once it serves: signals, reloads, what systemd is told, what is done when a thread dies, and the end.
//!
//! A thread that serves requests or answers for the process must not be missing in silence: when a worker or the admin
//! thread ends, the others finish their requests, and the process exits with 1 for its supervisor to start it whole. The
//! updater and the subscription cost no request: without them the table serves on, and log and /readyz?verbose say so.

use std::{
    future::pending,
    io,
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
    thread::JoinHandle,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use metrics::counter;
use routing_cache::live::Reader;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
    time::{MissedTickBehavior, interval, timeout},
};

use super::{
    descriptor_store::DescriptorStore,
    kept_table::{Keeping, KeptTable, Served},
    log_level::Levels,
    notify::{self, Notifier},
    reload,
};
use crate::{
    admin,
    config::{self, Config},
    drain::Drain,
    overload::Sampler,
    proxy::{Settings, Workers},
    readiness::Latch,
    takeover::Replaced,
    telemetry::{access::AccessLog, names},
    updates::Updates,
    upstream::registry::Endpoints,
    watchdog::{Herald, Watchdog},
};

/// How often threads are looked at and systemd is told.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How often it is looked which endpoints nobody uses any more.
const FORGET_EVERY: Duration = Duration::from_secs(60);
/// What the workers may take longer than `drain.timeout` to end: they cut everything then.
const DRAIN_MARGIN: Duration = Duration::from_secs(5);
/// For the updater to note that the end is an orderly one.
const STOPPING_TIMEOUT: Duration = Duration::from_secs(2);
/// For the updater to take a new configuration; it may be saving a large table.
const RECONFIGURE_TIMEOUT: Duration = Duration::from_secs(30);

/// What the process is made of.
pub(super) struct Parts {
    pub(super) config: Arc<ArcSwap<Config>>,
    pub(super) file: Option<PathBuf>,
    pub(super) settings: Arc<ArcSwap<Settings>>,
    pub(super) changed: watch::Sender<()>,
    pub(super) levels: Levels,
    pub(super) access: AccessLog,
    pub(super) reader: Reader,
    pub(super) updates: Updates,
    pub(super) updater_thread: JoinHandle<()>,
    pub(super) updater_notice: Latch,
    pub(super) drain: Drain,
    pub(super) endpoints: Arc<Endpoints>,
    pub(super) workers: Workers,
    pub(super) watchdog: Watchdog,
    pub(super) sampler: Sampler,
    pub(super) admin: admin::Running,
    /// Says that a successor serves.
    pub(super) replaced: watch::Receiver<Option<Replaced>>,
}

/// Why the process ends.
enum End {
    /// A drain was asked for.
    Asked,
    /// It cannot go on: what it lacks.
    Failed,
    /// A successor serves.
    Replaced,
}

/// The running process.
pub(super) struct Process {
    parts: Parts,
    notifier: Notifier,
    herald: Herald,
    /// The updater's end is said once.
    updater_missing: bool,
}

impl Process {
    /// Everything has been started.
    pub(super) fn new(parts: Parts) -> Self {
        let herald = Herald::new(parts.watchdog.watched());
        Self { parts, notifier: Notifier::default(), herald, updater_missing: false }
    }

    /// Lives until it has drained.
    ///
    /// # Errors
    /// When signals cannot be listened to.
    pub(super) fn live(mut self, mut kept: DescriptorStore, table: KeptTable) -> anyhow::Result<ExitCode> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let code = runtime.block_on(async {
            let mut stop = Stop::listen()?;
            let Parts { updates, reader, .. } = &self.parts;
            let keeping = table.start(Served { updates: updates.clone(), reader: reader.clone() });
            let end = self.until_drain(&mut stop, signal(SignalKind::hangup())?).await;
            if stop.is_for_good {
                kept.let_go();
            }
            anyhow::Ok(self.end(&mut stop, end, keeping).await)
        })?;
        // A join that was given up must not hold the process.
        runtime.shutdown_background();
        Ok(code)
    }

    /// Returns with the reason why the process ends.
    async fn until_drain(&mut self, stop: &mut Stop, mut hangup: Signal) -> End {
        let mut replaced = self.parts.replaced.clone();
        let draining = self.parts.drain.watch();
        let mut look = ticks(LOOK_EVERY);
        let mut forget = ticks(FORGET_EVERY);
        loop {
            tokio::select! {
                name = stop.asked() => {
                    tracing::info!(signal = name, "draining");
                    return End::Asked;
                }
                () = draining.started() => return End::Asked,
                () = successor(&mut replaced) => return End::Replaced,
                _ = hangup.recv() => self.reload().await,
                _ = forget.tick() => self.parts.endpoints.sweep(Instant::now()),
                _ = look.tick() => {
                    if let Some(missing) = self.look() {
                        tracing::error!("{missing} has ended: draining, to be started anew");
                        return End::Failed;
                    }
                }
            }
        }
    }

    /// Looks after the threads; names one without which the process cannot go on.
    fn look(&mut self) -> Option<String> {
        let parts = &self.parts;
        parts.levels.tick();
        self.herald.tell();
        self.notifier.update(&parts.reader.load(), &parts.updates.report());
        if parts.updater_thread.is_finished() && !self.updater_missing {
            self.updater_missing = true;
            tracing::error!("the updater has ended: the table serves on, and nothing changes it any more");
            parts.updater_notice.warn("its thread has ended: nothing changes the table until a restart");
        }
        if parts.admin.has_ended() {
            return Some("the admin thread".to_owned());
        }
        if parts.watchdog.has_ended() {
            return Some("the watchdog".to_owned());
        }
        parts.workers.ended()
    }

    async fn reload(&mut self) {
        tracing::info!("reloading the configuration");
        self.notifier.reloading();
        let outcome = match Config::load(self.parts.file.as_deref(), config::environment()) {
            Ok(loaded) => self.take(loaded.config).await,
            Err(errors) => refuse(&errors.to_string()),
        };
        counter!(names::CONFIG_RELOADS, names::OUTCOME => outcome).increment(1);
        self.notifier.reloaded(if outcome == "ok" { "reloaded" } else { "a bad configuration was refused" });
    }

    async fn take(&self, new: Config) -> &'static str {
        let parts = &self.parts;
        let old = parts.config.load_full();
        let waiting = Config::changes_needing_restart(&old, &new);
        if !waiting.is_empty() {
            tracing::warn!("changes that need a restart were left out: {}", waiting.join(", "));
        }
        let merged = Arc::new(reload::merge(&old, new));
        parts.config.store(Arc::clone(&merged));
        parts.settings.store(Arc::new(Settings::from(&*merged)));
        parts.levels.configured();
        parts.access.change(&merged.log.access, merged.log.format);
        match timeout(RECONFIGURE_TIMEOUT, parts.updates.reconfigure(merged.updater())).await {
            Ok(Ok(())) => {}
            Ok(Err(gone)) => tracing::error!(error = %gone, "[guard] and [limits] stay as they were"),
            Err(_) => tracing::error!("the updater is busy: [guard] and [limits] take effect later"),
        }
        parts.changed.send_replace(());
        tracing::info!("the configuration was reloaded");
        "ok"
    }

    /// Drains; a second signal ends at once.
    async fn end(self, stop: &mut Stop, end: End, table: Keeping) -> ExitCode {
        let Parts { drain, workers, config, levels, access, updates, sampler, .. } = self.parts;
        drain.start();
        let is_replaced = matches!(end, End::Replaced);
        // A successor sees to it by itself, and after a stop for good nobody follows.
        let table = if is_replaced || stop.is_for_good { table.end() } else { Some(table) };
        if !is_replaced {
            notify::stopping("draining");
        }
        // ignored: an updater that is busy for longer, or gone, is no reason not to end
        let _ = timeout(STOPPING_TIMEOUT, updates.stopping()).await;
        let limit = config.load().drain.timeout + DRAIN_MARGIN;
        let joined = tokio::task::spawn_blocking(move || workers.join());
        let finished = async { tokio::join!(timeout(limit, joined), leave(table)).0 };
        let code = tokio::select! {
            ended = finished => match (ended, end) {
                (Ok(Ok(())), End::Asked | End::Replaced) => ExitCode::SUCCESS,
                (Ok(Ok(())), End::Failed) => ExitCode::FAILURE,
                (Ok(Err(_)) | Err(_), _) => not_drained(),
            },
            name = stop.asked() => {
                tracing::warn!(signal = name, "a second signal: ending at once");
                ExitCode::FAILURE
            }
        };
        drop(sampler);
        tracing::info!("ended");
        access.flush();
        levels.flush();
        code
    }
}

/// What is served last is there for the process that follows.
async fn leave(table: Option<Keeping>) {
    if let Some(table) = table {
        table.leave().await;
    }
}

/// Returns once a successor serves.
async fn successor(replaced: &mut watch::Receiver<Option<Replaced>>) {
    if replaced.wait_for(Option::is_some).await.is_err() {
        pending::<()>().await;
    }
}

fn not_drained() -> ExitCode {
    tracing::error!("the workers did not end in time");
    ExitCode::FAILURE
}

/// Each error on a line of its own, and the old configuration stays.
fn refuse(errors: &str) -> &'static str {
    tracing::error!("the configuration was refused, the old one stays:\n{errors}");
    "failed"
}

fn ticks(every: Duration) -> tokio::time::Interval {
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// SIGTERM and SIGINT.
struct Stop {
    terminate: Signal,
    interrupt: Signal,
    /// SIGTERM came: no other process is to follow. Where one is, systemd is configured to send SIGINT (the unit's
    /// `RestartKillSignal=`), and the sockets stay for it.
    is_for_good: bool,
}

impl Stop {
    fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            is_for_good: false,
        })
    }

    async fn asked(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => {
                self.is_for_good = true;
                "SIGTERM"
            }
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
