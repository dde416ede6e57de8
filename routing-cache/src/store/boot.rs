//! What a start finds in the state folder, and what it makes of it.

use std::ops::Range;

use crate::journal::encode_payload;

use super::{
    Boot, Damage, PoisonRules, Poisoned, Store,
    folder::Files,
    names::{Kind, Name, Place},
    replay::{NotLoaded, Restore, Restored, Segment},
    runs::Runs,
    write::Pending,
};

pub(super) fn boot(store: &mut Store, rules: PoisonRules) -> Boot {
    let mut boot = Boot::default();
    store.runs = Runs::read(&store.folder);
    boot.died_young = store.runs.unsurvived;
    let files = match Files::list(&*store.folder.disk, &store.folder.path) {
        Ok(files) => files,
        Err(error) => {
            let (file, why) = (store.folder.path.display().to_string(), format!("cannot be listed: {error}"));
            boot.damaged.push(Damage { file, offset: None, why, kept_as: None });
            boot.lost = true;
            store.begin_run(None);
            return boot;
        }
    };
    let mut restored = store.restore(&files, None);
    boot.lost = is_lost(&files, &restored);
    boot.damaged = store.report(&restored);
    let poison = find_poison(&store.runs, &files, rules, &restored, &|upto| store.restore(&files, Some(upto)));
    store.begin_run(poison.as_ref().map(|(poisoned, _)| poisoned.clone()));
    if let Some((_, before)) = poison {
        boot.lost |= !store.set_poison_aside(&files, &before);
        restored = before;
    }
    boot.poisoned.clone_from(&store.runs.poisoned);
    boot.origin = if restored.state.is_some() { restored.origin() } else { String::new() };
    if store.lock.is_some() {
        boot.removed = store.folder.remove_oldest_aside();
    }
    store.go_on_from(&files, &mut restored, boot.lost);
    store.bytes = store.folder.bytes();
    (boot.state, boot.sequence) = (restored.state, restored.last);
    boot
}

/// Whether something acknowledged may not be in what was read.
pub(super) fn is_lost(files: &Files, restored: &Restored) -> bool {
    restored.unreached || files.highest(None) > restored.last
}

/// Whether what was found is not to be served, and what is to be instead: the state known to be good, else the nearest
/// older snapshot. `None` also where there is no other.
pub(super) fn find_poison(
    runs: &Runs,
    files: &Files,
    rules: PoisonRules,
    newest: &Restored,
    restore: &dyn Fn(u64) -> Restored,
) -> Option<(Poisoned, Restored)> {
    let mark = newest.mark().filter(|_| rules.crashes > 0)?;
    let again = runs.poisoned.as_ref().filter(|poisoned| poisoned.is(&mark));
    if runs.unsurvived < rules.crashes && again.is_none() {
        return None;
    }
    let crashes = again.map_or(runs.unsurvived, |poisoned| poisoned.crashes);
    let good = runs.good.iter().map(|good| good.sequence);
    let mut targets = good.chain(files.live(Kind::Snapshot).rev()).filter(|target| *target < newest.last);
    let before = targets.find_map(|target| {
        let is_other = |restored: &Restored| restored.mark().is_some_and(|other| other.digest != mark.digest);
        Some(restore(target)).filter(|restored| restored.last == target && is_other(restored))
    })?;
    Some((Poisoned::of(&mark, crashes), before))
}

impl Store {
    fn restore(&self, files: &Files, upto: Option<u64>) -> Restored {
        let known = &self.known;
        let restore = Restore { disk: &*self.folder.disk, folder: &self.folder.path, files, upto, thin: false };
        restore.run(&mut |number, state| known.note(number, state))
    }

    /// Names what is not whole, sets it aside and cuts off torn ends, where the folder is ours.
    pub(super) fn report(&self, restored: &Restored) -> Vec<Damage> {
        let tidy = self.lock.is_some();
        let mut damaged = Vec::new();
        for (number, why) in &restored.passed {
            let name = Name::snapshot(*number);
            let (offset, why, aside) = match why {
                NotLoaded::Gone => continue,
                NotLoaded::Left(why) => (None, format!("{why}; it is left as it is"), false),
                NotLoaded::Damaged(offset, why) => (*offset, why.clone(), tidy),
            };
            damaged.push(self.aside(name, aside, Damage { file: name.to_string(), offset, why, kept_as: None }));
        }
        for segment in &restored.segments {
            damaged.extend(self.report_segment(segment, tidy));
        }
        damaged
    }

    fn report_segment(&self, segment: &Segment, tidy: bool) -> Vec<Damage> {
        let name = Name::journal(segment.number);
        let damage = |offset, why| Damage { file: name.to_string(), offset, why, kept_as: None };
        if let Some(why) = &segment.unread {
            return vec![damage(None, format!("{why}; it is left as it is"))];
        }
        if segment.range.is_none() {
            let nothing = damage(Some(0), "no change in it is whole".to_owned());
            return vec![self.aside(name, tidy, nothing)];
        }
        let tail = segment.tail();
        let inside = segment.damaged.iter().filter(|part| Some(*part) != tail.as_ref());
        let mut found: Vec<Damage> = inside.map(|part| damage(Some(part.start), what_inside(part))).collect();
        if let Some(tail) = tail {
            let mut torn = damage(Some(tail.start), what_torn(&tail));
            if tidy {
                match self.folder.cut_off(segment.number, tail.start, Place::Torn) {
                    Ok(copy) => torn.kept_as = Some(copy),
                    Err(error) => torn.why = format!("{}; it cannot be cut off: {error}", torn.why),
                }
            }
            found.push(torn);
        }
        found
    }

    fn aside(&self, name: Name, aside: bool, mut damage: Damage) -> Damage {
        if aside {
            match self.folder.set_aside(name, Place::Damaged) {
                Ok(kept_as) => damage.kept_as = Some(kept_as),
                Err(error) => damage.why = format!("{}; it cannot be set aside: {error}", damage.why),
            }
        }
        damage
    }

    /// Counts this run, before what it serves can kill it.
    pub(super) fn begin_run(&mut self, poisoned: Option<Poisoned>) {
        if self.lock.is_none() {
            return;
        }
        let mut runs = self.runs.clone();
        runs.unsurvived = if poisoned.is_some() { 1 } else { runs.unsurvived.saturating_add(1) };
        runs.poisoned = poisoned.or(runs.poisoned);
        // ignored: a run that could not be counted is no reason not to start
        let _ = runs.write(&self.folder);
        self.runs = runs;
    }

    /// Sets aside what comes after what is served. False where not all of it was.
    fn set_poison_aside(&self, files: &Files, before: &Restored) -> bool {
        if self.lock.is_none() {
            return false;
        }
        let last = before.last;
        let mut all = true;
        for name in files.iter().filter(|name| name.place == Place::Live && name.number > last) {
            all &= self.folder.set_aside(name, Place::Poison).is_ok();
        }
        for segment in before.segments.iter().filter(|segment| segment.number <= last) {
            if let Some(from) = segment.beyond {
                all &= self.folder.cut_off(segment.number, from, Place::Poison).is_ok();
            }
        }
        all
    }

    /// What there is, of which the rest follows: numbers that may have been given, sizes, what is whole.
    pub(super) fn learn_of(&mut self, files: &Files, restored: &Restored) {
        let unread = restored.segments.iter().any(|segment| segment.unread.is_some());
        // Without a snapshot the segments were not looked into.
        let unseen = restored.state.is_none() && files.live(Kind::Journal).next().is_some();
        self.unsure = self.lock.is_none() || unread || unseen;
        if restored.state.is_none() {
            return;
        }
        self.whole = vec![restored.snapshot];
        // Those after it were passed over.
        self.sole = files.live(Kind::Snapshot).filter(|number| *number <= restored.snapshot).count() < 2;
        let size = |name| self.folder.disk.size(&self.folder.file(name)).unwrap_or_default();
        self.snapshot_bytes = size(Name::snapshot(restored.snapshot));
        self.compact_at = super::compact::limit(self.snapshot_bytes);
        self.journal_bytes = files.segments_after(restored.snapshot).into_iter().map(|n| size(Name::journal(n))).sum();
    }

    /// Makes durable what was found, and goes on from there.
    pub(super) fn go_on_from(&mut self, files: &Files, restored: &mut Restored, lost: bool) {
        self.last = restored.last;
        self.known.forget_after(self.last);
        self.learn_of(files, restored);
        let Some(state) = restored.state.as_ref().filter(|_| self.lock.is_some()) else { return };
        if lost {
            self.last = self.last.max(restored.highest);
            // ignored: the store is behind then, and says why
            let _ = self.save(state);
            return;
        }
        self.needs_whole = false;
        let last = encode_payload(restored.last, &restored.payload);
        if let Some(frames) = last.ok().filter(|_| restored.changes > 0) {
            self.pending = Pending::carry(restored.last, frames);
        }
        // What was renamed by a run that then died may not be durable yet, and from now on it is served.
        let settled = if self.pending_is_empty() { self.folder.sync() } else { self.flush() };
        // ignored: the next change is written with it
        let _ = self.noted(settled);
        self.behind = false;
    }
}

pub(super) fn what_inside(part: &Range<u64>) -> String {
    format!("{} bytes at byte {} are damaged; each change is written twice", part.end - part.start, part.start)
}

pub(super) fn what_torn(part: &Range<u64>) -> String {
    format!("its last {} bytes, from byte {} on, are no whole change", part.end - part.start, part.start)
}
