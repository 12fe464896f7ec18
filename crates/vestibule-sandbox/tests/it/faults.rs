//! Each fault, seen from a client's side.

use std::time::{Duration, Instant};

use reqwest::StatusCode;
use serde_json::Value;
use vestibule_sandbox::{Endpoint, Fault, Sandbox, Target};

use crate::ask::{acme, get, http};

async fn keys(sandbox: &Sandbox) -> reqwest::Result<reqwest::Response> {
    let url = format!("{}/.well-known/openid-configuration/jwks", sandbox.url());
    http().get(url).send().await
}

#[tokio::test]
async fn statuses_come_with_real_bodies_and_heal() {
    let sandbox = acme().await;
    for (status, code) in [
        (401, "Unauthorized"),
        (403, "Forbidden"),
        (404, "NotFound"),
        (429, "TooManyRequests"),
        (500, "InternalServerError"),
        (503, "ServiceUnavailable"),
    ] {
        sandbox.fail(Endpoint::User, Fault::Status(status));
        let (found, body) = get(&sandbox, "/v1/users/user_ada").await;
        assert_eq!(found.as_u16(), status);
        assert_eq!(body["errorCode"], code);
    }
    assert_eq!(
        get(&sandbox, "/v1/tenants/tenant_acme").await.0,
        StatusCode::OK
    );
    sandbox.heal();
    assert_eq!(get(&sandbox, "/v1/users/user_ada").await.0, StatusCode::OK);
    assert_eq!(sandbox.calls(Endpoint::User), 7);
}

#[tokio::test]
async fn a_fault_can_end_after_some_calls_and_aim_at_one_path() {
    let sandbox = acme().await;
    sandbox.fail_times(Target::path("/v1/users/user_ada"), Fault::Status(500), 2);
    let mut seen = Vec::new();
    for path in ["user_ada", "user_eve", "user_ada", "user_ada"] {
        seen.push(get(&sandbox, &format!("/v1/users/{path}")).await.0.as_u16());
    }
    assert_eq!(seen, [500, 404, 500, 200]);
    sandbox.fail(Target::All, Fault::Status(503));
    sandbox.fail(Endpoint::User, Fault::Status(500));
    sandbox.heal_only(Target::All);
    assert_eq!(
        get(&sandbox, "/v1/tenants/tenant_acme").await.0.as_u16(),
        200
    );
    assert_eq!(get(&sandbox, "/v1/users/user_ada").await.0.as_u16(), 500);
}

#[tokio::test]
async fn a_hanging_call_is_answered_when_it_is_healed() {
    let sandbox = acme().await;
    sandbox.fail(Endpoint::Jwks, Fault::Hang);
    let asked: Vec<_> = (0..3)
        .map(|_| {
            let sandbox = sandbox.clone();
            tokio::spawn(async move { keys(&sandbox).await.unwrap().status() })
        })
        .collect();
    assert!(sandbox.wait_for_calls(Endpoint::Jwks, 3).await);
    assert!(asked.iter().all(|call| !call.is_finished()));
    sandbox.heal();
    for call in asked {
        assert_eq!(call.await.unwrap(), StatusCode::OK);
    }
}

#[tokio::test]
async fn a_stop_ends_what_hangs() {
    let sandbox = acme().await;
    sandbox.fail(Endpoint::Jwks, Fault::Hang);
    let (answer, ()) = tokio::join!(keys(&sandbox), async {
        assert!(sandbox.wait_for_calls(Endpoint::Jwks, 1).await);
        sandbox.stop();
    });
    assert!(answer.is_err());
}

#[tokio::test]
async fn late_and_slow_answers_are_true() {
    let sandbox = acme().await;
    let start = Instant::now();
    sandbox.fail(Endpoint::Jwks, Fault::Delay(Duration::from_millis(60)));
    assert_eq!(keys(&sandbox).await.unwrap().status(), StatusCode::OK);
    assert!(start.elapsed() >= Duration::from_millis(60));
    let start = Instant::now();
    sandbox.fail(Endpoint::Jwks, Fault::Trickle(Duration::from_millis(1)));
    let body: Value = keys(&sandbox).await.unwrap().json().await.unwrap();
    assert_eq!(body["keys"][0], sandbox.account_key().jwk());
    assert!(start.elapsed() >= Duration::from_millis(100));
}

#[tokio::test]
async fn connections_break_before_or_within_the_answer() {
    let sandbox = acme().await;
    sandbox.fail(Endpoint::Jwks, Fault::Reset);
    assert!(keys(&sandbox).await.is_err());
    sandbox.fail(Endpoint::Jwks, Fault::Truncated);
    let response = keys(&sandbox).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert!(response.content_length().unwrap() > 50);
    assert!(response.bytes().await.is_err());
}

#[tokio::test]
async fn bodies_are_too_large_or_something_else() {
    let sandbox = acme().await;
    let answer = async |fault: Fault| {
        sandbox.fail(Endpoint::Jwks, fault);
        let response = keys(&sandbox).await.unwrap();
        let kind = response.headers().get("content-type").cloned();
        let kind = kind.map(|kind| kind.to_str().unwrap().to_owned());
        (
            response.status().as_u16(),
            kind,
            response.text().await.unwrap(),
        )
    };
    let json = Some("application/json".to_owned());
    let (status, kind, text) = answer(Fault::Oversized).await;
    assert_eq!((status, &kind), (200, &json));
    assert!(text.len() > 8 << 20);
    let body: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(body["keys"][0], sandbox.account_key().jwk());

    let (status, kind, text) = answer(Fault::Html).await;
    assert_eq!(status, 200);
    assert!(kind.unwrap().starts_with("text/html") && text.starts_with("<!doctype"));
    let (status, kind, text) = answer(Fault::NotJson).await;
    assert_eq!((status, kind), (200, json.clone()));
    assert!(serde_json::from_str::<Value>(&text).is_err());
    let empty = answer(Fault::EmptyKeys).await;
    assert_eq!(empty, (200, json.clone(), r#"{"keys":[]}"#.to_owned()));
    let body = answer(Fault::Body("[1]".to_owned())).await;
    assert_eq!(body, (200, json, "[1]".to_owned()));
}

#[tokio::test]
async fn answers_point_elsewhere_or_speak_of_somebody_else() {
    let sandbox = acme().await;
    let target = "https://elsewhere.example/".to_owned();
    sandbox.fail(Endpoint::Jwks, Fault::Redirect(target.clone()));
    let response = keys(&sandbox).await.unwrap();
    assert_eq!(response.status(), StatusCode::FOUND);
    assert_eq!(response.headers()["location"], target);

    sandbox.fail(Target::All, Fault::WrongId);
    sandbox.heal_only(Endpoint::Jwks);
    for (path, member) in [
        ("/v1/users/user_ada", "userId"),
        ("/v1/tenants/tenant_acme", "tenantId"),
        ("/v1/clients/sc_server01", "clientId"),
    ] {
        assert_eq!(get(&sandbox, path).await.1[member], "somebody_else");
    }
    let body: Value = keys(&sandbox).await.unwrap().json().await.unwrap();
    assert_eq!(body["keys"][0]["kid"], "other0");
    assert_eq!(body["keys"][0]["x"], sandbox.account_key().jwk()["x"]);

    let header = Fault::Header("cache-control".into(), "max-age=86400".into());
    sandbox.fail(Endpoint::Jwks, header);
    let response = keys(&sandbox).await.unwrap();
    assert_eq!(response.headers()["cache-control"], "max-age=86400");
    assert_eq!(response.status(), StatusCode::OK);
}
