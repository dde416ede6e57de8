//! What is said in a take-over, as JSON: one object a packet, with the descriptors that it names.
//!
//! Fields that are not known are ignored and a role that is not known is passed over, so that versions beside each other
//! understand each other; what cannot be said that way raises [`PROTOCOL`].

use std::{ops::RangeInclusive, time::Duration};

use routing_cache::updater::TableMark;
use serde::{Deserialize, Serialize};

/// The versions of the protocol that are spoken here: this one and the one before, once there is one.
pub const PROTOCOL: RangeInclusive<u32> = 1..=1;

/// Why this process is not replaced by that one.
pub(super) const ANOTHER: &str = "another take-over is under way";

/// Everything that is said, by either side.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(tag = "message", rename_all = "snake_case")]
pub(super) enum Message {
    /// The successor, first.
    Hello(Hello),
    /// The running process's answer: what it serves. [`Message::Health`] and [`Message::Descriptors`] follow.
    Offer(Box<Offer>),
    /// A part of what is known of endpoints.
    Health {
        /// Some of them.
        endpoints: Vec<Health>,
    },
    /// As many descriptors as there are roles come with this.
    Descriptors {
        /// What each of them is.
        roles: Vec<Role>,
    },
    /// The successor serves from what it was given, and has found so.
    Proved {
        /// What it serves.
        table: Table,
    },
    /// The state folder has been let go of.
    Yours,
    /// The successor serves; the other one ends.
    Serving,
    /// Either side gives up; nothing has changed.
    Refused {
        /// Why.
        reason: String,
    },
}

/// Who wants to take over.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Hello {
    /// The oldest protocol it speaks.
    pub oldest: u32,
    /// The newest protocol it speaks.
    pub newest: u32,
    /// Its version.
    pub version: String,
    /// Its control groups, as /proc/self/cgroup has them: a service manager loses sight of one in another group.
    #[serde(default)]
    pub cgroup: Option<String>,
}

/// Who runs, and what comes with it.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Offer {
    /// The protocol that is spoken from here on.
    pub protocol: u32,
    /// Its version.
    pub version: String,
    /// Its process id, as it knows it itself.
    pub pid: u32,
    /// What it serves.
    pub table: Table,
    /// How many take-overs there were before this one, from process to process.
    #[serde(default)]
    pub takeovers: u64,
    /// How many packets of what is known of endpoints follow.
    #[serde(default)]
    pub health: u32,
    /// How many packets of descriptors follow those.
    pub descriptors: u32,
}

/// Which table it is, in words that two versions can compare.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Table {
    /// Whether there is one.
    pub has_table: bool,
    /// Its epoch.
    pub epoch: Option<String>,
    /// Its generation.
    pub generation: u64,
    /// Apps in it.
    pub apps: u64,
    /// Their digest, as served.
    pub digest: String,
    /// An operator wants it to stay.
    pub pinned: bool,
}

/// What is known against one endpoint.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(super) struct Health {
    /// Its address, as in app documents.
    pub address: String,
    /// Failures since its last success.
    pub failures: u32,
    /// How often it was ejected in a row.
    pub ejections: u32,
    /// For how much longer it is out.
    #[serde(default)]
    pub ejected_for_ms: u64,
}

/// What a descriptor is.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(tag = "role", rename_all = "snake_case")]
pub enum Role {
    /// A listening socket of the data plane; its address is asked of itself.
    Listener,
    /// The admin API's listening socket.
    Admin,
    /// The listening socket of take-overs.
    Desk,
    /// The table's image, sealed.
    Image,
    /// Where to hand back connections while the successor proves itself.
    Returns,
    /// The running process's standard output.
    Stdout,
    /// The running process's standard error.
    Stderr,
    /// A pidfd of the running process, or of one before it that still drains.
    Predecessor,
    /// Of a later version.
    #[serde(other)]
    Unknown,
}

impl Hello {
    /// The newest protocol that both speak.
    #[must_use]
    pub(super) fn agreed(&self) -> Option<u32> {
        let newest = self.newest.min(*PROTOCOL.end());
        (newest >= self.oldest.max(*PROTOCOL.start())).then_some(newest)
    }
}

impl From<&TableMark> for Table {
    fn from(mark: &TableMark) -> Self {
        Self {
            has_table: mark.has_table,
            epoch: mark.epoch.as_ref().map(ToString::to_string),
            generation: mark.generation.0,
            apps: mark.apps,
            digest: mark.digest.to_string(),
            pinned: mark.pinned,
        }
    }
}

impl std::fmt::Display for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if !self.has_table {
            return write!(f, "no table");
        }
        let epoch = self.epoch.as_deref().unwrap_or("-");
        write!(f, "generation {} of epoch {epoch} with {} apps ({})", self.generation, self.apps, self.digest)
    }
}

impl Health {
    /// For how much longer it is out.
    #[must_use]
    pub(super) fn ejected_for(&self) -> Duration {
        Duration::from_millis(self.ejected_for_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello(oldest: u32, newest: u32) -> Hello {
        Hello { oldest, newest, version: "1".into(), cgroup: None }
    }

    #[test]
    fn the_newest_protocol_that_both_speak_is_spoken() {
        let ours = *PROTOCOL.end();
        assert_eq!(hello(ours, ours).agreed(), Some(ours));
        assert_eq!(hello(ours, ours + 1).agreed(), Some(ours), "a newer one speaks the one before its own");
        assert_eq!(hello(ours + 1, ours + 2).agreed(), None);
        assert_eq!(hello(0, *PROTOCOL.start() - 1).agreed(), None);
    }

    #[test]
    fn what_a_later_version_says_in_addition_is_passed_over() {
        let offer = r#"{"message":"descriptors","roles":[{"role":"listener","more":1},{"role":"ticket_keys"}],"x":{}}"#;
        let Message::Descriptors { roles } = serde_json::from_str(offer).unwrap() else { panic!("{offer}") };
        assert_eq!(roles, [Role::Listener, Role::Unknown]);
        assert!(serde_json::from_str::<Message>(r#"{"message":"dance"}"#).is_err());
    }
}
