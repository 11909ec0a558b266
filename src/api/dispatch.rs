//! The order of checks of every request: route, method, body limit, authorization, then the handler
//! under its time-out, then metrics and the error log.
//!
//! Hot path: for a cached key everything here completes without waiting; the time-out is armed only
//! for handlers that do wait.

use std::borrow::Cow;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tracing::Instrument;

use super::context::{Api, Peer, RequestHead};
use super::deadline::within;
use super::error::ApiError;
use super::reply::Reply;
use super::respond::{error_reply, malformed_target, no_target, redirect, route_not_found};
use super::route::{Access, Operation, ROUTES, Route, RouteMatch, RouteSettings, find};
use super::{backup, cluster, identity, key, log, policy, status};
use crate::base::identity::Identity;
use crate::base::limits::{METHOD_BYTES_MAX, PATH_BYTES_MAX, REQUEST_BODY_TIMEOUT};
use crate::telemetry::metrics::Metrics;

/// What becomes of a request once its head is known.
pub enum Admission<'a> {
    /// It is answered without its body. The ingress still drains the body.
    Answer(Reply),
    /// It goes on once its body is there.
    Admitted(Admitted<'a>),
}

/// A request that may go on.
pub struct Admitted<'a> {
    pub(super) route: &'static Route,
    pub(super) settings: RouteSettings,
    pub(super) method: &'a str,
    /// Percent-decoded.
    pub(super) path: Cow<'a, str>,
    resource_at: usize,
    pub(super) peer: &'a Peer,
    pub(super) identity: Identity,
    /// Declared length of the body.
    pub(super) body_bytes: Option<u64>,
    pub(super) received: Instant,
}

/// A body as the ingress received it.
pub enum Body {
    /// All of it.
    Complete(Bytes),
    /// It was longer than the limit; the rest was not read.
    TooLarge,
    /// It did not arrive in time.
    TimedOut,
    /// There is no memory for it at the moment.
    Overloaded,
}

impl Admitted<'_> {
    /// How much of the body to keep. Zero: drain it, keep nothing.
    pub fn body_bytes_max(&self) -> usize {
        let declared = self
            .body_bytes
            .and_then(|bytes| usize::try_from(bytes).ok());
        declared
            .unwrap_or(usize::MAX)
            .min(self.route.body_bytes_max)
    }

    /// Time for the body to arrive: that of the route, if it is shorter than the limit of all.
    pub fn body_timeout(&self) -> Duration {
        match self.settings.timeout {
            Duration::ZERO => REQUEST_BODY_TIMEOUT,
            timeout => timeout.min(REQUEST_BODY_TIMEOUT),
        }
    }

    /// What follows the route's path.
    pub(super) fn resource(&self) -> &str {
        self.path.get(self.resource_at..).unwrap_or_default()
    }
}

impl Api {
    /// Decides by the head alone whether a request may go on.
    pub fn admit<'a>(&self, head: &RequestHead<'a>, peer: &'a Peer) -> Admission<'a> {
        if head.path.len() > PATH_BYTES_MAX || head.method.len() > METHOD_BYTES_MAX {
            return Admission::Answer(malformed_target());
        }
        if head.path == "*" {
            return Admission::Answer(no_target());
        }
        if !head.path.starts_with('/') {
            return Admission::Answer(malformed_target());
        }
        let (index, path, resource_at) = match find(head.path, self.cluster.is_some()) {
            RouteMatch::Route {
                index,
                path,
                resource_at,
            } => (index, path, resource_at),
            RouteMatch::NotFound => return Admission::Answer(route_not_found()),
            RouteMatch::Malformed => return Admission::Answer(malformed_target()),
            RouteMatch::Redirect(mut location) => {
                if let Some(query) = head.query.filter(|query| query.len() <= PATH_BYTES_MAX) {
                    location.push('?');
                    location.push_str(query);
                }
                return Admission::Answer(redirect(head.method, location));
            }
        };
        let route = &ROUTES[index];
        let mut admitted = Admitted {
            route,
            settings: self.routes.load().settings(index),
            method: head.method,
            path,
            resource_at,
            peer,
            identity: Identity::unknown(),
            body_bytes: head.body_bytes,
            received: head.received,
        };
        match self.check(&mut admitted) {
            Ok(()) => Admission::Admitted(admitted),
            Err(error) => Admission::Answer(error_reply(&error)),
        }
    }

    /// Whether this node has the route at all.
    pub(super) fn has_route(&self, route: &Route) -> bool {
        route.exists(self.cluster.is_some())
    }

    fn check(&self, admitted: &mut Admitted<'_>) -> Result<(), ApiError> {
        let (method, expected) = (admitted.method, admitted.route.method);
        if method != expected && !(method == "POST" && expected == "PUT") {
            return Err(ApiError::MethodNotAllowed {
                received: method.to_owned(),
                expected,
            });
        }
        match admitted.settings.access {
            Access::Public => {}
            Access::Identified => admitted.identity = admitted.peer.identity_or_unknown(),
            Access::Authorized => self.authorize(admitted)?,
            Access::Admin => {
                self.authorize(admitted)?;
                // No policy can allow this.
                if !self.authorizer.policies().is_admin(&admitted.identity) {
                    log_denied(admitted, "the client is not the admin");
                    return Err(ApiError::NotAllowed);
                }
            }
        }
        Ok(())
    }

    fn authorize(&self, admitted: &mut Admitted<'_>) -> Result<(), ApiError> {
        let span = tracing::trace_span!("authorize");
        let _entered = span.enter();
        match &admitted.peer.identity {
            Ok(identity) => admitted.identity = identity.clone(),
            Err(error) => {
                let error = ApiError::NotAuthenticated(*error);
                log_denied(admitted, "the client has no identity");
                return Err(error);
            }
        }
        match self
            .authorizer
            .authorize(&admitted.identity, &admitted.path)
        {
            Ok(_permit) => Ok(()),
            Err(denied) => {
                log_denied(admitted, &denied.to_string());
                Err(ApiError::NotAllowed)
            }
        }
    }

    /// Serves an admitted request.
    pub async fn serve(&self, request: Admitted<'_>, body: Body) -> Reply {
        let active = request
            .route
            .counted
            .then(|| ActiveRequest::start(&self.metrics));
        let span = tracing::trace_span!(
            "request",
            route = request.route.path,
            key = request.resource(),
            status = tracing::field::Empty,
        );
        let handler = self.run(&request, body);
        let result = if span.is_disabled() {
            within(request.settings.timeout, handler).await
        } else {
            within(request.settings.timeout, handler)
                .instrument(span.clone())
                .await
        };
        let reply = result
            .unwrap_or(Err(ApiError::TimedOut))
            .unwrap_or_else(|error| {
                log_failure(&request, &error);
                let mut reply = error_reply(&error);
                // A body that was cut off would be taken for the next request.
                reply.close |= matches!(error, ApiError::InvalidBody | ApiError::InvalidImportBody)
                    && self.is_cut_off(&request);
                reply
            });
        span.record("status", reply.status);
        if let Some(active) = active {
            active.end(reply.status);
        }
        reply
    }

    fn is_cut_off(&self, request: &Admitted<'_>) -> bool {
        let max = u64::try_from(request.route.body_bytes_max).unwrap_or(u64::MAX);
        request.body_bytes.is_none_or(|bytes| bytes > max)
    }

    async fn run(&self, request: &Admitted<'_>, body: Body) -> Result<Reply, ApiError> {
        match body {
            Body::TimedOut => return Err(ApiError::BodyTimedOut),
            Body::Overloaded => return Err(ApiError::Overloaded),
            Body::Complete(_) | Body::TooLarge => {}
        }
        match request.route.operation {
            Operation::Decrypt => key::decrypt(self, request, body).await,
            Operation::Generate => key::generate(self, request, body).await,
            Operation::Encrypt => key::encrypt(self, request, body).await,
            Operation::Hmac => key::hmac(self, request, body).await,
            Operation::DescribeKey => key::describe(self, request).await,
            Operation::CreateKey => key::create(self, request).await,
            Operation::ImportKey => key::import(self, request, body).await,
            Operation::ListKeys => key::list(self, request).await,
            Operation::DeleteKey => key::delete(self, request).await,
            Operation::Version => Ok(status::version()),
            Operation::Ready => status::ready(self).await,
            Operation::Status => status::status(self).await,
            Operation::Metrics => status::metrics(self),
            Operation::ListRoutes => Ok(status::routes(self)),
            Operation::DescribePolicy => policy::describe(self, request),
            Operation::ReadPolicy => policy::read(self, request),
            Operation::ListPolicies => policy::list(self, request),
            Operation::WritePolicy => policy::write(self, request, body).await,
            Operation::AssignPolicy => policy::assign(self, request, body).await,
            Operation::DeletePolicy => policy::delete(self, request).await,
            Operation::DescribeIdentity => identity::describe(self, request),
            Operation::ListIdentities => identity::list(self, request),
            Operation::DeleteIdentity => identity::delete(self, request).await,
            Operation::DescribeSelf => identity::describe_self(self, request),
            Operation::ErrorLog => log::errors(self),
            Operation::AuditLog => log::audit(self),
            Operation::ClusterStatus => cluster::status(self).await,
            Operation::JoinCluster => cluster::join(self, body).await,
            Operation::PromoteMember => cluster::promote(self, request).await,
            Operation::RemoveMember => cluster::remove(self, request).await,
            Operation::LeaveCluster => cluster::leave(self).await,
            Operation::SaveSnapshot => backup::save(self, request).await,
            Operation::BeginRestore => backup::begin_restore(self, request).await,
            Operation::RestoreData => backup::take_piece(self, request, body).await,
            Operation::CommitRestore => backup::commit_restore(self, request).await,
            Operation::RotateRootKey => cluster::rotate_root_key(self).await,
        }
    }
}

fn log_denied(request: &Admitted<'_>, reason: &str) {
    tracing::debug!(
        req.method = request.method,
        req.path = &*request.path,
        req.ip = %DisplayIp(request.peer),
        req.identity = %DisplayIdentity(&request.identity),
        "{reason}"
    );
}

fn log_failure(request: &Admitted<'_>, error: &ApiError) {
    let Some(cause) = error.cause() else { return };
    tracing::error!(
        req.method = request.method,
        req.path = &*request.path,
        req.ip = %DisplayIp(request.peer),
        req.identity = %DisplayIdentity(&request.identity),
        "{cause}"
    );
}

struct DisplayIp<'a>(&'a Peer);

impl std::fmt::Display for DisplayIp<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0.ip {
            Some(ip) => ip.fmt(f),
            None => f.write_str("invalid IP"),
        }
    }
}

struct DisplayIdentity<'a>(&'a Identity);

impl std::fmt::Display for DisplayIdentity<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_unknown() {
            "<unknown>"
        } else {
            self.0.as_str()
        })
    }
}

/// A request that is being counted; one that is dropped half-way leaves no status behind.
struct ActiveRequest<'a> {
    metrics: &'a Metrics,
    started: Instant,
    status: Option<u16>,
}

impl<'a> ActiveRequest<'a> {
    fn start(metrics: &'a Metrics) -> Self {
        metrics.request_started();
        Self {
            metrics,
            started: Instant::now(),
            status: None,
        }
    }

    fn end(mut self, status: u16) {
        self.status = Some(status);
    }
}

impl Drop for ActiveRequest<'_> {
    fn drop(&mut self) {
        self.metrics
            .request_ended(self.status, self.started.elapsed());
    }
}
