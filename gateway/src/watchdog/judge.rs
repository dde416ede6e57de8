//! From what was seen to a verdict: a state machine over time, and nothing else.

use std::{fmt, time::Duration};

use super::pace::Pace;

/// What is judged, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Subject {
    /// A worker.
    Worker(usize),
    /// A listener.
    Listener(usize),
}

/// Why something hangs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// A worker's heartbeat is old.
    NoProgress,
    /// Nobody answered in time.
    NoAnswer,
    /// Nobody listens.
    Refused,
    /// The connection was closed without an answer.
    Broken,
}

/// Why a probe says nothing about the listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doubt {
    /// This machine gave no socket, address or memory for it.
    NoSocket,
    /// Another process has answered, which shares the socket: a successor that begins.
    Elsewhere,
}

/// What became of a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Probed {
    /// It came back.
    Back,
    /// It did not.
    Silent(Why),
    /// It could not be asked.
    Unknown(Doubt),
}

/// What one look has seen.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sight<'a> {
    /// When it ended.
    pub(super) now: Duration,
    /// When each worker made progress last; `None` once it has drained.
    pub(super) workers: &'a [Option<Duration>],
    /// What became of each listener's probe, and when it began.
    pub(super) listeners: &'a [(Duration, Probed)],
    /// The listeners close, and were not asked or need not have answered.
    pub(super) draining: bool,
}

/// Something that hangs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// What.
    pub(super) subject: Subject,
    /// Why.
    pub(super) why: Why,
    /// Since when.
    pub(super) since: Duration,
}

/// All that hangs, and what could not be asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) faults: Vec<Fault>,
    /// By the number of the listener.
    pub(super) doubts: Vec<(usize, Doubt)>,
    /// Since when the admin thread makes no progress.
    pub(super) admin: Option<Duration>,
}

/// What is remembered from one look to the next.
#[derive(Debug)]
pub(super) struct Judge {
    pace: Pace,
    /// Each listener's first probe in vain since the last good one, and how many there were.
    silent: Vec<Option<Silence>>,
    /// Since when this process runs without a break.
    awake_since: Duration,
}

#[derive(Clone, Copy, Debug)]
struct Silence {
    since: Duration,
    probes: u32,
}

/// What follows from one look.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Judgement {
    /// Everything was well just now.
    pub(super) well: bool,
    pub(super) verdict: Verdict,
}

impl Judge {
    /// Nothing was seen yet.
    pub(super) fn new(pace: Pace, listeners: usize, now: Duration) -> Self {
        Self { pace, silent: vec![None; listeners], awake_since: now }
    }

    /// The whole process has stood still until `now` (SIGSTOP, a frozen machine, no processor): what is old for that reason is
    /// given time to catch up.
    pub(super) fn stood_still(&mut self, now: Duration) {
        self.awake_since = now;
    }

    /// Judges what was seen.
    pub(super) fn judge(&mut self, sight: Sight<'_>) -> Judgement {
        let (mut well, mut verdict) = (true, Verdict::default());
        for (number, last) in sight.workers.iter().enumerate() {
            let Some(last) = *last else { continue };
            well &= sight.now.saturating_sub(last) <= self.pace.fresh;
            let since = last.max(self.awake_since);
            if sight.now.saturating_sub(since) > self.pace.hung_after {
                verdict.faults.push(Fault { subject: Subject::Worker(number), why: Why::NoProgress, since });
            }
        }
        if sight.draining {
            self.silent.fill(None);
            return Judgement { well, verdict };
        }
        for (number, (began, probed)) in sight.listeners.iter().enumerate() {
            match *probed {
                Probed::Back => self.answered(number),
                Probed::Unknown(doubt) => {
                    self.answered(number);
                    verdict.doubts.push((number, doubt));
                }
                Probed::Silent(why) => {
                    well = false;
                    let silence = self.silent(number, *began);
                    if silence.probes > 1 && sight.now.saturating_sub(silence.since) >= self.pace.hung_after {
                        let since = silence.since;
                        verdict.faults.push(Fault { subject: Subject::Listener(number), why, since });
                    }
                }
            }
        }
        Judgement { well, verdict }
    }

    fn answered(&mut self, number: usize) {
        if let Some(silence) = self.silent.get_mut(number) {
            *silence = None;
        }
    }

    fn silent(&mut self, number: usize, began: Duration) -> Silence {
        let first = Silence { since: began, probes: 0 };
        let Some(silence) = self.silent.get_mut(number) else { return first };
        let before = silence.unwrap_or(first);
        *silence.insert(Silence { probes: before.probes.saturating_add(1), ..before })
    }
}

impl Verdict {
    /// True when nothing hangs.
    pub(super) fn is_good(&self) -> bool {
        self.faults.is_empty()
    }
}

impl Why {
    /// For people.
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::NoProgress => "no progress",
            Self::NoAnswer => "no answer in time",
            Self::Refused => "nobody listens there",
            Self::Broken => "the connection is closed without an answer",
        }
    }
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoSocket => "it cannot be asked, for want of a socket or an address",
            Self::Elsewhere => "another process has answered",
        })
    }
}

#[cfg(test)]
mod tests;
