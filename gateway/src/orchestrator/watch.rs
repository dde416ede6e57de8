//! Notices that a file or folder may have changed.
//!
//! inotify on the folder and on the folder around it: editors and deployments replace by renaming, so watching a
//! file's inode would see the old one for ever; a Kubernetes ConfigMap swaps a `..data` link beside the files. Events
//! may be lost and some file systems send none, so [`RESCAN_EVERY`] passes for an event too. It never says what has
//! changed: the reader finds out.

use std::{
    collections::HashMap,
    ffi::{OsStr, OsString},
    io,
    path::{Path, PathBuf},
    pin::pin,
    time::Duration,
};

use futures_util::StreamExt;
use inotify::{EventOwned, EventStream, Inotify, WatchDescriptor, WatchMask};
use tokio::time::{Instant, timeout_at};

/// How long nothing must happen before a change is reported: one save is several events.
const QUIET: Duration = Duration::from_millis(100);
/// A change is reported after this also when events keep coming.
const QUIET_AT_MOST: Duration = Duration::from_secs(1);
/// A change that sent no event is found after so long: network file systems, links to elsewhere.
const RESCAN_EVERY: Duration = Duration::from_secs(60);
/// The same while there is no inotify to be had (its instances and watches are limited), or no folder to watch.
const RESCAN_EVERY_UNWATCHED: Duration = Duration::from_secs(2);
/// Room for events read at once; one has at most 16 + 256 bytes (inotify(7)).
const BUFFER_BYTES: usize = 4096;

/// When an event is reported.
#[derive(Clone, Copy, Debug)]
struct Pending {
    /// At this time, when no other comes before.
    quiet: Instant,
    /// At this time all the same.
    latest: Instant,
}

/// Watches one path, existing or not.
#[derive(Debug)]
pub(super) struct Watch {
    path: PathBuf,
    events: Option<EventStream<Vec<u8>>>,
    /// The folders watched, with the names that matter in each; all where there is no list.
    watched: HashMap<WatchDescriptor, Option<Vec<OsString>>>,
    /// An event has come that was not reported yet: kept here so that a dropped [`Watch::changed`] loses none, and
    /// does not begin to wait for quiet anew.
    pending: Option<Pending>,
    /// When it passes for changed without an event.
    rescan_at: Option<Instant>,
    told: bool,
}

impl Watch {
    /// Watches `path` from the first call of [`Watch::changed`] on.
    #[must_use]
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, events: None, watched: HashMap::new(), pending: None, rescan_at: None, told: false }
    }

    /// Sets the watches. What changes after it has returned is reported. It is called by [`Watch::changed`] as well.
    pub(super) fn arm(&mut self) {
        if let Err(error) = self.try_arm() {
            self.events = None;
            self.watched.clear();
            if !std::mem::replace(&mut self.told, true) {
                tracing::warn!(path = %self.path.display(), %error, "cannot be watched; looking every 2 s instead");
            }
        }
    }

    /// Returns when it may have changed.
    ///
    /// # Cancel safety
    /// Safe: an event that came is reported by the next call.
    pub(super) async fn changed(&mut self) {
        loop {
            let Some(pending) = self.pending else {
                self.arm();
                self.wait().await;
                continue;
            };
            let now = Instant::now();
            if now >= pending.quiet.min(pending.latest) {
                self.pending = None;
                self.rescan_at = None;
                return;
            }
            // ignored: quiet is what it waits for
            let _ = timeout_at(pending.quiet.min(pending.latest), self.event()).await;
        }
    }

    /// Waits for an event, or for the time of the next rescan.
    async fn wait(&mut self) {
        let rescan = if self.watched.is_empty() { RESCAN_EVERY_UNWATCHED } else { RESCAN_EVERY };
        let latest = Instant::now() + rescan;
        let at = latest.min(*self.rescan_at.get_or_insert(latest));
        if timeout_at(at, self.event()).await.is_err() {
            self.pending = Some(Pending { quiet: at, latest: at });
        }
    }

    /// The next event that matters; never returns where nothing is watched.
    async fn event(&mut self) {
        loop {
            let Some(events) = self.events.as_mut() else { return std::future::pending().await };
            match pin!(events).next().await {
                Some(Ok(event)) if !self.matters(&event) => {}
                Some(Ok(_)) => {
                    self.note();
                    return;
                }
                Some(Err(_)) | None => {
                    self.events = None;
                    self.watched.clear();
                }
            }
        }
    }

    fn note(&mut self) {
        let now = Instant::now();
        let latest = self.pending.map_or(now + QUIET_AT_MOST, |pending| pending.latest);
        self.pending = Some(Pending { quiet: now + QUIET, latest });
    }

    /// An event of a watch that is not known here is one that the kernel makes when its queue overflows.
    fn matters(&self, event: &EventOwned) -> bool {
        let (Some(names), Some(name)) = (self.watched.get(&event.wd), &event.name) else { return true };
        let listed = names.as_ref().map(|names| names.contains(name));
        // Hidden files are no documents; what begins with two dots is a ConfigMap's machinery.
        let hidden = name.as_encoded_bytes().starts_with(b".");
        listed.unwrap_or(!hidden) || name.as_encoded_bytes().starts_with(b"..")
    }

    fn try_arm(&mut self) -> io::Result<()> {
        let events = match self.events.take() {
            Some(events) => events,
            None => Inotify::init()?.into_event_stream(vec![0; BUFFER_BYTES])?,
        };
        let mut watches = events.watches();
        self.events = Some(events);
        let mut watched = HashMap::new();
        for (folder, names) in folders(&self.path) {
            // A folder that is not there is noticed when the one around it changes, or by the rescan.
            if let Some(descriptor) = absent_is_none(watches.add(folder, mask()))? {
                merge(&mut watched, descriptor, names);
            }
        }
        for gone in self.watched.keys().filter(|old| !watched.contains_key(*old)) {
            // ignored: the kernel drops the watch of a removed folder by itself
            let _ = watches.remove(gone.clone());
        }
        self.watched = watched;
        self.told = false;
        Ok(())
    }
}

fn absent_is_none(added: io::Result<WatchDescriptor>) -> io::Result<Option<WatchDescriptor>> {
    match added {
        Ok(descriptor) => Ok(Some(descriptor)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied) => Ok(None),
        Err(error) => Err(error),
    }
}

/// One folder may be watched for two reasons: its names add up.
fn merge(
    watched: &mut HashMap<WatchDescriptor, Option<Vec<OsString>>>,
    descriptor: WatchDescriptor,
    names: Option<Vec<OsString>>,
) {
    watched
        .entry(descriptor)
        .and_modify(|before| match (before.as_mut(), &names) {
            (Some(before), Some(names)) => before.extend(names.iter().cloned()),
            _ => *before = None,
        })
        .or_insert(names);
}

/// What to watch for `path`: the folder that holds its name, and the folder that it is, or that its target is in.
fn folders(path: &Path) -> Vec<(PathBuf, Option<Vec<OsString>>)> {
    let mut folders = Vec::new();
    if let Some(name) = path.file_name() {
        folders.push((parent(path), Some(vec![name.to_owned()])));
    }
    if path.is_dir() {
        folders.push((path.to_owned(), None));
    } else if let Ok(target) = path.canonicalize() {
        let name = target.file_name().map(OsStr::to_owned);
        folders.push((parent(&target), Some(name.into_iter().collect())));
    }
    folders
}

fn parent(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

fn mask() -> WatchMask {
    WatchMask::CREATE
        | WatchMask::CLOSE_WRITE
        | WatchMask::MOVED_FROM
        | WatchMask::MOVED_TO
        | WatchMask::DELETE
        | WatchMask::ATTRIB
        | WatchMask::DELETE_SELF
        | WatchMask::MOVE_SELF
        | WatchMask::ONLYDIR
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tokio::time::timeout;

    use super::*;

    /// Runs `change` once `path` is watched; panics unless it is noticed before the slow rescan would.
    async fn noticed(path: PathBuf, change: impl FnOnce()) {
        let mut watch = Watch::new(path);
        watch.arm();
        change();
        timeout(RESCAN_EVERY / 2, watch.event()).await.expect("the change was not noticed");
    }

    #[tokio::test]
    async fn a_file_written_in_the_folder_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("blog.json");
        noticed(dir.path().to_owned(), || fs::write(file, "{}").unwrap()).await;
    }

    #[tokio::test]
    async fn a_single_file_replaced_by_rename_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let (file, new) = (dir.path().join("apps.json"), dir.path().join("x"));
        fs::write(&file, "{}").unwrap();
        fs::write(&new, "{}").unwrap();
        noticed(file.clone(), || fs::rename(new, file).unwrap()).await;
    }

    #[tokio::test]
    async fn a_config_map_swap_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for version in ["..v1", "..v2"] {
            fs::create_dir(at(version)).unwrap();
            fs::write(at(version).join("blog.json"), version).unwrap();
        }
        std::os::unix::fs::symlink("..v1", at("..data")).unwrap();
        std::os::unix::fs::symlink("..data/blog.json", at("blog.json")).unwrap();
        std::os::unix::fs::symlink("..v2", at("..data_tmp")).unwrap();
        noticed(at("blog.json"), || fs::rename(at("..data_tmp"), at("..data")).unwrap()).await;
    }

    #[tokio::test]
    async fn a_folder_that_appears_or_is_swapped_for_another_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let (apps, v1, v2) = (dir.path().join("apps.d"), dir.path().join("v1"), dir.path().join("v2"));
        noticed(apps.clone(), || fs::create_dir(&v1).and_then(|()| std::os::unix::fs::symlink(&v1, &apps)).unwrap())
            .await;
        fs::create_dir(&v2).unwrap();
        let mut watch = Watch::new(apps.clone());
        watch.arm();
        fs::remove_file(&apps).unwrap();
        std::os::unix::fs::symlink(&v2, &apps).unwrap();
        timeout(RESCAN_EVERY / 2, watch.changed()).await.expect("the swap was not noticed");
        watch.arm();
        fs::write(v2.join("blog.json"), "{}").unwrap();
        timeout(RESCAN_EVERY / 2, watch.event()).await.expect("the new folder is not watched");
    }

    #[tokio::test]
    async fn a_change_is_reported_to_those_who_ask_for_moments_only() {
        let dir = tempfile::tempdir().unwrap();
        let mut watch = Watch::new(dir.path().to_owned());
        watch.arm();
        fs::write(dir.path().join("blog.json"), "{}").unwrap();
        let moments = async { while timeout(QUIET / 3, watch.changed()).await.is_err() {} };
        timeout(RESCAN_EVERY / 2, moments).await.expect("asked for moments it never reports");
    }

    #[tokio::test]
    async fn other_files_beside_a_single_file_do_not_matter() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("apps.json");
        fs::write(&file, "{}").unwrap();
        let mut watch = Watch::new(file.clone());
        watch.arm();
        fs::write(dir.path().join("other"), "x").unwrap();
        fs::write(&file, "{ }").unwrap();
        let events = watch.events.as_mut().unwrap();
        let first = events.next().await.unwrap().unwrap();
        assert_eq!(first.name.as_deref(), Some(OsStr::new("other")));
        assert!(!watch.matters(&first));
    }
}
