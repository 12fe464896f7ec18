//! Which traces are recorded.
//!
//! As OpenTelemetry's samplers of the same names, but for parents that somebody named who is not
//! trusted: neither his flag nor his trace id, which he may have chosen for it, decides. The share is
//! drawn anew, so that nobody has more recorded, or less, than anybody else.

use opentelemetry::{
    Context, KeyValue,
    trace::{Link, SpanKind, TraceContextExt as _, TraceId, TraceState},
};
use opentelemetry_sdk::trace::{
    IdGenerator as _, RandomIdGenerator, Sampler, SamplingDecision, SamplingResult, ShouldSample,
};
use vestibule::trace::UntrustedParent;

/// What `OTEL_TRACES_SAMPLER` says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Sampling {
    heeds_parents: bool,
    root: Root,
}

/// For traces of which nobody has decided yet.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Root {
    All,
    None,
    /// From 0 to 1.
    Share(f64),
}

impl Sampling {
    /// Where a caller who is trusted has decided, as he did.
    pub(super) const fn parent_or(root: Root) -> Self {
        Self {
            heeds_parents: true,
            root,
        }
    }

    /// Whatever a caller has decided.
    pub(super) const fn always(root: Root) -> Self {
        Self {
            heeds_parents: false,
            root,
        }
    }

    fn is_sampled(self, parent: Option<&Context>, trace_id: TraceId) -> bool {
        let Some(context) = parent.filter(|parent| parent.has_active_span()) else {
            return self.root.takes(trace_id);
        };
        let span = context.span();
        let parent = span.span_context();
        if !parent.is_remote() {
            // A span of ours: a trace is recorded as a whole.
            parent.is_sampled()
        } else if context.get::<UntrustedParent>().is_some() {
            self.root.takes(RandomIdGenerator::default().new_trace_id())
        } else if self.heeds_parents {
            parent.is_sampled()
        } else {
            self.root.takes(trace_id)
        }
    }
}

impl Root {
    fn takes(self, trace_id: TraceId) -> bool {
        match self {
            Self::All => true,
            Self::None => false,
            Self::Share(share) => {
                let sampler = Sampler::TraceIdRatioBased(share);
                let result =
                    sampler.should_sample(None, trace_id, "", &SpanKind::Internal, &[], &[]);
                result.decision == SamplingDecision::RecordAndSample
            }
        }
    }
}

impl ShouldSample for Sampling {
    fn should_sample(
        &self,
        parent_context: Option<&Context>,
        trace_id: TraceId,
        _: &str,
        _: &SpanKind,
        _: &[KeyValue],
        _: &[Link],
    ) -> SamplingResult {
        let decision = if self.is_sampled(parent_context, trace_id) {
            SamplingDecision::RecordAndSample
        } else {
            SamplingDecision::Drop
        };
        let state = parent_context.map(|parent| parent.span().span_context().trace_state().clone());
        SamplingResult {
            decision,
            attributes: Vec::new(),
            trace_state: state.unwrap_or(TraceState::NONE),
        }
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::{SpanContext, SpanId, TraceFlags};

    use super::*;

    /// OpenTelemetry's sampler takes every trace whose id ends like this, and none that ends in the other.
    const TAKEN: u128 = 0x1_0000_0000_0000_0000;
    const LEFT: u128 = 0x1_ffff_ffff_ffff_ffff;

    fn parent(id: u128, is_sampled: bool, is_remote: bool) -> Context {
        let flags = TraceFlags::default().with_sampled(is_sampled);
        let (id, span) = (TraceId::from(id), SpanId::from(7));
        let parent = SpanContext::new(id, span, flags, is_remote, TraceState::NONE);
        Context::new().with_remote_span_context(parent)
    }

    fn taken(sampling: Sampling, parent: &Context) -> bool {
        let id = parent.span().span_context().trace_id();
        sampling.is_sampled(Some(parent), id)
    }

    #[test]
    fn without_a_parent() {
        for (root, of_taken, of_left) in [
            (Root::All, true, true),
            (Root::None, false, false),
            (Root::Share(0.1), true, false),
        ] {
            let sampling = Sampling::parent_or(root);
            for (id, expected) in [(TAKEN, of_taken), (LEFT, of_left)] {
                let id = TraceId::from(id);
                assert_eq!(sampling.is_sampled(None, id), expected, "{root:?}");
                assert_eq!(sampling.is_sampled(Some(&Context::new()), id), expected);
            }
        }
    }

    #[test]
    fn a_trusted_parent_decides_where_it_may() {
        for is_sampled in [true, false] {
            let parent = parent(LEFT, is_sampled, true);
            let heeding = Sampling::parent_or(Root::Share(0.1));
            assert_eq!(taken(heeding, &parent), is_sampled);
            assert!(!taken(Sampling::always(Root::Share(0.1)), &parent));
            assert!(taken(Sampling::always(Root::All), &parent));
        }
    }

    #[test]
    fn a_stranger_decides_nothing_neither_by_flag_nor_by_name() {
        for (id, is_sampled) in [(TAKEN, true), (TAKEN, false), (LEFT, true), (LEFT, false)] {
            let stranger = parent(id, is_sampled, true).with_value(UntrustedParent);
            assert!(taken(Sampling::parent_or(Root::All), &stranger));
            assert!(!taken(Sampling::parent_or(Root::None), &stranger));
            for sampling in [
                Sampling::parent_or(Root::Share(0.25)),
                Sampling::always(Root::Share(0.25)),
            ] {
                let taken = (0..4_000).filter(|_| taken(sampling, &stranger)).count();
                assert!((800..1_200).contains(&taken), "{taken} of 4000");
            }
        }
    }

    #[test]
    fn children_are_recorded_with_their_parents() {
        for is_sampled in [true, false] {
            let own = parent(LEFT, is_sampled, false).with_value(UntrustedParent);
            for sampling in [
                Sampling::parent_or(Root::Share(0.5)),
                Sampling::always(Root::Share(0.5)),
            ] {
                assert_eq!(taken(sampling, &own), is_sampled);
            }
        }
    }
}
