//! The pages of one change, collected until the last has come.

use routing_cache::{
    limits::Limits,
    state::Position,
    wire::{Changes, GatheredChanges},
};

use crate::orchestrator::{Failure, http::Page};

/// Pages of one change: more is no cheaper than a snapshot (64 pages of 5,000 are 320,000 changes).
const MAX_PAGES: usize = 64;
/// Bytes of all pages of one change, as a multiple of the limit of one.
const MAX_BYTES_IN_PAGES: u64 = 8;

/// What came so far.
#[derive(Debug)]
pub(super) struct Pages {
    from: Position,
    next: Position,
    changes: Option<GatheredChanges>,
    count: usize,
    bytes: u64,
    limits: Limits,
}

/// Where the collection stands.
#[derive(Debug)]
pub(super) enum Collected {
    /// Another page follows.
    More,
    /// All of it.
    Whole {
        /// To be applied together.
        changes: Changes,
        /// False for an empty list that came before the wait was over.
        progress: bool,
    },
}

impl Pages {
    /// Nothing yet of what follows on `from`.
    pub(super) fn new(from: Position, limits: Limits) -> Self {
        Self { next: from.clone(), from, changes: None, count: 0, bytes: 0, limits }
    }

    /// Where the next page is to be asked from.
    pub(super) fn since(&self) -> &Position {
        &self.next
    }

    /// Adds a page.
    pub(super) fn add(&mut self, page: Page) -> Result<Collected, Failure> {
        let Page { page, bytes, early } = page;
        if page.epoch != self.next.epoch || page.from != self.next.generation {
            return Err(Failure::Gone);
        }
        if page.more && page.to <= page.from {
            return Err(Failure::CutShort("another page is announced, and this one leads nowhere".to_owned()));
        }
        self.count += 1;
        self.bytes += bytes;
        let limit = self.limits.changes_bytes.saturating_mul(MAX_BYTES_IN_PAGES);
        if self.count > MAX_PAGES || self.bytes > limit {
            return Err(Failure::TooLarge { limit });
        }
        let more = page.more;
        self.next.generation = page.to;
        match self.changes.as_mut() {
            Some(changes) => changes.append(page, &self.limits)?,
            None => self.changes = Some(GatheredChanges::from_page(page)),
        }
        Ok(self.stand(more, early))
    }

    fn stand(&mut self, more: bool, early: bool) -> Collected {
        let progress = !early || self.next.generation > self.from.generation;
        match self.changes.take() {
            Some(changes) if !more => Collected::Whole { changes: changes.finish(), progress },
            changes => {
                self.changes = changes;
                Collected::More
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use routing_cache::{
        model::{Digest, Epoch, Generation},
        wire::ChangesPage,
    };

    use super::*;

    fn position(generation: u64) -> Position {
        Position { epoch: Epoch::new("e").unwrap(), generation: Generation(generation) }
    }

    fn page(from: u64, to: u64, more: bool) -> Page {
        let page = ChangesPage {
            epoch: Epoch::new("e").unwrap(),
            from: Generation(from),
            to: Generation(to),
            ready: true,
            upserts: Vec::new(),
            deletes: Vec::new(),
            more,
            apps: 0,
            digest: Digest::default(),
            shrink_ok: None,
        };
        Page { page, bytes: 100, early: true }
    }

    #[test]
    fn pages_are_applied_together_when_the_last_has_come() {
        let mut pages = Pages::new(position(3), Limits::default());
        assert!(matches!(pages.add(page(3, 5, true)), Ok(Collected::More)));
        assert_eq!(*pages.since(), position(5));
        let whole = pages.add(page(5, 9, false));
        let Ok(Collected::Whole { changes, progress: true }) = whole else { panic!("{whole:?}") };
        assert_eq!((changes.from, changes.to), (Generation(3), Generation(9)));
    }

    #[test]
    fn an_empty_list_before_the_wait_is_over_is_no_progress_and_after_it_is_the_heartbeat() {
        let check = |early, want| {
            let answer = Page { early, ..page(3, 3, false) };
            let whole = Pages::new(position(3), Limits::default()).add(answer).unwrap();
            assert!(matches!(whole, Collected::Whole { progress, .. } if progress == want), "early: {early}");
        };
        check(true, false);
        check(false, true);
    }

    #[test]
    fn more_without_end_is_given_up() {
        let mut pages = Pages::new(position(0), Limits::default());
        let failed = (0..1000).find_map(|n| pages.add(page(n, n + 1, true)).err());
        assert!(matches!(failed, Some(Failure::TooLarge { .. })));
        assert!(Pages::new(position(3), Limits::default()).add(page(3, 3, true)).is_err());
    }

    #[test]
    fn pages_of_too_many_bytes_together_are_given_up() {
        let limits = Limits { changes_bytes: 100, ..Limits::default() };
        let mut pages = Pages::new(position(0), limits);
        let failed = (0..20).position(|n| pages.add(page(n, n + 1, true)).is_err());
        assert_eq!(failed, Some(8));
    }

    #[test]
    fn another_epoch_or_another_start_is_as_good_as_410() {
        let gone = |page| matches!(Pages::new(position(3), Limits::default()).add(page), Err(Failure::Gone));
        assert!(gone(page(2, 5, false)));
        let mut other = page(3, 5, false);
        other.page.epoch = Epoch::new("f").unwrap();
        assert!(gone(other));
    }
}
