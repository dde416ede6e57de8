//! What a running process has to hand over, and what is done when it has.

use std::{fmt, io, os::fd::OwnedFd, path::PathBuf, sync::Arc};

use super::{message::Role, predecessors::Predecessors};
use crate::{drain::Draining, updates::Updates, upstream::registry::Endpoints};

/// What a process hands over.
pub struct Estate {
    /// Where it is found, and what it gives away last.
    pub state_dir: PathBuf,
    /// The table.
    pub updates: Updates,
    /// What is known of endpoints.
    pub endpoints: Arc<Endpoints>,
    /// The processes before it.
    pub predecessors: Predecessors,
    /// Who drains hands nothing over.
    pub draining: Draining,
    /// Makes duplicates of its listening sockets.
    pub sockets: Box<Sockets>,
    /// Serves a connection that the successor has accepted.
    pub take_back: Arc<TakeBack>,
    /// How many take-overs there were before, from process to process.
    pub takeovers: u64,
    /// Called when a successor serves.
    pub withdraw: Box<Withdraw>,
}

/// Duplicates of listening sockets, each with its role.
pub type Sockets = dyn Fn() -> io::Result<Vec<(Role, OwnedFd)>> + Send + Sync;
/// Takes a connection and the address of the listener it came by; the error is for the log.
pub type TakeBack = dyn Fn(OwnedFd, &str) -> Result<(), String> + Send + Sync;
/// Is told who serves from now on.
pub type Withdraw = dyn Fn(Replaced) + Send + Sync;

/// Who serves from now on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replaced {
    /// Its process.
    pub pid: u32,
    /// Its version.
    pub version: String,
}

impl fmt::Debug for Estate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Estate").field("state_dir", &self.state_dir).finish_non_exhaustive()
    }
}
