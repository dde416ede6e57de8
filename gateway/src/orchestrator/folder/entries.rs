//! Which files there are, and whether one has changed.

use std::{
    fs::{self, File, Metadata},
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::Duration,
};

use routing_cache::model::AppId;

use crate::clock;

/// A file changed less than this ago may change again without another time stamp: the kernel's clock for them ticks
/// every 1 to 10 ms, that of a network file system in up to two seconds.
const SETTLED_AFTER: Duration = Duration::from_secs(2);
const NANOS_PER_MILLI: i128 = 1_000_000;

/// A file of app documents.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) path: PathBuf,
    /// `None`: it was changed too lately to tell by it.
    pub(super) fingerprint: Option<Fingerprint>,
}

/// What changes when a file does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fingerprint {
    device: u64,
    inode: u64,
    size: u64,
    modified: i128,
    changed: i128,
}

/// The files of app documents at `path`, sorted by name. A single file is one whatever its name.
pub(super) fn list(path: &Path) -> io::Result<Vec<Entry>> {
    let metadata = fs::metadata(path)?;
    if !metadata.is_dir() {
        return Ok(vec![Entry { path: path.to_owned(), fingerprint: fingerprint(&metadata) }]);
    }
    let mut entries = Vec::new();
    for entry in fs::read_dir(path)? {
        let path = entry?.path();
        if is_documents(&path) {
            entries.extend(one(path)?);
        }
    }
    entries.sort_unstable_by(|a: &Entry, b| a.path.cmp(&b.path));
    Ok(entries)
}

/// `None` for a folder, and for what was removed or is a dangling link (an editor's lock, say).
fn one(path: PathBuf) -> io::Result<Option<Entry>> {
    match fs::metadata(&path) {
        Ok(metadata) if metadata.is_file() => Ok(Some(Entry { path, fingerprint: fingerprint(&metadata) })),
        Ok(_) => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        // It is there: reading it will say what is wrong.
        Err(_) => Ok(Some(Entry { path, fingerprint: None })),
    }
}

/// `*.json`, but for hidden files and editors' temporary ones.
fn is_documents(path: &Path) -> bool {
    let name = path.file_name().map(|n| n.to_string_lossy()).unwrap_or_default();
    name.ends_with(".json") && !name.starts_with(['.', '#', '~'])
}

fn fingerprint(metadata: &Metadata) -> Option<Fingerprint> {
    let nanos = |seconds: i64, nanos: i64| i128::from(seconds) * 1000 * NANOS_PER_MILLI + i128::from(nanos);
    let print = Fingerprint {
        device: metadata.dev(),
        inode: metadata.ino(),
        size: metadata.size(),
        modified: nanos(metadata.mtime(), metadata.mtime_nsec()),
        changed: nanos(metadata.ctime(), metadata.ctime_nsec()),
    };
    let settled = (i128::from(clock::wall().0) * NANOS_PER_MILLI).saturating_sub_unsigned(SETTLED_AFTER.as_nanos());
    (print.changed < settled && print.modified < settled).then_some(print)
}

impl Entry {
    /// The id of its app, where it holds a bare document.
    pub(super) fn app_id(&self) -> Result<AppId, String> {
        let stem = self.path.file_stem().and_then(|s| s.to_str()).ok_or("its name is not UTF-8")?;
        AppId::new(stem).map_err(|error| format!("its name is no app's id: it {error}"))
    }

    /// Its bytes, when there are no more than `limit`.
    pub(super) fn read(&self, limit: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let read = File::open(&self.path)?.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
        if read as u64 > limit {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("is over {limit} bytes")));
        }
        Ok(bytes)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// The fingerprint that the file would have, had it been written long ago.
    pub(in super::super) fn settled(path: &Path) -> Fingerprint {
        let metadata = fs::metadata(path).unwrap();
        Fingerprint { device: metadata.dev(), inode: metadata.ino(), size: metadata.size(), modified: 0, changed: 0 }
    }
}
