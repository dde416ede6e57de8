//! The limit of open descriptors: raised to what the process may have, before anything is opened.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the soft limit to the hard one. Shells and systemd give 1024 by default, for programs that use select(2)
/// (systemd.exec(5), LimitNOFILE); nothing here does.
pub(super) fn raise() {
    let limit = getrlimit(Resource::Nofile);
    if limit.current == limit.maximum {
        return;
    }
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, limit = limit.current, "the limit of open descriptors stays as it is");
    }
}
