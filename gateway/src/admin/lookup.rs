//! `GET /v1/table/lookup`: which route and endpoints a request would take, and why; with the reasons when none.
//!
//! It asks the same functions as the data plane, so that it cannot tell another story.

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use routing_cache::{
    live::Published,
    model::{Action, App, AppSpec, HostPattern, PathMatch, PathRewrite, Redirect, Route, RouteMatch, WeightedUpstream},
    table::{NormalPath, match_route, normal_host},
    wire::compile,
};

use super::{
    Context,
    answer::Answer,
    query::Query,
    upstreams::{self, States},
    view::{EndpointView, LookupView, RouteView, UpstreamView},
};

/// Routes whose refusal is told one by one; the rest are counted.
const EXPLAINED_ROUTES: usize = 20;

/// A request as it is asked about.
struct Asked {
    host: String,
    path: String,
    method: Method,
    headers: HeaderMap,
}

impl Asked {
    fn route<'a>(&self, app: &'a App, path: &NormalPath<'_>) -> Option<&'a Route> {
        let has = |name: &HeaderName, value: &HeaderValue| self.headers.get_all(name).iter().any(|got| got == value);
        match_route(app, path, &self.method, has)
    }
}

/// `?host=H&path=P&method=M&header=NAME:VALUE`; the path is `/` and the method GET where they are not given.
pub(super) fn answer(context: &Context, query: &Query) -> Answer {
    match asked(query) {
        Ok(asked) => Answer::json(&Finder::new(context, &asked).find(&context.reader.load())),
        Err(error) => Answer::error(StatusCode::BAD_REQUEST, error),
    }
}

fn asked(query: &Query) -> Result<Asked, &'static str> {
    let host = query.get("host").filter(|host| !host.is_empty()).ok_or("host: it is needed")?;
    let method = query.get("method").unwrap_or("GET").parse().map_err(|_| "method: it is not one")?;
    let mut headers = HeaderMap::new();
    for header in query.all("header") {
        let (name, value) = parse_header(header).ok_or("header: give NAME:VALUE")?;
        headers.append(name, value);
    }
    let path = query.get("path").unwrap_or("/").split(['?', '#']).next().unwrap_or_default().to_owned();
    Ok(Asked { host: host.to_owned(), path, method, headers })
}

fn parse_header(text: &str) -> Option<(HeaderName, HeaderValue)> {
    let (name, value) = text.split_once(':')?;
    Some((name.trim().parse().ok()?, value.trim().parse().ok()?))
}

/// Fills the view step by step, and says at each why.
struct Finder<'a> {
    asked: &'a Asked,
    states: States<'a>,
    view: LookupView,
}

impl<'a> Finder<'a> {
    fn new(context: &'a Context, asked: &'a Asked) -> Self {
        let view = LookupView {
            host: asked.host.clone(),
            path: asked.path.clone(),
            method: asked.method.to_string(),
            ..LookupView::default()
        };
        Self { asked, states: States::of(context), view }
    }

    fn find(mut self, published: &Published) -> LookupView {
        if !published.has_table() {
            return self.ends(StatusCode::SERVICE_UNAVAILABLE, "there is no table yet".to_owned());
        }
        let Some(host) = normal_host(&self.asked.host) else {
            let why = format!("{:?} is not a host", self.asked.host);
            return self.ends(StatusCode::BAD_REQUEST, why);
        };
        self.view.host = host.clone().into_owned();
        match published.table.find(&host) {
            Some((record, pattern)) => match compile(record) {
                Ok(app) => self.in_app(&app, &pattern),
                Err(error) => {
                    let why = format!("this version does not understand the document of app {}: {error}", record.id());
                    self.ends(StatusCode::SERVICE_UNAVAILABLE, why)
                }
            },
            None => self.ends(StatusCode::NOT_FOUND, format!("no app has the host {host}, nor a wildcard for it")),
        }
    }

    fn ends(mut self, status: StatusCode, why: String) -> LookupView {
        self.view.status = Some(status.as_u16());
        self.view.why.push(why);
        self.view
    }

    fn in_app(mut self, app: &App, pattern: &HostPattern) -> LookupView {
        self.view.app = Some(app.id.to_string());
        self.view.rev = Some(app.rev.0);
        self.view.pattern = Some(pattern.to_string());
        self.view.why.push(host_reason(&self.view.host, pattern, app));
        let path = match NormalPath::new(&self.asked.path) {
            Ok(path) => path,
            Err(error) => return self.ends(StatusCode::BAD_REQUEST, error.to_string()),
        };
        if path.as_str() != self.asked.path {
            self.view.why.push(format!("the path is matched as {}", path.as_str()));
            path.as_str().clone_into(&mut self.view.path);
        }
        match self.asked.route(app, &path) {
            Some(route) => self.on_route(app, route),
            None => self.no_route(app, &path),
        }
    }

    fn no_route(mut self, app: &App, path: &NormalPath<'_>) -> LookupView {
        for (index, route) in app.spec.routes.iter().enumerate().take(EXPLAINED_ROUTES) {
            let reason = self.refusal(app, route, path);
            self.view.why.push(format!("route {} takes {}: {reason}", title(route, index), matches(&route.matches)));
        }
        let rest = app.spec.routes.len().saturating_sub(EXPLAINED_ROUTES);
        if rest > 0 {
            self.view.why.push(format!("and {rest} more routes do not take it either"));
        }
        self.ends(StatusCode::NOT_FOUND, "no route of the app takes the request".to_owned())
    }

    fn refusal(&self, app: &App, route: &Route, path: &NormalPath<'_>) -> &'static str {
        let by_path = RouteMatch { path: route.matches.path.clone(), methods: Vec::new(), headers: Vec::new() };
        let by_method = RouteMatch { headers: Vec::new(), ..route.matches.clone() };
        let takes = |matches: RouteMatch| {
            let probe = only_route(app, matches);
            self.asked.route(&probe, path).is_some()
        };
        match () {
            () if !takes(by_path) => "the path is another",
            () if !takes(by_method) => "the method is another",
            () => "the headers are others",
        }
    }

    fn on_route(mut self, app: &App, route: &Route) -> LookupView {
        let index = app.spec.routes.iter().position(|r| std::ptr::eq(r, route)).unwrap_or_default();
        self.view.why.push(format!("route {} takes {}", title(route, index), matches(&route.matches)));
        let mut chosen = RouteView {
            name: route.name.as_ref().map(ToString::to_string),
            index,
            matches: matches(&route.matches),
            redirect: None,
        };
        match &route.action {
            Action::Forward { to, .. } => {
                self.view.route = Some(chosen);
                self.forward(app, to)
            }
            Action::Redirect(redirect) => {
                chosen.redirect = Some(target(redirect));
                self.view.route = Some(chosen);
                self.ends(redirect.status.code(), "the gateway answers with a redirect".to_owned())
            }
        }
    }

    fn forward(mut self, app: &App, to: &[WeightedUpstream]) -> LookupView {
        self.view.upstreams = to.iter().filter_map(|to| self.upstream(app, to)).collect();
        let endpoints = || self.view.upstreams.iter().filter(|u| u.weight > 0).flat_map(|u| &u.endpoints);
        let all = endpoints().count();
        let healthy = endpoints().filter(|e| e.standing.state == "healthy").count();
        if all == 0 {
            return self.ends(StatusCode::SERVICE_UNAVAILABLE, "its upstreams have no endpoints".to_owned());
        }
        self.view.why.push(format!("{healthy} of {all} endpoints are healthy"));
        self.view
    }

    fn upstream(&self, app: &App, to: &WeightedUpstream) -> Option<UpstreamView> {
        let upstream = app.spec.upstreams.get(to.upstream)?;
        let endpoint = |endpoint: &routing_cache::model::Endpoint| EndpointView {
            address: endpoint.address.to_string(),
            weight: endpoint.weight,
            instance: endpoint.instance.as_ref().map(ToString::to_string),
            standing: upstreams::standing(&self.states, &endpoint.address),
        };
        Some(UpstreamView {
            upstream: upstream.name.to_string(),
            weight: to.weight,
            endpoints: upstream.endpoints.iter().map(endpoint).collect(),
        })
    }
}

fn host_reason(host: &str, pattern: &HostPattern, app: &App) -> String {
    match pattern {
        HostPattern::Exact(_) => format!("app {} has the host {host}", app.id),
        HostPattern::Wildcard(_) => format!("app {} has {pattern}, the longest wildcard for {host}", app.id),
    }
}

fn title(route: &Route, index: usize) -> String {
    route.name.as_ref().map_or_else(|| index.to_string(), |name| format!("{index} ({name})"))
}

/// What a route takes, in words.
fn matches(matches: &RouteMatch) -> String {
    let mut words = match &matches.path {
        PathMatch::Exact(path) => format!("path {path}"),
        PathMatch::Prefix(path) => format!("paths below {path}"),
    };
    if !matches.methods.is_empty() {
        let methods: Vec<&str> = matches.methods.iter().map(Method::as_str).collect();
        words.push_str(&format!(", methods {}", methods.join(" ")));
    }
    for (name, value) in &matches.headers {
        words.push_str(&format!(", {name}: {}", String::from_utf8_lossy(value.as_bytes())));
    }
    words
}

fn target(redirect: &Redirect) -> String {
    let part = |text: &Option<std::sync::Arc<str>>, same: &str| text.as_deref().unwrap_or(same).to_owned();
    let port = redirect.port.map(|port| format!(":{port}")).unwrap_or_default();
    let path = match &redirect.path {
        Some(PathRewrite::Full(path)) => path.to_string(),
        Some(PathRewrite::Prefix(prefix)) => format!("{prefix} in place of the matched prefix"),
        None => "the same path".to_owned(),
    };
    format!("{}://{}{port} {path}", part(&redirect.scheme, "same scheme"), part(&redirect.host, "same host"))
}

/// An app of one route, to ask the data plane's own function about it.
fn only_route(app: &App, matches: RouteMatch) -> App {
    let route = Route {
        name: None,
        matches,
        action: Action::Forward { to: Vec::new(), rewrite: None },
        request_headers: Default::default(),
        response_headers: Default::default(),
        timeouts: Default::default(),
        retries: Default::default(),
    };
    let spec =
        AppSpec { hosts: Vec::new(), routes: vec![route], upstreams: Vec::new(), error_pages: Default::default() };
    App { id: app.id.clone(), rev: app.rev, document: app.document.clone(), spec }
}
