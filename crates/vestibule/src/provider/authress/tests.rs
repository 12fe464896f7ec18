use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{
    super::{testing::*, transport::MAX_ANSWER},
    *,
};
use crate::clock::ManualClock;

const ADA: &str = r#"{"userId":"user_ada","name":"Ada","email":"ada@acme.example"}"#;

fn api(server: &TestServer) -> (AuthressApi, ManualClock) {
    api_with(settings(&server.origin))
}

fn api_with(mut settings: ProviderSettings) -> (AuthressApi, ManualClock) {
    settings.timeout = Duration::from_millis(400);
    let clock = clock();
    let api = AuthressApi::new(&settings, Arc::new(clock.clone())).unwrap();
    (api, clock)
}

fn header<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    head.lines().find_map(|line| {
        let (found, value) = line.split_once(": ")?;
        found.eq_ignore_ascii_case(name).then_some(value)
    })
}

fn claims(head: &str) -> Value {
    let token = header(head, "authorization")
        .unwrap()
        .strip_prefix("Bearer ")
        .unwrap();
    let claims = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap()
}

#[tokio::test]
async fn asks_with_a_token_of_its_own_and_reads_the_answer() {
    let server = TestServer::start(|_| Reply::json(200, ADA)).await;
    let (api, _) = api(&server);
    let Found::Present(ada) = api.get_user("user_ada").await.unwrap() else {
        panic!("gone");
    };
    assert_eq!(ada.email.as_deref(), Some("ada@acme.example"));
    let head = server.heads().remove(0);
    assert!(head.starts_with("GET /v1/users/user_ada HTTP/1.1\r\n"));
    assert_eq!(
        header(&head, "accept"),
        Some("application/links+json, application/json")
    );
    assert_eq!(
        header(&head, "user-agent"),
        Some(concat!("vestibule/", env!("CARGO_PKG_VERSION")))
    );
    assert_eq!(header(&head, "accept-encoding"), None, "nothing to inflate");
    let claims = claims(&head);
    assert_eq!(
        claims["iss"],
        format!("{}/v1/clients/sc_own01", server.origin)
    );
    assert_eq!(claims["sub"], "sc_own01");
    assert_eq!(claims["iat"], START.as_secs());
}

#[tokio::test]
async fn tenants_and_clients_too() {
    let server = TestServer::start(|head| {
        if head.starts_with("GET /v1/tenants/tenant_acme ") {
            let tenant = json!({
                "tenantId": "tenant_acme",
                "data": { "name": "Acme" },
                "connection": { "connectionId": "con_acme" },
            });
            Reply::json(200, tenant.to_string())
        } else {
            let client =
                json!({ "clientId": "sc_robot01", "options": { "grantTokenGeneration": true } });
            Reply::json(200, client.to_string())
        }
    })
    .await;
    let (api, _) = api(&server);
    let Found::Present(tenant) = api.get_tenant("tenant_acme").await.unwrap() else {
        panic!("gone");
    };
    assert_eq!(tenant.name.as_deref(), Some("Acme"));
    assert_eq!(tenant.connection_id.as_deref(), Some("con_acme"));
    let Found::Present(client) = api.get_client("sc_robot01").await.unwrap() else {
        panic!("gone");
    };
    assert!(client.grant_token_generation);
}

#[tokio::test]
async fn ids_stay_within_their_segment() {
    let server = TestServer::start(|_| Reply::json(404, "{}")).await;
    let (api, _) = api(&server);
    for (id, path) in [
        ("auth0|a/b", "/v1/users/auth0%7Ca%2Fb"),
        ("../tenants/other", "/v1/users/..%2Ftenants%2Fother"),
        ("a?x=1#y", "/v1/users/a%3Fx%3D1%23y"),
        ("a b+c@d~e%2e", "/v1/users/a%20b%2Bc%40d~e%252e"),
        ("%2e%2e", "/v1/users/%252e%252e"),
        ("...", "/v1/users/..."),
        ("é", "/v1/users/%C3%A9"),
    ] {
        assert_eq!(api.get_user(id).await, Ok(Found::Gone));
        let head = server.heads().pop().unwrap();
        assert!(
            head.starts_with(&format!("GET {path} HTTP/1.1\r\n")),
            "{head}"
        );
    }
    let calls = server.heads().len();
    let long = "x".repeat(MAX_ID + 1);
    for id in ["", ".", "..", "a\r\nb", long.as_str()] {
        assert_eq!(api.get_user(id).await, Ok(Found::Gone));
        assert_eq!(api.get_tenant(id).await, Ok(Found::Gone));
        assert!(matches!(api.keys(&client(id)).await, Ok(Found::Gone)));
    }
    assert_eq!(server.heads().len(), calls, "no call was made");
}

#[tokio::test]
async fn the_minted_token_is_used_again_until_near_its_end() {
    let server = TestServer::start(|_| Reply::json(200, ADA)).await;
    let (api, clock) = api(&server);
    let mut issued = Vec::new();
    for seconds in [0, 3_000, 299, 1, 60] {
        clock.advance(Duration::from_secs(seconds));
        api.get_user("user_ada").await.unwrap();
        issued.push(
            claims(&server.heads().pop().unwrap())["iat"]
                .as_i64()
                .unwrap(),
        );
    }
    let start = START.as_secs();
    assert_eq!(issued, [start, start, start, start + 3_300, start + 3_300]);
    clock.set(START);
    api.get_user("user_ada").await.unwrap();
    assert_eq!(claims(&server.heads().pop().unwrap())["iat"], start);
}

#[tokio::test]
async fn a_refused_token_is_not_used_again() {
    let calls = AtomicUsize::new(0);
    let server = TestServer::start(move |_| match calls.fetch_add(1, Ordering::SeqCst) {
        0 => Reply::json(401, "{}"),
        _ => Reply::json(200, ADA),
    })
    .await;
    let (api, clock) = api(&server);
    assert_eq!(
        api.get_user("user_ada").await,
        Err(ProviderError::Status(401))
    );
    clock.advance(Duration::from_secs(1));
    assert!(api.get_user("user_ada").await.is_ok());
    let heads = server.heads();
    assert_ne!(claims(&heads[0])["iat"], claims(&heads[1])["iat"]);
}

#[test]
fn the_own_issuer_is_never_a_regional_host() {
    let key = access_key(7);
    for (api_url, issuer) in [
        ("https://auth.example.com", "https://auth.example.com"),
        (
            "https://auth.example.com:8443",
            "https://auth.example.com:8443",
        ),
        (
            "https://test.api-eu-west.authress.io",
            "https://test.api.authress.io",
        ),
        (
            "https://test.api.authress.io",
            "https://test.api.authress.io",
        ),
        ("https://authress.io.example", "https://authress.io.example"),
        ("https://notauthress.io", "https://notauthress.io"),
    ] {
        let url = Url::parse(api_url).unwrap();
        assert_eq!(
            own_issuer(&url, &key),
            format!("{issuer}/v1/clients/sc_own01")
        );
    }
}

#[tokio::test]
async fn key_sets_come_from_addresses_of_the_settings_and_without_our_token() {
    let server = TestServer::start(|_| Reply::json(200, jwks(&["k1"]))).await;
    let issuer: Arc<str> = server.origin.as_str().into();
    let (api, _) = api(&server);
    for set in [KeySetId::Issuer(issuer), client("sc_robot01")] {
        let Found::Present(document) = api.keys(&set).await.unwrap() else {
            panic!("gone");
        };
        assert!(document.keys.get("k1").is_some());
        assert_eq!(document.body, jwks(&["k1"]));
    }
    let heads = server.heads();
    let jwks = ".well-known/openid-configuration/jwks HTTP/1.1\r\n";
    assert!(heads[0].starts_with(&format!("GET /{jwks}")));
    assert!(heads[1].starts_with(&format!("GET /v1/clients/sc_robot01/{jwks}")));
    for head in &heads {
        assert_eq!(header(head, "authorization"), None);
    }
    let stranger = KeySetId::Issuer("https://evil.example".into());
    assert!(api.keys(&stranger).await.is_err());
    assert_eq!(server.heads().len(), 2);
}

#[tokio::test]
async fn only_404_means_gone_and_never_for_an_issuer() {
    for status in [
        201, 204, 301, 302, 304, 307, 400, 401, 403, 410, 429, 500, 503,
    ] {
        let server = TestServer::start(move |_| {
            let head = format!(
                "HTTP/1.1 {status} X\r\nlocation: /v1/users/user_ada2\r\ncontent-length: 0\r\n\r\n"
            );
            Reply::Raw(head.into())
        })
        .await;
        let issuer = KeySetId::Issuer(server.origin.as_str().into());
        let (api, _) = api(&server);
        let failed = ProviderError::Status(status);
        assert_eq!(api.get_user("user_ada").await.unwrap_err(), failed);
        assert_eq!(api.keys(&issuer).await.unwrap_err(), failed);
        assert_eq!(api.keys(&client("sc_robot01")).await.unwrap_err(), failed);
        assert_eq!(server.heads().len(), 3, "no redirect was followed");
    }
    let server = TestServer::start(|_| Reply::json(404, "<html>")).await;
    let issuer = KeySetId::Issuer(server.origin.as_str().into());
    let (api, _) = api(&server);
    assert_eq!(api.get_user("user_ada").await, Ok(Found::Gone));
    assert!(matches!(
        api.keys(&client("sc_robot01")).await,
        Ok(Found::Gone)
    ));
    assert_eq!(
        api.keys(&issuer).await.unwrap_err(),
        ProviderError::Status(404)
    );
}

#[tokio::test]
async fn an_account_always_has_keys_and_a_client_may_have_none() {
    let server = TestServer::start(|_| Reply::json(200, r#"{"keys":[]}"#)).await;
    let issuer = KeySetId::Issuer(server.origin.as_str().into());
    let (api, _) = api(&server);
    assert!(matches!(
        api.keys(&issuer).await,
        Err(ProviderError::Unusable(_))
    ));
    let Found::Present(document) = api.keys(&client("sc_robot01")).await.unwrap() else {
        panic!("gone");
    };
    assert!(document.keys.is_empty());
}

#[tokio::test]
async fn answers_that_cannot_be_used() {
    let sent = |length: usize, body: Vec<u8>| {
        let mut raw = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n").into_bytes();
        raw.extend(body);
        raw
    };
    let too_large = format!(
        r#"{{"userId":"user_ada","name":"{}"}}"#,
        "x".repeat(MAX_ANSWER)
    );
    let mut endless = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
    for _ in 0..40 {
        endless.extend(b"8000\r\n");
        endless.extend(vec![b' '; 0x8000]);
        endless.extend(b"\r\n");
    }
    let html = b"<html>user_ada</html>".to_vec();
    let half = ADA.as_bytes()[..20].to_vec();
    let (large, cut, no_json, other) = (
        "it is too large",
        "it ended before its end",
        "it is not JSON",
        "it is not about what was asked",
    );
    let cases = [
        (large, sent(too_large.len(), too_large.into_bytes())),
        (large, sent(MAX_ANSWER + 1, Vec::new())),
        (large, endless),
        (no_json, sent(html.len(), html)),
        (cut, sent(ADA.len(), half.clone())),
        (no_json, sent(half.len(), half)),
        (other, sent(20, br#"{"userId":"user_bo"}"#.to_vec())),
        (no_json, sent(0, Vec::new())),
    ];
    for (why, raw) in cases {
        let server = TestServer::start(move |_| Reply::Cut(raw.clone())).await;
        let (api, _) = api(&server);
        let error = api.get_user("user_ada").await.unwrap_err();
        assert_eq!(error, ProviderError::Unusable(why));
        assert!(api.keys(&client("sc_robot01")).await.is_err(), "{why}");
    }
}

#[tokio::test]
async fn a_large_answer_within_the_cap_is_read() {
    let body = json!({ "userId": "user_ada", "name": "Ada", "x": "x".repeat(MAX_ANSWER - 1_000) });
    let server = TestServer::start(move |_| Reply::json(200, body.to_string())).await;
    let (api, _) = api(&server);
    assert_eq!(api.get_user("user_ada").await, Ok(user("user_ada", "Ada")));
}

#[tokio::test]
async fn one_deadline_for_all_of_a_call() {
    let head = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n".to_vec();
    for hang in [Some(head), None] {
        let server = TestServer::start(move |_| match &hang {
            // The body never comes.
            Some(head) => Reply::Raw(head.clone()),
            None => Reply::Hang,
        })
        .await;
        let (api, _) = api(&server);
        let before = Instant::now();
        assert_eq!(api.get_user("user_ada").await, Err(ProviderError::Timeout));
        assert!(before.elapsed() < Duration::from_secs(2));
    }
}

#[tokio::test]
async fn nobody_there() {
    let server = TestServer::start(|_| Reply::Cut(Vec::new())).await;
    let (there, _) = api(&server);
    assert_eq!(
        there.get_user("user_ada").await,
        Err(ProviderError::Unreachable)
    );
    let origin = {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    };
    let (api, _) = api_with(settings(&origin));
    assert_eq!(
        api.get_user("user_ada").await,
        Err(ProviderError::Unreachable)
    );
}

#[tokio::test]
async fn a_connection_that_swallows_calls_is_given_up() {
    // The first two connections answer once and then never again, as after a failure of the
    // network.
    let calls = AtomicUsize::new(0);
    let server = TestServer::start(move |head| {
        let connection = header(head, CONNECTION).unwrap();
        match calls.fetch_add(1, Ordering::SeqCst) {
            2.. if matches!(connection, "1" | "2") => Reply::Hang,
            _ => Reply::json(200, ADA),
        }
    })
    .await;
    let (api, _) = api(&server);
    let (one, two) = tokio::join!(api.get_user("user_ada"), api.get_user("user_ada"));
    assert!(one.is_ok() && two.is_ok());
    assert_eq!(server.connections(), 2);
    assert_eq!(api.get_user("user_ada").await, Err(ProviderError::Timeout));
    assert!(api.get_user("user_ada").await.is_ok(), "not the second one");
}

#[tokio::test]
async fn connections_are_used_again() {
    let server = TestServer::start(|_| Reply::json(200, ADA)).await;
    let (api, _) = api(&server);
    for _ in 0..5 {
        api.get_user("user_ada").await.unwrap();
    }
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn the_proxy_of_the_settings_is_used() {
    let proxy = TestServer::start(|_| Reply::json(200, ADA)).await;
    let mut settings = settings("http://127.0.0.1:9");
    settings.proxy = Some(Url::parse(&proxy.origin).unwrap());
    let (api, _) = api_with(settings);
    assert!(api.get_user("user_ada").await.is_ok());
    assert!(proxy.heads()[0].starts_with("GET http://127.0.0.1:9/v1/users/user_ada HTTP/1.1"));
}

#[test]
fn nothing_secret_is_shown() {
    let (api, _) = api_with(settings("https://auth.example"));
    let minted = api.own.current();
    let shown = format!("{api:?} {:?}", minted.header);
    assert!(!shown.contains("eyJ"), "{shown}");
}
