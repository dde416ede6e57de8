//! `Expect` (RFC 9110, 10.1.1): the body is asked of a client that waits for a 100 only once the upstream wants it.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use futures_util::task::AtomicWaker;
use http::{StatusCode, Version};
use tokio::time::{Sleep, sleep};

use crate::message::{Fields, names};

/// How long an upstream is waited for before the body is sent without its word. Many servers never send a 100, and
/// RFC 9110 forbids to wait for ever; curl waits as long (CURLOPT_EXPECT_100_TIMEOUT_MS).
const PATIENCE: Duration = Duration::from_secs(1);

/// What a client expects before it sends the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expectation {
    /// Nothing.
    None,
    /// A 100, or the answer.
    Continue,
    /// What this gateway does not know, and so cannot promise.
    Unknown,
}

impl Expectation {
    /// Reads it from a request's head. HTTP/1.0 knows of none: there the field is taken out, as the upstream is spoken
    /// to in HTTP/1.1.
    pub(crate) fn take(fields: &mut Fields, version: Version) -> Self {
        if version < Version::HTTP_11 {
            fields.remove(names::EXPECT);
            return Self::None;
        }
        let mut all = fields.all(names::EXPECT);
        match (all.next(), all.next()) {
            (None, _) => Self::None,
            (Some(one), None) if one.eq_ignore_ascii_case(b"100-continue") => Self::Continue,
            _ => Self::Unknown,
        }
    }
}

/// Holds a body back until the upstream has said 100, or said nothing for a second.
#[derive(Debug)]
pub(crate) struct Gate {
    word: Arc<Word>,
    patience: Pin<Box<Sleep>>,
    open: bool,
}

/// The upstream's word, and who waits for it.
#[derive(Debug, Default)]
struct Word {
    given: AtomicBool,
    waker: AtomicWaker,
}

impl Gate {
    /// A shut gate, whose patience begins now.
    pub(crate) fn new() -> Self {
        Self { word: Arc::default(), patience: Box::pin(sleep(PATIENCE)), open: false }
    }

    /// Opens the gate if the upstream says 100.
    pub(crate) fn hears(&self, informational: StatusCode) {
        if informational == StatusCode::CONTINUE {
            self.word.given.store(true, Ordering::Release);
            self.word.waker.wake();
        }
    }

    /// Ready once the body may be asked for.
    pub(crate) fn poll_open(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.open {
            return Poll::Ready(());
        }
        self.word.waker.register(cx.waker());
        self.open = self.word.given.load(Ordering::Acquire) || self.patience.as_mut().poll(cx).is_ready();
        if self.open { Poll::Ready(()) } else { Poll::Pending }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    #[test]
    fn only_one_expectation_is_known() {
        let taken = |values: &[&str], version| {
            let mut fields = values.iter().map(|value| ("expect", *value)).collect();
            (Expectation::take(&mut fields, version), fields.len())
        };
        assert_eq!(taken(&[], Version::HTTP_11), (Expectation::None, 0));
        assert_eq!(taken(&["100-Continue"], Version::HTTP_11), (Expectation::Continue, 1));
        assert_eq!(taken(&["100-continue"], Version::HTTP_10), (Expectation::None, 0));
        for values in [&["wonders"][..], &["100-continue, wonders"], &["100-continue", "100-continue"], &[""]] {
            assert_eq!(taken(values, Version::HTTP_11).0, Expectation::Unknown, "{values:?}");
        }
    }

    async fn opened(gate: &mut Gate) -> Duration {
        let start = Instant::now();
        std::future::poll_fn(|cx| gate.poll_open(cx)).await;
        start.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn it_opens_at_the_upstream_s_word_and_stays_open() {
        let mut gate = Gate::new();
        let word = Arc::clone(&gate.word);
        let speaking = async {
            sleep(PATIENCE / 2).await;
            word.given.store(true, Ordering::Release);
            word.waker.wake();
        };
        let (waited, ()) = tokio::join!(opened(&mut gate), speaking);
        assert_eq!(waited, PATIENCE / 2);
        assert_eq!(opened(&mut gate).await, Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn it_opens_by_itself_when_the_upstream_says_nothing() {
        assert_eq!(opened(&mut Gate::new()).await, PATIENCE);
    }
}
