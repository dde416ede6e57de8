//! `holdgate run --take-over`: as [`super::boot`], but from what a process before hands over, and nothing is begun for good
//! before it has let go.

use std::{
    collections::BTreeSet,
    io::{self, Write},
    os::fd::{AsFd, OwnedFd},
    process::ExitCode,
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use metrics::counter;
use routing_cache::{
    disk::Opened,
    updater::{BootError, Claimed, Updater},
};

use super::{
    bind::{self, Bound},
    boot::{self, Base, Plane, Table},
    descriptor_store::DescriptorStore,
    kept_table::KeptTable,
    lifecycle::Process,
    passed,
    succession::Line,
};
use crate::{
    cli::args::Global,
    clock,
    config::ListenAddress,
    net::inherited::Inherited,
    probe::{ProbeError, Probes},
    proxy::{Proving, Workers},
    takeover::{self, Heir, Legacy, Refused},
    telemetry::names::{OUTCOME, TAKEOVERS},
    updates::{Received, Updates},
};

/// For this process to find that it serves. The other one waits somewhat longer.
const PROVE_WITHIN: Duration = Duration::from_secs(10);
/// For one own request. It comes back within milliseconds where all is well.
const PROBE_PATIENCE: Duration = Duration::from_secs(2);
/// From one own request that went elsewhere to the next.
const PROBE_AGAIN: Duration = Duration::from_millis(2);
/// A worker that made progress so long ago is up: four times the interval of its heartbeat.
const FRESH: Duration = Duration::from_secs(1);
/// For the state folder to be free. It has been let go of already, but a compaction may hold on to it for a moment.
const CLAIM_WITHIN: Duration = Duration::from_secs(5);
/// From one try to the next.
const CLAIM_AGAIN: Duration = Duration::from_millis(20);

/// Takes over, and runs until it has drained or is replaced.
///
/// # Errors
/// When the configuration is bad (exit code 78), or the take-over came to nothing (75).
pub(super) fn run(global: &Global) -> anyhow::Result<ExitCode> {
    // ignored: who leads a group of processes, as one started by a shell does, cannot leave its session
    let _ = rustix::process::setsid();
    let base = Base::load(global)?;
    let (levels, overload) = (base.levels.clone(), base.overload.clone());
    let outcome = take_over(base);
    match outcome {
        Ok((process, kept)) => process.live(kept, KeptTable::of_successor(overload)),
        Err(error) => {
            levels.flush();
            Err(error)
        }
    }
}

fn take_over(base: Base) -> anyhow::Result<(Process, DescriptorStore)> {
    let (heir, legacy) = takeover::ask(&base.config.load().state_dir)?;
    let offer = heir.offer();
    tracing::info!(pid = offer.pid, version = offer.version, "taking over {}", offer.table);
    let (given, rest) = match start(base, &heir, legacy) {
        Ok(started) => started,
        Err(error) => return Err(give_up(heir, &error)),
    };
    match prove(&given, &heir) {
        Ok(claimed) => settle(given, rest, heir, &claimed),
        Err(error) => {
            let error = give_up(heir, &error);
            // What has come to be served here, as it could not be handed back, is served as long as the other one waits.
            given.plane.base.drain.start();
            given.plane.workers.join();
            Err(error)
        }
    }
}

fn give_up(heir: Heir, error: &anyhow::Error) -> anyhow::Error {
    let reason = format!("{error:#}");
    heir.give_up(&reason);
    match error.downcast_ref::<Refused>() {
        Some(Refused::Said(said)) => Refused::Said(said.clone()),
        _ => Refused::NotProved(reason),
    }
    .into()
}

/// A process that serves from what it was given, but for the other one's sake only.
struct Given {
    plane: Plane,
    received: Received,
    proving: Proving,
}

/// What is needed later.
struct Rest {
    admin: crate::admin::Socket,
    desk: Option<OwnedFd>,
    stdio: [Option<OwnedFd>; 2],
    line: Line,
    kept: DescriptorStore,
}

fn start(base: Base, heir: &Heir, legacy: Legacy) -> anyhow::Result<(Given, Rest)> {
    let config = base.config.load_full();
    let mut image = Opened::new(legacy.image).context("the table's image")?;
    let (updater, reader) = Updater::receive(config.updater(), &mut image, &config.state_dir, clock::now())?;
    let Adopted { shared, bound, kept } = adopt(&base, legacy.listeners.into_iter().chain(legacy.admin))?;
    boot::log_bound(&bound)?;
    for history in &legacy.health {
        base.endpoints.adopt(history, Instant::now());
    }
    let (updates, received, thread) = Updates::start_received(updater, reader.clone(), &config.state_dir)
        .context("the updater's thread cannot be started")?;
    let proving = Proving::new(legacy.returns, shared);
    let plane = Plane::start(base, Table { reader, updates, thread }, bound.listeners, proving.clone())?;
    let line = Line { predecessors: legacy.predecessors, takeovers: heir.offer().takeovers + 1 };
    let rest = Rest { admin: bound.admin, desk: legacy.desk, stdio: legacy.stdio, line, kept };
    Ok((Given { plane, received, proving }, rest))
}

/// What is configured, on the sockets that are there already.
struct Adopted {
    /// Where those that are there already listen.
    shared: Vec<ListenAddress>,
    bound: Bound,
    kept: DescriptorStore,
}

fn adopt(base: &Base, sockets: impl Iterator<Item = OwnedFd>) -> anyhow::Result<Adopted> {
    let mut inherited = Inherited::in_use();
    let (mut shared, mut known) = (Vec::new(), BTreeSet::new());
    for socket in sockets {
        known.insert(passed::inode(&socket));
        let address = inherited.add(socket).context("a socket that was handed over")?;
        if !shared.contains(address) {
            shared.push(address.clone());
        }
    }
    let bound = bind::all(&base.config.load(), &mut inherited)?;
    for address in inherited.left() {
        tracing::info!(%address, "this address is configured no more, and is closed by the process before");
    }
    let kept = DescriptorStore::plan(&known, &inherited, &bound.listeners).context("no descriptor is left")?;
    Ok(Adopted { shared, bound, kept })
}

/// Returns once the state folder is this process's.
fn prove(given: &Given, heir: &Heir) -> anyhow::Result<Claimed> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    let table = takeover::Table::from(&runtime.block_on(given.received.mark())?);
    if table != heir.offer().table {
        bail!("what was received is {table}, and not {}", heir.offer().table);
    }
    serves(&given.plane.workers, &given.plane.base.probes)?;
    heir.proved(table)?;
    claim(given, &runtime)
}

/// Every worker makes progress, and an own request comes back through every listener.
fn serves(workers: &Workers, probes: &Probes) -> anyhow::Result<()> {
    let deadline = Instant::now() + PROVE_WITHIN;
    while workers.heartbeats().stalest() > FRESH {
        if Instant::now() >= deadline {
            bail!("not every worker makes progress");
        }
        sleep(PROBE_AGAIN);
    }
    for listener in workers.listeners() {
        let answers = || asked(probes, listener.address(), deadline);
        answers().with_context(|| format!("listener {} ({})", listener.name(), listener.address()))?;
    }
    Ok(())
}

/// An own request is answered by whoever accepts it first: it is asked again until it was this process.
fn asked(probes: &Probes, address: &ListenAddress, deadline: Instant) -> Result<(), ProbeError> {
    loop {
        match probes.ask(address, PROBE_PATIENCE) {
            Ok(_) => return Ok(()),
            Err(error) if Instant::now() >= deadline => return Err(error),
            Err(_) => sleep(PROBE_AGAIN),
        }
    }
}

fn claim(given: &Given, runtime: &tokio::runtime::Runtime) -> anyhow::Result<Claimed> {
    let deadline = Instant::now() + CLAIM_WITHIN;
    loop {
        match runtime.block_on(given.received.claim())? {
            Ok(claimed) => return Ok(claimed),
            Err(BootError::Locked { .. }) if Instant::now() < deadline => sleep(CLAIM_AGAIN),
            Err(error) => return Err(error.into()),
        }
    }
}

/// From here on this process serves.
fn settle(given: Given, mut rest: Rest, heir: Heir, claimed: &Claimed) -> anyhow::Result<(Process, DescriptorStore)> {
    let Given { plane, received, proving } = given;
    let levels = plane.base.levels.clone();
    let own_stdout = io::stdout().as_fd().try_clone_to_owned();
    let takeovers = rest.line.takeovers;
    let (process, succession) = match plane.complete(rest.admin, rest.line) {
        Ok(complete) => complete,
        Err(error) => return Err(give_up(heir, &error)),
    };
    levels.flush();
    go_on_with(rest.stdio);
    boot::log_found(&claimed.found);
    proving.end();
    drop(received);
    counter!(TAKEOVERS, OUTCOME => "replaced").absolute(takeovers);
    let said = line(&heir);
    tracing::info!(journal_goes_on = claimed.goes_on, "{said}");
    if let Err(error) = heir.serving() {
        tracing::warn!(%error, "this process serves, and the one before does not say that it knows");
    }
    // Not before: the service manager listens to this process since the one before has named it.
    rest.kept.settle();
    succession.receive(rest.desk)?;
    if let Ok(stdout) = own_stdout {
        // ignored: who has started this process does not listen
        let _ = writeln!(std::fs::File::from(stdout), "{said}");
    }
    Ok((process, rest.kept))
}

fn line(heir: &Heir) -> String {
    let (offer, own) = (heir.offer(), env!("CARGO_PKG_VERSION"));
    format!(
        "process {} (version {own}) has taken over from process {} (version {})",
        std::process::id(),
        offer.pid,
        offer.version
    )
}

/// What is logged goes where the process before logged it.
fn go_on_with([stdout, stderr]: [Option<OwnedFd>; 2]) {
    let taken = stdout.map_or(Ok(()), rustix::stdio::dup2_stdout);
    let taken = taken.and(stderr.map_or(Ok(()), rustix::stdio::dup2_stderr));
    if let Err(error) = taken {
        tracing::warn!(%error, "what this process logs does not go where the one before logged it");
    }
}
