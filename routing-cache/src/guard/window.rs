//! The sliding hour: how many apps were taken away in it and are still away, and how many there were at most.
//!
//! It keeps times to the minute, rounded so that nothing leaves the hour early.

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
    /// Minute -> apps taken away in it whose names are not known.
    nameless: BTreeMap<u64, u64>,
    /// App -> the minute it was taken away in.
    named: HashMap<AppId, u64>,
    /// Minute -> the largest number of apps seen in it.
    most: BTreeMap<u64, u64>,
}

impl Window {
    pub(super) fn restore(taken: &[(WallTime, u64)], most_apps: u64, now: WallTime) -> Self {
        let mut window = Self::default();
        for (at, count) in taken {
            let sum = window.nameless.entry(minute(*at)).or_default();
            *sum = sum.saturating_add(*count);
        }
        window.most.insert(minute(now), most_apps);
        window.settle(now);
        window
    }

    pub(super) fn away(&self, now: WallTime) -> u64 {
        self.taken(now).iter().fold(0, |sum, (_, count)| sum.saturating_add(*count))
    }

    pub(super) fn most_apps(&self, now: WallTime) -> u64 {
        self.most.iter().filter(|(at, _)| is_within(**at, now)).map(|(_, apps)| *apps).max().unwrap_or(0)
    }

    pub(super) fn taken(&self, now: WallTime) -> Vec<(WallTime, u64)> {
        let mut sums: BTreeMap<u64, u64> = BTreeMap::new();
        let named = self.named.values().map(|at| (at, &1));
        for (at, count) in self.nameless.iter().chain(named).filter(|(at, _)| is_within(**at, now)) {
            let sum = sums.entry(*at).or_default();
            *sum = sum.saturating_add(*count);
        }
        sums.into_iter().map(|(at, count)| (WallTime(at.saturating_mul(GRAIN_MS)), count)).collect()
    }

    pub(super) fn saw(&mut self, apps: u64, now: WallTime) {
        self.settle(now);
        let most = self.most.entry(minute(now)).or_default();
        *most = apps.max(*most);
    }

    pub(super) fn took_away(&mut self, id: AppId, now: WallTime) {
        if self.named.len() < MAX_NAMES {
            self.named.insert(id, minute(now));
        } else {
            *self.nameless.entry(minute(now)).or_default() += 1;
        }
    }

    pub(super) fn is_away(&self, id: &AppId, now: WallTime) -> bool {
        self.named.get(id).is_some_and(|at| is_within(*at, now))
    }

    pub(super) fn came_back(&mut self, id: &AppId) {
        self.named.remove(id);
    }

    /// Forgets what is past, and moves what the clock now calls the future to now, so that it can become past.
    fn settle(&mut self, now: WallTime) {
        let this = minute(now);
        self.named.retain(|_, at| is_within(*at, now));
        self.named.values_mut().for_each(|at| *at = this.min(*at));
        self.nameless = settled(&self.nameless, now, u64::saturating_add);
        self.most = settled(&self.most, now, u64::max);
    }
}

fn settled(minutes: &BTreeMap<u64, u64>, now: WallTime, both: fn(u64, u64) -> u64) -> BTreeMap<u64, u64> {
    let mut kept = BTreeMap::new();
    for (at, value) in minutes.iter().filter(|(at, _)| is_within(**at, now)) {
        let there = kept.entry(minute(now).min(*at)).or_default();
        *there = both(*there, *value);
    }
    kept
}

fn minute(at: WallTime) -> u64 {
    at.0 / GRAIN_MS
}

/// A minute counts until the hour after its end is over.
fn is_within(at: u64, now: WallTime) -> bool {
    now.0 < at.saturating_add(1).saturating_mul(GRAIN_MS).saturating_add(WINDOW_MS)
}
