//! What the gateway says of itself: metrics, the log and the access log.
//!
//! Nothing here can hold up a request: a metric is a number in memory, and a line of either log is handed to a thread of
//! its own by a bounded queue, or dropped and counted when that thread cannot keep up.

pub mod access;
pub mod limits;
pub mod logging;
pub mod metrics;
pub mod names;
pub mod shares;

mod lines;
mod target;
