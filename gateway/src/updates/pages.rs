//! Huge pages for the table: with a million apps, half the time of a look-up is the way through memory.
//!
//! A base that was made by growth stands on small pages. It is laid out on huge ones by a thread behind everything else,
//! once for each base. A start needs none of it where the system has huge pages free: they are taken at once then.

use std::{
    sync::{Arc, Weak},
    thread,
};

use routing_cache::table::Base;

use crate::priority::{BACKGROUND, stand_back};

/// Bytes from which on it is worth a thread: what is smaller stays in the caches that it is to spare.
const WORTH_IT: usize = 8 << 20;

/// Sees to it that each base is laid out once.
#[derive(Debug, Default)]
pub(super) struct HugePages {
    /// The base that was seen last. Weak: an old one is not kept for this.
    seen: Weak<Base>,
}

impl HugePages {
    /// Starts a thread for a base that was not seen before. True when it did.
    pub(super) fn see_to(&mut self, base: &Arc<Base>) -> bool {
        if std::ptr::eq(self.seen.as_ptr(), Arc::as_ptr(base)) {
            return false;
        }
        self.seen = Arc::downgrade(base);
        base.bytes() >= WORTH_IT && start(Arc::clone(base))
    }
}

fn start(base: Arc<Base>) -> bool {
    let lay = move || {
        stand_back(BACKGROUND);
        if let Err(error) = base.lay_on_huge_pages() {
            tracing::debug!(%error, "the table stays on small pages");
        }
    };
    // Without a thread it stays on small pages, too.
    thread::Builder::new().name("huge-pages".into()).spawn(lay).is_ok()
}

#[cfg(test)]
mod tests {
    use routing_cache::model::{HostRef, RecordParts, Rev};

    use super::*;

    fn base(bytes: usize) -> Arc<Base> {
        let mut records = Vec::new();
        let document = vec![b' '; 64 << 10];
        while records.len() < bytes {
            let (id, host) = (format!("app-{}", records.len()), format!("host-{}.test", records.len()));
            let hosts = [HostRef { name: &host, wildcard: false }];
            let parts = RecordParts { id: &id, rev: Rev(1), document: &document, endpoints: 1, hosts: &hosts };
            parts.write(&mut records).unwrap();
        }
        Arc::new(Base::from_records(records).unwrap())
    }

    #[test]
    fn each_large_base_is_laid_out_once_and_none_is_kept_for_it() {
        let mut pages = HugePages::default();
        assert!(!pages.see_to(&base(1)), "a small one");
        let large = base(WORTH_IT);
        assert!(pages.see_to(&large));
        assert!(!pages.see_to(&large), "it was seen to");
        let seen = Arc::downgrade(&large);
        drop(large);
        while seen.upgrade().is_some() {
            thread::yield_now();
        }
    }
}
