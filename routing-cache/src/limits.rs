//! Every bound on what comes from the orchestrator: unit, default, source.

/// Room for what stands around a document in a line of a snapshot, in bytes: an app id of 253 bytes, each escaped to six,
/// a rev of 20 digits, and the names of the fields.
const LINE_OVERHEAD_BYTES: u64 = 2 << 10;

/// A document over its limit makes one app invalid, one that is over it so many times makes the snapshot unreadable.
const LINE_FACTOR: u64 = 4;

/// Bounds on documents and answers. Source of the defaults: spec/orchestrator-api.md, rule 10.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// One app's document, in bytes.
    pub app_bytes: u64,
    /// One changes answer, in bytes after decompression.
    pub changes_bytes: u64,
    /// One snapshot, in bytes after decompression.
    pub snapshot_bytes: u64,
    /// Apps in one snapshot.
    pub snapshot_apps: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { app_bytes: 64 << 10, changes_bytes: 8 << 20, snapshot_bytes: 1 << 30, snapshot_apps: 2_000_000 }
    }
}

impl Limits {
    /// The longest line of a snapshot, in bytes: all of a body that is ever held unread.
    ///
    /// One document that has grown too large must not stop the table (it makes its app invalid, and the snapshot goes
    /// on), so a line may be well over `app_bytes`: whatever fits into a changes answer fits into a line.
    #[must_use]
    pub fn line_bytes(&self) -> u64 {
        self.app_bytes.saturating_mul(LINE_FACTOR).max(self.changes_bytes).saturating_add(LINE_OVERHEAD_BYTES)
    }
}

/// Which bound was met: a closed set, for errors, metrics and logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LimitName {
    /// [`Limits::app_bytes`]
    AppBytes,
    /// [`Limits::changes_bytes`]
    ChangesBytes,
    /// [`Limits::snapshot_bytes`]
    SnapshotBytes,
    /// [`Limits::snapshot_apps`]
    SnapshotApps,
    /// [`Limits::line_bytes`]
    LineBytes,
}

impl LimitName {
    /// Its name, as in the configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AppBytes => "app_bytes",
            Self::ChangesBytes => "changes_bytes",
            Self::SnapshotBytes => "snapshot_bytes",
            Self::SnapshotApps => "snapshot_apps",
            Self::LineBytes => "line_bytes",
        }
    }
}

impl std::fmt::Display for LimitName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_holds_whatever_a_changes_answer_can_hold() {
        let limits = Limits::default();
        assert!(limits.line_bytes() > limits.changes_bytes);
        let large_apps = Limits { app_bytes: 1 << 30, ..limits };
        assert!(large_apps.line_bytes() > 4 << 30);
        assert_eq!(Limits { app_bytes: u64::MAX, ..limits }.line_bytes(), u64::MAX);
    }
}
