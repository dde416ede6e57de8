//! The verdict is carried out: the table becomes what was received, as far as it may.
//!
//! What little changes is put into the table step by step. Where most of a snapshot is new, the snapshot's own records
//! become the table, with what differs put over it; so there is never a second copy of a million apps.

use std::sync::Arc;

use super::{
    arrival::Arrival,
    draft::Draft,
    hosts::{Gone, Map, contest},
};
use crate::{
    guard::Verdict,
    model::{AppId, AppRecord, Digest, Record},
    state::{Kind, Op},
    table::{Base, Held, HostTaken, Table},
    wire::{Batch, parse_document},
};

/// Rounds at most for one update. A loser whose rival falls later in the same round gets its host in the next; whoever
/// still waits after the last gets another chance with the next update that frees a host.
const MAX_ROUNDS: usize = 16;

/// From so many apps on the records of a snapshot may become the table. Small in tests, so that they meet both ways.
const MANY_APPS: usize = if cfg!(test) { 6 } else { 4096 };

/// The part of a snapshot that has to be new for that.
const MANY_OF: usize = 4;

/// Records begin at a multiple of so many bytes in a batch.
const ALIGNMENT: usize = Record::ALIGN;

/// Who does not get all hosts, and the host it lacks.
type Losers = Vec<(AppRecord, HostTaken)>;

impl Draft {
    /// Brings the table to what was received, as far as the verdict lets it.
    pub(super) fn carry_out(&mut self, verdict: &Verdict) {
        let gone = self.let_go(verdict);
        let arriving = std::mem::take(&mut self.arriving);
        let (stay, mut apps) = self.split(arriving);
        let frees = !gone.is_empty() || apps.iter().any(|app| self.frees_hosts(app.get()));
        gone.into_iter().for_each(|id| self.step(Op::Remove(id)));
        if frees {
            let holds = matches!(verdict, Verdict::Hold(_));
            let waiting = self.waiting_besides(&stay, &apps).into_iter();
            apps.extend(waiting.filter(|app| !(holds && self.empties(app))));
        }
        self.settle(stay, apps);
        self.count_held();
    }

    /// Whether so much of a snapshot is new that its records are to become the table.
    pub(super) fn is_mostly_new(arriving: usize, batch: &Batch) -> bool {
        arriving >= MANY_APPS && arriving >= batch.len() / MANY_OF
    }

    /// As [`Draft::carry_out`], for a complete snapshot whose apps `arriving` are not served as they came: says who
    /// loses. The table is to be [built](Draft::build).
    pub(super) fn carry_out_whole<'a>(
        &mut self,
        verdict: &Verdict,
        batch: &'a Batch,
        mut arriving: Vec<Record<'a>>,
    ) -> Losers {
        self.save_whole();
        let gone: Gone = self.let_go(verdict).into_iter().collect();
        let released = std::mem::take(&mut self.arriving);
        arriving.extend(released.iter().filter_map(|arrival| batch.get(arrival.id.as_str())));
        let lost = contest(&self.before.table, &gone, &arriving, &Map::default());
        let mut losers = Vec::new();
        for (app, lost) in arriving.into_iter().zip(lost) {
            match lost {
                None => self.placed(&app.app_id(), app, self.endpoints_before(app)),
                Some(taken) => losers.push((AppRecord::copy_of(app), taken)),
            }
        }
        losers
    }

    /// Makes the table of a snapshot's records, with the last versions of those that differ put over it.
    ///
    /// # Errors
    /// When an app would take another's host; it cannot be, the losers being known.
    pub(super) fn build(&mut self, batch: Batch, losers: Losers) -> Result<(), HostTaken> {
        let differ = self.work.differences().into_iter().flat_map(|differences| differences.iter()).map(|(id, _)| id);
        let differ: Gone = differ.cloned().chain(losers.iter().map(|(app, _)| app.get().app_id())).collect();
        let kept = differ.iter().filter_map(|id| self.before.table.app(id.as_str()));
        let kept: Vec<AppRecord> = kept.map(AppRecord::copy_of).collect();
        self.work.table = table_of(batch, &differ)?;
        for app in kept {
            self.work.table.upsert(app)?;
        }
        let (stay, apps) = self.split(losers.into_iter().map(|(app, _)| Arrival::of(app)).collect());
        self.settle(stay, apps);
        self.count_held();
        Ok(())
    }

    /// What the guard lets go: the apps to be taken out. Those that come back without endpoints arrive.
    fn let_go(&mut self, verdict: &Verdict) -> Vec<AppId> {
        let going: Vec<AppId> = match verdict {
            Verdict::Let => std::mem::take(&mut self.newly_held),
            Verdict::Release => self.all_held(),
            Verdict::Hold(_) => Vec::new(),
        };
        let mut gone = Vec::new();
        for id in going {
            match self.difference(id.as_str()).map(|d| d.kind.clone()) {
                Some(Kind::Deleted(rev)) => {
                    self.agree(&id);
                    self.bury(id.clone(), rev);
                    self.summary.removed += 1;
                    self.taken.push(id.clone());
                    gone.push(id);
                }
                Some(Kind::Withheld(app)) => {
                    self.agree(&id);
                    self.arriving.push(Arrival::of(app));
                }
                _ => {}
            }
        }
        gone
    }

    fn all_held(&self) -> Vec<AppId> {
        let differences = self.work.differences().into_iter().flat_map(|differences| differences.iter());
        differences.filter(|(_, d)| d.kind.is_held()).map(|(id, _)| id.clone()).collect()
    }

    fn count_held(&mut self) {
        self.summary.held = self.work.differences().map_or(0, |differences| differences.held());
    }

    fn frees_hosts(&self, next: Record<'_>) -> bool {
        let old = self.before.table.app(next.id());
        old.is_some_and(|old| old.hosts().any(|host| !next.claims(host)))
    }

    /// Those that keep their hosts, and the others.
    fn split(&self, arriving: Vec<Arrival>) -> (Vec<(Arrival, Held)>, Vec<AppRecord>) {
        let (mut stay, mut others) = (Vec::with_capacity(arriving.len()), Vec::new());
        for mut arrival in arriving {
            let held = arrival.held.take().or_else(|| self.work.table.hold(arrival.id.as_str()));
            match held.filter(|held| self.keeps_hosts(held, arrival.app.get())) {
                Some(held) => stay.push((arrival, held)),
                None => others.push(arrival.app),
            }
        }
        (stay, others)
    }

    /// Whether the app claims just the hosts that it has: then nobody can take one from it, and it takes and frees none.
    fn keeps_hosts(&self, held: &Held, next: Record<'_>) -> bool {
        let old = held.record(&self.work.table).filter(|old| old.host_count() == next.host_count());
        old.is_some_and(|old| old.hosts().all(|host| next.claims(host)))
    }

    /// The apps that wait for a host from before.
    fn waiting_besides(&self, stay: &[(Arrival, Held)], apps: &[AppRecord]) -> Vec<AppRecord> {
        let Some(differences) = self.work.differences().filter(|differences| differences.waiting() > 0) else {
            return Vec::new();
        };
        let coming = stay.iter().map(|(arrival, _)| &arrival.app).chain(apps);
        let coming: std::collections::HashSet<&str> = coming.map(|app| app.get().id()).collect();
        let waiting = differences.iter().filter_map(|(_, d)| match &d.kind {
            Kind::Waiting(app, _) if !coming.contains(app.get().id()) => Some(app.clone()),
            _ => None,
        });
        waiting.collect()
    }

    /// Puts into the table those that stay at their hosts, and those of `apps` that get all of theirs; the others wait.
    fn settle(&mut self, stay: Vec<(Arrival, Held)>, apps: Vec<AppRecord>) {
        self.ops.reserve(if self.whole { 0 } else { stay.len() + apps.len() });
        for (Arrival { id, app, digest, .. }, held) in stay {
            let before = held.record(&self.work.table).map(Record::endpoints);
            self.placed(&id, app.get(), before);
            let done = self.work.replace(&app, &held, digest);
            debug_assert!(done.is_ok(), "nobody takes a host that is another's: {done:?}");
            self.record(Op::Put(app));
        }
        let mut claimants = apps.len();
        let mut losers = if apps.is_empty() { Vec::new() } else { self.round(apps) };
        for _ in 1..MAX_ROUNDS {
            if losers.is_empty() || losers.len() == claimants {
                break;
            }
            claimants = losers.len();
            losers = self.round(losers.into_iter().map(|(app, _)| app).collect());
        }
        losers.into_iter().for_each(|(app, taken)| self.waits_for_host(app, &taken));
    }

    fn round(&mut self, apps: Vec<AppRecord>) -> Losers {
        let mut refused: Map<AppId, HostTaken> = Map::default();
        let (table, steps) = (self.work.table.clone(), self.ops.len());
        loop {
            let records: Vec<Record<'_>> = apps.iter().map(AppRecord::get).collect();
            let lost = contest(&table, &Gone::default(), &records, &refused);
            match self.place(&apps, &lost) {
                Ok(()) => {
                    let winners = apps.iter().zip(&lost).filter(|(_, lost)| lost.is_none());
                    winners.for_each(|(app, _)| {
                        let before = self.endpoints_before(app.get());
                        self.placed(&app.get().app_id(), app.get(), before);
                    });
                    return apps.into_iter().zip(lost).filter_map(|(app, lost)| Some((app, lost?))).collect();
                }
                // The table is the last word. Each time there is one claimant less, so there is an end.
                Err((id, taken)) => refused.insert(id, taken),
            };
            self.work.table = table.clone();
            self.forget_steps(steps);
        }
    }

    /// Frees what the winners give up before any of them takes what it wins.
    fn place(&mut self, apps: &[AppRecord], lost: &[Option<HostTaken>]) -> Result<(), (AppId, HostTaken)> {
        let winners = || apps.iter().zip(lost).filter(|(_, lost)| lost.is_none()).map(|(app, _)| app);
        for app in winners() {
            let old = self.work.table.app(app.get().id());
            if old.is_some_and(|old| old.hosts().any(|host| !app.get().claims(host))) {
                self.step(Op::Remove(app.get().app_id()));
            }
        }
        for app in winners() {
            let op = Op::Put(app.clone());
            self.work.step(&op).map_err(|taken| (app.get().app_id(), taken))?;
            self.record(op);
        }
        Ok(())
    }

    fn endpoints_before(&self, app: Record<'_>) -> Option<u32> {
        self.before.table.app(app.id()).map(Record::endpoints)
    }

    /// `before`: the endpoints of what was served of it before.
    fn placed(&mut self, id: &AppId, app: Record<'_>, before: Option<u32>) {
        self.agree(id);
        if self.work.tombstones.of(id.as_str()).is_some() {
            self.step(Op::Unbury(id.clone()));
        }
        if app.endpoints() == 0 && before.is_some_and(|endpoints| endpoints > 0) {
            self.taken.push(id.clone());
        } else if app.endpoints() > 0 && !self.whole {
            self.back.push(id.clone());
        }
        match before {
            Some(_) => self.summary.updated += 1,
            None => self.summary.added += 1,
        }
    }

    fn waits_for_host(&mut self, app: AppRecord, taken: &HostTaken) {
        let id = app.get().app_id();
        let known = matches!(self.difference_before(id.as_str()).map(|d| &d.kind), Some(Kind::Waiting(..)));
        self.summary.invalid += usize::from(!known);
        let hosts = parse_document(app.get().document()).map(|spec| spec.hosts).unwrap_or_default();
        let place = hosts.iter().position(|host| *host == taken.host).unwrap_or_default();
        self.differ(&id, Kind::Waiting(app, format!("hosts[{place}]: {taken}")));
    }
}

/// The table that a snapshot's own records are, but for some.
///
/// # Errors
/// When two of them claim one host.
pub(super) fn table_of(batch: Batch, besides: &Gone) -> Result<Table, HostTaken> {
    let out = besides.iter().filter_map(|id| batch.get(id.as_str())).map(Record::digest);
    let out = out.chain(batch.invalid().iter().map(|app| app.digest));
    // Computing the digest anew would be most of the work.
    let digest = out.fold(batch.digest(), Digest::minus);
    let mut records = batch.into_records();
    if !besides.is_empty() {
        remove_records(&mut records, |record| besides.contains(record.id()));
    }
    Ok(Table::from_base(Arc::new(Base::from_records_of(records, digest)?)))
}

/// Takes records out of a batch's, in their place.
fn remove_records(records: &mut Vec<u8>, is_out: impl Fn(Record<'_>) -> bool) {
    let (mut from, mut to) = (0, 0);
    while let Some(record) = Record::at(records, from) {
        let length = record.as_bytes().len();
        let next = (from + length).next_multiple_of(ALIGNMENT);
        if !is_out(record) {
            records.copy_within(from..from + length, to);
            let end = (to + length).next_multiple_of(ALIGNMENT);
            records.get_mut(to + length..end).into_iter().for_each(|gap| gap.fill(0));
            to = end;
        }
        from = next;
    }
    records.truncate(to);
}
