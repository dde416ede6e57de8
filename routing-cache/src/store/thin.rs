//! Reads of a snapshot only the apps that the changes after it are about, so that what a start would serve is known in the
//! memory that those take, however large the table.
//!
//! Whose a host is decides whether a change can be brought about: an app that has a host which a change gives to another is
//! one of them.

use std::collections::HashSet;

use crate::{
    disk::ReadFile,
    journal::{Scanner, decode},
    model::{AppRecord, Digest, Record},
    snapshot::{ReadError, Snapshot, check_each},
    state::{Change, Op, State},
    table::Table,
};

use super::{names::Name, replay::Restore};

/// The rest of a table, in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Beside {
    /// Apps.
    pub(super) apps: u64,
    /// Their digest.
    pub(super) digest: Digest,
    /// Bytes of their documents.
    pub(super) document_bytes: u64,
}

/// What changes are about.
#[derive(Debug, Default)]
pub(super) struct Concerned {
    apps: HashSet<Box<str>>,
    exact: HashSet<Box<[u8]>>,
    wildcard: HashSet<Box<[u8]>>,
}

impl Concerned {
    /// By all changes after a snapshot that may be brought about.
    pub(super) fn by(restore: &Restore<'_>, snapshot: u64) -> Self {
        let mut concerned = Self::default();
        for number in restore.numbers(snapshot) {
            let path = restore.folder.join(Name::journal(number).to_string());
            let Some(mut scanner) = restore.disk.open(&path).ok().and_then(|file| Scanner::new(file).ok()) else {
                continue;
            };
            let mut before = None;
            // What cannot be read is not brought about either.
            while let Ok(Some(frame)) = scanner.next_frame() {
                // The second copy of a change tells nothing new.
                let is_copy = before.replace(frame.sequence) == Some(frame.sequence);
                let is_wanted = frame.sequence > snapshot && restore.upto.is_none_or(|upto| frame.sequence <= upto);
                if is_wanted && !is_copy {
                    decode(frame.payload).iter().for_each(|change| concerned.add(change));
                }
            }
        }
        concerned
    }

    fn add(&mut self, change: &Change) {
        for op in &change.ops {
            match op {
                Op::Put(record) => self.add_app(record.get()),
                Op::Remove(id) => self.add_id(id.as_str()),
                Op::Differ(..) | Op::Agree(_) | Op::Bury(..) | Op::Unbury(_) | Op::UnburyAll => {}
            }
        }
    }

    fn add_app(&mut self, record: Record<'_>) {
        self.add_id(record.id());
        for (name, wildcard) in record.host_names() {
            let hosts = if wildcard { &mut self.wildcard } else { &mut self.exact };
            if !hosts.contains(name) {
                hosts.insert(name.into());
            }
        }
    }

    fn add_id(&mut self, id: &str) {
        if !self.apps.contains(id) {
            self.apps.insert(id.into());
        }
    }

    fn has(&self, record: Record<'_>) -> bool {
        if self.apps.is_empty() {
            return false;
        }
        let is_taken = |(name, wildcard)| if wildcard { &self.wildcard } else { &self.exact }.contains(name);
        self.apps.contains(record.id()) || record.host_names().any(is_taken)
    }
}

/// Reads a whole snapshot and keeps of its table only the apps concerned, of what was received and buried nothing.
pub(super) fn read(file: &mut dyn ReadFile, concerned: &Concerned) -> Result<(Snapshot, Beside), ReadError> {
    let mut table = Table::default();
    let head = check_each(file, &mut |record| {
        if concerned.has(record) {
            // ignored: in one table no two apps have one host
            let _ = table.upsert(AppRecord::copy_of(record));
        }
    })?;
    let beside = Beside {
        apps: head.base.apps.wrapping_sub(table.len() as u64),
        digest: head.base.digest.minus(table.digest()),
        document_bytes: head.base.documents.wrapping_sub(table.document_bytes()),
    };
    let state = State { table, meta: head.meta, ..State::default() };
    Ok((Snapshot { sequence: head.sequence, state, beside: Vec::new() }, beside))
}
