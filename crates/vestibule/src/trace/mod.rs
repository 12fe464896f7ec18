//! The way of a request as spans of the crate `tracing`, for whoever records them.
//!
//! | span | kind | from when to when |
//! | --- | --- | --- |
//! | `request` | server | [`VestibuleLayer`](crate::http::VestibuleLayer): from the head to the answer, the end of the session included |
//! | `authenticate` | internal | finding out who calls |
//! | `provider` | client | one call to the provider; a call that nobody waits for has a trace of its own |
//! | `session` | client | a tenant session, from its first statement to commit or rollback |
//!
//! All have the target [`TARGET`] and the level `INFO`. Where nobody wants them, they cost a look
//! at a flag. Names of fields are OpenTelemetry's where it has any. No field has a token, a key,
//! an e-mail, a path or a query; what is in them is what a line of an access log may have.
//!
//! With the feature `opentelemetry`, and where the application's subscriber has the layer of
//! `tracing-opentelemetry` (of the version that this library uses), traces go on over the borders
//! of the process in the form of [W3C trace context](https://www.w3.org/TR/trace-context/): a
//! request's `traceparent` and `tracestate` are heeded where no span is around the layer, and calls
//! to the provider carry their own. Without it, spans are recorded, and nothing is read or sent.
//!
//! Who may say what: a trace id is only a name, so anybody's is taken over. Whether a trace is
//! *recorded* costs something, so that is believed only where the connection comes from
//! `VESTIBULE_TRUSTED_PROXIES`; anybody else's flag is cleared, and his `tracestate` dropped, and
//! the context has `UntrustedParent`, by which a sampler can tell that nobody has decided yet.

#[cfg(feature = "opentelemetry")]
mod parent;
#[cfg(feature = "opentelemetry")]
mod remote;
#[cfg(not(feature = "opentelemetry"))]
#[path = "local.rs"]
mod remote;

use std::fmt;

use axum::extract::{MatchedPath, Request};
use http::HeaderMap;
use tracing::{Span, field::Empty, info_span, span_enabled};
use uuid::Uuid;

#[cfg(feature = "opentelemetry")]
pub use self::remote::UntrustedParent;
use crate::{
    http::{RequestFacts, known_method},
    principal::PrincipalKind,
};

/// The target of all spans, for filters.
pub const TARGET: &str = "vestibule::trace";

/// OpenTelemetry's word for a method that nobody knows.
const OTHER: &str = "_OTHER";

/// The name of a call's span.
const PROVIDER: &str = "provider";

/// Put into a request's extensions by a server that took `traceparent` from somebody whom it
/// believes, though the request itself comes from elsewhere: from a proxy that asks about a request.
#[derive(Clone, Copy, Debug)]
pub struct BelievedTrace;

/// The name of a trace, over all processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TraceId(u128);

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// The span of a request; a disabled one where nobody wants it, and then nothing is looked at.
pub(crate) fn request(request: &Request, is_trusted: impl FnOnce() -> bool) -> Span {
    if !span_enabled!(target: TARGET, tracing::Level::INFO) {
        return Span::none();
    }
    let is_outermost = Span::current().is_none();
    let method = known_method(request.method()).unwrap_or(OTHER);
    let route = request.extensions().get::<MatchedPath>();
    let route = route.map(MatchedPath::as_str);
    // As the conventions want it of a method that is not repeated.
    let verb = if method == OTHER { "HTTP" } else { method };
    let name = match route {
        Some(route) => format!("{verb} {route}"),
        None => verb.to_owned(),
    };
    let span = info_span!(
        target: TARGET,
        "request",
        otel.name = name,
        otel.kind = if is_outermost { "server" } else { "internal" },
        otel.status_code = Empty,
        error.type = Empty,
        http.request.method = method,
        http.route = route,
        http.response.status_code = Empty,
        vestibule.request_id = Empty,
        principal.kind = Empty,
        account.id = Empty,
        reason = Empty,
    );
    if is_outermost {
        let is_believed = request.extensions().get::<BelievedTrace>().is_some() || is_trusted();
        remote::continue_from(request.headers(), is_believed, &span);
    }
    span
}

/// What is known of a request once it has its answer.
pub(crate) fn answered(span: &Span, facts: &RequestFacts<'_>, status: http::StatusCode) {
    if span.is_disabled() {
        return;
    }
    span.record("http.response.status_code", i64::from(status.as_u16()));
    span.record(
        "vestibule.request_id",
        tracing::field::display(facts.request_id()),
    );
    if let Some(kind) = facts.caller_kind() {
        span.record("principal.kind", kind.as_str());
    }
    if let Some(account) = facts.account_id() {
        span.record("account.id", tracing::field::display(account));
    }
    if let Some(reason) = facts.reason() {
        span.record("reason", reason.as_str());
    }
    // A refused caller is the caller's business; a 5xx is ours.
    if status.is_server_error() {
        span.record("otel.status_code", "ERROR");
        span.record("error.type", status.as_str());
    }
}

/// Finding out who calls.
pub(crate) fn authenticate() -> Span {
    info_span!(
        target: TARGET,
        "authenticate",
        vestibule.token_cache = Empty,
        principal.kind = Empty,
        reason = Empty,
    )
}

/// What was found out.
pub(crate) fn authenticated(
    span: &Span,
    path: &'static str,
    kind: Option<PrincipalKind>,
    reason: Option<&'static str>,
) {
    if span.is_disabled() {
        return;
    }
    span.record("vestibule.token_cache", path);
    if let Some(kind) = kind {
        span.record("principal.kind", kind.as_str());
    }
    if let Some(reason) = reason {
        span.record("reason", reason);
    }
}

/// One call to the provider. Its address has ids in it and is left out.
pub(crate) fn provider(endpoint: &'static str) -> Span {
    if !span_enabled!(target: TARGET, tracing::Level::INFO) {
        return Span::none();
    }
    info_span!(
        target: TARGET,
        PROVIDER,
        otel.name = format!("GET {endpoint}"),
        otel.kind = "client",
        otel.status_code = Empty,
        error.type = Empty,
        http.request.method = "GET",
        http.response.status_code = Empty,
        server.address = Empty,
        server.port = Empty,
        vestibule.provider.endpoint = endpoint,
    )
}

/// Where the call of the current span goes.
pub(crate) fn calls(url: &url::Url) {
    if let Some(span) = current_call() {
        span.record("server.address", url.host_str().unwrap_or_default());
        let port = url.port_or_known_default().unwrap_or_default();
        span.record("server.port", i64::from(port));
    }
}

/// The headers of a call within the current span.
pub(crate) fn send(headers: &mut HeaderMap) {
    let span = Span::current();
    if !span.is_disabled() {
        remote::send(&span, headers);
    }
}

/// What the provider answered to the call of the current span.
pub(crate) fn answers(status: http::StatusCode) {
    if let Some(span) = current_call() {
        span.record("http.response.status_code", i64::from(status.as_u16()));
    }
}

/// The current span, if it is that of a call: where ours are not wanted, it is an application's, which
/// may have fields of the same names.
fn current_call() -> Option<Span> {
    let span = Span::current();
    let about = span.metadata()?;
    (about.target() == TARGET && about.name() == PROVIDER).then_some(span)
}

/// A call has failed, as the metric's `outcome` says.
pub(crate) fn failed(span: &Span, outcome: &'static str) {
    span.record("otel.status_code", "ERROR");
    span.record("error.type", outcome);
}

/// A tenant session.
pub(crate) fn session(database: &'static str, account: Uuid) -> Span {
    info_span!(
        target: TARGET,
        "session",
        otel.kind = "client",
        otel.status_code = Empty,
        error.type = Empty,
        db.system.name = database,
        account.id = %account,
        vestibule.session.end = Empty,
    )
}

/// A session that could not begin.
pub(crate) fn session_failed(span: &Span) {
    span.record("otel.status_code", "ERROR");
    span.record("error.type", "unavailable");
}

/// How a session ended; one of which nothing is noted was broken off.
pub(crate) fn session_ended(span: &Span, how: &'static str) {
    span.record("vestibule.session.end", how);
}

/// The trace that a span belongs to, where traces go beyond the process.
pub(crate) fn trace_id(span: &Span) -> Option<TraceId> {
    if span.is_disabled() {
        return None;
    }
    remote::trace_id(span).map(TraceId)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_id_has_32_digits() {
        assert_eq!(TraceId(0xab).to_string(), format!("{:0>32}", "ab"));
    }
}
