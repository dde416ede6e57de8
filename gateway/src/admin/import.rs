//! `POST /v1/table/import`: an operator's table, decoded as it comes and within the limits of any snapshot.

use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use routing_cache::wire::{SnapshotCandidate, SnapshotDecoder, WireError};
use tokio::time::timeout;

use super::{Context, actions, answer::Answer, archive, patience::Patience};

/// For the next part of the body to come.
const PART_TIMEOUT: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 10 });
/// For the rest of a body that is refused, so that the client gets to read why.
const REST_TIMEOUT: Duration = Duration::from_secs(5);

/// Puts the table of `body` in the place of the served one, and pins it.
pub(super) async fn import(context: &Context, mut body: Incoming, patience: &Patience) -> Answer {
    let Ok(_alone) = archive::alone(context).await else { return archive::busy() };
    match receive(context, &mut body, patience).await {
        Ok(candidate) => actions::steered(context, context.updates.import(candidate).await),
        Err(refused) => {
            // ignored: the answer is the same, and a client that sends on for longer loses it
            let _ = timeout(REST_TIMEOUT, rest(&mut body)).await;
            refused
        }
    }
}

async fn receive(context: &Context, body: &mut Incoming, patience: &Patience) -> Result<SnapshotCandidate, Answer> {
    let mut decoder = SnapshotDecoder::new(context.config.load().updater().limits);
    while let Some(bytes) = part(body).await? {
        patience.extend();
        decoder.push(&bytes).map_err(|error| not_usable(&error))?;
    }
    decoder.finish().map_err(|error| not_usable(&error))
}

async fn part(body: &mut Incoming) -> Result<Option<Bytes>, Answer> {
    loop {
        let late = |_| Answer::error(StatusCode::REQUEST_TIMEOUT, "body: it stopped coming");
        match timeout(PART_TIMEOUT, body.frame()).await.map_err(late)? {
            None => return Ok(None),
            Some(Err(error)) => return Err(Answer::error(StatusCode::BAD_REQUEST, &format!("body: {error}"))),
            Some(Ok(frame)) => match frame.into_data() {
                Ok(bytes) => return Ok(Some(bytes)),
                Err(_trailers) => {}
            },
        }
    }
}

async fn rest(body: &mut Incoming) {
    while let Some(Ok(_)) = body.frame().await {}
}

fn not_usable(error: &WireError) -> Answer {
    let status = match error {
        WireError::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
        _ => StatusCode::BAD_REQUEST,
    };
    Answer::error(status, &format!("body: {error}"))
}
