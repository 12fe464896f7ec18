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

#[cfg(test)]
mod tests {
    use axum::extract::Request;
    use opentelemetry::trace::TracerProvider as _;
    use opentelemetry_sdk::trace::SdkTracerProvider;
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;
    use crate::trace;

    const TRACE: u128 = 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736;

    /// As an application with a tracing of its own has it.
    fn recorded<T>(what: impl FnOnce() -> T) -> T {
        let tracer = SdkTracerProvider::builder().build().tracer("application");
        let layer = tracing_opentelemetry::layer().with_tracer(tracer);
        let subscriber = tracing_subscriber::registry().with(layer);
        tracing::subscriber::with_default(subscriber, what)
    }

    fn request() -> Request {
        let parent = format!("00-{TRACE:032x}-00f067aa0ba902b7-01");
        let request = Request::builder().header(TRACEPARENT, parent);
        let request = request.header(TRACESTATE, "acme=1");
        request.body(axum::body::Body::empty()).unwrap()
    }

    fn sent(span: &Span) -> (String, Option<HeaderValue>) {
        let mut headers = HeaderMap::new();
        send(span, &mut headers);
        let parent = headers[TRACEPARENT].to_str().unwrap().to_owned();
        (parent, headers.get(TRACESTATE).cloned())
    }

    #[test]
    fn a_trusted_parent_is_believed_and_sent_on() {
        recorded(|| {
            let span = trace::request(&request(), || true);
            assert_eq!(trace_id(&span), Some(TRACE));
            assert!(span.context().get::<UntrustedParent>().is_none());
            let (parent, state) = sent(&span);
            assert!(parent.starts_with(&format!("00-{TRACE:032x}-")) && parent.ends_with("-01"));
            assert_eq!(state.unwrap(), "acme=1");
        });
    }

    #[test]
    fn a_strangers_name_is_taken_over_without_his_flag_and_list() {
        recorded(|| {
            let span = trace::request(&request(), || false);
            assert_eq!(trace_id(&span), Some(TRACE));
            assert!(span.context().get::<UntrustedParent>().is_some());
            let (parent, state) = sent(&span);
            // A sampler that heeds parents and knows nothing of strangers.
            assert!(parent.ends_with("-00"), "{parent}");
            assert_eq!(state, None);
        });
    }

    #[test]
    fn within_a_span_of_the_application_it_belongs_to_that_one() {
        recorded(|| {
            let outer = tracing::info_span!("application");
            let own = trace_id(&outer);
            let inner = outer.in_scope(|| trace::request(&request(), || true));
            assert_ne!(own, Some(TRACE));
            assert_eq!(trace_id(&inner), own);
        });
    }

    #[test]
    fn where_nobody_records_nothing_is_read_and_sent() {
        let span = trace::request(&request(), || panic!("nobody asks"));
        assert!(span.is_disabled());
        assert_eq!(trace::trace_id(&span), None);
        let mut headers = HeaderMap::new();
        trace::send(&mut headers);
        assert!(headers.is_empty());
    }
}
