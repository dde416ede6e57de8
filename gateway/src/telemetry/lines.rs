//! A thread that writes lines, fed by a bounded queue. Whoever feeds it never waits: what does not fit is dropped and
//! counted.

use std::{
    io,
    sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel},
    thread,
    time::{Duration, Instant},
};

use metrics::Counter;

use super::target::Target;

/// How many lines may wait: at 20 ms between two looks this is 200,000 lines a second.
pub(super) const QUEUE_LINES: usize = 4096;
/// After a batch the thread sleeps so long. Whoever feeds it meanwhile needs no system call to wake it.
const BATCH_PAUSE: Duration = Duration::from_millis(20);
/// The most bytes that one write takes, but for the last line's.
const BATCH_BYTES: usize = 64 << 10;
/// How often the target is looked at while there is nothing to write.
const CHECK_EVERY: Duration = Duration::from_secs(1);
/// How often a full queue is tried again by a flush.
const FLUSH_RETRY: Duration = Duration::from_millis(5);

/// What is counted.
#[derive(Clone, Debug)]
pub(super) struct Counters {
    /// Lines that were lost.
    pub(super) dropped: Counter,
    /// Writes that failed.
    pub(super) errors: Counter,
}

/// Feeds the thread. Clones feed the same; the thread ends when all are dropped.
#[derive(Debug)]
pub(super) struct Lines<T> {
    queue: SyncSender<Item<T>>,
    counters: Counters,
}

#[derive(Debug)]
enum Item<T> {
    Line(T),
    Target(Target),
    /// Answered once everything before it is written.
    Flush(SyncSender<()>),
}

impl<T> Clone for Lines<T> {
    fn clone(&self) -> Self {
        Self { queue: self.queue.clone(), counters: self.counters.clone() }
    }
}

impl<T: Send + 'static> Lines<T> {
    /// Starts the thread `name`; `format` appends an item's line, with its end.
    ///
    /// # Errors
    /// When there can be no further thread.
    pub(super) fn start(
        name: &'static str,
        target: Target,
        counters: Counters,
        format: impl Fn(&T, &mut Vec<u8>) + Send + 'static,
    ) -> io::Result<Self> {
        let (queue, items) = sync_channel(QUEUE_LINES);
        let written = counters.clone();
        let writer = move || {
            Writer { name, target, counters: written, failing: false, checked: Instant::now() }.run(&items, &format)
        };
        thread::Builder::new().name(name.to_owned()).spawn(writer)?;
        Ok(Self { queue, counters })
    }

    /// Hands over a line, or drops it.
    pub(super) fn push(&self, line: T) {
        if self.queue.try_send(Item::Line(line)).is_err() {
            self.counters.dropped.increment(1);
        }
    }

    /// Lines after this one go to `target`. Waits for the queue no longer than `limit`; false when that was too short.
    pub(super) fn change(&self, target: Target, limit: Duration) -> bool {
        self.send(Item::Target(target), Instant::now() + limit)
    }

    /// Waits until everything handed over is written, but no longer than `limit`; false when that was too short.
    pub(super) fn flush(&self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        let (done, written) = sync_channel(1);
        let left = |deadline: Instant| deadline.saturating_duration_since(Instant::now());
        self.send(Item::Flush(done), deadline) && written.recv_timeout(left(deadline)).is_ok()
    }

    fn send(&self, mut item: Item<T>, deadline: Instant) -> bool {
        loop {
            item = match self.queue.try_send(item) {
                Ok(()) => return true,
                Err(TrySendError::Full(item)) if Instant::now() < deadline => item,
                Err(_) => return false,
            };
            thread::sleep(FLUSH_RETRY);
        }
    }
}

/// What the thread has.
struct Writer {
    name: &'static str,
    target: Target,
    counters: Counters,
    failing: bool,
    checked: Instant,
}

impl Writer {
    fn run<T>(&mut self, items: &Receiver<Item<T>>, format: &impl Fn(&T, &mut Vec<u8>)) {
        let mut batch = Batch::default();
        loop {
            match items.recv_timeout(CHECK_EVERY) {
                Ok(item) => self.take(item, &mut batch, format),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            while let Ok(item) = items.try_recv() {
                self.take(item, &mut batch, format);
            }
            self.write(&mut batch);
            self.check();
            thread::sleep(BATCH_PAUSE);
        }
    }

    fn take<T>(&mut self, item: Item<T>, batch: &mut Batch, format: &impl Fn(&T, &mut Vec<u8>)) {
        match item {
            Item::Line(line) => {
                format(&line, &mut batch.bytes);
                batch.lines += 1;
            }
            Item::Target(target) => {
                self.write(batch);
                self.target = target;
            }
            Item::Flush(done) => {
                self.write(batch);
                // ignored: whoever asked has stopped waiting
                let _ = done.try_send(());
            }
        }
        if batch.bytes.len() >= BATCH_BYTES {
            self.write(batch);
        }
    }

    fn write(&mut self, batch: &mut Batch) {
        if batch.lines == 0 {
            return;
        }
        match self.target.write(&batch.bytes) {
            Ok(()) => self.recovered(),
            Err(error) => self.failed(&error, batch.lines),
        }
        batch.bytes.clear();
        batch.lines = 0;
    }

    /// Said once, not for every batch. About the log itself there is nobody to tell.
    fn failed(&mut self, error: &io::Error, lines: u64) {
        self.counters.errors.increment(1);
        self.counters.dropped.increment(lines);
        if !self.failing && !matches!(self.target, Target::Stderr) {
            tracing::warn!(log = self.name, %error, "cannot be written; lines are lost until it can");
        }
        self.failing = true;
    }

    fn recovered(&mut self) {
        if self.failing && !matches!(self.target, Target::Stderr) {
            tracing::info!(log = self.name, "can be written again");
        }
        self.failing = false;
    }

    fn check(&mut self) {
        if self.checked.elapsed() >= CHECK_EVERY {
            self.checked = Instant::now();
            self.target.check();
        }
    }
}

/// Lines that go out in one write.
#[derive(Default)]
struct Batch {
    bytes: Vec<u8>,
    lines: u64,
}

#[cfg(test)]
mod tests;
