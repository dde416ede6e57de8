//! POST /control/...: what a person at the demo, or a test, makes the small orchestrator say.

use bytes::Bytes;
use http::{Method, StatusCode};
use routing_cache::wire::ShrinkOk;
use serde::Deserialize;

use super::{
    desk::Desk,
    reply::{self, JSON, Reply},
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ready {
    ready: bool,
    #[serde(default)]
    reason: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Shrink {
    to_apps: u64,
    #[serde(default)]
    by: String,
    #[serde(default)]
    why: String,
}

/// Carries out a control call, and answers with the state after it.
pub(super) fn answer(desk: &Desk, path: &str, method: &Method, body: Option<Bytes>) -> Reply {
    if method != Method::POST {
        return reply::not_allowed("POST");
    }
    let Some(body) = body else { return reply::error(StatusCode::PAYLOAD_TOO_LARGE, "at most 1 MiB") };
    let done = match path {
        "/control/ready" => serde_json::from_slice(&body).map(|ready| set_ready(desk, ready)),
        "/control/shrink_ok" => serde_json::from_slice(&body).map(|shrink| announce(desk, shrink)),
        _ => return reply::error(StatusCode::NOT_FOUND, "no such call"),
    };
    match done {
        Ok(()) => reply::body(StatusCode::OK, JSON, Bytes::from([&desk.lock().state()[..], b"\n"].concat())),
        Err(error) => reply::error(StatusCode::BAD_REQUEST, &error.to_string()),
    }
}

fn set_ready(desk: &Desk, Ready { ready, reason }: Ready) {
    let reason = reason.unwrap_or_else(|| "an operator said so".to_owned());
    desk.force((!ready).then_some(reason));
}

fn announce(desk: &Desk, Shrink { to_apps, by, why }: Shrink) {
    desk.announce(ShrinkOk { to_apps, by, why });
}
