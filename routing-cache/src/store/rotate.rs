//! What is no longer needed.

use super::{
    KEPT, Store, compact,
    names::{Kind, Name},
};

impl Store {
    /// A snapshot is durable: older ones may go.
    pub(super) fn has_whole(&mut self, number: u64, bytes: u64) {
        self.snapshot_bytes = bytes;
        self.compact_at = compact::limit(bytes);
        if !self.whole.contains(&number) {
            self.whole.push(number);
            self.whole.sort_unstable();
        }
        self.rotate();
        self.bytes = self.folder.bytes();
    }

    /// Removes the snapshots older than the newest few, two known to be whole among them, and the segments that none of
    /// those needs.
    fn rotate(&mut self) {
        let Ok(files) = self.folder.files() else { return };
        let snapshots: Vec<u64> = files.live(Kind::Snapshot).collect();
        self.whole.retain(|number| snapshots.contains(number));
        let [.., before, _] = *self.whole else { return };
        let by_count = snapshots.iter().rev().nth(KEPT - 1).copied().unwrap_or_default();
        let oldest = by_count.min(before);
        let needed =
            files.segments_after(snapshots.iter().copied().find(|number| *number >= oldest).unwrap_or_default());
        let old_snapshots = snapshots.iter().filter(|number| **number < oldest).map(|number| Name::snapshot(*number));
        let old_segments = files.live(Kind::Journal).filter(|first| !needed.contains(first)).map(Name::journal);
        for name in old_snapshots.chain(old_segments) {
            // ignored: it is in nobody's way, and the next snapshot tries again
            let _ = self.folder.disk.remove(&self.folder.file(name));
        }
        let excess = self.whole.len().saturating_sub(KEPT);
        self.whole.drain(..excess);
        self.known.forget_before(oldest);
    }
}
