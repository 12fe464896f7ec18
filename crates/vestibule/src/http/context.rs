//! What one request knows of itself.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use axum::extract::{ConnectInfo, MatchedPath};
use http::{Extensions, HeaderMap, HeaderValue, Method};
use serde::{Serialize, Serializer};
use tokio::sync::OnceCell;
use tracing::Span;
use uuid::Uuid;

use crate::{
    error::{OutageStatus, Reason, Refusal, RefusedCaller},
    principal::{Principal, PrincipalKind},
    tenancy::SessionScope,
    trace::{self, TraceId},
    vestibule::Vestibule,
};

/// The name of a request in answers, logs and activity: always ours, never the client's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RequestId(Uuid);

impl RequestId {
    /// A new name.
    pub(crate) fn generate() -> Self {
        Self(Uuid::now_v7())
    }

    /// The name as a UUIDv7.
    pub fn as_uuid(self) -> Uuid {
        self.0
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for RequestId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

/// What the layer puts into a request's extensions for the extractors.
pub(crate) struct RequestContext {
    pub(crate) vestibule: Vestibule,
    scope: Arc<SessionScope>,
    /// The other end of the connection, where the server says so.
    peer: Option<IpAddr>,
    principal: OnceCell<Result<Principal, Refusal>>,
    /// Most requests succeed and are never named: the id is made when first asked for.
    request_id: OnceLock<RequestId>,
}

impl RequestContext {
    pub(crate) fn new(vestibule: Vestibule, extensions: &Extensions) -> Self {
        let scope = vestibule.new_scope();
        Self {
            vestibule,
            scope,
            peer: extensions
                .get::<ConnectInfo<SocketAddr>>()
                .map(|ConnectInfo(address)| address.ip()),
            principal: OnceCell::new(),
            request_id: OnceLock::new(),
        }
    }

    /// Who calls; authenticates at the first call, and only then.
    pub(crate) async fn principal(&self, headers: &HeaderMap) -> Result<&Principal, &Refusal> {
        let authenticate = || async {
            let authenticator = self.vestibule.authenticator();
            let principal = authenticator
                .authenticate(headers, self.peer, || self.request_id())
                .await?;
            Ok(principal.within(Arc::clone(&self.scope)))
        };
        self.principal.get_or_init(authenticate).await.as_ref()
    }

    /// What [`RequestContext::principal`] found, if it was asked.
    pub(crate) fn authenticated(&self) -> Option<Result<&Principal, &Refusal>> {
        self.principal.get().map(Result::as_ref)
    }

    pub(crate) fn scope(&self) -> &Arc<SessionScope> {
        &self.scope
    }

    pub(crate) fn request_id(&self) -> RequestId {
        *self.request_id.get_or_init(RequestId::generate)
    }

    /// Whether the other end of the connection is a proxy that is believed.
    pub(crate) fn is_from_trusted_proxy(&self) -> bool {
        let authenticator = self.vestibule.authenticator();
        self.peer.is_some_and(|peer| authenticator.trusts(peer))
    }

    pub(crate) fn outage_status(&self) -> OutageStatus {
        self.vestibule.outage_status()
    }
}

impl fmt::Debug for RequestContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestContext")
            .field("request_id", &self.request_id)
            .finish_non_exhaustive()
    }
}

/// What an observer of [`VestibuleLayer`](super::VestibuleLayer) is told about an answered
/// request.
#[derive(Clone, Copy, Debug)]
pub struct RequestFacts<'a> {
    pub(super) context: &'a RequestContext,
    pub(super) method: &'a Method,
    pub(super) route: Option<&'a MatchedPath>,
    pub(super) authorization: Option<&'a HeaderValue>,
    pub(super) refusal: Option<&'a Refusal>,
    pub(super) span: &'a Span,
    pub(super) began: Instant,
}

impl RequestFacts<'_> {
    /// The request's name, the same as in its problem response and activity.
    pub fn request_id(&self) -> RequestId {
        self.context.request_id()
    }

    /// How long the request has taken, its handler and the end of its session included.
    pub fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// The method.
    pub fn method(&self) -> &Method {
        self.method
    }

    /// The route's pattern, never the path itself; none where no route matched.
    pub fn route(&self) -> Option<&str> {
        self.route.map(MatchedPath::as_str)
    }

    /// The first `Authorization` header, a secret: for whoever says what a refused token claims, and
    /// keeps nothing of it.
    pub fn authorization(&self) -> Option<&HeaderValue> {
        self.authorization
    }

    /// The caller, where one was authenticated.
    pub fn principal(&self) -> Option<&Principal> {
        self.context.authenticated().and_then(Result::ok)
    }

    /// Why the request was refused, if it was.
    pub fn refusal(&self) -> Option<&Refusal> {
        self.refusal
            .or_else(|| self.context.authenticated().and_then(Result::err))
    }

    /// What kind of caller it was: one that was let in, or one that was refused and is known, such
    /// as one that is suspended.
    pub fn caller_kind(&self) -> Option<PrincipalKind> {
        match (self.principal(), self.refused_caller()) {
            (Some(principal), _) => Some(principal.kind()),
            (None, Some(caller)) if caller.user_id.is_some() => Some(PrincipalKind::User),
            (None, Some(_)) => Some(PrincipalKind::Machine),
            (None, None) => None,
        }
    }

    /// The account of that caller.
    pub fn account_id(&self) -> Option<Uuid> {
        match (self.principal(), self.refused_caller()) {
            (Some(principal), _) => Some(principal.account().id),
            (None, Some(caller)) => Some(caller.account_id),
            (None, None) => None,
        }
    }

    fn refused_caller(&self) -> Option<&RefusedCaller> {
        self.refusal().and_then(|refusal| refusal.caller.as_ref())
    }

    /// The request's trace, where spans are recorded by `tracing-opentelemetry`; see
    /// [`trace`](crate::trace).
    pub fn trace_id(&self) -> Option<TraceId> {
        trace::trace_id(self.span)
    }

    /// The exact reason of [`RequestFacts::refusal`].
    pub fn reason(&self) -> Option<Reason> {
        self.refusal().map(|refusal| refusal.reason)
    }
}
