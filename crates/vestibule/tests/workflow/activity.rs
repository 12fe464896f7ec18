//! An account's activity: first uses of tokens, and refusals of its own people.

use std::time::Duration;

use serde_json::{Value, json};
use uuid::Uuid;
use vestibule::Reason;
use vestibule_sandbox::User;

use crate::{
    app::{App, app, eventually, found, with},
    entrance::Actor,
};

/// The account's entries, the newest first, once there are at least so many.
async fn entries(who: &Actor, count: usize) -> Vec<Value> {
    found(async || {
        let page = who.get("/activity").await.ok();
        let items = page["items"].as_array().unwrap().clone();
        (items.len() >= count).then_some(items)
    })
    .await
}

/// What somebody of the account finds there who comes afterwards; his own coming comes first, and
/// shows that all before it is written down.
async fn afterwards(app: &App, who: &str) -> Vec<Value> {
    // Ids tell the order of what different processes write only as far as their times differ.
    app.clock.advance(Duration::from_millis(1));
    let application = format!("app_{}", Uuid::now_v7().simple());
    let last = app.with(app.sandbox.user_token(who).client_id(&*application));
    let mut entries = found(async || {
        let items = entries(&last, 1).await;
        (items[0]["client_id"] == *application).then_some(items)
    })
    .await;
    entries.remove(0);
    entries
}

fn reasons(entries: &[Value]) -> Vec<&str> {
    entries
        .iter()
        .filter_map(|entry| entry["reason"].as_str())
        .collect()
}

#[tokio::test]
async fn a_token_signs_in_once() {
    let app = app().await;
    let ada = app.user("user_ada");
    for _ in 0..5 {
        ada.me().await.ok();
    }
    // Verified again, and seen by another process: still the same sign-in.
    app.advance(300);
    ada.me().await.ok();
    let token = app.sandbox.user_token("user_ada").mint();
    for process in [
        app.entrance.clone(),
        app.replica().await,
        app.replica().await,
    ] {
        process.bearer(&token).me().await.ok();
    }
    let me = ada.me().await.ok();
    let found = afterwards(&app, "user_alan").await;
    assert_eq!(found.len(), 2, "{found:?}");
    for (entry, at) in found
        .iter()
        .zip(["2026-11-23T10:05:00Z", "2026-11-23T10:00:00Z"])
    {
        assert_eq!(entry["kind"], "sign_in");
        assert_eq!(entry["at"], at);
        assert_eq!(entry["user_id"], me["user"]["id"]);
        assert_eq!(entry["client_id"], "app_web");
        assert_eq!(entry["reason"], Value::Null);
        for id in ["id", "request_id"] {
            let id = Uuid::parse_str(entry[id].as_str().unwrap()).unwrap();
            assert_eq!(id.get_version_num(), 7);
        }
        assert_eq!(entry.as_object().unwrap().len(), 7);
    }
}

/// Nor does it where no token is remembered.
#[tokio::test]
async fn a_token_signs_in_once_without_a_cache() {
    let app = with("TOKEN_CACHE_SIZE", "0").start().await;
    let ada = app.user("user_ada");
    for _ in 0..5 {
        ada.me().await.ok();
    }
    let found = afterwards(&app, "user_alan").await;
    assert_eq!(found.len(), 1, "{found:?}");
}

#[tokio::test]
async fn machines_sign_in_too() {
    let app = app().await;
    let robot = app.client("sc_robot01");
    robot.me().await.ok();
    robot.me().await.ok();
    let found = afterwards(&app, "user_ada").await;
    assert_eq!(found.len(), 1);
    assert_eq!(
        (&found[0]["client_id"], &found[0]["user_id"]),
        (&json!("sc_robot01"), &Value::Null)
    );
}

#[tokio::test]
async fn a_refusal_belongs_to_the_callers_own_account() {
    let app = app().await;
    let ada = app.user("user_ada").me().await.ok();
    let abroad = app.with(app.sandbox.user_token("user_ada").tenant("tenant_globex"));
    let answer = abroad.me().await;
    answer.refused(Reason::TenantMismatch);

    let at_home = afterwards(&app, "user_alan").await;
    assert_eq!(reasons(&at_home), ["tenant_mismatch"]);
    assert_eq!(at_home[0]["kind"], "refusal");
    assert_eq!(at_home[0]["user_id"], ada["user"]["id"]);
    assert_eq!(at_home[0]["request_id"], answer.json()["request_id"]);
    assert!(afterwards(&app, "user_grace").await.is_empty());
}

/// Nobody writes into an account's activity by naming its tenant, or one of its people.
#[tokio::test]
async fn strangers_leave_no_trace() {
    let app = app().await;
    app.user("user_grace").me().await.ok();
    app.sandbox
        .add_user(User::new("user_peter").tenant("tenant_globex"));
    let sandbox = &app.sandbox;
    for (token, reason) in [
        (
            sandbox.user_token("user_nobody").tenant("tenant_globex"),
            Reason::UnknownUser,
        ),
        (
            sandbox.user_token("user_peter").azp("con_acme"),
            Reason::ConnectionMismatch,
        ),
        (
            sandbox.user_token("user_grace").tamper_signature(),
            Reason::BadSignature,
        ),
        (
            sandbox.user_token("user_grace").expires_in(-60),
            Reason::Expired,
        ),
        (
            sandbox.client_token("sc_robot02").tamper_signature(),
            Reason::BadSignature,
        ),
        (
            sandbox.client_token("sc_nobody01"),
            Reason::UnregisteredClient,
        ),
    ] {
        app.with(token).me().await.refused(reason);
    }
    app.anonymous().me().await.refused(Reason::MissingToken);
    let found = afterwards(&app, "user_grace").await;
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0]["kind"], "sign_in");
}

#[tokio::test]
async fn refusals_of_people_who_are_known() {
    let app = app().await;
    let (alan, robot) = (app.user("user_alan"), app.client("sc_robot01"));
    alan.me().await.ok();
    robot.me().await.ok();
    alan.get("/role/admin")
        .await
        .refused(Reason::InsufficientRole);
    robot
        .get("/scope/admin")
        .await
        .refused(Reason::InsufficientScope);
    let without = app.sandbox.user_token("user_alan").without_claim("aud");
    app.with(without).me().await.refused(Reason::NoTenant);
    let found = afterwards(&app, "user_ada").await;
    assert_eq!(
        reasons(&found),
        ["no_tenant", "insufficient_scope", "insufficient_role"]
    );

    let id = app.row("user_alan").await.unwrap().id;
    app.directory.suspend_user(id).await.unwrap();
    let answer = eventually(async || alan.me().await, |answer| !answer.is_ok()).await;
    answer.refused(Reason::UserSuspended);
    let found = afterwards(&app, "user_ada").await;
    assert_eq!(reasons(&found)[0], "user_suspended");
    assert_eq!(found[0]["user_id"], json!(id));
    assert_eq!(found[0]["client_id"], "app_web");
}

/// A handler's own failure is no refusal of anybody.
#[tokio::test]
async fn what_is_not_there_is_no_refusal() {
    let app = app().await;
    let ada = app.user("user_ada");
    assert_eq!(ada.get("/notes/1").await.status, 404);
    assert_eq!(ada.get("/nowhere").await.status, 404);
    let found = afterwards(&app, "user_alan").await;
    assert_eq!(reasons(&found), [""; 0]);
}

#[tokio::test]
async fn pages_go_back_in_time() {
    let app = app().await;
    for _ in 0..5 {
        app.user("user_ada").me().await.ok();
        app.advance(1);
    }
    let ada = app.user("user_ada");
    let all = entries(&ada, 6).await;
    let mut cursor = String::new();
    let mut seen = Vec::new();
    loop {
        let page = ada.get(&format!("/activity?limit=2{cursor}")).await.ok();
        seen.extend(page["items"].as_array().unwrap().clone());
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(seen, all);
    // Another account's are not among them.
    let grace = app.user("user_grace");
    assert_eq!(entries(&grace, 1).await.len(), 1);
}
