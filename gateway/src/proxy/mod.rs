//! The data plane: accept, admit, route, pick, forward, answer, record.
//!
//! It owns client connections from `accept` to their end, and the requests on them. It reads the table by one load for
//! each request, and knows nothing of where tables come from: neither the orchestrator nor the disk is ever waited for.
//!
//! A request's way: `accept` -> `connection` (parked until there is a byte) -> `http1` and `framing` (a head that can be read in one way only) -> `service` (admit, route) ->
//! `forward` (attempts) -> `attempt` (pick, place, connection, send) -> `relay` or `tunnel` -> `record`.
//! A failure is a value (`failure`), and `answer` is where it becomes one.

mod accept;
mod answer;
mod attempt;
mod body;
mod connection;
mod connections;
mod context;
mod departed;
mod expect;
mod failure;
mod forward;
mod forwarded;
mod framing;
mod hop;
mod http1;
mod idle;
mod metrics;
mod outgoing;
mod pace;
mod parking;
mod proving;
mod record;
mod relay;
mod relief;
mod rescue;
mod retry;
mod returned;
mod rewrite;
mod roster;
mod route;
mod service;
mod settings;
mod shed;
mod spread;
mod target;
#[cfg(test)]
mod tests;
mod tunnel;
mod upload;
mod worker;
mod workers;

pub use connections::ListenerStats;
pub use proving::Proving;
pub use returned::{NotTaken, Returns};
pub use settings::Settings;
pub use workers::{Heartbeats, Workers, WorkersStart};
