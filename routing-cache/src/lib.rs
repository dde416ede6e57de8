//! The routing table that cannot be lost.
//!
//! This library owns what a gateway knows about apps: the model, the wire formats it is read from, the table requests
//! are matched against, the readiness gate and the shrink guard that judge every change, and the crash-safe store.
//!
//! It never opens a socket, spawns a task, sleeps or asks the time: time and bytes are arguments, so that every
//! decision can be replayed from its inputs. docs/ARCHITECTURE.md lists the floors; a module imports only from below.

pub mod codec;
pub mod disk;
pub mod gate;
pub mod guard;
pub mod journal;
pub mod limits;
pub mod live;
pub mod memory;
pub mod model;
pub mod snapshot;
pub mod state;
pub mod store;
pub mod table;
pub mod updater;
pub mod wire;
