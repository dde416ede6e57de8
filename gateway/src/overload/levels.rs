//! From readings to a level: a pure state machine over the time and what was read.
//!
//! Each resource has a level of its own, and the process has the highest of them. A level is entered at once and left late:
//! only when its resource is a gap below what it was entered at, and not before [`DWELL`] is over. So a level never comes
//! and goes within that time, whatever the readings do.

use std::time::Duration;

/// The least time a resource stays at a level that it has entered. Source: what was freed has gone back to the system
/// after a second (`dirty_decay_ms` of the allocator), so an earlier look would judge the past.
pub(super) const DWELL: Duration = Duration::from_secs(1);

/// How loaded the process is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Nothing is given up.
    #[default]
    None,
    /// What is idle is given up.
    Soft,
    /// What is new is refused.
    Hard,
}

/// What is short, the gravest first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reason {
    /// Memory, against the limit of a control group or what the machine has left.
    #[default]
    Memory,
    /// Descriptors.
    Descriptors,
    /// Memory as well: threads wait for the kernel to find some (PSI).
    Stalls,
    /// Places within `limits.max_connections`.
    Connections,
}

/// Every reason, in the order of [`Readings::shares`].
const REASONS: [Reason; 4] = [Reason::Memory, Reason::Descriptors, Reason::Stalls, Reason::Connections];

/// A level and what it is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// The level.
    pub level: Level,
    /// Its reason; means nothing at [`Level::None`].
    pub reason: Reason,
}

/// So much of something is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Share {
    /// What is used.
    pub used: u64,
    /// What there is; 0: no limit, or none known.
    pub of: u64,
}

/// What was read at one time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Readings {
    /// Bytes, by the measure that is nearest to its limit.
    pub memory: Share,
    /// The tightest limit of the control groups in bytes; 0: none.
    pub limit_bytes: u64,
    /// Open descriptors and how many there may be.
    pub descriptors: Share,
    /// Hundredths of a percent of the last ten seconds in which a thread waited for memory.
    pub stalls: Share,
    /// Connections of clients and `limits.max_connections`.
    pub connections: Share,
}

/// From which share of the memory on which level begins, in percent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thresholds {
    /// Level soft.
    pub soft: u32,
    /// Level hard; above `soft`.
    pub hard: u32,
    /// The most that one connection of a client can hold, in bytes.
    pub connection_bytes: u64,
}

/// Where the levels of one resource begin, and how far below that they end, in percent.
#[derive(Clone, Copy, Debug)]
struct Rule {
    soft: u32,
    hard: Option<u32>,
    gap: u32,
}

/// Descriptors are reckoned to be used up when all places are taken and each has an upstream (`holdgate preflight`), so only
/// the last hundredths are too many.
const DESCRIPTORS: Rule = Rule { soft: 90, hard: Some(98), gap: 3 };
/// A fifth of the time. Waiting for memory alone refuses nothing: it may be another process's doing, or the disk's.
const STALLS: Rule = Rule { soft: 20, hard: None, gap: 10 };
/// At the limit itself whoever accepts looks for a place (`limits.max_connections`).
const CONNECTIONS: Rule = Rule { soft: 95, hard: None, gap: 5 };
/// How far below its threshold a level of memory ends.
const MEMORY_GAP: u32 = 5;

/// The state: the level of each resource, and since when.
#[derive(Clone, Debug, Default)]
pub struct Levels([Track; 4]);

#[derive(Clone, Copy, Debug, Default)]
struct Track {
    level: Level,
    /// When the level was entered from below.
    since: Duration,
}

impl Levels {
    /// The standing after `readings` at `now`, a monotonic time.
    pub fn step(&mut self, now: Duration, readings: &Readings, thresholds: Thresholds) -> Standing {
        let hard = readings.is_crowded(thresholds.connection_bytes).then_some(thresholds.hard);
        let memory = Rule { soft: thresholds.soft, hard, gap: MEMORY_GAP };
        let rules = [memory, DESCRIPTORS, STALLS, CONNECTIONS];
        for ((track, share), rule) in self.0.iter_mut().zip(readings.shares()).zip(rules) {
            track.step(now, share, rule);
        }
        self.standing()
    }

    /// The highest level, with the gravest reason for it.
    fn standing(&self) -> Standing {
        let level = self.0.iter().map(|track| track.level).max().unwrap_or_default();
        let first = self.0.iter().zip(REASONS).find(|(track, _)| track.level == level);
        Standing { level, reason: first.map(|(_, reason)| reason).unwrap_or_default() }
    }
}

impl Track {
    fn step(&mut self, now: Duration, share: Share, rule: Rule) {
        let level = rule.level(share, self.level);
        if level > self.level {
            *self = Self { level, since: now };
        } else if level < self.level && now.saturating_sub(self.since) >= DWELL {
            self.level = level;
        }
    }
}

impl Rule {
    /// The level of `share` where it was `before`.
    fn level(self, share: Share, before: Level) -> Level {
        let reaches = |level: Level, percent: u32| {
            let percent = if before >= level { percent.saturating_sub(self.gap) } else { percent };
            share.reaches(percent)
        };
        match self.hard {
            Some(hard) if reaches(Level::Hard, hard) => Level::Hard,
            _ if reaches(Level::Soft, self.soft) => Level::Soft,
            _ => Level::None,
        }
    }
}

impl Share {
    /// True from `percent` of what there is on.
    pub(super) fn reaches(self, percent: u32) -> bool {
        self.of > 0 && u128::from(self.used) * 100 >= u128::from(self.of) * u128::from(percent)
    }

    /// 0 to 1 and over; 0 where there is no limit.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a ratio needs no more than 52 bits")]
    pub fn ratio(self) -> f64 {
        if self.of == 0 { 0.0 } else { self.used as f64 / self.of as f64 }
    }
}

impl Readings {
    /// True when the connections that are there could still fill what is left of the memory. If they cannot, refusing work
    /// would help nobody: it is the table, say, that takes most of the memory, and a gateway that refused everything for
    /// that would never serve again. So few connections are served, and as many as would be too much are not.
    fn is_crowded(&self, connection_bytes: u64) -> bool {
        let left = self.memory.of.saturating_sub(self.memory.used);
        self.connections.used.saturating_mul(connection_bytes) >= left
    }

    fn shares(&self) -> [Share; 4] {
        [self.memory, self.descriptors, self.stalls, self.connections]
    }
}

impl Level {
    /// Its name in status.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Soft => "soft",
            Self::Hard => "hard",
        }
    }
}

impl Reason {
    /// Its name in status, the log and the labels of metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Memory | Self::Stalls => "memory",
            Self::Descriptors => "descriptors",
            Self::Connections => "connections",
        }
    }
}

impl Standing {
    /// Requests get 503.
    #[must_use]
    pub fn refuses_requests(self) -> bool {
        self.level == Level::Hard && self.reason == Reason::Memory
    }

    /// New connections are told so and closed.
    #[must_use]
    pub fn refuses_connections(self) -> bool {
        self.level == Level::Hard
    }

    /// Answers end their connection, and what is kept for later is given back.
    #[must_use]
    pub fn gives_back(self) -> bool {
        self.level >= Level::Soft && self.reason != Reason::Connections
    }

    /// Idle connections close sooner than they would.
    #[must_use]
    pub fn closes_idle(self) -> bool {
        self.level >= Level::Soft
    }

    pub(super) fn bits(self) -> u8 {
        let place = REASONS.iter().position(|reason| *reason == self.reason).unwrap_or_default();
        self.level as u8 | (place as u8) << 2
    }

    pub(super) fn from_bits(bits: u8) -> Self {
        let level = match bits & 3 {
            0 => Level::None,
            1 => Level::Soft,
            _ => Level::Hard,
        };
        Self { level, reason: REASONS.get(usize::from(bits >> 2)).copied().unwrap_or_default() }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const THRESHOLDS: Thresholds = Thresholds { soft: 80, hard: 90, connection_bytes: 2 };

    /// With connections that can fill 20 % more.
    fn memory(percent: u64) -> Readings {
        let (memory, connections) = (Share { used: percent, of: 100 }, Share { used: 10, of: 1000 });
        Readings { memory, connections, ..Readings::default() }
    }

    #[test]
    fn memory_that_the_connections_cannot_use_up_is_no_reason_to_refuse_them() {
        let few = |used| Readings { connections: Share { used, of: 1000 }, ..memory(92) };
        let level = |readings| Levels::default().step(millis(0), &readings, THRESHOLDS).level;
        assert_eq!((level(few(0)), level(few(3)), level(few(4))), (Level::Soft, Level::Soft, Level::Hard));
        let mut levels = Levels::default();
        levels.step(millis(0), &few(100), THRESHOLDS);
        assert_eq!(levels.step(DWELL, &few(3), THRESHOLDS).level, Level::Soft);
    }

    fn millis(at: u64) -> Duration {
        Duration::from_millis(at)
    }

    #[test]
    fn a_level_is_entered_at_once_and_left_a_gap_below_after_the_dwell() {
        let mut levels = Levels::default();
        let mut level = |at, percent| levels.step(millis(at), &memory(percent), THRESHOLDS).level;
        let steps = [
            (0, 79, Level::None),
            (1, 80, Level::Soft),
            (2, 95, Level::Hard),
            (3, 10, Level::Hard),
            (1001, 10, Level::Hard),
            (1002, 85, Level::Hard),
            (1003, 84, Level::Soft),
            (1004, 75, Level::Soft),
            (1005, 74, Level::None),
        ];
        for (at, percent, expected) in steps {
            assert_eq!(level(at, percent), expected, "{percent} % at {at} ms");
        }
    }

    #[test]
    fn the_gravest_reason_for_the_highest_level_is_named() {
        let mut levels = Levels::default();
        let readings = Readings {
            memory: Share { used: 85, of: 100 },
            descriptors: Share { used: 99, of: 100 },
            stalls: Share { used: 9000, of: 10_000 },
            connections: Share { used: 100, of: 100 },
            limit_bytes: 100,
        };
        let standing = levels.step(millis(0), &readings, THRESHOLDS);
        assert_eq!(standing, Standing { level: Level::Hard, reason: Reason::Descriptors });
        assert!(standing.refuses_connections() && !standing.refuses_requests());
    }

    #[test]
    fn stalls_and_connections_alone_refuse_nothing() {
        for reading in [
            Readings { stalls: Share { used: 10_000, of: 10_000 }, ..Readings::default() },
            Readings { connections: Share { used: 100, of: 100 }, ..Readings::default() },
        ] {
            assert_eq!(Levels::default().step(millis(0), &reading, THRESHOLDS).level, Level::Soft);
        }
    }

    #[test]
    fn what_has_no_limit_is_never_short() {
        let readings = Readings { memory: Share { used: u64::MAX, of: 0 }, ..Readings::default() };
        assert_eq!(Levels::default().step(millis(0), &readings, THRESHOLDS), Standing::default());
    }

    #[test]
    fn a_standing_fits_in_its_byte() {
        for level in [Level::None, Level::Soft, Level::Hard] {
            for reason in REASONS {
                let standing = Standing { level, reason };
                assert_eq!(Standing::from_bits(standing.bits()), standing);
            }
        }
    }

    fn readings() -> impl Strategy<Value = Readings> {
        let share = || (0..120_u64).prop_map(|used| Share { used, of: 100 });
        (share(), share(), share(), share()).prop_map(|(memory, descriptors, stalls, connections)| Readings {
            memory,
            descriptors,
            stalls,
            connections,
            limit_bytes: 100,
        })
    }

    /// The same or more of everything.
    fn more(of: &Readings, by: u64) -> Readings {
        let more = |share: Share| Share { used: share.used + by, ..share };
        let (memory, descriptors) = (more(of.memory), more(of.descriptors));
        Readings { memory, descriptors, stalls: more(of.stalls), connections: more(of.connections), ..*of }
    }

    proptest! {
        #[test]
        fn no_level_is_left_within_the_dwell(steps in prop::collection::vec((0..400_u64, readings()), 1..100)) {
            let (mut levels, mut now) = (Levels::default(), 0);
            let (mut before, mut entered) = (Level::None, None::<u64>);
            for (pause, readings) in steps {
                now += pause;
                let level = levels.step(millis(now), &readings, THRESHOLDS).level;
                if level < before {
                    prop_assert!(entered.is_none_or(|at| millis(now - at) >= DWELL), "left after {entered:?} at {now}");
                }
                if level > before {
                    entered = Some(now);
                }
                before = level;
            }
        }

        #[test]
        fn more_of_anything_is_never_a_lower_level(
            past in prop::collection::vec((0..400_u64, readings()), 0..20), last in readings(), by in 0..50_u64,
        ) {
            let (mut levels, mut now) = (Levels::default(), 0);
            for (pause, readings) in past {
                now += pause;
                levels.step(millis(now), &readings, THRESHOLDS);
            }
            let less = levels.clone().step(millis(now + 100), &last, THRESHOLDS).level;
            prop_assert!(levels.step(millis(now + 100), &more(&last, by), THRESHOLDS).level >= less);
        }
    }
}
