//! The sliding hour: how many apps were taken away in it and are still away, and how many there were at most.
//!
//! It keeps times to the minute, rounded so that nothing leaves the hour early. Each app costs as much when it goes and
//! when it is forgotten, and nothing in between.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use crate::model::{AppId, WallTime};

/// How far back the guard looks. Source: spec/orchestrator-api.md, rule 5.
pub const WINDOW: Duration = Duration::from_secs(3600);
/// Times are kept this exactly, so that the hour is at most 61 numbers however many updates there are.
const GRAIN_MS: u64 = 60_000;
const WINDOW_MS: u64 = WINDOW.as_secs() * 1000;
/// Ids remembered at most, so that an app that comes back can be told; what is more is counted without its name.
/// Half of the apps of the largest table (spec/configuration.md, `snapshot_apps`) in one hour.
const MAX_NAMES: usize = 1_000_000;

#[derive(Clone, Debug, Default)]
pub(super) struct Window {
    minutes: BTreeMap<u64, Minute>,
    /// The apps that are away and known by name.
    names: HashMap<AppId, Away>,
    /// How many of them are held as well.
    held: u64,
    /// Ids in all minutes.
    listed: usize,
}

/// What happened in a minute.
#[derive(Clone, Debug, Default)]
struct Minute {
    /// Apps taken away in it that still are.
    away: u64,
    /// The largest number of apps seen in it.
    most: u64,
    /// Who was taken away; some may be back.
    ids: Vec<AppId>,
}

/// An app that is away.
#[derive(Clone, Copy, Debug)]
struct Away {
    /// Since which minute.
    minute: u64,
    /// It is served without endpoints, and more that was asked for is held.
    held: bool,
}

impl Window {
    pub(super) fn restore(taken: &[(WallTime, u64)], most_apps: u64, now: WallTime) -> Self {
        let mut window = Self::default();
        for (at, count) in taken {
            let minute = window.minute(minute(*at));
            minute.away = minute.away.saturating_add(*count);
        }
        window.minute(minute(now)).most = most_apps;
        window.settle(now);
        window
    }

    pub(super) fn away(&self, now: WallTime) -> u64 {
        self.within(now).fold(0, |sum, (_, minute)| sum.saturating_add(minute.away))
    }

    pub(super) fn most_apps(&self, now: WallTime) -> u64 {
        self.within(now).map(|(_, minute)| minute.most).max().unwrap_or(0)
    }

    /// How many apps are held that are counted as away.
    pub(super) fn held(&self) -> u64 {
        self.held
    }

    pub(super) fn taken(&self, now: WallTime) -> Vec<(WallTime, u64)> {
        let taken = self.within(now).filter(|(_, minute)| minute.away > 0);
        taken.map(|(at, minute)| (WallTime(at.saturating_mul(GRAIN_MS)), minute.away)).collect()
    }

    pub(super) fn saw(&mut self, apps: u64, now: WallTime) {
        let minute = self.minute(minute(now));
        minute.most = apps.max(minute.most);
    }

    pub(super) fn took_away(&mut self, id: AppId, now: WallTime) {
        self.came_back(&id);
        let at = minute(now);
        let named = self.listed < MAX_NAMES;
        self.listed += usize::from(named);
        let minute = self.minute(at);
        minute.away = minute.away.saturating_add(1);
        if named {
            minute.ids.push(id.clone());
            self.names.insert(id, Away { minute: at, held: false });
        }
    }

    pub(super) fn is_away(&self, id: &AppId, now: WallTime) -> bool {
        self.names.get(id).is_some_and(|away| is_within(away.minute, now))
    }

    pub(super) fn came_back(&mut self, id: &AppId) {
        if self.names.is_empty() {
            return;
        }
        let Some(away) = self.names.remove(id) else { return };
        self.held -= u64::from(away.held);
        if let Some(minute) = self.minutes.get_mut(&away.minute) {
            minute.away = minute.away.saturating_sub(1);
        }
    }

    /// Every app that `is_back` is not away.
    pub(super) fn bring_back(&mut self, is_back: impl Fn(&AppId) -> bool) {
        let back: Vec<AppId> = self.names.keys().filter(|id| is_back(id)).cloned().collect();
        back.iter().for_each(|id| self.came_back(id));
    }

    pub(super) fn set_held(&mut self, id: &AppId, held: bool) {
        let Some(away) = self.names.get_mut(id).filter(|away| away.held != held) else { return };
        away.held = held;
        self.held = if held { self.held + 1 } else { self.held.saturating_sub(1) };
    }

    /// Forgets what is past, and moves what the clock now calls the future to now, so that it can become past.
    pub(super) fn settle(&mut self, now: WallTime) {
        while let Some((at, past)) = self.minutes.pop_first() {
            if is_within(at, now) {
                self.minutes.insert(at, past);
                break;
            }
            self.listed = self.listed.saturating_sub(past.ids.len());
            past.ids.iter().for_each(|id| self.forget(id, at));
        }
        let this = minute(now);
        for (at, ahead) in self.minutes.split_off(&this.saturating_add(1)) {
            self.move_to(this, at, ahead);
        }
    }

    fn forget(&mut self, id: &AppId, at: u64) {
        if self.names.get(id).is_some_and(|away| away.minute == at) {
            self.came_back(id);
        }
    }

    fn move_to(&mut self, this: u64, at: u64, from: Minute) {
        for id in &from.ids {
            if let Some(away) = self.names.get_mut(id).filter(|away| away.minute == at) {
                away.minute = this;
            }
        }
        let to = self.minute(this);
        to.away = to.away.saturating_add(from.away);
        to.most = to.most.max(from.most);
        to.ids.extend(from.ids);
    }

    fn minute(&mut self, at: u64) -> &mut Minute {
        self.minutes.entry(at).or_default()
    }

    fn within(&self, now: WallTime) -> impl Iterator<Item = (u64, &Minute)> {
        self.minutes.iter().filter(move |(at, _)| is_within(**at, now)).map(|(at, minute)| (*at, minute))
    }
}

fn minute(at: WallTime) -> u64 {
    at.0 / GRAIN_MS
}

/// A minute counts until the hour after its end is over.
fn is_within(at: u64, now: WallTime) -> bool {
    now.0 < at.saturating_add(1).saturating_mul(GRAIN_MS).saturating_add(WINDOW_MS)
}
