//! Traces that come from elsewhere and go on elsewhere, by way of `tracing-opentelemetry`.

use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::{
    Context,
    trace::{SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState},
};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use super::parent::{TraceParent, trace_state};

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// In the context of a span whose parent was named by somebody who is not trusted: its flag
/// `sampled` is cleared and says nothing, and its trace id may have been chosen so that a sampler
/// which goes by it says yes.
#[derive(Clone, Copy, Debug)]
pub struct UntrustedParent;

/// Makes what the headers name the parent of a span that was not entered yet. Headers that are
/// malformed name nothing.
pub(super) fn continue_from(headers: &HeaderMap, is_believed: bool, span: &Span) {
    let Some(parent) = TraceParent::of(headers.get_all(TRACEPARENT).iter()) else {
        return;
    };
    let (flags, state) = if is_believed {
        (parent.is_sampled, trace_state(headers.get_all(TRACESTATE)))
    } else {
        (false, None)
    };
    let remote = SpanContext::new(
        TraceId::from(parent.trace_id),
        SpanId::from(parent.parent_id),
        TraceFlags::default().with_sampled(flags),
        true,
        state.unwrap_or(TraceState::NONE),
    );
    let mut context = Context::new().with_remote_span_context(remote);
    if !is_believed {
        context = context.with_value(UntrustedParent);
    }
    // Fails where the subscriber has no layer that knows of it: then there is nothing to go on.
    drop(span.set_parent(context));
}

/// Names a span as the parent of whatever the receiver of these headers does.
pub(super) fn send(span: &Span, headers: &mut HeaderMap) {
    let context = span.context();
    let span = context.span();
    let own = span.span_context();
    if !own.is_valid() {
        return;
    }
    let parent = TraceParent {
        trace_id: u128::from_be_bytes(own.trace_id().to_bytes()),
        parent_id: u64::from_be_bytes(own.span_id().to_bytes()),
        is_sampled: own.is_sampled(),
    };
    if let Ok(value) = HeaderValue::try_from(parent.to_string()) {
        headers.insert(TRACEPARENT, value);
    }
    let state = own.trace_state().header();
    if !state.is_empty()
        && let Ok(value) = HeaderValue::try_from(state)
    {
        headers.insert(TRACESTATE, value);
    }
}

pub(super) fn trace_id(span: &Span) -> Option<u128> {
    let context = span.context();
    let span = context.span();
    let own = span.span_context();
    own.is_valid()
        .then(|| u128::from_be_bytes(own.trace_id().to_bytes()))
}
