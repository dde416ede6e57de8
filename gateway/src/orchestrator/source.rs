//! A file or folder of app documents, watched and read without holding up the thread that asks.
//!
//! One job is under way at a time, each with a deadline: a file system that hangs (NFS) makes the source slow, and
//! nothing else.

use std::{path::PathBuf, time::Duration};

use routing_cache::limits::Limits;
use tokio::{sync::oneshot, task::JoinHandle, time::timeout};

use super::{
    folder::{Folder, ReadError, Reading},
    watch::Watch,
};

/// How long a look at the path may take: as long as a readiness poll.
const PROBE_DEADLINE: Duration = Duration::from_secs(5);
/// How long reading everything may take: 100,000 files take 2 s from a warm cache and 20 s from a slow disk.
const READ_DEADLINE: Duration = Duration::from_secs(120);

/// The asynchronous side of a [`Folder`] and its watch.
#[derive(Debug)]
pub struct Source {
    path: PathBuf,
    limits: Limits,
    /// `None` while a job has it.
    folder: Option<Folder>,
    job: Option<JoinHandle<Folder>>,
    watch: Watch,
}

impl Source {
    /// The file or folder at `path`. Nothing is read or watched yet.
    #[must_use]
    pub fn new(path: PathBuf, limits: Limits) -> Self {
        let folder = Some(Folder::new(path.clone(), limits));
        Self { watch: Watch::new(path.clone()), path, limits, folder, job: None }
    }

    /// Returns when something may have changed since the last read.
    ///
    /// # Cancel safety
    /// Safe: a change is reported by the next call.
    pub async fn changed(&mut self) {
        self.watch.changed().await;
    }

    /// Whether it can be read now; cheap.
    ///
    /// # Errors
    /// When it is not there, may not be read, or the file system does not answer.
    ///
    /// # Cancel safety
    /// Safe: the job goes on by itself, and the next one waits for it.
    pub async fn probe(&mut self) -> Result<(), ReadError> {
        self.run(PROBE_DEADLINE, |folder| folder.probe()).await?
    }

    /// Reads everything.
    ///
    /// # Errors
    /// When nothing could be read at all.
    ///
    /// # Cancel safety
    /// As [`Source::probe`].
    pub async fn read(&mut self) -> Result<Reading, ReadError> {
        // Watched first and read then: what changes in between is seen twice, and never missed. Each time, since the
        // folder may be another one by now.
        self.watch.arm();
        self.run(READ_DEADLINE, Folder::read).await?
    }

    async fn run<T: Send + 'static>(
        &mut self,
        deadline: Duration,
        work: impl FnOnce(&mut Folder) -> T + Send + 'static,
    ) -> Result<T, ReadError> {
        let mut folder = timeout(deadline, self.idle()).await.map_err(|_| ReadError::Slow)?;
        let (done, result) = oneshot::channel();
        self.job = Some(tokio::task::spawn_blocking(move || {
            let made = work(&mut folder);
            // ignored: nobody waits for a job that was given up
            let _ = done.send(made);
            folder
        }));
        match timeout(deadline, result).await {
            Ok(Ok(made)) => Ok(made),
            Ok(Err(_)) | Err(_) => Err(ReadError::Slow),
        }
    }

    /// The folder, once the job before has ended. One that panicked has lost it: then everything is read anew.
    async fn idle(&mut self) -> Folder {
        if let Some(folder) = self.folder.take() {
            return folder;
        }
        let Some(job) = self.job.as_mut() else { return self.anew() };
        let folder = job.await;
        self.job = None;
        folder.unwrap_or_else(|_| self.anew())
    }

    fn anew(&self) -> Folder {
        Folder::new(self.path.clone(), self.limits)
    }
}
