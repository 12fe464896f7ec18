//! Service clients: predefined values, and nothing that their own tokens say (contract §2.4).

use serde_json::{Value, json};
use vestibule::{Reason, store::StoreError};
use vestibule_sandbox::{Client, Endpoint};

use crate::app::{ROBOT_SCOPE, app, eventually};

#[tokio::test]
async fn a_machine_has_predefined_values() {
    let app = app().await;
    let (client, _) = app
        .directory
        .find_client("sc_robot01")
        .await
        .unwrap()
        .unwrap();
    assert_eq!(client.id.get_version_num(), 7);
    let me = app.client("sc_robot01").me().await.ok();
    assert_eq!(
        me,
        json!({
            "kind": "machine",
            "user": {
                "id": client.id,
                "authress_user_id": "sc_robot01",
                "email": null,
                "name": "Acme's robot",
                "picture": null,
                "role": "service_client",
                "status": "active",
            },
            "account": {
                "id": app.acme.id,
                "name": "Acme",
                "authress_tenant_id": "tenant_acme",
                "status": "active",
            },
            "token": {
                "issuer": app.sandbox.client_issuer("sc_robot01"),
                "client_id": "sc_robot01",
                "scopes": [ROBOT_SCOPE],
                "expires_at": "2026-11-24T10:00:00Z",
            },
        })
    );
    // Authress is asked for its keys and for nothing else, and it is no user of the account.
    assert_eq!(
        app.calls(&[Endpoint::User, Endpoint::Tenant, Endpoint::Client]),
        0
    );
    assert_eq!(app.users(&app.acme).await, 0);
}

#[tokio::test]
async fn its_token_grants_it_nothing() {
    let app = app().await;
    let token = app
        .sandbox
        .client_token("sc_robot01")
        .scope("admin notes:write openid")
        .claim("scopes", "admin")
        .claim("role", "admin")
        .claim("tenant", "tenant_globex")
        .claim("azp", "con_globex")
        .claim("email", "robot@globex.example")
        .claim("name", "Somebody");
    let robot = app.with(token);
    let me = robot.me().await.ok();
    assert_eq!(me["token"]["scopes"], json!([ROBOT_SCOPE]));
    assert_eq!(me["account"]["id"], json!(app.acme.id));
    assert_eq!(
        (&me["user"]["email"], &me["user"]["name"]),
        (&Value::Null, &json!("Acme's robot"))
    );
    for scope in ["admin", "notes:write", "openid", "notes", "notes:read2"] {
        let answer = robot.get(&format!("/scope/{scope}")).await;
        answer.refused(Reason::InsufficientScope);
    }
    robot.get("/scope/notes:read").await.ok();
    robot
        .get("/role/admin")
        .await
        .refused(Reason::InsufficientRole);
}

#[tokio::test]
async fn without_registered_scopes_it_has_none() {
    let app = app().await;
    let me = app.client("sc_robot02").me().await.ok();
    assert_eq!(me["token"]["scopes"], json!([]));
    app.client("sc_robot02")
        .get("/scope/openid")
        .await
        .refused(Reason::InsufficientScope);
}

#[tokio::test]
async fn it_works_in_its_own_account_only() {
    let app = app().await;
    app.client("sc_robot01")
        .post("/notes", &json!("Acme's"))
        .await
        .ok();
    app.user("user_grace")
        .post("/notes", &json!("Globex'"))
        .await
        .ok();
    assert_eq!(
        app.client("sc_robot01").get("/notes").await.ok(),
        json!(["Acme's"])
    );
    assert_eq!(
        app.client("sc_robot02").get("/notes").await.ok(),
        json!(["Globex'"])
    );
    assert_eq!(
        app.user("user_ada").get("/notes").await.ok(),
        json!(["Acme's"])
    );
}

#[tokio::test]
async fn a_client_belongs_to_one_account() {
    let app = app().await;
    let again = app
        .directory
        .add_client(app.globex.id, "sc_robot01", "Stolen", &[])
        .await;
    assert!(
        matches!(again, Err(StoreError::AlreadyExists(_))),
        "{again:?}"
    );
    let me = app.client("sc_robot01").me().await.ok();
    assert_eq!(me["account"]["id"], json!(app.acme.id));
}

/// Moved by removal and a new registration: a token that is remembered goes along.
#[tokio::test]
async fn a_client_that_is_registered_anew() {
    let app = app().await;
    let robot = app.client("sc_robot01");
    robot.me().await.ok();
    app.directory.remove_client("sc_robot01").await.unwrap();
    app.directory
        .add_client(
            app.globex.id,
            "sc_robot01",
            "Globex's now",
            &["a:b".to_owned()],
        )
        .await
        .unwrap();
    let answer = eventually(
        async || robot.me().await,
        |answer| answer.json()["account"]["id"] == json!(app.globex.id),
    );
    let me = answer.await.ok();
    assert_eq!(me["user"]["name"], "Globex's now");
    assert_eq!(me["token"]["scopes"], json!(["a:b"]));
}

#[tokio::test]
async fn prefixes_of_machines() {
    let app = app().await;
    for id in [
        "sc_abcde",
        "ext_plugin01",
        "scauth_plugin01",
        "authress_plugin01",
    ] {
        app.sandbox.add_client(Client::new(id));
        app.directory
            .add_client(app.acme.id, id, "A client", &[])
            .await
            .unwrap();
        let answer = eventually(async || app.client(id).me().await, |answer| answer.is_ok()).await;
        assert_eq!(answer.ok()["kind"], "machine", "{id}");
    }
}
