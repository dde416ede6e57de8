//! What a restart would serve before it hears of anybody: the snapshot on disk.

use routing_cache::{
    disk::RealDisk,
    model::{Digest, WallTime},
    store::{self, Damage},
};

use super::{Finding, source::Seen};
use crate::{admin::view::Status, clock, config::Config};

const CHECK: &str = "table on disk";

/// What was found in the state folder.
#[derive(Clone, Debug, Default)]
pub(super) struct Stored {
    whole: Option<Whole>,
    damaged: Vec<Damage>,
}

/// A snapshot that loads.
#[derive(Clone, Debug)]
struct Whole {
    origin: String,
    generation: u64,
    apps: u64,
    digest: Digest,
    received_at: WallTime,
    bytes: u64,
}

impl Stored {
    /// True when there is a snapshot to start with.
    pub(super) fn is_whole(&self) -> bool {
        self.whole.is_some()
    }

    /// The documents' size; 0 without a snapshot.
    pub(super) fn bytes(&self) -> u64 {
        self.whole.as_ref().map_or(0, |whole| whole.bytes)
    }
}

/// Reads the state folder as a start would, and changes nothing in it.
pub(super) fn look(config: &Config) -> Stored {
    let found = store::inspect(&RealDisk, &config.state_dir, config.updater().poison);
    let whole = found.would_serve.map(|served| Whole {
        origin: served.origin,
        generation: served.generation.0,
        apps: served.apps,
        digest: served.digest,
        received_at: served.received_at,
        bytes: served.document_bytes,
    });
    Stored { whole, damaged: found.damaged }
}

/// A restart is not safe when there is nothing whole to serve from and nobody to get it from; nor when it would go back
/// to another table than the one that is served, with nobody there to mend that.
pub(super) fn judge(stored: &Stored, running: Option<&Status>, orchestrator: &Seen) -> Finding {
    let ready = matches!(orchestrator, Seen::Ready);
    let Some(whole) = &stored.whole else { return nothing(stored, ready) };
    let text = format!(
        "{}: {} apps, generation {}, confirmed {} s ago",
        whole.origin,
        whole.apps,
        whole.generation,
        clock::age_seconds(whole.received_at)
    );
    let served = running.map(|status| &status.table).filter(|table| table.source != "none");
    if let Some(table) = served.filter(|table| table.digest != whole.digest.to_string()) {
        let text = format!("{text}; but {} apps of generation {} are served", table.apps, table.generation);
        return if ready { Finding::warning(CHECK, text) } else { Finding::failed(CHECK, text) };
    }
    if let Some(damage) = stored.damaged.first() {
        return Finding::warning(CHECK, format!("{text}; damaged: {damage}"));
    }
    let same = if served.is_some() { ", which is what is served" } else { "" };
    Finding::ok(CHECK, format!("{text}{same}"))
}

fn nothing(stored: &Stored, ready: bool) -> Finding {
    let damaged: String = stored.damaged.iter().map(|damage| format!("; {damage}")).collect();
    if ready {
        return Finding::warning(
            CHECK,
            format!("none: a restart serves nothing until the orchestrator answers{damaged}"),
        );
    }
    Finding::failed(CHECK, format!("none, and no ready orchestrator to get one from{damaged}"))
}

#[cfg(test)]
mod tests {
    use super::{super::Verdict, *};

    fn away() -> Seen {
        Seen::Away("refused".into())
    }

    fn stored(digest: u128) -> Stored {
        let (origin, received_at) = ("snapshot-1".to_owned(), clock::wall());
        let whole = Whole { origin, generation: 7, apps: 2, digest: Digest(digest), received_at, bytes: 10 };
        Stored { whole: Some(whole), damaged: Vec::new() }
    }

    fn serving(digest: u128) -> Status {
        serde_json::from_value(serde_json::json!({
            "version":"0","pid":1,"name":"n","state":"serving","started_at":"x","uptime_s":1,
            "table":{"source":"live","epoch":"e","generation":8,"apps":3,"hosts":3,"endpoints":3,
                     "digest":Digest(digest).to_string(),"age_s":1,"received_at":"x",
                     "saved":{"generation":8,"at":null,"bytes":0,"error":null}},
            "orchestrator":{"kind":"http","url":"u","reachable":true,"ready":true,"gate":"open","gate_reason":null,
                            "last_contact_s":1,"received":null},
            "held":{"deletes":0,"since":null,"reason":null},"upstreams":{"healthy":1,"unhealthy":0,"banned":0},
            "listeners":[],"memory":{"rss_bytes":0,"limit_bytes":0,"pressure":"none"}
        }))
        .unwrap()
    }

    #[test]
    fn nothing_whole_and_no_ready_orchestrator_is_not_safe() {
        let nothing = Stored::default();
        assert_eq!(judge(&nothing, None, &away()).verdict, Verdict::Failed);
        assert_eq!(judge(&nothing, None, &Seen::NotReady("loading".into())).verdict, Verdict::Failed);
        assert_eq!(judge(&nothing, None, &Seen::Ready).verdict, Verdict::Warning);
    }

    #[test]
    fn a_whole_snapshot_is_enough_without_the_orchestrator() {
        assert_eq!(judge(&stored(5), None, &away()).verdict, Verdict::Ok);
        assert_eq!(judge(&stored(5), Some(&serving(5)), &away()).verdict, Verdict::Ok);
    }

    #[test]
    fn a_snapshot_of_another_table_needs_a_ready_orchestrator() {
        assert_eq!(judge(&stored(5), Some(&serving(6)), &Seen::Ready).verdict, Verdict::Warning);
        let finding = judge(&stored(5), Some(&serving(6)), &away());
        assert_eq!(finding.verdict, Verdict::Failed);
        assert!(finding.detail.contains("but 3 apps of generation 8 are served"), "{}", finding.detail);
    }

    #[test]
    fn a_damaged_file_beside_a_whole_one_is_a_warning() {
        let mut stored = stored(5);
        let (file, why) = ("snapshot-1".to_owned(), "cut short".to_owned());
        stored.damaged.push(Damage { file, offset: Some(7), why, kept_as: None });
        assert_eq!(judge(&stored, None, &away()).verdict, Verdict::Warning);
    }
}
