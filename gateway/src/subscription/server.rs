//! The loop for `kind = "http"`: readiness polls, table requests and acks side by side, so that none waits for another.

use std::{
    convert::Infallible,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use routing_cache::{
    gate::Observation,
    live::Reader,
    model::{Epoch, Generation},
    updater::{Audit, Outcome},
    wire::{Changes, SnapshotCandidate, StateAnswer},
};
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};

use super::{
    SubscriptionOptions, acks,
    complaint::Complaint,
    dice,
    pace::{self, Backoff, RequestRate},
    pages::{Collected, Pages},
    plan::{Ask, News, Pause, Plan},
};
use crate::{
    clock,
    orchestrator::{Failure, HttpClient, State},
    telemetry::limits::{LimitWatch, Usage},
    updates::{Standing, UpdaterGone, Updates},
};

/// What the three share.
struct Server<'a> {
    client: &'a HttpClient,
    updates: &'a Updates,
    reader: &'a Reader,
    options: &'a SubscriptionOptions,
    standing: watch::Sender<Standing>,
    /// The update that is to be acknowledged next, and what became of it.
    acks: watch::Sender<Option<((Epoch, Generation), Outcome)>>,
    /// What the orchestrator says of its table.
    told: watch::Sender<Option<(Epoch, Generation)>>,
    rate: Mutex<RequestRate>,
}

/// The table requests' own state.
struct Table {
    plan: Plan,
    backoff: Backoff,
    complaint: Complaint,
    acked: Option<(Epoch, Generation)>,
    watch: LimitWatch,
}

/// Before an answer that was refused for good is looked at again although the orchestrator says nothing else: an
/// operator may have taken an epoch back, or changed a limit.
const REFUSED_FOR: Duration = Duration::from_secs(60);
/// Before another comparison, where the table was on its way at the last one.
const AUDIT_AGAIN_AFTER: Duration = Duration::from_secs(60);

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
    let (acks, told, rate) = (watch::Sender::new(None), watch::Sender::new(None), Mutex::default());
    let server = Server { client, updates, reader, options, standing, acks, told, rate };
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
        let mut audit_at = Instant::now() + pace::jittered(self.options.audit_every, dice());
        loop {
            self.slot().await;
            let answer = self.client.state().await;
            match &answer {
                Ok(_) => complaint.worked(),
                Err(failure) => complaint.failed(failure),
            }
            let rest = self.rest(answer.as_ref().err());
            let (seen, told) = seen(answer);
            self.observe(seen).await?;
            if let Some(told) = told {
                self.told.send_replace(Some((told.epoch.clone(), told.generation)));
                if Instant::now() >= audit_at {
                    audit_at = Instant::now() + self.audit(told).await?;
                }
            }
            sleep(rest).await;
        }
    }

    /// Compares what was received with what the orchestrator has; how long until the next time.
    async fn audit(&self, told: StateAnswer) -> Result<Duration, UpdaterGone> {
        let next = match self.updates.audit(told).await? {
            Audit::Same => self.options.audit_every,
            Audit::NotComparable => self.options.audit_every.min(AUDIT_AGAIN_AFTER),
            Audit::Drifted => {
                // The long poll that is under way ends by this: only a snapshot will do now.
                self.standing.send_replace(self.updates.standing().await?);
                self.options.audit_every
            }
        };
        Ok(pace::jittered(next, dice()))
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
            self.wants_answers().await;
            let standing = self.updates.standing().await?;
            let ask = table.plan.ask(&standing);
            let answer = tokio::select! {
                answer = self.request(&ask, &mut table.watch) => answer,
                // An answer that is still under way when the gate shuts would not be taken. A new request, once it
                // opens again, also cannot hang on a connection that died meanwhile.
                () = self.is_outdated(&ask) => continue,
            };
            let pause = match answer {
                Ok(answer) => self.judge(&mut table, &ask, answer).await?,
                Err(failure) => self.failed(&mut table, &ask, failure).await?,
            };
            sleep(table.rest(pause, standing.has_table)).await;
            if let (Pause::UntilNews(news), Some(refused)) = (pause, &table.acked) {
                self.news(news, refused).await;
            }
        }
    }

    /// Returns once the orchestrator says that it has something else than what was refused, or after a while.
    async fn news(&self, news: News, refused: &(Epoch, Generation)) {
        let is_news = |told: &Option<(Epoch, Generation)>| match (told, news) {
            (Some((epoch, _)), News::OtherEpoch) => *epoch != refused.0,
            // A replica that lags has nothing new to say.
            (Some((epoch, generation)), News::OtherTable) => *epoch != refused.0 || *generation > refused.1,
            (None, _) => false,
        };
        let mut told = self.told.subscribe();
        // ignored: either there is news, or the time is over
        let _ = timeout(pace::jittered(REFUSED_FOR, dice()), told.wait_for(is_news)).await;
    }

    async fn send_acks(&self) -> Ended {
        let mut acks = self.acks.subscribe();
        let mut complaint = Complaint::new("ack");
        loop {
            // ignored: the sender lives as long as `self`
            let _ = acks.changed().await;
            let Some((update, outcome)) = acks.borrow_and_update().clone() else { continue };
            self.slot().await;
            let report = self.updates.current_report().await?;
            let Some(ack) = acks::ack(&update, &outcome, &report, self.reader, self.options) else { continue };
            match self.client.ack(&ack).await {
                Ok(()) => complaint.worked(),
                Err(failure) if acks::has_none(&failure) => sleep(acks::NO_ACKS_FOR).await,
                Err(Failure::RetryAfter(delay)) => sleep(pace::retry_after(delay, dice())).await,
                Err(failure) => complaint.failed(&failure),
            }
        }
    }

    async fn request(&self, ask: &Ask, watch: &mut LimitWatch) -> Result<Answer, Failure> {
        let limits = self.client.limits();
        let Ask::Changes(from) = ask else {
            self.slot().await;
            return self.client.snapshot().await.map(Answer::Snapshot);
        };
        let mut pages = Pages::new(from.clone(), limits);
        loop {
            self.slot().await;
            let page = self.client.changes(pages.since()).await?;
            watch.show(Usage { limit: "changes_bytes", used: page.bytes, of: limits.changes_bytes, by: "" });
            if let Collected::Whole { changes, progress } = pages.add(page)? {
                return Ok(Answer::Changes { changes, progress });
            }
        }
    }

    async fn judge(&self, table: &mut Table, ask: &Ask, answer: Answer) -> Result<Pause, UpdaterGone> {
        table.complaint.worked();
        let (epoch, generation) = answer.update();
        let (outcome, progress) = match answer {
            Answer::Snapshot(candidate) => (self.updates.offer_snapshot(candidate).await?, true),
            Answer::Changes { changes, progress } => (self.updates.offer_changes(changes).await?, progress),
        };
        self.standing.send_replace(self.updates.standing().await?);
        if table.is_news(&outcome, &epoch, generation) {
            self.acks.send_replace(Some(((epoch, generation), outcome.clone())));
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

    /// Returns once the updater wants answers.
    async fn wants_answers(&self) {
        // ignored: the sender lives as long as `self`
        let _ = self.standing.subscribe().wait_for(|standing| standing.wants_answers).await;
    }

    /// Returns once the answer to `asked` would be of no use.
    async fn is_outdated(&self, asked: &Ask) {
        // ignored: the sender lives as long as `self`
        let _ = self.standing.subscribe().wait_for(|standing| Plan::is_outdated(asked, standing)).await;
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
        Self {
            plan: Plan::default(),
            backoff: Backoff::default(),
            complaint,
            acked: None,
            watch: LimitWatch::default(),
        }
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
            Pause::BackOff | Pause::UntilNews(_) => self.backoff.pause(has_table, dice()),
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
}

/// What the gate is told, and what else was said.
fn seen(answer: Result<State, Failure>) -> (Observation, Option<StateAnswer>) {
    match answer {
        Ok(State::Ready(told)) => (Observation::Ready, Some(told)),
        Ok(State::NotReady(why)) | Err(Failure::NotReady(why)) => (Observation::NotReady(why), None),
        Err(failure) => (Observation::Unanswered(failure.to_string()), None),
    }
}
