//! Whether the orchestrator would feed the next process: asked directly.

use std::time::Duration;

use super::Finding;
use crate::{
    config::{Config, OrchestratorKind},
    orchestrator::{
        HttpClient, Source, State,
        http::{Deadlines, HttpOptions},
    },
};

/// For everything: a preflight is asked before each of many restarts.
const DEADLINE: Duration = Duration::from_secs(10);

/// What was seen of the orchestrator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// It says that it is ready.
    Ready,
    /// It says that it is not, and why.
    NotReady(String),
    /// It cannot be reached or understood, and why.
    Away(String),
}

/// Asks it once.
pub(super) fn ask(config: &Config) -> Seen {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return Seen::Away(error.to_string()),
    };
    let late = |_| Seen::Away("no answer in time".to_owned());
    runtime.block_on(async { tokio::time::timeout(DEADLINE, seen(config)).await }).unwrap_or_else(late)
}

async fn seen(config: &Config) -> Seen {
    let limits = config.updater().limits;
    match &config.orchestrator.kind {
        OrchestratorKind::Http { url, token_file, readiness_url } => {
            let (url, token_file, readiness_url) = (url.clone(), token_file.clone(), readiness_url.clone());
            let deadlines = Deadlines::default();
            match HttpClient::new(HttpOptions { url, token_file, readiness_url, limits, deadlines }) {
                Ok(client) => seen_by(&client).await,
                Err(error) => Seen::Away(error.to_string()),
            }
        }
        OrchestratorKind::File { path } => match Source::new(path.clone(), limits).probe().await {
            Ok(()) => Seen::Ready,
            Err(error) => Seen::Away(error.to_string()),
        },
    }
}

async fn seen_by(client: &HttpClient) -> Seen {
    match client.state().await {
        Ok(State::NotReady(why)) => return Seen::NotReady(why),
        Err(failure) => return Seen::Away(failure.to_string()),
        Ok(State::Ready(_)) => {}
    }
    if !client.has_readiness_url() {
        return Seen::Ready;
    }
    client
        .readiness()
        .await
        .map_or_else(|failure| Seen::NotReady(format!("readiness URL: {failure}")), |()| Seen::Ready)
}

/// Without an orchestrator a restart is safe as long as there is a table on disk, which another check says.
pub(super) fn judge(seen: &Seen) -> Finding {
    const CHECK: &str = "orchestrator";
    match seen {
        Seen::Ready => Finding::ok(CHECK, "ready"),
        Seen::NotReady(why) => Finding::warning(CHECK, format!("not ready: {why}")),
        Seen::Away(why) => Finding::warning(CHECK, format!("away: {why}")),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::Verdict, *};

    #[test]
    fn an_orchestrator_that_is_away_or_not_ready_is_a_warning() {
        assert_eq!(judge(&Seen::Ready).verdict, Verdict::Ok);
        assert_eq!(judge(&Seen::Away("refused".into())).verdict, Verdict::Warning);
        assert_eq!(judge(&Seen::NotReady("loading".into())).verdict, Verdict::Warning);
    }
}
