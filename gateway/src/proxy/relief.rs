//! What a worker gives back while something is short: idle connections on both sides, and what it keeps for later.
//!
//! At each tick the time that a connection may idle is halved, so those that have idled longest go first, and never all at
//! once: their clients come back, if they do, one after the other.

use std::time::Duration;

use super::{context::Worker, metrics};
use crate::{overload::Standing, upstream::pool::PoolSettings};

/// The shortest time an idle connection has: a tick of the worker.
const LEAST: Duration = Duration::from_millis(250);

/// What has been done so far.
#[derive(Debug, Default)]
pub(crate) struct Relief {
    standing: Standing,
    patience: Option<Duration>,
}

impl Relief {
    /// One more tick: how long a client's connection may idle, which is `usual` where nothing is short. Gives back what the
    /// worker keeps when it has become worse.
    pub(crate) fn tick(&mut self, worker: &Worker, usual: Duration) -> Duration {
        let standing = worker.overload.standing();
        if standing.level > self.standing.level && standing.gives_back() {
            worker.give_back();
        }
        self.standing = standing;
        self.patience(standing, usual)
    }

    fn patience(&mut self, standing: Standing, usual: Duration) -> Duration {
        if !standing.closes_idle() {
            self.patience = None;
            return usual;
        }
        let patience = (self.patience.unwrap_or(usual) / 2).max(LEAST).min(usual);
        self.patience = Some(patience);
        patience
    }

    /// So many connections of clients were told to close at this tick.
    pub(crate) fn count(&self, closed: usize) {
        if self.patience.is_some() {
            metrics::idle_closed(self.standing.reason.as_str(), closed);
        }
    }

    /// The pool's settings, with connections to endpoints closed as early as those of clients.
    pub(crate) fn pool(&self, settings: PoolSettings) -> PoolSettings {
        let idle_for = self.patience.map_or(settings.idle_for, |patience| patience.min(settings.idle_for));
        PoolSettings { idle_for, ..settings }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::overload::{Level, Reason};

    #[test]
    fn patience_is_halved_at_each_tick_and_whole_again_after() {
        let (mut relief, usual) = (Relief::default(), Duration::from_secs(1));
        let soft = Standing { level: Level::Soft, reason: Reason::Memory };
        let millis: Vec<_> = (0..4).map(|_| relief.patience(soft, usual).as_millis()).collect();
        assert_eq!(millis, [500, 250, 250, 250]);
        assert_eq!(relief.patience(Standing::default(), usual), usual);
        assert_eq!(relief.patience(soft, usual), usual / 2);
        let short = Duration::from_millis(10);
        assert_eq!(Relief::default().patience(soft, short), short);
    }
}
