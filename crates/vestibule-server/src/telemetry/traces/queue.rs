//! Spans that have ended wait here for their way to the collector: a bounded number, so that a
//! collector which is slow, or away, costs memory for so many and no request any time. What finds no
//! place is dropped, and counted.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use metrics::Counter;
use opentelemetry::Context;
use opentelemetry_sdk::{
    error::OTelSdkResult,
    trace::{Span, SpanData, SpanProcessor},
};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, timeout_at},
};

use super::collector::{Collector, Failed};

/// Spans that may wait: some megabytes.
const ROOM: usize = 2_048;

/// Spans that are sent at once, at most.
const BATCH: usize = 512;

/// How long a span waits for others, at most.
const GATHER: Duration = Duration::from_secs(1);

/// The shortest time between two warnings.
const WARNING_PAUSE: Duration = Duration::from_secs(10);

/// Takes spans where they end.
#[derive(Debug)]
pub(super) struct Entrance {
    spans: mpsc::Sender<SpanData>,
    fates: Fates,
}

/// Takes them to the collector.
pub(super) struct Carrier {
    spans: mpsc::Receiver<SpanData>,
    collector: Collector,
    fates: Fates,
    stopping: watch::Receiver<bool>,
    warned: Option<Instant>,
}

/// What became of spans.
#[derive(Clone)]
pub(super) struct Fates {
    waiting: Arc<AtomicU64>,
    exported: Counter,
    dropped: Counter,
}

/// A queue; nothing is carried before [`Carrier::run`].
pub(super) fn queue(
    collector: Collector,
    stopping: watch::Receiver<bool>,
) -> (Entrance, Carrier, Fates) {
    let (sender, receiver) = mpsc::channel(ROOM);
    let fates = Fates {
        waiting: Arc::default(),
        exported: metrics::counter!("vestibule_spans_exported_total"),
        dropped: metrics::counter!("vestibule_spans_dropped_total"),
    };
    let entrance = Entrance {
        spans: sender,
        fates: fates.clone(),
    };
    let carrier = Carrier {
        spans: receiver,
        collector,
        fates: fates.clone(),
        stopping,
        warned: None,
    };
    (entrance, carrier, fates)
}

impl SpanProcessor for Entrance {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        if !span.span_context.is_sampled() {
            return;
        }
        // Before it can leave.
        self.fates.waiting.fetch_add(1, Ordering::Relaxed);
        if self.spans.try_send(span).is_err() {
            self.fates.are_dropped(1);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    /// [`Carrier::run`] ends otherwise: nobody may wait for it in a destructor.
    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

impl Carrier {
    /// Carries until it is told to stop; then what is there, and no more.
    pub(super) async fn run(mut self) {
        let mut batch = Vec::new();
        loop {
            self.gather(&mut batch).await;
            if is_told(&self.stopping) {
                self.spans.close();
            }
            if batch.is_empty() {
                if self.spans.is_closed() {
                    return;
                }
                continue;
            }
            let number = batch.len() as u64;
            let full = std::mem::take(&mut batch);
            match self.collector.send(full, &mut self.stopping).await {
                Ok(refused) => {
                    let refused = refused.min(number);
                    self.fates.are_exported(number - refused);
                    if refused > 0 {
                        self.fates.are_dropped(refused);
                        self.warn(refused, "the collector did not want them");
                    }
                }
                Err(Failed { cause, .. }) => {
                    self.fates.are_dropped(number);
                    self.warn(number, &cause);
                }
            }
        }
    }

    /// Waits for a span, and a moment for others; not at all once it is to stop.
    async fn gather(&mut self, batch: &mut Vec<SpanData>) {
        let mut until = None;
        while batch.len() < BATCH {
            let room = BATCH - batch.len();
            if is_told(&self.stopping) {
                while batch.len() < BATCH
                    && let Ok(span) = self.spans.try_recv()
                {
                    batch.push(span);
                }
                return;
            }
            let more = async {
                let more = self.spans.recv_many(batch, room);
                match until {
                    Some(until) => timeout_at(until, more).await.unwrap_or(0),
                    None => more.await,
                }
            };
            tokio::select! {
                number = more => {
                    if number == 0 {
                        return;
                    }
                    until.get_or_insert_with(|| Instant::now() + GATHER);
                }
                _ = self.stopping.changed() => {}
            }
        }
    }

    /// One line for the operator in a while.
    fn warn(&mut self, spans: u64, cause: &str) {
        if self
            .warned
            .is_some_and(|last| last.elapsed() < WARNING_PAUSE)
        {
            return;
        }
        self.warned = Some(Instant::now());
        tracing::warn!(spans, cause, "spans could not be exported");
    }
}

/// Whether to stop: it was said, or whoever would say so is gone.
pub(super) fn is_told(stopping: &watch::Receiver<bool>) -> bool {
    *stopping.borrow() || stopping.has_changed().is_err()
}

impl Fates {
    /// How many spans are neither exported nor dropped.
    pub(super) fn waiting(&self) -> u64 {
        self.waiting.load(Ordering::Relaxed)
    }

    fn are_exported(&self, spans: u64) {
        self.waiting.fetch_sub(spans, Ordering::Relaxed);
        self.exported.increment(spans);
    }

    fn are_dropped(&self, spans: u64) {
        self.waiting.fetch_sub(spans, Ordering::Relaxed);
        self.dropped.increment(spans);
    }
}

impl std::fmt::Debug for Fates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Fates({} waiting)", self.waiting())
    }
}
