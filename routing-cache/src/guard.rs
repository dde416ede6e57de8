//! What may this candidate do to the live table? Accept, hold, reject, each with its reason (spec/orchestrator-api.md,
//! rules 5 and 6).
//!
//! It owns the sliding hour of what was taken away, and answers with evidence. It never sees the table itself: what it
//! judges are counts, so that a verdict can be understood, and replayed, from the numbers in it.
//!
//! - What counts is which apps were taken away within the hour and are still away. One that came back is not away; a
//!   release by the orchestrator's `shrink_ok` is accounted for by its own number and not counted again.
//! - What is held counts too, so a held mass delete is not followed by a trickle of small ones.
//! - The time of day may jump. What lies ahead of it happened in the past all the same, and counts from now on.

mod window;

#[cfg(test)]
mod tests;

use std::fmt;

use crate::model::{AppId, WallTime};

pub use window::WINDOW;
use window::Window;

/// `[guard]`: each pair only bites when both are exceeded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GuardConfig {
    /// Of the largest number of apps in the hour, in percent.
    pub max_shrink_percent: f64,
    /// In apps.
    pub max_shrink_apps: u64,
    /// Of the apps of the table, in percent.
    pub max_invalid_percent: f64,
    /// In apps.
    pub max_invalid_apps: u64,
}

/// The numbers behind a hold.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Evidence {
    /// The largest number of apps in the hour.
    pub apps_before: u64,
    /// What would be left of them.
    pub apps_after: u64,
    /// What would be gone of them, in percent.
    pub percent: f64,
    /// The hour, in seconds.
    pub window_s: u64,
}

/// What an update would take away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shrink {
    /// Apps served before it.
    pub served: u64,
    /// Apps it would take away that are neither held nor counted as away already.
    pub losing: u64,
    /// Apps that are held already and that it does not bring back.
    pub held: u64,
    /// Apps of the orchestrator's table after it.
    pub apps_after: u64,
    /// `shrink_ok.to_apps`, where the orchestrator has sent it.
    pub shrink_ok: Option<u64>,
}

/// What becomes of the apps an update would take away.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Verdict {
    /// They go; what was held before stays held.
    Let,
    /// They go, and what was held before goes as well: the orchestrator has said that it means it.
    Release,
    /// They are held.
    Hold(Evidence),
}

/// Judges updates.
#[derive(Clone, Debug)]
pub struct Guard {
    config: GuardConfig,
    window: Window,
}

impl Guard {
    /// A guard that remembers nothing.
    #[must_use]
    pub fn new(config: GuardConfig) -> Self {
        Self { config, window: Window::default() }
    }

    /// A guard that remembers what one before it did: when how many apps were taken away, and the largest number of
    /// apps in its hour, which counts for one more.
    #[must_use]
    pub fn restore(config: GuardConfig, taken: &[(WallTime, u64)], most_apps: u64, now: WallTime) -> Self {
        Self { config, window: Window::restore(taken, most_apps, now) }
    }

    /// New settings.
    pub fn reconfigure(&mut self, config: GuardConfig) {
        self.config = config;
    }

    /// Judges what an update would take away.
    #[must_use]
    pub fn judge(&self, shrink: &Shrink, now: WallTime) -> Verdict {
        if shrink.shrink_ok.is_some_and(|to_apps| shrink.apps_after >= to_apps) {
            return Verdict::Release;
        }
        let (evidence, lost) = self.weigh(shrink, now);
        let too_many = lost > self.config.max_shrink_apps && evidence.percent > self.config.max_shrink_percent;
        if shrink.losing > 0 && too_many { Verdict::Hold(evidence) } else { Verdict::Let }
    }

    /// The numbers for what is held, also when nothing new is asked for.
    #[must_use]
    pub fn evidence(&self, shrink: &Shrink, now: WallTime) -> Evidence {
        self.weigh(shrink, now).0
    }

    fn weigh(&self, shrink: &Shrink, now: WallTime) -> (Evidence, u64) {
        // An app that is away and held as well is counted once.
        let held = shrink.held.saturating_sub(self.window.held());
        let lost = self.window.away(now).saturating_add(held).saturating_add(shrink.losing);
        let before = self.window.most_apps(now).max(shrink.served);
        let evidence = Evidence {
            apps_before: before,
            apps_after: before.saturating_sub(lost),
            percent: percent(lost, before),
            window_s: WINDOW.as_secs(),
        };
        (evidence, lost)
    }

    /// Whether so many invalid apps reject a whole update. `apps` are those of the orchestrator's table after it.
    #[must_use]
    pub fn too_many_invalid(&self, invalid: u64, apps: u64) -> bool {
        invalid > self.config.max_invalid_apps && percent(invalid, apps) > self.config.max_invalid_percent
    }

    /// Forgets what is over an hour past. To be called before an update is judged.
    pub fn settle(&mut self, now: WallTime) {
        self.window.settle(now);
    }

    /// Takes note of the number of apps served, before or after an update.
    pub fn saw(&mut self, apps: u64, now: WallTime) {
        self.window.settle(now);
        self.window.saw(apps, now);
    }

    /// Takes note that an app was taken away.
    pub fn took_away(&mut self, id: AppId, now: WallTime) {
        self.window.took_away(id, now);
    }

    /// Whether an app is known to have been taken away within the hour; it may be served, without endpoints.
    #[must_use]
    pub fn is_away(&self, id: &AppId, now: WallTime) -> bool {
        self.window.is_away(id, now)
    }

    /// Takes note that an app is there; nothing happens unless it was away.
    pub fn came_back(&mut self, id: &AppId) {
        self.window.came_back(id);
    }

    /// Takes note that every app that `is_back` is there, whoever that is.
    pub fn bring_back(&mut self, is_back: impl Fn(&AppId) -> bool) {
        self.window.bring_back(is_back);
    }

    /// Takes note of whether an app is held; nothing happens unless it is away as well.
    pub fn set_held(&mut self, id: &AppId, held: bool) {
        self.window.set_held(id, held);
    }

    /// Starts the hour anew: an operator has approved.
    pub fn restart(&mut self) {
        self.window = Window::default();
    }

    /// When how many apps were taken away that still are, oldest first, and the largest number of apps in the hour.
    #[must_use]
    pub fn to_save(&self, now: WallTime) -> (Vec<(WallTime, u64)>, u64) {
        (self.window.taken(now), self.window.most_apps(now))
    }
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { apps_before, apps_after, percent, window_s } = self;
        write!(f, "{percent:.1} % of {apps_before} apps would be gone within {window_s} s, {apps_after} would be left")
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Let => f.write_str("let"),
            Self::Release => f.write_str("released: the orchestrator means it"),
            Self::Hold(evidence) => write!(f, "held: {evidence}"),
        }
    }
}

#[allow(clippy::cast_precision_loss, reason = "counts of apps are far below 2^52")]
fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 * 100.0 / whole as f64 }
}
