//! The small orchestrator: spec/orchestrator-api.md served from a folder of app documents.
//!
//! `holdgate orchestrator` runs it alone, `holdgate demo` beside a gateway, tests in their own process. It has two
//! threads: one keeps the table what the folder says, one answers calls. It follows the contract in full (digest, long
//! poll, 304, 409, 410), keeps its epoch over restarts, and is not meant for more than one process on a folder.

mod book;
mod calls;
mod control;
mod desk;
mod keeper;
mod query;
mod reply;
mod serve;
mod state_file;
#[cfg(test)]
mod tests;

use std::{
    io,
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    thread::{self, JoinHandle},
};

use routing_cache::limits::Limits;
use tokio::runtime;
use tokio_util::sync::{CancellationToken, DropGuard};

use self::keeper::Keeper;

/// What the small orchestrator is made from.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where it listens; port 0 for any.
    pub listen: SocketAddr,
    /// The folder (or file) of app documents.
    pub apps: PathBuf,
    /// Where epoch, generation and revs are kept; by default a hidden file in the folder of apps.
    pub state_file: Option<PathBuf>,
    /// Whether `POST /control/...` is served.
    pub control: bool,
}

impl Options {
    /// Serves `apps` at `listen`, without control calls.
    #[must_use]
    pub fn new(listen: SocketAddr, apps: PathBuf) -> Self {
        Self { listen, apps, state_file: None, control: false }
    }
}

/// Starts small orchestrators.
#[derive(Clone, Copy, Debug)]
pub struct Server;

/// A small orchestrator that runs. It ends when this is dropped.
#[derive(Debug)]
pub struct Running {
    address: SocketAddr,
    threads: Vec<JoinHandle<()>>,
    stop: DropGuard,
}

impl Server {
    /// Binds the socket and starts. The folder is read after that: until then it answers that it is not ready.
    ///
    /// # Errors
    /// When the address cannot be bound, or a thread cannot be started.
    pub fn start(options: Options) -> io::Result<Running> {
        let listener = TcpListener::bind(options.listen)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let stop = CancellationToken::new();
        let keeper = Keeper::new(options.apps, options.state_file, Limits::default());
        let desk = keeper.desk();
        let calls = serve::run(listener, desk, options.control, stop.clone());
        let threads = vec![
            spawn("orchestrator-calls", calls)?,
            spawn("orchestrator-keeper", stop.clone().run_until_cancelled_owned(keeper.run()))?,
        ];
        Ok(Running { address, threads, stop: stop.drop_guard() })
    }
}

impl Running {
    /// Where it listens, with the real port.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it listens, as `orchestrator.url` wants it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Ends it: connections are cut, and the port is free when this returns.
    pub fn stop(self) {
        let Self { threads, stop, .. } = self;
        drop(stop);
        join(threads);
    }

    /// Returns when it has ended by itself, which it does only where a thread failed.
    pub fn join(self) {
        let Self { threads, stop, .. } = self;
        join(threads);
        drop(stop);
    }
}

fn join(threads: Vec<JoinHandle<()>>) {
    for thread in threads {
        if thread.join().is_err() {
            tracing::error!("a thread of the small orchestrator has panicked");
        }
    }
}

/// Runs `work` on a runtime and thread of its own.
fn spawn<T>(name: &str, work: impl Future<Output = T> + Send + 'static) -> io::Result<JoinHandle<()>> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    thread::Builder::new().name(name.to_owned()).spawn(move || {
        runtime.block_on(work);
        // A file system that hangs must not keep the process.
        runtime.shutdown_background();
    })
}
