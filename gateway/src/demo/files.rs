//! The demo's folder: the apps' documents, the gateway's configuration, state and log.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Addresses, apps::Apps};

/// Where everything is; a temporary folder goes when this is dropped.
#[derive(Debug)]
pub(super) struct Files {
    folder: PathBuf,
    documents: [(&'static str, Value); 2],
    _temporary: Option<TempDir>,
}

impl Files {
    /// Makes the folder and writes the apps' documents and the configuration.
    pub(super) fn create(state_dir: Option<&Path>, addresses: Addresses, apps: &Apps) -> anyhow::Result<Self> {
        let temporary = match state_dir {
            Some(_) => None,
            None => Some(tempfile::Builder::new().prefix("holdgate-demo-").tempdir()?),
        };
        let folder = match (state_dir, &temporary) {
            (Some(folder), _) => std::path::absolute(folder)?,
            (None, Some(folder)) => folder.path().to_owned(),
            (None, None) => PathBuf::from("."),
        };
        let files = Self { folder, documents: documents(apps), _temporary: temporary };
        fs::create_dir_all(files.apps()).with_context(|| files.apps().display().to_string())?;
        files.write_apps()?;
        fs::write(files.config(), configuration(addresses, &files.state())?)?;
        Ok(files)
    }

    /// Writes the documents of both apps, each whole or not at all.
    pub(super) fn write_apps(&self) -> anyhow::Result<()> {
        for (app, document) in &self.documents {
            let staged = self.apps().join(format!(".{app}.json"));
            fs::write(&staged, format!("{document:#}\n"))?;
            fs::rename(&staged, self.apps().join(format!("{app}.json")))?;
        }
        Ok(())
    }

    /// The folder of documents, which the orchestrator serves.
    pub(super) fn apps(&self) -> PathBuf {
        self.folder.join("apps")
    }

    /// What the orchestrator remembers.
    pub(super) fn orchestrator_state(&self) -> PathBuf {
        self.folder.join("orchestrator.json")
    }

    /// The gateway's configuration.
    pub(super) fn config(&self) -> PathBuf {
        self.folder.join("holdgate.toml")
    }

    /// The gateway's log.
    pub(super) fn log(&self) -> PathBuf {
        self.folder.join("gateway.log")
    }

    /// What is said where the gateway does not start.
    pub(super) fn log_hint(&self) -> String {
        let log = fs::read_to_string(self.log()).unwrap_or_default();
        let lines: Vec<&str> = log.lines().rev().take(5).collect();
        let last: Vec<&str> = lines.into_iter().rev().collect();
        format!("the last lines of its log:\n{}\n", last.join("\n"))
    }

    fn state(&self) -> PathBuf {
        self.folder.join("state")
    }
}

fn documents(apps: &Apps) -> [(&'static str, Value); 2] {
    let [one, two] = apps.hello;
    let hello = json!({
        "hosts": ["hello.localhost"],
        "routes": [{"match": {"path": {"prefix": "/"}}, "to": "web"}],
        "upstreams": {"web": {"endpoints": [
            {"address": one.to_string(), "instance": "hello-1"},
            {"address": two.to_string(), "instance": "hello-2"},
        ]}},
    });
    let echo = json!({"hosts": ["echo.localhost"], "endpoints": [apps.echo.to_string()]});
    [("hello", hello), ("echo", echo)]
}

/// With two apps, the guard has to look at each single one.
fn configuration(addresses: Addresses, state: &Path) -> anyhow::Result<String> {
    let text = |text: &str| toml::Value::String(text.to_owned()).to_string();
    let state = state.to_str().context("the folder's name is not Unicode")?;
    Ok(format!(
        "state_dir = {state}\n\n[gateway]\nname = \"demo\"\nworkers = 1\n\n[[listener]]\nname = \"web\"\n\
         address = {gateway}\n\n[admin]\naddress = {admin}\n\n[orchestrator]\nkind = \"http\"\nurl = {orchestrator}\n\
         stable_for = \"1s\"\nlost_after = \"3s\"\ncheck_every = \"500ms\"\n\n[guard]\nmax_shrink_percent = 20\n\
         max_shrink_apps = 1\n\n[log]\nformat = \"text\"\naccess = \"off\"\n",
        state = text(state),
        gateway = text(&addresses.gateway.to_string()),
        admin = text(&addresses.admin.to_string()),
        orchestrator = text(&format!("http://{}", addresses.orchestrator)),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn files(folder: &Path) -> Files {
        let address = |port: u16| std::net::SocketAddr::from(([127, 0, 0, 1], port));
        let addresses =
            Addresses { gateway: address(1), admin: address(2), orchestrator: address(3), control: address(4) };
        let apps = Apps { hello: [address(5), address(6)], echo: address(7) };
        Files::create(Some(folder), addresses, &apps).unwrap()
    }

    #[test]
    fn the_demo_writes_a_configuration_that_is_valid() {
        let folder = tempfile::tempdir().unwrap();
        let files = files(folder.path());
        let loaded = Config::load(Some(&files.config()), std::iter::empty()).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(loaded.config.listeners.len(), 1);
        assert_eq!(loaded.config.guard.max_shrink_apps, 1, "two apps less are held");
    }

    #[test]
    fn the_demo_writes_documents_that_are_valid() {
        let folder = tempfile::tempdir().unwrap();
        let files = files(folder.path());
        for app in ["hello", "echo"] {
            let document = fs::read(files.apps().join(format!("{app}.json"))).unwrap();
            let spec = routing_cache::wire::parse_document(&document).unwrap_or_else(|e| panic!("{app}: {e}"));
            assert_eq!(spec.hosts[0].to_string(), format!("{app}.localhost"));
        }
    }
}
