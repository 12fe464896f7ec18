//! Spans of requests, exported to a collector of OpenTelemetry; off where no endpoint is set.
//!
//! The spans are made by the library ([`vestibule::trace`]); here they are recorded and sent.
//!
//! | file | what it does |
//! | --- | --- |
//! | `settings.rs` | the settings `OTEL_…` |
//! | `sampling.rs` | which traces are recorded |
//! | `queue.rs` | spans on their way, a bounded number |
//! | `collector.rs` | the call that takes them there |

mod collector;
mod queue;
mod sampling;
mod settings;

use std::{fmt, time::Duration};

use opentelemetry::{KeyValue, trace::TracerProvider as _};
use opentelemetry_sdk::{
    Resource,
    resource::TelemetryResourceDetector,
    trace::{SdkTracer, SdkTracerProvider, SpanLimits},
};
use tokio::{sync::watch, task::JoinHandle};
use tracing::{Subscriber, level_filters::LevelFilter};
use tracing_subscriber::{Layer, filter::filter_fn, registry::LookupSpan};
use uuid::Uuid;
use vestibule::{settings::SettingsError, trace::TARGET};

pub use self::settings::TraceSettings;
use self::{
    collector::Collector,
    queue::{Fates, queue},
};

/// The traces of this process.
pub struct Traces {
    tracer: SdkTracer,
    /// Ends with it.
    provider: SdkTracerProvider,
    stopping: watch::Sender<bool>,
    carrying: JoinHandle<()>,
    fates: Fates,
}

impl Traces {
    /// Begins to export what is recorded once logging has started beside it
    /// ([`start_beside`](super::logs::start_beside)). Needs the runtime, and the recorder of
    /// metrics.
    ///
    /// # Errors
    /// No trusted root certificate.
    pub fn start(settings: &TraceSettings) -> Result<Self, SettingsError> {
        let attributes = settings.attributes.iter().cloned();
        // The settings speak last; whoever starts it twice wants to tell one from the other.
        let resource = Resource::builder_empty()
            .with_detector(Box::new(TelemetryResourceDetector))
            .with_attributes([
                KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
                KeyValue::new("service.instance.id", Uuid::new_v4().to_string()),
            ])
            .with_attributes(attributes.map(|(name, value)| KeyValue::new(name, value)))
            .build();
        let (stopping, stopped) = watch::channel(false);
        let collector = Collector::new(settings, &resource)?;
        let (entrance, carrier, fates) = queue(collector, stopped);
        let provider = SdkTracerProvider::builder()
            .with_resource(resource)
            .with_sampler(settings.sampling)
            // Else the environment is read behind our settings.
            .with_span_limits(SpanLimits::default())
            .with_span_processor(entrance)
            .build();
        Ok(Self {
            tracer: provider.tracer("vestibule"),
            provider,
            stopping,
            carrying: tokio::spawn(carrier.run()),
            fates,
        })
    }

    /// What records the library's spans, and nothing else: no lines of the log, and no spans of the
    /// crates below.
    pub(super) fn layer<S>(&self) -> impl Layer<S> + Send + Sync + use<S>
    where
        S: Subscriber + for<'span> LookupSpan<'span> + Send + Sync,
    {
        let ours = filter_fn(|about| about.is_span() && about.target() == TARGET)
            .with_max_level_hint(LevelFilter::INFO);
        tracing_opentelemetry::layer()
            .with_tracer(self.tracer.clone())
            .with_location(false)
            .with_threads(false)
            .with_target(false)
            .with_tracked_inactivity(false)
            .with_context_activation(false)
            .with_filter(ours)
    }

    /// Sends what waits, for at most `limit`.
    pub(crate) async fn finish(self, limit: Duration) {
        self.stopping.send_replace(true);
        let carrying = self.carrying;
        let abort = carrying.abort_handle();
        if tokio::time::timeout(limit, carrying).await.is_err() {
            abort.abort();
            let spans = self.fates.waiting();
            tracing::warn!(spans, "stopped before all spans were exported");
        }
        drop(self.provider);
    }
}

impl fmt::Debug for Traces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Traces")
            .field("fates", &self.fates)
            .finish_non_exhaustive()
    }
}
