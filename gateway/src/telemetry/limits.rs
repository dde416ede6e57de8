//! How much of a limit of `[limits]` is used: a gauge, a warning from 90 % on, and a word when that is over.

use metrics::gauge;
use tracing::{info, warn};

use super::names::{LIMIT_LABEL, TABLE_LIMIT_RATIO};

/// From here on a limit is warned of. Source: spec/orchestrator-api.md, rule 10.
const WARN_AT: f64 = 0.9;

/// Remembers which limits were warned of.
#[derive(Clone, Debug, Default)]
pub struct LimitWatch(Vec<&'static str>);

/// A limit and what is used of it.
#[derive(Clone, Copy, Debug)]
pub struct Usage<'a> {
    /// One of [`super::names::TABLE_LIMITS`].
    pub limit: &'static str,
    /// What is used.
    pub used: u64,
    /// What may be.
    pub of: u64,
    /// What uses it, for the warning; may be empty.
    pub by: &'a str,
}

impl LimitWatch {
    /// Shows it, and warns once while it is near.
    pub fn show(&mut self, usage: Usage<'_>) {
        let Usage { limit, used, of, by } = usage;
        let ratio = ratio(used, of);
        gauge!(TABLE_LIMIT_RATIO, LIMIT_LABEL => limit).set(ratio);
        let warned = self.0.contains(&limit);
        if ratio >= WARN_AT && !warned {
            self.0.push(limit);
            warn!(limit, used, of, by, "a limit is nearly reached");
        } else if ratio < WARN_AT && warned {
            self.0.retain(|other| *other != limit);
            info!(limit, used, of, "a limit is no longer near");
        }
    }
}

/// A limit of 0 counts as 1.
#[expect(clippy::cast_precision_loss, reason = "a ratio needs no more than 52 bits")]
fn ratio(used: u64, of: u64) -> f64 {
    used as f64 / of.max(1) as f64
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        sync::{Arc, Mutex},
    };

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_limit_is_warned_of_once_and_again_after_it_was_far() {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
        tracing::subscriber::with_default(subscriber, || {
            let mut watch = LimitWatch::default();
            for used in [89, 90, 95, 120, 89, 10, 91] {
                watch.show(Usage { limit: "app_bytes", used, of: 100, by: "shop" });
            }
        });
        let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        let count = |part: &str| text.lines().filter(|line| line.contains(part)).count();
        assert_eq!(
            (count("WARN"), count("nearly reached limit=\"app_bytes\" used=9"), count("no longer near")),
            (2, 2, 1),
            "{text}"
        );
        assert!(text.contains("by=\"shop\""), "{text}");
    }
}
