//! Without the feature `opentelemetry`: traces end where the process does.

use http::HeaderMap;
use tracing::Span;

pub(super) fn continue_from(_: &HeaderMap, _: bool, _: &Span) {}

pub(super) fn send(_: &Span, _: &mut HeaderMap) {}

pub(super) fn trace_id(_: &Span) -> Option<u128> {
    None
}
