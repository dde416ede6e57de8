//! What as many connections as there may be could take, and whether this process may have it.

use std::fs;

use rustix::process::{Resource, getrlimit};

use super::{meter, parse};
use crate::{config::LimitsConfig, net::buffers};

/// What a connection with a request on it has beside the buffers of its messages: its tasks, its sockets' places in the
/// runtime, its timers. Source: measured, docs/OPERATING.md ("What one connection may cost").
pub const BASE: u64 = 20 << 10;
/// Descriptors beside those of connections: listeners, logs, the state folder, the orchestrator, epoll, control groups.
const OTHER_DESCRIPTORS: u64 = 256;

/// What is configured, against what there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// `limits.max_connections`.
    pub connections: u64,
    /// See [`connection_bytes`].
    pub connection_bytes: u64,
    /// The memory limit, or all that the machine has; 0: not known.
    pub memory_bytes: u64,
    /// How many descriptors may be open; `None`: any number.
    pub descriptors: Option<u64>,
}

/// The most of this process's memory that one connection of a client can hold, its upstream's side included.
///
/// On its way up a body fills the client's buffer, a piece that was cut off it, and the buffer of the upstream's connection,
/// which takes one piece more than fits; on its way down a piece that was read, one that waits to be written, and the buffer of
/// the client's connection. All of it at once takes a client that sends a large body, and does not read a large answer that
/// has begun before.
#[must_use]
pub fn connection_bytes(limits: &LimitsConfig) -> u64 {
    let client = buffers::client(limits.header_bytes) as u64;
    let up = 3 * client + buffers::ANSWER_HEAD as u64;
    let down = 2 * buffers::ANSWER_PIECE as u64 + client;
    BASE + up + down
}

impl Budget {
    /// As this process finds it.
    #[must_use]
    pub fn of(limits: &LimitsConfig) -> Self {
        let machine = fs::read("/proc/meminfo").ok().and_then(|text| parse::field(&text, b"MemTotal:"));
        let machine = machine.map(|kib| kib.saturating_mul(1024));
        let limit = Some(meter::memory_limit_bytes()).filter(|bytes| *bytes > 0);
        Self {
            connections: limits.max_connections as u64,
            connection_bytes: connection_bytes(limits),
            memory_bytes: [machine, limit].into_iter().flatten().min().unwrap_or(0),
            descriptors: getrlimit(Resource::Nofile).maximum,
        }
    }

    /// Descriptors for so many connections: one for each client and one for its upstream.
    #[must_use]
    pub fn descriptors_for(connections: u64) -> u64 {
        connections.saturating_mul(2).saturating_add(OTHER_DESCRIPTORS)
    }

    /// What does not fit, in words.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        [self.memory(), self.descriptors()].into_iter().flatten().collect()
    }

    fn memory(&self) -> Option<String> {
        let Self { connections, connection_bytes, memory_bytes, .. } = *self;
        let most = connections.saturating_mul(connection_bytes);
        let fit = memory_bytes / connection_bytes.max(1);
        (memory_bytes > 0 && most > memory_bytes).then(|| {
            format!(
                "limits.max_connections = {connections} may take {} MiB, {} KiB each at the most, and there are {} MiB: load is \
                 shed before that; {fit} connections fit whatever they do",
                most >> 20,
                connection_bytes >> 10,
                memory_bytes >> 20
            )
        })
    }

    fn descriptors(&self) -> Option<String> {
        let (connections, needed) = (self.connections, Self::descriptors_for(self.connections));
        let limit = self.descriptors.filter(|limit| *limit < needed)?;
        Some(format!("limits.max_connections = {connections} needs {needed} descriptors, and {limit} may be open"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_said_with_what_would() {
        let fits =
            Budget { connections: 10, connection_bytes: 1 << 20, memory_bytes: 10 << 20, descriptors: Some(276) };
        assert_eq!(fits.warnings(), [""; 0]);
        let memory = Budget { memory_bytes: (10 << 20) - 1, ..fits }.warnings();
        assert!(
            memory[0].contains("may take 10 MiB, 1024 KiB each") && memory[0].contains("9 connections fit"),
            "{memory:?}"
        );
        let descriptors = Budget { descriptors: Some(275), ..fits }.warnings();
        assert!(descriptors[0].contains("needs 276 descriptors, and 275 may be open"), "{descriptors:?}");
        let unknown = Budget { memory_bytes: 0, descriptors: None, ..fits };
        assert_eq!(unknown.warnings(), [""; 0]);
    }
}
