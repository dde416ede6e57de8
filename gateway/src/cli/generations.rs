//! `holdgate table history`, `diff`, `rollback` and `unpin`: the generations on disk, and going back to one.

use std::process::ExitCode;

use anyhow::Context;

use super::{
    args::{Global, TableDiffArgs, TableHistoryArgs, TableRollbackArgs, TableUnpinArgs},
    client::{CallError, Client},
    print,
    transfer::steered_text,
};
use crate::admin::{
    query::encode,
    view::{DiffSide, DiffView, Done, HistoryView, KeptView, RollbackRequest, Steered},
};

/// Lists what can be gone back to, newest first.
///
/// # Errors
/// When the gateway cannot be asked.
pub fn history(global: &Global, args: &TableHistoryArgs) -> anyhow::Result<ExitCode> {
    let client = Client::find(global, &args.client)?;
    if args.json {
        print(client.fetch::<serde_json::Value>("/v1/table/history")?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let history: HistoryView = client.fetch("/v1/table/history")?;
    if history.generations.is_empty() {
        print("no generation is kept")?;
    }
    for kept in &history.generations {
        print(kept_line(kept, &history))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn is_served(kept: &KeptView, history: &HistoryView) -> bool {
    kept.generation == history.served.generation && kept.epoch == history.served.epoch
}

fn kept_line(kept: &KeptView, history: &HistoryView) -> String {
    let epoch = kept.epoch.as_deref().unwrap_or("?");
    let served = if is_served(kept, history) { "  (served)" } else { "" };
    let file = kept.file.as_ref().map(|file| format!("  {file}")).unwrap_or_default();
    format!("{}  epoch {epoch}  {}  {} apps  {}{file}{served}", kept.generation, kept.at, kept.apps, kept.source)
}

/// Says which apps differ between two generations.
///
/// # Errors
/// When the gateway cannot be asked, or a generation is not kept.
pub fn diff(global: &Global, args: &TableDiffArgs) -> anyhow::Result<ExitCode> {
    let client = Client::find(global, &args.client)?;
    let path = diff_path(&client, args)?;
    if args.json {
        print(client.fetch::<serde_json::Value>(&path)?)?;
    } else {
        print(diff_text(&client.fetch(&path)?))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn diff_path(client: &Client, args: &TableDiffArgs) -> anyhow::Result<String> {
    let mut epoch = args.epoch.clone();
    let from = match args.from {
        Some(from) => from,
        None => {
            let before = before_served(client)?.context("no generation but the served one is kept")?;
            epoch = epoch.or(before.epoch);
            before.generation
        }
    };
    let to = args.to.map(|to| format!("&to={to}")).unwrap_or_default();
    let epoch = epoch.map(|epoch| format!("&epoch={}", encode(&epoch))).unwrap_or_default();
    Ok(format!("/v1/table/diff?from={from}{to}{epoch}&limit={}", args.limit))
}

/// The newest kept generation that is not the served one.
fn before_served(client: &Client) -> Result<Option<KeptView>, CallError> {
    let history: HistoryView = client.fetch("/v1/table/history")?;
    let before = history.generations.iter().find(|kept| !is_served(kept, &history)).cloned();
    Ok(before)
}

fn diff_text(diff: &DiffView) -> String {
    let side = |side: &DiffSide| {
        let epoch = side.epoch.as_deref().unwrap_or("?");
        format!("generation {} of epoch {epoch} ({} apps)", side.generation, side.apps)
    };
    let mut lines = vec![format!("from {} to {}", side(&diff.from), side(&diff.to))];
    let kinds = [
        ("added", '+', &diff.added, diff.added_total),
        ("removed", '-', &diff.removed, diff.removed_total),
        ("changed", '~', &diff.changed, diff.changed_total),
    ];
    for (word, mark, apps, total) in kinds {
        lines.extend(apps.iter().map(|app| format!("{mark} {app}")));
        let rest = total.saturating_sub(apps.len() as u64);
        if rest > 0 {
            lines.push(format!("{mark} and {rest} more {word}"));
        }
    }
    lines.push(format!("{} added, {} removed, {} changed", diff.added_total, diff.removed_total, diff.changed_total));
    lines.join("\n")
}

/// Goes back to a kept generation.
///
/// # Errors
/// When the gateway cannot be asked, or the generation is not kept.
pub fn rollback(global: &Global, args: &TableRollbackArgs) -> anyhow::Result<ExitCode> {
    let client = Client::find(global, &args.client)?;
    let request = RollbackRequest { generation: args.generation, epoch: args.epoch.clone() };
    let done: Steered = client.post("/v1/table/rollback", &request)?;
    print(steered_text(&done))?;
    Ok(ExitCode::SUCCESS)
}

/// Has the orchestrator followed again.
///
/// # Errors
/// When the gateway cannot be asked, or nothing is pinned.
pub fn unpin(global: &Global, args: &TableUnpinArgs) -> anyhow::Result<ExitCode> {
    let client = Client::find(global, &args.client)?;
    let done: Done = client.post("/v1/table/unpin", &serde_json::json!({}))?;
    print(done.state)?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_difference_names_the_first_apps_and_counts_the_rest() {
        let diff: DiffView = serde_json::from_value(json!({
            "from":{"generation":3,"epoch":"e","apps":10,"digest":"0"},"to":{"generation":4,"epoch":"e","apps":9,"digest":"1"},
            "added":["new"],"removed":["a","b"],"changed":[],"added_total":1,"removed_total":12,"changed_total":0
        }))
        .unwrap();
        let expected = "from generation 3 of epoch e (10 apps) to generation 4 of epoch e (9 apps)\n+ new\n- a\n- b\n\
                        - and 10 more removed\n1 added, 12 removed, 0 changed";
        assert_eq!(diff_text(&diff), expected);
    }

    #[test]
    fn the_served_generation_is_marked_in_the_history() {
        let kept = |generation: u64| json!({"generation":generation,"epoch":"e","sequence":1,"at":"t","apps":2,"digest":"0","source":"live","file":"snapshot-1"});
        let history: HistoryView = serde_json::from_value(json!({
            "served":{"source":"live","epoch":"e","generation":4,"received_at":null,"age_s":1},
            "generations":[kept(4), kept(3)]
        }))
        .unwrap();
        let lines: Vec<String> = history.generations.iter().map(|kept| kept_line(kept, &history)).collect();
        assert_eq!(
            lines,
            ["4  epoch e  t  2 apps  live  snapshot-1  (served)", "3  epoch e  t  2 apps  live  snapshot-1"]
        );
    }
}
