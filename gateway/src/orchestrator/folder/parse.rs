//! One file -> the documents of its apps.
//!
//! Three forms: a bare document (the file's name is the app's id); `{"apps":{"ID":{document}}}`; lines
//! `{"app":"ID","rev":N,"spec":{document}}`, with the begin and end lines of a snapshot or without.

use std::{borrow::Cow, collections::HashSet, fmt};

use bytes::Bytes;
use routing_cache::{
    model::{AppId, Digest, Rev, app_digest},
    wire::encode::one_line,
};
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;

/// What a whole file holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Contents {
    /// It is the document of one app.
    pub(super) bare: bool,
    pub(super) apps: Vec<(AppId, Bytes)>,
}

/// An object's members in order, with each value's exact text.
struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

/// The first line of a snapshot, as far as it matters here.
struct Seen {
    apps: Vec<(AppId, Bytes)>,
    ids: HashSet<AppId>,
    digest: Digest,
    begun: bool,
    ended: bool,
}

#[derive(Deserialize)]
struct End {
    apps: Option<u64>,
    digest: Option<String>,
}

/// Reads a whole file; `stem` is the id of a bare document's app.
pub(super) fn file(stem: &AppId, bytes: &[u8]) -> Result<Contents, String> {
    let objects = serde_json::Deserializer::from_slice(bytes)
        .into_iter::<Members<'_>>()
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| error.to_string())?;
    match objects.as_slice() {
        [] => Err("the file is empty".to_owned()),
        [only] if only.is_bare() => Ok(Contents { bare: true, apps: vec![(stem.clone(), tight(bytes)?)] }),
        _ => many(&objects),
    }
}

/// Whether a text that is no JSON was meant as one app's document: its first member is not one that the other forms
/// begin with.
pub(super) fn looks_bare(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let Some(inner) = text.trim_start().strip_prefix('{') else { return false };
    let Some(key) = inner.trim_start().strip_prefix('"') else { return false };
    !["apps\"", "app\"", "begin\"", "end\""].iter().any(|form| key.starts_with(form))
}

fn tight(document: &[u8]) -> Result<Bytes, String> {
    one_line(document).map(Bytes::from).map_err(|error| error.to_string())
}

fn many(objects: &[Members<'_>]) -> Result<Contents, String> {
    let mut seen =
        Seen { apps: Vec::new(), ids: HashSet::new(), digest: Digest::default(), begun: false, ended: false };
    for (index, object) in objects.iter().enumerate() {
        seen.take(object).map_err(|why| format!("object {}: {why}", index + 1))?;
    }
    if seen.begun && !seen.ended {
        return Err("the snapshot has no end".to_owned());
    }
    Ok(Contents { bare: false, apps: seen.apps })
}

impl Seen {
    fn take(&mut self, object: &Members<'_>) -> Result<(), String> {
        if let Some(apps) = object.find("apps") {
            return self.take_map(apps);
        }
        if let Some(app) = object.find("app") {
            return self.take_line(app, object);
        }
        if let Some(end) = object.find("end") {
            return self.take_end(end);
        }
        if object.find("begin").is_some() {
            self.begun = true;
            return Ok(());
        }
        Err("has none of `hosts`, `apps`, `app`, `begin` and `end`".to_owned())
    }

    fn take_map(&mut self, apps: &RawValue) -> Result<(), String> {
        let apps: Members<'_> = serde_json::from_str(apps.get()).map_err(|error| format!("apps: {error}"))?;
        apps.0.iter().try_for_each(|(id, document)| self.put(id, Rev::default(), document))
    }

    fn take_line(&mut self, app: &RawValue, object: &Members<'_>) -> Result<(), String> {
        let id: String = serde_json::from_str(app.get()).map_err(|error| format!("app: {error}"))?;
        let rev = object.find("rev").map_or(Ok(0), |rev| serde_json::from_str(rev.get()));
        let rev = rev.map_err(|error| format!("rev: {error}"))?;
        let document = object.find("spec").ok_or_else(|| format!("app {id} has no `spec`"))?;
        self.put(&id, Rev(rev), document)
    }

    fn take_end(&mut self, end: &RawValue) -> Result<(), String> {
        let end: End = serde_json::from_str(end.get()).map_err(|error| format!("end: {error}"))?;
        if end.apps.is_some_and(|apps| apps != self.apps.len() as u64) {
            return Err(format!("the end's count is not that of the {} apps before it", self.apps.len()));
        }
        if end.digest.is_some_and(|digest| digest != self.digest.to_string()) {
            return Err("the end's digest is not that of the apps before it".to_owned());
        }
        self.ended = true;
        Ok(())
    }

    fn put(&mut self, id: &str, rev: Rev, document: &RawValue) -> Result<(), String> {
        let id = AppId::new(id).map_err(|error| format!("app id {id:?} {error}"))?;
        if !self.ids.insert(id.clone()) {
            return Err(format!("app {id} is there twice"));
        }
        self.digest = self.digest.plus(app_digest(id.as_str(), rev, document.get().as_bytes()));
        self.apps.push((id, tight(document.get().as_bytes())?));
        Ok(())
    }
}

impl Members<'_> {
    fn find(&self, key: &str) -> Option<&RawValue> {
        self.0.iter().find(|(name, _)| name == key).map(|(_, value)| *value)
    }

    /// Neither of the other forms: what is wrong with it, its parser will say.
    fn is_bare(&self) -> bool {
        self.find("hosts").is_some() || !["apps", "app", "begin", "end"].iter().any(|form| self.find(form).is_some())
    }
}

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(key) = map.next_key::<Key<'de>>()? {
                    members.push((key.0, map.next_value()?));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Pairs)
    }
}

/// A member's name, borrowed where it has no escape.
#[derive(Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);
