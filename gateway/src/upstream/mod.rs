//! Where requests go: the state of endpoints, the choice among them, the connections to them and how many there may be.
//!
//! - [`registry`]: what is known of each endpoint's address, shared by all workers.
//! - [`balance`]: one worker's choice among an upstream's endpoints.
//! - [`limit`]: how many requests an upstream takes at once, over all workers.
//! - [`pool`]: one worker's connections.
//! - [`http1`]: what is said over one of them.
//!
//! Nothing here knows of routes, retries or answers to clients: whoever sends decides what a failure means.

pub mod balance;
pub mod http1;
pub mod limit;
pub mod pool;
pub mod registry;
