//! `GET /v1/table/history` and `/v1/table/diff`, `POST /v1/table/rollback`: the generations on disk.
//!
//! Reading one may take a while and as much memory as the served one, so it is done on another thread, and one at a time.

use std::{sync::Arc, time::Duration};

use http::StatusCode;
use hyper::body::Incoming;
use routing_cache::{
    live::Published,
    model::{Digest, Epoch, Generation},
    state::State,
    store::{Archive, Kept, LoadError},
    table::{self, Diff, Table},
};
use tokio::{
    sync::{AcquireError, OwnedSemaphorePermit},
    task::spawn_blocking,
    time::timeout,
};

use super::{
    Context, actions,
    answer::Answer,
    query::Query,
    status,
    view::{DiffSide, DiffView, HistoryView, KeptView, RollbackRequest},
};
use crate::clock;

/// Apps named in each list of a difference where nobody says how many, and at most.
const NAMED: usize = 1000;
/// For whoever has a second table in memory to be done with it.
const ALONE_TIMEOUT: Duration = Duration::from_secs(5);

/// The right to have a second table in memory.
pub(super) async fn alone(context: &Context) -> Result<OwnedSemaphorePermit, ()> {
    let wait = Arc::clone(&context.second_table).acquire_owned();
    timeout(ALONE_TIMEOUT, wait).await.map_err(drop)?.map_err(|_: AcquireError| ())
}

/// Somebody else has it.
pub(super) fn busy() -> Answer {
    Answer::error(StatusCode::SERVICE_UNAVAILABLE, "another import, rollback or diff is under way")
}

/// What can be gone back to.
pub(super) async fn history(context: &Context) -> Answer {
    let (archive, served) = (context.updates.archive().clone(), status::provenance(&context.reader.load()));
    match spawn_blocking(move || archive.history()).await {
        Ok(kept) => Answer::json(&HistoryView { served, generations: kept.iter().map(kept_view).collect() }),
        Err(error) => Answer::error(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

fn kept_view(kept: &Kept) -> KeptView {
    KeptView {
        generation: kept.generation.0,
        epoch: kept.epoch.as_ref().map(ToString::to_string),
        sequence: kept.sequence,
        at: clock::rfc3339(kept.at),
        apps: kept.apps,
        digest: kept.digest.to_string(),
        source: kept.source.as_str().to_owned(),
        file: kept.whole.clone(),
    }
}

/// What lies between two generations; `to` is what is served where it is not given.
pub(super) async fn diff(context: &Context, query: &Query) -> Answer {
    let asked = match Asked::read(query) {
        Ok(asked) => asked,
        Err(why) => return Answer::error(StatusCode::BAD_REQUEST, why),
    };
    let Ok(alone) = alone(context).await else { return busy() };
    let (archive, served) = (context.updates.archive().clone(), context.reader.load());
    let compared = spawn_blocking(move || {
        let view = asked.compare(&archive, &served);
        drop(alone);
        view
    });
    match compared.await {
        Ok(Ok(view)) => Answer::json(&view),
        Ok(Err(error)) => not_loaded(&error),
        Err(error) => Answer::error(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

/// A difference as it is asked for.
struct Asked {
    from: Generation,
    to: Option<Generation>,
    epoch: Option<Epoch>,
    limit: usize,
}

impl Asked {
    fn read(query: &Query) -> Result<Self, &'static str> {
        let number = |name| query.get(name).map(str::parse::<u64>).transpose();
        let from = number("from").ok().flatten().ok_or("from: the number of a kept generation")?;
        let to = number("to").map_err(|_| "to: the number of a kept generation")?;
        let epoch = query.get("epoch").map(Epoch::new).transpose().map_err(|_| "epoch: it is not one")?;
        let limit = number("limit").ok().map(|limit| limit.map_or(NAMED, |limit| limit as usize));
        let limit = limit.filter(|limit| (1..=NAMED).contains(limit)).ok_or("limit: a number from 1 to 1000")?;
        Ok(Self { from: Generation(from), to: to.map(Generation), epoch, limit })
    }

    fn compare(&self, archive: &Archive, served: &Published) -> Result<DiffView, LoadError> {
        let before = archive.load(self.from, self.epoch.as_ref())?;
        let from = Side::of(&before);
        let Some(to) = self.to else {
            let to = Side { table: &served.table, provenance: &served.provenance };
            return Ok(self.view(&from, &to));
        };
        let after = archive.load(to, self.epoch.as_ref())?;
        Ok(self.view(&from, &Side::of(&after)))
    }

    fn view(&self, from: &Side<'_>, to: &Side<'_>) -> DiffView {
        let Diff { added, removed, changed, added_total, removed_total, changed_total } =
            table::diff(from.table, to.table, self.limit);
        let names = |ids: Vec<routing_cache::model::AppId>| ids.iter().map(ToString::to_string).collect();
        DiffView {
            from: from.view(),
            to: to.view(),
            added: names(added),
            removed: names(removed),
            changed: names(changed),
            added_total,
            removed_total,
            changed_total,
        }
    }
}

/// One side of a difference.
struct Side<'a> {
    table: &'a Table,
    provenance: &'a routing_cache::live::Provenance,
}

impl<'a> Side<'a> {
    fn of(state: &'a State) -> Self {
        Self { table: &state.table, provenance: &state.meta.provenance }
    }

    fn view(&self) -> DiffSide {
        let digest: Digest = self.table.digest();
        DiffSide {
            generation: self.provenance.generation.0,
            epoch: self.provenance.epoch.as_ref().map(ToString::to_string),
            apps: self.table.len() as u64,
            digest: digest.to_string(),
        }
    }
}

/// Goes back to a kept generation and stays there.
pub(super) async fn rollback(context: &Context, body: Incoming) -> Answer {
    let request: RollbackRequest = match actions::read(body).await {
        Ok(request) => request,
        Err(refused) => return refused,
    };
    let Ok(epoch) = request.epoch.as_deref().map(Epoch::new).transpose() else {
        return Answer::error(StatusCode::BAD_REQUEST, "epoch: it is not one");
    };
    let Ok(_alone) = alone(context).await else { return busy() };
    let archive = context.updates.archive().clone();
    let loaded = spawn_blocking(move || archive.load(Generation(request.generation), epoch.as_ref())).await;
    match loaded {
        Ok(Ok(state)) => actions::steered(context, context.updates.rollback(state).await),
        Ok(Err(error)) => not_loaded(&error),
        Err(error) => Answer::error(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

fn not_loaded(error: &LoadError) -> Answer {
    let status = match error {
        LoadError::NotKept { .. } => StatusCode::NOT_FOUND,
        _ => StatusCode::CONFLICT,
    };
    Answer::error(status, &error.to_string())
}
