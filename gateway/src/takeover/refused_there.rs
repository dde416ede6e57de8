//! Why a running process does not hand over, in words for the successor's operator.

use std::io;

use super::{channel::ChannelError, message::Table, predecessors::MOST};
use crate::updates::{ImageError, NoLonger, UpdaterGone};

/// One take-over came to nothing; the process serves on.
#[derive(Debug, thiserror::Error)]
pub(super) enum RefusedThere {
    #[error("the caller is of another user (uid {0})")]
    OtherUser(u32),
    #[error("protocol {oldest} to {newest} of the successor is not spoken by version {}", env!("CARGO_PKG_VERSION"))]
    Protocol { oldest: u32, newest: u32 },
    #[error("this process drains")]
    Draining,
    #[error("{draining} processes before this one still drain, and {MOST} are the most there may be: try again later")]
    TooMany { draining: usize },
    #[error(
        "this process runs under a service manager, which would lose sight of a successor that it has not started: \
         use `systemctl reload holdgate`"
    )]
    Supervised,
    #[error("the updater is busy: try again later")]
    Busy,
    #[error("{0}")]
    Updater(#[from] UpdaterGone),
    #[error("the time for the take-over is over")]
    TooLate(#[from] NoLonger),
    #[error("the table's image cannot be made: {0}")]
    Image(#[from] ImageError),
    #[error("the successor serves another table: {theirs}; here it is {ours}")]
    OtherTable { ours: Box<Table>, theirs: Box<Table> },
    #[error("the successor gives up: {0}")]
    GaveUp(String),
    #[error("{0}")]
    Channel(#[from] ChannelError),
    #[error("the system refuses what a take-over needs: {0}")]
    System(#[from] io::Error),
}

impl From<rustix::io::Errno> for RefusedThere {
    fn from(errno: rustix::io::Errno) -> Self {
        Self::System(errno.into())
    }
}
