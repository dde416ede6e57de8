//! The log's level: the configuration's, or another one for a while because an operator asked for it.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;

use crate::{
    admin,
    config::{Config, LogConfig},
    telemetry::logging::{Log, LogError},
};

/// The process's log and who decides its level. Clones share it.
#[derive(Clone)]
pub(super) struct Levels {
    log: Log,
    config: Arc<ArcSwap<Config>>,
    until: Arc<Mutex<Option<Instant>>>,
}

impl Levels {
    /// `log` as `config` has it.
    pub(super) fn new(log: Log, config: Arc<ArcSwap<Config>>) -> Self {
        Self { log, config, until: Arc::default() }
    }

    /// For the admin API.
    pub(super) fn for_admin(&self) -> admin::LogLevel {
        let levels = self.clone();
        admin::LogLevel(Arc::new(move |level, duration| levels.set(level, duration).map_err(|error| describe(&error))))
    }

    /// Puts the configured level back once the time is over.
    pub(super) fn tick(&self) {
        if self.until().is_some_and(|until| until <= Instant::now()) {
            self.configured();
        }
    }

    /// Puts level and format to what is configured now.
    pub(super) fn configured(&self) {
        *self.until() = None;
        if let Err(error) = self.log.change(&self.config.load().log) {
            tracing::error!(%error, "the log's level stays as it is");
        }
    }

    /// Waits a moment until every line so far is written.
    pub(super) fn flush(&self) {
        self.log.flush();
    }

    fn set(&self, level: &str, duration: Duration) -> Result<(), LogError> {
        let config = self.config.load();
        self.log.change(&LogConfig { level: level.to_owned(), ..config.log.clone() })?;
        *self.until() = Some(Instant::now() + duration);
        tracing::warn!(level, seconds = duration.as_secs(), "the log has another level for a while");
        Ok(())
    }

    fn until(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        self.until.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn describe(error: &LogError) -> String {
    std::error::Error::source(error).map_or_else(|| error.to_string(), |source| format!("{error}: {source}"))
}
