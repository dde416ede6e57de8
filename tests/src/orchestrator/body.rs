//! The bodies of its answers, true or not.

use std::{collections::BTreeMap, fmt::Write as _};

use sha2::{Digest as _, Sha256};

use super::{Mood, State};

/// What it says of its own table; the moods that lie in a snapshot tell the truth here, so that the gate stays open.
pub(super) fn state_body(state: &State) -> String {
    let (ready, apps) = match state.mood {
        Mood::NotReadyAndEmpty => (false, 0),
        Mood::NotReady => (false, state.apps.len()),
        Mood::Empty => (true, 0),
        _ => (true, state.apps.len()),
    };
    let digest = if apps == 0 { hex(0) } else { hex(state.digest) };
    let reason = if ready { "null" } else { "\"loading storage\"" };
    let (epoch, generation) = (&state.epoch, state.generation);
    format!(
        r#"{{"schema":1,"epoch":"{epoch}","generation":{generation},"ready":{ready},"reason":{reason},"apps":{apps},"digest":"{digest}","bytes":0}}"#
    )
}

pub(super) fn snapshot_body(state: &State) -> String {
    let empty = matches!(state.mood, Mood::Empty | Mood::NotReadyAndEmpty);
    let apps = if empty { BTreeMap::new() } else { state.apps.clone() };
    let ready = state.mood != Mood::NotReadyAndEmpty;
    let (epoch, generation, count) = (&state.epoch, state.generation, apps.len());
    let shrink = shrink_ok(state);
    let mut body = format!(
        r#"{{"begin":{{"schema":1,"epoch":"{epoch}","generation":{generation},"ready":{ready},"apps":{count}{shrink}}}}}"#
    );
    body.push('\n');
    let half = if state.mood == Mood::CutShort { count / 2 } else { count };
    for (id, (rev, document)) in apps.iter().take(half) {
        writeln!(body, r#"{{"app":"{id}","rev":{rev},"spec":{document}}}"#).expect("a string can be written to");
    }
    match state.mood {
        Mood::CutShort => body.truncate(body.len().saturating_sub(7)),
        Mood::NoEnd => {}
        Mood::DuplicateApp => {
            let (id, (rev, document)) = apps.iter().next().expect("a test has an app");
            let end = end(count + 1, digest(&apps).wrapping_add(number(id, *rev, document)));
            write!(body, "{{\"app\":\"{id}\",\"rev\":{rev},\"spec\":{document}}}\n{end}").expect("a string");
        }
        Mood::WrongCount => body.push_str(&end(count + 1, digest(&apps))),
        Mood::WrongDigest => body.push_str(&end(count, digest(&apps).wrapping_add(1))),
        Mood::TooBig => body.push_str(&" ".repeat(8 << 20)),
        _ => body.push_str(&end(count, digest(&apps))),
    }
    body
}

fn end(apps: usize, digest: u128) -> String {
    format!("{{\"end\":{{\"apps\":{apps},\"digest\":\"{}\"}}}}\n", hex(digest))
}

/// What stands in `begin` and in a changes answer where a shrink is meant.
pub(super) fn shrink_ok(state: &State) -> String {
    let meant = |to: u64| format!(r#","shrink_ok":{{"to_apps":{to},"by":"test","why":"meant"}}"#);
    state.shrink_ok.map(meant).unwrap_or_default()
}

pub(super) fn digest(apps: &BTreeMap<String, (u64, String)>) -> u128 {
    apps.iter().fold(0, |sum, (id, (rev, document))| sum.wrapping_add(number(id, *rev, document)))
}

pub(super) fn number(id: &str, rev: u64, document: &str) -> u128 {
    let hash = Sha256::new().chain_update(id).chain_update([0]).chain_update(rev.to_be_bytes()).chain_update([0]);
    let hash = hash.chain_update(document).finalize();
    u128::from_be_bytes(hash[..16].try_into().expect("16 of 32 bytes"))
}

pub(super) fn hex(digest: u128) -> String {
    format!("{digest:032x}")
}
