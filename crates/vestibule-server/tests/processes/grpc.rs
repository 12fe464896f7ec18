//! Envoy's `ext_authz` over gRPC: what is allowed, refused, set and taken away is what
//! `/v1/authorize` says.

use std::{collections::HashMap, fs, time::Duration};

use envoy_types::pb::{
    envoy::{
        config::core::v3::{HeaderMap, HeaderValue, HeaderValueOption},
        service::auth::v3::{
            AttributeContext, CheckRequest, CheckResponse,
            attribute_context::{HttpRequest, Request},
            authorization_client::AuthorizationClient,
            check_response::HttpResponse,
        },
    },
    google::protobuf::value::Kind,
};
use tonic::{Code, metadata::MetadataMap, transport::Channel};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use vestibule_sandbox::{Fault, Target};

use crate::{
    support::Running,
    world::{World, eventually},
};

pub(crate) const LISTEN: (&str, &str) = ("VESTIBULE_GRPC_LISTEN", "127.0.0.1:0");

pub(crate) async fn channel(server: &Running) -> Channel {
    let address = server.grpc.clone().unwrap();
    Channel::from_shared(address)
        .unwrap()
        .connect()
        .await
        .unwrap()
}

pub(crate) fn described(headers: &[(&str, &str)]) -> HttpRequest {
    HttpRequest {
        method: "GET".to_owned(),
        path: "/orders?page=2".to_owned(),
        host: "api.acme.example".to_owned(),
        headers: headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
        ..HttpRequest::default()
    }
}

pub(crate) async fn check(
    channel: &Channel,
    http: HttpRequest,
) -> Result<CheckResponse, tonic::Status> {
    check_with(channel, http, |_| {}).await
}

/// With metadata of the proxy's own.
pub(crate) async fn check_with(
    channel: &Channel,
    http: HttpRequest,
    metadata: impl FnOnce(&mut MetadataMap),
) -> Result<CheckResponse, tonic::Status> {
    let request = CheckRequest {
        attributes: Some(AttributeContext {
            request: Some(Request {
                http: Some(http),
                ..Request::default()
            }),
            ..AttributeContext::default()
        }),
    };
    let mut request = tonic::Request::new(request);
    metadata(request.metadata_mut());
    let mut client = AuthorizationClient::new(channel.clone());
    client.check(request).await.map(tonic::Response::into_inner)
}

fn values(headers: &[HeaderValueOption]) -> HashMap<&str, &str> {
    headers
        .iter()
        .map(|option| {
            let header = option.header.as_ref().unwrap();
            assert!(option.keep_empty_value, "{header:?}");
            // Overwrites what the client sent.
            assert_eq!(option.append_action, 2, "{header:?}");
            (&*header.key, &*header.value)
        })
        .collect()
}

/// What a check and `/v1/authorize` answer to the same header: status, and the headers that a
/// proxy hands on.
async fn both(
    world: &World,
    server: &Running,
    channel: &Channel,
    authorization: Option<&str>,
) -> [(u16, Vec<(String, String)>); 2] {
    let mut asked = world.http.get(format!("{}/v1/authorize", server.public));
    if let Some(value) = authorization {
        asked = asked.header("authorization", value);
    }
    let answer = asked.send().await.unwrap();
    let mut direct: Vec<_> = answer
        .headers()
        .iter()
        .filter(|(name, _)| name.as_str().starts_with("x-vestibule") || *name == "www-authenticate")
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
        .collect();
    direct.sort();
    let direct = (answer.status().as_u16(), direct);

    let sent: Vec<_> = authorization
        .iter()
        .map(|value| ("authorization", *value))
        .collect();
    let checked = check(channel, described(&sent)).await.unwrap();
    let (status, headers) = match checked.http_response.unwrap() {
        HttpResponse::OkResponse(ok) => (200, ok.headers),
        HttpResponse::DeniedResponse(denied) => {
            let status = u16::try_from(denied.status.unwrap().code).unwrap();
            let problem: serde_json::Value = serde_json::from_str(&denied.body).unwrap();
            assert_eq!(problem["status"], status);
            (status, denied.headers)
        }
        other => panic!("{other:?}"),
    };
    let mut headers: Vec<_> = values(&headers)
        .into_iter()
        .filter(|(name, _)| name.starts_with("x-vestibule") || *name == "www-authenticate")
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    headers.sort();
    [direct, (status, headers)]
}

/// Envoy keeps no decisions; how long one may be kept is nothing to the application, nor to the
/// client.
#[tokio::test(flavor = "multi_thread")]
async fn what_may_be_remembered_is_not_handed_on() {
    let world = World::new(&[LISTEN, ("VESTIBULE_DECISION_MAX_AGE", "5")]).await;
    let server = world.place.serve();
    let channel = channel(&server).await;
    let ada = format!("Bearer {}", world.user("user_ada"));
    let http = described(&[("authorization", &ada)]);
    let checked = check(&channel, http).await.unwrap();
    let Some(HttpResponse::OkResponse(ok)) = checked.http_response else {
        panic!("refused: {checked:?}");
    };
    let names = values(&ok.headers);
    assert!(names.keys().all(|name| name.starts_with("x-vestibule-")));
    assert_eq!(names.len(), 8);
    assert!(ok.response_headers_to_add.is_empty(), "{ok:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn both_doors_say_the_same() {
    let world = World::new(&[LISTEN]).await;
    let server = world.place.serve();
    let channel = channel(&server).await;
    let ada = format!("Bearer {}", world.user("user_ada"));
    let robot = format!("bearer {}", world.robot("sc_robot01"));
    let spoiled = format!("{ada}x");
    let two = format!("{ada},{robot}");
    let stranger = world.sandbox.user_token("user_nobody").mint();
    let stranger = format!("Bearer {stranger}");
    for (authorization, status) in [
        (Some(&*ada), 200),
        (Some(&robot), 200),
        (Some(&spoiled), 401),
        (Some(&two), 401),
        (Some(&stranger), 401),
        (Some("Basic YTpi"), 401),
        (Some(""), 401),
        (None, 401),
    ] {
        let [direct, checked] = both(&world, &server, &channel, authorization).await;
        assert_eq!(direct.0, status, "{authorization:?}");
        assert_eq!(direct, checked, "{authorization:?}");
    }
    let users = world
        .place
        .json(&["user", "list", "--account", &world.acme]);
    let id = users["items"][0]["id"].as_str().unwrap();
    world.place.json(&["user", "suspend", id]);
    eventually(Duration::from_secs(1), "is suspended", async || {
        let [direct, checked] = both(&world, &server, &channel, Some(&ada)).await;
        direct == checked && direct.0 == 403
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_client_spoofs_is_taken_away() {
    let world = World::new(&[LISTEN]).await;
    let server = world.place.serve();
    let channel = channel(&server).await;
    let ada = format!("Bearer {}", world.user("user_ada"));
    let mut http = described(&[
        ("authorization", &ada),
        ("x-vestibule-role", "owner"),
        ("x_vestibule_role", "owner"),
        ("X-Vestibule-Role", "owner"),
        ("x-vestibule-assertion", "forged"),
        ("x-vestibule_anything", "1"),
        ("x-request-id", "kept"),
    ]);
    http.header_map = Some(HeaderMap {
        headers: vec![HeaderValue {
            key: "x_vestibule-email".to_owned(),
            raw_value: b"ada@acme.example".to_vec(),
            ..HeaderValue::default()
        }],
    });
    let checked = check(&channel, http).await.unwrap();
    assert_eq!(checked.status.unwrap().code, 0);
    let Some(HttpResponse::OkResponse(ok)) = checked.http_response else {
        panic!("refused");
    };
    let headers = values(&ok.headers);
    assert_eq!(headers.len(), 8);
    assert_eq!(headers["x-vestibule-role"], "member");
    assert_eq!(headers["x-vestibule-account-id"], world.acme);
    let mut removed = ok.headers_to_remove;
    removed.sort();
    assert_eq!(
        removed,
        [
            "x-vestibule-assertion",
            "x-vestibule_anything",
            "x_vestibule-email",
            "x_vestibule_role",
        ]
    );
    let metadata = checked.dynamic_metadata.unwrap().fields;
    let text = |key: &str| match metadata[key].kind.clone().unwrap() {
        Kind::StringValue(text) => text,
        other => panic!("{other:?}"),
    };
    assert_eq!(text("kind"), "user");
    assert_eq!(text("account_id"), world.acme);
    assert_eq!(text("email"), "ada@acme.example");
    let Some(Kind::ListValue(scopes)) = &metadata["scopes"].kind else {
        panic!("{metadata:?}");
    };
    assert_eq!(scopes.values.len(), 3);
}

/// Envoy with `encode_raw_headers` describes all headers in a list, and else in a map.
#[tokio::test(flavor = "multi_thread")]
async fn a_preflight_is_one_however_envoy_describes_it() {
    let world = World::new(&[LISTEN]).await;
    let file = world.place.path().join("settings.toml");
    let rule = "[[rules]]\npath = \"/orders\"\ncallers = \"user\"\npreflight = true\n";
    fs::write(&file, rule).unwrap();
    let server = world
        .place
        .serve_with(&["--config", file.to_str().unwrap()]);
    let channel = channel(&server).await;
    let asks = [
        ("origin", "https://app.acme.example"),
        ("access-control-request-method", "POST"),
    ];
    for raw in [false, true] {
        for (headers, code) in [
            (&asks[..], 0),
            (&asks[..1], 16),
            (&asks[1..], 16),
            (&[], 16),
        ] {
            let mut http = described(if raw { &[] } else { headers });
            http.method = "OPTIONS".to_owned();
            http.header_map = raw.then(|| HeaderMap {
                headers: headers
                    .iter()
                    .map(|(name, value)| HeaderValue {
                        key: (*name).to_owned(),
                        raw_value: value.as_bytes().to_vec(),
                        ..HeaderValue::default()
                    })
                    .collect(),
            });
            let checked = check(&channel, http).await.unwrap();
            let said = checked.status.unwrap().code;
            assert_eq!(said, code, "raw: {raw}, {headers:?}");
            if let Some(HttpResponse::OkResponse(ok)) = checked.http_response {
                let identity = values(&ok.headers);
                assert_eq!(identity.len(), 8);
                assert!(identity.values().all(|value| value.is_empty()));
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn repeated_and_undescribed_credentials() {
    let world = World::new(&[LISTEN]).await;
    let server = world.place.serve();
    let channel = channel(&server).await;
    let ada = format!("Bearer {}", world.user("user_ada"));
    let header = |value: &[u8]| HeaderValue {
        key: "authorization".to_owned(),
        raw_value: value.to_vec(),
        ..HeaderValue::default()
    };
    for (headers, code) in [
        (vec![header(ada.as_bytes())], 0),
        (vec![header(ada.as_bytes()), header(ada.as_bytes())], 16),
        (vec![header(b"Bearer \xff\x00")], 16),
    ] {
        let mut http = described(&[]);
        http.header_map = Some(HeaderMap { headers });
        let checked = check(&channel, http).await.unwrap();
        assert_eq!(checked.status.unwrap().code, code);
    }
    for http in [
        HttpRequest {
            method: String::new(),
            ..described(&[])
        },
        HttpRequest {
            method: "GET /".to_owned(),
            ..described(&[])
        },
    ] {
        assert_eq!(
            check(&channel, http).await.unwrap_err().code(),
            Code::InvalidArgument
        );
    }
    let mut client = AuthorizationClient::new(channel.clone());
    let nothing = client.check(CheckRequest::default()).await.unwrap_err();
    assert_eq!(nothing.code(), Code::InvalidArgument);
    // Larger than any head.
    let large = described(&[("x-filling", &"x".repeat(300 * 1024))]);
    assert_eq!(
        check(&channel, large).await.unwrap_err().code(),
        Code::OutOfRange
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn deadlines_health_and_the_end() {
    let world = World::new(&[LISTEN, ("PROVIDER_TIMEOUT", "5")]).await;
    let mut server = world.place.serve();
    let channel = channel(&server).await;
    let health = async |service: &str| {
        let mut client = HealthClient::new(channel.clone());
        let service = service.to_owned();
        let answer = client.check(HealthCheckRequest { service }).await?;
        Ok::<_, tonic::Status>(answer.into_inner().status())
    };
    for service in ["", "envoy.service.auth.v3.Authorization"] {
        eventually(Duration::from_secs(2), "serves", async || {
            matches!(health(service).await, Ok(ServingStatus::Serving))
        })
        .await;
    }
    assert_eq!(health("other").await.unwrap_err().code(), Code::NotFound);

    // A first visit waits for the provider, which hangs; the proxy does not wait so long.
    world.sandbox.fail(Target::All, Fault::Hang);
    let mut request = tonic::Request::new(CheckRequest {
        attributes: Some(AttributeContext {
            request: Some(Request {
                http: Some(described(&[(
                    "authorization",
                    &format!("Bearer {}", world.user("user_ada")),
                )])),
                ..Request::default()
            }),
            ..AttributeContext::default()
        }),
    });
    request.set_timeout(Duration::from_millis(300));
    let begun = std::time::Instant::now();
    let mut client = AuthorizationClient::new(channel.clone());
    let late = client.check(request).await.unwrap_err();
    assert!(
        matches!(late.code(), Code::DeadlineExceeded | Code::Cancelled),
        "{late:?}"
    );
    assert!(begun.elapsed() < Duration::from_secs(2));

    let (code, took) = server.stop("-TERM");
    assert_eq!(code, Some(0));
    assert!(took < Duration::from_secs(2), "{took:?}");
}
