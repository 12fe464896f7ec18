//! What `tests/doors/speed` compares the doors with: a bare tonic server that allows every request,
//! with the headers that it was started with, and with `--metadata` the same as Envoy's dynamic
//! metadata; with `--http` a bare axum server that answers 200 with these headers.
//!
//! ```console
//! always_allow 127.0.0.1:9191 --metadata X-Vestibule-Kind=user X-Vestibule-Email=
//! always_allow 127.0.0.1:8081 --http X-Vestibule-Kind=user X-Vestibule-Email=
//! always_allow 127.0.0.1:8081 --http Content-Type=application/json --body '{"kind":"user"}'
//! ```

use std::{env, error::Error, net::SocketAddr};

use axum::{
    Router,
    body::{Body, Bytes},
    http::{HeaderMap, HeaderName},
    serve::ListenerExt as _,
};
use envoy_types::pb::{
    envoy::{
        config::core::v3::{
            HeaderValue, HeaderValueOption, header_value_option::HeaderAppendAction,
        },
        service::auth::v3::{
            CheckRequest, CheckResponse, OkHttpResponse,
            authorization_server::{Authorization, AuthorizationServer},
            check_response::HttpResponse,
        },
    },
    google::{
        protobuf::{Struct, Value, value::Kind},
        rpc,
    },
};
use tonic::{
    Request, Response, Status, async_trait,
    transport::{Server, server::TcpIncoming},
};

struct AlwaysAllow {
    answer: CheckResponse,
}

#[async_trait]
impl Authorization for AlwaysAllow {
    async fn check(&self, _: Request<CheckRequest>) -> Result<Response<CheckResponse>, Status> {
        Ok(Response::new(self.answer.clone()))
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let address: SocketAddr = arguments.next().ok_or("no address")?.parse()?;
    let mut arguments: Vec<String> = arguments.collect();
    let body = arguments.iter().position(|argument| argument == "--body");
    let body: String = body.map_or_else(String::new, |at| arguments.drain(at..).skip(1).collect());
    let pairs = || arguments.iter().filter_map(|header| header.split_once('='));
    if arguments.iter().any(|argument| argument == "--http") {
        return http(address, pairs(), body.into()).await;
    }
    let ok = OkHttpResponse {
        headers: pairs().map(|(key, value)| overwrite(key, value)).collect(),
        ..OkHttpResponse::default()
    };
    let has_metadata = arguments.iter().any(|argument| argument == "--metadata");
    let answer = CheckResponse {
        status: Some(rpc::Status::default()),
        dynamic_metadata: has_metadata.then(|| Struct {
            fields: pairs().map(|(key, value)| field(key, value)).collect(),
        }),
        http_response: Some(HttpResponse::OkResponse(ok)),
    };
    let incoming = TcpIncoming::bind(address)?.with_nodelay(Some(true));
    Server::builder()
        .add_service(AuthorizationServer::new(AlwaysAllow { answer }))
        .serve_with_incoming(incoming)
        .await?;
    Ok(())
}

async fn http<'a>(
    address: SocketAddr,
    headers: impl Iterator<Item = (&'a str, &'a str)>,
    body: Bytes,
) -> Result<(), Box<dyn Error>> {
    let mut answer = HeaderMap::new();
    for (key, value) in headers {
        answer.append(HeaderName::try_from(key)?, value.parse()?);
    }
    let router = Router::new()
        .fallback(move || std::future::ready((answer.clone(), Body::from(body.clone()))));
    let listener = tokio::net::TcpListener::bind(address).await?;
    let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
    Ok(axum::serve(listener, router).await?)
}

fn overwrite(key: &str, value: &str) -> HeaderValueOption {
    HeaderValueOption {
        header: Some(HeaderValue {
            key: key.to_owned(),
            value: value.to_owned(),
            raw_value: Vec::new(),
        }),
        append_action: HeaderAppendAction::OverwriteIfExistsOrAdd.into(),
        keep_empty_value: true,
        ..HeaderValueOption::default()
    }
}

fn field(key: &str, value: &str) -> (String, Value) {
    let kind = Some(Kind::StringValue(value.to_owned()));
    (key.to_owned(), Value { kind })
}
