//! SIGHUP: which values of a new configuration take effect, and which wait for a restart.

use crate::config::{Config, ListenerConfig};

/// The configuration after a reload: `new`, but for what a running process cannot change, which stays as in `old`.
pub(super) fn merge(old: &Config, new: Config) -> Config {
    let mut merged = new;
    merged.state_dir.clone_from(&old.state_dir);
    merged.gateway.workers = old.gateway.workers;
    merged.admin.address.clone_from(&old.admin.address);
    merged.listeners = old.listeners.iter().map(|listener| merge_listener(listener, &merged.listeners)).collect();
    merged
}

/// The listener stays what it is, under its name; what is said of its address now applies to it.
fn merge_listener(old: &ListenerConfig, new: &[ListenerConfig]) -> ListenerConfig {
    let same = new.iter().find(|new| new.address == old.address);
    same.map_or_else(|| old.clone(), |new| ListenerConfig { name: old.name.clone(), ..new.clone() })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn config(text: &str) -> Config {
        Config::parse(Path::new("test.toml"), text, std::iter::empty()).unwrap().config
    }

    fn text(name: &str, port: u16, trusted: &str) -> String {
        format!(
            "state_dir = \"/tmp/{name}\"\n[gateway]\nname = \"{name}\"\nworkers = {port}\n[[listener]]\nname = \"{name}\"\n\
             address = \"127.0.0.1:8080\"\ntrusted_proxies = [{trusted}]\n[[listener]]\nname = \"other\"\n\
             address = \"127.0.0.1:{port}\"\n[orchestrator]\nkind = \"http\"\nurl = \"http://{name}:7000\"\n"
        )
    }

    #[test]
    fn what_a_running_process_cannot_change_stays_and_the_rest_takes_effect() {
        let (old, new) = (config(&text("old", 1, "")), config(&text("new", 2, "\"10.0.0.0/8\"")));
        let merged = merge(&old, new);
        assert_eq!(merged.state_dir, old.state_dir);
        assert_eq!(merged.gateway.workers, 1);
        assert_eq!(merged.gateway.name, "new");
        let addresses = |config: &Config| config.listeners.iter().map(|l| l.address.clone()).collect::<Vec<_>>();
        assert_eq!(addresses(&merged), addresses(&old));
        assert_eq!(merged.listeners[0].name, "old", "a metric's label stays what it is");
        assert_eq!(merged.listeners[0].trusted_proxies.len(), 1);
    }
}
