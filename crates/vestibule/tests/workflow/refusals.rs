//! Every code that the library can answer, produced by a request; the form of each is looked at
//! in whole. What the table does not have, the last test misses.

use std::{collections::BTreeSet, time::Duration};

use axum::body::Body;
use http::Method;
use serde_json::json;
use sqlx::{ConnectOptions as _, Connection as _, SqliteConnection, sqlite::SqliteConnectOptions};
use vestibule::{Code, Reason};
use vestibule_sandbox::{Endpoint, Fault, Tenant, User};

use crate::app::{ROBOT_SCOPE, after, app, eventually, with};

/// Makes a test of each row, and the list of the codes that they produce.
macro_rules! refusals {
    ($($code:ident $name:ident $body:block)+) => {
        /// What the tests below produce.
        const PRODUCED: &[Code] = &[$(Code::$code,)+];

        $(#[tokio::test] async fn $name() $body)+
    };
}

/// Codes that no part of the library answers by itself.
const ELSEWHERE: &[(Code, &str)] = &[
    (
        Code::MethodNotAllowed,
        "the fallback of vestibule-server's router; crates/vestibule-server/tests/serve.rs",
    ),
    (
        Code::Conflict,
        "the admin API; crates/vestibule-server/tests/processes/admin.rs",
    ),
    (
        Code::TooManyRequests,
        "floods; crates/vestibule-server/tests/processes/attack.rs",
    ),
];

refusals! {
    MissingToken a_request_without_a_token {
        let app = app().await;
        for path in ["/me", "/person", "/machine", "/role/member", "/notes"] {
            app.anonymous().get(path).await.refused(Reason::MissingToken);
        }
        assert_eq!(app.calls(&[Endpoint::User, Endpoint::Tenant, Endpoint::ClientJwks]), 0);
    }

    MalformedAuthorization a_header_that_is_not_one_bearer_token {
        let app = app().await;
        for value in ["Basic dXNlcjpwYXNz", "Bearer", "Bearer ", "Bearer a b", "DPoP a.b.c"] {
            let actor = app.anonymous().authorization(value);
            actor.me().await.refused(Reason::MalformedAuthorization);
        }
    }

    InvalidToken a_token_that_is_none {
        let app = app().await;
        app.bearer("abc").me().await.refused(Reason::NotThreeParts);
        let forged = app.sandbox.user_token("user_ada").sign_with(&app.forged_key());
        app.bearer(forged.mint()).me().await.refused(Reason::BadSignature);
    }

    TokenExpired a_token_past_its_end {
        let app = app().await;
        let token = app.sandbox.user_token("user_ada").expires_in(60).mint();
        app.bearer(&token).me().await.ok();
        app.advance(90);
        app.bearer(&token).me().await.refused(Reason::Expired);
        let machine = app.sandbox.client_token("sc_robot01").expires_in(-30).mint();
        app.bearer(machine).me().await.refused(Reason::Expired);
    }

    UnknownUser a_user_whom_the_provider_does_not_know {
        let app = app().await;
        let nobody = app.sandbox.user_token("user_nobody").tenant("tenant_acme").mint();
        app.bearer(nobody).me().await.refused(Reason::UnknownUser);
        assert_eq!(app.users(&app.acme).await, 0);
    }

    UnknownUser a_new_user_where_provisioning_is_off {
        let app = with("USER_PROVISIONING", "off").start().await;
        app.user("user_ada").me().await.refused(Reason::ProvisioningOff);
        assert_eq!(app.users(&app.acme).await, 0);
    }

    UnknownTenant a_new_user_without_a_tenant {
        let app = app().await;
        let token = app.sandbox.user_token("user_ada").without_claim("aud").mint();
        app.bearer(token).me().await.refused(Reason::NoTenant);
        let token = app.sandbox.user_token("user_alan").audience(json!([])).mint();
        app.bearer(token).me().await.refused(Reason::NoTenant);
    }

    UnknownTenant a_known_user_without_a_tenant {
        let app = app().await;
        app.user("user_ada").me().await.ok();
        let token = app.sandbox.user_token("user_ada").without_claim("aud").mint();
        app.bearer(token).me().await.refused(Reason::NoTenant);
    }

    UnknownTenant a_new_user_with_several_tenants {
        let app = app().await;
        let both = json!(["tenant_acme", "tenant_globex"]);
        let token = app.sandbox.user_token("user_ada").audience(both).mint();
        app.bearer(token).me().await.refused(Reason::SeveralTenants);
        assert_eq!(app.calls(&[Endpoint::Tenant]), 0);
    }

    UnknownTenant a_new_user_by_another_connection {
        let app = app().await;
        let token = app.sandbox.user_token("user_ada").azp("con_globex").mint();
        app.bearer(token).me().await.refused(Reason::ConnectionMismatch);
        assert_eq!(app.users(&app.acme).await, 0);
    }

    UnknownTenant a_tenant_that_the_provider_does_not_know {
        let app = app().await;
        let token = app.sandbox.user_token("user_ada").tenant("tenant_none").mint();
        app.bearer(token).me().await.refused(Reason::UnknownTenant);
    }

    UnknownAccount a_tenant_without_an_account {
        let app = app().await;
        app.sandbox.add_tenant(Tenant::new("tenant_initech"));
        app.sandbox.add_user(User::new("user_peter").tenant("tenant_initech"));
        app.user("user_peter").me().await.refused(Reason::UnknownAccount);
    }

    UnknownClient a_verified_client_that_was_removed {
        let app = app().await;
        let robot = app.client("sc_robot01");
        robot.me().await.ok();
        app.directory.remove_client("sc_robot01").await.unwrap();
        let answer = eventually(async || robot.me().await, |answer| !answer.is_ok()).await;
        answer.refused(Reason::UnknownClient);
        // A token that nobody has verified says nothing about who is registered.
        app.client("sc_robot01").me().await.refused(Reason::UnregisteredClient);
    }

    TenantMismatch a_known_user_in_anothers_tenant {
        let app = app().await;
        app.user("user_ada").me().await.ok();
        let token = app.sandbox.user_token("user_ada").tenant("tenant_globex").mint();
        app.bearer(token).me().await.refused(Reason::TenantMismatch);
        assert_eq!(app.users(&app.globex).await, 0);
    }

    ProviderUnavailable the_keys_cannot_be_fetched {
        let app = after(|sandbox| sandbox.fail(Endpoint::Jwks, Fault::Status(503))).start().await;
        app.user("user_ada").me().await.refused(Reason::ProviderUnavailable);
    }

    ProviderUnavailable the_user_cannot_be_fetched {
        let app = app().await;
        app.sandbox.fail(Endpoint::User, Fault::Reset);
        app.user("user_ada").me().await.refused(Reason::ProviderUnavailable);
    }

    ProviderUnavailable the_tenant_cannot_be_fetched {
        let app = app().await;
        app.sandbox.fail(Endpoint::Tenant, Fault::Status(500));
        app.user("user_ada").me().await.refused(Reason::ProviderUnavailable);
        assert_eq!(app.users(&app.acme).await, 0);
    }

    ProviderUnavailable an_outage_that_is_told_as_one {
        let app = with("PROVIDER_OUTAGE_STATUS", "503").start().await;
        app.sandbox.fail(Endpoint::User, Fault::Status(503));
        let answer = app.user("user_ada").me().await;
        answer.refused(Reason::ProviderUnavailable);
        assert_eq!(answer.status, 503);
        // Other refusals stay what they are.
        let answer = app.bearer("abc").me().await;
        assert_eq!(answer.status, 401);
        answer.refused(Reason::NotThreeParts);
    }

    UserSuspended a_suspended_user {
        let app = app().await;
        let ada = app.user("user_ada");
        ada.me().await.ok();
        let row = app.row("user_ada").await.unwrap();
        app.directory.suspend_user(row.id).await.unwrap();
        let answer = eventually(async || ada.me().await, |answer| !answer.is_ok()).await;
        answer.refused(Reason::UserSuspended);
        app.user("user_alan").me().await.ok();
    }

    AccountSuspended a_suspended_account {
        let app = app().await;
        let (ada, robot) = (app.user("user_ada"), app.client("sc_robot01"));
        ada.me().await.ok();
        robot.me().await.ok();
        app.directory.suspend_account(app.acme.id).await.unwrap();
        for actor in [ada, robot] {
            let answer = eventually(async || actor.me().await, |answer| !answer.is_ok()).await;
            answer.refused(Reason::AccountSuspended);
        }
        app.user("user_grace").me().await.ok();
    }

    ClientSuspended a_suspended_client {
        let app = app().await;
        let robot = app.client("sc_robot01");
        robot.me().await.ok();
        app.directory.suspend_client("sc_robot01").await.unwrap();
        let answer = eventually(async || robot.me().await, |answer| !answer.is_ok()).await;
        answer.refused(Reason::ClientSuspended);
        app.client("sc_robot02").me().await.ok();
    }

    InsufficientRole a_role_that_the_caller_has_not {
        let app = app().await;
        let ada = app.user("user_ada");
        ada.get("/role/member").await.ok();
        ada.get("/role/admin").await.refused(Reason::InsufficientRole);
        app.client("sc_robot01").get("/role/member").await.refused(Reason::InsufficientRole);
    }

    InsufficientRole a_handler_for_the_other_kind {
        let app = app().await;
        app.user("user_ada").get("/person").await.ok();
        app.client("sc_robot01").get("/machine").await.ok();
        app.user("user_ada").get("/machine").await.refused(Reason::InsufficientRole);
        app.client("sc_robot01").get("/person").await.refused(Reason::InsufficientRole);
    }

    InsufficientScope a_scope_that_the_caller_has_not {
        let app = app().await;
        let (ada, robot) = (app.user("user_ada"), app.client("sc_robot01"));
        ada.get("/scope/email").await.ok();
        ada.get("/scope/notes:read").await.refused(Reason::InsufficientScope);
        robot.get(&format!("/scope/{ROBOT_SCOPE}")).await.ok();
        robot.get("/scope/openid").await.refused(Reason::InsufficientScope);
    }

    NotFound a_path_that_is_not_there {
        let app = app().await;
        for actor in [app.anonymous(), app.user("user_ada"), app.bearer("abc")] {
            actor.get("/nowhere").await.problem(Code::NotFound);
        }
    }

    NotFound a_row_that_is_not_there {
        let app = app().await;
        app.user("user_ada").post("/notes", &json!("Acme's")).await.ok();
        app.user("user_ada").get("/notes/1").await.ok();
        app.user("user_grace").get("/notes/1").await.problem(Code::NotFound);
        app.user("user_ada").get("/notes/2").await.problem(Code::NotFound);
    }

    InvalidRequest a_body_or_a_query_that_cannot_be_read {
        let app = app().await;
        let ada = app.user("user_ada");
        ada.post("/notes", &json!(["no", "text"])).await.problem(Code::InvalidRequest);
        ada.get("/activity?limit=many").await.problem(Code::InvalidRequest);
        ada.get("/activity?cursor=invented").await.problem(Code::InvalidRequest);
        assert_eq!(ada.get("/notes").await.ok(), json!([]));
    }

    RequestTooLarge a_body_past_the_limit {
        let app = app().await;
        let ada = app.user("user_ada");
        let text = "x".repeat(3 * 1024 * 1024);
        ada.post("/notes", &json!(text)).await.problem(Code::RequestTooLarge);
    }

    InternalError a_handler_that_panics {
        let app = app().await;
        let ada = app.user("user_ada");
        let answer = ada.get("/panic").await;
        answer.problem(Code::InternalError);
        // Nothing of it stays, and nobody after it notices.
        assert_eq!(ada.get("/notes").await.ok(), json!([]));
    }

    StorageUnavailable an_accounts_file_that_is_locked {
        let app = with("DATABASE_TIMEOUT", "0.2").start().await;
        let ada = app.user("user_ada");
        ada.post("/notes", &json!("first")).await.ok();
        let file = app.settings.database.sqlite().unwrap().tenant_dir.join(format!("{}.db", app.acme.id));
        let lock = Lock::take(&file).await;
        // Who comes is known; what he wants cannot be had.
        ada.me().await.ok();
        ada.post("/notes", &json!("second")).await.problem(Code::StorageUnavailable);
        app.user("user_grace").get("/notes").await.ok();
        lock.release().await;
        ada.post("/notes", &json!("second")).await.ok();
        assert_eq!(ada.get("/notes").await.ok(), json!(["first", "second"]));
    }

    StorageUnavailable a_directory_that_cannot_be_written {
        let app = with("DATABASE_TIMEOUT", "0.2").start().await;
        let lock = Lock::take(&app.settings.database.sqlite().unwrap().file).await;
        app.user("user_ada").me().await.refused(Reason::StorageUnavailable);
        lock.release().await;
        app.user("user_ada").me().await.ok();
    }

    StorageUnavailable a_directory_that_is_gone {
        let app = app().await;
        let robot = app.client("sc_robot01");
        app.entrance.vestibule.shutdown().await;
        robot.me().await.refused(Reason::StorageUnavailable);
        assert_eq!(app.calls(&[Endpoint::ClientJwks]), 0);
    }
}

/// Another process that writes, and does not come to an end.
struct Lock(SqliteConnection);

impl Lock {
    async fn take(file: &std::path::Path) -> Self {
        let options = SqliteConnectOptions::new()
            .filename(file)
            .busy_timeout(Duration::from_secs(5));
        let mut connection = options.connect().await.unwrap();
        sqlx::query("BEGIN IMMEDIATE")
            .execute(&mut connection)
            .await
            .unwrap();
        Self(connection)
    }

    async fn release(mut self) {
        sqlx::query("ROLLBACK").execute(&mut self.0).await.unwrap();
        self.0.close().await.unwrap();
    }
}

#[tokio::test]
async fn the_request_id_is_ours() {
    let app = app().await;
    let theirs = "0190a8f2-0000-7000-8000-000000000001";
    let actor = app
        .anonymous()
        .header("x-request-id", theirs)
        .header("x-vestibule-request-id", theirs)
        .header(
            "traceparent",
            "00-0190a8f2000070008000000000000001-0190a8f200007000-01",
        );
    let mut seen = BTreeSet::new();
    for _ in 0..5 {
        let answer = actor.me().await;
        answer.refused(Reason::MissingToken);
        let id = answer.json()["request_id"].as_str().unwrap().to_owned();
        assert_ne!(id, theirs);
        assert!(seen.insert(id));
    }
}

#[tokio::test]
async fn a_refusal_does_not_repeat_what_was_sent() {
    let app = app().await;
    let token = app.sandbox.user_token("user_ada").tamper_signature().mint();
    let key = app.sandbox.access_key();
    for secret in [token, key] {
        let answer = app
            .bearer(&secret)
            .header("cookie", "SECRETCOOKIE")
            .get("/me?x=QUERY")
            .await;
        assert!(!answer.is_ok());
        let shown = answer.shown();
        for part in secret
            .split('.')
            .chain(["user_ada", "SECRETCOOKIE", "QUERY"])
        {
            assert!(part.len() < 4 || !shown.contains(part), "{shown}");
        }
    }
}

#[tokio::test]
async fn other_methods_and_routes_are_refused_alike() {
    let app = app().await;
    for (method, path) in [
        (Method::POST, "/notes"),
        (Method::HEAD, "/me"),
        (Method::GET, "/activity"),
    ] {
        let answer = app.anonymous().send(method, path, Body::empty()).await;
        assert_eq!(answer.status, 401, "{path}");
        assert_eq!(
            answer.header("x-vestibule-code"),
            Some("missing_token"),
            "{path}"
        );
    }
}

#[test]
fn every_code_is_produced_or_accounted_for() {
    let produced: BTreeSet<Code> = PRODUCED.iter().copied().collect();
    let elsewhere: BTreeSet<Code> = ELSEWHERE.iter().map(|(code, _)| *code).collect();
    let all: BTreeSet<Code> = Code::ALL.iter().copied().collect();
    let tested: BTreeSet<Code> = produced.union(&elsewhere).copied().collect();
    let missing: Vec<_> = all.difference(&tested).collect();
    assert!(
        missing.is_empty(),
        "add a row to `refusals!` for {missing:?}"
    );
    let twice: Vec<_> = produced.intersection(&elsewhere).collect();
    assert!(twice.is_empty(), "take {twice:?} out of ELSEWHERE");
}
