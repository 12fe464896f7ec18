//! One check: Envoy's description of a request → `/v1/authorize` → what Envoy is to do.

use std::{collections::HashMap, mem, net::SocketAddr};

use axum::{
    body::{self, Body},
    extract::ConnectInfo,
    http::{
        HeaderMap, HeaderName, HeaderValue, Method, Request as HttpRequest, StatusCode, Uri,
        header::{ACCESS_CONTROL_REQUEST_METHOD, AUTHORIZATION, CONTENT_LENGTH, ORIGIN},
    },
    response::Response as HttpResponse,
};
use envoy_types::pb::{
    envoy::{
        config::core::v3::{
            HeaderValue as EnvoyHeader, HeaderValueOption, address::Address,
            header_value_option::HeaderAppendAction,
        },
        service::auth::v3::{
            AttributeContext, CheckRequest, CheckResponse, DeniedHttpResponse, OkHttpResponse,
            attribute_context::HttpRequest as Described, authorization_server::Authorization,
            check_response::HttpResponse as Verdict,
        },
        r#type::v3::HttpStatus,
    },
    google::{
        protobuf::{ListValue, Struct, Value, value::Kind},
        rpc::Status as RpcStatus,
    },
};
use percent_encoding::percent_decode_str;
use tonic::{Code, Request, Response, Status, async_trait, metadata::MetadataMap};
use tower::Service as _;
use vestibule::{settings::Network, trace::BelievedTrace};

use crate::gateway::original::OriginalRequest;
use crate::routes::authorize::{IDENTITY_HEADERS, SCOPES};
use crate::serve::Current;

/// Where checks are answered.
const AUTHORIZE: &str = "/v1/authorize";

/// More than any answer of ours.
const ANSWER_BYTES: usize = 64 * 1024;

/// W3C trace context.
const TRACE_CONTEXT: [HeaderName; 2] = [
    HeaderName::from_static("traceparent"),
    HeaderName::from_static("tracestate"),
];

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// What our own headers' names begin with, when `_` counts as `-` as it does for many servers
/// behind a proxy.
const PREFIX: &str = "x-vestibule-";

/// Answers checks.
#[derive(Debug)]
pub(super) struct Door {
    current: Current,
}

impl Door {
    pub(super) const fn new(current: Current) -> Self {
        Self { current }
    }
}

/// Where the described request came from: what Envoy says, where Envoy is trusted; else Envoy.
fn source_of(
    peer: Option<SocketAddr>,
    trusted: bool,
    attributes: &AttributeContext,
) -> Option<SocketAddr> {
    if !trusted {
        return peer;
    }
    let source = attributes.source.as_ref()?.address.as_ref()?;
    match source.address.as_ref()? {
        Address::SocketAddress(address) => Some(SocketAddr::new(address.address.parse().ok()?, 0)),
        _ => None,
    }
}

#[async_trait]
impl Authorization for Door {
    async fn check(
        &self,
        request: Request<CheckRequest>,
    ) -> Result<Response<CheckResponse>, Status> {
        let peer = request.remote_addr();
        let context = TraceContext::of(request.metadata());
        let attributes = request.into_inner().attributes.unwrap_or_default();
        let generation = self.current.load();
        let proxies = &generation.trusted_proxies;
        let trusted = peer.is_some_and(|peer| Network::any_contains(proxies, peer.ip()));
        let source = source_of(peer, trusted, &attributes);
        let mut described = attributes
            .request
            .and_then(|request| request.http)
            .ok_or_else(|| Status::invalid_argument("no HTTP request is described"))?;
        let mut asked = asked(&mut described, source, trusted)?;
        context.replace(&mut asked, trusted);
        // A router is always ready, and cheap to clone.
        let answer = match generation.routers.recall.answer(asked, source) {
            Ok(answer) => answer,
            Err(asked) => match generation.routers.authorize.clone().call(asked).await {
                Ok(answer) => answer,
                Err(never) => match never {},
            },
        };
        let response = if answer.status() == StatusCode::OK {
            allowed(&answer, &described)
        } else {
            denied(answer).await?
        };
        Ok(Response::new(response))
    }
}

/// The trace that the proxy's own call belongs to. Not the one that its client named, which is in
/// the described request, if anywhere, and is a stranger's word.
struct TraceContext(Vec<(HeaderName, HeaderValue)>);

impl TraceContext {
    fn of(metadata: &MetadataMap) -> Self {
        let headers = metadata.as_ref();
        let found = TRACE_CONTEXT.into_iter().flat_map(|name| {
            let values = headers.get_all(&name).iter();
            values.map(move |value| (name.clone(), value.clone()))
        });
        Self(found.collect())
    }

    /// Puts it in the place of the client's.
    fn replace(self, asked: &mut HttpRequest<Body>, trusted: bool) {
        if self.0.is_empty() {
            return;
        }
        for name in TRACE_CONTEXT {
            asked.headers_mut().remove(name);
        }
        for (name, value) in self.0 {
            asked.headers_mut().append(name, value);
        }
        if trusted {
            asked.extensions_mut().insert(BelievedTrace);
        }
    }
}

/// The request to `/v1/authorize`. Of the described one it has what authentication looks at, and
/// takes what nobody needs after it.
fn asked(
    described: &mut Described,
    source: Option<SocketAddr>,
    trusted: bool,
) -> Result<HttpRequest<Body>, Status> {
    let method = Method::from_bytes(described.method.as_bytes())
        .map_err(|_| Status::invalid_argument("no method is described"))?;
    let original = OriginalRequest {
        method: mem::take(&mut described.method),
        host: mem::take(&mut described.host),
        target: mem::take(&mut described.path),
    };
    let mut asked = HttpRequest::new(Body::empty());
    *asked.method_mut() = method;
    *asked.uri_mut() = Uri::from_static(AUTHORIZE);
    asked.extensions_mut().insert(original);
    if let Some(source) = source {
        asked.extensions_mut().insert(ConnectInfo(source));
    }
    for (name, value) in headers(described) {
        if name.eq_ignore_ascii_case(AUTHORIZATION.as_str()) {
            // What cannot be a header is still a credential that was sent, and a bad one.
            let value = HeaderValue::from_bytes(value)
                .unwrap_or_else(|_| HeaderValue::from_static("malformed"));
            asked.headers_mut().append(AUTHORIZATION, value);
        } else if let Some(name) = looked_at(name, trusted)
            // What cannot be a header says nothing.
            && let Ok(value) = HeaderValue::from_bytes(value)
        {
            asked.headers_mut().append(name, value);
        }
    }
    Ok(asked)
}

/// The header of this name, if it counts beside the credential. From anybody who is not trusted
/// `X-Forwarded-For` says what its sender likes.
fn looked_at(name: &str, trusted: bool) -> Option<HeaderName> {
    let forwarded = trusted.then_some(FORWARDED_FOR);
    [ORIGIN, ACCESS_CONTROL_REQUEST_METHOD]
        .into_iter()
        .chain(TRACE_CONTEXT)
        .chain(forwarded)
        .find(|known| name.eq_ignore_ascii_case(known.as_str()))
}

/// Every header that the client sent, each copy apart, wherever Envoy describes it: with
/// `encode_raw_headers` all are in a list and none in the map. In the map it has joined repeated ones
/// with a comma, which no bearer token has: that stays malformed.
fn headers(described: &Described) -> impl Iterator<Item = (&str, &[u8])> {
    let mapped = described.headers.iter();
    let raw = described.header_map.iter().flat_map(|map| &map.headers);
    mapped
        .map(|(name, value)| (name.as_str(), value.as_bytes()))
        .chain(raw.map(|header| {
            let value = match &*header.raw_value {
                [] => header.value.as_bytes(),
                raw => raw,
            };
            (&*header.key, value)
        }))
}

fn allowed(answer: &HttpResponse, described: &Described) -> CheckResponse {
    let identity = answer.headers();
    let mut overwritten = Vec::with_capacity(identity.len());
    overwritten.extend(
        identity
            .iter()
            .filter(|(name, _)| name.as_str().starts_with(PREFIX))
            .map(|(name, value)| overwrite(name, value)),
    );
    let ok = OkHttpResponse {
        headers: overwritten,
        headers_to_remove: headers(described)
            .map(|(name, _)| name)
            .filter(|name| is_spoofed(name, identity))
            .map(str::to_owned)
            .collect(),
        ..OkHttpResponse::default()
    };
    CheckResponse {
        status: Some(rpc_status(Code::Ok)),
        dynamic_metadata: Some(metadata(identity)),
        http_response: Some(Verdict::OkResponse(ok)),
    }
}

async fn denied(answer: HttpResponse) -> Result<CheckResponse, Status> {
    let (parts, body) = answer.into_parts();
    let body = body::to_bytes(body, ANSWER_BYTES)
        .await
        .map_err(|_| Status::internal("the refusal cannot be read"))?;
    let denied = DeniedHttpResponse {
        status: Some(HttpStatus {
            code: parts.status.as_u16().into(),
        }),
        headers: parts
            .headers
            .iter()
            // Envoy writes the length itself.
            .filter(|(name, _)| *name != CONTENT_LENGTH)
            .map(|(name, value)| overwrite(name, value))
            .collect(),
        body: String::from_utf8_lossy(&body).into_owned(),
    };
    Ok(CheckResponse {
        status: Some(rpc_status(code(parts.status))),
        dynamic_metadata: None,
        http_response: Some(Verdict::DeniedResponse(denied)),
    })
}

/// Whether a client's header reads as one of ours to somebody, and is not replaced by ours.
fn is_spoofed(name: &str, identity: &HeaderMap) -> bool {
    let read = name.bytes().map(|byte| match byte {
        b'_' => b'-',
        byte => byte.to_ascii_lowercase(),
    });
    // Looked up as HTTP does, without regard to case.
    read.take(PREFIX.len()).eq(PREFIX.bytes()) && !identity.contains_key(name)
}

fn overwrite(name: &HeaderName, value: &HeaderValue) -> HeaderValueOption {
    HeaderValueOption {
        header: Some(EnvoyHeader {
            key: name.as_str().to_owned(),
            value: String::from_utf8_lossy(value.as_bytes()).into_owned(),
            raw_value: Vec::new(),
        }),
        append_action: HeaderAppendAction::OverwriteIfExistsOrAdd.into(),
        // An empty one keeps the client's own from the application.
        keep_empty_value: true,
        ..HeaderValueOption::default()
    }
}

/// Who calls, for Envoy's other filters and its log: `kind`, `user_id`, … as in the headers, but
/// decoded, and the scopes as a list.
fn metadata(identity: &HeaderMap) -> Struct {
    let decoded = |text: &str| Value {
        kind: Some(Kind::StringValue(
            percent_decode_str(text).decode_utf8_lossy().into_owned(),
        )),
    };
    let mut fields = HashMap::with_capacity(IDENTITY_HEADERS.len());
    fields.extend(IDENTITY_HEADERS.iter().filter_map(|name| {
        let value = identity.get(name)?.to_str().ok()?;
        let key = name.as_str().strip_prefix(PREFIX)?.replace('-', "_");
        let value = if *name == SCOPES {
            let scopes = value.split(',').filter(|scope| !scope.is_empty());
            Value {
                kind: Some(Kind::ListValue(ListValue {
                    values: scopes.map(decoded).collect(),
                })),
            }
        } else {
            decoded(value)
        };
        Some((key, value))
    }));
    Struct { fields }
}

fn rpc_status(code: Code) -> RpcStatus {
    RpcStatus {
        code: code.into(),
        ..RpcStatus::default()
    }
}

/// What Envoy counts a refusal as; the client's own status is in the answer.
fn code(status: StatusCode) -> Code {
    match status {
        StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE => Code::InvalidArgument,
        StatusCode::UNAUTHORIZED => Code::Unauthenticated,
        StatusCode::TOO_MANY_REQUESTS => Code::ResourceExhausted,
        StatusCode::INTERNAL_SERVER_ERROR => Code::Internal,
        StatusCode::SERVICE_UNAVAILABLE => Code::Unavailable,
        _ => Code::PermissionDenied,
    }
}

#[cfg(test)]
mod tests {
    use envoy_types::pb::envoy::config::core::v3::HeaderMap as EnvoyHeaders;

    use super::*;

    fn described(name: &str, copies: &[&str], raw: bool) -> Described {
        let mut described = Described {
            method: "GET".to_owned(),
            path: "/".to_owned(),
            ..Described::default()
        };
        if raw {
            let headers = copies.iter().map(|value| EnvoyHeader {
                key: name.to_owned(),
                raw_value: value.as_bytes().to_vec(),
                ..EnvoyHeader::default()
            });
            described.header_map = Some(EnvoyHeaders {
                headers: headers.collect(),
            });
        } else {
            let joined = copies.join(",");
            described.headers.insert(name.to_owned(), joined);
        }
        described
    }

    /// Whom a trusted Envoy speaks for is heard in both forms, and from no other.
    #[test]
    fn forwarded_for_counts_in_a_list_as_in_a_map() {
        for (raw, expected) in [
            (false, vec!["203.0.113.7,192.0.2.1"]),
            (true, vec!["203.0.113.7", "192.0.2.1"]),
        ] {
            let described = described("x-forwarded-for", &["203.0.113.7", "192.0.2.1"], raw);
            let heard = |trusted| {
                let asked = asked(&mut described.clone(), None, trusted).unwrap();
                let values = asked.headers().get_all(FORWARDED_FOR).into_iter();
                values
                    .map(|value| value.to_str().unwrap().to_owned())
                    .collect::<Vec<_>>()
            };
            assert_eq!(heard(true), expected, "raw: {raw}");
            assert!(heard(false).is_empty(), "raw: {raw}");
        }
    }

    #[test]
    fn each_copy_of_a_credential_is_one() {
        for (raw, count) in [(false, 1), (true, 2)] {
            let mut described = described("authorization", &["Bearer a", "Bearer b"], raw);
            let asked = asked(&mut described, None, false).unwrap();
            let copies = asked.headers().get_all(AUTHORIZATION);
            assert_eq!(copies.iter().count(), count, "raw: {raw}");
        }
    }
    /// Of the client's headers, those are removed that somebody could take for ours.
    #[test]
    fn what_reads_as_ours_is_spoofed() {
        let ours = HeaderMap::from_iter([(SCOPES, HeaderValue::from_static(""))]);
        for name in [
            "x-vestibule-role",
            "X-Vestibule-Role",
            "X_Vestibule_Role",
            "x-vestibule-",
        ] {
            assert!(is_spoofed(name, &ours), "{name}");
        }
        // The last is replaced by ours.
        for name in [
            "",
            "x-vestibul",
            "x-vestibulerole",
            "y-vestibule-role",
            "X-Vestibule-Scopes",
        ] {
            assert!(!is_spoofed(name, &ours), "{name}");
        }
    }
}
