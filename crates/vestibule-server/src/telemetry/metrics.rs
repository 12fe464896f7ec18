//! Metrics in Prometheus' text form, rendered when they are scraped.

use std::{sync::OnceLock, time::Duration};

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

/// How often recorded durations are folded into their buckets. Until then each takes 16 bytes:
/// rarer costs memory under load, more often costs wake-ups of an idle server.
const UPKEEP: Duration = Duration::from_secs(5);

/// Upper bounds in seconds. A remembered token takes microseconds, a new one some hundred; a call
/// to the provider ends at `PROVIDER_TIMEOUT`, 5 s by default.
const BUCKETS: &[f64] = &[
    0.000_01, 0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025,
    0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

/// The `Content-Type` of the rendered text.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The process's metrics.
#[derive(Clone, Debug)]
pub struct Metrics {
    handle: PrometheusHandle,
}

impl Metrics {
    /// Installs the recorder for this process, once; later calls give the same one.
    ///
    /// Call it before the library starts: what is counted earlier is lost.
    pub fn install() -> Self {
        static INSTALLED: OnceLock<Metrics> = OnceLock::new();
        INSTALLED
            .get_or_init(|| {
                let builder = PrometheusBuilder::new();
                let builder = builder
                    .set_buckets_for_metric(
                        Matcher::Suffix("_duration_seconds".to_owned()),
                        BUCKETS,
                    )
                    .unwrap_or_else(|_| PrometheusBuilder::new());
                let recorder = builder.build_recorder();
                let handle = recorder.handle();
                // Another recorder, of an embedding program, keeps its place; then there is
                // nothing to show here.
                drop(metrics::set_global_recorder(recorder));
                describe();
                begin_at_zero();
                Self { handle }
            })
            .clone()
    }

    /// All metrics as text.
    pub fn render(&self) -> String {
        self.handle.render()
    }

    /// Keeps the memory of recorded durations bounded. Runs until dropped.
    pub(crate) async fn keep_up(self) {
        let mut ticks = tokio::time::interval(UPKEEP);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.handle.run_upkeep();
        }
    }
}

fn describe() {
    use metrics::Unit::Seconds;
    metrics::describe_counter!(
        "vestibule_authentications_total",
        "Requests that were asked who calls, by outcome, kind of principal and exact reason"
    );
    metrics::describe_histogram!(
        "vestibule_authentication_duration_seconds",
        Seconds,
        "Time to find out who calls, by token cache hit or miss"
    );
    metrics::describe_counter!(
        "vestibule_token_cache_hits_total",
        "Tokens found verified in the cache"
    );
    metrics::describe_counter!(
        "vestibule_token_cache_misses_total",
        "Tokens that had to be verified"
    );
    metrics::describe_counter!(
        "vestibule_token_cache_evictions_total",
        "Verified tokens dropped to make room"
    );
    metrics::describe_gauge!(
        "vestibule_token_cache_entries",
        "Verified tokens in the cache"
    );
    metrics::describe_counter!(
        "vestibule_provider_requests_total",
        "Calls to the identity provider, by endpoint and outcome"
    );
    metrics::describe_histogram!(
        "vestibule_provider_requests_duration_seconds",
        Seconds,
        "Time of calls to the identity provider"
    );
    metrics::describe_counter!(
        "vestibule_users_provisioned_total",
        "Local users made on a first visit"
    );
    metrics::describe_counter!(
        "vestibule_activity_dropped_total",
        "Events of accounts' activity that could not be written down"
    );
    metrics::describe_counter!(
        "vestibule_kept_facts_dropped_total",
        "Answers of the provider that could not be kept for the next start, by kind"
    );
    metrics::describe_counter!(
        "vestibule_spans_exported_total",
        "Spans of traces that the collector has taken"
    );
    metrics::describe_counter!(
        "vestibule_spans_dropped_total",
        "Spans of traces that could not be exported"
    );
    metrics::describe_gauge!(
        "vestibule_tenant_sessions_open",
        "Tenant sessions that hold a connection"
    );
    metrics::describe_counter!(
        "vestibule_tenant_sessions_opened_total",
        "Tenant sessions opened"
    );
}

/// Shows what has no labels from the start: a rate can then be taken of the very first event, and
/// an alert can tell "none" from "no such metric".
fn begin_at_zero() {
    metrics::counter!("vestibule_users_provisioned_total").increment(0);
    metrics::counter!("vestibule_tenant_sessions_opened_total").increment(0);
    metrics::counter!("vestibule_activity_dropped_total").increment(0);
    metrics::counter!("vestibule_spans_exported_total").increment(0);
    metrics::counter!("vestibule_spans_dropped_total").increment(0);
    metrics::gauge!("vestibule_tenant_sessions_open").increment(0);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn durations_have_buckets_and_a_second_install_is_the_same() {
        let metrics = Metrics::install();
        ::metrics::histogram!("vestibule_authentication_duration_seconds", "path" => "hit")
            .record(0.000_02);
        let text = Metrics::install().render();
        let lines = |text: &str| text.lines().map(str::to_owned).collect::<BTreeSet<_>>();
        assert_eq!(lines(&text), lines(&metrics.render()));
        assert!(
            text.contains(
                "vestibule_authentication_duration_seconds_bucket{path=\"hit\",le=\"0.000025\"} 1"
            ),
            "{text}"
        );
    }
}
