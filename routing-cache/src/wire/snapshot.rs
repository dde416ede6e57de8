//! GET /v1/snapshot: a stream of lines -> a whole, consistent candidate, or why it is none.
//!
//! Bounded while it streams: one line is held unread, and bytes and apps are counted as they come. What has not been
//! seen whole is never given out: without `end`, its count and its digest there is no candidate.
//!
//! Lines that are blank are skipped, wherever they are; any other line that is neither `begin`, an app nor `end` is an
//! error, since a table that is only partly understood is not understood. One document that is not valid is not an
//! error of the snapshot (see [`Batch::invalid`]), nor is one over `app_bytes`; a line over [`Limits::line_bytes`] is.

use super::{Batch, ShrinkOk, WireError, lines::Lines, plain::PlainLine, raw};
use crate::{
    limits::{LimitName, Limits},
    model::{Digest, Epoch, Generation, Rev},
};

/// A whole, consistent snapshot: count and digest were checked.
#[derive(Debug)]
pub struct SnapshotCandidate {
    /// The epoch it is of.
    pub epoch: Epoch,
    /// The table's number.
    pub generation: Generation,
    /// Whether the orchestrator says it is ready; where it does not, this is no table.
    pub ready: bool,
    /// The orchestrator's word that a shrink is meant.
    pub shrink_ok: Option<ShrinkOk>,
    /// All apps, none twice; invalid ones too.
    pub apps: Batch,
    /// The source could not be read whole (a half-written file among others): apps that are not in `apps` stay as they
    /// are, received and served alike, and are never deletes. Always `None` from the decoder; the file client sets it,
    /// with the reason.
    pub partial: Option<String>,
    /// Over what was received.
    pub digest: Digest,
    /// Size of the body in bytes.
    pub bytes: u64,
}

/// Reads a snapshot's body as it comes.
#[derive(Debug)]
pub struct SnapshotDecoder {
    limits: Limits,
    bytes: u64,
    lines: Lines,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// `begin` has not come.
    Start,
    /// Apps come.
    Apps(Body),
    /// `end` has come, and fits.
    Ended(Body),
    /// There was an error; whatever comes now, there is no candidate.
    Failed,
}

#[derive(Debug)]
struct Body {
    epoch: Epoch,
    generation: Generation,
    ready: bool,
    /// How many apps `begin` promises.
    announced: u64,
    shrink_ok: Option<ShrinkOk>,
    apps: Batch,
}

impl SnapshotDecoder {
    /// A decoder for one body.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self { limits, bytes: 0, lines: Lines::new(limits.line_bytes()), stage: Stage::Start }
    }

    /// Reads what came.
    ///
    /// # Errors
    /// When the body cannot become a candidate any more. It stays so: [`Self::finish`] then fails too.
    pub fn push(&mut self, chunk: &[u8]) -> Result<(), WireError> {
        let result = self.read(chunk);
        if result.is_err() {
            self.stage = Stage::Failed;
        }
        result
    }

    /// The candidate, when the body has ended.
    ///
    /// # Errors
    /// When it ended without `end`, or failed before.
    pub fn finish(mut self) -> Result<SnapshotCandidate, WireError> {
        let (number, last) = std::mem::replace(&mut self.lines, Lines::new(0)).last();
        match self.stage.line(&self.limits, number, &last) {
            // A line that is not whole has most likely been cut, and that is the better name for it.
            Err(WireError::Garbage { .. }) => return Err(self.stage.cut_short()),
            result => result?,
        }
        match self.stage {
            Stage::Ended(body) => Ok(body.candidate(self.bytes)),
            stage => Err(stage.cut_short()),
        }
    }

    fn read(&mut self, chunk: &[u8]) -> Result<(), WireError> {
        self.bytes = self.bytes.saturating_add(u64::try_from(chunk.len()).unwrap_or(u64::MAX));
        check_limit(self.bytes, LimitName::SnapshotBytes, self.limits.snapshot_bytes)?;
        let Self { limits, lines, stage, .. } = self;
        lines.push(chunk, |number, line| stage.line(limits, number, line))
    }
}

impl Stage {
    fn line(&mut self, limits: &Limits, number: u64, line: &[u8]) -> Result<(), WireError> {
        if line.trim_ascii().is_empty() {
            return Ok(());
        }
        match self {
            Self::Start => *self = Self::Apps(begin(limits, number, line)?),
            Self::Apps(body) => {
                if body.line(limits, number, line)? {
                    self.end();
                }
            }
            Self::Ended(_) => return Err(WireError::AfterEnd { line: number }),
            Self::Failed => {}
        }
        Ok(())
    }

    fn end(&mut self) {
        *self = match std::mem::replace(self, Self::Failed) {
            Self::Apps(body) => Self::Ended(body),
            other => other,
        };
    }

    fn cut_short(&self) -> WireError {
        let apps = match self {
            Self::Apps(body) => body.count(),
            _ => 0,
        };
        WireError::CutShort { apps }
    }
}

fn begin(limits: &Limits, number: u64, line: &[u8]) -> Result<Body, WireError> {
    let line: raw::Line<'_> = raw::read(number, line).map_err(|error| match serde_json::from_slice(line) {
        Ok(raw::BeginHint { begin }) => begin.or(error),
        Err(_) => error,
    })?;
    let begin = line.begin.ok_or(WireError::NoBegin { line: number })?;
    raw::check_schema(begin.schema)?;
    check_limit(begin.apps, LimitName::SnapshotApps, limits.snapshot_apps)?;
    Ok(Body {
        epoch: raw::epoch(number, &begin.epoch)?,
        generation: Generation(begin.generation),
        ready: begin.ready,
        announced: begin.apps,
        shrink_ok: begin.shrink_ok.map(ShrinkOk::from),
        apps: Batch::with_capacity(begin.apps),
    })
}

impl Body {
    /// True when the line was `end`.
    fn line(&mut self, limits: &Limits, number: u64, line: &[u8]) -> Result<bool, WireError> {
        if self.count() < limits.snapshot_apps
            && let Some(line) = PlainLine::read(line)
            && self.apps.read_line(&line, limits)
        {
            return Ok(false);
        }
        match raw::read(number, line)? {
            raw::Line { begin: None, end: Some(end), app: None, .. } => self.check_end(number, &end).map(|()| true),
            raw::Line { begin: None, end: None, app: Some(app), rev: Some(rev), spec: Some(spec) } => {
                check_limit(self.count() + 1, LimitName::SnapshotApps, limits.snapshot_apps)?;
                let id = raw::app_id(number, &app)?;
                self.apps.read(&id, Rev(rev), spec.get().as_bytes(), limits)?;
                Ok(false)
            }
            raw::Line { begin: Some(_), .. } => Err(WireError::SecondBegin { line: number }),
            _ => Err(WireError::garbage(number, "it is neither an app with rev and spec nor `end`")),
        }
    }

    fn check_end(&self, number: u64, end: &raw::End<'_>) -> Result<(), WireError> {
        let received = self.count();
        if let Some(said) = [self.announced, end.apps].into_iter().find(|&said| said != received) {
            return Err(WireError::WrongCount { said, received });
        }
        if raw::digest(number, &end.digest)? == self.apps.digest() { Ok(()) } else { Err(WireError::WrongDigest) }
    }

    fn count(&self) -> u64 {
        u64::try_from(self.apps.len()).unwrap_or(u64::MAX)
    }

    fn candidate(self, bytes: u64) -> SnapshotCandidate {
        SnapshotCandidate {
            epoch: self.epoch,
            generation: self.generation,
            ready: self.ready,
            shrink_ok: self.shrink_ok,
            partial: None,
            digest: self.apps.digest(),
            apps: self.apps,
            bytes,
        }
    }
}

pub(super) fn check_limit(value: u64, limit: LimitName, allowed: u64) -> Result<(), WireError> {
    if value > allowed { Err(WireError::TooLarge { limit, allowed }) } else { Ok(()) }
}
