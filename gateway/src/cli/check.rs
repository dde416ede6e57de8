//! `holdgate check`: is the configuration valid and, given one, is a table?
//!
//! It binds and writes nothing, and asks nobody.

use std::{collections::HashMap, path::Path, process::ExitCode};

use routing_cache::{
    limits::Limits,
    model::{AppId, HostPattern, HostRef, Rev},
    wire::Incoming,
};

use super::{
    EX_CONFIG,
    args::{CheckArgs, Global},
    print,
};
use crate::{
    config::{self, Config, Loaded, OrchestratorKind},
    orchestrator::folder::{Document, Folder, ReadError},
    overload::Budget,
};

/// What a table comes to.
#[derive(Debug, Default, PartialEq, Eq)]
struct Verdict {
    apps: usize,
    hosts: usize,
    endpoints: usize,
    /// One line each.
    problems: Vec<String>,
}

/// Checks the configuration, then the table of `args`, and prints a summary or what is wrong.
///
/// # Errors
/// When the configuration is bad, or stdout cannot be written.
pub fn run(global: &Global, args: &CheckArgs) -> anyhow::Result<ExitCode> {
    let loaded = Config::load(global.config.as_deref(), config::environment())?;
    print(summary(&loaded))?;
    for warning in Budget::of(&loaded.config.limits).warnings() {
        print(format_args!("  WARNING       {warning}"))?;
    }
    let Some(path) = &args.table else { return Ok(ExitCode::SUCCESS) };
    match table(path, loaded.config.updater().limits) {
        Ok(verdict) => report(path, &verdict),
        Err(error) => {
            print(format_args!("the table is bad: {error}"))?;
            Ok(ExitCode::from(EX_CONFIG))
        }
    }
}

fn summary(loaded: &Loaded) -> String {
    let config = &loaded.config;
    let listeners: Vec<_> = config.listeners.iter().map(|l| format!("{} on {}", l.name, l.address)).collect();
    let orchestrator = match &config.orchestrator.kind {
        OrchestratorKind::Http { url, .. } => url.clone(),
        OrchestratorKind::File { path } => path.display().to_string(),
    };
    format!(
        "{}: valid\n  listeners     {}\n  admin         {}\n  orchestrator  {orchestrator}\n  state         {}\n  workers       {}",
        loaded.file.display(),
        listeners.join(", "),
        config.admin.address,
        config.state_dir.display(),
        config.gateway.workers,
    )
}

fn report(path: &Path, verdict: &Verdict) -> anyhow::Result<ExitCode> {
    let (path, problems) = (path.display(), &verdict.problems);
    for problem in problems {
        print(problem)?;
    }
    let counts = format!("{} apps, {} hosts, {} endpoints", verdict.apps, verdict.hosts, verdict.endpoints);
    if problems.is_empty() {
        print(format_args!("{path}: valid: {counts}"))?;
        return Ok(ExitCode::SUCCESS);
    }
    print(format_args!("{path}: bad: {} problems; valid are {counts}", problems.len()))?;
    Ok(ExitCode::from(EX_CONFIG))
}

/// Reads a file or folder as an orchestrator of kind `file` would, and judges every app.
fn table(path: &Path, limits: Limits) -> Result<Verdict, ReadError> {
    let reading = Folder::new(path.to_owned(), limits).read()?;
    let mut verdict = Verdict { problems: reading.broken, ..Verdict::default() };
    verdict.problems.extend(reading.problems);
    let mut owners = HashMap::new();
    for (id, document) in reading.apps {
        match document {
            Document::Torn(_, why) => verdict.problems.push(format!("app {id}: {why}")),
            Document::Whole(document) => {
                verdict.app(Incoming::read(id, Rev::default(), &document, &limits), &mut owners)
            }
        }
    }
    Ok(verdict)
}

impl Verdict {
    fn app(&mut self, incoming: Incoming, owners: &mut HashMap<HostPattern, AppId>) {
        let id = incoming.id;
        let app = match incoming.app {
            Ok(app) => app,
            Err(error) => return self.problems.push(format!("app {id}: {error}")),
        };
        let app = app.get();
        let hosts: Vec<_> = app.hosts().map(HostRef::to_pattern).collect();
        if let Some((host, owner)) = hosts.iter().find_map(|host| owners.get_key_value(host)) {
            return self.problems.push(format!("app {id}: host {host} is that of app {owner} already"));
        }
        self.apps += 1;
        self.hosts += hosts.len();
        self.endpoints += app.endpoints() as usize;
        owners.extend(hosts.into_iter().map(|host| (host, id.clone())));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(files: &[(&str, &str)]) -> Verdict {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        table(folder.path(), Limits::default()).unwrap()
    }

    #[test]
    fn a_folder_of_valid_apps_is_counted() {
        let blog = r#"{"hosts":["blog.example.com","*.blog.example.com"],"endpoints":["127.0.0.1:1","127.0.0.1:2"]}"#;
        let shop = r#"{"hosts":["shop.example.com"],"endpoints":["unix:/run/shop.sock"]}"#;
        let expected = Verdict { apps: 2, hosts: 3, endpoints: 3, problems: Vec::new() };
        assert_eq!(verdict(&[("blog.json", blog), ("shop.json", shop)]), expected);
    }

    #[test]
    fn each_bad_app_is_named_with_what_is_wrong() {
        let files = [
            ("a.json", r#"{"hosts":["a.example.com"],"endpoints":["127.0.0.1:1"]}"#),
            ("b.json", r#"{"hosts":["a.example.com"],"endpoints":["127.0.0.1:1"]}"#),
            ("c.json", r#"{"hosts":["c.example.com"],"endpoints":["localhost:1"]}"#),
            ("d.json", r#"{"hosts":["d.example.com"],"#),
        ];
        let verdict = verdict(&files);
        assert_eq!(verdict.apps, 1);
        let has = |start: &str| verdict.problems.iter().any(|problem| problem.starts_with(start));
        assert!(has("app b: host a.example.com is that of app a already"), "{verdict:?}");
        assert!(has("app c: endpoints[0]"), "{verdict:?}");
        assert!(has("app d: "), "{verdict:?}");
    }

    #[test]
    fn the_body_of_a_snapshot_is_a_table_too() {
        let line = r#"{"app":"a","rev":1,"spec":{"hosts":["a.example.com"],"endpoints":[]}}"#;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("snapshot.ndjson");
        std::fs::write(&path, line).unwrap();
        assert_eq!(table(&path, Limits::default()).unwrap().apps, 1);
        std::fs::write(&path, format!("{{\"begin\":{{}}}}\n{line}\n")).unwrap();
        assert_eq!(
            table(&path, Limits::default()).unwrap().problems.len(),
            1,
            "a snapshot without its end is not whole"
        );
        assert!(table(&folder.path().join("nothing"), Limits::default()).is_err());
    }
}
