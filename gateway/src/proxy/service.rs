//! One request, from its head to its answer's head: admit, route, forward; and the one place where a failure is answered.

use std::{cell::OnceCell, rc::Rc, sync::Arc, time::Duration};

use http::{Method, Version};
use routing_cache::model::{Action, App, PathRewrite, Redirect, Route, WeightedUpstream};
use tokio::time::Instant;

use super::{
    answer::{self, Form},
    attempt::{Answer, Held},
    body::ResponseBody,
    connection::Connection,
    expect::Expectation,
    failure::{Cause, Failure, Stage},
    forward::Job,
    hop::{self, Hop},
    http1::Shared,
    outgoing::{self, Making, Outgoing},
    pace::Rate,
    record::Record,
    relay,
    rewrite::{self, Matched, Origin},
    route,
    settings::{IDLE_TIMEOUT, Settings},
    shed,
    target::{self, Target},
    tunnel::Tunnel,
    upload::{Upload, UploadLimits},
};
use crate::message::{Fields, RequestHead, ResponseHead, names};

/// What a request is answered with.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) head: ResponseHead,
    pub(crate) body: ResponseBody,
    /// The connection is to end with it, whatever the client has asked for.
    pub(crate) last: bool,
    /// The connection stops being HTTP with it.
    pub(crate) tunnel: Option<Box<Tunnel>>,
}

impl From<(ResponseHead, ResponseBody)> for Reply {
    fn from((head, body): (ResponseHead, ResponseBody)) -> Self {
        Self { head, body, last: false, tunnel: None }
    }
}

/// Answers one request. It never fails: what goes wrong is an answer.
///
/// `head` is the connection's memory: after it only its capacity is worth anything.
pub(crate) async fn serve(connection: &Rc<Connection>, wire: &Shared, head: &mut RequestHead) -> Reply {
    if let Some(refusal) = shed::refusal(connection, &head.method) {
        return refusal;
    }
    let mut record = Record::begin(connection, head);
    let bodiless = head.method == Method::HEAD;
    // Only its place: what it says is looked at where an answer is ours, and a route may take it out before.
    let accept = head.fields.remember(names::ACCEPT);
    let exchange = Exchange::new(connection, wire, head);
    record.uploads(&exchange.upload);
    let outcome = exchange.run(head, &mut record).await.unwrap_or_else(|failure| {
        record.failed(&failure);
        let pages = exchange.app.get().map(|app| &app.spec.error_pages);
        let form = Form::accepted(accept.map(|accept| head.fields.recall(accept)));
        Outcome::Answer(answer::to_failure(&failure, form, pages))
    });
    exchange.end(outcome, record, bodiless)
}

/// What becomes of a request.
enum Outcome {
    /// An answer, ours or the upstream's.
    Answer(Reply),
    /// The connection stops being HTTP with this answer.
    Switch(Reply, Held, Duration),
}

/// A request that is being answered.
struct Exchange<'a> {
    connection: &'a Rc<Connection>,
    wire: &'a Shared,
    settings: Rc<Settings>,
    upload: Upload,
    hop: Hop,
    expectation: Expectation,
    version: Version,
    /// Once it was found.
    app: OnceCell<Arc<App>>,
}

/// The route a request takes, with what led there.
struct Routed<'a> {
    app: &'a App,
    route: &'a Route,
    target: Target<'a>,
    matched: Matched<'a>,
}

impl<'a> Exchange<'a> {
    fn new(connection: &'a Rc<Connection>, wire: &'a Shared, head: &mut RequestHead) -> Self {
        let settings = connection.worker().settings();
        let hop = hop::strip_request(&mut head.fields, head.version);
        let expectation = Expectation::take(&mut head.fields, head.version);
        let limits = &settings.limits;
        let rate = Rate::new(limits.min_request_bytes_per_second, limits.min_rate_window);
        let limits = UploadLimits { bytes: limits.request_body_bytes, rate };
        let upload = Upload::of(wire, limits, expectation == Expectation::Continue);
        let (version, app) = (head.version, OnceCell::new());
        Self { connection, wire, settings, upload, hop, expectation, version, app }
    }

    /// Admits and routes the request, and does what the route says. The fields are back in `head` when it fails.
    async fn run(&self, head: &mut RequestHead, record: &mut Record) -> Result<Outcome, Failure> {
        let RequestHead { method, target, version, fields } = head;
        let target = target::read(method, *version, target, fields)?;
        let path = target.path()?;
        if self.connection.is_probe() {
            return Ok(Outcome::Answer(route::probed(self.connection.worker())));
        }
        self.admit(fields)?;
        let app = route::find_app(self.connection.worker(), fields)?;
        let app = self.app.get_or_init(|| app);
        let route = route::find_route(app, &path, method, fields)?;
        record.routed(app, route.name.as_ref());
        let matched = Matched { path: &path, route: &route.matches.path };
        let routed = Routed { app, route, target, matched };
        if hop::count_down(method, fields).is_break() {
            return Ok(Outcome::Answer(answer::options()));
        }
        match &route.action {
            Action::Redirect(redirect) => self.redirect(redirect, &routed, fields).map(Outcome::Answer),
            Action::Forward { to, rewrite } => {
                let outgoing = self.outgoing(method, fields, &routed, rewrite.as_ref())?;
                let outcome = self.forward(&routed, to, &outgoing, record).await;
                match &outcome {
                    Ok(_) => self.connection.worker().pool.recycle(outgoing.fields),
                    Err(_) => *fields = outgoing.fields,
                }
                outcome
            }
        }
    }

    /// Refuses at once an expectation that cannot be met, and a body that says itself that it is too large.
    fn admit(&self, fields: &Fields) -> Result<(), Failure> {
        if self.expectation == Expectation::Unknown {
            return Err(Failure::new(Stage::Admit, Cause::ExpectationFailed));
        }
        let limit = self.settings.limits.request_body_bytes;
        if limit == 0 || self.upload.is_empty() {
            return Ok(());
        }
        if fields.content_length().is_some_and(|length| length > limit) {
            return Err(Failure::new(Stage::Admit, Cause::BodyTooLarge));
        }
        Ok(())
    }

    fn redirect(&self, redirect: &Redirect, routed: &Routed<'_>, fields: &Fields) -> Result<Reply, Failure> {
        let asked = Origin { target: routed.target, scheme: self.connection.peer.scheme(fields), fields };
        let location = rewrite::location(redirect, &routed.matched, asked)
            .ok_or_else(|| Failure::new(Stage::Route, Cause::BadRequest).because("the path cannot be redirected"))?;
        let mut reply = answer::redirect(redirect.status.code(), &location);
        outgoing::apply(&mut reply.head.fields, &routed.route.response_headers);
        Ok(reply)
    }

    /// What goes to the upstream. Takes the fields.
    fn outgoing<'r>(
        &self,
        method: &'r Method,
        fields: &mut Fields,
        routed: &Routed<'r>,
        rewrite: Option<&'r PathRewrite>,
    ) -> Result<Outgoing<'r>, Failure> {
        let target = rewrite::forwarded(routed.target, rewrite, &routed.matched)
            .ok_or_else(|| Failure::new(Stage::Route, Cause::BadRequest).because("the path cannot be rewritten"))?;
        let making = Making {
            version: self.version,
            hop: &self.hop,
            peer: &self.connection.peer,
            ops: &routed.route.request_headers,
            upload: &self.upload,
        };
        making.make(fields);
        Ok(Outgoing { method, target, fields: std::mem::take(fields) })
    }

    async fn forward(
        &self,
        routed: &Routed<'_>,
        to: &[WeightedUpstream],
        outgoing: &Outgoing<'_>,
        record: &mut Record,
    ) -> Result<Outcome, Failure> {
        let worker = self.connection.worker();
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
            worker,
            settings: &self.settings,
            app: routed.app,
            route: routed.route,
            upstream,
            upload: &self.upload,
            wire: self.wire,
            deadline: Instant::from_std(record.started()) + limit,
        };
        let answer = job.run(outgoing, record).await?;
        record.answered(answer.took);
        self.pass(answer, routed.route)
    }

    /// Passes an answer on: as a tunnel where the upstream switches protocols as the client has asked.
    fn pass(&self, answer: Answer, route: &Route) -> Result<Outcome, Failure> {
        let idle = route.timeouts.idle.unwrap_or(IDLE_TIMEOUT);
        if !relay::switches(&answer) {
            return relay::relay(answer, &route.response_headers, idle).map(Outcome::Answer);
        }
        if self.hop.upgrade.is_none() {
            return Err(Failure::after_sending(Stage::Upgrade, Cause::BadUpgrade));
        }
        let (reply, held) = relay::switching(answer, &route.response_headers);
        Ok(Outcome::Switch(reply, held, idle))
    }

    /// Gives the record to whoever is responsible for it from now.
    fn end(self, outcome: Outcome, mut record: Record, bodiless: bool) -> Reply {
        match outcome {
            Outcome::Answer(mut reply) => {
                record.status(reply.head.status.as_u16());
                if bodiless {
                    reply.body.clear();
                }
                reply.body.attach(record);
                reply
            }
            Outcome::Switch(reply, held, idle) => {
                record.status(reply.head.status.as_u16());
                Reply { tunnel: Some(Box::new(Tunnel { held, idle, record })), ..reply }
            }
        }
    }
}
