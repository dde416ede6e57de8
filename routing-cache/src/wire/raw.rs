//! Answers as they stand in JSON: the names of spec/orchestrator-api.md, for reading and for writing.
//!
//! Fields that are not known are ignored, so that an orchestrator may say more than this version understands. Nothing
//! here is checked beyond its type: whoever reads one of these makes values of the model of it.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use super::{StateAnswer, WireError, error::bounded};
use crate::model::{AppId, Digest, Epoch, Generation, Rev};

/// The version of the API that is spoken.
pub(super) const SCHEMA: u64 = 1;

/// Reads `bytes`, the line of that number, as a `T`.
pub(super) fn read<'a, T: Deserialize<'a>>(line: u64, bytes: &'a [u8]) -> Result<T, WireError> {
    serde_json::from_slice(bytes).map_err(|error| WireError::garbage(line, error))
}

/// What an answer may still say that cannot be read whole.
#[derive(Deserialize)]
pub(super) struct Hint {
    schema: Option<u64>,
    ready: Option<bool>,
    reason: Option<String>,
}

impl Hint {
    /// A better reason than `error` for why the answer is of no use, where there is one.
    pub(super) fn or(self, error: WireError) -> WireError {
        match self {
            Self { ready: Some(false), reason, .. } => {
                WireError::NotReady { reason: bounded(&reason.unwrap_or_default()) }
            }
            Self { schema: Some(found), .. } if found != SCHEMA => WireError::Schema { found },
            _ => error,
        }
    }
}

/// Reads a body of one object; one that cannot be read may still say `ready:false`, or be of another schema.
pub(super) fn read_answer<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, WireError> {
    read(1, body).map_err(|error| match serde_json::from_slice::<Hint>(body) {
        Ok(hint) => hint.or(error),
        Err(_) => error,
    })
}

/// Refuses another version of the API.
pub(super) fn check_schema(found: u64) -> Result<(), WireError> {
    if found == SCHEMA { Ok(()) } else { Err(WireError::Schema { found }) }
}

pub(super) fn epoch(line: u64, text: &str) -> Result<Epoch, WireError> {
    Epoch::new(text).map_err(|error| WireError::garbage(line, format!("the epoch {error}")))
}

pub(super) fn app_id(line: u64, text: &str) -> Result<AppId, WireError> {
    AppId::new(text).map_err(|error| WireError::garbage(line, format!("an app's id {error}")))
}

pub(super) fn digest(line: u64, text: &str) -> Result<Digest, WireError> {
    text.parse().map_err(|error| WireError::garbage(line, error))
}

/// GET /v1/state
#[derive(Deserialize, Serialize)]
pub(super) struct State<'a> {
    schema: u64,
    #[serde(borrow)]
    epoch: Cow<'a, str>,
    generation: u64,
    ready: bool,
    #[serde(default)]
    reason: Option<Cow<'a, str>>,
    apps: u64,
    digest: Cow<'a, str>,
    #[serde(default)]
    bytes: u64,
}

impl<'a> From<&'a StateAnswer> for State<'a> {
    fn from(state: &'a StateAnswer) -> Self {
        Self {
            schema: SCHEMA,
            epoch: Cow::Borrowed(state.epoch.as_str()),
            generation: state.generation.0,
            ready: state.ready,
            reason: state.reason.as_deref().map(Cow::Borrowed),
            apps: state.apps,
            digest: Cow::Owned(state.digest.to_string()),
            bytes: state.bytes,
        }
    }
}

impl TryFrom<State<'_>> for StateAnswer {
    type Error = WireError;

    fn try_from(state: State<'_>) -> Result<Self, WireError> {
        check_schema(state.schema)?;
        Ok(Self {
            epoch: epoch(1, &state.epoch)?,
            generation: Generation(state.generation),
            ready: state.ready,
            reason: state.reason.as_deref().map(bounded),
            apps: state.apps,
            digest: digest(1, &state.digest)?,
            bytes: state.bytes,
        })
    }
}

/// One line of a snapshot, of whichever kind.
#[derive(Deserialize)]
pub(super) struct Line<'a> {
    #[serde(borrow)]
    pub(super) begin: Option<Begin<'a>>,
    pub(super) end: Option<End<'a>>,
    pub(super) app: Option<Cow<'a, str>>,
    pub(super) rev: Option<u64>,
    #[serde(default, deserialize_with = "even_null")]
    pub(super) spec: Option<&'a RawValue>,
}

/// A document that is `null` is there, and invalid; `Option` alone would take it for absent.
fn even_null<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// What of a first line may be understood where the whole cannot.
#[derive(Deserialize)]
pub(super) struct BeginHint {
    pub(super) begin: Hint,
}

/// The first line of a snapshot.
#[derive(Deserialize, Serialize)]
pub(super) struct Begin<'a> {
    pub(super) schema: u64,
    #[serde(borrow)]
    pub(super) epoch: Cow<'a, str>,
    pub(super) generation: u64,
    pub(super) ready: bool,
    pub(super) apps: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) shrink_ok: Option<ShrinkOk<'a>>,
}

/// The last line of a snapshot.
#[derive(Deserialize, Serialize)]
pub(super) struct End<'a> {
    pub(super) apps: u64,
    #[serde(borrow)]
    pub(super) digest: Cow<'a, str>,
}

/// GET /v1/changes. A list that is `null` is empty: so it comes from languages whose empty list is nil.
#[derive(Deserialize)]
pub(super) struct Changes<'a> {
    #[serde(borrow)]
    pub(super) epoch: Cow<'a, str>,
    pub(super) from: u64,
    pub(super) to: u64,
    pub(super) ready: bool,
    #[serde(borrow)]
    pub(super) upserts: Option<Vec<Upsert<'a>>>,
    #[serde(borrow)]
    pub(super) deletes: Option<Vec<Delete<'a>>>,
    #[serde(default)]
    pub(super) more: bool,
    pub(super) apps: u64,
    #[serde(borrow)]
    pub(super) digest: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) shrink_ok: Option<ShrinkOk<'a>>,
}

/// A new or changed app.
#[derive(Deserialize)]
pub(super) struct Upsert<'a> {
    #[serde(borrow)]
    pub(super) app: Cow<'a, str>,
    pub(super) rev: u64,
    #[serde(borrow)]
    pub(super) spec: &'a RawValue,
}

/// An app that is gone.
#[derive(Deserialize, Serialize)]
pub(super) struct Delete<'a> {
    #[serde(borrow)]
    app: Cow<'a, str>,
    rev: u64,
}

impl Delete<'_> {
    pub(super) fn read(&self) -> Result<(AppId, Rev), WireError> {
        Ok((app_id(1, &self.app)?, Rev(self.rev)))
    }
}

impl<'a> From<&'a (AppId, Rev)> for Delete<'a> {
    fn from((app, rev): &'a (AppId, Rev)) -> Self {
        Self { app: Cow::Borrowed(app.as_str()), rev: rev.0 }
    }
}

/// The orchestrator's word that a shrink is meant.
#[derive(Deserialize, Serialize)]
pub(super) struct ShrinkOk<'a> {
    to_apps: u64,
    #[serde(borrow)]
    by: Cow<'a, str>,
    why: Cow<'a, str>,
}

impl From<ShrinkOk<'_>> for super::ShrinkOk {
    fn from(raw: ShrinkOk<'_>) -> Self {
        Self { to_apps: raw.to_apps, by: bounded(&raw.by), why: bounded(&raw.why) }
    }
}

impl<'a> From<&'a super::ShrinkOk> for ShrinkOk<'a> {
    fn from(ok: &'a super::ShrinkOk) -> Self {
        Self { to_apps: ok.to_apps, by: Cow::Borrowed(&ok.by), why: Cow::Borrowed(&ok.why) }
    }
}
