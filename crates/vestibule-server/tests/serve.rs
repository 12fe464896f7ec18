//! The running server: start, addresses, routes without a caller, metrics, the end.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test code")]

mod support;

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    time::{Duration, Instant},
};

use support::Place;
use vestibule_sandbox::{Endpoint, Fault, Sandbox};

async fn sandbox() -> Sandbox {
    let sandbox = Sandbox::builder().start().await.unwrap();
    sandbox.add_demo_world();
    sandbox
}

fn client() -> reqwest::Client {
    // An error says that it is there already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().build().unwrap()
}

fn problem_code(response: &reqwest::Response) -> &str {
    response.headers()["x-vestibule-code"].to_str().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_from_start_to_end() {
    let sandbox = sandbox().await;
    let place = Place::new().with_sandbox(&sandbox);
    place.account("Acme", "tenant_acme");
    let mut server = place.serve();
    let http = client();
    let get = |path: &str| http.get(format!("{}{path}", server.public));

    assert_eq!(get("/healthz").send().await.unwrap().status(), 200);
    // Keys are fetched while it starts to listen.
    let begun = Instant::now();
    while get("/readyz").send().await.unwrap().status() != 200 {
        assert!(
            begun.elapsed() < Duration::from_secs(5),
            "it never gets ready"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let document: serde_json::Value = get("/openapi.json")
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(document["openapi"], "3.1.0");

    let token = sandbox.user_token("user_ada").mint();
    let me = get("/v1/me").bearer_auth(&token).send().await.unwrap();
    assert_eq!(me.status(), 200);
    assert_eq!(me.headers()["cache-control"], "no-store");
    let me: serde_json::Value = me.json().await.unwrap();
    assert_eq!(me["kind"], "user");
    assert_eq!(me["user"]["authress_user_id"], "user_ada");
    assert_eq!(me["account"]["authress_tenant_id"], "tenant_acme");

    let (code, took) = server.stop("-TERM");
    assert_eq!(code, Some(0));
    assert!(took < Duration::from_secs(2), "{took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_without_a_caller() {
    let sandbox = sandbox().await;
    let place = Place::new().with_sandbox(&sandbox);
    place.account("Acme", "tenant_acme");
    let server = place.serve();
    let http = client();
    let token = sandbox.user_token("user_ada").mint();

    for path in [
        "/",
        "/v1",
        "/v1/",
        "/v1/me/",
        "/v2/me",
        "/V1/me",
        "/metrics",
        "//v1/me",
        "/v1/me%2f",
    ] {
        for authorization in [
            None,
            Some(format!("Bearer {token}")),
            Some("nonsense".to_owned()),
        ] {
            let mut request = http.get(format!("{}{path}", server.public));
            if let Some(authorization) = authorization {
                request = request.header("authorization", authorization);
            }
            let response = request.send().await.unwrap();
            assert_eq!(response.status(), 404, "{path}");
            assert_eq!(problem_code(&response), "not_found");
            assert_eq!(
                response.headers()["content-type"],
                "application/problem+json"
            );
            let body: serde_json::Value = response.json().await.unwrap();
            assert_eq!(body["code"], "not_found");
            assert_eq!(body["status"], 404);
            assert!(
                body["request_id"].is_string()
                    && body["type"].is_string()
                    && body["title"].is_string()
            );
        }
    }
    for path in [
        "/v1/me",
        "/v1/users",
        "/v1/activity",
        "/healthz",
        "/openapi.json",
    ] {
        let response = http
            .post(format!("{}{path}", server.public))
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), 405, "{path}");
        assert_eq!(problem_code(&response), "method_not_allowed");
        assert_eq!(response.headers()["allow"], "GET,HEAD");
        let response = http
            .head(format!("{}{path}", server.public))
            .send()
            .await
            .unwrap();
        let expected = if path.starts_with("/v1") { 401 } else { 200 };
        assert_eq!(response.status(), expected, "HEAD {path}");
    }
    let response = http
        .post(format!("{}/v1/authorize", server.public))
        .body(vec![b'x'; 2 * 1024 * 1024])
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 413);
    assert_eq!(problem_code(&response), "request_too_large");

    for query in [
        "limit=0",
        "limit=201",
        "limit=x",
        "limit=1&limit=2",
        "cursor=nonsense",
        "cursor=",
    ] {
        for path in ["/v1/users", "/v1/activity"] {
            let url = format!("{}{path}?{query}", server.public);
            let response = http.get(&url).bearer_auth(&token).send().await.unwrap();
            assert_eq!(response.status(), 400, "{url}");
            assert_eq!(problem_code(&response), "invalid_request");
            // Who may not come in learns nothing of queries.
            assert_eq!(http.get(&url).send().await.unwrap().status(), 401, "{url}");
        }
    }
    for path in [
        "/v1/users/nobody",
        "/v1/users/%ff",
        "/v1/users/0190a8f2-0000-7000-8000-000000000001",
    ] {
        let url = format!("{}{path}", server.public);
        let response = http.get(&url).bearer_auth(&token).send().await.unwrap();
        assert_eq!(response.status(), 404, "{path}");
        assert_eq!(http.get(&url).send().await.unwrap().status(), 401, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn forward_auth() {
    let sandbox = sandbox().await;
    let place = Place::new().with_sandbox(&sandbox);
    let account = place.account("Acme", "tenant_acme");
    let server = place.serve();
    let http = client();
    let token = sandbox.user_token("user_ada").mint();
    for method in [
        "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PURGE",
    ] {
        for path in [
            "/v1/authorize",
            "/v1/authorize/",
            "/v1/authorize/a/b",
            "/v1/authorize//x?y=z",
        ] {
            let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
            let url = format!("{}{path}", server.public);
            let response = http
                .request(method.clone(), &url)
                .bearer_auth(&token)
                .send()
                .await
                .unwrap();
            assert_eq!(response.status(), 200, "{method} {path}");
            let headers = response.headers();
            assert_eq!(headers["x-vestibule-kind"], "user");
            assert_eq!(headers["x-vestibule-authress-user-id"], "user_ada");
            assert_eq!(headers["x-vestibule-account-id"], account.as_str());
            assert_eq!(headers["x-vestibule-tenant-id"], "tenant_acme");
            assert_eq!(headers["x-vestibule-role"], "member");
            assert_eq!(headers["x-vestibule-email"], "ada@acme.example");
            assert!(headers.contains_key("x-vestibule-user-id"));
            assert!(headers.contains_key("x-vestibule-scopes"));
            assert_eq!(headers["cache-control"], "no-store");
            assert!(response.bytes().await.unwrap().is_empty());
            let response = http.request(method.clone(), &url).send().await.unwrap();
            assert_eq!(response.status(), 401, "{method} {path}");
            assert!(
                !response
                    .headers()
                    .keys()
                    .any(|name| name.as_str() == "x-vestibule-kind")
            );
        }
    }
    let below = http
        .get(format!("{}/v1/authorized", server.public))
        .send()
        .await
        .unwrap();
    assert_eq!(below.status(), 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_are_for_this_machine() {
    let sandbox = sandbox().await;
    let place = Place::new()
        .with_sandbox(&sandbox)
        .with("VESTIBULE_ADMIN_HOSTS", "metrics.example");
    place.account("Acme", "tenant_acme");
    let server = place.serve();
    let http = client();
    let token = sandbox.user_token("user_ada").mint();
    for _ in 0..3 {
        let me = http
            .get(format!("{}/v1/me", server.public))
            .bearer_auth(&token)
            .send()
            .await
            .unwrap();
        assert_eq!(me.status(), 200);
    }
    let metrics = http
        .get(format!("{}/metrics", server.admin))
        .send()
        .await
        .unwrap();
    assert_eq!(metrics.status(), 200);
    assert!(
        metrics.headers()["content-type"]
            .to_str()
            .unwrap()
            .starts_with("text/plain")
    );
    let text = metrics.text().await.unwrap();
    for line in [
        "vestibule_token_cache_hits_total 2",
        "vestibule_token_cache_misses_total 1",
        "vestibule_token_cache_entries 1",
        "vestibule_users_provisioned_total 1",
    ] {
        assert!(text.contains(&format!("\n{line}\n")), "{line}:\n{text}");
    }
    assert!(text.contains("vestibule_authentications_total{"), "{text}");
    assert!(
        !text.contains("user_ada") && !text.contains(&token),
        "{text}"
    );

    for (host, expected) in [
        ("evil.example", 400),
        ("localhost", 200),
        ("metrics.example:443", 200),
    ] {
        let url = format!("{}/metrics", server.admin);
        let response = http.get(url).header("host", host).send().await.unwrap();
        assert_eq!(response.status(), expected, "{host}");
    }
    for path in ["/", "/v1/me", "/v1/accounts", "/healthz"] {
        let response = http
            .get(format!("{}{path}", server.admin))
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), 404, "{path}");
        assert_eq!(problem_code(&response), "not_found");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_starts_while_the_provider_is_down_and_says_what_is_missing() {
    let sandbox = sandbox().await;
    sandbox.fail(Endpoint::Jwks, Fault::Status(503));
    let place = Place::new().with_sandbox(&sandbox);
    let server = place.serve();
    let ready = || async {
        let response = client()
            .get(format!("{}/readyz", server.public))
            .send()
            .await
            .unwrap();
        (
            response.status().as_u16(),
            response.json::<serde_json::Value>().await.unwrap(),
        )
    };
    let (status, body) = ready().await;
    assert_eq!(status, 503);
    assert_eq!(body["missing"], serde_json::json!(["keys"]));
    sandbox.heal();
    let healed = Instant::now();
    while ready().await.0 != 200 {
        assert!(
            healed.elapsed() < Duration::from_secs(5),
            "ready within 5 s"
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_taken_address_is_named() {
    let sandbox = sandbox().await;
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let place = Place::new()
        .with_sandbox(&sandbox)
        .with("VESTIBULE_LISTEN", &address);
    let said = place.run(&["serve"]);
    assert_eq!(said.code, 1, "{said:?}");
    assert!(
        said.stderr.contains(&address) && said.stderr.contains("VESTIBULE_LISTEN"),
        "{said:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_of_another_provider_is_refused() {
    let first = sandbox().await;
    let second = sandbox().await;
    let place = Place::new().with_sandbox(&first);
    drop(place.serve());
    let place = place.with_sandbox(&second);
    let said = place.run(&["serve"]);
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.stderr.contains(first.url()), "{said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_client_does_not_delay_the_end() {
    let sandbox = sandbox().await;
    let place = Place::new().with_sandbox(&sandbox);
    let mut server = place.serve();
    let address = server.public.strip_prefix("http://").unwrap();
    let mut half = TcpStream::connect(address).unwrap();
    half.write_all(b"GET /v1/me HTTP/1.1\r\nHost: x\r\n")
        .unwrap();
    let mut idle = TcpStream::connect(address).unwrap();
    idle.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        .unwrap();
    let mut answer = [0; 12];
    idle.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
    let (code, took) = server.stop("-INT");
    assert_eq!(code, Some(0));
    assert!(took < Duration::from_secs(2), "{took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_must_arrive_within_10_s() {
    let sandbox = sandbox().await;
    let place = Place::new().with_sandbox(&sandbox);
    let server = place.serve();
    let address = server.public.strip_prefix("http://").unwrap();
    let mut half = TcpStream::connect(address).unwrap();
    half.write_all(b"GET /v1/me HTTP/1.1\r\nHost: x\r\n")
        .unwrap();
    half.set_read_timeout(Some(Duration::from_secs(15)))
        .unwrap();
    let begun = Instant::now();
    let mut rest = Vec::new();
    half.read_to_end(&mut rest).unwrap();
    let took = begun.elapsed();
    assert!(
        took > Duration::from_secs(8) && took < Duration::from_secs(12),
        "{took:?}"
    );
}

/// What the document names is there, and nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn methods_are_those_of_the_document() {
    let sandbox = sandbox().await;
    let place = Place::new()
        .with_sandbox(&sandbox)
        .with("VESTIBULE_ASSERTION_AUDIENCES", "orders");
    let server = place.serve();
    let http = client();
    let url = format!("{}/openapi.json", server.public);
    let document: serde_json::Value = http.get(url).send().await.unwrap().json().await.unwrap();
    for (path, item) in document["paths"].as_object().unwrap() {
        let url = format!("{}{}", server.public, path.replace(['{', '}'], ""));
        for method in ["get", "post", "put", "patch", "delete", "options", "trace"] {
            let known = item.get(method).is_some();
            let method =
                reqwest::Method::from_bytes(method.to_ascii_uppercase().as_bytes()).unwrap();
            let status = http
                .request(method.clone(), &url)
                .send()
                .await
                .unwrap()
                .status();
            assert_eq!(status != 405, known, "{method} {path}: {status}");
            assert_ne!(status, 404, "{method} {path}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_line_per_request_without_secrets() {
    let sandbox = sandbox().await;
    let place = Place::new()
        .with_sandbox(&sandbox)
        .with("VESTIBULE_ACCESS_LOG", "all")
        .with("VESTIBULE_LOG", "debug");
    let account = place.account("Acme", "tenant_acme");
    let server = place.serve();
    let http = client();
    let good = sandbox.user_token("user_ada").mint();
    let broken = sandbox.user_token("user_ada").tamper_signature().mint();
    let get = |path: &str, token: &str| {
        http.get(format!("{}{path}", server.public))
            .bearer_auth(token)
            .send()
    };
    get("/v1/me", &good).await.unwrap();
    let refused = get("/v1/users?limit=5&query=private", &broken)
        .await
        .unwrap();
    let problem: serde_json::Value = refused.json().await.unwrap();
    get("/v1/private", &good).await.unwrap();
    get("/v1/users?limit=0", &good).await.unwrap();

    let lines = server.access_lines(4);
    assert_eq!(lines.len(), 4, "{lines:#?}");
    let [me, users, unknown, bad] = &lines[..] else {
        unreachable!()
    };
    assert_eq!(
        (me["status"].as_u64(), me["route"].as_str()),
        (Some(200), Some("/v1/me"))
    );
    assert_eq!(me["method"], "GET");
    assert_eq!(me["principal.kind"], "user");
    assert_eq!(me["account.id"], account.as_str());
    assert!(me["duration_ms"].as_f64().unwrap() > 0.0);
    assert!(me["request_id"].is_string() && me.get("reason").is_none());
    assert_eq!(users["status"], 401);
    assert_eq!(users["route"], "/v1/users");
    assert_eq!(users["reason"], "bad_signature");
    assert_eq!(users["request_id"], problem["request_id"]);
    assert!(users.get("principal.kind").is_none() && users.get("account.id").is_none());
    assert_eq!(unknown["status"], 404);
    assert!(unknown.get("route").is_none());
    assert_eq!(bad["status"], 400);
    assert!(bad.get("reason").is_none());

    let log = server.log();
    let key = sandbox.access_key();
    for secret in [
        &good,
        &broken,
        "ada@acme.example",
        "private",
        key.rsplit('.').next().unwrap(),
    ] {
        assert!(!log.contains(secret), "{secret} in:\n{log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn successes_have_no_line_unless_asked_for() {
    let sandbox = sandbox().await;
    let place = Place::new().with_sandbox(&sandbox);
    place.account("Acme", "tenant_acme");
    let server = place.serve();
    let http = client();
    let url = format!("{}/v1/me", server.public);
    let token = sandbox.user_token("user_ada").mint();
    for _ in 0..3 {
        assert_eq!(
            http.get(&url)
                .bearer_auth(&token)
                .send()
                .await
                .unwrap()
                .status(),
            200
        );
    }
    assert_eq!(http.get(&url).send().await.unwrap().status(), 401);
    let lines = server.access_lines(1);
    assert_eq!(lines.len(), 1, "{lines:#?}");
    assert_eq!(lines[0]["reason"], "missing_token");
}

/// A change by the command line reaches a running server within a second, and what it refuses
/// then stands in the account's activity.
#[tokio::test(flavor = "multi_thread")]
async fn a_suspended_user_is_refused_within_a_second() {
    let sandbox = sandbox().await;
    let place = Place::new().with_sandbox(&sandbox);
    place.account("Acme", "tenant_acme");
    place.account("Globex", "tenant_globex");
    let server = place.serve();
    let http = client();
    let get = async |user: &str, path: &str| {
        let token = sandbox.user_token(user).mint();
        let url = format!("{}{path}", server.public);
        let response = http.get(url).bearer_auth(token).send().await.unwrap();
        let status = response.status().as_u16();
        (status, response.json::<serde_json::Value>().await.unwrap())
    };
    let (status, ada) = get("user_ada", "/v1/me").await;
    assert_eq!(status, 200);
    let id = ada["user"]["id"].as_str().unwrap();

    assert_eq!(place.json(&["user", "suspend", id])["status"], "suspended");
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (status, refused) = get("user_ada", "/v1/me").await;
    assert_eq!(
        (status, &refused["code"]),
        (403, &serde_json::json!("user_suspended"))
    );

    let mut entries = Vec::new();
    let begun = Instant::now();
    while entries.len() < 3 && begun.elapsed() < Duration::from_secs(5) {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let (status, page) = get("user_alan", "/v1/activity").await;
        assert_eq!(status, 200, "{page}");
        entries = page["items"].as_array().unwrap().clone();
    }
    let refusal = entries
        .iter()
        .find(|entry| entry["kind"] == "refusal")
        .unwrap();
    assert_eq!(refusal["user_id"], id);
    assert_eq!(refusal["reason"], "user_suspended");
    assert_eq!(refusal["request_id"], refused["request_id"]);
    let sign_ins = entries.iter().filter(|entry| entry["kind"] == "sign_in");
    assert!(
        sign_ins.clone().any(|entry| entry["user_id"] == id),
        "{entries:#?}"
    );

    let (status, page) = get("user_grace", "/v1/activity").await;
    assert_eq!(status, 200);
    assert!(!page.to_string().contains(id), "another account's: {page}");

    assert_eq!(place.json(&["user", "resume", id])["status"], "active");
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(get("user_ada", "/v1/me").await.0, 200);
}
