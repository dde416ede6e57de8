//! Why a successor does not take over.

use std::{io, path::PathBuf};

use super::channel::ChannelError;

/// The take-over came to nothing, and the process that runs is as it was.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// There is none to take over from.
    #[error("no process to take over from runs on {}: {source}", .state_dir.display())]
    Nobody {
        /// Where it was looked for.
        state_dir: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Who listens there is not to be trusted.
    #[error("what runs on {} is of another user (uid {uid})", .state_dir.display())]
    OtherUser {
        /// Where.
        state_dir: PathBuf,
        /// Whose it is.
        uid: u32,
    },
    /// The running process says no.
    #[error("the running process refuses: {0}")]
    Said(String),
    /// Nothing more is heard of it.
    #[error(transparent)]
    Channel(#[from] ChannelError),
    /// It says something at the wrong time, or leaves something out.
    #[error("the running process does not hand over {0}")]
    Missing(&'static str),
    /// This process could not show that it serves.
    #[error("{0}")]
    NotProved(String),
}
