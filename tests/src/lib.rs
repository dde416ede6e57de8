//! Drives the real process: a gateway, the apps behind it, clients in front of it and an orchestrator that can be told
//! to misbehave.
//!
//! Nothing here shares code with what is tested: the digest, the snapshot body and HTTP are written again, from the
//! contract alone. Every wait has a deadline, every process and thread an owner that ends it.

pub mod backend;
pub mod cgroup;
pub mod gateway;
pub mod hold;
pub mod http;
pub mod load;
pub mod manager;
pub mod mounts;
pub mod orchestrator;
pub mod random;
pub mod server;
pub mod wait;
