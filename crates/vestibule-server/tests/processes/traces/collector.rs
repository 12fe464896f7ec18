//! A collector that takes what it is sent, or does not, and reads spans by the protocol's own
//! messages.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse as _, Response},
    routing::post,
};
use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
    },
    common::v1::{KeyValue, any_value::Value as AnyValue},
    trace::v1::span::SpanKind,
};
use prost::Message as _;

use crate::world::eventually;

/// Until then what was sent is there.
pub(super) const SOON: Duration = Duration::from_secs(8);

/// What it answers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Mood {
    Takes,
    RefusesTwo,
    Fails(u16),
    Hangs,
}

/// A collector.
#[derive(Clone)]
pub(super) struct Collector {
    pub(super) address: SocketAddr,
    pub(super) seen: Arc<Mutex<Seen>>,
}

pub(super) struct Seen {
    pub(super) mood: Mood,
    pub(super) requests: usize,
    pub(super) headers: HeaderMap,
    /// As they came.
    pub(super) bodies: Vec<u8>,
    pub(super) spans: Vec<Span>,
    pub(super) resource: BTreeMap<String, String>,
}

#[derive(Clone, Debug)]
pub(super) struct Span {
    pub(super) name: String,
    pub(super) kind: SpanKind,
    pub(super) trace: String,
    pub(super) id: String,
    pub(super) parent: String,
    pub(super) state: String,
    pub(super) is_error: bool,
    pub(super) began: u64,
    pub(super) ended: u64,
    pub(super) attributes: BTreeMap<String, String>,
}

impl Collector {
    pub(super) async fn start() -> Self {
        let seen = Arc::new(Mutex::new(Seen {
            mood: Mood::Takes,
            requests: 0,
            headers: HeaderMap::new(),
            bodies: Vec::new(),
            spans: Vec::new(),
            resource: BTreeMap::new(),
        }));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new()
            .route("/v1/traces", post(take))
            .with_state(Arc::clone(&seen));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { address, seen }
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(super) fn is(&self, mood: Mood) {
        self.seen.lock().unwrap().mood = mood;
    }

    pub(super) fn requests(&self) -> usize {
        self.seen.lock().unwrap().requests
    }

    pub(super) fn spans(&self) -> Vec<Span> {
        self.seen.lock().unwrap().spans.clone()
    }

    /// The span of a request to this route, once it is there, and those of its trace.
    pub(super) async fn trace_of(&self, name: &str) -> (Span, Vec<Span>) {
        let found = || self.spans().into_iter().rfind(|span| span.name == name);
        eventually(SOON, name, async || found().is_some()).await;
        let root = found().unwrap();
        let trace = self.spans().into_iter();
        let trace = trace.filter(|span| span.trace == root.trace).collect();
        (root, trace)
    }
}

async fn take(State(seen): State<Arc<Mutex<Seen>>>, headers: HeaderMap, body: Bytes) -> Response {
    let mood = {
        let mut seen = seen.lock().unwrap();
        seen.requests += 1;
        seen.mood
    };
    let mut answer = ExportTraceServiceResponse::default();
    match mood {
        Mood::Takes => {}
        Mood::RefusesTwo => {
            answer.partial_success = Some(ExportTracePartialSuccess {
                rejected_spans: 2,
                error_message: "two too many".to_owned(),
            });
        }
        Mood::Fails(status) => return StatusCode::from_u16(status).unwrap().into_response(),
        Mood::Hangs => std::future::pending().await,
    }
    let message = ExportTraceServiceRequest::decode(&*body).unwrap();
    let mut seen = seen.lock().unwrap();
    seen.headers = headers;
    seen.bodies.extend_from_slice(&body);
    for resource in message.resource_spans {
        seen.resource = attributes(resource.resource.unwrap().attributes);
        let spans = resource.scope_spans.into_iter().flat_map(|it| it.spans);
        seen.spans.extend(spans.map(|span| Span {
            name: span.name.clone(),
            kind: span.kind(),
            trace: hex(&span.trace_id),
            id: hex(&span.span_id),
            parent: hex(&span.parent_span_id),
            state: span.trace_state.clone(),
            is_error: span.status.as_ref().is_some_and(|status| status.code == 2),
            began: span.start_time_unix_nano,
            ended: span.end_time_unix_nano,
            attributes: attributes(span.attributes),
        }));
    }
    answer.encode_to_vec().into_response()
}

fn attributes(all: Vec<KeyValue>) -> BTreeMap<String, String> {
    let text = |value: AnyValue| match value {
        AnyValue::StringValue(text) => text,
        AnyValue::IntValue(number) => number.to_string(),
        other => panic!("{other:?}"),
    };
    all.into_iter()
        .map(|pair| (pair.key, text(pair.value.unwrap().value.unwrap())))
        .collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Span {
    pub(super) fn is(&self, name: &str) -> bool {
        self.name == name
    }

    #[track_caller]
    pub(super) fn has(&self, pairs: &[(&str, &str)]) {
        for (name, value) in pairs {
            let found = self.attributes.get(*name).map(String::as_str);
            assert_eq!(found, Some(*value), "{name} of {self:?}");
        }
    }
}

#[track_caller]
pub(super) fn one<'s>(spans: &'s [Span], name: &str) -> &'s Span {
    let found: Vec<_> = spans.iter().filter(|span| span.is(name)).collect();
    assert_eq!(found.len(), 1, "{name}: {spans:#?}");
    found[0]
}
