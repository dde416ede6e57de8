//! What an orchestrator published, and what changed from one generation to the next.

use std::collections::BTreeMap;

/// An app and its new version (rev and document); `None`: it is deleted.
pub(super) type Changed = (String, Option<(u64, String)>);

/// The last change of each app, and when.
type Latest<'a> = BTreeMap<&'a str, (u64, Option<&'a (u64, String)>)>;

/// A generation as it was published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// Its epoch.
    pub epoch: String,
    /// Its number.
    pub generation: u64,
    /// Its apps.
    pub apps: usize,
    /// The digest over them.
    pub digest: String,
}

/// Every generation, and the changes as far as they are kept.
#[derive(Debug, Default)]
pub(super) struct History {
    published: Vec<Published>,
    changes: Vec<(u64, Vec<Changed>)>,
    /// Changes in one answer; `None`: none are kept.
    page: Option<usize>,
    /// Nothing is known of what was before.
    since: u64,
    /// Who asks is ahead.
    pub(super) lags: bool,
    /// Answers with changes in them that were sent.
    pub(super) sent: u64,
}

impl History {
    pub(super) fn add(&mut self, published: Published, changed: Vec<Changed>) {
        self.changes.push((published.generation, changed));
        self.published.push(published);
    }

    pub(super) fn keep(&mut self, page: usize) {
        self.page = Some(page);
    }

    pub(super) fn forget(&mut self, generation: u64) {
        self.since = generation;
        self.changes.clear();
    }

    pub(super) fn published(&self) -> &[Published] {
        &self.published
    }

    /// Whether it can say what changed after `since`.
    pub(super) fn knows(&self, since: u64) -> bool {
        let newest = self.published.last().map_or(0, |p| p.generation);
        self.page.is_some() && since >= self.since && since < newest
    }

    /// A changes answer: whole generations after `since` until the page is full. `extra` stands on the last page.
    pub(super) fn answer(&self, since: u64, epoch: &str, extra: &str) -> String {
        let (mut to, mut size, mut more) = (since, 0, false);
        let mut last = Latest::new();
        for (generation, changed) in self.changes.iter().filter(|(generation, _)| *generation > since) {
            more = to > since && size + changed.len() > self.page.unwrap_or(usize::MAX);
            if more {
                break;
            }
            to = *generation;
            size += changed.len();
            last.extend(changed.iter().map(|(id, change)| (id.as_str(), (*generation, change.as_ref()))));
        }
        let at = self.published.iter().rev().find(|p| p.generation == to && p.epoch == epoch);
        let (apps, digest) = at.map_or((0, ""), |p| (p.apps, p.digest.as_str()));
        let (mut upserts, mut deletes) = (Vec::new(), Vec::new());
        for (id, (generation, change)) in last {
            match change {
                Some((rev, spec)) => upserts.push(format!(r#"{{"app":"{id}","rev":{rev},"spec":{spec}}}"#)),
                None => deletes.push(format!(r#"{{"app":"{id}","rev":{generation}}}"#)),
            }
        }
        let (upserts, deletes, extra) = (upserts.join(","), deletes.join(","), if more { "" } else { extra });
        format!(
            r#"{{"epoch":"{epoch}","from":{since},"to":{to},"ready":true,"upserts":[{upserts}],"deletes":[{deletes}],"more":{more},"apps":{apps},"digest":"{digest}"{extra}}}"#
        )
    }
}
