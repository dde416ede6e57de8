//! `kind = "file"`: a file or a folder of app documents as a source of tables.
//!
//! It yields whole candidates, as an orchestrator's snapshot does, and the same updater judges them. A path that is
//! not there is no answer, and never an empty table; files that are not whole make the candidate a partial one.

use std::{collections::HashMap, path::PathBuf};

use bytes::Bytes;
use routing_cache::{
    limits::Limits,
    live::{Published, Reader},
    model::{AppId, AppRecord, Epoch, Generation, Record, Rev, app_digest},
    state::Position,
    wire::{Batch, DocumentError, Incoming, SnapshotCandidate},
};

use super::{
    folder::{Document, ReadError, Reading},
    source::Source,
};
use crate::clock;

/// The epoch of every table that comes from files: they have no storage that could be restored to another.
pub const FILE_EPOCH: &str = "file";

/// Why the files make no candidate.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// They could not be read at all.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// No file is whole, and nothing is known from before: it would be an empty table by accident.
    #[error("no file is whole: {0}")]
    NothingWhole(String),
}

/// A candidate, and what was passed over on the way.
#[derive(Debug)]
pub struct FileAnswer {
    /// The table that the files make.
    pub candidate: SnapshotCandidate,
    /// For the log.
    pub problems: Vec<String>,
}

/// Watches and reads a file or a folder.
#[derive(Debug)]
pub struct FileClient {
    source: Source,
    limits: Limits,
    served: Reader,
    /// The documents of the last candidate with their revs: an unchanged document keeps its rev, valid or not.
    last: HashMap<AppId, (Rev, Bytes)>,
    generation: Generation,
}

impl FileClient {
    /// A client of `path` that has read nothing yet; `served` tells which revs the documents have already.
    #[must_use]
    pub fn new(path: PathBuf, limits: Limits, served: Reader) -> Self {
        let source = Source::new(path, limits);
        Self { source, limits, served, last: HashMap::new(), generation: Generation::default() }
    }

    /// What the client holds documents to.
    #[must_use]
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Returns when a file may have changed since the last [`FileClient::read`].
    ///
    /// # Cancel safety
    /// Safe: a change is reported by the next call.
    pub async fn changed(&mut self) {
        self.source.changed().await;
    }

    /// Whether the path can be read now; cheap.
    ///
    /// # Errors
    /// When it cannot.
    pub async fn probe(&mut self) -> Result<(), ReadError> {
        self.source.probe().await
    }

    /// Reads everything as one candidate whose generation is above that of `received`.
    ///
    /// # Errors
    /// When nothing could be read, or nothing of it is whole.
    pub async fn read(&mut self, received: Option<&Position>) -> Result<FileAnswer, FileError> {
        let reading = self.source.read().await?;
        if let Some(why) = reading.partial().filter(|_| reading.apps.is_empty()) {
            return Err(FileError::NothingWhole(why));
        }
        self.generation = next_generation(self.generation, received);
        Ok(self.candidate(reading))
    }

    fn candidate(&mut self, reading: Reading) -> FileAnswer {
        let served = self.served.load();
        let partial = reading.partial();
        let mut last = HashMap::with_capacity(reading.apps.len());
        let mut apps = Batch::with_capacity(reading.apps.len() as u64);
        for (id, found) in reading.apps {
            let incoming = self.incoming(id, found, &served, &mut last);
            // ignored: a reading has every app once
            let _ = apps.push(incoming);
        }
        self.last = last;
        FileAnswer { candidate: whole(self.generation, apps, partial), problems: reading.problems }
    }

    fn incoming(
        &self,
        id: AppId,
        found: Document,
        served: &Published,
        last: &mut HashMap<AppId, (Rev, Bytes)>,
    ) -> Incoming {
        let (document, torn) = match found {
            Document::Whole(document) => (document, None),
            Document::Torn(document, why) => (document, Some(why)),
        };
        let live = served.table.app(id.as_str()).filter(|app| app.document() == document);
        let rev = self.rev(&id, &document, live);
        last.insert(id.clone(), (rev, document.clone()));
        match (torn, live) {
            (None, Some(live)) if live.rev() == rev => same(id, live),
            (None, _) => Incoming::read(id, rev, &document, &self.limits),
            (Some(why), _) => {
                let app = Err(DocumentError::new(why));
                Incoming { digest: app_digest(id.as_str(), rev, &document), bytes: document.len(), id, rev, app }
            }
        }
    }

    /// That of the same document before, else a new one.
    fn rev(&self, id: &AppId, document: &Bytes, live: Option<Record<'_>>) -> Rev {
        let before = self.last.get(id).filter(|(_, last)| last == document).map(|(rev, _)| *rev);
        before.or(live.map(Record::rev)).unwrap_or(Rev(self.generation.0))
    }
}

/// What is served already need not be read again.
fn same(id: AppId, live: Record<'_>) -> Incoming {
    let app = Ok(AppRecord::copy_of(live));
    Incoming { id, rev: live.rev(), digest: live.digest(), bytes: live.document().len(), app }
}

fn whole(generation: Generation, apps: Batch, partial: Option<String>) -> SnapshotCandidate {
    let (digest, bytes) = (apps.digest(), apps.bytes());
    SnapshotCandidate { epoch: file_epoch(), generation, ready: true, shrink_ok: None, apps, partial, digest, bytes }
}

fn file_epoch() -> Epoch {
    Epoch::new(FILE_EPOCH).expect("invariant: the constant is a valid epoch")
}

/// The time in milliseconds, so that it grows over restarts too; more where the clock went back.
fn next_generation(last: Generation, received: Option<&Position>) -> Generation {
    let received = received.filter(|p| p.epoch.as_str() == FILE_EPOCH).map_or(0, |p| p.generation.0);
    Generation(clock::wall().0.max(last.0.max(received).saturating_add(1)))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use routing_cache::{
        live::cell,
        model::{Digest, WallTime},
    };

    use super::*;

    fn document(host: &str) -> String {
        format!(r#"{{"hosts":["{host}"],"endpoints":[]}}"#)
    }

    fn client(path: &std::path::Path, served: Published) -> FileClient {
        let (_, reader) = cell(served);
        FileClient::new(path.to_owned(), Limits::default(), reader)
    }

    async fn read(client: &mut FileClient) -> SnapshotCandidate {
        client.read(None).await.unwrap().candidate
    }

    fn rev(candidate: &SnapshotCandidate, id: &str) -> Rev {
        candidate.apps.get(id).unwrap().rev()
    }

    #[tokio::test]
    async fn an_unchanged_document_keeps_its_rev_and_a_changed_one_gets_the_generation() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a.json"), document("a.example")).unwrap();
        fs::write(dir.path().join("b.json"), document("b.example")).unwrap();
        let mut client = client(dir.path(), Published::default());
        let first = read(&mut client).await;
        fs::write(dir.path().join("b.json"), document("c.example")).unwrap();
        let second = read(&mut client).await;
        assert!(second.generation > first.generation);
        assert_eq!(rev(&second, "a"), rev(&first, "a"));
        assert_eq!(rev(&second, "b").0, second.generation.0);
        assert_eq!(second.digest, second.apps.records().map(Record::digest).fold(Digest::default(), Digest::plus));
    }

    #[tokio::test]
    async fn a_new_process_keeps_the_revs_of_what_is_served() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a.json"), document("a.example")).unwrap();
        let first = read(&mut client(dir.path(), Published::default())).await;
        let mut served = Published::default();
        served.table.upsert(AppRecord::copy_of(first.apps.get("a").unwrap())).unwrap();
        let second = read(&mut client(dir.path(), served)).await;
        assert_eq!((rev(&second, "a"), second.digest), (rev(&first, "a"), first.digest));
    }

    #[tokio::test]
    async fn generations_grow_over_a_clock_that_went_back() {
        let ahead = Generation(clock::wall().0 + 1_000_000);
        let position = Position { epoch: file_epoch(), generation: ahead };
        assert_eq!(next_generation(Generation(0), Some(&position)).0, ahead.0 + 1);
        let other = Position { epoch: Epoch::new("other").unwrap(), generation: ahead };
        assert!(next_generation(Generation(0), Some(&other)) < ahead, "another epoch's numbers mean nothing here");
        assert!(WallTime(next_generation(ahead, None).0) > WallTime(ahead.0));
    }

    #[tokio::test]
    async fn invalid_documents_are_named_and_the_rest_comes() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a.json"), document("a.example")).unwrap();
        fs::write(dir.path().join("b.json"), r#"{"hosts":[]}"#).unwrap();
        fs::write(dir.path().join("c.json"), r#"{"hosts"#).unwrap();
        let mut client = client(dir.path(), Published::default());
        client.limits.app_bytes = 60;
        fs::write(dir.path().join("d.json"), document(&"d".repeat(60))).unwrap();
        let candidate = read(&mut client).await;
        assert_eq!(candidate.apps.records().map(Record::id).collect::<Vec<_>>(), ["a"]);
        assert_eq!(candidate.apps.invalid().iter().map(|app| app.id.as_str()).collect::<Vec<_>>(), ["b", "c", "d"]);
    }

    #[tokio::test]
    async fn where_no_file_is_whole_there_is_no_candidate() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("all.json"), r#"{"apps":{"#).unwrap();
        let mut client = client(dir.path(), Published::default());
        assert!(matches!(client.read(None).await, Err(FileError::NothingWhole(_))));
        let mut missing = super::tests::client(&dir.path().join("missing"), Published::default());
        assert!(missing.probe().await.is_err());
        assert!(matches!(missing.read(None).await, Err(FileError::Read(_))));
    }
}
