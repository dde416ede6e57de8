//! One worker: its runtime, its acceptors, its clock, its end.

use std::{
    io,
    rc::Rc,
    sync::{Arc, mpsc::SyncSender},
};

use tokio::{
    runtime::{Builder, LocalOptions, LocalRuntime},
    task::JoinHandle,
    time::{Instant, MissedTickBehavior, interval, timeout, timeout_at},
};

use super::{
    accept::{self, Acceptor},
    context::{Listener, Phase, Worker, WorkerParts},
    metrics::ListenerMetrics,
    workers::{Heartbeat, OwnListener, WorkerStart},
};
use crate::{
    net::wheel::{Driver, TICK},
    upstream::pool::{Pool, PoolSettings},
};

/// Runs a worker until it has drained. Says by `ready` whether it could begin.
pub(crate) fn run(start: WorkerStart, ready: &SyncSender<io::Result<()>>) {
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default());
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return report(ready, Err(error)),
    };
    serve(&runtime, start, ready);
    // Dropping the runtime cuts what is left after `drain.timeout`.
}

fn serve(runtime: &LocalRuntime, start: WorkerStart, ready: &SyncSender<io::Result<()>>) {
    runtime.block_on(async {
        let draining = start.draining.clone();
        match begin(start) {
            Err(error) => report(ready, Err(error)),
            Ok((worker, acceptors)) => {
                report(ready, Ok(()));
                draining.started().await;
                drain(&worker, acceptors).await;
            }
        }
    });
}

fn report(ready: &SyncSender<io::Result<()>>, result: io::Result<()>) {
    // ignored: nobody listens once another worker has failed to start.
    let _ = ready.try_send(result);
}

fn begin(start: WorkerStart) -> io::Result<(Rc<Worker>, Vec<JoinHandle<()>>)> {
    let pool = PoolSettings::for_worker(&start.settings.load().upstream, start.workers);
    let worker = Worker::new(WorkerParts {
        access: start.access,
        endpoints: start.endpoints,
        limits: start.limits,
        pool: Pool::new(pool),
        reader: start.reader.cached(),
        settings: start.settings,
    });
    let acceptors = start.listeners.into_iter().map(|listener| listen(&worker, listener)).collect::<io::Result<_>>()?;
    tokio::task::spawn_local(tick(Rc::clone(&worker), start.heartbeat, start.workers));
    Ok((worker, acceptors))
}

fn listen(worker: &Rc<Worker>, (connections, socket): OwnListener) -> io::Result<JoinHandle<()>> {
    let name = Arc::clone(connections.name());
    let metrics = ListenerMetrics::new(&name);
    let listener = Rc::new(Listener { name, metrics, connections });
    let acceptor = Acceptor::new(socket)?;
    Ok(tokio::task::spawn_local(accept::run(Rc::clone(worker), listener, acceptor)))
}

/// Shows that the worker lives, wakes whose time is over, lets go of an old table, and looks after idle upstream
/// connections. A tick is a fraction of any deadline that a watchdog would set.
async fn tick(worker: Rc<Worker>, heartbeat: Heartbeat, workers: usize) {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let wheel = Driver::begin();
    loop {
        ticks.tick().await;
        heartbeat.beat();
        wheel.tick();
        worker.refresh();
        worker.pool.configure(PoolSettings::for_worker(&worker.settings().upstream, workers));
        worker.pool.sweep(std::time::Instant::now());
    }
}

/// Stops accepting, lets idle connections stay for the grace, then waits for the rest until the time is over.
async fn drain(worker: &Worker, acceptors: Vec<JoinHandle<()>>) {
    let settings = worker.settings().drain;
    let end = Instant::now() + settings.timeout;
    worker.phase.send_replace(Phase::Draining);
    for acceptor in acceptors {
        // ignored: one that panicked accepts nothing either, and has been reported by the panic hook.
        let _ = timeout_at(end, acceptor).await;
    }
    // ignored: either all are gone before the grace is over, or it is over.
    let _ = timeout(settings.idle_grace.min(settings.timeout), worker.idle()).await;
    worker.phase.send_replace(Phase::Closing);
    if timeout_at(end, worker.idle()).await.is_err() {
        tracing::warn!(connections = worker.open(), "the drain's time is over: connections are cut");
        worker.phase.send_replace(Phase::Over);
    }
}
