//! Sockets: their options (one place, each with its reason), listeners, streams, and what hyper needs to use them.
//!
//! This floor opens, configures and reads sockets. It never decides what is said over one, retries nothing and counts
//! nothing.

pub mod buffers;
pub mod inherited;
pub mod io;
pub mod listen;
pub mod options;
pub mod outbox;
pub mod peer;
pub mod reserve;
pub mod stream;
pub mod timer;
pub mod wheel;
