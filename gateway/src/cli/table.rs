//! `holdgate table show` and `holdgate table approve`.

use std::{fmt::Write, process::ExitCode};

use serde_json::Value;

use super::{
    args::{Global, TableApproveArgs, TableShowArgs},
    client::{CallError, Client},
    print,
};
use crate::admin::{
    query::encode,
    view::{AppLine, AppView, ApproveRequest, Approved, Done, HeldView, LookupView, TablePage, UpstreamView},
};

/// Apps in one request.
const PAGE: u64 = 1000;
/// Held apps that are named before they are released.
const NAMED: usize = 20;

/// Prints the served table, one app of it, or what a host leads to.
///
/// # Errors
/// When the gateway cannot be asked.
pub fn show(global: &Global, args: &TableShowArgs) -> anyhow::Result<ExitCode> {
    let client = Client::find(global, &args.client)?;
    match &args.subject {
        None => show_all(&client, args),
        Some(subject) => show_one(&client, subject, args.json),
    }
}

fn show_all(client: &Client, args: &TableShowArgs) -> anyhow::Result<ExitCode> {
    let only = match (args.held, args.invalid) {
        (true, _) => "&held=true",
        (_, true) => "&invalid=true",
        _ => "",
    };
    let (mut after, mut left) = (args.after.clone(), args.limit.unwrap_or(u64::MAX));
    loop {
        let from = after.as_deref().map(|id| format!("&after={}", encode(id))).unwrap_or_default();
        let page: TablePage = client.fetch(&format!("/v1/table?limit={}{from}{only}", left.min(PAGE)))?;
        for app in &page.apps {
            print(if args.json { serde_json::to_string(app)? } else { line(app) })?;
        }
        left = left.saturating_sub(page.apps.len() as u64);
        match page.next {
            Some(next) if left > 0 => after = Some(next),
            _ => return Ok(ExitCode::SUCCESS),
        }
    }
}

fn line(app: &AppLine) -> String {
    let held = if app.held { "  (held)" } else { "" };
    let invalid = app.invalid.as_ref().map(|why| format!("  (invalid: {why})")).unwrap_or_default();
    if app.hosts.is_empty() && app.invalid.is_some() {
        return format!("{}  not served{invalid}", app.app);
    }
    format!("{}  rev {}  {}{held}{invalid}", app.app, app.rev, app.hosts.join(" "))
}

fn show_one(client: &Client, subject: &str, json: bool) -> anyhow::Result<ExitCode> {
    let path = format!("/v1/table/apps/{}", encode(subject));
    match client.fetch::<Value>(&path) {
        Ok(app) => {
            print(if json { app.to_string() } else { app_text(&client.fetch(&path)?)? })?;
            Ok(ExitCode::SUCCESS)
        }
        Err(error) if error.is_not_found() => show_host(client, subject, json),
        Err(error) => Err(error.into()),
    }
}

fn app_text(app: &AppView) -> anyhow::Result<String> {
    let mut text = line(&app.line);
    let from = &app.provenance;
    let epoch = from.epoch.as_deref().unwrap_or("?");
    write!(text, "\nfrom {}, generation {} of epoch {epoch}", from.source, from.generation)?;
    if app.line.invalid.is_some() {
        write!(text, "\nits last document is invalid; this is the one before")?;
    }
    let document: Value = serde_json::from_str(app.document.get())?;
    write!(text, "\n{document:#}")?;
    Ok(text)
}

/// `subject` may be a host, a host with a path, or a URL.
fn show_host(client: &Client, subject: &str, json: bool) -> anyhow::Result<ExitCode> {
    let bare = subject.split_once("://").map_or(subject, |(_, rest)| rest);
    let (host, path) = bare.find('/').map_or((bare, "/"), |at| bare.split_at(at));
    let view: Value = fetch_lookup(client, host, path)?;
    let lookup: LookupView = serde_json::from_value(view.clone())?;
    print(if json { view.to_string() } else { lookup_text(&lookup) })?;
    Ok(if lookup.app.is_some() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn fetch_lookup(client: &Client, host: &str, path: &str) -> Result<Value, CallError> {
    client.fetch(&format!("/v1/table/lookup?host={}&path={}", encode(host), encode(path)))
}

fn lookup_text(lookup: &LookupView) -> String {
    let mut lines = vec![format!("{} {}{}", lookup.method, lookup.host, lookup.path)];
    lines.extend(lookup.why.iter().map(|why| format!("  {why}")));
    if let Some(redirect) = lookup.route.as_ref().and_then(|route| route.redirect.as_ref()) {
        lines.push(format!("  to {redirect}"));
    }
    lines.extend(lookup.upstreams.iter().flat_map(upstream_lines));
    lines.extend(lookup.status.map(|status| format!("=> {status}")));
    lines.join("\n")
}

fn upstream_lines(upstream: &UpstreamView) -> Vec<String> {
    let mut lines = vec![format!("=> upstream {} (weight {})", upstream.upstream, upstream.weight)];
    for endpoint in &upstream.endpoints {
        let why = endpoint.standing.why.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
        let name = endpoint.instance.as_ref().map(|name| format!(" ({name})")).unwrap_or_default();
        let (state, load) = (&endpoint.standing.state, endpoint.standing.in_flight);
        lines.push(format!("   {}{name}  {state}{why}, {load} in flight", endpoint.address));
    }
    lines
}

/// Shows what is held and releases it, or takes a retired epoch back.
///
/// # Errors
/// When the gateway cannot be asked, or something else is held than what was to be released.
pub fn approve(global: &Global, args: &TableApproveArgs) -> anyhow::Result<ExitCode> {
    let client = Client::find(global, &args.client)?;
    if let Some(epoch) = &args.epoch {
        let request = ApproveRequest { epoch: Some(epoch.clone()), generation: None };
        let done: Done = client.post("/v1/table/approve", &request)?;
        print(done.state)?;
        return Ok(ExitCode::SUCCESS);
    }
    let held: HeldView = client.fetch("/v1/table/held")?;
    if held.total == 0 && args.generation.is_none() {
        print("nothing is held")?;
        return Ok(ExitCode::SUCCESS);
    }
    if held.total > 0 {
        print(held_text(&held))?;
    }
    let generation = args.generation.unwrap_or(held.generation);
    let request = ApproveRequest { generation: Some(generation), epoch: None };
    let done: Approved = client.post("/v1/table/approve", &request)?;
    print(format_args!("released: {} apps removed, {} apps are served", done.removed, done.apps))?;
    Ok(ExitCode::SUCCESS)
}

fn held_text(held: &HeldView) -> String {
    let reason = held.reason.as_deref().unwrap_or("no reason is known");
    let mut lines = vec![format!("held ({reason}): {} deletes of generation {}", held.total, held.generation)];
    if let Some(e) = held.evidence {
        let text = format!(
            "  {} apps would become {}: {:.1} % less within {} s",
            e.apps_before, e.apps_after, e.percent, e.window_s
        );
        lines.push(text);
    }
    lines.extend(held.deletes.iter().take(NAMED).map(|app| format!("  {app}")));
    let rest = held.total.saturating_sub(NAMED as u64);
    if rest > 0 {
        lines.push(format!("  and {rest} more"));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_held_is_shown_before_it_is_released() {
        let deletes: Vec<String> = (0..30).map(|n| format!("app-{n:02}")).collect();
        let held: HeldView = serde_json::from_value(json!({
            "reason":"shrink-guard","since":"x","generation":7,"deletes":deletes,"total":1200,
            "evidence":{"apps_before":6000,"apps_after":4800,"percent":20.0,"window_s":3600}
        }))
        .unwrap();
        let text = held_text(&held);
        for part in ["1200 deletes of generation 7", "6000 apps would become 4800: 20.0 %", "app-19", "and 1180 more"] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
        assert!(!text.contains("app-20"));
    }

    #[test]
    fn a_lookup_says_how_it_came_to_its_end() {
        let lookup: LookupView = serde_json::from_value(json!({
            "host":"shop.example","path":"/x","method":"GET","status":null,"app":"shop","rev":1,"pattern":"shop.example",
            "route":{"name":null,"index":0,"matches":"paths below /","redirect":null},
            "upstreams":[{"upstream":"web","weight":1,"endpoints":[
                {"address":"10.0.0.5:80","weight":1,"instance":"a","state":"ejected","why":"refused","since":null,"in_flight":2}]}],
            "why":["app shop has the host shop.example"]
        }))
        .unwrap();
        let text = lookup_text(&lookup);
        assert!(text.starts_with("GET shop.example/x\n  app shop has the host"), "{text}");
        assert!(
            text.contains("=> upstream web (weight 1)\n   10.0.0.5:80 (a)  ejected: refused, 2 in flight"),
            "{text}"
        );
    }
}
