//! One collector, to which spans are sent by OTLP: protobuf over HTTP.
//!
//! The messages are those of `opentelemetry-proto`; the way there is that of our other calls: no
//! proxy, no redirects, the system's roots. `opentelemetry-otlp` would bring the same messages, but
//! reads the environment behind our settings, keeps its headers printable and does not tell how many
//! spans a collector refused.

use std::time::Duration;

use opentelemetry_proto::{
    tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse},
    transform::{
        common::tonic::ResourceAttributesWithSchema,
        trace::tonic::group_spans_by_resource_and_scope,
    },
};
use opentelemetry_sdk::{Resource, trace::SpanData};
use prost::{Message as _, bytes::Bytes};
use reqwest::{
    Client, Response, StatusCode, Url,
    header::{CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER},
    redirect,
};
use tokio::{
    sync::watch,
    time::{Instant, timeout_at},
};
use uuid::Uuid;
use vestibule::{
    provider::{network_cause, tls_of_the_system, tls_without_roots},
    settings::SettingsError,
};

use super::{queue::is_told, settings::TraceSettings};

/// The longest that one batch may take, all tries together: OpenTelemetry's own default.
const LIMIT: Duration = Duration::from_secs(10);

/// The rest after the first try that failed; each further one is twice as long.
const FIRST_REST: Duration = Duration::from_millis(250);

/// More than any answer has to say.
const ANSWER_BYTES: usize = 64 * 1024;

pub(super) struct Collector {
    client: Client,
    endpoint: Url,
    headers: HeaderMap,
    resource: ResourceAttributesWithSchema,
}

/// Why a batch is lost.
#[derive(Debug)]
pub(super) struct Failed {
    /// For the log: neither address nor headers.
    pub(super) cause: String,
    /// Another try may succeed, after this rest where the collector named one.
    again: Option<Option<Duration>>,
}

impl Collector {
    /// # Errors
    /// No trusted root certificate.
    pub(super) fn new(
        settings: &TraceSettings,
        resource: &Resource,
    ) -> Result<Self, SettingsError> {
        let client = Client::builder()
            .user_agent(concat!("vestibule/", env!("CARGO_PKG_VERSION")))
            .redirect(redirect::Policy::none())
            .referer(false)
            // Else HTTP_PROXY and the like would decide who sees our spans.
            .no_proxy();
        let tls = match settings.endpoint.scheme() {
            "https" => tls_of_the_system()?,
            // A client has a TLS all the same, and the process has none by default.
            _ => tls_without_roots()?,
        };
        let client = client.tls_backend_preconfigured(tls).build();
        Ok(Self {
            client: client.map_err(|_| SettingsError::default())?,
            endpoint: settings.endpoint.clone(),
            headers: settings.headers.clone(),
            resource: resource.into(),
        })
    }

    /// Sends a batch; how many of its spans the collector did not want. Where `hurry` says that
    /// there is no time, it is tried once.
    pub(super) async fn send(
        &self,
        batch: Vec<SpanData>,
        hurry: &mut watch::Receiver<bool>,
    ) -> Result<u64, Failed> {
        let message = ExportTraceServiceRequest {
            resource_spans: group_spans_by_resource_and_scope(batch, &self.resource),
        };
        let body = Bytes::from(message.encode_to_vec());
        let deadline = Instant::now() + LIMIT;
        let mut rest = FIRST_REST;
        loop {
            let failed = match timeout_at(deadline, self.try_once(body.clone())).await {
                Ok(Ok(refused)) => return Ok(refused),
                Ok(Err(failed)) => failed,
                Err(_) => return Err(Failed::for_good("it did not answer in time")),
            };
            let Some(named) = failed.again else {
                return Err(failed);
            };
            let pause = named.unwrap_or_else(|| spread(rest));
            if is_told(hurry) || Instant::now() + pause >= deadline {
                return Err(failed);
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                // One more try, and no other.
                _ = hurry.changed() => {}
            }
            rest *= 2;
        }
    }

    async fn try_once(&self, body: Bytes) -> Result<u64, Failed> {
        let request = self
            .client
            .post(self.endpoint.clone())
            .headers(self.headers.clone())
            .header(
                CONTENT_TYPE,
                HeaderValue::from_static("application/x-protobuf"),
            )
            .body(body);
        let response = request.send().await.map_err(Failed::network)?;
        let status = response.status();
        if !status.is_success() {
            return Err(Failed::answered(status, response.headers()));
        }
        // Whoever says nothing more has taken all.
        let answer = read(response).await.unwrap_or_default();
        let answer = ExportTraceServiceResponse::decode(&*answer).unwrap_or_default();
        let refused = answer.partial_success.map_or(0, |part| part.rejected_spans);
        Ok(u64::try_from(refused).unwrap_or(0))
    }
}

impl Failed {
    fn for_good(cause: &str) -> Self {
        Self {
            cause: cause.to_owned(),
            again: None,
        }
    }

    fn network(error: reqwest::Error) -> Self {
        Self {
            cause: network_cause(error),
            again: Some(None),
        }
    }

    /// Which answers may be another next time, the specification of OTLP says.
    fn answered(status: StatusCode, headers: &HeaderMap) -> Self {
        let may_pass = matches!(
            status,
            StatusCode::TOO_MANY_REQUESTS
                | StatusCode::BAD_GATEWAY
                | StatusCode::SERVICE_UNAVAILABLE
                | StatusCode::GATEWAY_TIMEOUT
        );
        let named = headers.get(RETRY_AFTER).and_then(|it| it.to_str().ok());
        let named = named.and_then(|seconds| seconds.parse().ok());
        Self {
            cause: format!("it answered {}", status.as_u16()),
            again: may_pass.then(|| named.map(Duration::from_secs)),
        }
    }
}

async fn read(mut response: Response) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.ok()? {
        if body.len() + chunk.len() > ANSWER_BYTES {
            return None;
        }
        body.extend_from_slice(&chunk);
    }
    Some(body)
}

/// Half of it to all of it, so that servers which lost a collector together do not return together.
fn spread(rest: Duration) -> Duration {
    let [drawn, ..] = Uuid::new_v4().into_bytes();
    rest / 2 + rest / 2 * u32::from(drawn) / 255
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rest_is_spread() {
        for _ in 0..100 {
            let rest = spread(FIRST_REST);
            assert!((FIRST_REST / 2..=FIRST_REST).contains(&rest), "{rest:?}");
        }
    }

    #[test]
    fn only_what_may_pass_is_tried_again() {
        let mut headers = HeaderMap::new();
        let again = |status: u16, headers: &HeaderMap| {
            Failed::answered(StatusCode::from_u16(status).unwrap(), headers).again
        };
        for (status, may_pass) in [
            (400, false),
            (401, false),
            (500, false),
            (503, true),
            (429, true),
        ] {
            assert_eq!(again(status, &headers).is_some(), may_pass, "{status}");
        }
        headers.insert(RETRY_AFTER, HeaderValue::from_static("3"));
        assert_eq!(again(503, &headers), Some(Some(Duration::from_secs(3))));
    }
}
