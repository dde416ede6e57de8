//! Sockets: their options (one place, each with its reason), listeners, streams, and how they are written.
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
pub mod wheel;
