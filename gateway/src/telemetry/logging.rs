//! The log: what the gateway does and decides, to standard error, as JSON or text.

use std::{io, sync::Arc, time::Duration};

use metrics::counter;
use tracing::Dispatch;
use tracing_subscriber::{
    EnvFilter, Layer, Registry, filter,
    fmt::{self, MakeWriter},
    layer::{Layered, SubscriberExt},
    reload,
};

use super::{
    lines::{Counters, Lines},
    names,
    target::Target,
};
use crate::config::{self, LogConfig, LogFormat};

/// How long the last lines may take at the end of the process.
const FLUSH_LIMIT: Duration = Duration::from_secs(if cfg!(test) { 20 } else { 1 });

/// Why the log cannot start or change.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// There can be no further thread.
    #[error("the log's thread cannot start")]
    Thread(#[from] io::Error),
    /// The level is no filter; a checked configuration has none such.
    #[error("the log's level cannot be read")]
    Level(#[from] filter::ParseError),
    /// It would be read as the name of a target, and leave out everything else.
    #[error("give error, warn, info, debug, trace or off, or a list such as info,gateway::proxy=debug")]
    NoLevel,
    /// The process has a log already.
    #[error("the process has a log already")]
    Twice,
}

type Format = Box<dyn Layer<Registry> + Send + Sync>;
type Formatted = Layered<reload::Layer<Format, Registry>, Registry>;

/// The running log. When the last of its clones is dropped, the last lines are written.
#[derive(Clone, Debug)]
pub struct Log(Arc<Inner>);

struct Inner {
    lines: Lines<Vec<u8>>,
    format: reload::Handle<Format, Registry>,
    filter: reload::Handle<EnvFilter, Formatted>,
}

/// Starts the log of this process. A line is written by a thread of its own, so that a standard error nobody reads holds
/// nothing up; hold what is returned until the end of the process, or the last lines may be missing.
///
/// # Errors
/// When there is a log already, or no thread for it.
pub fn init(config: &LogConfig) -> Result<Log, LogError> {
    let (log, dispatch) = build(config, Target::Stderr)?;
    tracing::dispatcher::set_global_default(dispatch).map_err(|_| LogError::Twice)?;
    Ok(log)
}

fn build(config: &LogConfig, target: Target) -> Result<(Log, Dispatch), LogError> {
    let counters = Counters { dropped: counter!(names::LOG_DROPPED), errors: counter!(names::LOG_ERRORS) };
    let copy = |line: &Vec<u8>, out: &mut Vec<u8>| out.extend_from_slice(line);
    let lines = Lines::start("log", target, counters, copy)?;
    let (format_layer, format) = reload::Layer::new(form(&lines, config.format));
    let (filter_layer, filter) = reload::Layer::new(EnvFilter::try_new(&config.level)?);
    let subscriber = tracing_subscriber::registry().with(format_layer).with(filter_layer);
    Ok((Log(Arc::new(Inner { lines, format, filter })), Dispatch::new(subscriber)))
}

impl Log {
    /// Changes level and format, as a reload or the admin API asks for it.
    ///
    /// # Errors
    /// When the level is no filter; the log stays as it was.
    pub fn change(&self, config: &LogConfig) -> Result<(), LogError> {
        if !config::is_level(&config.level) {
            return Err(LogError::NoLevel);
        }
        let filter = EnvFilter::try_new(&config.level)?;
        // ignored, both: the subscriber lives as long as the process
        let _ = self.0.filter.reload(filter);
        let _ = self.0.format.reload(form(&self.0.lines, config.format));
        Ok(())
    }

    /// Waits, a second at most, until every line so far is written.
    pub fn flush(&self) {
        self.0.lines.flush(FLUSH_LIMIT);
    }
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Log").finish_non_exhaustive()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.lines.flush(FLUSH_LIMIT);
    }
}

fn form(lines: &Lines<Vec<u8>>, format: LogFormat) -> Format {
    let layer = fmt::layer().with_writer(Feed(lines.clone())).log_internal_errors(false);
    match format {
        LogFormat::Json => layer.json().flatten_event(true).with_span_list(false).boxed(),
        LogFormat::Text => layer.with_ansi(false).boxed(),
    }
}

/// Hands each formatted line to the thread.
struct Feed(Lines<Vec<u8>>);

impl<'a> MakeWriter<'a> for Feed {
    type Writer = &'a Self;

    fn make_writer(&'a self) -> Self::Writer {
        self
    }
}

impl io::Write for &Feed {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.push(line.to_vec());
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(level: &str, format: LogFormat) -> LogConfig {
        LogConfig { level: level.to_owned(), format, access: crate::config::AccessLogTarget::Off }
    }

    #[test]
    fn level_and_format_change_while_it_runs() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("log");
        let (log, dispatch) = build(&config("info", LogFormat::Json), Target::file(&file)).unwrap();
        tracing::dispatcher::with_default(&dispatch, || {
            tracing::info!(app = "shop", "one");
            tracing::debug!("unseen");
            log.change(&config("warn,gateway::telemetry=debug", LogFormat::Text)).unwrap();
            tracing::debug!(app = "shop", "two");
            tracing::info!(target: "elsewhere", "unseen");
            assert!(log.change(&config("a=b=c", LogFormat::Json)).is_err());
            assert!(log.change(&config("inof", LogFormat::Json)).is_err(), "a mistyped level is no target's name");
            tracing::info!("three");
        });
        log.flush();
        let text = std::fs::read_to_string(&file).unwrap();
        let lines: Vec<_> = text.lines().collect();
        let first: serde_json::Value = serde_json::from_str(lines[0]).unwrap();
        assert_eq!(
            (first["message"].as_str(), first["app"].as_str(), first["level"].as_str()),
            (Some("one"), Some("shop"), Some("INFO"))
        );
        assert!(lines[1].contains("DEBUG gateway::telemetry::logging::tests: two app=\"shop\""), "{text}");
        assert!(lines[2].ends_with("three"), "{text}");
        assert_eq!(lines.len(), 3, "{text}");
    }
}
