//! The calls that change something: approve, unpin, drain, log; and what becomes of a rollback or an import.

use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use routing_cache::{
    model::{Epoch, Generation, parse_duration},
    updater::{ApproveError, Outcome, SteerError},
};
use serde::de::DeserializeOwned;

use super::{
    Context,
    answer::Answer,
    view::{ApproveRequest, Approved, Done, LogRequest, Steered},
};
use crate::updates::UpdaterGone;

/// A call's body: a few fields.
const BODY_BYTES: usize = 4096;
/// The longest that another log level stays; a forgotten `debug` fills a disk.
const LOG_LONGEST: Duration = Duration::from_secs(24 * 3600);

/// `POST /v1/table/approve`: releases what is held at the generation named, and nothing that came since; or takes a
/// retired epoch back.
pub(super) async fn approve(context: &Context, body: Incoming) -> Answer {
    let request: ApproveRequest = match read(body).await {
        Ok(request) => request,
        Err(refused) => return refused,
    };
    match (request.generation, request.epoch) {
        (Some(generation), None) => release(context, Generation(generation)).await,
        (None, Some(epoch)) => take_back(context, &epoch).await,
        _ => Answer::error(StatusCode::BAD_REQUEST, "body: give `generation` or `epoch`"),
    }
}

async fn release(context: &Context, generation: Generation) -> Answer {
    match context.updates.approve(generation).await {
        Ok(Ok(outcome)) => Answer::json(&approved(context, &outcome)),
        Ok(Err(error)) => Answer::error(approve_status(&error), &error.to_string()),
        Err(gone) => gone_answer(gone),
    }
}

async fn take_back(context: &Context, epoch: &str) -> Answer {
    let Ok(epoch) = Epoch::new(epoch) else { return Answer::error(StatusCode::BAD_REQUEST, "epoch: it is not one") };
    match context.updates.approve_epoch(epoch.clone()).await {
        Ok(Ok(())) => Answer::json(&Done { state: format!("epoch {epoch} is no longer retired") }),
        Ok(Err(error)) => Answer::error(StatusCode::CONFLICT, &error.to_string()),
        Err(gone) => gone_answer(gone),
    }
}

/// `POST /v1/table/unpin`: the orchestrator is followed again.
pub(super) async fn unpin(context: &Context) -> Answer {
    match context.updates.unpin().await {
        Ok(Ok(())) => Answer::json(&Done { state: "the orchestrator is followed".to_owned() }),
        Ok(Err(error)) => Answer::error(StatusCode::CONFLICT, &error.to_string()),
        Err(gone) => gone_answer(gone),
    }
}

/// What became of a rollback or an import.
pub(super) fn steered(context: &Context, result: Result<Result<Outcome, SteerError>, UpdaterGone>) -> Answer {
    let outcome = match result {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(error)) => return Answer::error(StatusCode::CONFLICT, &error.to_string()),
        Err(gone) => return gone_answer(gone),
    };
    let Some(summary) = outcome.summary() else {
        let why = match &outcome {
            Outcome::Rejected(why) => why.to_string(),
            Outcome::NeedSnapshot(why) => why.clone(),
            _ => String::new(),
        };
        return Answer::error(StatusCode::CONFLICT, &why);
    };
    let published = context.reader.load();
    Answer::json(&Steered {
        outcome: outcome.label().to_owned(),
        added: summary.added as u64,
        updated: summary.updated as u64,
        removed: summary.removed as u64,
        invalid: summary.invalid as u64,
        generation: published.provenance.generation.0,
        apps: published.table.len() as u64,
        saved: summary.saved,
    })
}

fn gone_answer(gone: UpdaterGone) -> Answer {
    Answer::error(StatusCode::SERVICE_UNAVAILABLE, &gone.to_string())
}

fn approve_status(error: &ApproveError) -> StatusCode {
    match error {
        ApproveError::NothingHeld | ApproveError::OtherGeneration { .. } | ApproveError::Pinned => StatusCode::CONFLICT,
    }
}

fn approved(context: &Context, outcome: &Outcome) -> Approved {
    let removed = outcome.summary().map_or(0, |summary| summary.removed as u64);
    let published = context.reader.load();
    Approved {
        outcome: outcome.label().to_owned(),
        removed,
        generation: published.provenance.generation.0,
        apps: published.table.len() as u64,
    }
}

/// `POST /v1/drain`: answers at once; the process ends when its requests have.
pub(super) fn drain(context: &Context) -> Answer {
    tracing::info!("the admin API asks for a drain");
    context.drain.start();
    Answer::json_with(StatusCode::ACCEPTED, &Done { state: "draining".to_owned() })
}

/// `POST /v1/log`.
pub(super) async fn log(context: &Context, body: Incoming) -> Answer {
    let request: LogRequest = match read(body).await {
        Ok(request) => request,
        Err(refused) => return refused,
    };
    let Some(duration) = parse_duration(&request.duration).ok().filter(|d| *d <= LOG_LONGEST) else {
        return Answer::error(StatusCode::BAD_REQUEST, "for: a duration such as \"5m\", of at most \"24h\"");
    };
    match (context.log_level.0)(&request.level, duration) {
        Ok(()) => Answer::json(&Done { state: request.level }),
        Err(error) => Answer::error(StatusCode::BAD_REQUEST, &format!("level: {error}")),
    }
}

/// A body of a few fields.
pub(super) async fn read<T: DeserializeOwned>(body: Incoming) -> Result<T, Answer> {
    let bytes = collect(body).await?;
    let refused = |error: serde_json::Error| Answer::error(StatusCode::BAD_REQUEST, &format!("body: {error}"));
    serde_json::from_slice(&bytes).map_err(refused)
}

async fn collect(body: Incoming) -> Result<Bytes, Answer> {
    match Limited::new(body, BODY_BYTES).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => {
            Err(Answer::error(StatusCode::PAYLOAD_TOO_LARGE, "body: it is over 4096 bytes"))
        }
        Err(error) => Err(Answer::error(StatusCode::BAD_REQUEST, &format!("body: {error}"))),
    }
}
