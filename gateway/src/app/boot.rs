//! From the command line to a process that serves, step by step.

use std::{path::PathBuf, process::ExitCode, sync::Arc, thread::JoinHandle};

use anyhow::Context;
use arc_swap::ArcSwap;
use routing_cache::{
    disk::ReadFile,
    live::Reader,
    model::WallTime,
    updater::{BootReport, Damage, ImageFate, Poisoned, Updater},
};
use tokio::sync::{Semaphore, watch};

use super::{
    bind::{self, Bound},
    control::Control,
    descriptor_store::DescriptorStore,
    descriptors,
    kept_table::{self, KeptTable, Tables},
    lifecycle::{Parts, Process},
    log_level::Levels,
    lookouts::Lookouts,
    panics,
    passed::Passed,
    succession::{Handover, Line, Succession},
};
use crate::{
    admin::{self, Alive, Listening, Progress, Stall},
    cli::{args::Global, preflight::kept_note::KeptNote},
    clock,
    config::{self, Config},
    drain::Drain,
    net::{listen::BoundListener, options},
    overload::{Budget, Overload},
    probe::Probes,
    proxy::{Heartbeats, ListenerStats, Proving, Settings, Workers, WorkersStart},
    readiness::Readiness,
    takeover::Predecessors,
    telemetry::{self, access::AccessLog, logging, metrics::Exposition},
    updates::Updates,
    upstream::registry::Endpoints,
};

/// What every part is started with.
pub(super) struct Base {
    started: WallTime,
    pub(super) config: Arc<ArcSwap<Config>>,
    file: Option<PathBuf>,
    metrics: Exposition,
    pub(super) levels: Levels,
    pub(super) drain: Drain,
    readiness: Readiness,
    pub(super) endpoints: Arc<Endpoints>,
    pub(super) probes: Probes,
    pub(super) overload: Overload,
}

/// Runs the gateway until it has drained.
///
/// # Errors
/// When the configuration is bad (exit code 78), or something cannot be started (1).
pub(super) fn run(global: &Global) -> anyhow::Result<ExitCode> {
    let mut passed = Passed::take();
    let base = Base::load(global)?;
    let (updater, reader, table) = restore(&base, &passed.tables)?;
    let bound = bind::all(&base.config.load(), &mut passed.sockets)?;
    log_bound(&bound)?;
    let mut kept = DescriptorStore::of_passed(&passed, &bound.listeners).context("no descriptor is left")?;
    kept.settle();
    drop(passed);
    serve(base, updater, reader, bound)?.live(kept, table)
}

impl Base {
    /// From the command line; nothing is bound or written.
    pub(super) fn load(global: &Global) -> anyhow::Result<Self> {
        let started = clock::wall();
        let config = Config::load(global.config.as_deref(), config::environment())?.config;
        let metrics = telemetry::metrics::install();
        let log = logging::init(&config.log)?;
        panics::log();
        descriptors::raise();
        for warning in Budget::of(&config.limits).warnings() {
            tracing::warn!("{warning}");
        }
        tracing::info!(version = env!("CARGO_PKG_VERSION"), name = config.gateway.name, "starting");
        let config = Arc::new(ArcSwap::from_pointee(config));
        Ok(Self {
            started,
            levels: Levels::new(log, Arc::clone(&config)),
            config,
            file: global.config.clone(),
            metrics,
            drain: Drain::default(),
            readiness: Readiness::default(),
            endpoints: Arc::new(Endpoints::default()),
            probes: Probes::default(),
            overload: Overload::default(),
        })
    }
}

/// What is whole on disk, or in one of the `tables` that the service manager kept where that is newer, is served from now
/// on; what is not is said, and no reason not to start.
fn restore(base: &Base, tables: &Tables) -> anyhow::Result<(Updater, Reader, KeptTable)> {
    let config = base.config.load();
    let mut image = kept_table::newest(tables);
    let image = image.as_mut().map(|image| image as &mut dyn ReadFile);
    let (updater, reader, report) = Updater::boot_with(config.updater(), &config.state_dir, image, clock::now())?;
    log_found(&report);
    log_image(report.image.as_ref());
    kept_table::heed_note(&KeptNote::of_environment(), tables, report.restored.is_some())?;
    match &report.restored {
        Some(restored) => tracing::info!("restored {restored}"),
        None => tracing::warn!("nothing to restore: requests get 503 until a first table is there"),
    }
    let served = (updater.report(clock::now()), reader.load());
    let restored = (report.image == Some(ImageFate::Restored)).then_some((&served.0, &*served.1));
    let kept = KeptTable::of_start(tables, restored, base.overload.clone());
    Ok((updater, reader, kept))
}

/// What became of the table that the service manager kept.
fn log_image(fate: Option<&ImageFate>) {
    match fate {
        None => {}
        Some(ImageFate::Restored) => tracing::info!("the service manager kept a table, newer than what is on disk"),
        Some(ImageFate::NotNewer) => tracing::info!("the service manager kept a table, not newer than what is on disk"),
        Some(ImageFate::NotWhole(why)) => tracing::error!(why, "the table that the service manager kept is not whole"),
        Some(ImageFate::KeptOut) => {
            tracing::error!("the table that the service manager kept may have crashed this program: kept out");
        }
    }
}

/// What is wrong in the state folder.
pub(super) fn log_found(report: &BootReport) {
    for Damage { file, offset, why, kept_as } in &report.damaged {
        let kept_as = kept_as.as_deref().unwrap_or_default();
        tracing::error!(file, offset, why, kept_as, "a file of the state folder is damaged");
    }
    for file in &report.removed {
        tracing::warn!(file, "a file set aside at an earlier start was removed: there were too many");
    }
    if report.lost {
        tracing::error!("changes that were saved could not be read: what is restored is older than what was served");
    }
    if let Some(Poisoned { generation, crashes, .. }) = &report.poisoned {
        tracing::error!(
            %generation,
            crashes,
            "a table is kept out, as this program crashed with it: the one before is restored"
        );
    }
    if let Some(why) = &report.unwritable {
        tracing::error!(why, "the state folder cannot be written: tables will not survive a restart");
    }
}

pub(super) fn log_bound(bound: &Bound) -> anyhow::Result<()> {
    if let Some(allowed) = options::short_backlog() {
        let asked = options::BACKLOG;
        tracing::warn!(allowed, asked, "net.core.somaxconn is low: bursts of connections may be refused");
    }
    for listener in &bound.listeners {
        tracing::info!(name = &*listener.name, address = %listener.address, "listening");
    }
    tracing::info!(address = bound.admin.address()?, "the admin API listens");
    Ok(())
}

/// The updater and its thread.
pub(super) struct Table {
    pub(super) reader: Reader,
    pub(super) updates: Updates,
    pub(super) thread: JoinHandle<()>,
}

/// What answers requests, without what steers and shows it.
pub(super) struct Plane {
    pub(super) base: Base,
    pub(super) table: Table,
    pub(super) workers: Workers,
    settings: Arc<ArcSwap<Settings>>,
    access: AccessLog,
}

impl Plane {
    /// Starts the workers.
    pub(super) fn start(
        base: Base,
        table: Table,
        listeners: Vec<BoundListener>,
        proving: Proving,
    ) -> anyhow::Result<Self> {
        let config = base.config.load_full();
        let settings = Arc::new(ArcSwap::from_pointee(Settings::from(&*config)));
        let access =
            AccessLog::start(&config.log.access, config.log.format).context("the access log cannot be started")?;
        let workers = Workers::start(WorkersStart {
            workers: config.gateway.workers,
            settings: Arc::clone(&settings),
            listeners,
            reader: table.reader.clone(),
            draining: base.drain.watch(),
            access: access.clone(),
            endpoints: Arc::clone(&base.endpoints),
            probes: base.probes.clone(),
            overload: base.overload.clone(),
            proving,
        })
        .context("the workers cannot be started")?;
        Ok(Self { base, table, workers, settings, access })
    }

    /// Starts the rest: the admin API, and the subscription last. `desk` is the socket of take-overs, where a process before
    /// had one; `receive` has to be called for it to be used.
    pub(super) fn complete(self, admin: admin::Socket, line: Line) -> anyhow::Result<(Process, Succession)> {
        let Self { base, table: Table { reader, updates, thread }, workers, settings, access } = self;
        let listening = base.readiness.latch("listeners", "not serving yet");
        let duplicate = admin.duplicate().context("the admin API's socket cannot be kept")?;
        let Lookouts { sampler, watchdog, alive } = Lookouts::start(&base, &workers)?;
        let context = context(&base, &reader, &updates, (&workers, &line.predecessors, alive));
        let admin = admin::start(admin, context).context("the admin API cannot be started")?;
        listening.ok();
        let changed = follow(&base, &reader, &updates)?;
        let (succession, replaced) = Succession::new(Handover {
            config: &base.config.load(),
            updates: &updates,
            endpoints: &base.endpoints,
            draining: base.drain.watch(),
            workers: &workers,
            admin: (duplicate, admin.accepting()),
            line,
        });
        let process = Process::new(Parts {
            config: base.config,
            file: base.file,
            settings,
            changed,
            levels: base.levels,
            access,
            reader,
            updates,
            updater_thread: thread,
            updater_notice: base.readiness.notice("updater"),
            drain: base.drain,
            endpoints: base.endpoints,
            workers,
            watchdog,
            sampler,
            admin,
            replaced,
        });
        Ok((process, succession))
    }
}

fn serve(base: Base, updater: Updater, reader: Reader, bound: Bound) -> anyhow::Result<Process> {
    let state_dir = base.config.load().state_dir.clone();
    let (updates, thread) =
        Updates::start(updater, reader.clone(), &state_dir).context("the updater's thread cannot be started")?;
    let plane = Plane::start(base, Table { reader, updates, thread }, bound.listeners, Proving::default())?;
    let (process, succession) = plane.complete(bound.admin, Line::default())?;
    succession.receive(None)?;
    Ok(process)
}

/// Starts the control plane's thread, which ends with the drain; what is returned tells it of a new configuration.
fn follow(base: &Base, reader: &Reader, updates: &Updates) -> anyhow::Result<watch::Sender<()>> {
    let (sender, changed) = watch::channel(());
    let control = Control {
        config: Arc::clone(&base.config),
        changed,
        updates: updates.clone(),
        reader: reader.clone(),
        draining: base.drain.watch(),
        notice: base.readiness.notice("subscription"),
    };
    control.start().context("the control plane's thread cannot be started")?;
    Ok(sender)
}

fn context(
    base: &Base,
    reader: &Reader,
    updates: &Updates,
    (workers, predecessors, alive): (&Workers, &Predecessors, Alive),
) -> admin::Context {
    let predecessors = predecessors.clone();
    admin::Context {
        reader: reader.clone(),
        updates: updates.clone(),
        readiness: base.readiness.clone(),
        drain: base.drain.clone(),
        listeners: workers.listeners().into_iter().map(listening).collect(),
        progress: progress(workers.heartbeats()),
        alive,
        predecessors: Arc::new(move || predecessors.count() as u64),
        metrics: base.metrics.clone(),
        config: Arc::clone(&base.config),
        endpoints: Arc::clone(&base.endpoints),
        overload: base.overload.clone(),
        log_level: base.levels.for_admin(),
        started: base.started,
        second_table: Arc::new(Semaphore::new(1)),
    }
}

fn listening(stats: ListenerStats) -> Listening {
    Listening {
        name: Arc::from(stats.name()),
        address: stats.address().to_string(),
        connections: Arc::new(move || stats.connections() as u64),
    }
}

fn progress(heartbeats: Heartbeats) -> Progress {
    let slowest = move || heartbeats.slowest().map(|(worker, since)| Stall { worker, since });
    Progress(Arc::new(slowest))
}
