//! Which call a path is, and the method it takes.

use http::Method;

use super::query::decode;

/// A call of the admin API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Call {
    Livez,
    Readyz,
    Healthz,
    Metrics,
    Status,
    Table,
    App(String),
    Lookup,
    Held,
    History,
    Diff,
    Export,
    Import,
    Rollback,
    Unpin,
    Approve,
    Upstreams,
    Drain,
    Log,
}

impl Call {
    /// The call at `path`, if there is one.
    pub(super) fn at(path: &str) -> Option<Self> {
        if let Some(id) = path.strip_prefix("/v1/table/apps/") {
            return decode(id).ok().filter(|id| !id.is_empty()).map(Self::App);
        }
        Some(match path {
            "/livez" => Self::Livez,
            "/readyz" => Self::Readyz,
            "/healthz" => Self::Healthz,
            "/metrics" => Self::Metrics,
            "/v1/status" => Self::Status,
            "/v1/table" => Self::Table,
            "/v1/table/lookup" => Self::Lookup,
            "/v1/table/held" => Self::Held,
            "/v1/table/history" => Self::History,
            "/v1/table/diff" => Self::Diff,
            "/v1/table/export" => Self::Export,
            "/v1/table/import" => Self::Import,
            "/v1/table/rollback" => Self::Rollback,
            "/v1/table/unpin" => Self::Unpin,
            "/v1/table/approve" => Self::Approve,
            "/v1/upstreams" => Self::Upstreams,
            "/v1/drain" => Self::Drain,
            "/v1/log" => Self::Log,
            _ => return None,
        })
    }

    /// True for calls that change something.
    fn changes(&self) -> bool {
        matches!(self, Self::Approve | Self::Import | Self::Rollback | Self::Unpin | Self::Drain | Self::Log)
    }

    /// True where a whole table comes as the body.
    pub(super) fn receives_a_table(&self) -> bool {
        *self == Self::Import
    }

    /// What `Allow` says.
    pub(super) fn allow(&self) -> &'static str {
        if self.changes() { "POST" } else { "GET, HEAD" }
    }

    /// True when it takes `method`.
    pub(super) fn takes(&self, method: &Method) -> bool {
        if self.changes() { method == Method::POST } else { matches!(*method, Method::GET | Method::HEAD) }
    }

    /// True for the three probes, which need no token.
    pub(super) fn is_probe(&self) -> bool {
        matches!(self, Self::Livez | Self::Readyz | Self::Healthz)
    }

    /// True for `/metrics`.
    pub(super) fn is_metrics(&self) -> bool {
        *self == Self::Metrics
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_of_an_app_is_decoded_from_the_path() {
        assert_eq!(Call::at("/v1/table/apps/a%2Fb%20c"), Some(Call::App("a/b c".into())));
        assert_eq!(Call::at("/v1/table/apps/"), None);
        assert_eq!(Call::at("/v1/table/apps/%zz"), None);
    }

    #[test]
    fn calls_that_change_something_are_post_only() {
        let steering = ["/v1/table/approve", "/v1/table/import", "/v1/table/rollback", "/v1/table/unpin"];
        for path in steering.into_iter().chain(["/v1/drain", "/v1/log"]) {
            let call = Call::at(path).unwrap();
            assert!(call.takes(&Method::POST) && !call.takes(&Method::GET) && call.allow() == "POST", "{path}");
        }
        let status = Call::at("/v1/status").unwrap();
        assert!(status.takes(&Method::GET) && status.takes(&Method::HEAD) && !status.takes(&Method::POST));
    }

    #[test]
    fn an_unknown_path_is_no_call() {
        for path in ["/", "/v1", "/livez/", "/v1/table/other", ""] {
            assert_eq!(Call::at(path), None, "{path}");
        }
    }
}
