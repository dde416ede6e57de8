//! `holdgate state verify` and `repair`: the state folder, read without a gateway.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use routing_cache::{
    disk::{Disk, RealDisk},
    store::{self, Damage, Deed, FileKind, FileReport, FileState, Inspection, PoisonRules, WouldServe},
};
use serde_json::{Value, json};

use super::{
    args::{Global, StateRepairArgs, StateVerifyArgs},
    client, print,
    status::bytes,
};
use crate::clock;

/// Says what is whole and what is not, and what a start would serve. It takes no lock, so it may be run beside a
/// gateway: what that one is writing just then may look torn.
///
/// # Errors
/// When the configuration is bad and the folder was not named, or it is not there.
pub fn verify(global: &Global, args: &StateVerifyArgs) -> anyhow::Result<ExitCode> {
    let folder = folder(global, args.state_dir.as_deref())?;
    // ignored: a folder that was named is looked at without a configuration, too
    let rules = client::load(global).map_or_else(|_| PoisonRules::default(), |config| config.updater().poison);
    let found = store::inspect(&RealDisk, &folder, rules);
    print(if args.json { to_json(&folder, &found).to_string() } else { text(&folder, &found) })?;
    Ok(if is_whole(&found) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Sets aside what is damaged and cuts off what is torn, or says that it would.
///
/// # Errors
/// When a gateway has the folder, or it cannot be worked on.
pub fn repair(global: &Global, args: &StateRepairArgs) -> anyhow::Result<ExitCode> {
    let folder = folder(global, args.state_dir.as_deref())?;
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let deeds = store::repair(&disk, &folder, args.dry_run)?;
    if args.json {
        let deeds: Vec<&str> = deeds.iter().map(|Deed(words)| words.as_str()).collect();
        print(json!({"state_dir":folder.display().to_string(),"dry_run":args.dry_run,"deeds":deeds}))?;
        return Ok(ExitCode::SUCCESS);
    }
    for Deed(words) in &deeds {
        print(words)?;
    }
    print(match (deeds.is_empty(), args.dry_run) {
        (true, _) => "nothing is to be repaired",
        (false, true) => "nothing was changed (--dry-run)",
        (false, false) => "repaired",
    })?;
    Ok(ExitCode::SUCCESS)
}

fn folder(global: &Global, given: Option<&Path>) -> anyhow::Result<PathBuf> {
    let folder = match given {
        Some(folder) => folder.to_owned(),
        None => client::load(global)?.state_dir,
    };
    anyhow::ensure!(folder.is_dir(), "{} is no folder", folder.display());
    Ok(folder)
}

/// Files that were set aside are damaged and known to be; what is being written is nobody's loss.
fn counts(file: &FileReport) -> bool {
    matches!(file.kind, FileKind::Snapshot | FileKind::Journal | FileKind::Runs)
}

fn is_whole(found: &Inspection) -> bool {
    found.damaged.is_empty()
        && found.files.iter().filter(|file| counts(file)).all(|file| file.state == FileState::Whole)
}

fn text(folder: &Path, found: &Inspection) -> String {
    let mut lines: Vec<String> = found.files.iter().map(file_line).collect();
    lines.extend(found.damaged.iter().map(damage_line));
    lines.push(match &found.would_serve {
        Some(served) => serve_line(served),
        None => "a start would serve nothing: it would wait for the orchestrator".to_owned(),
    });
    let verdict = if is_whole(found) { "whole" } else { "NOT whole: see `holdgate state repair --dry-run`" };
    lines.push(format!("{}: {verdict}", folder.display()));
    lines.join("\n")
}

fn file_line(file: &FileReport) -> String {
    let apps = file.apps.map(|apps| format!(", {apps} apps")).unwrap_or_default();
    let changes = match (file.first_sequence, file.last_sequence) {
        (Some(first), Some(last)) if first != last => format!(", changes {first} to {last}"),
        (_, Some(last)) => format!(", change {last}"),
        _ => String::new(),
    };
    let detail = if file.detail.is_empty() { String::new() } else { format!(": {}", file.detail) };
    let (kind, state) = (file.kind.as_str(), file.state.as_str());
    format!("{:<38}{state:<11}{kind}, {}{apps}{changes}{detail}", file.name, bytes(file.bytes))
}

fn damage_line(damage: &Damage) -> String {
    let at = damage.offset.map(|offset| format!(" at byte {offset}")).unwrap_or_default();
    let kept = damage.kept_as.as_ref().map(|file| format!(" (kept as {file})")).unwrap_or_default();
    format!("DAMAGED: {}{at}: {}{kept}", damage.file, damage.why)
}

fn serve_line(served: &WouldServe) -> String {
    let epoch = served.epoch.as_ref().map_or("?", |epoch| epoch.as_str());
    let instead = served.instead_of.as_ref().map(|poisoned| {
        format!("; not generation {}, with which {} starts in a row died", poisoned.generation, poisoned.crashes)
    });
    let instead = instead.unwrap_or_default();
    format!(
        "a start would serve {} apps ({}), generation {} of epoch {epoch}, received {}, from {}{instead}",
        served.apps,
        bytes(served.document_bytes),
        served.generation,
        clock::rfc3339(served.received_at),
        served.origin
    )
}

fn to_json(folder: &Path, found: &Inspection) -> Value {
    let file = |file: &FileReport| {
        json!({"name":file.name,"bytes":file.bytes,"kind":file.kind.as_str(),"state":file.state.as_str(),"detail":file.detail,
               "first_sequence":file.first_sequence,"last_sequence":file.last_sequence,"apps":file.apps})
    };
    let damage =
        |damage: &Damage| json!({"file":damage.file,"offset":damage.offset,"why":damage.why,"kept_as":damage.kept_as});
    let served = |served: &WouldServe| {
        json!({"origin":served.origin,"generation":served.generation.0,"epoch":served.epoch.as_ref().map(ToString::to_string),
               "apps":served.apps,"digest":served.digest.to_string(),"received_at":clock::rfc3339(served.received_at),
               "documents_bytes":served.document_bytes,
               "instead_of":served.instead_of.as_ref().map(|poisoned| poisoned.generation.0)})
    };
    json!({
        "state_dir": folder.display().to_string(),
        "whole": is_whole(found),
        "would_serve": found.would_serve.as_ref().map(served),
        "files": found.files.iter().map(file).collect::<Vec<_>>(),
        "damaged": found.damaged.iter().map(damage).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, kind: FileKind, state: FileState) -> FileReport {
        FileReport {
            name: name.to_owned(),
            bytes: 2048,
            kind,
            state,
            detail: String::new(),
            first_sequence: Some(3),
            last_sequence: Some(9),
            apps: None,
        }
    }

    fn found(files: Vec<FileReport>) -> Inspection {
        Inspection { files, would_serve: None, damaged: Vec::new() }
    }

    #[test]
    fn what_is_torn_or_damaged_is_not_whole_and_what_was_set_aside_is_no_news() {
        let whole = |files| is_whole(&found(files));
        assert!(whole(vec![
            file("a", FileKind::Snapshot, FileState::Whole),
            file("l", FileKind::Lock, FileState::Unknown)
        ]));
        assert!(whole(vec![
            file("a", FileKind::Aside, FileState::Damaged),
            file("s", FileKind::Staged, FileState::Torn)
        ]));
        assert!(!whole(vec![file("j", FileKind::Journal, FileState::Torn)]));
        assert!(!whole(vec![file("s", FileKind::Snapshot, FileState::Damaged)]));
    }

    #[test]
    fn it_says_what_a_start_would_serve_and_what_is_wrong_where() {
        let mut found = found(vec![file("journal-3", FileKind::Journal, FileState::Torn)]);
        found.damaged.push(Damage {
            file: "journal-3".into(),
            offset: Some(77),
            why: "its checksum is wrong".into(),
            kept_as: None,
        });
        let text = text(Path::new("/s"), &found);
        for part in [
            "2.0 KiB, changes 3 to 9",
            "journal-3 at byte 77: its checksum is wrong",
            "would serve nothing",
            "/s: NOT whole",
        ] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
        let json = to_json(Path::new("/s"), &found);
        assert_eq!((&json["whole"], &json["damaged"][0]["offset"]), (&json!(false), &json!(77)));
    }
}
