//! `holdgate demo`: a small orchestrator, two apps and a gateway on loopback, and four things to try.
//!
//! Orchestrator and apps live in this process. The gateway is a process of its own, `holdgate run` of the same binary,
//! so that killing it is really that. Everything ends with this process: the child is killed when it is dropped, and by
//! the kernel should this process be killed.

mod apps;
mod child;
mod control;
mod files;
pub mod orchestrator;
mod text;

use std::{
    fmt::Display,
    io::{self, Write},
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context, bail};
use tokio::{
    net::TcpStream,
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc,
    time::{Instant, sleep},
};

use self::{
    apps::Apps,
    child::Gateway,
    control::{Order, Reply},
    files::Files,
};

/// A gateway without a snapshot is ready as soon as the orchestrator has said that it is.
const READY_WITHIN: Duration = Duration::from_secs(20);
/// From one look at the gateway's process to the next.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Before a gateway that ended by itself is started again.
const RESTART_AFTER: Duration = Duration::from_secs(1);

/// What the command line says.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the gateway listens.
    pub listen: SocketAddr,
    /// Where its admin API listens.
    pub admin: SocketAddr,
    /// Where the small orchestrator listens.
    pub orchestrator: SocketAddr,
    /// Where state is kept; a temporary folder without it.
    pub state_dir: Option<PathBuf>,
}

/// Where everything listens.
#[derive(Clone, Copy, Debug)]
struct Addresses {
    gateway: SocketAddr,
    admin: SocketAddr,
    orchestrator: SocketAddr,
    control: SocketAddr,
}

impl Addresses {
    /// As asked for where that is free, else picked.
    fn choose(options: &Options) -> io::Result<Self> {
        let mut control = options.orchestrator;
        control.set_port(options.orchestrator.port().saturating_add(1));
        let mut taken = Vec::new(); // held until all are chosen, so that none is picked twice
        let mut choose = |wanted: SocketAddr| {
            let bound = TcpListener::bind(wanted).or_else(|_| TcpListener::bind(SocketAddr::new(wanted.ip(), 0)))?;
            let address = bound.local_addr()?;
            taken.push(bound);
            io::Result::Ok(address)
        };
        Ok(Self {
            gateway: choose(options.listen)?,
            admin: choose(options.admin)?,
            orchestrator: choose(options.orchestrator)?,
            control: choose(control)?,
        })
    }
}

/// Runs until it is interrupted.
///
/// # Errors
/// When something cannot be started, or the gateway does not become ready.
pub fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let addresses = Addresses::choose(options).context("no port can be had on loopback")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(demo(options, addresses))
}

async fn demo(options: &Options, addresses: Addresses) -> anyhow::Result<ExitCode> {
    let mut stop = Stop::listen()?;
    let apps = Apps::start().await.context("the apps cannot be started")?;
    let files = Files::create(options.state_dir.as_deref(), addresses, &apps)?;
    let _orchestrator = start_orchestrator(addresses, &files)?;
    let (orders, mut ordered) = mpsc::channel(1);
    control::start(addresses.control, orders).await.context("the demo's control cannot be started")?;
    let mut gateway = Gateway::start(&files)?;
    tokio::select! {
        ready = until_ready(addresses.admin, &mut gateway) => ready.with_context(|| files.log_hint())?,
        () = stop.asked() => return Ok(ExitCode::SUCCESS),
    }
    say(text::greeting(addresses, &files))?;
    tokio::select! {
        ended = supervise(&mut gateway, &files, &mut ordered, addresses.admin) => ended?,
        () = stop.asked() => say("\nThe demo ends; nothing of it is left.")?,
    }
    Ok(ExitCode::SUCCESS)
}

fn start_orchestrator(addresses: Addresses, files: &Files) -> anyhow::Result<orchestrator::Running> {
    let options = orchestrator::Options {
        state_file: Some(files.orchestrator_state()),
        control: true,
        ..orchestrator::Options::new(addresses.orchestrator, files.apps())
    };
    orchestrator::Server::start(options).context("the small orchestrator cannot be started")
}

/// Starts the gateway again when it is asked to, or when it has ended by itself.
async fn supervise(
    gateway: &mut Gateway,
    files: &Files,
    ordered: &mut mpsc::Receiver<(Order, Reply)>,
    admin: SocketAddr,
) -> anyhow::Result<()> {
    loop {
        tokio::select! {
            Some((order, reply)) = ordered.recv() => {
                // ignored: whoever asked has gone away
                let _ = reply.send(carry_out(order, gateway, files, admin).await);
            }
            () = sleep(LOOK_EVERY) => {
                if let Some(status) = gateway.has_ended()? {
                    say(format_args!("the gateway has ended ({status}) and starts again"))?;
                    sleep(RESTART_AFTER).await;
                    *gateway = Gateway::start(files)?;
                }
            }
        }
    }
}

async fn carry_out(order: Order, gateway: &mut Gateway, files: &Files, admin: SocketAddr) -> anyhow::Result<String> {
    match order {
        Order::RestartGateway => {
            let (before, began) = (gateway.pid(), Instant::now());
            gateway.kill()?;
            *gateway = Gateway::start(files)?;
            until_ready(admin, gateway).await?;
            let (after, took) = (gateway.pid(), began.elapsed().as_millis());
            Ok(format!("killed -9 the gateway (pid {before}); pid {after} serves again, {took} ms later\n"))
        }
        Order::RestoreApps => files.write_apps().map(|()| "the documents of both apps are back\n".to_owned()),
    }
}

/// Returns once `/readyz` answers 200.
async fn until_ready(admin: SocketAddr, gateway: &mut Gateway) -> anyhow::Result<()> {
    let deadline = Instant::now() + READY_WITHIN;
    while !is_ready(admin).await {
        if let Some(status) = gateway.has_ended()? {
            bail!("the gateway has ended ({status})");
        }
        if Instant::now() > deadline {
            bail!("the gateway is not ready after {} s", READY_WITHIN.as_secs());
        }
        sleep(LOOK_EVERY / 10).await;
    }
    Ok(())
}

async fn is_ready(admin: SocketAddr) -> bool {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let ask = async {
        let mut stream = TcpStream::connect(admin).await?;
        let request = format!("GET /readyz HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut start = [0; "HTTP/1.1 200".len()];
        stream.read_exact(&mut start).await?;
        io::Result::Ok(&start == b"HTTP/1.1 200")
    };
    tokio::time::timeout(Duration::from_secs(1), ask).await.is_ok_and(|answer| answer.unwrap_or(false))
}

/// SIGINT and SIGTERM.
struct Stop {
    interrupt: Signal,
    terminate: Signal,
}

impl Stop {
    fn listen() -> io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn asked(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

fn say(text: impl Display) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}")?;
    out.flush()?;
    Ok(())
}
