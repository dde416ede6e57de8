//! One request, from its head to its answer's head: admit, route, forward; and the one place where a failure is answered.

use std::{convert::Infallible, rc::Rc, sync::Arc};

use http::{HeaderValue, Method, Request, Response, Version, header, request::Parts};
use http_body::Body;
use hyper::{body::Incoming, upgrade::OnUpgrade};
use routing_cache::model::{Action, App, PathRewrite, Redirect, Route, WeightedUpstream};
use tokio::time::Instant;

use super::{
    answer::{self, Form},
    attempt::Answer,
    body::ResponseBody,
    connection::Connection,
    expect::Expectation,
    failure::{Cause, Failure, Stage},
    forward::Job,
    hop::{self, Hop},
    outgoing::{self, Making, Outgoing},
    pace::Rate,
    record::Record,
    relay,
    rewrite::{self, Matched},
    route,
    settings::{IDLE_TIMEOUT, Settings},
    shed,
    target::{self, Target},
    tunnel::Tunnel,
    upload::{Upload, UploadLimits},
};

const CLOSE: HeaderValue = HeaderValue::from_static("close");

/// Answers one request. It never fails: what goes wrong is an answer.
pub(crate) async fn serve(
    connection: Rc<Connection>,
    request: Request<Incoming>,
) -> Result<Response<ResponseBody>, Infallible> {
    if let Some(refusal) = shed::refusal(&connection, &request) {
        return Ok(refusal);
    }
    let (mut head, incoming) = request.into_parts();
    let mut record = Record::begin(&connection, &head);
    let (accept, bodiless) = (head.headers.get(header::ACCEPT).cloned(), head.method == Method::HEAD);
    let mut exchange = Exchange::new(connection, &mut head, incoming);
    record.uploads(&exchange.upload);
    let outcome = exchange.run(&mut head, &mut record).await.unwrap_or_else(|failure| {
        record.failed(&failure);
        let pages = exchange.app.as_ref().map(|app| &app.spec.error_pages);
        Outcome::Answer(answer::to_failure(&failure, Form::accepted(accept.as_ref()), pages))
    });
    Ok(exchange.end(outcome, record, bodiless))
}

/// What becomes of a request.
enum Outcome {
    /// An answer, ours or the upstream's.
    Answer(Response<ResponseBody>),
    /// The connection stops being HTTP with this answer.
    Switch(Response<ResponseBody>, Box<Tunnel>),
}

/// A request that is being answered.
struct Exchange {
    connection: Rc<Connection>,
    settings: Arc<Settings>,
    upload: Upload,
    hop: Hop,
    upgrade: Option<OnUpgrade>,
    expectation: Expectation,
    version: Version,
    app: Option<Arc<App>>,
}

/// The route a request takes, with what led there.
struct Routed<'a> {
    app: &'a App,
    route: &'a Route,
    target: &'a Target,
    matched: Matched<'a>,
}

impl Exchange {
    fn new(connection: Rc<Connection>, head: &mut Parts, incoming: Incoming) -> Self {
        let settings = connection.worker().settings();
        let hop = hop::strip_request(&mut head.headers, head.version);
        let upgrade = head.extensions.remove::<OnUpgrade>().filter(|_| hop.upgrade.is_some());
        let expectation = Expectation::take(&mut head.headers, head.version);
        let limits = &settings.limits;
        let rate = Rate::new(limits.min_request_bytes_per_second, limits.min_rate_window);
        let limits = UploadLimits { bytes: limits.request_body_bytes, rate };
        let upload = Upload::new(incoming, limits, expectation == Expectation::Continue);
        Self { connection, settings, upload, hop, upgrade, expectation, version: head.version, app: None }
    }

    /// Admits and routes the request, and does what the route says.
    async fn run(&mut self, head: &mut Parts, record: &mut Record) -> Result<Outcome, Failure> {
        let target = target::read(head)?;
        let path = target.path()?;
        if self.connection.is_probe() {
            return Ok(Outcome::Answer(route::probed(self.connection.worker())));
        }
        self.admit(head)?;
        let app = route::find_app(self.connection.worker(), &target)?;
        self.app = Some(Arc::clone(&app));
        let route = route::find_route(&app, &path, head)?;
        record.routed(&app, route.name.as_ref());
        let matched = Matched { path: &path, route: &route.matches.path };
        let routed = Routed { app: &app, route, target: &target, matched };
        if hop::count_down(&head.method, &mut head.headers).is_break() {
            return Ok(Outcome::Answer(answer::options()));
        }
        match &route.action {
            Action::Redirect(redirect) => self.redirect(redirect, &routed, head).map(Outcome::Answer),
            Action::Forward { to, rewrite } => {
                let mut outgoing = self.outgoing(head, &routed, rewrite.as_ref())?;
                self.forward(&routed, to, &mut outgoing, record).await
            }
        }
    }

    /// Refuses at once an expectation that cannot be met, and a body that says itself that it is too large.
    fn admit(&self, head: &Parts) -> Result<(), Failure> {
        if self.expectation == Expectation::Unknown {
            return Err(Failure::new(Stage::Admit, Cause::ExpectationFailed));
        }
        let limit = self.settings.limits.request_body_bytes;
        let length = head.headers.get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<u64>().ok());
        if limit > 0 && length.is_some_and(|length| length > limit) {
            return Err(Failure::new(Stage::Admit, Cause::BodyTooLarge));
        }
        Ok(())
    }

    fn redirect(
        &self,
        redirect: &Redirect,
        routed: &Routed<'_>,
        head: &Parts,
    ) -> Result<Response<ResponseBody>, Failure> {
        let scheme = self.connection.peer.scheme(&head.headers);
        let location = rewrite::location(redirect, routed.target, &routed.matched, scheme)
            .ok_or_else(|| Failure::new(Stage::Route, Cause::BadRequest).because("the path cannot be redirected"))?;
        let mut response = answer::redirect(redirect.status.code(), location);
        outgoing::apply(response.headers_mut(), &routed.route.response_headers);
        Ok(response)
    }

    fn outgoing(
        &self,
        head: &mut Parts,
        routed: &Routed<'_>,
        rewrite: Option<&PathRewrite>,
    ) -> Result<Outgoing, Failure> {
        let uri = rewrite::forwarded(routed.target, rewrite, &routed.matched)
            .ok_or_else(|| Failure::new(Stage::Route, Cause::BadRequest).because("the path cannot be rewritten"))?;
        let making = Making {
            target: routed.target,
            hop: &self.hop,
            peer: &self.connection.peer,
            ops: &routed.route.request_headers,
            upload: &self.upload,
        };
        Ok(Outgoing::new(head, uri, &making))
    }

    async fn forward(
        &mut self,
        routed: &Routed<'_>,
        to: &[WeightedUpstream],
        outgoing: &mut Outgoing,
        record: &mut Record,
    ) -> Result<Outcome, Failure> {
        let worker = Rc::clone(self.connection.worker());
        let chosen = worker.balancer.borrow_mut().pick_route(to);
        let upstream = chosen.and_then(|to| routed.app.spec.upstreams.get(to.upstream));
        let upstream = upstream.ok_or_else(|| Failure::new(Stage::Pick, Cause::Internal))?;
        let timeouts = &routed.route.timeouts;
        let limit = timeouts.request.unwrap_or(self.settings.upstream.request_timeout);
        self.upload.prefetch().await;
        if let Some(cause) = self.upload.fault() {
            return Err(Failure::new(Stage::Admit, cause));
        }
        let job = Job {
            worker: &worker,
            settings: &self.settings,
            app: routed.app,
            route: routed.route,
            upstream,
            upload: &self.upload,
            deadline: Instant::from_std(record.started()) + limit,
        };
        let answer = job.run(outgoing, record).await?;
        record.answered(answer.took);
        self.pass(answer, routed.route)
    }

    /// Passes an answer on: as a tunnel where the upstream switches protocols as the client has asked.
    fn pass(&mut self, answer: Answer, route: &Route) -> Result<Outcome, Failure> {
        let idle = route.timeouts.idle.unwrap_or(IDLE_TIMEOUT);
        if !relay::switches(&answer) {
            return relay::relay(answer, &route.response_headers, idle).map(Outcome::Answer);
        }
        let not_asked = || Failure::after_sending(Stage::Upgrade, Cause::BadUpgrade);
        let client = self.upgrade.take().ok_or_else(not_asked)?;
        let (response, held) = relay::switching(answer, &route.response_headers);
        let connection = Rc::clone(&self.connection);
        Ok(Outcome::Switch(response, Box::new(Tunnel { connection, client, held, idle })))
    }

    /// True for an answer whose end is the connection's: HTTP/1.0 knows no chunks, and hyper would promise it
    /// `keep-alive` all the same.
    fn ends_with_connection(&self, response: &Response<ResponseBody>) -> bool {
        self.version == Version::HTTP_10 && response.body().size_hint().exact().is_none()
    }

    /// Gives the answer what the connection needs it to say, and the record to whoever is responsible for it from now.
    fn end(self, outcome: Outcome, mut record: Record, bodiless: bool) -> Response<ResponseBody> {
        let mut response = match outcome {
            Outcome::Answer(response) => response,
            Outcome::Switch(response, tunnel) => {
                record.status(response.status().as_u16());
                tunnel.start(record);
                return response;
            }
        };
        record.status(response.status().as_u16());
        if !self.upload.is_complete() {
            self.connection.leaves_unread();
            response.headers_mut().insert(header::CONNECTION, CLOSE);
        } else if self.ends_with_connection(&response) {
            self.connection.ends_the_answer();
            response.headers_mut().insert(header::CONNECTION, CLOSE);
        } else if self.connection.worker().ends_connections() {
            response.headers_mut().insert(header::CONNECTION, CLOSE);
        }
        if bodiless {
            response.body_mut().clear();
        }
        response.body_mut().attach(record);
        response
    }
}
