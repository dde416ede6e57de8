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
    accept::{self, Acceptor, Gate},
    context::{Listener, Phase, Worker, WorkerParts},
    departed::Departed,
    metrics::{self, ListenerMetrics},
    relief::Relief,
    roster::Roster,
    workers::{Heartbeat, WorkerStart},
};
use crate::{
    net::{
        listen::ListenSocket,
        wheel::{Driver, TICK},
    },
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
            Ok((worker, doors)) => {
                report(ready, Ok(()));
                draining.started().await;
                drain(&worker, doors).await;
            }
        }
    });
}

fn report(ready: &SyncSender<io::Result<()>>, result: io::Result<()>) {
    // ignored: nobody listens once another worker has failed to start.
    let _ = ready.try_send(result);
}

/// Where connections come in.
struct Doors {
    acceptors: Vec<JoinHandle<()>>,
    /// What a successor gets duplicates of, as long as this worker accepts.
    sockets: Vec<Arc<ListenSocket>>,
    /// Takes what other workers hand over. It ends after the last acceptor of all workers.
    receiver: JoinHandle<()>,
}

fn begin(start: WorkerStart) -> io::Result<(Rc<Worker>, Doors)> {
    let settings = start.settings.load_full();
    let pool = PoolSettings::for_worker(&settings.upstream, &settings.limits, start.workers);
    let worker = Worker::new(WorkerParts {
        access: start.access,
        endpoints: start.endpoints,
        limits: start.limits,
        pool: Pool::new(pool),
        overload: start.overload,
        probes: start.probes,
        proving: start.proving,
        reader: start.reader.cached(),
        roster: Roster::new(settings.warm_connections),
        settings: start.settings,
    });
    let (own, peers) = (start.peers.own(), Rc::new(start.peers));
    let (mut listeners, mut acceptors, mut kept) = (Vec::new(), Vec::new(), Vec::new());
    for (number, (connections, sockets)) in start.listeners.into_iter().enumerate() {
        let name = Arc::clone(connections.name());
        let listener = Rc::new(Listener { number, metrics: ListenerMetrics::new(&name), name, connections });
        listeners.push(Rc::clone(&listener));
        for socket in sockets {
            let (worker, peers, listener) = (Rc::clone(&worker), Rc::clone(&peers), Rc::clone(&listener));
            let acceptor = Acceptor::new(socket.duplicate()?)?;
            kept.push(socket);
            acceptors.push(tokio::task::spawn_local(accept::run(Gate { worker, listener, peers }, acceptor)));
        }
    }
    let receiver = tokio::task::spawn_local(accept::receive(Rc::clone(&worker), listeners, start.arrivals));
    tokio::task::spawn_local(tick(Rc::clone(&worker), start.heartbeat, Ticks { own, workers: start.workers }));
    Ok((worker, Doors { acceptors, sockets: kept, receiver }))
}

/// What a worker's ticks need to know.
struct Ticks {
    /// The number of this worker.
    own: usize,
    workers: usize,
}

/// Shows that the worker lives, wakes whose time is over, lets go of an old table, and looks after idle connections. A tick
/// is a fraction of any deadline that a watchdog would set.
async fn tick(worker: Rc<Worker>, heartbeat: Heartbeat, numbers: Ticks) {
    let connections = metrics::worker_connections(numbers.own);
    let (mut departed, mut relief) = (Departed::default(), Relief::default());
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let wheel = Driver::begin();
    loop {
        ticks.tick().await;
        heartbeat.beat();
        wheel.tick();
        worker.refresh();
        worker.churn.tick(worker.open());
        connections.set(worker.open() as f64);
        let (settings, now) = (worker.settings(), std::time::Instant::now());
        let patience = relief.tick(&worker, settings.limits.header_timeout);
        relief.count(worker.roster.tick(now, patience));
        let pool = PoolSettings::for_worker(&settings.upstream, &settings.limits, numbers.workers);
        worker.pool.configure(relief.pool(pool));
        departed.look(&worker);
        worker.pool.sweep(now);
    }
}

/// Stops accepting, lets idle connections stay for the grace, then waits for the rest until the time is over. What other
/// workers handed over before they stopped is served like what this one accepted.
async fn drain(worker: &Worker, doors: Doors) {
    let Doors { acceptors, sockets, mut receiver } = doors;
    let settings = worker.settings().drain;
    let end = Instant::now() + settings.timeout;
    // Before the acceptors look at what waits: nobody would take what comes later.
    drop(sockets);
    worker.phase.send_replace(Phase::Draining);
    for acceptor in acceptors {
        // ignored: one that panicked accepts nothing either, and has been reported by the panic hook.
        let _ = timeout_at(end, acceptor).await;
    }
    let mut received = false;
    // ignored: either all are gone before the grace is over, or it is over.
    let _ = timeout(settings.idle_grace.min(settings.timeout), gone(worker, &mut receiver, &mut received)).await;
    worker.phase.send_replace(Phase::Closing);
    worker.roster.close();
    if timeout_at(end, gone(worker, &mut receiver, &mut received)).await.is_err() {
        tracing::warn!(connections = worker.open(), "the drain's time is over: connections are cut");
        worker.phase.send_replace(Phase::Over);
    }
}

/// Returns once no connection is there and none can come any more.
async fn gone(worker: &Worker, receiver: &mut JoinHandle<()>, received: &mut bool) {
    if !*received {
        // ignored: as for the acceptors.
        let _ = receiver.await;
        *received = true;
    }
    worker.idle().await;
}
