//! The loop for `kind = "http"`: readiness polls, table requests and acks side by side, so that none waits for another.

use std::{
    convert::Infallible,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use metrics::gauge;
use routing_cache::{
    gate::Observation,
    limits::Limits,
    live::Reader,
    model::{Epoch, Generation},
    updater::Outcome,
    wire::{Changes, Incoming, SnapshotCandidate},
};
use tokio::{sync::watch, time::sleep};

use super::{
    SubscriptionOptions, acks,
    complaint::Complaint,
    dice,
    pace::{self, Backoff, RequestRate},
    pages::{Collected, Pages},
    plan::{Ask, Pause, Plan},
};
use crate::{
    clock,
    orchestrator::{Ack, Failure, HttpClient, State},
    telemetry::names,
    updates::{Standing, UpdaterGone, Updates},
};

/// What the three share.
struct Server<'a> {
    client: &'a HttpClient,
    updates: &'a Updates,
    reader: &'a Reader,
    options: &'a SubscriptionOptions,
    standing: watch::Sender<Standing>,
    acks: watch::Sender<Option<Ack>>,
    rate: Mutex<RequestRate>,
}

/// The table requests' own state.
struct Table {
    plan: Plan,
    backoff: Backoff,
    complaint: Complaint,
    acked: Option<(Epoch, Generation)>,
}

/// An answer to a table request, ready to be judged.
enum Answer {
    Snapshot(SnapshotCandidate),
    Changes { changes: Changes, progress: bool },
}

type Ended = Result<Infallible, UpdaterGone>;

/// Follows the orchestrator; returns only when the updater has ended.
pub(super) async fn follow(
    client: &HttpClient,
    updates: &Updates,
    reader: &Reader,
    options: &SubscriptionOptions,
) -> UpdaterGone {
    let standing = match updates.standing().await {
        Ok(standing) => watch::Sender::new(standing),
        Err(gone) => return gone,
    };
    let (acks, rate) = (watch::Sender::new(None), Mutex::default());
    let server = Server { client, updates, reader, options, standing, acks, rate };
    let ended = tokio::select! {
        ended = server.poll_state() => ended,
        ended = server.poll_readiness() => ended,
        ended = server.follow_table() => ended,
        ended = server.send_acks() => ended,
    };
    match ended {
        Err(gone) => gone,
    }
}

impl Server<'_> {
    async fn poll_state(&self) -> Ended {
        let mut complaint = Complaint::new("state");
        loop {
            self.slot().await;
            let answer = self.client.state().await;
            match &answer {
                Ok(_) => complaint.worked(),
                Err(failure) => complaint.failed(failure),
            }
            let rest = self.rest(answer.as_ref().err());
            self.observe(seen(answer)).await?;
            sleep(rest).await;
        }
    }

    async fn poll_readiness(&self) -> Ended {
        if !self.client.has_readiness_url() {
            return std::future::pending().await;
        }
        let mut complaint = Complaint::new("readiness");
        loop {
            self.slot().await;
            let answer = self.client.readiness().await;
            match &answer {
                Ok(()) => complaint.worked(),
                Err(failure) => complaint.failed(failure),
            }
            self.observe(answer.map_or_else(|f| Observation::UrlFailed(f.to_string()), |()| Observation::UrlOk))
                .await?;
            sleep(self.rest(None)).await;
        }
    }

    async fn follow_table(&self) -> Ended {
        let mut table = Table::default();
        loop {
            self.wants_answers(true).await;
            let standing = self.updates.standing().await?;
            let ask = table.plan.ask(&standing);
            let answer = tokio::select! {
                answer = self.request(&ask) => answer,
                // An answer that is still under way when the gate shuts would not be taken. A new request, once it
                // opens again, also cannot hang on a connection that died meanwhile.
                () = self.wants_answers(false) => continue,
            };
            let pause = match answer {
                Ok(answer) => self.judge(&mut table, &ask, answer).await?,
                Err(failure) => self.failed(&mut table, &ask, failure).await?,
            };
            sleep(table.rest(pause, standing.has_table)).await;
        }
    }

    async fn send_acks(&self) -> Ended {
        let mut acks = self.acks.subscribe();
        let mut complaint = Complaint::new("ack");
        loop {
            // ignored: the sender lives as long as `self`
            let _ = acks.changed().await;
            let Some(ack) = acks.borrow_and_update().clone() else { continue };
            self.slot().await;
            match self.client.ack(&ack).await {
                Ok(()) => complaint.worked(),
                Err(failure) if acks::has_none(&failure) => sleep(acks::NO_ACKS_FOR).await,
                Err(Failure::RetryAfter(delay)) => sleep(pace::retry_after(delay, dice())).await,
                Err(failure) => complaint.failed(&failure),
            }
        }
    }

    async fn request(&self, ask: &Ask) -> Result<Answer, Failure> {
        let limits = self.client.limits();
        let Ask::Changes(from) = ask else {
            self.slot().await;
            return self.client.snapshot().await.map(Answer::Snapshot);
        };
        let mut pages = Pages::new(from.clone(), limits);
        loop {
            self.slot().await;
            let page = self.client.changes(pages.since()).await?;
            ratio("changes_bytes", page.bytes, limits.changes_bytes);
            if let Collected::Whole { changes, progress } = pages.add(page)? {
                return Ok(Answer::Changes { changes, progress });
            }
        }
    }

    async fn judge(&self, table: &mut Table, ask: &Ask, answer: Answer) -> Result<Pause, UpdaterGone> {
        table.complaint.worked();
        answer.measure(&self.client.limits());
        let (epoch, generation) = answer.update();
        let (outcome, progress) = match answer {
            Answer::Snapshot(candidate) => (self.updates.offer_snapshot(candidate).await?, true),
            Answer::Changes { changes, progress } => (self.updates.offer_changes(changes).await?, progress),
        };
        self.standing.send_replace(self.updates.standing().await?);
        if table.is_news(&outcome, &epoch, generation) {
            let report = self.updates.report();
            let ack = acks::ack((&epoch, generation), &outcome, &report, self.reader, self.options);
            self.acks.send_if_modified(|last| {
                ack.is_some() && {
                    *last = ack;
                    true
                }
            });
        }
        Ok(table.plan.judged(ask, &outcome, progress))
    }

    async fn failed(&self, table: &mut Table, ask: &Ask, failure: Failure) -> Result<Pause, UpdaterGone> {
        table.complaint.failed(&failure);
        let pause = table.plan.failed(ask, &failure);
        if let Failure::NotReady(why) = failure {
            self.observe(Observation::NotReady(why)).await?;
        }
        Ok(pause)
    }

    async fn observe(&self, seen: Observation) -> Result<(), UpdaterGone> {
        self.standing.send_replace(self.updates.observe(seen).await?);
        Ok(())
    }

    /// Returns once the updater wants answers, or (`false`) no longer wants them.
    async fn wants_answers(&self, wanted: bool) {
        // ignored: the sender lives as long as `self`
        let _ = self.standing.subscribe().wait_for(|s| s.wants_answers == wanted).await;
    }

    /// Waits until another request may be sent.
    async fn slot(&self) {
        let now = clock::now().monotonic;
        let wait = self.rate.lock().unwrap_or_else(PoisonError::into_inner).take(now);
        sleep(wait).await;
    }

    /// Until the next readiness poll.
    fn rest(&self, failure: Option<&Failure>) -> Duration {
        let period = pace::jittered(self.options.check_every, dice());
        match failure {
            Some(Failure::RetryAfter(delay)) => pace::retry_after(*delay, dice()).max(period),
            _ => period,
        }
    }
}

impl Default for Table {
    fn default() -> Self {
        let complaint = Complaint::new("table");
        Self { plan: Plan::default(), backoff: Backoff::default(), complaint, acked: None }
    }
}

impl Table {
    /// Until the next table request.
    fn rest(&mut self, pause: Pause, has_table: bool) -> Duration {
        match pause {
            Pause::None => {
                if self.plan.is_settled() {
                    self.backoff.reset();
                }
                Duration::ZERO
            }
            Pause::BackOff => self.backoff.pause(has_table, dice()),
            Pause::For(delay) => pace::retry_after(delay, dice()),
        }
    }

    /// A heartbeat is not acknowledged: nothing has become of it.
    fn is_news(&mut self, outcome: &Outcome, epoch: &Epoch, generation: Generation) -> bool {
        let update = Some((epoch.clone(), generation));
        let news = self.acked != update || !matches!(outcome, Outcome::Unchanged(_));
        self.acked = update;
        news
    }
}

impl Answer {
    fn update(&self) -> (Epoch, Generation) {
        match self {
            Self::Snapshot(candidate) => (candidate.epoch.clone(), candidate.generation),
            Self::Changes { changes, .. } => (changes.epoch.clone(), changes.to),
        }
    }

    /// Shows how near the limits it comes.
    fn measure(&self, limits: &Limits) {
        let apps = match self {
            Self::Snapshot(candidate) => {
                ratio("snapshot_bytes", candidate.bytes, limits.snapshot_bytes);
                ratio("snapshot_apps", candidate.apps.len() as u64, limits.snapshot_apps);
                &candidate.apps
            }
            Self::Changes { changes, .. } => &changes.upserts,
        };
        if let Some(largest) = largest(apps) {
            ratio("app_bytes", largest, limits.app_bytes);
        }
    }
}

fn largest(apps: &[Incoming]) -> Option<u64> {
    apps.iter().map(|app| app.bytes as u64).max()
}

#[expect(clippy::cast_precision_loss, reason = "a ratio needs no more than 52 bits")]
fn ratio(limit: &'static str, used: u64, of: u64) {
    gauge!(names::TABLE_LIMIT_RATIO, names::LIMIT_LABEL => limit).set(used as f64 / of.max(1) as f64);
}

fn seen(answer: Result<State, Failure>) -> Observation {
    match answer {
        Ok(State::Ready) => Observation::Ready,
        Ok(State::NotReady(why)) | Err(Failure::NotReady(why)) => Observation::NotReady(why),
        Err(failure) => Observation::Unanswered(failure.to_string()),
    }
}
