//! The clients of the orchestrator, one for each kind. They yield answers, and decide nothing.
//!
//! Every call has its own deadline, every body its bound, and every way in which an answer can fail is one variant of
//! [`Failure`]. Nothing here reaches the table: `subscription` hands what came to the updater, which judges it.

mod ack;
mod failure;
pub mod file;
pub mod folder;
pub mod http;
mod metrics;
#[cfg(test)]
pub(crate) mod scripted;
mod source;
mod watch;

pub use ack::{Ack, AckError, AckHeld, AckServing, AckStatus};
pub use failure::{Failure, State};
pub use file::FileClient;
pub use http::HttpClient;
pub use metrics::{Call, CallMetrics};
pub use source::Source;

/// A source of tables.
#[expect(clippy::large_enum_variant, reason = "there is one in a process, and it is moved twice")]
#[derive(Debug)]
pub enum Client {
    /// `kind = "http"`: a server that answers spec/orchestrator-api.md.
    Http(HttpClient),
    /// `kind = "file"`: a file or a folder of app documents.
    File(FileClient),
}
